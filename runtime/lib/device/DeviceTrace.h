//===- DeviceTrace.h - When a device comes to the launches of a step ------===//
#ifndef MOEC_RUNTIME_LIB_DEVICE_DEVICETRACE_H
#define MOEC_RUNTIME_LIB_DEVICE_DEVICETRACE_H

#include "runtime/include/moe/runtime.h"
#include "runtime/lib/device/CudaDevice.h"

#include <vector>

namespace moe::rt {

/// Events around the launches of one step. They are kept from step to step.
/// Calls in a CudaScope.
class DeviceTrace {
public:
  explicit DeviceTrace(std::shared_ptr<CudaDevice> device)
      : device(std::move(device)) {}
  DeviceTrace(const DeviceTrace &) = delete;
  ~DeviceTrace();

  /// Before the first launch, and after each.
  absl::Status mark(cuda::Stream stream);
  /// Forgets the step before.
  void begin() { used = 0; }
  /// Once the stream has been waited for.
  absl::Status finish();
  /// Each launch is an interval of one participant.
  moe_trace describe() const;

private:
  const std::shared_ptr<CudaDevice> device;
  std::vector<cuda::Event> events;
  size_t used = 0;
  std::vector<uint64_t> stamps; // [intervals, 2]
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_DEVICE_DEVICETRACE_H
