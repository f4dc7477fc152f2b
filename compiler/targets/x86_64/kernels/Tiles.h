//===- Tiles.h - Tiles of matrix products for x86-64 ------------*- C++ -*-===//
//
// One function per source of this folder. A tile's returns null where it does not
// serve the operands.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_X86_64_KERNELS_TILES_H
#define MOEC_COMPILER_TARGETS_X86_64_KERNELS_TILES_H

#include "compiler/targets/generic/AttentionTile.h"
#include "compiler/targets/generic/GemmTile.h"

namespace moec::x86 {

/// Weights of bf16 in pairs of columns, compute = bf16, by VDPBF16PS.
std::unique_ptr<generic::GemmTile>
createBf16DotTile(const target::IsaLevel &level,
                  const generic::GemmOperands &operands);

/// Weights of #moeq.affine, compute = i8, by VPDPBUSD.
std::unique_ptr<generic::GemmTile>
createInt8DotTile(const target::IsaLevel &level,
                  const generic::GemmOperands &operands);

/// Queries times keys, compute = bf16, by VDPBF16PS.
std::unique_ptr<generic::ScoreArithmetic> createBf16DotScores();

} // namespace moec::x86

#endif // MOEC_COMPILER_TARGETS_X86_64_KERNELS_TILES_H
