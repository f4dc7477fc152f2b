//===- RowBody.h - Row bodies on a group of threads -------------*- C++ -*-===//
//
// Lowers the body of one row to code that a group of threads runs together: a
// warp, or a whole block for wide rows. Element i of a row belongs to thread
// i mod group. As on a CPU (compiler/targets/generic/RowBody.h) elementwise
// operations are computed where they are used; rows that are used more than once
// or by index lie in shared memory. Scalars are computed by every thread.
//
// Sums have the 16 chains and the tree of `row.reduce`, so a row gives the same
// bits as on every other target: 16 lanes hold the chains of one sum, a warp
// computes two sums at a time.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_ROWBODY_H
#define MOEC_COMPILER_TARGETS_NVPTX_ROWBODY_H

#include "compiler/targets/nvptx/NvBuilder.h"

#include "dialects/row/RowDialect.h"

#include "llvm/ADT/DenseMap.h"

namespace moec::nvptx {

class RowBody {
public:
  /// `shared` is memory of the group for measureSharedBytes(); `group` threads,
  /// 32 or all of the block, of which this is `member`.
  RowBody(CodeBuilder &b, target::KernelModule &module, Value shared,
          int64_t group, Value member)
      : b(b), module(module), shared(shared), group(group), member(member) {}

  /// The shared memory that a body needs, and its yielded rows if they are
  /// materialised; failure after an error where it cannot be built.
  static mlir::FailureOr<int64_t>
  measureSharedBytes(mlir::Block &body, const target::IsaLevel &level,
                     int64_t group, bool materialized);
  /// The most elements of a row of the body.
  static int64_t getWidth(mlir::Block &body);

  /// Gives an argument of the body its row at `pointer`: memory, or for a
  /// scalar the element there.
  void bind(Value argument, Value pointer);

  /// Builds all operations of the body.
  mlir::LogicalResult run(mlir::Block &body);

  /// Puts rows into memory of their own, so that later stores only copy.
  void materialize(mlir::ValueRange rows);
  /// Stores a row or scalar of the body to `pointer`.
  void store(Value row, Value pointer);

  mlir::LogicalResult getStatus() const { return status; }

private:
  mlir::LogicalResult lower(mlir::Operation &op);
  mlir::LogicalResult lowerScalar(mlir::Operation &op);
  mlir::LogicalResult lowerConstant(row::ConstantOp op);
  void lowerReduce(row::ReduceOp op);
  void lowerScan(row::ScanOp op);
  void lowerTable(row::TableOp op);
  bool lowerReshape(row::ReshapeOp op);
  bool lowerSelect(row::SelectOp op);
  mlir::LogicalResult lowerLargest(Value input, int64_t count, Value values,
                                   Value indices, Value index);

  bool wantsMemory(Value row);
  bool isCheap(Value row);
  Value getScalar(Value value) { return scalars.lookup(value); }
  Value getPointer(Value row);
  Value allocate(Type element, int64_t count);
  void sync();
  void materialize(Value row);

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

  CodeBuilder &b;
  target::KernelModule &module;
  Value shared;
  int64_t group;
  Value member;
  int64_t usedBytes = 0;
  llvm::DenseMap<Value, Value> memory;
  llvm::DenseMap<Value, Value> scalars;
  mlir::LogicalResult status = mlir::success();
};

} // namespace moec::nvptx

#endif // MOEC_COMPILER_TARGETS_NVPTX_ROWBODY_H
