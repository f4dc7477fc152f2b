//===- BatchBuilder.h - From a caller's items to a batch ------------------===//
//
// Flattens the inputs of all items into the arrays of moe_batch_v1 and checks
// everything that generated code relies on. Its arrays are kept from step to
// step, so a step of a size seen before allocates nothing.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_RUNTIME_LIB_EXEC_BATCHBUILDER_H
#define MOEC_RUNTIME_LIB_EXEC_BATCHBUILDER_H

#include "runtime/include/moe/runtime.h"
#include "runtime/lib/base/StructSize.h"
#include "runtime/lib/exec/PagePool.h"

namespace moe::rt {

class BatchBuilder {
public:
  explicit BatchBuilder(const ModelDescription &model) : model(model) {}

  /// Begins a batch for `entry`.
  void begin(const Entry &entry);
  /// Adds the tokens of an item; `sequence` is NULL without a cache. After a
  /// failure the batch is useless until the next begin.
  absl::Status add(const moe_item &item, const PageList *sequence);
  /// Lays raw inputs out and completes everything but the page table.
  absl::Status finish();
  /// Writes the page table; `sequences[b]` holds the pages of all its tokens.
  void setPages(const std::vector<PageList *> &sequences);

  /// What the step exchanges with its routers; NULL: nothing.
  void setRouting(const moe_routing_io_v1 *routing) {
    result.routing = routing;
  }

  const moe_batch_v1 &batch() const { return result; }
  ModalityMask modalities() const { return present; }
  uint64_t tokensOf(uint64_t item) const {
    return static_cast<uint64_t>(cuSeqlens[item + 1] - cuSeqlens[item]);
  }
  const uint64_t *rowStarts() const { return starts.data(); }

private:
  /// An input whose modality, type and count have been checked.
  struct Resolved {
    const Modality *modality;
    uint64_t inputs; // ids, or raw inputs
  };
  struct RawSource {
    const Modality *modality;
    const void *data;
    uint64_t inputs;
  };

  template <typename... Args> absl::Status badItem(const Args &...args) const {
    return invalidArgument("entry '", entry->name, "', item ",
                           cuSeqlens.size() - 1, ": ", args...);
  }

  absl::StatusOr<Resolved> resolve(const moe_input &input) const;
  absl::Status checkLength(uint64_t held, uint64_t added) const;
  absl::Status layoutError(StructArray<const moe_input> inputs,
                           uint64_t held) const;
  absl::Status appendIds(const moe_input &input, const Resolved &resolved);
  void appendRaw(const moe_input &input, const Resolved &resolved);
  absl::Status appendRows(const moe_item &item, uint64_t firstToken);

  const ModelDescription &model;
  const Entry *entry = nullptr;
  const Function *function = nullptr;
  ModalityMask present = 0;
  uint64_t rawInputs[MOE_MAX_MODALITIES] = {};

  std::vector<int32_t> tokens;
  std::vector<int8_t> kinds;
  std::vector<int32_t> positions;
  std::vector<int32_t> cuSeqlens;
  std::vector<int32_t> pageTable;
  std::vector<int32_t> logitsRows;
  std::vector<uint64_t> starts;
  std::vector<RawSource> rawSources;
  Region rawBuffers[MOE_MAX_MODALITIES];
  moe_batch_v1 result = {};
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_EXEC_BATCHBUILDER_H
