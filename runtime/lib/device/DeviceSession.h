//===- DeviceSession.h - The steps of a session on a device ---------------===//
#ifndef MOEC_RUNTIME_LIB_DEVICE_DEVICESESSION_H
#define MOEC_RUNTIME_LIB_DEVICE_DEVICESESSION_H

#include "runtime/lib/device/DeviceModel.h"
#include "runtime/lib/device/DevicePages.h"
#include "runtime/lib/device/DeviceTrace.h"
#include "runtime/lib/device/GraphCache.h"
#include "runtime/lib/device/StepStaging.h"

namespace moe::rt {

/// Scratch, staging and results of one session, and the stream in which its
/// steps run. One thread at a time; the model outlives it.
///
/// A step is: pages that are written to copied, one copy to the device, the
/// launches of the generated code, one copy back. The host waits at the end
/// and nowhere else. The launches of a step whose sizes come for the second
/// time are captured as a graph and replayed from then on. MOE_CUDA_GRAPHS=0 in
/// the environment forbids that; MOE_CUDA_SYNC=1 waits after every launch, so
/// that an error is that of the kernel it names.
class DeviceSession {
public:
  static absl::StatusOr<std::unique_ptr<DeviceSession>>
  create(const DeviceModel &model, const ModelDescription &description);
  DeviceSession(const DeviceSession &) = delete;
  ~DeviceSession();

  const DeviceModel &model() const { return loaded; }

  /// Memory for the pages of the session; it must not outlive this. Called
  /// once.
  std::unique_ptr<PageMemory> makePages(size_t states);

  /// Whether the level can choose tokens.
  bool canChoose() const { return loaded.level().sample != nullptr; }

  /// Makes room for a step that needs `scratchBytes`; a page table as wide as
  /// the batch's `pageColumns` will come. Outputs stay on the device unless
  /// `keepsOutputs`.
  absl::Status prepare(const DeviceBatch &batch, uint64_t scratchBytes,
                       bool keepsOutputs);
  /// Runs the step that was prepared; `batch` now has its page table. A step
  /// of generated code that ends with a status of its own puts it into
  /// `stepStatus`. `trace` is a MOE_TRACE_.
  absl::Status run(const moe_variant_v1 &code, const moe_host_v1 *host,
                   void *const *states, uint32_t trace, int32_t &stepStatus);
  /// Whether steps can be traced.
  bool canTrace() const { return device().driver().hasEvents(); }
  /// Of the last step, which was traced; until the next one.
  moe_trace trace() const { return stamps.describe(); }

  /// Results of the last step in the memory of the host, until the next one.
  const float *output(size_t index) const;
  /// Where the step was to choose; -1 for rows without a choice.
  const int32_t *tokens() const;
  /// Brings one row of the first output, which stayed on the device.
  absl::StatusOr<const float *> fetchRow(uint64_t row);
  const int32_t *routingIds() const;
  const float *routingWeights() const;
  uint64_t routingCount() const { return staging.routingCount(); }

  /// Bytes of the device's memory.
  struct Memory {
    uint64_t cache, scratch, outputs, batch;
  };
  Memory memory() const;
  /// A failure for want of memory, with what the session has of it.
  absl::Status withPlan(const absl::Status &status) const;

  /// moe_host_v1.launch.
  static int32_t launchEntry(const moe_step_v1 *step,
                             const moe_launch_v1 *launch);

private:
  DeviceSession(const DeviceModel &model, const ModelDescription &description);
  DeviceAddresses addresses() const;
  absl::Status queueStep(const moe_variant_v1 &code, bool stamped,
                         int32_t &stepStatus);
  absl::Status upload();
  absl::Status launchAll(const moe_variant_v1 &code, int32_t &stepStatus);
  GraphKey graphKey(const moe_variant_v1 &code) const;
  absl::Status launchGraph(const moe_variant_v1 &code, int32_t &stepStatus);
  absl::Status capture(const moe_variant_v1 &code, GraphCache::Entry &entry,
                       int32_t &stepStatus);
  absl::Status launch(const moe_launch_v1 &launch);
  CudaDevice &device() const { return *loaded.device(); }

  const DeviceModel &loaded;
  DeviceStream stream;
  DevicePages *pages = nullptr; // of the session's pool
  StepStaging staging;
  PinnedMemory hostStaging;
  PinnedMemory hostResults;
  DeviceMemory deviceStaging;
  DeviceMemory deviceResults;
  DeviceMemory scratch;
  GraphCache graphs;
  bool usesGraphs;
  const bool waitsForLaunches;
  // What the graphs have in them.
  DeviceAddresses graphAddresses = {};
  uint64_t graphMoves = 0;
  DeviceTrace stamps;
  bool keepsOutputs = true; // of the step that runs
  bool tracing = false;     // the launches of the step that runs
  absl::Status launched;    // likewise
  std::vector<void *> parameters;
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_DEVICE_DEVICESESSION_H
