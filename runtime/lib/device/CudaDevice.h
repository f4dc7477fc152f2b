//===- CudaDevice.h - A device and its memory -----------------------------===//
//
// The primary context of one device, shared by everything in the process that
// uses the device, so that we get along with other libraries.
//
// Some errors end a context: whatever is called later fails as well. The device
// then remembers how it was lost, and says so to everybody who comes. It can be
// had anew when all its models are gone.
//
// Threads: all functions from any thread. What needs the context runs in a
// CudaScope.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_RUNTIME_LIB_DEVICE_CUDADEVICE_H
#define MOEC_RUNTIME_LIB_DEVICE_CUDADEVICE_H

#include "runtime/lib/device/CudaDriver.h"

#include <atomic>
#include <mutex>

namespace moe::rt {

class CudaDevice {
public:
  /// The device `ordinal` of the driver, its context alive.
  static absl::StatusOr<std::shared_ptr<CudaDevice>>
  open(std::shared_ptr<const CudaDriver> driver, int ordinal);
  CudaDevice(const CudaDevice &) = delete;
  ~CudaDevice();

  const CudaDriver &driver() const { return *library; }
  const cuda::Api &api() const { return library->api(); }
  const std::string &name() const { return deviceName; }
  uint32_t major() const { return capability[0]; }
  uint32_t minor() const { return capability[1]; }
  /// "NVIDIA H100 (compute capability 9.0)"
  std::string describe() const;

  struct Memory {
    uint64_t free = 0;
    uint64_t total = 0;
  };
  Memory memory();

  /// OK, or what went wrong; remembers errors that end the context.
  absl::Status check(const char *function, cuda::Result result);
  /// OK, or how the device was lost.
  absl::Status status() const;

private:
  friend class CudaScope;
  CudaDevice(std::shared_ptr<const CudaDriver> driver, int ordinal)
      : library(std::move(driver)), ordinal(ordinal) {}
  absl::Status start();

  const std::shared_ptr<const CudaDriver> library;
  const int ordinal;
  cuda::Device handle = 0;
  cuda::Context context = nullptr;
  std::string deviceName;
  uint32_t capability[2] = {};
  std::atomic<bool> lost{false};
  mutable std::mutex mutex; // of reason
  std::string reason;       // why it is lost
};

/// Calls a function of the driver in the current scope.
#define MOE_CUDA_CALL(DEVICE, FUNCTION, ...)                                   \
  (DEVICE).check(#FUNCTION, (DEVICE).api().FUNCTION(__VA_ARGS__))

/// Makes the device's context current in this thread, and what was current
/// before current again.
class CudaScope {
public:
  explicit CudaScope(CudaDevice &device);
  CudaScope(const CudaScope &) = delete;
  ~CudaScope();
  /// Whether that was possible.
  const absl::Status &status() const { return entered; }

private:
  CudaDevice &device;
  const absl::Status entered;
};

/// Memory of the device. Nothing that runs may use it when it goes.
class DeviceMemory {
public:
  explicit DeviceMemory(std::shared_ptr<CudaDevice> device)
      : device(std::move(device)) {}
  DeviceMemory(DeviceMemory &&other) noexcept;
  DeviceMemory &operator=(DeviceMemory &&other) noexcept;
  ~DeviceMemory() { release(); }

  /// Makes room for `wanted` bytes; what it held is gone if it was too small.
  /// `what` is for the message of a device that has no more.
  absl::Status reserve(uint64_t wanted, const char *what);
  void release();

  uint64_t address() const { return base; }
  void *pointer() const { return reinterpret_cast<void *>(base); }
  uint64_t size() const { return bytes; }

private:
  std::shared_ptr<CudaDevice> device;
  cuda::DevicePointer base = 0;
  uint64_t bytes = 0;
};

/// Memory of the host that the device copies from and to by itself.
class PinnedMemory {
public:
  explicit PinnedMemory(std::shared_ptr<CudaDevice> device)
      : device(std::move(device)) {}
  PinnedMemory(const PinnedMemory &) = delete;
  ~PinnedMemory() { release(); }

  /// As DeviceMemory::reserve.
  absl::Status reserve(uint64_t wanted);
  void release();

  uint8_t *data() const { return static_cast<uint8_t *>(base); }
  uint64_t size() const { return bytes; }

private:
  const std::shared_ptr<CudaDevice> device;
  void *base = nullptr;
  uint64_t bytes = 0;
};

/// A queue of the device.
class DeviceStream {
public:
  explicit DeviceStream(std::shared_ptr<CudaDevice> device)
      : device(std::move(device)) {}
  DeviceStream(const DeviceStream &) = delete;
  ~DeviceStream();

  absl::Status create();
  absl::Status synchronize() const;
  cuda::Stream get() const { return handle; }

private:
  const std::shared_ptr<CudaDevice> device;
  cuda::Stream handle = nullptr;
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_DEVICE_CUDADEVICE_H
