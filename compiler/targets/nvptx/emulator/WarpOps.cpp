//===- WarpOps.cpp - Barriers, shuffles, votes, registers -----------------===//
//
// Semantics from the PTX ISA, "Parallel Synchronization and Communication
// Instructions" and "Data Movement: shfl.sync".
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/nvptx/emulator/Ops.h"
#include "compiler/targets/nvptx/emulator/SharedMemory.h"

#include "llvm/ADT/StringSwitch.h"

#include <algorithm>
#include <cmath>

using namespace moec::emu;
using llvm::StringRef;

namespace {

template <typename F> void forEach(uint32_t lanes, F &&body) {
  for (unsigned lane = 0; lane < warpSize; ++lane)
    if (lanes >> lane & 1)
      body(lane);
}

//===----------------------------------------------------------------------===//
// Barriers of the block
//===----------------------------------------------------------------------===//

enum BarrierParameter { Kind, Aligned, HasCount };

void executeBarrier(Thread &thread, const Site &site, char *buffer) {
  const Op &op = *site.op;
  auto kind = BarrierKind(op.parameters[Kind]);
  unsigned next = 0;
  uint32_t id = getOperand<uint32_t>(site, buffer, next++);
  uint32_t count = uint32_t(thread.block->getThreads().size());
  if (op.parameters[HasCount])
    count = getOperand<uint32_t>(site, buffer, next++);
  bool predicate =
      kind >= BarrierKind::And && (getOperand<uint8_t>(site, buffer, next) & 1);
  thread.block->arrive(thread, site, buffer, id, count, kind,
                       op.parameters[Aligned], predicate);
}

void executeSpin(Thread &thread, const Site &site, char *) {
  thread.block->spin(thread, site);
}

void executeTrap(Thread &thread, const Site &site, char *) {
  thread.block->failAt(thread, site, CUDA_ERROR_LAUNCH_FAILED, "trap");
}

void executeExit(Thread &thread, const Site &, char *) {
  thread.block->exit(thread);
}

//===----------------------------------------------------------------------===//
// Warps
//===----------------------------------------------------------------------===//

void synchroniseWarp(Warp &warp, const Site &, uint32_t lanes) {
  std::vector<Thread *> threads;
  forEach(lanes, [&](unsigned lane) { threads.push_back(warp.lanes[lane]); });
  SharedMemory::get().clocks.synchronise(threads, threads);
}

enum class Shuffle { Idx, Up, Down, Bfly };

void executeShuffle(Warp &warp, const Site &site, uint32_t lanes) {
  auto mode = Shuffle(site.op->parameters[0]);
  bool hasPredicate = site.op->parameters[1];
  uint32_t values[warpSize];
  forEach(lanes, [&](unsigned lane) {
    values[lane] = warp.getOperand<uint32_t>(site, lane, 1);
  });
  forEach(lanes, [&](unsigned lane) {
    uint32_t b = warp.getOperand<uint32_t>(site, lane, 2) & 31;
    uint32_t c = warp.getOperand<uint32_t>(site, lane, 3);
    uint32_t clamp = c & 31, segment = c >> 8 & 31;
    uint32_t low = lane & segment, high = low | (clamp & ~segment & 31);
    int from = int(lane);
    bool isValid = true;
    switch (mode) {
    case Shuffle::Up:
      from = int(lane) - int(b);
      isValid = from >= int(high);
      break;
    case Shuffle::Down:
      from = int(lane + b);
      isValid = from <= int(high);
      break;
    case Shuffle::Bfly:
      from = int(lane ^ b);
      isValid = from <= int(high);
      break;
    case Shuffle::Idx:
      from = int(low | (b & ~segment));
      isValid = from <= int(high);
      break;
    }
    if (!isValid)
      from = int(lane);
    // A lane that does not take part gives an undefined value.
    uint32_t value = lanes >> from & 1 ? values[from] : 0xffffffffu;
    warp.setResult<uint32_t>(site, lane, value);
    if (hasPredicate)
      warp.setResult<uint8_t>(site, lane, isValid, 4);
  });
}

enum class Vote { All, Any, Uni, Ballot };

void executeVote(Warp &warp, const Site &site, uint32_t lanes) {
  uint32_t ballot = 0;
  forEach(lanes, [&](unsigned lane) {
    if (warp.getOperand<uint8_t>(site, lane, 1) & 1)
      ballot |= 1u << lane;
  });
  forEach(lanes, [&](unsigned lane) {
    switch (Vote(site.op->parameters[0])) {
    case Vote::All:
      return warp.setResult<uint8_t>(site, lane, ballot == lanes);
    case Vote::Any:
      return warp.setResult<uint8_t>(site, lane, ballot != 0);
    case Vote::Uni:
      return warp.setResult<uint8_t>(site, lane,
                                     ballot == 0 || ballot == lanes);
    case Vote::Ballot:
      return warp.setResult<uint32_t>(site, lane, ballot);
    }
  });
}

template <typename T>
void executeMatchAny(Warp &warp, const Site &site, uint32_t lanes) {
  forEach(lanes, [&](unsigned lane) {
    uint32_t equal = 0;
    forEach(lanes, [&](unsigned other) {
      if (warp.getOperand<T>(site, lane, 1) ==
          warp.getOperand<T>(site, other, 1))
        equal |= 1u << other;
    });
    warp.setResult<uint32_t>(site, lane, equal);
  });
}

template <typename T>
void executeMatchAll(Warp &warp, const Site &site, uint32_t lanes) {
  T first = warp.getOperand<T>(site, unsigned(__builtin_ctz(lanes)), 1);
  bool isEqual = true;
  forEach(lanes, [&](unsigned lane) {
    isEqual &= warp.getOperand<T>(site, lane, 1) == first;
  });
  forEach(lanes, [&](unsigned lane) {
    warp.setResult<uint32_t>(site, lane, isEqual ? lanes : 0);
    warp.setResult<uint8_t>(site, lane, isEqual, 4);
  });
}

enum class Redux { Add, Min, Max, Umin, Umax, And, Or, Xor };

uint32_t reduce(Redux kind, uint32_t x, uint32_t y) {
  switch (kind) {
  case Redux::Add:
    return x + y;
  case Redux::Min:
    return int32_t(x) < int32_t(y) ? x : y;
  case Redux::Max:
    return int32_t(x) > int32_t(y) ? x : y;
  case Redux::Umin:
    return x < y ? x : y;
  case Redux::Umax:
    return x > y ? x : y;
  case Redux::And:
    return x & y;
  case Redux::Or:
    return x | y;
  case Redux::Xor:
    return x ^ y;
  }
  return 0;
}

void executeRedux(Warp &warp, const Site &site, uint32_t lanes) {
  unsigned first = unsigned(__builtin_ctz(lanes));
  uint32_t result = warp.getOperand<uint32_t>(site, first, 0);
  forEach(lanes & ~(1u << first), [&](unsigned lane) {
    result = reduce(Redux(site.op->parameters[0]), result,
                    warp.getOperand<uint32_t>(site, lane, 0));
  });
  forEach(lanes,
          [&](unsigned lane) { warp.setResult<uint32_t>(site, lane, result); });
}

void executeElect(Warp &warp, const Site &site, uint32_t lanes) {
  unsigned leader = unsigned(__builtin_ctz(lanes));
  forEach(lanes, [&](unsigned lane) {
    warp.setResult<uint32_t>(site, lane, leader);
    warp.setResult<uint8_t>(site, lane, lane == leader, 4);
  });
}

void executeActiveMask(Thread &thread, const Site &site, char *buffer) {
  setResult<uint32_t>(site, buffer, thread.warp->alive);
}

//===----------------------------------------------------------------------===//
// Registers
//===----------------------------------------------------------------------===//

/// setmaxnreg. How many registers a thread begins with is ptxas's to say, and
/// which counts there are LLVM's. What is checked is that warps have as many to
/// give, and that all together can have what they ask for: warps exchange what
/// a block of its size can have had at the start.
void executeSetRegisters(Warp &warp, const Site &site, uint32_t) {
  bool grows = site.op->parameters[0];
  auto count = warp.getOperand<uint32_t>(site, 0, 0);
  Thread &thread = *warp.lanes[0];
  if (warp.registers &&
      (grows ? count < warp.registers : count > warp.registers)) {
    std::string what = "setmaxnreg to " + std::to_string(count) +
                       " registers: the warp has " +
                       std::to_string(warp.registers);
    thread.block->failAt(thread, site, CUDA_ERROR_LAUNCH_FAILED,
                         std::move(what));
  }
  warp.registers = count;
  uint32_t sum = 0;
  for (const Warp &other : thread.block->getWarps()) {
    if (!other.registers)
      return;
    sum += other.registers * warpSize;
  }
  auto threads = uint32_t(thread.block->getThreads().size());
  uint32_t most = std::min(255u, 65536 / threads) / 8 * 8 * threads;
  if (sum > most) {
    std::string what = "setmaxnreg: the warps of the block together have " +
                       std::to_string(sum) + " registers, more than the " +
                       std::to_string(most) + " at its start";
    thread.block->failAt(thread, site, CUDA_ERROR_LAUNCH_FAILED,
                         std::move(what));
  }
}

bool bindSetRegisters(StringRef name, Op &op) {
  if (!name.consume_front("setmaxnreg."))
    return false;
  op.warp = executeSetRegisters;
  op.ofWarpgroup = true;
  op.parameters = {name == "inc.sync.aligned.u32"};
  return name == "inc.sync.aligned.u32" || name == "dec.sync.aligned.u32";
}

bool bindShuffle(StringRef name, Op &op) {
  if (!name.consume_front("shfl.sync."))
    return false;
  auto [mode, type] = name.split('.');
  int value = llvm::StringSwitch<int>(mode)
                  .Case("idx", int(Shuffle::Idx))
                  .Case("up", int(Shuffle::Up))
                  .Case("down", int(Shuffle::Down))
                  .Case("bfly", int(Shuffle::Bfly))
                  .Default(-1);
  bool hasPredicate = type.consume_back("p");
  if (value < 0 || (type != "i32" && type != "f32"))
    return false;
  op.warp = executeShuffle;
  op.maskOperand = 0;
  op.parameters = {value, hasPredicate};
  return true;
}

bool bindRedux(StringRef name, Op &op) {
  if (!name.consume_front("redux.sync."))
    return false;
  int value = llvm::StringSwitch<int>(name)
                  .Case("add", int(Redux::Add))
                  .Case("min", int(Redux::Min))
                  .Case("max", int(Redux::Max))
                  .Case("umin", int(Redux::Umin))
                  .Case("umax", int(Redux::Umax))
                  .Case("and", int(Redux::And))
                  .Case("or", int(Redux::Or))
                  .Case("xor", int(Redux::Xor))
                  .Default(-1);
  if (value < 0)
    return false;
  op.warp = executeRedux;
  op.maskOperand = 1;
  op.parameters = {value};
  return true;
}

bool bindVote(StringRef name, Op &op) {
  int value = llvm::StringSwitch<int>(name)
                  .Case("vote.all.sync", int(Vote::All))
                  .Case("vote.any.sync", int(Vote::Any))
                  .Case("vote.uni.sync", int(Vote::Uni))
                  .Case("vote.ballot.sync", int(Vote::Ballot))
                  .Default(-1);
  if (value < 0)
    return false;
  op.warp = executeVote;
  op.maskOperand = 0;
  op.parameters = {value};
  return true;
}

} // namespace

