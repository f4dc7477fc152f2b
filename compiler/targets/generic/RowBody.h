//===- RowBody.h - Row bodies on a CPU --------------------------*- C++ -*-===//
//
// Lowers the body of one row to loops over blocks of 16 elements. Rows that need
// memory (RowLowering.h) lie on the stack.
//
// The last, partial block of a row is computed on whole vectors like all others,
// its free lanes repeating the first, so every element goes through the same
// instructions.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_GENERIC_ROWBODY_H
#define MOEC_COMPILER_TARGETS_GENERIC_ROWBODY_H

#include "compiler/targets/generic/RowLowering.h"

namespace moec::generic {

class RowBody : public RowLowering {
public:
  RowBody(CodeBuilder &b, KernelModule &module)
      : RowLowering(b, module, "generic") {}

  /// Puts a row into memory of its own, so that a later store() only copies.
  void materialize(Value row) override;
  /// Stores a row or scalar of the body to `pointer`.
  void store(Value row, Value pointer);

private:
  /// A constant gather that takes each block of 16 from one place.
  struct Permutation {
    llvm::SmallVector<int64_t> lanes;
    Value bases;
  };

  void lowerReduce(row::ReduceOp op) override;
  void lowerGather(row::GatherOp op) override;
  void lowerScan(row::ScanOp op) override;
  mlir::LogicalResult lowerLargest(Value input, int64_t count, Value values,
                                   Value indices, Value index) override;
  bool isCheapGather(Value row) const override {
    return permutations.count(row);
  }

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

  llvm::DenseMap<Value, Permutation> permutations;
};

} // namespace moec::generic

#endif // MOEC_COMPILER_TARGETS_GENERIC_ROWBODY_H
