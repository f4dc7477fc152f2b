//===- DeviceTrace.cpp - When a device comes to the launches of a step ----===//

#include "runtime/lib/device/DeviceTrace.h"

using namespace moe::rt;

DeviceTrace::~DeviceTrace() {
  const CudaScope scope(*device);
  for (const cuda::Event event : events)
    if (scope.status().ok())
      static_cast<void>(device->api().cuEventDestroy(event));
}

absl::Status DeviceTrace::mark(cuda::Stream stream) {
  if (used == events.size()) {
    cuda::Event event = nullptr;
    MOE_RETURN_IF_ERROR(MOE_CUDA_CALL(*device, cuEventCreate, &event, 0));
    events.push_back(event);
  }
  return MOE_CUDA_CALL(*device, cuEventRecord, events[used++], stream);
}

absl::Status DeviceTrace::finish() {
  constexpr double kNanoseconds = 1e6;
  stamps.clear();
  uint64_t before = 0;
  for (size_t i = 1; i < used; ++i) {
    float milliseconds = 0;
    MOE_RETURN_IF_ERROR(MOE_CUDA_CALL(*device, cuEventElapsedTime,
                                      &milliseconds, events[0], events[i]));
    const auto now = static_cast<uint64_t>(milliseconds * kNanoseconds);
    stamps.push_back(before);
    stamps.push_back(now);
    before = now;
  }
  return absl::OkStatus();
}

moe_trace DeviceTrace::describe() const {
  moe_trace trace = {};
  trace.size = sizeof(trace);
  trace.stamps = stamps.data();
  trace.intervals = stamps.size() / 2;
  trace.threads = 1;
  return trace;
}
