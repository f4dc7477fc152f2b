//===- Model.h - A loaded artifact ----------------------------------------===//
#ifndef MOEC_RUNTIME_LIB_LOAD_MODEL_H
#define MOEC_RUNTIME_LIB_LOAD_MODEL_H

#include "runtime/lib/device/DeviceModel.h"
#include "runtime/lib/exec/Team.h"
#include "runtime/lib/load/Artifact.h"
#include "runtime/lib/weights/WeightStore.h"

#include <memory>
#include <mutex>

namespace moe::rt {

/// Immutable after load, but for the flag that its weights were cut short, and
/// for what the first session on a device puts there.
class Model {
public:
  static absl::StatusOr<std::shared_ptr<Model>> load(std::shared_ptr<Team> team,
                                                     const std::string &path,
                                                     bool verify,
                                                     bool populate);
  Model(const Model &) = delete;
  ~Model();

  const ModelDescription &description() const { return artifact.description; }
  const std::vector<uint8_t> &manifest() const { return artifact.manifest; }
  const std::string &path() const { return artifact.path; }
  const WeightStore &weights() const { return store; }
  const moe_host_v1 *host() const { return team->host(); }
  uint32_t threads() const { return team->threads(); }

  /// OK, or why the processor does not run it.
  const absl::Status &onProcessor() const { return runnable; }
  const std::vector<DeviceLevel> &deviceLevels() const { return levels; }
  /// The model on a device, as long as the model lives. The first call opens
  /// the driver and copies the weights; one that fails may be tried again.
  absl::StatusOr<const DeviceModel *> onDevice();

  /// The error of an unknown name lists the known ones.
  absl::StatusOr<const Entry *> entryNamed(const char *name) const;

  /// The generated code of a variant.
  const moe_variant_v1 &code(uint64_t variant) const {
    return *reinterpret_cast<const moe_variant_v1 *>(
        reinterpret_cast<const uint8_t *>(table->variants) +
        variant * table->variants->size);
  }

private:
  explicit Model(std::shared_ptr<Team> team) : team(std::move(team)) {}

  absl::Status openLibrary();
  absl::Status query();
  absl::Status checkTable() const;
  absl::Status checkVariants() const;
  absl::Status verify();

  std::shared_ptr<Team> team;
  Artifact artifact;
  void *library = nullptr;
  const moe_model_v1 *table = nullptr;
  absl::Status runnable; // on the processor
  std::vector<DeviceLevel> levels;
  WeightStore store;
  std::mutex deviceMutex; // of `device`, and of the store's device segments
  std::unique_ptr<DeviceModel> device;
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_LOAD_MODEL_H
