//===- TensorCore.h - Asynchronous copies, matrix fragments -----*- C++ -*-===//
//
// The instructions of sm_80 that matrix products are made of. Pointers are
// generic, as everywhere in CodeBuilder.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_TENSORCORE_H
#define MOEC_COMPILER_TARGETS_NVPTX_TENSORCORE_H

#include "compiler/targets/nvptx/NvBuilder.h"

namespace moec::nvptx {

/// Starts a copy of 16 bytes from global to shared memory, both aligned to 16;
/// writes zeros, and reads nothing, unless `isThere`.
void copyAsync(CodeBuilder &b, Value shared, Value global, Value isThere);
/// Ends a group of copies: those that this thread started since the last one.
void commitCopies(CodeBuilder &b);
/// Waits until at most `pending` of this thread's groups are on their way.
void waitCopies(CodeBuilder &b, int64_t pending);

/// Four 8x8 matrices of 16-bit numbers (ldmatrix.x4): lane i gives the address
/// of row i mod 8 of matrix i / 8, 16 bytes. Of each matrix a lane gets
/// elements 2 (lane mod 4) and the next of row lane / 4, as an i32. With
/// `transposed` rows and columns are exchanged.
CodeBuilder::Values loadMatrices(CodeBuilder &b, Value shared,
                                 bool transposed = false);

/// c + a * b of one warp, 16x16 times 16x8 bf16, sums in f32 (mma.m16n8k16).
/// With g = lane / 4 and t = lane mod 4 a lane holds
///   a: rows g, g + 8, g, g + 8, columns 2t and the next, of the last two + 8;
///   b: rows 2t and the next, 2t + 8 and the next, of column g;
///   c: row g columns 2t, 2t + 1, row g + 8 columns 2t, 2t + 1.
CodeBuilder::Values multiplyTiles(CodeBuilder &b, mlir::ValueRange a,
                                  mlir::ValueRange pair, mlir::ValueRange c);

/// Two f32 rounded to bf16, the first in the lower half of an i32.
Value packBf16(CodeBuilder &b, Value low, Value high);

} // namespace moec::nvptx

#endif // MOEC_COMPILER_TARGETS_NVPTX_TENSORCORE_H
