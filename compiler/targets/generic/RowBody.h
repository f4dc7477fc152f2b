//===- RowBody.h - Row bodies on a CPU --------------------------*- C++ -*-===//
//
// Lowers the body of one row to loops over blocks of 16 elements. Elementwise
// operations are not computed where they stand: a consumer that walks a row in
// blocks asks for one block after the other, and a chain of maps ends up in one
// loop. Rows that are used more than once, or by index, get a buffer on the
// stack.
//
// The last, partial block of a row is computed on whole vectors like all others,
// its free lanes repeating the first, so every element goes through the same
// instructions.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_GENERIC_ROWBODY_H
#define MOEC_COMPILER_TARGETS_GENERIC_ROWBODY_H

#include "compiler/targets/generic/Kernels.h"

#include "dialects/row/RowDialect.h"

#include "llvm/ADT/DenseMap.h"

namespace moec::generic {

class RowBody {
public:
  RowBody(CodeBuilder &b, KernelModule &module) : b(b), module(module) {}

  /// Gives an argument of the body its row at `pointer`: memory, or for a
  /// scalar the element there.
  void bind(Value argument, Value pointer);

  /// Builds all operations of the body. Rows that nothing needs in memory are
  /// built when they are stored.
  mlir::LogicalResult run(mlir::Block &body);

  /// Puts a row into memory of its own, so that a later store() only copies.
  void materialize(Value row);
  /// Stores a row or scalar of the body to `pointer`.
  void store(Value row, Value pointer);

  /// Whether anything failed; errors have been emitted.
  mlir::LogicalResult getStatus() const { return status; }

private:
  /// A row that lies in memory.
  struct Memory {
    Value pointer;
    /// The last block may be read as a whole.
    bool isPadded = false;
  };

  /// A constant gather that takes each block of 16 from one place.
  struct Permutation {
    llvm::SmallVector<int64_t> lanes;
    Value bases;
  };

  mlir::LogicalResult lower(mlir::Operation &op);
  mlir::LogicalResult lowerScalar(mlir::Operation &op);
  mlir::LogicalResult lowerConstant(row::ConstantOp op);
  void lowerReduce(row::ReduceOp op);
  void lowerGather(row::GatherOp op);
  void lowerScan(row::ScanOp op);
  void lowerTable(row::TableOp op);
  bool lowerReshape(row::ReshapeOp op);
  bool lowerSelect(row::SelectOp op);
  mlir::LogicalResult lowerLargest(Value input, int64_t count, Value values,
                                   Value indices, Value index);

  /// Whether a lazily computed row should get memory after all.
  bool wantsMemory(Value row);
  /// Whether computing a row again costs little.
  bool isCheap(Value row);

  Value getScalar(Value value);
  /// The memory of a row, which is built if it has none.
  Value getPointer(Value row);

  /// The elements from `offset` on; `isAligned` when it is a multiple of 16.
  Value block(Value row, Value offset, int64_t active, bool isAligned);
  Value mapBlock(row::MapOp op, Value offset, int64_t active, bool isAligned);
  Value gatherBlock(row::GatherOp op, Value offset, int64_t active,
                    bool isAligned);
  /// Blocks of `count` elements from `base` on.
  void forBlocks(int64_t count,
                 llvm::function_ref<void(Value, int64_t)> body);
  CodeBuilder::Values
  foldBlocks(int64_t count, mlir::ValueRange init,
             llvm::function_ref<CodeBuilder::Values(Value, int64_t,
                                                    mlir::ValueRange)>
                 body);
  Value reduceBlocks(Value input, Value base, int64_t count, bool isAligned,
                     row::Reduction kind);
  void storeBlocks(Value row, Value pointer, bool isPadded);
  /// Memory for `count` elements.
  Value allocate(Type element, int64_t count);

  CodeBuilder &b;
  KernelModule &module;
  llvm::DenseMap<Value, Memory> memory;
  llvm::DenseMap<Value, Value> scalars;
  llvm::DenseMap<Value, Permutation> permutations;
  mlir::LogicalResult status = mlir::success();
};

} // namespace moec::generic

#endif // MOEC_COMPILER_TARGETS_GENERIC_ROWBODY_H
