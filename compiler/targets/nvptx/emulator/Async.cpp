//===- Async.cpp - Asynchronous copies and mbarriers ----------------------===//
#include "compiler/targets/nvptx/emulator/Async.h"
#include "compiler/targets/nvptx/emulator/Ops.h"
#include "compiler/targets/nvptx/emulator/SharedMemory.h"

#include <cstring>

using namespace moec::emu;

namespace {

constexpr uint32_t mbarrierBytes = 8;
constexpr uint32_t mostArrivals = (1u << 20) - 1;
constexpr unsigned stateShift = 20; // of the phase in a state

char *getPointer(uint64_t address) { return reinterpret_cast<char *>(address); }
char *getShared(uint32_t offset) {
  return getPointer(SharedMemory::get().getBase() + offset);
}
Clocks &getClocks() { return SharedMemory::get().clocks; }

} // namespace

void Async::beginBlock(Block &block) {
  threads.assign(block.getThreads().size(), {});
  warpgroups.assign((block.getWarps().size() + groupWarps - 1) / groupWarps,
                    {});
  for (size_t i = 0; i < warpgroups.size(); ++i)
    warpgroups[i].slot =
        unsigned(threads.size() + Clocks::numMbarrierSlots + i);
  loads.clear();
  deferred.clear();
  mbarriers.clear();
  numSlots = 0;
  beginWgmma();
}

void Async::endBlock(Block &block) {
  const BulkCopy *left = loads.empty() ? nullptr : &loads.front();
  bool isStore = false;
  for (ThreadState &thread : threads) {
    for (auto &group : thread.storeGroups)
      for (BulkCopy &copy : group)
        if (!copy.staged.empty()) {
          finishStore(copy); // the end of the kernel completes it
        } else if (!left) {
          left = &copy;
          isStore = true;
        }
    if (!left && !thread.openStores.empty()) {
      left = &thread.openStores.front();
      isStore = true;
    }
  }
  if (left)
    block.setFailure(CUDA_ERROR_LAUNCH_FAILED,
                     block.describe(block.getThreads().front()) +
                         ": the block ends while a bulk copy of " +
                         std::to_string(left->bytes) + " bytes " +
                         (isStore ? "from" : "to") + " shared offset " +
                         std::to_string(left->shared) +
                         " is under way that nobody has waited for; `" +
                         left->site->text + "`");
}

bool Async::completeSomething(Block &block) {
  size_t count = loads.size() + deferred.size();
  if (!count)
    return false;
  size_t pick = block.draw() % count;
  if (pick < loads.size()) {
    BulkCopy copy = loads[pick];
    loads.erase(loads.begin() + long(pick));
    std::memcpy(getShared(copy.shared), getPointer(copy.global), copy.bytes);
    auto it = mbarriers.find(copy.mbarrier);
    unsigned slot = it == mbarriers.end() ? 0 : it->second.slot;
    SharedMemory::get().endCopy(*copy.site, copy.shared, copy.bytes,
                                getClocks().now(slot), /*generic=*/false);
    if (it == mbarriers.end())
      return true; // invalidated meanwhile
    getClocks().addTo(it->second.arrived, slot);
    getClocks().advance(slot);
    it->second.bytes -= copy.bytes;
    checkPhase(it->second);
    return true;
  }
  pick -= loads.size();
  Deferred arrival = std::move(deferred[pick]);
  deferred.erase(deferred.begin() + long(pick));
  auto it = mbarriers.find(arrival.mbarrier);
  if (it == mbarriers.end())
    return true;
  Mbarrier &mbarrier = it->second;
  for (auto &copy : arrival.copies)
    complete(*copy, getClocks().now(mbarrier.slot));
  getClocks().addTo(mbarrier.arrived, mbarrier.slot);
  getClocks().addTo(mbarrier.arrived, arrival.thread);
  getClocks().advance(mbarrier.slot);
  getClocks().advance(arrival.thread);
  --mbarrier.pending;
  checkPhase(mbarrier);
  return true;
}

//===----------------------------------------------------------------------===//
// cp.async
//===----------------------------------------------------------------------===//

