//===- Model.cpp - A loaded artifact --------------------------------------===//

#include "runtime/lib/load/Model.h"

#include "runtime/lib/exec/Processor.h"

#include "absl/strings/str_join.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <dlfcn.h>

using namespace moe::rt;

namespace {

bool hasDeviceVariant(const ModelDescription &model) {
  return std::any_of(
      model.variants.begin(), model.variants.end(),
      [](const Variant &variant) { return variant.device == kCuda; });
}

} // namespace

absl::StatusOr<std::shared_ptr<Model>> Model::load(std::shared_ptr<Team> team,
                                                   const std::string &path,
                                                   bool verify, bool populate) {
  auto artifact = Artifact::open(path);
  if (!artifact.ok())
    return artifact.status();
  std::shared_ptr<Model> model(new Model(std::move(team)));
  model->artifact = *std::move(artifact);
  ModelDescription &description = model->artifact.description;
  MOE_RETURN_IF_ERROR(
      markAvailableVariants(path, description, model->runnable));
  if (!model->runnable.ok() && !hasDeviceVariant(description))
    return model->runnable;
  MOE_RETURN_IF_ERROR(model->openLibrary());
  MOE_RETURN_IF_ERROR(model->query());
  if (!model->runnable.ok() && model->levels.empty())
    return model->runnable;
  const uint64_t stride =
      model->table->num_segments ? model->table->segments->size : 0;
  MOE_RETURN_IF_ERROR(
      model->store.attach(path, description, model->table->segments, stride));
  if (populate)
    model->store.populate(description);
  if (verify)
    MOE_RETURN_IF_ERROR(model->verify());
  return model;
}

absl::Status Model::verify() {
  // A machine without a device may lack the file of its weights.
  const absl::Status attached = store.attachDevice(path(), description());
  if (!attached.ok() && !absl::IsNotFound(attached))
    return attached;
  return store.verify(path(), description());
}

absl::StatusOr<const DeviceModel *> Model::onDevice() {
  const std::lock_guard<std::mutex> lock(deviceMutex);
  if (device) {
    MOE_RETURN_IF_ERROR(device->device()->status());
    return device.get();
  }
  auto loaded = DeviceModel::load(path(), description(), levels, store);
  if (!loaded.ok())
    return loaded.status();
  device = *std::move(loaded);
  return device.get();
}

Model::~Model() {
  device.reset();
  store.detach();
  if (library)
    dlclose(library);
}

absl::StatusOr<const Entry *> Model::entryNamed(const char *name) const {
  if (const Entry *entry = description().findEntry(name))
    return entry;
  const std::string known = absl::StrJoin(
      description().entries, ", ", [](std::string *out, const Entry &each) {
        absl::StrAppend(out, each.name);
      });
  return notFound("expected an entry of '", path(), "' (", known, "), found '",
                  name, "'");
}

absl::Status Model::openLibrary() {
  // Without a slash dlopen would search the library path.
  const std::string &path = artifact.path;
  const std::string name =
      path.find('/') == std::string::npos ? "./" + path : path;
  library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char *reason = dlerror();
    return badArtifact("'", path, "': the dynamic loader refused it: ",
                       reason ? reason : "no reason given");
  }
  return absl::OkStatus();
}

absl::Status Model::query() {
  void *symbol = dlsym(library, MOE_MODEL_QUERY_SYMBOL);
  if (!symbol)
    return badArtifact("'", path(), "': expected the symbol ",
                       MOE_MODEL_QUERY_SYMBOL, ", found none");
  const auto function = reinterpret_cast<moe_model_query_v1_fn>(symbol);
  table = function(MOE_ABI_VERSION, host());
  if (!table)
    return versionMismatch("'", path(), "' refused this runtime (ABI ",
                           MOE_ABI_VERSION,
                           "): it needs a function that the host lacks");
  MOE_RETURN_IF_ERROR(checkTable());
  auto read = readDeviceLevels(path(), description(), *table);
  if (!read.ok())
    return read.status();
  levels = *std::move(read);
  return checkVariants();
}

absl::Status Model::checkTable() const {
  // What follows came later; artifacts without it have no device levels.
  constexpr uint64_t kLeastBytes = offsetof(moe_model_v1, num_device_levels);
  if (table->size < kLeastBytes)
    return badArtifact("'", path(), "': expected a model table of at least ",
                       kLeastBytes, " bytes, found ", table->size);
  if (table->abi_version != MOE_ABI_VERSION)
    return versionMismatch("'", path(), "' was built for ABI ",
                           table->abi_version, ", this runtime has ",
                           MOE_ABI_VERSION);
  // Also catches another version of the file that the process loaded before
  // under the same name: the dynamic loader then returns the old one.
  if (table->manifest_bytes != artifact.manifest.size() || !table->manifest ||
      std::memcmp(table->manifest, artifact.manifest.data(),
                  artifact.manifest.size()) != 0)
    return badArtifact("'", path(), "': expected the library to hold the ",
                       "manifest of the file, found another one; was the ",
                       "file replaced while it was loaded?");
  const ModelDescription &model = description();
  if (table->num_variants != model.variants.size() ||
      table->num_segments != model.segments.size())
    return badArtifact("'", path(), "': expected ", model.variants.size(),
                       " variants and ", model.segments.size(),
                       " segments as in the manifest, found ",
                       table->num_variants, " and ", table->num_segments);
  if ((table->num_segments && !table->segments) ||
      (table->num_segments && table->segments->size < sizeof(moe_segment_v1)))
    return badArtifact("'", path(), "': expected a table of segments, found ",
                       "none or a shorter one");
  return absl::OkStatus();
}

absl::Status Model::checkVariants() const {
  // Every function has an available variant, so there is at least one.
  if (!table->variants || table->variants->size < sizeof(moe_variant_v1))
    return badArtifact("'", path(), "': expected a table of variants, found ",
                       "none or a shorter one");
  for (size_t i = 0; i < description().variants.size(); ++i)
    if ((description().variants[i].device == "cpu" ||
         (description().variants[i].device == kCuda && !levels.empty())) &&
        (code(i).size != table->variants->size || !code(i).step ||
         !code(i).scratch_bytes))
      return badArtifact("'", path(), "': expected code of variant ", i,
                         ", found none");
  return absl::OkStatus();
}
