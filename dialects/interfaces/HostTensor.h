//===- HostTensor.h - Dense tensors for reference evaluation ----*- C++ -*-===//
//
// A small owning tensor for ReferenceOpInterface, for weight recipes and for
// tests. Clarity before speed: kernels never use it.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_DIALECTS_INTERFACES_HOSTTENSOR_H
#define MOEC_DIALECTS_INTERFACES_HOSTTENSOR_H

#include "mlir/IR/BuiltinTypes.h"

#include <cstdint>
#include <vector>

namespace moec {

/// A dense row-major tensor of f32 or i32 elements. Other element types are
/// widened on entry (bf16, f16 to f32; i8 to i32), so that an evaluation reads
/// one of two kinds.
class HostTensor {
public:
  HostTensor() = default;
  static HostTensor zerosF32(llvm::ArrayRef<int64_t> shape);
  static HostTensor zerosI32(llvm::ArrayRef<int64_t> shape);

  llvm::ArrayRef<int64_t> getShape() const { return shape; }
  int64_t getRank() const { return static_cast<int64_t>(shape.size()); }
  int64_t getNumElements() const;
  bool isFloat() const { return isFloatKind; }

  /// Elements in row-major order. f32() is empty for an integer tensor and the
  /// other way round.
  llvm::MutableArrayRef<float> f32() { return floats; }
  llvm::ArrayRef<float> f32() const { return floats; }
  llvm::MutableArrayRef<int32_t> i32() { return ints; }
  llvm::ArrayRef<int32_t> i32() const { return ints; }

  /// Row r of the outermost dimension.
  llvm::ArrayRef<float> rowF32(int64_t r) const;
  llvm::ArrayRef<int32_t> rowI32(int64_t r) const;
  llvm::MutableArrayRef<float> rowF32(int64_t r);
  llvm::MutableArrayRef<int32_t> rowI32(int64_t r);

  /// Rounds every element to `type` (roundToType); nothing for integers.
  void roundTo(mlir::Type type);

  /// Columns that share a scale in the format that a weight was decoded from; 0
  /// for plain numbers.
  int64_t getGroupColumns() const { return groupColumns; }
  void setGroupColumns(int64_t columns) { groupColumns = columns; }

private:
  int64_t rowSize() const;

  std::vector<int64_t> shape;
  bool isFloatKind = true;
  int64_t groupColumns = 0;
  std::vector<float> floats;
  std::vector<int32_t> ints;
};

/// The number of float type `type` (f32, bf16, f16) nearest to `x`; of two, the
/// even one.
float roundToType(mlir::Type type, float x);

/// Rounds a row that is multiplied by `weight` to `compute`, as dialect nn
/// defines it: to a float type, or for i8 to multiples of a scale per group of
/// columns of the weight, the largest magnitude divided by 127.
void roundOperand(llvm::MutableArrayRef<float> row, mlir::Type compute,
                  const HostTensor &weight);
/// The numbers of a weight, rounded likewise. Those of an integer format are
/// what i8 multiplies by already.
float roundWeight(mlir::Type compute, float x);

} // namespace moec

#endif // MOEC_DIALECTS_INTERFACES_HOSTTENSOR_H
