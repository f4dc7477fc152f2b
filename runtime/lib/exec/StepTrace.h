//===- StepTrace.h - When a step reaches its barriers ---------------------===//
//
// A step that is traced gets a host table of its own, whose functions take the
// time and then call those of the engine. A step that is not never comes here.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_RUNTIME_LIB_EXEC_STEPTRACE_H
#define MOEC_RUNTIME_LIB_EXEC_STEPTRACE_H

#include "runtime/abi/moe_abi.h"
#include "runtime/include/moe/runtime.h"
#include "runtime/lib/base/Error.h"

#include <string>
#include <vector>

namespace moe::rt {

/// Its memory is kept from step to step. One step at a time.
class StepTrace {
public:
  /// `engine` outlives this and runs at most `threads` participants.
  StepTrace(const moe_host_v1 *engine, uint32_t threads);
  StepTrace(const StepTrace &) = delete;

  /// For the step to come; forgets the one before.
  const moe_host_v1 *begin();
  /// Puts the stamps of all participants together. `path` is for messages.
  absl::Status finish(const std::string &path);
  /// Around a whole step, which then runs with the engine's own table.
  void beginWhole();
  void finishWhole();
  /// Of the step that finished last.
  moe_trace describe() const;

private:
  /// What one participant writes; no other one is near.
  struct alignas(64) Lane {
    const StepTrace *trace = nullptr;
    const moe_worker_v1 *worker = nullptr; // the engine's
    std::vector<uint64_t> stamps;          // begin and end of each interval
    bool isComplete = true; // no stamp was lost for want of memory

    void stamp() noexcept;
  };
  /// One call of parallel.
  struct Region {
    StepTrace *trace;
    moe_region_fn fn;
    void *ctx;
  };

  static int32_t parallelEntry(void *user, moe_region_fn fn, void *ctx);
  static void regionEntry(void *region, const moe_worker_v1 *worker);
  static void barrierEntry(const moe_worker_v1 *worker);

  const moe_host_v1 *const engine;
  moe_host_v1 table;
  std::vector<Lane> lanes;
  std::vector<uint64_t> stamps; // [participants, intervals, 2]
  uint64_t intervals = 0;
  uint32_t participants = 0;
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_EXEC_STEPTRACE_H
