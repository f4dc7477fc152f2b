//===- DeviceLevels.h - The device code of an artifact --------------------===//
#ifndef MOEC_RUNTIME_LIB_LOAD_DEVICELEVELS_H
#define MOEC_RUNTIME_LIB_LOAD_DEVICELEVELS_H

#include "runtime/include/moe/runtime.h"
#include "runtime/lib/load/ModelDescription.h"

namespace moe::rt {

/// A checked moe_device_level_v1; what it points to is the artifact's.
struct DeviceLevel {
  std::string name;
  uint32_t major = 0;
  uint32_t minor = 0;
  bool exact = false;
  std::vector<moe_level_kernel> kernels;
  std::vector<moe_level_image> images; // kinds are MOE_IMAGE_
  const void *constants = nullptr;
  uint64_t constantsBytes = 0;
  /// Chooses tokens; NULL: the level cannot.
  int32_t (*sample)(const moe_step_v1 *step) = nullptr;

  /// Whether a device of this compute capability runs it.
  bool runsOn(uint32_t deviceMajor, uint32_t deviceMinor) const {
    return exact ? deviceMajor == major && deviceMinor == minor
                 : deviceMajor > major ||
                       (deviceMajor == major && deviceMinor >= minor);
  }
  /// NULL where there is none.
  const moe_level_image *image(uint32_t kind) const;
  /// "sm_90a (compute capability 9.0 only)"
  std::string describe() const;
};

/// The levels in the artifact's table, every field checked. Artifacts from
/// before there were any have none.
absl::StatusOr<std::vector<DeviceLevel>>
readDeviceLevels(const std::string &path, const ModelDescription &model,
                 const moe_model_v1 &table);

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_LOAD_DEVICELEVELS_H
