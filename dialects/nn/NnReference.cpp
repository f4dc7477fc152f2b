//===- NnReference.cpp - Reference semantics of the nn dialect ------------===//
//
// Written from the descriptions of the operations, not from their lowering.
// Optional operands are absent, not empty, in `inputs`.
//
//===----------------------------------------------------------------------===//
#include "dialects/interfaces/ReferenceSums.h"
#include "dialects/nn/NnDialect.h"
#include "dialects/row/RowEvaluator.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::nn;

static int64_t widthOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape().back();
}

//===----------------------------------------------------------------------===//
// Into the stream
//===----------------------------------------------------------------------===//

LogicalResult EmbedOp::evaluate(ArrayRef<HostTensor> inputs,
                                MutableArrayRef<HostTensor> outputs) {
  int64_t tokens = inputs[0].getShape()[0];
  int64_t vocab = inputs[1].getShape()[0];
  outputs[0] = HostTensor::zerosF32({tokens, widthOf(getResult())});
  for (int64_t t = 0; t < tokens; ++t) {
    if (getKinds() && inputs[2].i32()[t] != int64_t(*getKind()))
      continue;
    int32_t id = inputs[0].i32()[t];
    if (id < 0 || id >= vocab)
      return emitOpError("expected token ids from 0 to ")
             << vocab - 1 << ", found " << id;
    llvm::copy(inputs[1].rowF32(id), outputs[0].rowF32(t).begin());
  }
  return success();
}

LogicalResult PatchesOp::evaluate(ArrayRef<HostTensor> inputs,
                                  MutableArrayRef<HostTensor> outputs) {
  int64_t images = inputs[0].getShape()[0], size = getSize();
  int64_t channels = getChannels(), across = getWidth() / size;
  outputs[0] = HostTensor::zerosF32(
      {images * getPatchesPerImage(), widthOf(getResult())});
  for (int64_t n = 0; n < images; ++n)
    for (int64_t y = 0; y < int64_t(getHeight()) / size * size; ++y)
      for (int64_t x = 0; x < across * size; ++x)
        for (int64_t c = 0; c < channels; ++c) {
          int64_t patch =
              n * getPatchesPerImage() + y / size * across + x / size;
          int64_t place = getOrder() == PatchOrder::Hwc
                              ? (y % size * size + x % size) * channels + c
                              : (c * size + y % size) * size + x % size;
          outputs[0].rowF32(patch)[place] =
              inputs[0].rowF32(n)[(y * getWidth() + x) * channels + c];
        }
  return success();
}

LogicalResult AddPositionsOp::evaluate(ArrayRef<HostTensor> inputs,
                                       MutableArrayRef<HostTensor> outputs) {
  outputs[0] = inputs[0];
  int64_t period = inputs[1].getShape()[0];
  for (int64_t r = 0; r < inputs[0].getShape()[0]; ++r)
    for (auto [y, p] :
         llvm::zip(outputs[0].rowF32(r), inputs[1].rowF32(r % period)))
      y += p;
  return success();
}

LogicalResult TakeRowsOp::evaluate(ArrayRef<HostTensor> inputs,
                                   MutableArrayRef<HostTensor> outputs) {
  int64_t rows = inputs[1].getShape()[0];
  outputs[0] = HostTensor::zerosF32({rows, widthOf(getResult())});
  for (int64_t r = 0; r < rows; ++r)
    llvm::copy(inputs[0].rowF32(inputs[1].i32()[r]),
               outputs[0].rowF32(r).begin());
  return success();
}

//===----------------------------------------------------------------------===//
// Parts of rows
//===----------------------------------------------------------------------===//

/// Head `h` of `heads` in row `t`.
static ArrayRef<float> headOf(const HostTensor &x, int64_t t, int64_t h,
                              int64_t heads) {
  ArrayRef<float> row = x.rowF32(t);
  return row.slice(h * row.size() / heads, row.size() / heads);
}

