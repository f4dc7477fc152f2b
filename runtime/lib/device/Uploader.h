//===- Uploader.h - Copies files that are mapped to a device --------------===//
#ifndef MOEC_RUNTIME_LIB_DEVICE_UPLOADER_H
#define MOEC_RUNTIME_LIB_DEVICE_UPLOADER_H

#include "runtime/lib/device/CudaDevice.h"

namespace moe::rt {

/// Copies through two buffers of pinned memory: the pages of a file are read in
/// this thread, where a file that was cut short does no harm, while the device
/// copies the buffer before. In a CudaScope.
class Uploader {
public:
  explicit Uploader(std::shared_ptr<CudaDevice> device);

  /// `most` is the number of bytes that will come, for the buffers.
  absl::Status begin(uint64_t most);
  absl::Status copy(uint64_t to, const void *from, uint64_t bytes);
  /// Waits until everything has arrived.
  absl::Status finish();

private:
  struct Half {
    explicit Half(const std::shared_ptr<CudaDevice> &device)
        : buffer(device), stream(device) {}
    PinnedMemory buffer;
    DeviceStream stream;
  };

  const std::shared_ptr<CudaDevice> device;
  Half halves[2];
  size_t next = 0;
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_DEVICE_UPLOADER_H
