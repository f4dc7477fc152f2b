//===- WeightStore.h - Where the weights of a model lie in memory ---------===//
#ifndef MOEC_RUNTIME_LIB_WEIGHTS_WEIGHTSTORE_H
#define MOEC_RUNTIME_LIB_WEIGHTS_WEIGHTSTORE_H

#include "runtime/lib/base/File.h"
#include "runtime/lib/load/ModelDescription.h"

#include <memory>
#include <string>
#include <vector>

namespace moe::rt {

/// The mapped segments of one model. Embedded ones belong to the library, side
/// files to this object; both are guarded against being cut short while they
/// are in use.
class WeightStore {
public:
  WeightStore() = default;
  WeightStore(const WeightStore &) = delete;
  ~WeightStore() { detach(); }

  /// Ends the guards; to be called before the library is closed.
  void detach();

  /// `segments` is the artifact's own table, as long as description.segments;
  /// `stride` is the size of its elements.
  absl::Status attach(const std::string &artifactPath,
                      const ModelDescription &description,
                      const moe_segment_v1 *segments, uint64_t stride);

  /// Maps the segments of devices as well; does nothing when it has. One thread
  /// at a time.
  absl::Status attachDevice(const std::string &artifactPath,
                            const ModelDescription &description);

  /// Reads all pages in and maps them; what cannot be had is left to the steps.
  void populate(const ModelDescription &description) const;

  /// Compares the segments and weights with the checksums of the manifest.
  absl::Status verify(const std::string &artifactPath,
                      const ModelDescription &description) const;

  /// [W] of moe_step_v1; NULL for weights of other devices.
  const void *const *pointers() const { return weights.data(); }
  uint64_t bytes() const { return totalBytes; }
  /// Where a segment that is attached lies; NULL without bytes.
  const uint8_t *segment(uint32_t index) const { return bases[index]; }

  /// True once a mapped file turned out to be shorter than it was.
  bool failed() const { return lost.load(std::memory_order_acquire); }

private:
  absl::Status attachEmbedded(const std::string &artifactPath, uint64_t index,
                              const Segment &segment, const void *data);
  absl::Status attachSideFile(const std::string &artifactPath, uint64_t index,
                              const Segment &segment);

  std::vector<std::unique_ptr<MappedFile>> sideFiles;
  std::vector<struct GuardedRange *> guards;
  std::vector<const void *> embedded; // [segments] of the artifact's table
  std::vector<const uint8_t *> bases; // [segments]
  std::vector<const void *> weights;
  uint64_t totalBytes = 0;
  std::atomic<bool> lost{false};
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_WEIGHTS_WEIGHTSTORE_H