LogicalResult SliceOp::evaluate(ArrayRef<HostTensor> inputs,
                                MutableArrayRef<HostTensor> outputs) {
  int64_t rows = inputs[0].getShape()[0], heads = getHeads();
  int64_t part = widthOf(getResult()) / heads;
  outputs[0] = HostTensor::zerosF32({rows, heads * part});
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t h = 0; h < heads; ++h)
      llvm::copy(headOf(inputs[0], t, h, heads).slice(getFrom(), part),
                 outputs[0].rowF32(t).begin() + h * part);
  return success();
}

LogicalResult ConcatOp::evaluate(ArrayRef<HostTensor> inputs,
                                 MutableArrayRef<HostTensor> outputs) {
  int64_t rows = inputs[0].getShape()[0], heads = getHeads();
  outputs[0] = HostTensor::zerosF32({rows, widthOf(getResult())});
  for (int64_t t = 0; t < rows; ++t) {
    auto *to = outputs[0].rowF32(t).begin();
    for (int64_t h = 0; h < heads; ++h)
      for (const HostTensor &input : inputs)
        to = llvm::copy(headOf(input, t, h, heads), to);
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Maps and norms
//===----------------------------------------------------------------------===//

/// The one value that a scalar body gives for `arguments`.
static FailureOr<float> evaluateScalarBody(Region &body,
                                           ArrayRef<RowValue> arguments) {
  FailureOr<std::vector<RowValue>> value = evaluateRowBody(body, arguments);
  if (failed(value))
    return failure();
  return static_cast<float>((*value)[0][0]);
}

LogicalResult MapOp::evaluate(ArrayRef<HostTensor> inputs,
                              MutableArrayRef<HostTensor> outputs) {
  int64_t rows = inputs[0].getShape()[0], width = widthOf(getResult());
  outputs[0] = HostTensor::zerosF32({rows, width});
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < width; ++i) {
      std::vector<RowValue> arguments;
      for (const HostTensor &input : inputs) {
        if (!input.isFloat() && input.getShape().size() == 1) {
          arguments.push_back({double(input.i32()[r])});
          continue;
        }
        int64_t column = i / (width / input.getShape().back());
        if (input.getShape().size() == 1) {
          arguments.push_back({double(input.f32()[column])});
          continue;
        }
        arguments.push_back({input.isFloat()
                                 ? double(input.rowF32(r)[column])
                                 : double(input.rowI32(r)[column])});
      }
      FailureOr<float> value = evaluateScalarBody(getBody(), arguments);
      if (failed(value))
        return failure();
      outputs[0].rowF32(r)[i] = *value;
    }
  return success();
}

LogicalResult NormOp::evaluate(ArrayRef<HostTensor> inputs,
                               MutableArrayRef<HostTensor> outputs) {
  outputs[0] = inputs[0];
  size_t size = getGroupSize();
  float eps = getEps().convertToDouble(), group = size;
  MutableArrayRef<float> all = outputs[0].f32();
  for (size_t start = 0; start < all.size(); start += size) {
    MutableArrayRef<float> x = all.slice(start, size);
    if (getKind() == NormKind::Layer) {
      ReferenceSum sum;
      for (float v : x)
        sum.add(v);
      float mean = sum.get() / group;
      for (float &v : x)
        v -= mean;
    }
    ReferenceSum squares;
    for (float v : x)
      squares.add(v, v);
    float root = std::sqrt(squares.get() / group + eps);
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] /= root;
      if (getWeight())
        x[i] *= inputs[1].f32()[i];
      if (getBias())
        x[i] += inputs[2].f32()[i];
    }
  }
  return success();
}

/// x * weight' (+ bias), in f32: operands rounded to `compute`, products added
/// in ascending order.
static HostTensor applyMap(const HostTensor &x, const HostTensor &weight,
                           const HostTensor *bias, Type compute) {
  int64_t rows = x.getShape()[0], to = weight.getShape()[0];
  HostTensor left = x, right = weight;
  for (int64_t r = 0; r < rows; ++r)
    roundOperand(left.rowF32(r), compute, weight);
  for (float &w : right.f32())
    w = roundWeight(compute, w);
  HostTensor y = HostTensor::zerosF32({rows, to});
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t o = 0; o < to; ++o) {
      ReferenceSum sum;
      for (auto [a, b] : llvm::zip(std::as_const(left).rowF32(r),
                                   std::as_const(right).rowF32(o)))
        sum.add(a, b);
      y.rowF32(r)[o] = bias ? sum.get() + bias->f32()[o] : sum.get();
    }
  return y;
}

