//===- TensorCore.h - Asynchronous copies, matrix fragments -----*- C++ -*-===//
//
// The instructions that matrix products are made of: those of sm_80, and wgmma
// of sm_90a. Pointers are generic, as everywhere in CodeBuilder.
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

/// c + a * b of one warp, 16x16 times 16x8 of `element`, sums in f32
/// (mma.m16n8k16). Here and below `element` is f16, or bf16 where it is null.
/// With g = lane / 4 and t = lane mod 4 a lane holds
///   a: rows g, g + 8, g, g + 8, columns 2t and the next, of the last two + 8;
///   b: rows 2t and the next, 2t + 8 and the next, of column g;
///   c: row g columns 2t, 2t + 1, row g + 8 columns 2t, 2t + 1.
CodeBuilder::Values multiplyTiles(CodeBuilder &b, mlir::ValueRange a,
                                  mlir::ValueRange pair, mlir::ValueRange c,
                                  Type element = {});

/// The same of 32 8-bit integers: pairs of columns are four columns of bytes,
/// and sums are exact.
CodeBuilder::Values multiplyIntegers(CodeBuilder &b, mlir::ValueRange a,
                                     mlir::ValueRange pair, mlir::ValueRange c);

/// Makes what this thread wrote to shared memory visible to wgmma, once a
/// barrier has followed.
void fenceShared(CodeBuilder &b);

/// How an operand of wgmma lies in shared memory: bytes from one 8 x 8 piece to
/// the next along the contraction index and across it. `isSwizzled`: rows of
/// 128 bytes, the 16-byte chunks of row r exchanged by exclusive or with r mod
/// 8; then `along` means nothing.
struct MatrixPlace {
  int64_t along, across;
  bool isSwizzled;
};
/// The descriptor of a matrix at a shared address, an i64; that of one `bytes`
/// further is `bytes` / 16 more.
Value describeMatrix(CodeBuilder &b, Value shared, const MatrixPlace &place);

/// Sums of a warpgroup's 64 rows and `columns` columns: a struct of f32, all 0.
/// Lanes hold those of 8 adjacent columns as in multiplyTiles().
Value zeroSums(CodeBuilder &b, int64_t columns);
/// Starts sums + a * b over 16 indices of `element` (wgmma). What it returns
/// may only be given to another one, or to waitSums().
Value multiplyAsync(CodeBuilder &b, Value sums, Value a, Value right,
                    int64_t columns, Type element = {});
/// Before the first wgmma of a group, and after its last.
void beginProducts(CodeBuilder &b);
void commitProducts(CodeBuilder &b);
/// Waits until at most `pending` groups are on their way: what the others read
/// may be overwritten.
void waitProducts(CodeBuilder &b, int64_t pending);
/// Waits for all groups; the sums.
Value waitSums(CodeBuilder &b, Value sums);
/// The members of a struct.
CodeBuilder::Values unpackStruct(CodeBuilder &b, Value aggregate);

/// Two f32 rounded to bf16, the first in the lower half of an i32.
Value packBf16(CodeBuilder &b, Value low, Value high);
/// Two f32 rounded to `element`, in the same way.
Value packPair(CodeBuilder &b, Value low, Value high, Type element);

} // namespace moec::nvptx

#endif // MOEC_COMPILER_TARGETS_NVPTX_TENSORCORE_H
