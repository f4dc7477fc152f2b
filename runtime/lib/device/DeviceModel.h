//===- DeviceModel.h - A model's code and weights on a device -------------===//
#ifndef MOEC_RUNTIME_LIB_DEVICE_DEVICEMODEL_H
#define MOEC_RUNTIME_LIB_DEVICE_DEVICEMODEL_H

#include "runtime/lib/device/CudaDevice.h"
#include "runtime/lib/load/DeviceLevels.h"
#include "runtime/lib/weights/WeightStore.h"

namespace moe::rt {

/// What all sessions of a model share on a device: the kernels of one level,
/// its constants, and the weights that its variants read. Immutable after load.
class DeviceModel {
public:
  /// Opens the driver, chooses the device and the level that fit best, loads
  /// the code and copies the weights. The store's device segments are attached.
  static absl::StatusOr<std::unique_ptr<DeviceModel>>
  load(const std::string &path, const ModelDescription &model,
       const std::vector<DeviceLevel> &levels, WeightStore &store);
  DeviceModel(const DeviceModel &) = delete;
  ~DeviceModel();

  struct Kernel {
    const char *name;
    cuda::Function function;
    uint32_t threads;
    uint32_t sharedBytes;
  };

  const std::shared_ptr<CudaDevice> &device() const { return gpu; }
  const DeviceLevel &level() const { return *chosen; }
  const std::vector<Kernel> &kernels() const { return entries; }
  /// Whether this level has the variant's code.
  bool hasVariant(const Variant &variant) const {
    return variant.device == kCuda && variant.isa == chosen->name;
  }

  /// [W] of moe_step_v1; NULL for weights that no variant of the level reads.
  const std::vector<const void *> &weightPointers() const { return pointers; }
  /// The same array on the device.
  uint64_t weightTable() const { return table.address(); }
  uint64_t constants() const { return constantData.address(); }

  uint64_t weightBytes() const { return weights.size() + table.size(); }
  uint64_t constantBytes() const { return constantData.size(); }

private:
  DeviceModel(std::shared_ptr<CudaDevice> device, const DeviceLevel &level)
      : gpu(std::move(device)), chosen(&level), weights(gpu), table(gpu),
        constantData(gpu) {}

  absl::Status checkVariants(const std::string &path,
                             const ModelDescription &model) const;
  absl::Status loadCode(const std::string &path);
  absl::Status loadImage(const std::string &path);
  absl::Status loadPtx(const moe_level_image &image);
  absl::Status findKernels(const std::string &path);
  absl::Status upload(const std::string &path, const ModelDescription &model,
                      const WeightStore &store);

  const std::shared_ptr<CudaDevice> gpu;
  const DeviceLevel *const chosen;
  cuda::Module module = nullptr;
  std::vector<Kernel> entries;
  std::vector<const void *> pointers;
  DeviceMemory weights;
  DeviceMemory table;
  DeviceMemory constantData;
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_DEVICE_DEVICEMODEL_H
