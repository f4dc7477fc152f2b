//===- SharedMemory.cpp - Shared memory of the running block --------------===//
#include "compiler/targets/nvptx/emulator/SharedMemory.h"
#include "compiler/targets/nvptx/emulator/Settings.h"

#include <cstring>
#include <sys/mman.h>

using namespace moec::emu;

SharedMemory &SharedMemory::get() {
  static SharedMemory memory;
  return memory;
}

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
}

void SharedMemory::beginLaunch(uint32_t bytes, unsigned numThreads) {
  usedBytes = bytes;
}

void SharedMemory::beginBlock(Block &block) {
  if (getSettings().poison && usedBytes)
    std::memset(reinterpret_cast<void *>(base), 0xff, usedBytes);
}

void SharedMemory::endBlock(Block &block) {}

void SharedMemory::synchronise(const std::vector<Thread *> &arrived,
                               const std::vector<Thread *> &waiting) {}

bool SharedMemory::completeSomething(Block &block) { return false; }

std::string SharedMemory::describeMbarrier(uint32_t offset) const {
  return "mbarrier at shared+" + std::to_string(offset);
}

void SharedMemory::access(Thread &thread, const Site &site, uint32_t offset,
                          uint32_t bytes, Access access) {}
