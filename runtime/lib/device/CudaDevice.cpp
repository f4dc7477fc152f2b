//===- CudaDevice.cpp - A device and its memory ---------------------------===//

#include "runtime/lib/device/CudaDevice.h"

#include <map>
#include <tuple>

using namespace moe::rt;
using namespace moe::rt::cuda;

namespace {

/// Whether an error ends the context, so that every later call fails.
bool endsContext(Result result) {
  switch (result) {
  case Deinitialized:
  case DeviceUnavailable:
  case InvalidContext:
  case EccUncorrectable:
  case NvlinkUncorrectable:
  case Contained:
  case IllegalAddress:
  case LaunchTimeout:
  case ContextIsDestroyed:
  case Assert:
  case HardwareStackError:
  case IllegalInstruction:
  case MisalignedAddress:
  case InvalidAddressSpace:
  case InvalidPc:
  case LaunchFailed:
  case TensorMemoryLeak:
  case ExternalDevice:
  case Unknown:
    return true;
  default:
    return false;
  }
}

/// All open devices by library and ordinal: they go with their last user.
struct Registry {
  std::mutex mutex;
  std::map<std::tuple<std::string, int>, std::weak_ptr<CudaDevice>> devices;
};
Registry &registry() {
  // Never destroyed: models may outlive static objects.
  static Registry *const all = new Registry;
  return *all;
}

} // namespace

absl::StatusOr<std::shared_ptr<CudaDevice>>
CudaDevice::open(std::shared_ptr<const CudaDriver> driver, int ordinal) {
  Registry &all = registry();
  const std::lock_guard<std::mutex> lock(all.mutex);
  std::weak_ptr<CudaDevice> &known = all.devices[{driver->path(), ordinal}];
  if (std::shared_ptr<CudaDevice> open = known.lock()) {
    MOE_RETURN_IF_ERROR(open->status());
    return open;
  }
  std::shared_ptr<CudaDevice> device(
      new CudaDevice(std::move(driver), ordinal));
  MOE_RETURN_IF_ERROR(device->start());
  known = device;
  return device;
}

absl::Status CudaDevice::start() {
  MOE_RETURN_IF_ERROR(MOE_CUDA_CALL(*this, cuDeviceGet, &handle, ordinal));
  constexpr int kNameBytes = 256;
  char text[kNameBytes] = {};
  MOE_RETURN_IF_ERROR(
      MOE_CUDA_CALL(*this, cuDeviceGetName, text, kNameBytes - 1, handle));
  deviceName = text;
  const DeviceAttribute attributes[] = {ComputeCapabilityMajor,
                                        ComputeCapabilityMinor};
  for (size_t i = 0; i < 2; ++i) {
    int value = 0;
    MOE_RETURN_IF_ERROR(MOE_CUDA_CALL(*this, cuDeviceGetAttribute, &value,
                                      attributes[i], handle));
    capability[i] = static_cast<uint32_t>(value);
  }
  return MOE_CUDA_CALL(*this, cuDevicePrimaryCtxRetain, &context, handle);
}

CudaDevice::~CudaDevice() {
  if (context)
    static_cast<void>(api().cuDevicePrimaryCtxRelease(handle));
}

std::string CudaDevice::describe() const {
  return absl::StrCat(deviceName, " (compute capability ", major(), ".",
                      minor(), ")");
}

CudaDevice::Memory CudaDevice::memory() {
  size_t free = 0;
  size_t total = 0;
  const CudaScope scope(*this);
  if (!scope.status().ok() || api().cuMemGetInfo(&free, &total) != Success)
    return {};
  return {free, total};
}

absl::Status CudaDevice::check(const char *function, Result result) {
  if (result == Success)
    return absl::OkStatus();
  const std::string text = library->describe(function, result);
  if (endsContext(result)) {
    const std::lock_guard<std::mutex> lock(mutex);
    if (reason.empty())
      reason = text;
    lost.store(true, std::memory_order_release);
    return deviceFailed("the device is lost: ", text);
  }
  return result == cuda::OutOfMemory ? outOfMemory(text) : deviceFailed(text);
}

absl::Status CudaDevice::status() const {
  if (!lost.load(std::memory_order_acquire))
    return absl::OkStatus();
  const std::lock_guard<std::mutex> lock(mutex);
  return deviceFailed("the device was lost before: ", reason,
                      "; it can be used again when all models that ran on it "
                      "are gone");
}

CudaScope::CudaScope(CudaDevice &device)
    : device(device),
      entered(MOE_CUDA_CALL(device, cuCtxPushCurrent, device.context)) {}

CudaScope::~CudaScope() {
  Context context = nullptr;
  if (entered.ok())
    static_cast<void>(device.api().cuCtxPopCurrent(&context));
}

DeviceMemory::DeviceMemory(DeviceMemory &&other) noexcept
    : device(other.device), base(other.base), bytes(other.bytes) {
  other.base = 0;
  other.bytes = 0;
}

DeviceMemory &DeviceMemory::operator=(DeviceMemory &&other) noexcept {
  std::swap(base, other.base);
  std::swap(bytes, other.bytes);
  std::swap(device, other.device);
  return *this;
}

absl::Status DeviceMemory::reserve(uint64_t wanted, const char *what) {
  if (wanted <= bytes)
    return absl::OkStatus();
  release();
  const CudaScope scope(*device);
  MOE_RETURN_IF_ERROR(scope.status());
  const Result result = device->api().cuMemAlloc(&base, wanted);
  if (result == cuda::OutOfMemory) {
    base = 0;
    const CudaDevice::Memory memory = device->memory();
    return outOfMemory(device->describe(), ": ", what, ": expected ", wanted,
                       " bytes of free memory, found ", memory.free, " of ",
                       memory.total);
  }
  if (result != Success) {
    base = 0;
    return device->check("cuMemAlloc", result);
  }
  bytes = wanted;
  return absl::OkStatus();
}

void DeviceMemory::release() {
  if (!base)
    return;
  const CudaScope scope(*device);
  // A device that is lost has let go of everything.
  if (scope.status().ok())
    static_cast<void>(device->api().cuMemFree(base));
  base = 0;
  bytes = 0;
}

absl::Status PinnedMemory::reserve(uint64_t wanted) {
  if (wanted <= bytes)
    return absl::OkStatus();
  release();
  const CudaScope scope(*device);
  MOE_RETURN_IF_ERROR(scope.status());
  const absl::Status status =
      MOE_CUDA_CALL(*device, cuMemAllocHost, &base, wanted);
  if (!status.ok()) {
    base = nullptr;
    return status;
  }
  bytes = wanted;
  return absl::OkStatus();
}

void PinnedMemory::release() {
  if (!base)
    return;
  const CudaScope scope(*device);
  if (scope.status().ok())
    static_cast<void>(device->api().cuMemFreeHost(base));
  base = nullptr;
  bytes = 0;
}

DeviceStream::~DeviceStream() {
  if (!handle)
    return;
  const CudaScope scope(*device);
  if (scope.status().ok())
    static_cast<void>(device->api().cuStreamDestroy(handle));
}

absl::Status DeviceStream::create() {
  const CudaScope scope(*device);
  MOE_RETURN_IF_ERROR(scope.status());
  return MOE_CUDA_CALL(*device, cuStreamCreate, &handle, kStreamNonBlocking);
}

absl::Status DeviceStream::synchronize() const {
  return MOE_CUDA_CALL(*device, cuStreamSynchronize, handle);
}
