//===- DeviceLevels.cpp - The device code of an artifact ------------------===//

#include "runtime/lib/load/DeviceLevels.h"

#include <algorithm>
#include <cstddef>

using namespace moe::rt;

namespace {

/// Most threads of a block, of any device so far.
constexpr uint32_t kMostThreads = 1024;

/// An array whose elements are as long as the first one says, `least` bytes.
template <typename Struct> class Elements {
public:
  Elements(const Struct *first, uint64_t count, uint64_t least = sizeof(Struct))
      : first(first), count(count), least(least) {}
  bool isValid() const {
    if (count && (!first || first->size < least))
      return false;
    for (uint64_t i = 0; i < count; ++i)
      if ((*this)[i].size != first->size)
        return false;
    return true;
  }
  uint64_t size() const { return count; }
  const Struct &operator[](uint64_t index) const {
    return *reinterpret_cast<const Struct *>(
        reinterpret_cast<const char *>(first) + index * first->size);
  }

private:
  const Struct *first;
  uint64_t count;
  uint64_t least;
};

class LevelReader {
public:
  LevelReader(const std::string &path, uint64_t index)
      : where(absl::StrCat("'", path, "': device level ", index)) {}

  absl::StatusOr<DeviceLevel> read(const moe_device_level_v1 &from) {
    if (!from.name || !*from.name)
      return bad("expected a name, found none");
    to.name = from.name;
    absl::StrAppend(&where, " '", to.name, "'");
    to.major = from.major;
    to.minor = from.minor;
    to.exact = from.exact != 0;
    to.constants = from.constants;
    to.constantsBytes = from.constants_bytes;
    if (from.size >= sizeof(from))
      to.sample = from.sample;
    if (to.constantsBytes && !to.constants)
      return bad("expected ", to.constantsBytes,
                 " bytes of constants, found none");
    MOE_RETURN_IF_ERROR(readKernels(Elements(from.kernels, from.num_kernels)));
    MOE_RETURN_IF_ERROR(readImages(Elements(from.images, from.num_images)));
    return std::move(to);
  }

private:
  template <typename... Args> absl::Status bad(const Args &...args) const {
    return badArtifact(where, ": ", args...);
  }

  absl::Status readKernels(const Elements<moe_kernel_v1> &kernels) {
    if (!kernels.isValid())
      return bad("expected a table of ", kernels.size(),
                 " kernels, found none or a shorter one");
    for (uint64_t i = 0; i < kernels.size(); ++i) {
      const moe_kernel_v1 &kernel = kernels[i];
      if (!kernel.name || !*kernel.name)
        return bad("kernel ", i, ": expected a name, found none");
      if (kernel.threads == 0 || kernel.threads > kMostThreads)
        return bad("kernel '", kernel.name, "': expected 1 to ", kMostThreads,
                   " threads, found ", kernel.threads);
      to.kernels.push_back({kernel.name, kernel.threads, kernel.shared_bytes});
    }
    return absl::OkStatus();
  }

  absl::Status readImages(const Elements<moe_device_image_v1> &images) {
    if (!images.isValid())
      return bad("expected a table of ", images.size(),
                 " images, found none or a shorter one");
    for (uint64_t i = 0; i < images.size(); ++i) {
      const moe_device_image_v1 &image = images[i];
      if (!image.data || image.bytes == 0)
        return bad("image ", i, ": expected data, found none");
      const auto *text = static_cast<const char *>(image.data);
      if (image.kind == MOE_IMAGE_PTX && text[image.bytes - 1] != '\0')
        return bad("image ", i, ": expected PTX that ends with a NUL byte, ",
                   "found another one");
      to.images.push_back({image.kind, 0, image.bytes, image.data});
    }
    return absl::OkStatus();
  }

  std::string where;
  DeviceLevel to;
};

} // namespace

const moe_level_image *DeviceLevel::image(uint32_t kind) const {
  for (const moe_level_image &each : images)
    if (each.kind == kind)
      return &each;
  return nullptr;
}

std::string DeviceLevel::describe() const {
  return absl::StrCat(name, " (compute capability ", major, ".", minor,
                      exact ? " only)" : " and above)");
}

absl::StatusOr<std::vector<DeviceLevel>>
moe::rt::readDeviceLevels(const std::string &path,
                          const ModelDescription &model,
                          const moe_model_v1 &table) {
  std::vector<DeviceLevel> levels;
  constexpr uint64_t kWithLevels =
      offsetof(moe_model_v1, device_levels) + sizeof(table.device_levels);
  if (table.size < kWithLevels || table.num_device_levels == 0)
    return levels;
  // Older ones end before the function that chooses tokens.
  const Elements given(table.device_levels, table.num_device_levels,
                       offsetof(moe_device_level_v1, sample));
  if (!given.isValid())
    return badArtifact("'", path, "': expected a table of ", given.size(),
                       " device levels, found none or a shorter one");
  for (uint64_t i = 0; i < given.size(); ++i) {
    auto level = LevelReader(path, i).read(given[i]);
    if (!level.ok())
      return level.status();
    levels.push_back(*std::move(level));
  }
  for (size_t i = 0; i < model.variants.size(); ++i) {
    const Variant &variant = model.variants[i];
    const auto named = [&](const DeviceLevel &level) {
      return level.name == variant.isa;
    };
    if (variant.device == kCuda &&
        std::count_if(levels.begin(), levels.end(), named) != 1)
      return badArtifact("'", path, "': variant ", i,
                         ": expected one device level '", variant.isa,
                         "', found none or several");
  }
  return levels;
}