void Async::copy(Thread &thread, const Site &site, uint64_t to, uint64_t from,
                 uint32_t bytes, uint32_t sourceBytes) {
  sourceBytes = std::min(sourceBytes, bytes);
  checkSharedBounds(thread, site, to, bytes, bytes, Access::Store);
  if (sourceBytes)
    checkGlobal(thread, site, from, sourceBytes, bytes, Access::Load);
  uint32_t offset = getSharedOffset(to);
  SharedMemory::get().beginCopy(thread, site, offset, bytes, /*proxy=*/false);
  threads[thread.index].open.push_back(std::make_shared<PendingCopy>(
      PendingCopy{&site, from, offset, bytes, sourceBytes, false}));
}

void Async::complete(PendingCopy &copy, Epoch writer) {
  if (copy.isDone)
    return;
  copy.isDone = true;
  char *to = getShared(copy.to);
  std::memcpy(to, getPointer(copy.from), copy.sourceBytes);
  std::memset(to + copy.sourceBytes, 0, copy.bytes - copy.sourceBytes);
  SharedMemory::get().endCopy(*copy.site, copy.to, copy.bytes, writer,
                              /*generic=*/true);
}

void Async::completeGroup(Thread &thread,
                          std::vector<std::shared_ptr<PendingCopy>> &group) {
  for (auto &copy : group)
    complete(*copy, getClocks().now(thread.index));
}

void Async::commit(Thread &thread) {
  ThreadState &state = threads[thread.index];
  state.groups.push_back(std::move(state.open));
  state.open.clear();
}

void Async::wait(Thread &thread, size_t mostGroups) {
  auto &groups = threads[thread.index].groups;
  while (groups.size() > mostGroups) {
    completeGroup(thread, groups.front());
    groups.pop_front();
  }
}

void Async::waitAll(Thread &thread) {
  commit(thread);
  wait(thread, 0);
}

void Async::arriveAfterCopies(Thread &thread, const Site &site,
                              uint64_t address, bool increments) {
  Mbarrier &mbarrier = find(thread, site, address);
  if (increments)
    ++mbarrier.pending;
  Deferred arrival;
  arrival.thread = thread.index;
  arrival.mbarrier = getSharedOffset(address);
  ThreadState &state = threads[thread.index];
  for (auto &group : state.groups)
    arrival.copies.insert(arrival.copies.end(), group.begin(), group.end());
  arrival.copies.insert(arrival.copies.end(), state.open.begin(),
                        state.open.end());
  deferred.push_back(std::move(arrival));
}

//===----------------------------------------------------------------------===//
// Bulk copies
//===----------------------------------------------------------------------===//

void Async::load(Thread &thread, const Site &site, uint64_t to, uint64_t from,
                 uint32_t bytes, uint64_t address) {
  Mbarrier &mbarrier = find(thread, site, address);
  if (!mbarrier.isFenced)
    thread.block->failAt(thread, site, CUDA_ERROR_LAUNCH_FAILED,
                         "missing fence after the init of " +
                             describeMbarrier(getSharedOffset(address)) +
                             ": expected fence.mbarrier_init or "
                             "fence.proxy.async by thread " +
                             std::to_string(mbarrier.initialiser));
  if (bytes % 16)
    thread.block->failAt(thread, site, CUDA_ERROR_LAUNCH_FAILED,
                         "a bulk copy of " + std::to_string(bytes) +
                             " bytes: expected a multiple of 16");
  checkSharedBounds(thread, site, to, bytes, 16, Access::Store);
  checkGlobal(thread, site, from, bytes, 16, Access::Load);
  uint32_t offset = getSharedOffset(to);
  SharedMemory::get().beginCopy(thread, site, offset, bytes, /*proxy=*/true);
  loads.push_back(
      BulkCopy{&site, from, offset, bytes, getSharedOffset(address), {}});
}

