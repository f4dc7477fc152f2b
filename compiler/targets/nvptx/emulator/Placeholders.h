//===- Placeholders.h - Calls that stand for wgmma --------------*- C++ -*-===//
//
// LLVM has no intrinsic for wgmma.mma_async. Kernels call declared functions
// instead, `convergent` and with side effects, which become inline PTX after
// optimisation, just before assembly is printed, and which the emulator gives a
// body. All other instructions are llvm.nvvm intrinsics.
//
//   ACC @moec.nv.wgmma.m64n<N>k<K>.<D>.<A>.<B>.<form>[.ta][.tb](operands)
//
//     ACC   a struct or array of N / 2 elements of type D (f32 or s32): the
//           accumulators of a thread, in the order of the PTX ISA
//     form  ss: operands (ACC, i64 descA, i64 descB, i1 scaleD)
//           rs: operands (ACC, i32 a0, i32 a1, i32 a2, i32 a3, i64 descB,
//               i1 scaleD)
//     .ta, .tb  imm-trans-a, imm-trans-b of 1: A is M-major, B N-major; only
//           16-bit A and B
//
//     scaleD false: D = A B, true: D = A B + ACC. imm-scale-a and -b are 1.
//
//   ACC @moec.nv.wgmma.wait.<count>x<D>(ACC, i32 N)
//
//     wgmma.wait_group N, with the accumulators tied through it, so that
//     nothing that reads them moves up. D of a wgmma may be used in three ways
//     only: as ACC of the next, in a phi, and by this wait, with an N that
//     completes its group. Anything else reads registers in flight; the
//     emulator hands out NaNs (of f32) there. With an empty ACC, "0xf32", it
//     waits and no more, as llvm.nvvm.wgmma.wait_group.sync.aligned does.
//
// wgmma.fence and commit_group are intrinsics. A fence comes before the first
// wgmma of a series, and after ordinary code has written accumulators or A
// registers.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_PLACEHOLDERS_H
#define MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_PLACEHOLDERS_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"

namespace moec {
namespace emu {

/// What the name of a wgmma placeholder says.
struct WgmmaName {
  unsigned n = 0, k = 0;
  llvm::StringRef d, a, b;
  bool aInRegisters = false, transposesA = false, transposesB = false;
};

/// Parses a name without "moec.nv.". False where it is none of wgmma's, or its
/// shape does not exist.
inline bool parseWgmmaName(llvm::StringRef name, WgmmaName &result) {
  if (!name.consume_front("wgmma.m64n") || name.consumeInteger(10, result.n) ||
      !name.consume_front("k") || name.consumeInteger(10, result.k) ||
      !name.consume_front("."))
    return false;
  llvm::SmallVector<llvm::StringRef, 6> words;
  name.split(words, '.');
  if (words.size() < 4)
    return false;
  result.d = words[0];
  result.a = words[1];
  result.b = words[2];
  result.aInRegisters = words[3] == "rs";
  if (!result.aInRegisters && words[3] != "ss")
    return false;
  for (llvm::StringRef word : llvm::ArrayRef(words).drop_front(4)) {
    bool &flag = word == "ta" ? result.transposesA : result.transposesB;
    if ((word != "ta" && word != "tb") || flag)
      return false;
    flag = true;
  }
  return result.n && result.n % 8 == 0 && result.n <= 256;
}

} // namespace emu
} // namespace moec

#endif // MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_PLACEHOLDERS_H
