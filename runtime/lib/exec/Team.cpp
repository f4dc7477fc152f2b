//===- Team.cpp - The threads of an engine --------------------------------===//

#include "runtime/lib/exec/Team.h"

#include "runtime/lib/device/DeviceSession.h"

#include "absl/strings/numbers.h"

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

using namespace moe::rt;

namespace {

/// About 50 microseconds: longer than the gap between two barriers of a small
/// step, much shorter than a time slice.
constexpr uint32_t kSpins = 2000;

/// Whether this thread is inside a region of some team.
thread_local bool insideRegion = false;

void pauseCpu() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

long futex(std::atomic<uint32_t> &word, int operation, uint32_t value) {
  static_assert(sizeof(word) == sizeof(uint32_t), "a futex is one word");
  return syscall(SYS_futex, reinterpret_cast<uint32_t *>(&word), operation,
                 value, nullptr, nullptr, 0);
}

/// Runs a region with the default rounding and denormal rules whatever the
/// caller has set, so that results do not depend on which thread does what.
class DefaultFloatingPoint {
public:
#if defined(__x86_64__)
  DefaultFloatingPoint() : saved(_mm_getcsr()) { _mm_setcsr(kDefault); }
  ~DefaultFloatingPoint() { _mm_setcsr(saved); }

private:
  static constexpr unsigned kDefault = 0x1f80; // all exceptions masked
  const unsigned saved;
#endif
};

uint32_t allowedCpus() {
  // CPU_SETSIZE is not a bound of the machine, so ask with larger sets.
  for (int cpus = CPU_SETSIZE; cpus <= 1 << 16; cpus *= 2) {
    cpu_set_t *set = CPU_ALLOC(cpus);
    if (!set)
      break;
    const size_t bytes = CPU_ALLOC_SIZE(cpus);
    const bool known = sched_getaffinity(0, bytes, set) == 0;
    const int allowed = known ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (allowed > 0)
      return static_cast<uint32_t>(allowed);
    if (known || errno != EINVAL)
      break;
  }
  return 1;
}

absl::StatusOr<uint32_t> chooseThreads(uint32_t asked) {
  if (asked > Team::kMaxThreads)
    return invalidArgument("threads: expected 1 to ", Team::kMaxThreads,
                           ", found ", asked);
  if (asked)
    return asked;
  if (const char *text = std::getenv("MOE_THREADS")) {
    uint32_t threads = 0;
    if (!absl::SimpleAtoi(text, &threads) || threads == 0 ||
        threads > Team::kMaxThreads)
      return invalidArgument("MOE_THREADS: expected 1 to ", Team::kMaxThreads,
                             ", found '", text, "'");
    return threads;
  }
  return std::min(allowedCpus(), Team::kMaxThreads);
}

} // namespace

void WaitWord::advance() {
  // Both sides are sequentially consistent: either we see the sleeper, or the
  // sleeper sees the new word.
  word.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers.load(std::memory_order_seq_cst) != 0)
    futex(word, FUTEX_WAKE_PRIVATE, INT_MAX);
}

void WaitWord::waitWhile(uint32_t old) {
  for (uint32_t i = 0; i < spins; ++i) {
    if (value() != old)
      return;
    pauseCpu();
  }
  sleepers.fetch_add(1, std::memory_order_seq_cst);
  while (word.load(std::memory_order_seq_cst) == old)
    futex(word, FUTEX_WAIT_PRIVATE, old);
  sleepers.fetch_sub(1, std::memory_order_relaxed);
}

absl::StatusOr<std::unique_ptr<Team>> Team::create(uint32_t asked) {
  const auto threads = chooseThreads(asked);
  if (!threads.ok())
    return threads.status();
  // Spinning while another participant waits for a CPU only delays it.
  const uint32_t spins = *threads <= allowedCpus() ? kSpins : 0;
  std::unique_ptr<Team> team(new Team(*threads, spins));
  MOE_RETURN_IF_ERROR(team->start());
  return team;
}

Team::Team(uint32_t threads, uint32_t spins)
    : count(threads), hostTable(), regions(spins), finished(spins),
      barriers(spins) {
  hostTable.size = sizeof(hostTable);
  hostTable.abi_version = MOE_ABI_VERSION;
  hostTable.user = this;
  hostTable.parallel = parallelEntry;
  hostTable.barrier = barrierEntry;
  hostTable.launch = DeviceSession::launchEntry;
}

absl::Status Team::start() {
  workers.reserve(count - 1);
  for (uint32_t thread = 1; thread < count; ++thread) {
    try {
      workers.emplace_back([this, thread] { work(thread); });
    } catch (const std::system_error &error) {
      return systemError("cannot start thread ", thread + 1, " of ", count,
                         ": ", error.what());
    }
    pthread_setname_np(workers.back().native_handle(), "moe-worker");
  }
  return absl::OkStatus();
}

Team::~Team() {
  stopping = true;
  regions.advance();
  for (std::thread &worker : workers)
    worker.join();
}

void Team::work(uint32_t thread) {
  insideRegion = true; // whatever this thread runs is part of a region
  for (uint32_t seen = 0;; ++seen) {
    regions.waitWhile(seen);
    if (stopping)
      return;
    participate(thread);
    if (running.fetch_sub(1, std::memory_order_acq_rel) == 1)
      finished.advance();
  }
}

void Team::participate(uint32_t thread) {
  DefaultFloatingPoint floatingPoint;
  moe_worker_v1 worker = {};
  worker.size = sizeof(worker);
  worker.thread = thread;
  worker.threads = count;
  worker.team = this;
  regionFn(regionCtx, &worker);
}

void Team::run(moe_region_fn fn, void *ctx) {
  std::lock_guard<std::mutex> lock(regionMutex);
  regionFn = fn;
  regionCtx = ctx;
  insideRegion = true;
  if (count > 1) {
    const uint32_t before = finished.value();
    running.store(count - 1, std::memory_order_relaxed);
    regions.advance();
    participate(0);
    finished.waitWhile(before);
  } else {
    participate(0);
  }
  insideRegion = false;
}

int32_t Team::parallelEntry(void *user, moe_region_fn fn, void *ctx) {
  if (insideRegion) {
    moe_worker_v1 alone = {};
    alone.size = sizeof(alone);
    alone.threads = 1;
    alone.team = user;
    fn(ctx, &alone);
    return 0;
  }
  static_cast<Team *>(user)->run(fn, ctx);
  return 0;
}

void Team::barrierEntry(const moe_worker_v1 *worker) {
  if (worker->threads > 1)
    static_cast<Team *>(worker->team)->barrier();
}

void Team::barrier() {
  // Nobody can leave this barrier before it advances, so the value that each
  // participant reads on arrival is the same.
  const uint32_t before = barriers.value();
  if (arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == count) {
    arrived.store(0, std::memory_order_relaxed);
    barriers.advance();
  } else {
    barriers.waitWhile(before);
  }
}
