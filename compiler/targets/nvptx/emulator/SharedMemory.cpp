//===- SharedMemory.cpp - Shared memory of the running block --------------===//
#include "compiler/targets/nvptx/emulator/SharedMemory.h"
#include "compiler/targets/nvptx/emulator/Settings.h"

#include <algorithm>
#include <cstring>
#include <sys/mman.h>

using namespace moec::emu;

namespace {

const char *getVerb(Access access) {
  return access == Access::Load    ? "read"
         : access == Access::Store ? "write"
                                   : "atomic access";
}

} // namespace

SharedMemory::SharedMemory() {
  constexpr uint64_t guardBytes = 64 << 10;
  for (uint64_t at = 0x20000000; at < 0x7f000000 && !base; at += arenaBytes) {
    void *wanted = reinterpret_cast<void *>(at - guardBytes);
    void *got = mmap(wanted, arenaBytes + 2 * guardBytes, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (got == MAP_FAILED)
      continue;
    if (got == wanted && !mprotect(reinterpret_cast<void *>(at), arenaBytes,
                                   PROT_READ | PROT_WRITE))
      base = at;
    else
      munmap(got, arenaBytes + 2 * guardBytes);
  }
  shadow = std::make_unique<Shadow>();
}

void SharedMemory::reset() {
  // Whole arrays, whatever the block uses: this happens rarely.
  std::fill(shadow->writer, shadow->writer + arenaBytes, 0);
  std::fill(shadow->reader, shadow->reader + arenaBytes, 0);
  std::fill(shadow->otherReader, shadow->otherReader + arenaBytes, 0);
}

void SharedMemory::beginLaunch(uint32_t bytes, unsigned numThreads) {
  usedBytes = std::min(bytes, arenaBytes);
  isTracking = getSettings().checkRaces;
  fenced.assign(numThreads, 0);
  if (clocks.beginLaunch(numThreads))
    reset();
}

void SharedMemory::beginBlock() {
  if (clocks.beginBlock())
    reset();
  std::fill(fenced.begin(), fenced.end(), 0);
  if (!usedBytes)
    return;
  if (getSettings().poison)
    std::memset(reinterpret_cast<void *>(base), 0xff, usedBytes);
  // What lay there before this block needs no fence and is no atomic.
  std::memset(shadow->isAtomic, 0, usedBytes);
  std::memset(shadow->isGeneric, 0, usedBytes);
  if (numCopies)
    std::memset(shadow->copies, 0, arenaBytes);
  if (numReads)
    std::memset(shadow->reads, 0, arenaBytes);
  numCopies = numReads = 0;
}

std::string SharedMemory::describePlace(uint32_t at) const {
  return "shared offset " + std::to_string(at);
}

void SharedMemory::reportRace(Thread &thread, const Site &site, uint32_t at,
                              uint32_t bytes, Access access, Epoch other,
                              bool otherWrote) {
  unsigned slot = Clocks::getSlot(other);
  const Site *otherSite =
      otherWrote ? shadow->writeSite[at / 4] : shadow->readSite[at / 4];
  std::string what = std::string("race on shared memory: ") + getVerb(access) +
                     " of " + std::to_string(bytes) + " bytes at " +
                     describePlace(at) + ", which " +
                     (otherWrote ? "was written" : "was read") + " by ";
  what += slot < thread.block->getThreads().size()
              ? "thread " + std::to_string(slot)
              : std::string("an asynchronous operation");
  what += " and nothing orders the two";
  if (otherSite)
    what += " (there: `" + otherSite->text + "`" +
            (otherSite->location.empty() ? "" : " at " + otherSite->location) +
            ")";
  thread.block->failAt(thread, site, CUDA_ERROR_LAUNCH_FAILED, std::move(what));
}

void SharedMemory::checkFree(Thread &thread, const Site &site, uint32_t offset,
                             uint32_t bytes, Access access) {
  auto find = [&](const uint8_t *marks) {
    return std::find_if(marks + offset, marks + offset + bytes,
                        [](uint8_t mark) { return mark != 0; }) -
           marks;
  };
  if (numCopies) {
    auto at = uint32_t(find(shadow->copies));
    if (at < offset + bytes) {
      std::string what =
          std::string(getVerb(access)) + " of " + std::to_string(bytes) +
          " bytes at " + describePlace(at) +
          ", to which an asynchronous copy is under way that nobody has "
          "waited for (there: `" +
          shadow->writeSite[at / 4]->text + "`)";
      thread.block->failAt(thread, site, CUDA_ERROR_LAUNCH_FAILED,
                           std::move(what));
    }
  }
  if (numReads && access != Access::Load) {
    auto at = uint32_t(find(shadow->reads));
    if (at < offset + bytes) {
      std::string what =
          std::string(getVerb(access)) + " of " + std::to_string(bytes) +
          " bytes at " + describePlace(at) +
          ", which an asynchronous operation still reads (there: `" +
          shadow->readSite[at / 4]->text + "`)";
      thread.block->failAt(thread, site, CUDA_ERROR_LAUNCH_FAILED,
                           std::move(what));
    }
  }
}

template <Access kind>
void SharedMemory::track(Thread &thread, const Site &site, uint32_t offset,
                         uint32_t bytes, Epoch now) {
  unsigned slot = thread.index;
  // Neighbours mostly have the same epochs; what was found of one is kept.
  Epoch orderedWriter = 0, orderedReader = 0, seenReader = 0;
  bool isForgotten = true; // seenReader is ordered before this access
  for (uint32_t at = offset; at < offset + bytes; ++at) {
    Epoch writer = shadow->writer[at];
    if (writer != orderedWriter && writer && !clocks.isBefore(writer, slot) &&
        !(kind == Access::Atomic && shadow->isAtomic[at]))
      reportRace(thread, site, at, bytes, kind, writer, /*otherWrote=*/true);
    orderedWriter = writer;
    if (kind == Access::Load) {
      Epoch reader = shadow->reader[at];
      if (reader != seenReader) {
        isForgotten = !reader || clocks.isBefore(reader, slot);
        seenReader = reader;
      }
      (isForgotten ? shadow->reader : shadow->otherReader)[at] = now;
      continue;
    }
    for (Epoch reader : {shadow->reader[at], shadow->otherReader[at]}) {
      if (reader != orderedReader && reader && !clocks.isBefore(reader, slot))
        reportRace(thread, site, at, bytes, kind, reader, /*otherWrote=*/false);
      orderedReader = reader;
    }
    shadow->writer[at] = now;
    shadow->reader[at] = shadow->otherReader[at] = 0;
    shadow->isAtomic[at] = kind == Access::Atomic;
    shadow->isGeneric[at] = 1;
  }
  auto *sites = kind == Access::Load ? shadow->readSite : shadow->writeSite;
  std::fill(sites + offset / 4, sites + (offset + bytes + 3) / 4, &site);
}

void SharedMemory::access(Thread &thread, const Site &site, uint32_t offset,
                          uint32_t bytes, Access access) {
  if (!isTracking)
    return;
  if (numCopies | numReads)
    checkFree(thread, site, offset, bytes, access);
  Epoch now = clocks.now(thread.index);
  switch (access) {
  case Access::Load:
    return track<Access::Load>(thread, site, offset, bytes, now);
  case Access::Store:
    return track<Access::Store>(thread, site, offset, bytes, now);
  case Access::Atomic:
    return track<Access::Atomic>(thread, site, offset, bytes, now);
  }
}

//===----------------------------------------------------------------------===//
// Asynchronous operations
//===----------------------------------------------------------------------===//

void SharedMemory::checkFenced(Thread &thread, const Site &site,
                               uint32_t offset, uint32_t bytes,
                               const char *what) {
  for (uint32_t at = offset; at < offset + bytes; ++at) {
    Epoch writer = shadow->writer[at];
    unsigned slot = Clocks::getSlot(writer);
    if (!shadow->isGeneric[at] || slot >= fenced.size() ||
        Clocks::getClock(writer) < fenced[slot])
      continue;
    std::string text =
        std::string("missing fence.proxy.async: ") + what + " " +
        describePlace(at) + ", which thread " + std::to_string(slot) +
        " wrote by ordinary means without that fence afterwards (there: `" +
        shadow->writeSite[at / 4]->text + "`)";
    thread.block->failAt(thread, site, CUDA_ERROR_LAUNCH_FAILED,
                         std::move(text));
  }
}

void SharedMemory::beginCopy(Thread &thread, const Site &site, uint32_t offset,
                             uint32_t bytes, bool proxy) {
  if (!isTracking)
    return;
  checkFree(thread, site, offset, bytes, Access::Store);
  if (proxy)
    checkFenced(thread, site, offset, bytes, "an asynchronous copy overwrites");
  track<Access::Store>(thread, site, offset, bytes, clocks.now(thread.index));
  for (uint32_t at = offset; at < offset + bytes; ++at)
    ++shadow->copies[at];
  numCopies += bytes;
}

void SharedMemory::endCopy(const Site &site, uint32_t offset, uint32_t bytes,
                           Epoch writer, bool generic) {
  if (!isTracking)
    return;
  for (uint32_t at = offset; at < offset + bytes; ++at) {
    --shadow->copies[at];
    shadow->writer[at] = writer;
    shadow->reader[at] = shadow->otherReader[at] = 0;
    shadow->isGeneric[at] = generic;
    shadow->isAtomic[at] = 0;
  }
  std::fill(shadow->writeSite + offset / 4,
            shadow->writeSite + (offset + bytes + 3) / 4, &site);
  numCopies -= bytes;
}

void SharedMemory::beginRead(Thread &thread, const Site &site, uint32_t offset,
                             uint32_t bytes, unsigned slot) {
  if (!isTracking)
    return;
  checkFree(thread, site, offset, bytes, Access::Load);
  track<Access::Load>(thread, site, offset, bytes, clocks.now(slot));
  checkFenced(thread, site, offset, bytes, "the asynchronous proxy reads");
  for (uint32_t at = offset; at < offset + bytes; ++at)
    ++shadow->reads[at];
  numReads += bytes;
}

void SharedMemory::endRead(uint32_t offset, uint32_t bytes) {
  if (!isTracking)
    return;
  for (uint32_t at = offset; at < offset + bytes; ++at)
    --shadow->reads[at];
  numReads -= bytes;
}

void SharedMemory::fenceProxy(Thread &thread) {
  clocks.advance(thread.index);
  fenced[thread.index] = Clocks::getClock(clocks.now(thread.index));
}
