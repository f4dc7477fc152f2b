//===- Block.cpp - Running the threads of a block -------------------------===//
#include "compiler/targets/nvptx/emulator/Block.h"
#include "compiler/targets/nvptx/emulator/Async.h"
#include "compiler/targets/nvptx/emulator/DeviceMemory.h"
#include "compiler/targets/nvptx/emulator/Module.h"
#include "compiler/targets/nvptx/emulator/Settings.h"
#include "compiler/targets/nvptx/emulator/SharedMemory.h"

#include "llvm/ADT/Twine.h"

#include <algorithm>
#include <map>

using namespace moec::emu;
using llvm::Twine;

Thread *moec::emu::currentThread = nullptr;

namespace {

// A shadow of device memory: 8 bits of stamp, 24 of block number.
constexpr unsigned blockBits = 24;
constexpr uint32_t mostStamp = (1u << (32 - blockBits)) - 1;

std::string describePlace(const Site &site) {
  std::string text = "`" + site.text + "`";
  if (!site.location.empty())
    text += " at " + site.location;
  return text;
}

std::string triple(const uint32_t (&values)[3]) {
  return (Twine("(") + Twine(values[0]) + ", " + Twine(values[1]) + ", " +
          Twine(values[2]) + ")")
      .str();
}

} // namespace

std::string moec::emu::describeThreads(const std::vector<uint32_t> &indices) {
  std::string text = indices.size() == 1 ? "thread " : "threads ";
  for (size_t i = 0; i < indices.size();) {
    size_t end = i + 1;
    while (end < indices.size() && indices[end] == indices[end - 1] + 1)
      ++end;
    if (i)
      text += ", ";
    text += std::to_string(indices[i]);
    if (end - i > 1)
      text += "-" + std::to_string(indices[end - 1]);
    i = end;
  }
  return text;
}

Block &Block::get() {
  static Block block;
  return block;
}

