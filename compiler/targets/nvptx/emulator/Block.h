//===- Block.h - Running the threads of a block -----------------*- C++ -*-===//
//
// Blocks run one after another, in an order drawn from the seed. The threads of
// a block are fibers; one runs until it must wait for others, then the next is
// drawn from those that can go on. So a schedule is a function of the seed.
//
// Everything here runs on one thread of the host at a time, under the driver's
// lock.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_BLOCK_H
#define MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_BLOCK_H

#include "compiler/targets/nvptx/emulator/CudaApi.h"
#include "compiler/targets/nvptx/emulator/Fiber.h"
#include "compiler/targets/nvptx/emulator/Site.h"

#include <chrono>
#include <string>
#include <vector>

namespace moec {
namespace emu {

class Block;
struct Kernel;

constexpr unsigned warpSize = 32;
constexpr unsigned maxThreads = 1024;
constexpr unsigned groupWarps = 4; // of a warpgroup
constexpr unsigned numNamedBarriers = 16;

enum class State : uint8_t { Ready, Collective, Barrier, Mbarrier, Exited };

/// A device thread. Compiled code reads the first fields (KernelRewriter).
struct Thread {
  uint32_t tid[3], ctaid[3], ntid[3], nctaid[3];
  uint32_t lane, warpIndex;
  uint32_t sharedBytes, dynamicSharedBytes;

  Block *block;
  Warp *warp;
  uint32_t index; // in the block
  State state;
  Context context;
  const Site *site;  // where it waits
  char *buffer;      // of the operation it waits in
  uint32_t mask;     // Collective: which lanes
  uint32_t resource; // Barrier: which; Mbarrier: offset in shared memory
  uint64_t phase;    // Mbarrier: which phase it waits for
};

struct Warp {
  Block *block;
  uint32_t index;
  Thread *lanes[warpSize]; // null past the end of the block
  uint32_t alive;          // lanes that exist and have not exited
  uint32_t registers;      // of a thread, by setmaxnreg; 0: as compiled

  template <typename T>
  T getOperand(const Site &site, unsigned lane, unsigned index) const {
    return emu::getOperand<T>(site, lanes[lane]->buffer, index);
  }
  template <typename T>
  void setResult(const Site &site, unsigned lane, T value,
                 unsigned index = 0) const {
    emu::setResult<T>(site, lanes[lane]->buffer, value, index);
  }
};

/// One kernel launch with its arguments.
struct Launch {
  const Kernel *kernel = nullptr;
  uint32_t grid[3] = {1, 1, 1}, block[3] = {1, 1, 1};
  uint32_t dynamicSharedBytes = 0;
  std::vector<char> argumentBytes;
  std::vector<uint64_t> argumentOffsets; // in argumentBytes
};

struct NamedBarrier {
  uint32_t expected = 0; // threads; 0: nobody has arrived
  std::vector<Thread *> arrived, waiting;
  uint32_t predicates = 0; // true ones, for reductions
};

enum class BarrierKind : uint8_t { Sync, Arrive, And, Or, Popc };

/// Runs launches. One object per process; see get().
class Block {
public:
  static Block &get();

  /// Runs all blocks of a launch. On failure `message` says why.
  CUresult run(const Launch &launch, uint64_t seed, std::string &message);

  // ---- for models of operations, on the fiber of the thread ---------------

  /// Ends the launch; the fiber never goes on.
  [[noreturn]] void fail(CUresult code, std::string message);
  /// fail() with the thread, the place and its instruction before `what`.
  [[noreturn]] void failAt(Thread &thread, const Site &site, CUresult code,
                           std::string what);
  /// Waits until the lanes that `site.op` names are here, and executes it.
  void collect(Thread &thread, const Site &site, char *buffer);
  void arrive(Thread &thread, const Site &site, char *buffer, uint32_t id,
              uint32_t count, BarrierKind kind, bool aligned, bool predicate);
  /// Lets others run; the thread polls for something.
  void spin(Thread &thread, const Site &site);
  [[noreturn]] void exit(Thread &thread);
  void wake(Thread &thread);
  /// Blocks the current fiber in the state that it has been given.
  void wait(Thread &thread, const Site &site);
  void noteProgress() { spins = 0; }
  /// fail() for those who are on no fiber, or have nothing left to do there.
  void setFailure(CUresult code, std::string message);
  /// A fence over the whole device by one of the threads.
  void fenceDevice() { isFenced = true; }
  /// An access to global memory, within `region`: complains where another block
  /// of the launch has written there and nothing orders the two.
  void trackBlocks(Thread &thread, const Site &site, Region &region,
                   uint64_t offset, uint64_t bytes, Access access);
  /// Called at each access; keeps threads that poll, and time, going.
  void countAccess(Thread &thread, const Site &site) {
    if (++accesses % 65536 == 0 && hasDeadline)
      checkTime();
    if (site.polls && accesses % 64 == 0)
      spin(thread, site);
  }

  std::string describe(const Thread &thread) const;
  const Launch &getLaunch() const { return *launch; }
  uint32_t getBlockNumber() const { return blockNumber; }
  /// Bytes of shared memory of this launch, static and dynamic.
  uint32_t getSharedBytes() const { return sharedBytes; }
  bool isOnStack(const Thread &thread, uint64_t address) const {
    return stacks.contains(thread.index, address);
  }
  uint64_t draw();
  std::vector<Thread> &getThreads() { return threads; }
  std::vector<Warp> &getWarps() { return warps; }

private:
  static void enter();
  void runBlock(uint32_t x, uint32_t y, uint32_t z);
  void schedule();
  bool isCollected(const Thread &thread) const;
  bool isGroupCollected(const Thread &thread) const;
  void execute(Warp &warp, const Site &site, uint32_t lanes);
  void execute(Thread &thread);
  void complete(NamedBarrier &barrier, bool aligned);
  void checkAligned(const NamedBarrier &barrier);
  void reportDeadlock();
  void checkTime();

  const Launch *launch = nullptr;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::vector<Thread *> ready;
  NamedBarrier barriers[numNamedBarriers];
  StackPool stacks;
  Context scheduler;
  uint64_t random = 1;
  uint32_t alive = 0, blockNumber = 0, sharedBytes = 0;
  uint64_t spins = 0; // polls since anything happened
  uint64_t accesses = 0;
  /// Who wrote what, for trackBlocks: the shadow of a byte holds stamp and
  /// block. A block publishes its writes by a fence after them, and sees those
  /// of others after an atomic access.
  uint32_t stamp = 0;
  bool isFenced = true, hasAcquired = false;
  std::vector<bool> released; // by block number
  std::chrono::steady_clock::time_point deadline;
  bool hasDeadline = false;
  CUresult code = CUDA_SUCCESS;
  std::string failure;
};

/// The thread whose fiber runs; compiled code reads it.
extern Thread *currentThread;

/// "threads 0-31, 64" of a set of indices in ascending order.
std::string describeThreads(const std::vector<uint32_t> &indices);

} // namespace emu
} // namespace moec

#endif // MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_BLOCK_H
