//===- RecipeTensor.cpp - A tensor while a recipe works on it -------------===//

#include "compiler/artifact/RecipeTensor.h"

#include "dialects/moe/MoeDialect.h"
#include "frontend/weights/TensorSource.h"

#include "llvm/ADT/bit.h"

#include <algorithm>
#include <cstring>

using namespace moec;
using namespace mlir;
using llvm::ArrayRef;

static int64_t product(ArrayRef<int64_t> shape) {
  int64_t result = 1;
  for (int64_t extent : shape)
    result *= extent;
  return result;
}

RecipeTensor::RecipeTensor(Type element, ArrayRef<int64_t> shape,
                           ArrayRef<uint8_t> bytes)
    : element(element), elementBytes(element.getIntOrFloatBitWidth() / 8),
      base(bytes.data()) {
  setRowMajor(shape);
}

void RecipeTensor::setRowMajor(ArrayRef<int64_t> shape) {
  extents.assign(shape.begin(), shape.end());
  strides.assign(shape.size(), 1);
  for (size_t i = shape.size(); i > 1; --i)
    strides[i - 2] = strides[i - 1] * extents[i - 1];
}

int64_t RecipeTensor::numElements() const { return product(extents); }

bool RecipeTensor::isContiguous() const {
  int64_t expected = 1;
  for (size_t i = extents.size(); i > 0; --i) {
    if (extents[i - 1] != 1 && strides[i - 1] != expected)
      return false;
    expected *= extents[i - 1];
  }
  return true;
}

/// A matrix whose columns lie closer together than its rows' elements.
bool RecipeTensor::isTransposed() const {
  return extents.size() == 2 && strides[0] < strides[1];
}

/// Square by square: a line of the source is read while it is in the cache.
void RecipeTensor::copyTransposed(char *to) const {
  constexpr int64_t side = 64;
  for (int64_t top = 0; top < extents[0]; top += side)
    for (int64_t left = 0; left < extents[1]; left += side) {
      int64_t bottom = std::min(top + side, extents[0]);
      int64_t right = std::min(left + side, extents[1]);
      for (int64_t j = left; j < right; ++j)
        for (int64_t i = top; i < bottom; ++i)
          std::memcpy(to + (i * extents[1] + j) * elementBytes,
                      base + (i * strides[0] + j * strides[1]) * elementBytes,
                      elementBytes);
    }
}

void RecipeTensor::own(std::vector<char> elements) {
  storage = std::make_shared<std::vector<char>>(std::move(elements));
  base = reinterpret_cast<const uint8_t *>(storage->data());
}

/// Calls `run` for every run along the last dimension, in row-major order.
void RecipeTensor::forEachRun(
    llvm::function_ref<void(const uint8_t *, int64_t)> run) const {
  size_t outer = extents.empty() ? 0 : extents.size() - 1;
  int64_t stride = extents.empty() ? 1 : strides.back();
  llvm::SmallVector<int64_t, 4> index(outer, 0);
  int64_t offset = 0;
  for (;;) {
    run(base + offset * elementBytes, stride);
    size_t d = outer;
    for (; d > 0; --d) {
      offset += strides[d - 1];
      if (++index[d - 1] < extents[d - 1])
        break;
      offset -= strides[d - 1] * extents[d - 1];
      index[d - 1] = 0;
    }
    if (d == 0)
      return;
  }
}

void RecipeTensor::copyElements(llvm::MutableArrayRef<char> to) const {
  if (numElements() == 0)
    return;
  if (isContiguous()) {
    std::memcpy(to.data(), base, numElements() * elementBytes);
    return;
  }
  if (isTransposed())
    return copyTransposed(to.data());
  char *out = to.data();
  int64_t run = extents.empty() ? 1 : extents.back();
  forEachRun([&](const uint8_t *in, int64_t stride) {
    for (int64_t i = 0; i < run; ++i, out += elementBytes)
      std::memcpy(out, in + i * stride * elementBytes, elementBytes);
  });
}