uint64_t Block::draw() {
  // splitmix64
  uint64_t z = random += 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

CUresult Block::run(const Launch &theLaunch, uint64_t seed,
                    std::string &message) {
  launch = &theLaunch;
  random = seed;
  code = CUDA_SUCCESS;
  failure.clear();
  const Settings &settings = getSettings();
  size_t count = size_t(launch->block[0]) * launch->block[1] * launch->block[2];
  if (!stacks.reserve(count, settings.stackBytes)) {
    message = "not enough memory of the host for the stacks of the threads";
    return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
  }
  threads.resize(count);
  warps.resize((count + warpSize - 1) / warpSize);
  sharedBytes = launch->kernel->dynamicOffset + launch->dynamicSharedBytes;
  if (!launch->dynamicSharedBytes)
    sharedBytes = launch->kernel->staticSharedBytes;
  hasDeadline = settings.timeoutSeconds != 0;
  if (hasDeadline)
    deadline = std::chrono::steady_clock::now() +
               std::chrono::seconds(settings.timeoutSeconds);
  SharedMemory::get().beginLaunch(sharedBytes, unsigned(count));
  if (stamp++ == mostStamp) {
    DeviceMemory::get().clearWriters();
    stamp = 1;
  }
  std::vector<uint32_t> order(launch->grid[0] * launch->grid[1] *
                              size_t(launch->grid[2]));
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = uint32_t(i);
  for (size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[draw() % i]);
  released.assign(order.size(), false);
  for (uint32_t number : order) {
    blockNumber = number;
    isFenced = true;
    hasAcquired = false;
    uint32_t plane = number / launch->grid[0];
    runBlock(number % launch->grid[0], plane % launch->grid[1],
             plane / launch->grid[1]);
    released[number] = isFenced;
    if (code != CUDA_SUCCESS)
      break;
  }
  currentThread = nullptr;
  message = std::move(failure);
  return code;
}

void Block::runBlock(uint32_t x, uint32_t y, uint32_t z) {
  const Launch &l = *launch;
  for (size_t i = 0; i < warps.size(); ++i) {
    warps[i] = {};
    warps[i].block = this;
    warps[i].index = uint32_t(i);
  }
  ready.clear();
  for (size_t i = 0; i < threads.size(); ++i) {
    Thread &t = threads[i];
    t = {};
    t.index = t.tid[0] = uint32_t(i);
    t.tid[0] = uint32_t(i) % l.block[0];
    t.tid[1] = uint32_t(i) / l.block[0] % l.block[1];
    t.tid[2] = uint32_t(i) / l.block[0] / l.block[1];
    t.ctaid[0] = x, t.ctaid[1] = y, t.ctaid[2] = z;
    std::copy(l.block, l.block + 3, t.ntid);
    std::copy(l.grid, l.grid + 3, t.nctaid);
    t.lane = uint32_t(i) % warpSize;
    t.warpIndex = uint32_t(i) / warpSize;
    t.sharedBytes = sharedBytes;
    t.dynamicSharedBytes = l.dynamicSharedBytes;
    t.block = this;
    t.warp = &warps[t.warpIndex];
    t.warp->lanes[t.lane] = &t;
    t.warp->alive |= 1u << t.lane;
    t.state = State::Ready;
    t.context = stacks.prepare(i, enter);
    ready.push_back(&t);
  }
  alive = uint32_t(threads.size());
  for (NamedBarrier &barrier : barriers) {
    barrier.expected = barrier.predicates = 0;
    barrier.arrived.clear();
    barrier.waiting.clear();
  }
  spins = 0;
  SharedMemory::get().beginBlock();
  Async::get().beginBlock(*this);
  schedule();
  if (code == CUDA_SUCCESS)
    Async::get().endBlock(*this);
}

void Block::schedule() {
  while (alive && code == CUDA_SUCCESS) {
    if (ready.empty() || spins > 1000 * (ready.size() + 1)) {
      if (!Async::get().completeSomething(*this)) {
        reportDeadlock();
        return;
      }
      spins = 0;
      continue;
    }
    if (!Async::get().isIdle() && draw() % 16 == 0)
      Async::get().completeSomething(*this);
    size_t pick = ready.size() == 1 ? 0 : draw() % ready.size();
    Thread *next = ready[pick];
    ready[pick] = ready.back();
    ready.pop_back();
    currentThread = next;
    switchContext(scheduler, next->context);
  }
}

void Block::enter() {
  Thread &thread = *currentThread;
  beginContext(thread.block->scheduler);
  const Launch &launch = *thread.block->launch;
  launch.kernel->entry(const_cast<char *>(launch.argumentBytes.data()),
                       launch.argumentOffsets.data());
  thread.block->exit(thread);
}

void Block::wait(Thread &thread, const Site &site) {
  thread.site = &site;
  switchContext(thread.context, scheduler);
}

void Block::wake(Thread &thread) {
  thread.state = State::Ready;
  ready.push_back(&thread);
  noteProgress();
}

void Block::spin(Thread &thread, const Site &site) {
  ++spins;
  if (hasDeadline && spins % 64 == 0)
    checkTime();
  thread.state = State::Ready;
  ready.push_back(&thread);
  wait(thread, site);
}

void Block::checkTime() {
  if (std::chrono::steady_clock::now() > deadline)
    fail(CUDA_ERROR_LAUNCH_TIMEOUT,
         "kernel `" + launch->kernel->name + "` ran longer than " +
             std::to_string(getSettings().timeoutSeconds) + " s");
}

void Block::exit(Thread &thread) {
  thread.state = State::Exited;
  thread.warp->alive &= ~(1u << thread.lane);
  --alive;
  noteProgress();
  // Others may have waited for this lane only.
  for (Thread *other : thread.warp->lanes)
    if (other && other->state == State::Collective && isCollected(*other))
      execute(*other);
  switchContext(thread.context, scheduler, /*ends=*/true);
  __builtin_unreachable();
}

void Block::setFailure(CUresult theCode, std::string message) {
  code = theCode;
  failure = std::move(message);
}

void Block::fail(CUresult theCode, std::string message) {
  setFailure(theCode, std::move(message));
  switchContext(currentThread->context, scheduler, /*ends=*/true);
  __builtin_unreachable();
}

std::string Block::describe(const Thread &thread) const {
  return "kernel `" + launch->kernel->name + "`, block " +
         triple(thread.ctaid) + ", thread " + triple(thread.tid);
}

void Block::failAt(Thread &thread, const Site &site, CUresult theCode,
                   std::string what) {
  // The fiber is abandoned with its frames, so nothing may own memory there:
  // callers build what is long in a statement of its own.
  std::string message;
  {
    std::string mine = std::move(what);
    message = describe(thread) + ": " + mine + "; " + describePlace(site);
  }
  fail(theCode, std::move(message));
}

//===----------------------------------------------------------------------===//
// Operations of a warp
//===----------------------------------------------------------------------===//

bool Block::isCollected(const Thread &thread) const {
  const Op &op = *thread.site->op;
  uint32_t wanted = thread.mask & thread.warp->alive;
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    if (!(wanted >> lane & 1))
      continue;
    const Thread &other = *thread.warp->lanes[lane];
    if (other.state != State::Collective || other.site->op != &op ||
        other.mask != thread.mask)
      return false;
    // Not .aligned: the same operation from elsewhere counts too.
    if (op.maskOperand < 0 && other.site != thread.site)
      return false;
  }
  return true;
}

