//===- DeviceChoice.h - Which device runs a model, and which of its code --===//
#ifndef MOEC_RUNTIME_LIB_DEVICE_DEVICECHOICE_H
#define MOEC_RUNTIME_LIB_DEVICE_DEVICECHOICE_H

#include "runtime/lib/device/CudaDriver.h"
#include "runtime/lib/load/DeviceLevels.h"

namespace moe::rt {

struct DeviceChoice {
  int ordinal = 0; // of the device
  const DeviceLevel *level = nullptr;
};

/// The first device of the driver that runs a level. Of the levels that it
/// runs, one for exactly its compute capability wins, then the highest.
/// MOE_GPU_ARCH in the environment leaves one level only.
absl::StatusOr<DeviceChoice>
chooseDevice(const std::string &path, const CudaDriver &driver,
             const std::vector<DeviceLevel> &levels);

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_DEVICE_DEVICECHOICE_H
