//===- DevicePages.cpp - Cache pages in the memory of a device ------------===//

#include "runtime/lib/device/DevicePages.h"

using namespace moe::rt;

DevicePages::DevicePages(std::shared_ptr<CudaDevice> given,
                         const DeviceStream &stream, size_t count)
    : device(std::move(given)), stream(stream) {
  for (size_t i = 0; i < count; ++i)
    states.emplace_back(device);
}

absl::StatusOr<void *> DevicePages::grow(size_t state, uint64_t bytes) {
  DeviceMemory &held = states[state];
  if (bytes <= held.size())
    return held.pointer();
  const CudaScope scope(*device);
  MOE_RETURN_IF_ERROR(scope.status());
  DeviceMemory larger(device);
  MOE_RETURN_IF_ERROR(larger.reserve(bytes, "the cache pages of a session"));
  // Pages that no token was written to hold zeros, as on the processor.
  if (held.size())
    MOE_RETURN_IF_ERROR(MOE_CUDA_CALL(*device, cuMemcpyDtoDAsync,
                                      larger.address(), held.address(),
                                      held.size(), stream.get()));
  MOE_RETURN_IF_ERROR(MOE_CUDA_CALL(*device, cuMemsetD8Async,
                                    larger.address() + held.size(), 0,
                                    bytes - held.size(), stream.get()));
  MOE_RETURN_IF_ERROR(stream.synchronize());
  held = std::move(larger);
  ++moved;
  return held.pointer();
}

void DevicePages::copy(size_t state, uint64_t to, uint64_t from,
                       uint64_t bytes) {
  const CudaScope scope(*device);
  if (status.ok())
    status = scope.status();
  if (!status.ok())
    return;
  const uint64_t base = states[state].address();
  status = MOE_CUDA_CALL(*device, cuMemcpyDtoDAsync, base + to, base + from,
                         bytes, stream.get());
}

absl::Status DevicePages::takeStatus() {
  const absl::Status taken = std::move(status);
  status = absl::OkStatus();
  return taken;
}

uint64_t DevicePages::bytes() const {
  uint64_t sum = 0;
  for (const DeviceMemory &state : states)
    sum += state.size();
  return sum;
}
