//===- WarpRoles.h - Warps that copy, warps that multiply -------*- C++ -*-===//
//
// The instructions of sm_90a by which the warps of a block work at different
// things: barriers in shared memory that count arrivals and bytes, bulk copies
// that complete on them, registers that move from one warpgroup to another.
// Pointers are generic, as everywhere in CodeBuilder.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_WARPROLES_H
#define MOEC_COMPILER_TARGETS_NVPTX_WARPROLES_H

#include "compiler/targets/nvptx/NvBuilder.h"

namespace moec::nvptx {

/// Of a barrier in shared memory (mbarrier).
constexpr int64_t kBarrierBytes = 8;

/// A phase ends with `arrivals` arrivals, when all bytes expected have come.
void initBarrier(CodeBuilder &b, Value barrier, int64_t arrivals);
/// By the thread that initialised barriers, before the block meets.
void fenceBarriers(CodeBuilder &b);
void arriveAt(CodeBuilder &b, Value barrier);
/// This phase waits for so many bytes (i32) more.
void expectBytes(CodeBuilder &b, Value barrier, Value bytes);
/// Waits until the phase of this parity (i32) is complete; that before the
/// first, whose parity is 1, always is.
void waitPhase(CodeBuilder &b, Value barrier, Value parity);

/// Starts a copy of `bytes` from global to shared memory, which completes on
/// `barrier`; addresses and bytes are multiples of 16.
void copyBulk(CodeBuilder &b, Value shared, Value global, int64_t bytes,
              Value barrier);

/// The registers of each thread of the warpgroup from here on, a multiple of 8:
/// fewer than before, or more, which waits until others have given theirs.
void giveRegisters(CodeBuilder &b, int64_t left);
void takeRegisters(CodeBuilder &b, int64_t wanted);

/// The number of the warp, in a way that shows it is the same in all lanes.
Value uniformWarpId(CodeBuilder &b);

} // namespace moec::nvptx

#endif // MOEC_COMPILER_TARGETS_NVPTX_WARPROLES_H