static float widenHalf(uint16_t bits) {
  // Exact: every f16 is an f32.
  uint32_t sign = uint32_t(bits >> 15) << 31;
  int32_t exponent = (bits >> 10) & 0x1f;
  uint32_t fraction = bits & 0x3ff;
  if (exponent == 0x1f)
    return llvm::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
  if (exponent == 0) {
    float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  return llvm::bit_cast<float>(sign | uint32_t(exponent + 112) << 23 |
                               fraction << 13);
}

std::vector<float> RecipeTensor::numbers() const {
  std::vector<float> result;
  if (numElements() == 0)
    return result;
  if (isTransposed()) {
    RecipeTensor compact(*this);
    std::vector<char> elements(numElements() * elementBytes);
    copyTransposed(elements.data());
    compact.own(std::move(elements));
    compact.setRowMajor(llvm::SmallVector<int64_t, 4>(extents));
    return compact.numbers();
  }
  result.reserve(numElements());
  auto read = [&](const uint8_t *at) {
    if (element.isF32()) {
      float value;
      std::memcpy(&value, at, sizeof(value));
      return value;
    }
    uint16_t bits;
    std::memcpy(&bits, at, sizeof(bits));
    return element.isBF16() ? llvm::bit_cast<float>(uint32_t(bits) << 16)
                            : widenHalf(bits);
  };
  int64_t run = extents.empty() ? 1 : extents.back();
  forEachRun([&](const uint8_t *in, int64_t stride) {
    for (int64_t i = 0; i < run; ++i)
      result.push_back(read(in + i * stride * elementBytes));
  });
  return result;
}

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

LogicalResult RecipeTensor::apply(Attribute step, EmitError emitError) {
  if (auto attr = dyn_cast<moe::SliceStepAttr>(step))
    return slice(attr.getStarts(), attr.getSizes(), attr.getSteps(),
                 attr.getDrop(), emitError);
  if (isa<moe::TransposeStepAttr>(step))
    return transpose(emitError);
  if (auto attr = dyn_cast<moe::ReshapeStepAttr>(step))
    return reshape(attr.getShape(), emitError);
  if (auto attr = dyn_cast<moe::AddConstantStepAttr>(step))
    return addConstant(attr.getValue().getValueAsDouble(), emitError);
  return emitError() << "recipe step " << step << " is not known";
}

LogicalResult RecipeTensor::slice(ArrayRef<int64_t> starts,
                                  ArrayRef<int64_t> sizes,
                                  ArrayRef<int64_t> steps,
                                  ArrayRef<int64_t> drop, EmitError emitError) {
  size_t rank = extents.size();
  if (starts.size() != rank || sizes.size() != rank || steps.size() != rank ||
      drop.size() != rank)
    return emitError() << "slice expected a tensor of rank " << starts.size()
                       << ", found " << describeShape(extents);
  llvm::SmallVector<int64_t, 4> newExtents, newStrides;
  int64_t offset = 0;
  for (size_t d = 0; d < rank; ++d) {
    // The last index taken, start + (size - 1) * step, without overflow.
    bool inside = starts[d] >= 0 && starts[d] < extents[d] && sizes[d] > 0 &&
                  steps[d] > 0 &&
                  (sizes[d] - 1) <= (extents[d] - 1 - starts[d]) / steps[d];
    if (!inside)
      return emitError() << "slice of " << sizes[d] << " elements from "
                         << starts[d] << " in steps of " << steps[d]
                         << " leaves dimension " << d << " of "
                         << describeShape(extents);
    if (drop[d] && sizes[d] != 1)
      return emitError() << "slice drops dimension " << d << " of size "
                         << sizes[d] << ", expected 1";
    offset += starts[d] * strides[d];
    if (drop[d])
      continue;
    newExtents.push_back(sizes[d]);
    newStrides.push_back(strides[d] * steps[d]);
  }
  base += offset * elementBytes;
  extents = std::move(newExtents);
  strides = std::move(newStrides);
  return success();
}

LogicalResult RecipeTensor::transpose(EmitError emitError) {
  size_t rank = extents.size();
  if (rank < 2)
    return emitError() << "transpose expected two dimensions or more, found "
                       << describeShape(extents);
  std::swap(extents[rank - 2], extents[rank - 1]);
  std::swap(strides[rank - 2], strides[rank - 1]);
  return success();
}

LogicalResult RecipeTensor::reshape(ArrayRef<int64_t> shape,
                                    EmitError emitError) {
  int64_t wanted = 1, available = numElements();
  for (int64_t extent : shape) {
    // Division instead of a product that may overflow.
    if (extent <= 0 || available / extent < wanted) {
      wanted = -1;
      break;
    }
    wanted *= extent;
  }
  if (wanted != available)
    return emitError() << "reshape to " << describeShape(shape)
                       << " expected as many elements, found "
                       << describeShape(extents);
  if (!isContiguous()) {
    std::vector<char> elements(available * elementBytes);
    copyElements(elements);
    own(std::move(elements));
  }
  setRowMajor(shape);
  return success();
}

LogicalResult RecipeTensor::addConstant(double value, EmitError emitError) {
  if (!isa<FloatType>(element))
    return emitError() << "add_constant expected a float tensor, found "
                       << element;
  std::vector<float> sums = numbers();
  // One rounding: the sum of two f32 in f32.
  for (float &sum : sums)
    sum += static_cast<float>(value);
  std::vector<char> elements(sums.size() * sizeof(float));
  std::memcpy(elements.data(), sums.data(), elements.size());
  element = Float32Type::get(element.getContext());
  elementBytes = sizeof(float);
  own(std::move(elements));
  setRowMajor(llvm::SmallVector<int64_t, 4>(extents));
  return success();
}

LogicalResult RecipeTensor::narrowIntegers(EmitError emitError) {
  if (!element.isInteger(64))
    return success();
  std::vector<char> wide(numElements() * sizeof(int64_t));
  copyElements(wide);
  std::vector<char> narrow(numElements() * sizeof(int32_t));
  for (int64_t i = 0; i < numElements(); ++i) {
    int64_t value;
    std::memcpy(&value, wide.data() + i * sizeof(value), sizeof(value));
    auto small = static_cast<int32_t>(value);
    if (small != value)
      return emitError() << "expected integers of 32 bits, found " << value;
    std::memcpy(narrow.data() + i * sizeof(small), &small, sizeof(small));
  }
  element = IntegerType::get(element.getContext(), 32);
  elementBytes = sizeof(int32_t);
  own(std::move(narrow));
  setRowMajor(llvm::SmallVector<int64_t, 4>(extents));
  return success();
}