void Async::store(Thread &thread, const Site &site, uint64_t to, uint64_t from,
                  uint32_t bytes) {
  if (bytes % 16)
    thread.block->failAt(thread, site, CUDA_ERROR_LAUNCH_FAILED,
                         "a bulk copy of " + std::to_string(bytes) +
                             " bytes: expected a multiple of 16");
  checkSharedBounds(thread, site, from, bytes, 16, Access::Load);
  checkGlobal(thread, site, to, bytes, 16, Access::Store);
  uint32_t offset = getSharedOffset(from);
  SharedMemory::get().beginRead(thread, site, offset, bytes, thread.index);
  threads[thread.index].openStores.push_back(
      BulkCopy{&site, to, offset, bytes, 0, {}});
}

void Async::commitStores(Thread &thread) {
  ThreadState &state = threads[thread.index];
  state.storeGroups.push_back(std::move(state.openStores));
  state.openStores.clear();
}

void Async::readSource(BulkCopy &copy) {
  if (!copy.staged.empty() || !copy.bytes)
    return;
  const char *from = getShared(copy.shared);
  copy.staged.assign(from, from + copy.bytes);
  SharedMemory::get().endRead(copy.shared, copy.bytes);
}

void Async::finishStore(BulkCopy &copy) {
  readSource(copy);
  std::memcpy(getPointer(copy.global), copy.staged.data(), copy.bytes);
}

void Async::waitStores(Thread &thread, size_t mostGroups, bool sourceOnly) {
  auto &groups = threads[thread.index].storeGroups;
  size_t count = groups.size() > mostGroups ? groups.size() - mostGroups : 0;
  for (size_t i = 0; i < count; ++i)
    for (BulkCopy &copy : groups[i])
      sourceOnly ? readSource(copy) : finishStore(copy);
  if (!sourceOnly)
    groups.erase(groups.begin(), groups.begin() + long(count));
}

//===----------------------------------------------------------------------===//
// Reads by wgmma
//===----------------------------------------------------------------------===//

void Async::read(Thread &thread, const Site &site, uint32_t offset,
                 uint32_t bytes) {
  WarpgroupState &state = warpgroups[thread.warpIndex / groupWarps];
  SharedMemory::get().beginRead(thread, site, offset, bytes, state.slot);
  ReadGroup &group =
      state.groups[state.committed[thread.warpIndex % groupWarps]];
  group.ranges.push_back({offset, bytes});
  group.clock = Clocks::getClock(getClocks().now(state.slot));
}

void Async::commitReads(Warp &warp) {
  WarpgroupState &state = warpgroups[warp.index / groupWarps];
  ++state.committed[warp.index % groupWarps];
  getClocks().advance(state.slot);
}

void Async::waitReads(Warp &warp, uint64_t mostGroups) {
  WarpgroupState &state = warpgroups[warp.index / groupWarps];
  uint64_t committed = state.committed[warp.index % groupWarps];
  uint64_t done = committed > mostGroups ? committed - mostGroups : 0;
  auto known = std::make_shared<Clock>(getClocks().getSize(), 0);
  uint32_t &clock = (*known)[state.slot];
  // Groups that another warp's wait ended are still there for their clock.
  for (auto &[number, group] : state.groups) {
    if (number >= done)
      break;
    clock = std::max(clock, group.clock);
    for (Range range : group.ranges)
      SharedMemory::get().endRead(range.offset, range.bytes);
    group.ranges.clear();
  }
  for (Thread *lane : warp.lanes)
    getClocks().learn(lane->index, known);
}

//===----------------------------------------------------------------------===//
// mbarriers
//===----------------------------------------------------------------------===//

uint32_t Async::touch(Thread &thread, const Site &site, uint64_t address,
                      Access access) {
  checkShared(thread, site, address, mbarrierBytes, mbarrierBytes, access);
  return getSharedOffset(address);
}

Mbarrier &Async::find(Thread &thread, const Site &site, uint64_t address) {
  uint32_t offset = touch(thread, site, address, Access::Atomic);
  auto it = mbarriers.find(offset);
  if (it == mbarriers.end())
    thread.block->failAt(thread, site, CUDA_ERROR_LAUNCH_FAILED,
                         "no mbarrier was initialised at shared offset " +
                             std::to_string(offset));
  return it->second;
}

