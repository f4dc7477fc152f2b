//===- SharedMemory.h - Shared memory of the running block ------*- C++ -*-===//
//
// One arena for the block that runs, aligned to 256 KiB and below 2 GiB: the
// low bits of an address are the offset that descriptors hold, and a pointer
// survives as 32 bits.
//
// Each byte has a shadow: the epochs of its last write and of two reads since,
// whether an asynchronous operation is under way on it. Two reads, not all: a
// write races with one of them nearly always when it races with any.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_SHAREDMEMORY_H
#define MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_SHAREDMEMORY_H

#include "compiler/targets/nvptx/emulator/Block.h"
#include "compiler/targets/nvptx/emulator/Clocks.h"

#include <memory>

namespace moec {
namespace emu {

class SharedMemory {
public:
  static SharedMemory &get() {
    // Never destroyed, as the driver's state.
    static SharedMemory *memory = new SharedMemory;
    return *memory;
  }
  static constexpr uint32_t arenaBytes = 256 << 10;

  /// 0 where the host has no room for it.
  uint64_t getBase() const { return base; }
  bool contains(uint64_t address) const { return address - base < arenaBytes; }

  void beginLaunch(uint32_t bytes, unsigned numThreads);
  void beginBlock();

  /// A thread accesses [offset, offset + bytes), which is within bounds: no
  /// race, nothing under way there.
  void access(Thread &thread, const Site &site, uint32_t offset, uint32_t bytes,
              Access access);

  // ---- asynchronous operations (Async.h) ---------------------------------

  /// The thread starts a copy to these bytes: checks as for a write, then marks
  /// them. `proxy`: the copy belongs to the asynchronous proxy.
  void beginCopy(Thread &thread, const Site &site, uint32_t offset,
                 uint32_t bytes, bool proxy);
  /// The copy has written; `writer` is the epoch of its bytes. `generic`: they
  /// need a fence before the asynchronous proxy sees them.
  void endCopy(const Site &site, uint32_t offset, uint32_t bytes, Epoch writer,
               bool generic);
  /// The asynchronous proxy reads for the thread: checks as for a read, and
  /// that a proxy fence followed what was written by ordinary means. The bytes
  /// must stay until endRead. The read is noted under `slot`.
  void beginRead(Thread &thread, const Site &site, uint32_t offset,
                 uint32_t bytes, unsigned slot);
  void endRead(uint32_t offset, uint32_t bytes);
  /// fence.proxy.async by the thread.
  void fenceProxy(Thread &thread);

  Clocks clocks;

private:
  SharedMemory();
  void reset();
  void checkFree(Thread &thread, const Site &site, uint32_t offset,
                 uint32_t bytes, Access access);
  void checkFenced(Thread &thread, const Site &site, uint32_t offset,
                   uint32_t bytes, const char *what);
  template <Access kind>
  void track(Thread &thread, const Site &site, uint32_t offset, uint32_t bytes,
             Epoch now);
  [[noreturn]] void reportRace(Thread &thread, const Site &site, uint32_t at,
                               uint32_t bytes, Access access, Epoch other,
                               bool otherWrote);
  std::string describePlace(uint32_t at) const;

  struct Shadow {
    Epoch writer[arenaBytes], reader[arenaBytes], otherReader[arenaBytes];
    uint8_t copies[arenaBytes]; // under way to the byte
    uint8_t reads[arenaBytes];  // under way from the byte
    uint8_t isAtomic[arenaBytes];
    uint8_t isGeneric[arenaBytes]; // written by ordinary means
    // Of 4 bytes each.
    const Site *writeSite[arenaBytes / 4], *readSite[arenaBytes / 4];
  };

  uint64_t base = 0;
  uint32_t usedBytes = 0;
  bool isTracking = false;
  unsigned numCopies = 0, numReads = 0; // under way
  std::unique_ptr<Shadow> shadow;
  std::vector<uint32_t> fenced; // own clock below which a thread has fenced
};

} // namespace emu
} // namespace moec

#endif // MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_SHAREDMEMORY_H
