//===- DeviceChoice.cpp - Which device runs a model, and which code -------===//

#include "runtime/lib/device/DeviceChoice.h"

#include "absl/strings/str_join.h"

#include <cstdlib>
#include <tuple>

using namespace moe::rt;
using namespace moe::rt::cuda;

namespace {

struct DeviceInfo {
  std::string name;
  uint32_t major;
  uint32_t minor;
};

absl::StatusOr<DeviceInfo> infoOf(const CudaDriver &driver, int ordinal) {
  const Api &api = driver.api();
  Device device = 0;
  char name[256] = {};
  int major = 0;
  int minor = 0;
  Result result = api.cuDeviceGet(&device, ordinal);
  if (result != Success)
    return unsupported(driver.describe("cuDeviceGet", result));
  result = api.cuDeviceGetName(name, sizeof(name) - 1, device);
  if (result != Success)
    return unsupported(driver.describe("cuDeviceGetName", result));
  result = api.cuDeviceGetAttribute(&major, ComputeCapabilityMajor, device);
  if (result == Success)
    result = api.cuDeviceGetAttribute(&minor, ComputeCapabilityMinor, device);
  if (result != Success)
    return unsupported(driver.describe("cuDeviceGetAttribute", result));
  return DeviceInfo{name, static_cast<uint32_t>(major),
                    static_cast<uint32_t>(minor)};
}

/// Of the levels that the device runs; NULL: none.
const DeviceLevel *bestLevel(const std::vector<const DeviceLevel *> &levels,
                             const DeviceInfo &device) {
  const auto rank = [](const DeviceLevel &level) {
    return std::make_tuple(level.exact, level.major, level.minor);
  };
  const DeviceLevel *best = nullptr;
  for (const DeviceLevel *level : levels)
    if (level->runsOn(device.major, device.minor) &&
        (!best || rank(*level) > rank(*best)))
      best = level;
  return best;
}

std::string namesOf(const std::vector<const DeviceLevel *> &levels) {
  return absl::StrJoin(levels, ", ",
                       [](std::string *out, const DeviceLevel *level) {
                         *out += level->describe();
                       });
}

} // namespace

absl::StatusOr<DeviceChoice>
moe::rt::chooseDevice(const std::string &path, const CudaDriver &driver,
                      const std::vector<DeviceLevel> &levels) {
  const char *wanted = std::getenv("MOE_GPU_ARCH");
  std::vector<const DeviceLevel *> all;
  std::vector<const DeviceLevel *> offered;
  for (const DeviceLevel &level : levels) {
    all.push_back(&level);
    if (!wanted || !*wanted || level.name == wanted)
      offered.push_back(&level);
  }
  if (offered.empty())
    return unsupported("MOE_GPU_ARCH: expected a level of '", path, "' (",
                       namesOf(all), "), found '", wanted, "'");
  int count = 0;
  const Result result = driver.api().cuDeviceGetCount(&count);
  if (result != Success)
    return unsupported(driver.describe("cuDeviceGetCount", result));
  if (count == 0)
    return unsupported("the CUDA driver '", driver.path(), "' finds no device");
  std::vector<std::string> found;
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    const auto device = infoOf(driver, ordinal);
    if (!device.ok())
      return device.status();
    if (const DeviceLevel *level = bestLevel(offered, *device))
      return DeviceChoice{ordinal, level};
    found.push_back(absl::StrCat(device->name, " (compute capability ",
                                 device->major, ".", device->minor, ")"));
  }
  return unsupported("'", path, "': expected a device for ", namesOf(offered),
                     ", found ", absl::StrJoin(found, ", "));
}
