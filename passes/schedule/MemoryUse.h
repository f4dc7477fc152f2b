//===- MemoryUse.h - What kernel operations read and write ------*- C++ -*-===//
#ifndef MOEC_PASSES_SCHEDULE_MEMORYUSE_H
#define MOEC_PASSES_SCHEDULE_MEMORYUSE_H

#include "mlir/IR/Operation.h"

namespace moec {

/// The memory that one kernel operation touches: buffers by their defining
/// value (views looked through), states by symbol.
struct MemoryUse {
  llvm::SmallVector<mlir::Value, 4> reads, writes;
  llvm::SmallVector<mlir::StringAttr, 2> stateReads, stateWrites;
  /// Buffers of which a participant touches only the rows that it owns when
  /// `rows` are divided by the rule `Tasks::Rows`.
  llvm::SmallVector<mlir::Value, 4> ownRows;
  mlir::AffineMap rows;
};

/// The use of a moex kernel operation; empty for memory operations.
MemoryUse getMemoryUse(mlir::Operation *op);

/// Whether `op` only names memory: input, output, weight, alloc, slice, view.
bool isMemoryOp(mlir::Operation *op);

/// The value that stands for the memory behind `buffer`.
mlir::Value getRoot(mlir::Value buffer);

} // namespace moec

#endif // MOEC_PASSES_SCHEDULE_MEMORYUSE_H
