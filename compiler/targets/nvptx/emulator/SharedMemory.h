//===- SharedMemory.h - Shared memory of the running block ------*- C++ -*-===//
//
// One arena for the block that runs, aligned to 256 KiB and below 2 GiB: the
// low bits of an address are the offset that descriptors hold, and a pointer
// survives as 32 bits.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_SHAREDMEMORY_H
#define MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_SHAREDMEMORY_H

#include "compiler/targets/nvptx/emulator/Block.h"

namespace moec {
namespace emu {

class SharedMemory {
public:
  static SharedMemory &get();
  static constexpr uint64_t arenaBytes = 256 << 10;

  /// 0 where the host has no room for it.
  uint64_t getBase() const { return base; }
  bool contains(uint64_t address) const { return address - base < arenaBytes; }

  void beginLaunch(uint32_t bytes, unsigned numThreads);
  void beginBlock(Block &block);
  void endBlock(Block &block);

  /// All of `arrived` happens before what `waiting` do from now on.
  void synchronise(const std::vector<Thread *> &arrived,
                   const std::vector<Thread *> &waiting);
  /// Nothing else can run: completes an asynchronous operation. False where
  /// there is none.
  bool completeSomething(Block &block);
  std::string describeMbarrier(uint32_t offset) const;

  /// An access to [offset, offset + bytes), which is within bounds.
  void access(Thread &thread, const Site &site, uint32_t offset, uint32_t bytes,
              Access access);

private:
  SharedMemory();

  uint64_t base = 0;
  uint32_t usedBytes = 0;
};

} // namespace emu
} // namespace moec

#endif // MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_SHAREDMEMORY_H
