//===- RecipeTensor.h - A tensor while a recipe works on it -----*- C++ -*-===//
//
// A strided view of stored elements. Slices, transpositions and most reshapes
// change only the view, so that one expert cut out of a tensor of all experts
// costs its own size.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_ARTIFACT_RECIPETENSOR_H
#define MOEC_COMPILER_ARTIFACT_RECIPETENSOR_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/SmallVector.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace moec {

class RecipeTensor {
public:
  using EmitError = llvm::function_ref<mlir::InFlightDiagnostic()>;

  /// `bytes` holds the elements in row-major order, little endian, of type f32,
  /// bf16, f16, i32 or i64; it needs no alignment and must outlive the tensor.
  RecipeTensor(mlir::Type element, llvm::ArrayRef<int64_t> shape,
               llvm::ArrayRef<uint8_t> bytes);

  mlir::Type elementType() const { return element; }
  llvm::ArrayRef<int64_t> shape() const { return extents; }
  int64_t numElements() const;

  /// Does one step (dialects/moe/MoeAttrs.td); `step` is no #moe.tensor.
  /// Failure has called `emitError`.
  llvm::LogicalResult apply(mlir::Attribute step, EmitError emitError);

  /// Makes i64 elements i32. Failure has called `emitError`: one does not fit.
  llvm::LogicalResult narrowIntegers(EmitError emitError);

  /// The elements in row-major order, as they are and as numbers. Integers have
  /// no numbers.
  void copyElements(llvm::MutableArrayRef<char> to) const;
  std::vector<float> numbers() const;

private:
  llvm::LogicalResult slice(llvm::ArrayRef<int64_t> starts,
                            llvm::ArrayRef<int64_t> sizes,
                            llvm::ArrayRef<int64_t> steps,
                            llvm::ArrayRef<int64_t> drop, EmitError emitError);
  llvm::LogicalResult transpose(EmitError emitError);
  llvm::LogicalResult reshape(llvm::ArrayRef<int64_t> shape,
                              EmitError emitError);
  llvm::LogicalResult addConstant(double value, EmitError emitError);
  bool isContiguous() const;
  bool isTransposed() const;
  void copyTransposed(char *to) const;
  void setRowMajor(llvm::ArrayRef<int64_t> shape);
  void own(std::vector<char> elements);
  void forEachRun(
      llvm::function_ref<void(const uint8_t *first, int64_t stride)> run) const;

  mlir::Type element;
  unsigned elementBytes;
  llvm::SmallVector<int64_t, 4> extents;
  llvm::SmallVector<int64_t, 4> strides; ///< in elements
  const uint8_t *base;
  /// Elements of our own, after a step that computes or reorders.
  std::shared_ptr<std::vector<char>> storage;
};

} // namespace moec

#endif // MOEC_COMPILER_ARTIFACT_RECIPETENSOR_H
