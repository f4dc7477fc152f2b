//===- Bf16Dot.h - Dot products of pairs of bf16 ----------------*- C++ -*-===//
#ifndef MOEC_COMPILER_TARGETS_X86_64_KERNELS_BF16DOT_H
#define MOEC_COMPILER_TARGETS_X86_64_KERNELS_BF16DOT_H

#include "passes/target/CodeBuilder.h"

namespace moec::x86 {

/// Floats as bf16; 16 at a time by VCVTNEPS2BF16, which flushes denormals: the
/// dot product would take them as zero anyway.
mlir::Value roundToBf16(target::CodeBuilder &b, mlir::Value value);

/// VDPBF16PS: 16 sums and twice 16 pairs of bf16 in lanes of i32.
mlir::Value dotPairs(target::CodeBuilder &b, mlir::Value sum, mlir::Value x,
                     mlir::Value y);

} // namespace moec::x86

#endif // MOEC_COMPILER_TARGETS_X86_64_KERNELS_BF16DOT_H
