//===- AsyncOps.cpp - cp.async, mbarrier, bulk copies, fences -------------===//
#include "compiler/targets/nvptx/emulator/Async.h"
#include "compiler/targets/nvptx/emulator/Ops.h"
#include "compiler/targets/nvptx/emulator/SharedMemory.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/IR/DerivedTypes.h"

using namespace moec::emu;
using llvm::StringRef;

namespace {

//===----------------------------------------------------------------------===//
// cp.async
//===----------------------------------------------------------------------===//

enum CopyParameter { Bytes, HasSourceBytes };

void executeCopy(Thread &thread, const Site &site, char *buffer) {
  auto bytes = uint32_t(site.op->parameters[Bytes]);
  uint32_t sourceBytes = bytes;
  if (site.op->parameters[HasSourceBytes]) {
    sourceBytes = getOperand<uint32_t>(site, buffer, 2);
    if (sourceBytes > bytes)
      thread.block->failAt(thread, site, CUDA_ERROR_LAUNCH_FAILED,
                           "cp.async of " + std::to_string(bytes) +
                               " bytes with a source of " +
                               std::to_string(sourceBytes));
  }
  Async::get().copy(thread, site, getOperand<uint64_t>(site, buffer, 0),
                    getOperand<uint64_t>(site, buffer, 1), bytes, sourceBytes);
}

void executeCommit(Thread &thread, const Site &, char *) {
  Async::get().commit(thread);
}
void executeWaitGroup(Thread &thread, const Site &site, char *buffer) {
  Async::get().wait(thread, getOperand<uint32_t>(site, buffer, 0));
}
void executeWaitAll(Thread &thread, const Site &, char *) {
  Async::get().waitAll(thread);
}
void executeCopyArrive(Thread &thread, const Site &site, char *buffer) {
  Async::get().arriveAfterCopies(thread, site,
                                 getOperand<uint64_t>(site, buffer, 0),
                                 site.op->parameters[0]);
}

bool bindCopy(StringRef name, Op &op) {
  if (!name.consume_front("cp.async."))
    return false;
  op.thread = llvm::StringSwitch<Op::ThreadFn>(name)
                  .Case("commit.group", executeCommit)
                  .Case("wait.group", executeWaitGroup)
                  .Case("wait.all", executeWaitAll)
                  .Default(nullptr);
  if (op.thread)
    return true;
  if (name.consume_front("mbarrier.arrive")) {
    bool increments = !name.consume_front(".noinc");
    op.thread = executeCopyArrive;
    op.parameters = {increments};
    return name.empty() || name == ".shared";
  }
  if (!name.consume_front("ca.shared.global.") &&
      !name.consume_front("cg.shared.global."))
    return false;
  unsigned bytes = 0;
  if (name.consumeInteger(10, bytes))
    return false;
  op.thread = executeCopy;
  op.parameters = {int64_t(bytes), name == ".s"};
  return name.empty() || name == ".s";
}

//===----------------------------------------------------------------------===//
// Bulk copies
//===----------------------------------------------------------------------===//

/// Multicast to other blocks of a cluster, which there are none of: the flag is
/// the operand before last.
void executeBulkLoad(Thread &thread, const Site &site, char *buffer) {
  bool hasMulticast = site.op->parameters[0];
  if (hasMulticast && (getOperand<uint8_t>(site, buffer, 6) & 1))
    thread.block->failAt(thread, site, CUDA_ERROR_NOT_SUPPORTED,
                         "multicast is not emulated");
  Async::get().load(thread, site, getOperand<uint64_t>(site, buffer, 0),
                    getOperand<uint64_t>(site, buffer, 2),
                    getOperand<uint32_t>(site, buffer, 3),
                    getOperand<uint64_t>(site, buffer, 1));
}

void executeBulkStore(Thread &thread, const Site &site, char *buffer) {
  Async::get().store(thread, site, getOperand<uint64_t>(site, buffer, 0),
                     getOperand<uint64_t>(site, buffer, 1),
                     getOperand<uint32_t>(site, buffer, 2));
}

void executeBulkCommit(Thread &thread, const Site &, char *) {
  Async::get().commitStores(thread);
}
void executeBulkWait(Thread &thread, const Site &site, char *buffer) {
  Async::get().waitStores(thread, getOperand<uint32_t>(site, buffer, 0),
                          site.op->parameters[0]);
}

bool bindBulk(StringRef name, Op &op) {
  if (!name.consume_front("cp.async.bulk."))
    return false;
  op.parameters = {0};
  if (name == "global.to.shared.cluster" || name == "global.to.shared.cta") {
    op.thread = executeBulkLoad;
    op.parameters = {name == "global.to.shared.cluster"};
  } else if (name == "shared.cta.to.global") {
    op.thread = executeBulkStore;
  } else if (name == "commit.group") {
    op.thread = executeBulkCommit;
  } else if (name == "wait.group" || name == "wait.group.read") {
    op.thread = executeBulkWait;
    op.parameters = {name == "wait.group.read"};
  }
  return op.thread != nullptr;
}

//===----------------------------------------------------------------------===//
// mbarriers
//===----------------------------------------------------------------------===//

constexpr unsigned stateShift = 20;

enum ArriveParameter { HasCount, ExpectsBytes, Drops, HasState };
enum WaitParameter { ByParity, Blocks };

Mbarrier &find(Thread &thread, const Site &site, char *buffer) {
  return Async::get().find(thread, site, getOperand<uint64_t>(site, buffer, 0));
}

void executeInit(Thread &thread, const Site &site, char *buffer) {
  Async::get().initialise(thread, site, getOperand<uint64_t>(site, buffer, 0),
                          getOperand<uint32_t>(site, buffer, 1));
}

void executeInvalidate(Thread &thread, const Site &site, char *buffer) {
  Async::get().invalidate(thread, site, getOperand<uint64_t>(site, buffer, 0));
}

void executeArrive(Thread &thread, const Site &site, char *buffer) {
  const auto &p = site.op->parameters;
  Mbarrier &mbarrier = find(thread, site, buffer);
  uint32_t count = 1;
  if (p[HasCount]) {
    auto operand = getOperand<uint32_t>(site, buffer, 1);
    if (p[ExpectsBytes])
      mbarrier.bytes += operand;
    else
      count = operand;
  }
  uint64_t state = Async::get().arrive(thread, site, mbarrier, count, p[Drops]);
  if (p[HasState])
    setResult<uint64_t>(site, buffer, state);
}

/// expect.tx, and complete.tx, which takes bytes away.
void executeExpect(Thread &thread, const Site &site, char *buffer) {
  int64_t bytes = getOperand<uint32_t>(site, buffer, 1);
  Async::get().expect(find(thread, site, buffer),
                      site.op->parameters[0] ? -bytes : bytes);
}

void executeWait(Thread &thread, const Site &site, char *buffer) {
  const auto &p = site.op->parameters;
  Mbarrier &mbarrier = find(thread, site, buffer);
  uint64_t phase;
  if (p[ByParity]) {
    // The phase that goes on, or the one before it.
    uint32_t parity = getOperand<uint32_t>(site, buffer, 1) & 1;
    bool isCurrent = (mbarrier.phase & 1) == parity;
    phase = isCurrent ? mbarrier.phase : mbarrier.phase - 1;
    if (!isCurrent && !mbarrier.phase) {
      // Before the first phase: complete by definition.
      setResult<uint8_t>(site, buffer, 1);
      return;
    }
  } else {
    phase = getOperand<uint64_t>(site, buffer, 1) >> stateShift;
  }
  Async::get().test(thread, site, buffer, mbarrier, phase, p[Blocks]);
}

void executePendingCount(Thread &, const Site &site, char *buffer) {
  auto state = getOperand<uint64_t>(site, buffer, 0);
  setResult<uint32_t>(site, buffer, uint32_t(state & ((1 << stateShift) - 1)));
}

bool bindArrive(StringRef name, const llvm::FunctionType &type, Op &op) {
  bool drops = name.consume_front(".drop");
  bool expects = name.consume_front(".expect.tx");
  bool noComplete = name.consume_front(".noComplete");
  name.consume_front(".relaxed");
  if (!name.empty() && name != ".shared" && !name.starts_with(".scope.") &&
      !noComplete)
    return false;
  op.thread = executeArrive;
  op.parameters = {type.getNumParams() > 1, expects, drops,
                   !type.getReturnType()->isVoidTy()};
  return true;
}

bool bindMbarrier(StringRef name, const llvm::FunctionType &type, Op &op) {
  if (!name.consume_front("mbarrier."))
    return false;
  if (name.consume_front("arrive"))
    return bindArrive(name, type, op);
  op.thread = llvm::StringSwitch<Op::ThreadFn>(name)
                  .Cases({"init", "init.shared"}, executeInit)
                  .Cases({"inval", "inval.shared"}, executeInvalidate)
                  .Case("pending.count", executePendingCount)
                  .StartsWith("expect.tx.", executeExpect)
                  .StartsWith("complete.tx.", executeExpect)
                  .StartsWith("test.wait", executeWait)
                  .StartsWith("try.wait", executeWait)
                  .Default(nullptr);
  if (op.thread == executeWait)
    op.parameters = {name.contains(".parity"), name.starts_with("try")};
  else
    op.parameters = {name.starts_with("complete")};
  return op.thread != nullptr;
}

//===----------------------------------------------------------------------===//
// Fences
//===----------------------------------------------------------------------===//

void executeNothing(Thread &, const Site &, char *) {}

void executeProxyFence(Thread &thread, const Site &, char *) {
  SharedMemory::get().fenceProxy(thread);
  Async::get().fenceInit(thread);
}

void executeInitFence(Thread &thread, const Site &, char *) {
  Async::get().fenceInit(thread);
}

void executeDeviceFence(Thread &thread, const Site &, char *) {
  thread.block->fenceDevice();
}

bool bindFence(StringRef name, Op &op) {
  op.thread =
      llvm::StringSwitch<Op::ThreadFn>(name)
          .Cases({"fence.proxy.async", "fence.proxy.async.shared_cta",
                  "fence.proxy.async.shared_cluster"},
                 executeProxyFence)
          .Case("fence.mbarrier_init.release.cluster", executeInitFence)
          .Cases({"membar.gl", "membar.sys", "fence.sc.cluster"},
                 executeDeviceFence)
          .Cases({"fence.proxy.async.global", "membar.cta"}, executeNothing)
          .Default(nullptr);
  return op.thread != nullptr;
}

} // namespace

bool moec::emu::bindAsyncOp(StringRef name, const llvm::FunctionType &type,
                            Op &op) {
  return bindBulk(name, op) || bindCopy(name, op) ||
         bindMbarrier(name, type, op) || bindFence(name, op);
}
