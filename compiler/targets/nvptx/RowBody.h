//===- RowBody.h - Row bodies on a group of threads -------------*- C++ -*-===//
//
// Lowers the body of one row to code that a group of threads runs together: a
// warp, or a whole block for wide rows. Element i of a row belongs to thread
// i mod group. Rows that need memory (compiler/targets/generic/RowLowering.h)
// lie in shared memory. Scalars are computed by every thread.
//
// Sums have the 16 chains and the tree of `row.reduce`, so a row gives the same
// bits as on every other target: 16 lanes hold the chains of one sum, a warp
// computes two sums at a time.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_ROWBODY_H
#define MOEC_COMPILER_TARGETS_NVPTX_ROWBODY_H

#include "compiler/targets/generic/RowLowering.h"
#include "compiler/targets/nvptx/NvBuilder.h"

namespace moec::nvptx {

class RowBody : public generic::RowLowering {
public:
  /// `shared` is memory of the group for measureSharedBytes(); `group` threads,
  /// 32 or all of the block, of which this is `member`.
  RowBody(CodeBuilder &b, target::KernelModule &module, Value shared,
          int64_t group, Value member)
      : RowLowering(b, module, "nvptx"), shared(shared), group(group),
        member(member) {}

  /// The shared memory that a body needs, and its yielded rows if they are
  /// materialised; failure after an error where it cannot be built.
  static mlir::FailureOr<int64_t>
  measureSharedBytes(mlir::Block &body, const target::IsaLevel &level,
                     int64_t group, bool materialized);
  /// The most elements of a row of the body.
  static int64_t getWidth(mlir::Block &body);

  /// Puts rows into memory of their own, so that later stores only copy.
  void materializeAll(mlir::ValueRange rows);
  /// Stores a row or scalar of the body to `pointer`.
  void store(Value row, Value pointer);

private:
  void materialize(Value row) override;
  void lowerReduce(row::ReduceOp op) override;
  void lowerGather(row::GatherOp op) override;
  void lowerScan(row::ScanOp op) override;
  mlir::LogicalResult lowerLargest(Value input, int64_t count, Value values,
                                   Value indices, Value index) override;
  /// Its source and indices lie in memory.
  bool isCheapGather(Value) const override { return true; }

  Value allocate(Type element, int64_t count);
  void sync();

  /// Element `index` of a row.
  Value element(Value row, Value index);
  Value mapElement(row::MapOp op, Value index);
  Value gatherElement(row::GatherOp op, Value index);
  /// Runs `body` for the elements of this thread.
  void forElements(int64_t count, llvm::function_ref<void(Value)> body);
  /// The reduction of `count` elements from `base` on, by 16 lanes; every one
  /// of them has it.
  Value reduceElements(Value input, Value base, int64_t count,
                       row::Reduction kind);

  Value shared;
  int64_t group;
  Value member;
  int64_t usedBytes = 0;
};

} // namespace moec::nvptx

#endif // MOEC_COMPILER_TARGETS_NVPTX_ROWBODY_H
