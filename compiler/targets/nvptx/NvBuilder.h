//===- NvBuilder.h - Threads, warps and shared memory -----------*- C++ -*-===//
//
// What code of a device kernel needs beyond CodeBuilder. Everything is a call
// of an `llvm.nvvm.*` intrinsic, never inline assembly, so that the emulator
// runs the very code that becomes PTX (docs/rationale/gpu.md).
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_NVBUILDER_H
#define MOEC_COMPILER_TARGETS_NVPTX_NVBUILDER_H

#include "passes/target/CodeBuilder.h"
#include "passes/target/KernelEmitter.h"

namespace moec::nvptx {

using mlir::Type;
using mlir::Value;
using target::CodeBuilder;

constexpr int64_t kWarp = 32;
/// Dynamic shared memory that every device of sm_80 and above can give a block.
constexpr int64_t kMaxSharedBytes = 99 * 1024;

/// Calls `llvm.nvvm.<name>`; `result` is null where there is none.
Value intrinsic(CodeBuilder &b, llvm::StringRef name, Type result,
                mlir::ValueRange operands = {});

/// Ids and counts along x, y, z (0, 1, 2), as i64.
Value threadId(CodeBuilder &b);
Value blockId(CodeBuilder &b, unsigned dim = 0);
Value blockCount(CodeBuilder &b, unsigned dim = 0);
/// threadId() mod 32 and div 32. Blocks have one dimension.
Value laneId(CodeBuilder &b);
Value warpId(CodeBuilder &b);

/// Waits for all threads of the block, or of the warp; both make what was
/// written before visible to those who waited.
void syncBlock(CodeBuilder &b);
void syncWarp(CodeBuilder &b);

/// The value of the lane whose number differs in the bits of `mask`; of any
/// type of 32 or 64 bits. All lanes of the warp take part.
Value shuffleXor(CodeBuilder &b, Value value, int64_t mask);
/// The value of lane `lane`, an i32; of lane `lane` - `delta`, own below 0.
Value shuffleFrom(CodeBuilder &b, Value value, Value lane);
Value shuffleUp(CodeBuilder &b, Value value, int64_t delta);
/// One bit per lane, as i32.
Value ballot(CodeBuilder &b, Value condition);

/// The dynamic shared memory of the block, 128-byte aligned, as a generic
/// pointer.
Value sharedMemory(CodeBuilder &b);

/// The same address as one of global memory: for pointers that were loaded, so
/// that access does not go through the generic address space.
Value asGlobal(CodeBuilder &b, Value pointer);
/// The same address as one of shared memory: for instructions that take no
/// other.
Value asShared(CodeBuilder &b, Value pointer);

/// `count` elements that are aligned to their size, at most 16 bytes.
Value loadWide(CodeBuilder &b, Value pointer, Type element, int64_t count);
void storeWide(CodeBuilder &b, Value vector, Value pointer);

/// `value` / `by`, rounded up.
Value ceilDiv(CodeBuilder &b, Value value, int64_t by);

} // namespace moec::nvptx

#endif // MOEC_COMPILER_TARGETS_NVPTX_NVBUILDER_H
