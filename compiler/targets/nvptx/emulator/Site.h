//===- Site.h - Places in a kernel ------------------------------*- C++ -*-===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_SITE_H
#define MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_SITE_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <string>

namespace llvm {
class CallBase;
} // namespace llvm

namespace moec {
namespace emu {

struct Region;
struct Site;
struct Thread;
struct Warp;

/// An instruction without a counterpart on the host, and its model.
struct Op {
  /// One thread executes alone. `buffer` holds operands and result.
  using ThreadFn = void (*)(Thread &, const Site &, char *buffer);
  /// All threads of `lanes` have arrived; operands in their buffers.
  using WarpFn = void (*)(Warp &, const Site &, uint32_t lanes);

  std::string name;
  ThreadFn thread = nullptr;
  WarpFn warp = nullptr;
  /// Warp operations: the operand that says which lanes take part; -1: all of
  /// the warp, at the same instruction (.aligned).
  int maskOperand = -1;
  /// Warp operations: all four warps of the warpgroup meet, then each executes.
  bool ofWarpgroup = false;
  /// What the model reads off the name: shapes, types, modes.
  llvm::SmallVector<int64_t, 8> parameters;

  /// Where operands and result lie in the buffer.
  llvm::SmallVector<uint32_t, 8> operandOffsets;
  uint32_t resultOffset = 0;
};

enum class Access : uint8_t { Load, Store, Atomic };
enum class Space : uint8_t { Generic, Global, Shared, Constant };

/// A memory access or an operation in the code of a kernel.
struct Site {
  const Op *op = nullptr;
  Access access = Access::Load;
  Space space = Space::Generic;
  uint32_t bytes = 0, align = 1;
  bool polls = false;    // may wait for another thread to write there
  bool releases = false; // an atomic that publishes what was written before
  std::string text;      // the instruction
  std::string location;  // file:line:column, or ""
  std::string function;

  /// The region found here last; valid while `generation` is the memory's.
  mutable Region *region = nullptr;
  mutable uint32_t generation = 0;
};

template <typename T>
T getOperand(const Site &site, const char *buffer, unsigned index) {
  T value;
  __builtin_memcpy(&value, buffer + site.op->operandOffsets[index], sizeof(T));
  return value;
}
template <typename T>
void setResult(const Site &site, char *buffer, T value, unsigned index = 0) {
  __builtin_memcpy(buffer + site.op->resultOffset + index * sizeof(T), &value,
                   sizeof(T));
}

} // namespace emu
} // namespace moec

#endif // MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_SITE_H
