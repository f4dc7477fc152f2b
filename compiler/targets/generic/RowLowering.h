//===- RowLowering.h - What all lowerings of row bodies share ---*- C++ -*-===//
//
// Row bodies (dialects/row) become code in a way that a target chooses: vectors
// on a processor, threads of a warp on a device. What an operation means, which
// rows get memory and which are computed where they are used, is the same for
// all.
//
// Elementwise operations are not computed where they stand: who uses a row asks
// for its elements, and a chain of maps ends up in one loop. Rows that are used
// more than once, or by index, get memory.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_GENERIC_ROWLOWERING_H
#define MOEC_COMPILER_TARGETS_GENERIC_ROWLOWERING_H

#include "compiler/targets/generic/Kernels.h"

#include "dialects/row/RowDialect.h"

#include "llvm/ADT/DenseMap.h"

namespace moec::generic {

Type elementOf(Value row);
/// Elements of a row, of all dimensions.
int64_t countOf(Value row);
bool isRow(Value value);

/// `x` combined with `y`, scalars or vectors. A maximum or minimum keeps `x`
/// unless `y` is beyond it, so NaN never wins, as in row.argmax.
Value combineReduction(CodeBuilder &b, row::Reduction kind, Value x, Value y);
/// What a reduction of no elements gives.
Value neutralElement(CodeBuilder &b, row::Reduction kind, Type type);

/// Integers in the order of the elements of row.argmax: NaN lowest but one,
/// what has been found already lowest. Equal elements, -0 and 0 among them,
/// have equal keys.
struct OrderKeys {
  /// Failure after an error where elements have no such keys.
  static mlir::FailureOr<OrderKeys> get(CodeBuilder &b, Type element,
                                        llvm::StringRef target);

  Type type;
  int64_t lowest = 0;

  /// Keys of elements, scalars or vectors.
  Value of(CodeBuilder &b, Value elements) const;
  /// `value` as a key, or as `lanes` of them.
  Value constant(CodeBuilder &b, int64_t value, int64_t lanes = 0) const;
};

class RowLowering {
public:
  virtual ~RowLowering();

  /// Gives an argument of the body its row at `pointer`: memory, or for a
  /// scalar the element there.
  void bind(Value argument, Value pointer);

  /// Builds all operations of the body. Rows that nothing needs in memory are
  /// built when they are stored.
  mlir::LogicalResult run(mlir::Block &body);

  /// Whether anything failed; errors have been emitted.
  mlir::LogicalResult getStatus() const { return status; }

protected:
  /// A row that lies in memory.
  struct Memory {
    Value pointer;
    /// The last block of 16 elements may be read as a whole.
    bool isPadded = false;
  };

  /// `target` is for messages.
  RowLowering(CodeBuilder &b, KernelModule &module, llvm::StringRef target)
      : b(b), module(module), target(target) {}

  /// Puts a row into memory of its own, unless it is in some.
  virtual void materialize(Value row) = 0;
  virtual void lowerReduce(row::ReduceOp op) = 0;
  virtual void lowerGather(row::GatherOp op) = 0;
  virtual void lowerScan(row::ScanOp op) = 0;
  /// row.top_k, with `values` and `indices`, or row.argmax, with `index`.
  virtual mlir::LogicalResult lowerLargest(Value input, int64_t count,
                                           Value values, Value indices,
                                           Value index) = 0;
  /// Whether elements of the row of a gather can be had again at little cost.
  virtual bool isCheapGather(Value row) const = 0;

  /// Whether a lazily computed row should get memory after all.
  bool wantsMemory(Value row) const;
  /// Whether computing a row again costs little.
  bool isCheap(Value row) const;
  Value getScalar(Value value) const { return scalars.lookup(value); }
  /// The memory of a row, which is built if it has none.
  Value getPointer(Value row);
  /// A scan from `source` to `result`, one element after the other: the order
  /// of additions is its meaning.
  void buildScan(Type element, int64_t count, Value source, Value result);

  CodeBuilder &b;
  KernelModule &module;
  llvm::StringRef target;
  llvm::DenseMap<Value, Memory> memory;
  llvm::DenseMap<Value, Value> scalars;
  mlir::LogicalResult status = mlir::success();

private:
  mlir::LogicalResult lower(mlir::Operation &op);
  mlir::LogicalResult lowerScalar(mlir::Operation &op);
  mlir::LogicalResult lowerConstant(row::ConstantOp op);
  void lowerTable(row::TableOp op);
  bool lowerReshape(row::ReshapeOp op);
  bool lowerSelect(row::SelectOp op);
};

} // namespace moec::generic

#endif // MOEC_COMPILER_TARGETS_GENERIC_ROWLOWERING_H