void Async::initialise(Thread &thread, const Site &site, uint64_t address,
                       uint32_t count) {
  uint32_t offset = touch(thread, site, address, Access::Store);
  if (!count || count > mostArrivals)
    thread.block->failAt(thread, site, CUDA_ERROR_LAUNCH_FAILED,
                         "an mbarrier of " + std::to_string(count) +
                             " arrivals");
  Mbarrier mbarrier;
  mbarrier.expected = count;
  mbarrier.pending = count;
  mbarrier.initialiser = thread.index;
  mbarrier.slot =
      unsigned(threads.size()) + numSlots++ % Clocks::numMbarrierSlots;
  mbarriers[offset] = std::move(mbarrier);
}

void Async::invalidate(Thread &thread, const Site &site, uint64_t address) {
  find(thread, site, address);
  mbarriers.erase(touch(thread, site, address, Access::Store));
}

void Async::fenceInit(Thread &thread) {
  for (auto &[offset, mbarrier] : mbarriers)
    if (mbarrier.initialiser == thread.index)
      mbarrier.isFenced = true;
}

void Async::expect(Mbarrier &mbarrier, int64_t bytes) {
  mbarrier.bytes += bytes;
  checkPhase(mbarrier);
}

uint64_t Async::arrive(Thread &thread, const Site &site, Mbarrier &mbarrier,
                       uint32_t count, bool drops) {
  if (count > mbarrier.pending)
    thread.block->failAt(thread, site, CUDA_ERROR_LAUNCH_FAILED,
                         "arrival at an mbarrier that expects no more: phase " +
                             std::to_string(mbarrier.phase) + " of " +
                             std::to_string(mbarrier.expected) + " arrivals");
  getClocks().addTo(mbarrier.arrived, thread.index);
  getClocks().advance(thread.index);
  mbarrier.pending -= count;
  if (drops)
    mbarrier.expected -= std::min(mbarrier.expected, count);
  uint64_t state = mbarrier.phase << stateShift | uint64_t(mbarrier.pending);
  thread.block->noteProgress();
  checkPhase(mbarrier);
  return state;
}

void Async::checkPhase(Mbarrier &mbarrier) {
  if (mbarrier.pending || mbarrier.bytes)
    return;
  ++mbarrier.phase;
  mbarrier.pending = mbarrier.expected;
  mbarrier.completed = std::make_shared<const Clock>(mbarrier.arrived);
  std::vector<Thread *> waiting = std::move(mbarrier.waiting);
  mbarrier.waiting.clear();
  for (Thread *thread : waiting) {
    getClocks().learn(thread->index, mbarrier.completed);
    setResult<uint8_t>(*thread->site, thread->buffer, 1);
    thread->block->wake(*thread);
  }
}

void Async::test(Thread &thread, const Site &site, char *buffer,
                 Mbarrier &mbarrier, uint64_t phase, bool blocks) {
  if (mbarrier.phase > phase) {
    getClocks().learn(thread.index, mbarrier.completed);
    setResult<uint8_t>(site, buffer, 1);
    return;
  }
  if (!blocks) {
    setResult<uint8_t>(site, buffer, 0);
    thread.block->spin(thread, site);
    return;
  }
  thread.state = State::Mbarrier;
  thread.buffer = buffer;
  thread.phase = phase;
  for (auto &[offset, other] : mbarriers)
    if (&other == &mbarrier)
      thread.resource = offset;
  mbarrier.waiting.push_back(&thread);
  thread.block->wait(thread, site);
}

std::string Async::describeMbarrier(uint32_t offset) const {
  std::string text = "the mbarrier at shared offset " + std::to_string(offset);
  auto it = mbarriers.find(offset);
  if (it == mbarriers.end())
    return text + ", which does not exist any more";
  const Mbarrier &mbarrier = it->second;
  text += " (phase " + std::to_string(mbarrier.phase) + ", " +
          std::to_string(mbarrier.pending) + " of " +
          std::to_string(mbarrier.expected) + " arrivals to come";
  if (mbarrier.bytes > 0)
    text += ", " + std::to_string(mbarrier.bytes) +
            " bytes expected that no copy brings";
  else if (mbarrier.bytes < 0)
    text += ", " + std::to_string(-mbarrier.bytes) +
            " bytes copied that nobody expected";
  return text + ")";
}
