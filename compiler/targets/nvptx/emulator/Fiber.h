//===- Fiber.h - Switching between stacks -----------------------*- C++ -*-===//
//
// A device thread is a fiber: a stack of its own, entered and left by function
// calls. Kernels switch millions of times, so a switch is a dozen instructions
// and no system call (swapcontext would make one).
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_FIBER_H
#define MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_FIBER_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moec {
namespace emu {

/// Where a stack that does not run goes on.
struct Context {
  void *stackPointer = nullptr;
  // For AddressSanitizer, which has to know which stack it is on.
  void *fakeStack = nullptr;
  const void *low = nullptr;
  size_t bytes = 0;
};

/// Leaves the current stack at `from` and goes on at `to`. `ends`: nobody comes
/// back to `from`.
void switchContext(Context &from, Context &to, bool ends = false);
/// To be called first on a new stack; `from` is the context that was left.
void beginContext(Context &from);

/// Stacks of equal size, each with a guard page below it. Kept for the next
/// block.
class StackPool {
public:
  ~StackPool();
  /// Makes stacks [0, count); false where memory is short.
  bool reserve(size_t count, size_t bytes);
  /// A saved context on stack `index` that calls `entry`, which never returns.
  Context prepare(size_t index, void (*entry)());
  bool contains(size_t index, uint64_t address) const {
    uint64_t low = reinterpret_cast<uint64_t>(stacks[index]);
    return address >= low && address - low < stackBytes;
  }

private:
  void clear();

  std::vector<char *> stacks; // lowest usable byte of each
  size_t stackBytes = 0;
};

} // namespace emu
} // namespace moec

#endif // MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_FIBER_H