LogicalResult LinearOp::evaluate(ArrayRef<HostTensor> inputs,
                                 MutableArrayRef<HostTensor> outputs) {
  outputs[0] = applyMap(inputs[0], inputs[1], getBias() ? &inputs[2] : nullptr,
                        getCompute());
  return success();
}

LogicalResult HeadLinearOp::evaluate(ArrayRef<HostTensor> inputs,
                                     MutableArrayRef<HostTensor> outputs) {
  int64_t rows = inputs[0].getShape()[0], heads = getHeads();
  int64_t from = widthOf(getInput()) / heads, to = widthOf(getResult()) / heads;
  outputs[0] = HostTensor::zerosF32({rows, heads * to});
  for (int64_t h = 0; h < heads; ++h) {
    HostTensor x = HostTensor::zerosF32({rows, from});
    HostTensor weight = HostTensor::zerosF32({to, from});
    for (int64_t t = 0; t < rows; ++t)
      llvm::copy(headOf(inputs[0], t, h, heads), x.rowF32(t).begin());
    for (int64_t o = 0; o < to; ++o)
      llvm::copy(inputs[1].rowF32(h * to + o), weight.rowF32(o).begin());
    HostTensor y = applyMap(x, weight, nullptr, getCompute());
    for (int64_t t = 0; t < rows; ++t)
      llvm::copy(y.rowF32(t), outputs[0].rowF32(t).begin() + h * to);
  }
  return success();
}

LogicalResult JointLinearOp::evaluate(ArrayRef<HostTensor> inputs,
                                      MutableArrayRef<HostTensor> outputs) {
  size_t maps = getWeights().size();
  std::vector<HostTensor> values;
  for (size_t m = 0; m < maps; ++m)
    values.push_back(applyMap(
        inputs[0], inputs[1 + m],
        getBiases().empty() ? nullptr : &inputs[1 + maps + m], getCompute()));
  outputs[0] = values[0];
  for (size_t i = 0; i < values[0].f32().size(); ++i) {
    std::vector<RowValue> arguments;
    for (const HostTensor &value : values)
      arguments.push_back({value.f32()[i]});
    FailureOr<float> value = evaluateScalarBody(getBody(), arguments);
    if (failed(value))
      return failure();
    outputs[0].f32()[i] = *value;
  }
  return success();
}

LogicalResult GluOp::evaluate(ArrayRef<HostTensor> inputs,
                              MutableArrayRef<HostTensor> outputs) {
  const HostTensor *next = &inputs[1];
  auto apply = [&](const HostTensor &x, Value hasBias) {
    const HostTensor *weight = next++;
    const HostTensor *bias = hasBias ? next++ : nullptr;
    return applyMap(x, *weight, bias, getCompute());
  };
  HostTensor hidden = apply(inputs[0], getGateBias());
  HostTensor up = apply(inputs[0], getUpBias());
  HiddenFunction function = getHiddenFunction(*this);
  for (auto [h, u] : llvm::zip(hidden.f32(), up.f32()))
    h = evaluateHiddenFunction(function, {h, u});
  hidden.roundTo(getInput().getType().getElementType());
  outputs[0] = apply(hidden, getDownBias());
  return success();
}

