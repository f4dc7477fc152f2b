//===- Team.h - The threads of an engine ----------------------------------===//
//
// A fixed number of persistent threads that run one parallel region at a time.
// Steps of several sessions take turns: every region gets all threads, which
// finishes a queue of steps sooner than dividing the cores would, and keeps the
// number of participants, hence the partition of work, the same for all.
//
// A region started inside a region runs with one participant, as the ABI
// permits, for the team is busy with the outer one.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_RUNTIME_LIB_EXEC_TEAM_H
#define MOEC_RUNTIME_LIB_EXEC_TEAM_H

#include "runtime/abi/moe_abi.h"
#include "runtime/lib/base/Error.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace moe::rt {

/// Threads wait here for a number to change: a bounded spin, then the kernel.
class WaitWord {
public:
  explicit WaitWord(uint32_t spins) : spins(spins) {}
  uint32_t value() const { return word.load(std::memory_order_acquire); }
  /// Increments the word and wakes everybody who waits for that.
  void advance();
  /// Returns when the word is no longer `old`.
  void waitWhile(uint32_t old);

private:
  std::atomic<uint32_t> word{0};
  std::atomic<uint32_t> sleepers{0};
  const uint32_t spins;
};

class Team {
public:
  /// Most threads that MOE_THREADS or a caller may ask for.
  static constexpr uint32_t kMaxThreads = 1024;

  /// 0: MOE_THREADS from the environment, else the CPUs this process may use.
  static absl::StatusOr<std::unique_ptr<Team>> create(uint32_t threads);
  Team(const Team &) = delete;
  ~Team();

  uint32_t threads() const { return count; }

  /// The host table for generated code; lives as long as the team.
  const moe_host_v1 *host() const { return &hostTable; }

private:
  Team(uint32_t threads, uint32_t spins);

  absl::Status start();
  void run(moe_region_fn fn, void *ctx);
  void work(uint32_t thread);
  void participate(uint32_t thread);
  void barrier();
  static int32_t parallelEntry(void *user, moe_region_fn fn, void *ctx);
  static void barrierEntry(const moe_worker_v1 *worker);

  const uint32_t count;
  moe_host_v1 hostTable;
  std::vector<std::thread> workers;

  std::mutex regionMutex; // one region at a time
  // The current region; written before `regions` advances.
  moe_region_fn regionFn = nullptr;
  void *regionCtx = nullptr;
  bool stopping = false;

  // Each on a cache line of its own: they are written by different threads.
  alignas(64) WaitWord regions;
  alignas(64) std::atomic<uint32_t> running{0};
  alignas(64) WaitWord finished;
  alignas(64) std::atomic<uint32_t> arrived{0};
  alignas(64) WaitWord barriers;
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_EXEC_TEAM_H