bool Block::isGroupCollected(const Thread &thread) const {
  unsigned first = thread.warpIndex / groupWarps * groupWarps;
  for (unsigned i = first; i < first + groupWarps; ++i) {
    const Thread &other = *warps[i].lanes[0];
    if (other.state != State::Collective || other.site != thread.site ||
        !isCollected(other))
      return false;
  }
  return true;
}

void Block::execute(Warp &warp, const Site &site, uint32_t lanes) {
  site.op->warp(warp, site, lanes);
  for (unsigned lane = 0; lane < warpSize; ++lane)
    if (lanes >> lane & 1)
      wake(*warp.lanes[lane]);
}

void Block::execute(Thread &thread) {
  const Site &site = *thread.site;
  if (!site.op->ofWarpgroup)
    return execute(*thread.warp, site, thread.mask & thread.warp->alive);
  unsigned first = thread.warpIndex / groupWarps * groupWarps;
  if (first + groupWarps > warps.size())
    failAt(thread, site, CUDA_ERROR_LAUNCH_FAILED,
           "an operation of a warpgroup by less than 128 threads");
  if (isGroupCollected(thread))
    for (unsigned i = first; i < first + groupWarps; ++i)
      execute(warps[i], site, warps[i].alive);
}

void Block::collect(Thread &thread, const Site &site, char *buffer) {
  const Op &op = *site.op;
  thread.buffer = buffer;
  thread.site = &site;
  if (op.maskOperand < 0) {
    thread.mask = 0;
    for (unsigned lane = 0; lane < warpSize; ++lane)
      if (thread.warp->lanes[lane])
        thread.mask |= 1u << lane;
    if (thread.mask != thread.warp->alive)
      failAt(thread, site, CUDA_ERROR_LAUNCH_FAILED,
             "a warp operation after threads of the warp have exited");
  } else {
    thread.mask = getOperand<uint32_t>(site, buffer, op.maskOperand);
    if (!(thread.mask >> thread.lane & 1))
      failAt(thread, site, CUDA_ERROR_LAUNCH_FAILED,
             "the mask of a warp operation lacks the thread that executes it");
  }
  thread.state = State::Collective;
  if (isCollected(thread))
    execute(thread);
  wait(thread, site);
}

//===----------------------------------------------------------------------===//
// Barriers of a block
//===----------------------------------------------------------------------===//

void Block::arrive(Thread &thread, const Site &site, char *buffer, uint32_t id,
                   uint32_t count, BarrierKind kind, bool aligned,
                   bool predicate) {
  if (id >= numNamedBarriers)
    failAt(thread, site, CUDA_ERROR_LAUNCH_FAILED,
           "barrier " + std::to_string(id) + " is not below 16");
  if (count % warpSize && count != threads.size())
    failAt(thread, site, CUDA_ERROR_LAUNCH_FAILED,
           "a barrier of " + std::to_string(count) +
               " threads, which is no multiple of 32");
  NamedBarrier &barrier = barriers[id];
  if (barrier.expected && barrier.expected != count)
    failAt(thread, site, CUDA_ERROR_LAUNCH_FAILED,
           "divergent barrier " + std::to_string(id) + ": expected " +
               std::to_string(barrier.expected) +
               " threads by those that have arrived, by this one " +
               std::to_string(count));
  barrier.expected = count;
  barrier.predicates += predicate;
  thread.site = &site;
  thread.buffer = buffer;
  thread.resource = id;
  barrier.arrived.push_back(&thread);
  bool waits = kind != BarrierKind::Arrive;
  if (waits) {
    thread.state = State::Barrier;
    thread.mask = uint32_t(kind);
    barrier.waiting.push_back(&thread);
  }
  noteProgress();
  if (barrier.arrived.size() == barrier.expected)
    complete(barrier, aligned);
  if (waits)
    wait(thread, site);
}

void Block::checkAligned(const NamedBarrier &barrier) {
  // .aligned: the threads of a warp are all here, at one instruction.
  const Site *sites[maxThreads / warpSize] = {};
  uint32_t lanes[maxThreads / warpSize] = {};
  for (Thread *thread : barrier.waiting) {
    const Site *&site = sites[thread->warpIndex];
    lanes[thread->warpIndex] |= 1u << thread->lane;
    if (!site)
      site = thread->site;
    if (site != thread->site) {
      std::string what =
          "divergent barrier " + std::to_string(thread->resource) +
          ": other threads of warp " + std::to_string(thread->warpIndex) +
          " are at " + describePlace(*site);
      failAt(*thread, *thread->site, CUDA_ERROR_LAUNCH_FAILED, std::move(what));
    }
  }
  for (Thread *thread : barrier.waiting)
    if (lanes[thread->warpIndex] != thread->warp->alive)
      failAt(*thread, *thread->site, CUDA_ERROR_LAUNCH_FAILED,
             "divergent barrier " + std::to_string(thread->resource) +
                 ": reached by a part of warp " +
                 std::to_string(thread->warpIndex));
}