LogicalResult MlpOp::evaluate(ArrayRef<HostTensor> inputs,
                              MutableArrayRef<HostTensor> outputs) {
  const HostTensor *next = &inputs[2];
  const HostTensor *upBias = getUpBias() ? next++ : nullptr;
  const HostTensor *down = next++;
  const HostTensor *downBias = getDownBias() ? next : nullptr;
  HostTensor hidden = applyMap(inputs[0], inputs[1], upBias, getCompute());
  HiddenFunction function = getHiddenFunction(*this);
  for (float &h : hidden.f32())
    h = evaluateHiddenFunction(function, h);
  hidden.roundTo(getInput().getType().getElementType());
  outputs[0] = applyMap(hidden, *down, downBias, getCompute());
  return success();
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

LogicalResult RotaryTableOp::evaluate(ArrayRef<HostTensor> inputs,
                                      MutableArrayRef<HostTensor> outputs) {
  int64_t tokens = inputs[0].getShape()[0], width = widthOf(getResult());
  outputs[0] = HostTensor::zerosF32({tokens, width});
  for (int64_t t = 0; t < tokens; ++t) {
    bool isLong = getLengths() && inputs[1].i32()[t] > int64_t(*getLimit());
    DenseElementsAttr frequencies = getFrequencies();
    double magnitude = getMagnitude().convertToDouble();
    if (isLong && getLongFrequencies()) {
      frequencies = *getLongFrequencies();
      magnitude = getLongMagnitude()->convertToDouble();
    }
    for (int64_t i = 0; i < width / 2; ++i) {
      float frequency = frequencies.getValues<float>()[i];
      if (isLong && getGrowth()) {
        double g = getGrowth()->convertToDouble();
        double stretch =
            g * inputs[1].i32()[t] / int64_t(*getLimit()) - (g - 1);
        frequency *= std::pow(stretch, -2.0 * i / (width - 2));
      }
      float angle = static_cast<float>(inputs[0].i32()[t]) * frequency;
      auto round = [&](double x) { return static_cast<float>(x * magnitude); };
      outputs[0].rowF32(t)[i] = round(std::cos(double(angle)));
      outputs[0].rowF32(t)[width / 2 + i] = round(std::sin(double(angle)));
    }
  }
  return success();
}

LogicalResult RopeOp::evaluate(ArrayRef<HostTensor> inputs,
                               MutableArrayRef<HostTensor> outputs) {
  outputs[0] = inputs[0];
  int64_t half = widthOf(getTable()) / 2;
  for (int64_t t = 0; t < inputs[0].getShape()[0]; ++t) {
    ArrayRef<float> table = inputs[1].rowF32(t);
    MutableArrayRef<float> row = outputs[0].rowF32(t);
    for (size_t head = 0; head < row.size(); head += getHeadSize())
      for (int64_t i = 0; i < half; ++i) {
        size_t start = head + getFirst();
        bool isHalf = getStyle() == RopeStyle::Half;
        float &a = row[start + (isHalf ? i : 2 * i)];
        float &b = row[start + (isHalf ? i + half : 2 * i + 1)];
        float c = table[i], s = table[half + i];
        float rotated = a * c - b * s;
        b = b * c + a * s;
        a = rotated;
      }
  }
  return success();
}

/// The sequence of the batch that token `t` belongs to.
static int64_t sequenceOf(const HostTensor &cuSeqlens, int64_t t) {
  int64_t b = 0;
  while (t >= cuSeqlens.i32()[b + 1])
    ++b;
  return b;
}

LogicalResult SequenceLengthsOp::evaluate(ArrayRef<HostTensor> inputs,
                                          MutableArrayRef<HostTensor> outputs) {
  outputs[0] = inputs[0];
  for (int64_t t = 0; t < inputs[0].getShape()[0]; ++t) {
    int64_t end = inputs[1].i32()[sequenceOf(inputs[1], t) + 1];
    outputs[0].i32()[t] = inputs[0].i32()[end - 1] + 1;
  }
  return success();
}

LogicalResult StateAppendOp::evaluateIn(ReferenceContext &context,
                                        ArrayRef<HostTensor> inputs,
                                        MutableArrayRef<HostTensor>) {
  for (int64_t t = 0; t < inputs[0].getShape()[0]; ++t) {
    auto &rows = context.getState(getStateAttr(), sequenceOf(inputs[2], t));
    size_t position = inputs[1].i32()[t];
    if (rows.size() <= position)
      rows.resize(position + 1);
    rows[position] = inputs[0].rowF32(t).vec();
  }
  return success();
}

namespace {
/// A key or value row that a token sees.
struct Seen {
  ArrayRef<float> key, value;
};

/// What the heads of one attention have in common.
struct Scoring {
  double scale;
  std::optional<double> softcap;
  Type compute;
};

/// softmax(scale * q . k) v for one head; a sink is one more score.
void attend(ArrayRef<float> query, ArrayRef<Seen> seen, const Scoring &scoring,
            std::optional<float> sink, MutableArrayRef<float> result) {
  std::vector<float> scores;
  float max = sink.value_or(-std::numeric_limits<float>::infinity());
  for (const Seen &row : seen) {
    ReferenceSum products;
    for (auto [q, k] : llvm::zip(query, row.key))
      products.add(roundToType(scoring.compute, q),
                   roundToType(scoring.compute, k));
    float score = products.get() * static_cast<float>(scoring.scale);
    if (scoring.softcap)
      score = *scoring.softcap * std::tanh(score / *scoring.softcap);
    scores.push_back(score);
    max = std::max(max, score);
  }
  ReferenceSum total(sink ? std::exp(*sink - max) : 0.0f);
  for (float &score : scores)
    total.add(score = std::exp(score - max));
  std::vector<ReferenceSum> sums(result.size());
  for (auto [score, row] : llvm::zip(scores, seen))
    for (auto [sum, v] : llvm::zip(sums, row.value))
      sum.add(score, v);
  for (auto [y, sum] : llvm::zip(result, sums))
    y = sum.get() / total.get();
}
} // namespace

LogicalResult AttentionOp::evaluateIn(ReferenceContext &context,
                                      ArrayRef<HostTensor> inputs,
                                      MutableArrayRef<HostTensor> outputs) {
  size_t next = getKey() ? 3 : 1;
  const HostTensor &positions = inputs[next], &cuSeqlens = inputs[next + 1];
  int64_t tokens = inputs[0].getShape()[0], heads = getHeads();
  int64_t kvHeads = getKvHeads();
  int64_t valueDim = widthOf(getResult()) / heads;
  Scoring scoring{getScale().convertToDouble(), std::nullopt, getCompute()};
  if (getSoftcap())
    scoring.softcap = getSoftcap()->convertToDouble();
  outputs[0] = HostTensor::zerosF32({tokens, widthOf(getResult())});
  for (int64_t t = 0; t < tokens; ++t) {
    int64_t b = sequenceOf(cuSeqlens, t), own = positions.i32()[t];
    int64_t first = 0, last = own;
    if (getWindow())
      first = own - int64_t(*getWindow()) + 1;
    if (getChunk())
      first = own / int64_t(*getChunk()) * int64_t(*getChunk());
    if (getFull())
      last = positions.i32()[cuSeqlens.i32()[b + 1] - 1];
    std::vector<Seen> rows; // all heads
    if (getKeyState()) {
      auto &keys = context.getState(getKeyStateAttr(), b);
      auto &values = context.getState(getValueStateAttr(), b);
      for (int64_t p = std::max<int64_t>(first, 0); p <= last; ++p) {
        if (p >= int64_t(keys.size()) || keys[p].empty())
          return emitOpError("expected a state with position ")
                 << p << ", found none";
        rows.push_back({keys[p], values[p]});
      }
    } else {
      for (int64_t u = cuSeqlens.i32()[b]; u < cuSeqlens.i32()[b + 1]; ++u)
        if (positions.i32()[u] >= first && positions.i32()[u] <= last)
          rows.push_back({inputs[1].rowF32(u), inputs[2].rowF32(u)});
    }
    for (int64_t h = 0; h < heads; ++h) {
      int64_t kv = h / (heads / kvHeads);
      std::vector<Seen> seen;
      for (const Seen &row : rows) {
        size_t keyDim = row.key.size() / kvHeads;
        size_t stored = row.value.size() / kvHeads;
        seen.push_back({row.key.slice(kv * keyDim, keyDim),
                        row.value.slice(kv * stored, valueDim)});
      }
      std::optional<float> sink;
      if (getSinks())
        sink = inputs.back().f32()[h];
      attend(headOf(inputs[0], t, h, heads), seen, scoring, sink,
             outputs[0].rowF32(t).slice(h * valueDim, valueDim));
    }
  }
  return success();
}
