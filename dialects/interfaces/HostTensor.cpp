//===- HostTensor.cpp - Dense tensors for reference evaluation ------------===//
#include "dialects/interfaces/HostTensor.h"
#include "dialects/interfaces/ReferenceSums.h"

#include "llvm/ADT/APFloat.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

using namespace moec;

static bool exactSums = false;

void moec::setExactSums(bool areExact) { exactSums = areExact; }
bool moec::areSumsExact() { return exactSums; }

float moec::roundToType(mlir::Type type, float x) {
  if (type.isF32())
    return x;
  llvm::APFloat number(x);
  bool losesInfo;
  number.convert(llvm::cast<mlir::FloatType>(type).getFloatSemantics(),
                 llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  number.convert(llvm::APFloat::IEEEsingle(),
                 llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  return number.convertToFloat();
}

void moec::roundOperand(llvm::MutableArrayRef<float> row, mlir::Type compute,
                        const HostTensor &weight) {
  if (llvm::isa<mlir::FloatType>(compute)) {
    for (float &x : row)
      x = roundToType(compute, x);
    return;
  }
  size_t group = weight.getGroupColumns() ? weight.getGroupColumns()
                                          : std::max<size_t>(row.size(), 1);
  for (size_t start = 0; start < row.size(); start += group) {
    llvm::MutableArrayRef<float> part =
        row.slice(start, std::min(group, row.size() - start));
    float largest = 0.0f;
    for (float x : part)
      largest = std::max(largest, std::fabs(x));
    float scale = largest / 127.0f;
    for (float &x : part)
      x = scale == 0.0f ? 0.0f : scale * std::nearbyint(x / scale);
  }
}

float moec::roundWeight(mlir::Type compute, float x) {
  return llvm::isa<mlir::FloatType>(compute) ? roundToType(compute, x) : x;
}

void HostTensor::roundTo(mlir::Type type) {
  if (!llvm::isa<mlir::FloatType>(type) || type.isF32())
    return;
  for (float &x : floats)
    x = roundToType(type, x);
}

static int64_t product(llvm::ArrayRef<int64_t> shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1},
                         std::multiplies<int64_t>());
}

HostTensor HostTensor::zerosF32(llvm::ArrayRef<int64_t> shape) {
  HostTensor tensor;
  tensor.shape.assign(shape.begin(), shape.end());
  tensor.floats.assign(product(shape), 0.0f);
  return tensor;
}

HostTensor HostTensor::zerosI32(llvm::ArrayRef<int64_t> shape) {
  HostTensor tensor;
  tensor.shape.assign(shape.begin(), shape.end());
  tensor.isFloatKind = false;
  tensor.ints.assign(product(shape), 0);
  return tensor;
}

int64_t HostTensor::getNumElements() const { return product(shape); }

int64_t HostTensor::rowSize() const {
  return product(llvm::ArrayRef<int64_t>(shape).drop_front());
}

llvm::ArrayRef<float> HostTensor::rowF32(int64_t r) const {
  return llvm::ArrayRef<float>(floats).slice(r * rowSize(), rowSize());
}
llvm::ArrayRef<int32_t> HostTensor::rowI32(int64_t r) const {
  return llvm::ArrayRef<int32_t>(ints).slice(r * rowSize(), rowSize());
}
llvm::MutableArrayRef<float> HostTensor::rowF32(int64_t r) {
  return llvm::MutableArrayRef<float>(floats).slice(r * rowSize(), rowSize());
}
llvm::MutableArrayRef<int32_t> HostTensor::rowI32(int64_t r) {
  return llvm::MutableArrayRef<int32_t>(ints).slice(r * rowSize(), rowSize());
}