void Block::complete(NamedBarrier &barrier, bool aligned) {
  if (aligned)
    checkAligned(barrier);
  SharedMemory::get().clocks.synchronise(barrier.arrived, barrier.waiting);
  for (Thread *thread : barrier.waiting) {
    uint32_t trueOnes = barrier.predicates;
    switch (BarrierKind(thread->mask)) {
    case BarrierKind::And:
      setResult<uint8_t>(*thread->site, thread->buffer,
                         trueOnes == barrier.expected);
      break;
    case BarrierKind::Or:
      setResult<uint8_t>(*thread->site, thread->buffer, trueOnes != 0);
      break;
    case BarrierKind::Popc:
      setResult<uint32_t>(*thread->site, thread->buffer, trueOnes);
      break;
    default:
      break;
    }
    wake(*thread);
  }
  barrier.expected = barrier.predicates = 0;
  barrier.arrived.clear();
  barrier.waiting.clear();
}

//===----------------------------------------------------------------------===//
// Races between blocks
//===----------------------------------------------------------------------===//

void Block::trackBlocks(Thread &thread, const Site &site, Region &region,
                        uint64_t offset, uint64_t bytes, Access access) {
  if (access == Access::Store)
    isFenced = false;
  hasAcquired |= access == Access::Atomic;
  if (site.releases)
    isFenced = true;
  if (released.size() < 2 || released.size() > (1u << blockBits))
    return;
  if (access != Access::Store && !region.writers)
    return;
  uint32_t *writers = DeviceMemory::getWriters(region);
  if (!writers)
    return;
  uint32_t mine = stamp << blockBits | blockNumber;
  for (uint64_t at = offset; at < offset + bytes; ++at) {
    uint32_t other = writers[at];
    if (other != mine && other >> blockBits == stamp) {
      uint32_t number = other & ((1u << blockBits) - 1);
      if (hasAcquired && released[number])
        continue;
      failAt(thread, site, CUDA_ERROR_LAUNCH_FAILED,
             "race between blocks: " +
                 std::string(access == Access::Load    ? "read"
                             : access == Access::Store ? "write"
                                                       : "atomic access") +
                 " of " + std::to_string(bytes) + " bytes of global memory, " +
                 std::to_string(at) + " bytes into the allocation of " +
                 std::to_string(region.bytes) + ", which block number " +
                 std::to_string(number) + " of the same launch writes");
    }
    if (access == Access::Store)
      writers[at] = mine;
  }
}

//===----------------------------------------------------------------------===//
// Deadlocks
//===----------------------------------------------------------------------===//

void Block::reportDeadlock() {
  // Threads that wait for the same at the same place are named together.
  std::map<std::string, std::vector<uint32_t>> groups;
  bool atBarrier = false;
  for (const Thread &thread : threads) {
    std::string where;
    switch (thread.state) {
    case State::Exited:
      where = "exited";
      break;
    case State::Barrier: {
      const NamedBarrier &barrier = barriers[thread.resource];
      where = "wait at barrier " + std::to_string(thread.resource) +
              ", where " + std::to_string(barrier.arrived.size()) + " of " +
              std::to_string(barrier.expected) + " threads have arrived, " +
              describePlace(*thread.site);
      atBarrier = true;
      break;
    }
    case State::Collective:
      where = "wait for other lanes at " + describePlace(*thread.site);
      break;
    case State::Mbarrier:
      where = "wait for " + Async::get().describeMbarrier(thread.resource) +
              ", " + describePlace(*thread.site);
      break;
    case State::Ready:
      where = thread.site ? "poll at " + describePlace(*thread.site)
                          : "have not begun";
      break;
    }
    groups[where].push_back(thread.index);
  }
  const Thread &first = threads.front();
  failure = "kernel `" + launch->kernel->name + "`, block " +
            triple(first.ctaid) + ": deadlock";
  if (atBarrier && groups.size() > 1)
    failure += " (divergent barrier)";
  for (auto &[where, indices] : groups)
    failure += "; " + describeThreads(indices) + " " + where;
  code = CUDA_ERROR_LAUNCH_TIMEOUT;
}
