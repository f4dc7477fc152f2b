//===- DevicePages.h - Cache pages in the memory of a device --------------===//
#ifndef MOEC_RUNTIME_LIB_DEVICE_DEVICEPAGES_H
#define MOEC_RUNTIME_LIB_DEVICE_DEVICEPAGES_H

#include "runtime/lib/device/CudaDevice.h"
#include "runtime/lib/exec/PageMemory.h"

namespace moe::rt {

/// Each state is an allocation; growing copies it to a larger one, so that at
/// most one state exists twice at a time. Copies go through the session's
/// stream, in which the step follows them.
class DevicePages : public PageMemory {
public:
  /// The stream outlives this.
  DevicePages(std::shared_ptr<CudaDevice> device, const DeviceStream &stream,
              size_t states);

  absl::StatusOr<void *> grow(size_t state, uint64_t bytes) override;
  void copy(size_t state, uint64_t to, uint64_t from, uint64_t bytes) override;

  /// OK, or what went wrong in the copies since the last call.
  absl::Status takeStatus();
  /// Changes whenever a state has moved.
  uint64_t moves() const { return moved; }
  uint64_t bytes() const;

private:
  const std::shared_ptr<CudaDevice> device;
  const DeviceStream &stream;
  std::vector<DeviceMemory> states;
  absl::Status status;
  uint64_t moved = 0;
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_DEVICE_DEVICEPAGES_H
