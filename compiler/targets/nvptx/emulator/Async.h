//===- Async.h - Asynchronous copies and mbarriers --------------*- C++ -*-===//
//
// An asynchronous operation is done as late as the PTX ISA allows: a cp.async
// when its thread waits for the group, a bulk copy when no thread of the block
// can go on otherwise (or, drawn from the seed, now and then before). Who does
// not wait reads what was there before, and is told so.
//
// mbarriers live in a table beside shared memory, by offset; the kernel cannot
// look into them on hardware either.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_ASYNC_H
#define MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_ASYNC_H

#include "compiler/targets/nvptx/emulator/Block.h"
#include "compiler/targets/nvptx/emulator/Clocks.h"

#include <deque>
#include <map>
#include <memory>

namespace moec {
namespace emu {

/// A copy from global to shared memory by cp.async.
struct PendingCopy {
  const Site *site;
  uint64_t from;
  uint32_t to, bytes, sourceBytes; // the rest is zeros
  bool isDone;
};

/// A bulk copy between global and shared memory.
struct BulkCopy {
  const Site *site;
  uint64_t global;
  uint32_t shared, bytes;
  uint32_t mbarrier;        // loads: where it completes
  std::vector<char> staged; // stores: after the source was read
};

struct Range {
  uint32_t offset, bytes;
};

struct Mbarrier {
  uint32_t expected = 0; // arrivals of a phase
  int64_t pending = 0;   // arrivals still to come
  int64_t bytes = 0;     // tx-count
  uint64_t phase = 0;
  unsigned slot = 0; // in the clocks
  unsigned initialiser = 0;
  bool isFenced = false; // since its init
  Clock arrived;
  SharedClock completed;
  std::vector<Thread *> waiting;
};

class Async {
public:
  static Async &get() {
    static Async *async = new Async;
    return *async;
  }

  void beginBlock(Block &block);
  /// Complains about what is still under way.
  void endBlock(Block &block);
  /// Completes one operation, drawn from those under way. False where there is
  /// none.
  bool completeSomething(Block &block);
  bool isIdle() const { return loads.empty() && deferred.empty(); }

  // ---- cp.async ------------------------------------------------------------
  void copy(Thread &thread, const Site &site, uint64_t to, uint64_t from,
            uint32_t bytes, uint32_t sourceBytes);
  void commit(Thread &thread);
  void wait(Thread &thread, size_t mostGroups);
  void waitAll(Thread &thread);
  /// cp.async.mbarrier.arrive: arrives when the copies so far are done.
  void arriveAfterCopies(Thread &thread, const Site &site, uint64_t mbarrier,
                         bool increments);

  // ---- bulk copies
  // -----------------------------------------------------------
  void load(Thread &thread, const Site &site, uint64_t to, uint64_t from,
            uint32_t bytes, uint64_t mbarrier);
  void store(Thread &thread, const Site &site, uint64_t to, uint64_t from,
             uint32_t bytes);
  void commitStores(Thread &thread);
  void waitStores(Thread &thread, size_t mostGroups, bool sourceOnly);

  // ---- reads of shared memory by wgmma; a wait of one warp holds for the
  // warpgroup, whose wgmmas are one operation ---
  // -------------------------------
  void read(Thread &thread, const Site &site, uint32_t offset, uint32_t bytes);
  void commitReads(Warp &warp);
  void waitReads(Warp &warp, uint64_t mostGroups);

  // ---- mbarriers
  // ---------------------------------------------------------------
  void initialise(Thread &thread, const Site &site, uint64_t address,
                  uint32_t count);
  void invalidate(Thread &thread, const Site &site, uint64_t address);
  /// The live mbarrier at the address.
  Mbarrier &find(Thread &thread, const Site &site, uint64_t address);
  void expect(Mbarrier &mbarrier, int64_t bytes);
  /// Returns the state for test_wait.
  uint64_t arrive(Thread &thread, const Site &site, Mbarrier &mbarrier,
                  uint32_t count, bool drops);
  /// Sets the result: whether phase `phase` is complete. Blocks until it is, or
  /// lets others run if it is not.
  void test(Thread &thread, const Site &site, char *buffer, Mbarrier &mbarrier,
            uint64_t phase, bool blocks);
  void fenceInit(Thread &thread);
  std::string describeMbarrier(uint32_t offset) const;

private:
  struct ThreadState {
    std::vector<std::shared_ptr<PendingCopy>> open;
    std::deque<std::vector<std::shared_ptr<PendingCopy>>> groups;
    std::vector<BulkCopy> openStores;
    std::deque<std::vector<BulkCopy>> storeGroups;
  };
  /// What the wgmmas of one group read, of all warps of the warpgroup.
  struct ReadGroup {
    std::vector<Range> ranges;
    uint32_t clock = 0;
  };
  struct WarpgroupState {
    std::map<uint64_t, ReadGroup> groups; // by number
    uint64_t committed[groupWarps] = {};  // groups of each warp
    unsigned slot = 0;                    // in the clocks
  };
  /// An arrival that waits for copies.
  struct Deferred {
    unsigned thread;
    uint32_t mbarrier;
    std::vector<std::shared_ptr<PendingCopy>> copies;
  };

  void complete(PendingCopy &copy, Epoch writer);
  void completeGroup(Thread &thread,
                     std::vector<std::shared_ptr<PendingCopy>> &group);
  void readSource(BulkCopy &copy);
  void finishStore(BulkCopy &copy);
  void checkPhase(Mbarrier &mbarrier);
  uint32_t touch(Thread &thread, const Site &site, uint64_t address,
                 Access access);

  std::vector<ThreadState> threads;
  std::vector<WarpgroupState> warpgroups;
  std::vector<BulkCopy> loads;
  std::vector<Deferred> deferred;
  std::map<uint32_t, Mbarrier> mbarriers;
  unsigned numSlots = 0;
};

} // namespace emu
} // namespace moec

#endif // MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_ASYNC_H