bool moec::emu::bindBarrierOp(StringRef name, Op &op) {
  Op::ThreadFn plain = llvm::StringSwitch<Op::ThreadFn>(name)
                           .Case("nanosleep", executeSpin)
                           .Cases({"llvm.trap", "llvm.debugtrap"}, executeTrap)
                           .Case("exit", executeExit)
                           .Case("activemask", executeActiveMask)
                           .Default(nullptr);
  if (plain) {
    op.thread = plain;
    return true;
  }
  if (!name.consume_front("barrier.cta."))
    return false;
  BarrierKind kind;
  if (name.consume_front("sync."))
    kind = BarrierKind::Sync;
  else if (name.consume_front("arrive."))
    kind = BarrierKind::Arrive;
  else if (name.consume_front("red.and."))
    kind = BarrierKind::And;
  else if (name.consume_front("red.or."))
    kind = BarrierKind::Or;
  else if (name.consume_front("red.popc."))
    kind = BarrierKind::Popc;
  else
    return false;
  bool aligned = name.consume_front("aligned.");
  if (name != "all" && name != "count")
    return false;
  op.thread = executeBarrier;
  op.parameters = {int64_t(kind), aligned, name == "count"};
  return true;
}

bool moec::emu::bindWarpOp(StringRef name, Op &op) {
  if (bindShuffle(name, op) || bindRedux(name, op) || bindVote(name, op) ||
      bindSetRegisters(name, op))
    return true;
  op.warp = llvm::StringSwitch<Op::WarpFn>(name)
                .Case("bar.warp.sync", synchroniseWarp)
                .Case("match.any.sync.i32", executeMatchAny<uint32_t>)
                .Case("match.any.sync.i64", executeMatchAny<uint64_t>)
                .Case("match.all.sync.i32p", executeMatchAll<uint32_t>)
                .Case("match.all.sync.i64p", executeMatchAll<uint64_t>)
                .Case("elect.sync", executeElect)
                .Default(nullptr);
  if (op.warp)
    op.maskOperand = 0;
  return op.warp != nullptr;
}
