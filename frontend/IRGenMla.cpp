//===- IRGenMla.cpp - Attention to a compressed cache ---------------------===//
//
// Multi-head latent attention (arXiv:2405.04434). What is kept of a token is
// one row for all heads: the normed latent of rank `kv_rank`, then the rotated
// part of the key that heads share. Keys and values of a head would be maps of
// the latent; instead its queries go through the transposed key map, so that
// they meet the latent itself, and the weighted sum of latents goes through the
// value map (docs/rationale/latent-attention.md).
//
//===----------------------------------------------------------------------===//

#include "frontend/IRGenOps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace moec;
using namespace moec::irgen;

/// Sizes of the parts of queries, keys and values.
struct Expander::LatentParts {
  int64_t rank, nopeDim, ropeDim, valueDim;
  AttentionParts attention;
};

/// Of each of `heads` heads the `size` elements from `from` on.
Value Expander::slicePart(Location where, Value input, int64_t heads,
                          int64_t from, int64_t size) {
  return nn::SliceOp::create(builder, where,
                             streamType(heads * size, elementOf(input)), input,
                             heads, from);
}

/// Each head's own map: for keys from the part without positions to the latent,
/// for values from the latent to the value. Both are parts of `kv_b`.
Value Expander::headMap(const BoundCall &call, Value input,
                        const LatentParts &parts, bool isKey) {
  std::optional<WeightMap> map = weight(call, "kv_b", false);
  if (!map)
    return {};
  int64_t heads = parts.attention.heads;
  int64_t first = isKey ? 0 : parts.nopeDim;
  int64_t size = isKey ? parts.nopeDim : parts.valueDim;
  DimSource rows, columns;
  rows.value = heads * (parts.nopeDim + parts.valueDim);
  columns.value = parts.rank;
  WeightUse use =
      weightUse(call, "kv_b", "heads * (nope_dim + value_dim) x kv_rank",
                {rows, columns});
  auto reshape = [&](ArrayRef<int64_t> shape) {
    WeightView view;
    view.kind = WeightView::Kind::Reshape;
    view.shape.assign(shape.begin(), shape.end());
    view.range = map->weight.range;
    use.parts.push_back(view);
  };
  reshape({heads, parts.nopeDim + parts.valueDim, parts.rank});
  WeightView slice;
  slice.kind = WeightView::Kind::Slice;
  slice.range = map->weight.range;
  slice.dims.resize(2);
  slice.dims[1].begin = first;
  slice.dims[1].end = first + size;
  use.parts.push_back(slice);
  if (isKey) {
    WeightView transpose;
    transpose.range = map->weight.range;
    use.parts.push_back(transpose);
  }
  int64_t to = isKey ? parts.rank : parts.valueDim;
  int64_t from = isKey ? parts.nopeDim : parts.rank;
  reshape({heads * to, from});
  Value matrix = weightRef(map->weight, use);
  // After an error a placeholder stands for the whole weight.
  if (!matrix || cast<RankedTensorType>(matrix.getType()).getShape() !=
                     ArrayRef<int64_t>{heads * to, from})
    return {};
  const Precision &precision = parts.attention.precision;
  return nn::HeadLinearOp::create(builder, loc(call.get("kv_b")->range),
                                  streamType(heads * to, precision.element),
                                  input, matrix, heads, precision.compute);
}

/// The queries: of each head the part that meets the latent, then the part that
/// meets the rotated key.
Value Expander::latentQuery(const BoundCall &call, Value x,
                            const LatentParts &parts) {
  const AttentionParts &attention = parts.attention;
  Precision precision = attention.precision;
  int64_t headDim = parts.nopeDim + parts.ropeDim, heads = attention.heads;
  StringRef formula = "heads * (nope_dim + rope_dim) x hidden";
  Value query;
  static constexpr StringRef lowRank[] = {"q_rank", "q_a", "q_norm", "q_b"};
  if (const ast::CallArgument *whole = call.find("q")) {
    for (StringRef other : lowRank)
      if (const ast::CallArgument *argument = call.find(other)) {
        diagnostics
            .error(DiagId::E203, argument->range,
                   "mla() takes 'q' or '" + other + "', not both")
            .note(whole->range, "'q' is here");
        return {};
      }
    query = projection(call, "q", formula, x, heads * headDim, precision);
  } else {
    for (StringRef needed : lowRank)
      if (!call.find(needed)) {
        diagnostics.error(DiagId::E204, call.call.callee->range,
                          "mla() without 'q' lacks '" + needed + "'");
        return {};
      }
    std::optional<int64_t> rank = size(call, "q_rank");
    if (!rank)
      return {};
    query = projection(call, "q_a", "q_rank x hidden", x, *rank, precision);
    if (query)
      query = partNorm(call, "q_norm", query, std::nullopt, precision.element);
    if (query)
      query = projection(call, "q_b", "heads * (nope_dim + rope_dim) x q_rank",
                         query, heads * headDim, precision);
  }
  if (!query)
    return {};
  Location where = loc(call.call.range);
  Value plain = slicePart(where, query, heads, 0, parts.nopeDim);
  Value turned = slicePart(where, query, heads, parts.nopeDim, parts.ropeDim);
  if (attention.rope)
    turned = rotate(loc(attention.rope->range), turned, *attention.rope,
                    parts.ropeDim);
  Value latent = headMap(call, plain, parts, /*isKey=*/true);
  if (!latent)
    return {};
  query = nn::ConcatOp::create(
      builder, where,
      streamType(heads * (parts.rank + parts.ropeDim), precision.element),
      latent, turned, heads);
  return scaleQueries(call, query, attention);
}

/// What is kept of each token.
Value Expander::latentRow(const BoundCall &call, Value x, LatentParts &parts) {
  const AttentionParts &attention = parts.attention;
  Precision precision = attention.precision;
  Location where = loc(call.call.range);
  Value row = projection(call, "kv_a", "kv_rank + rope_dim x hidden", x,
                         parts.rank + parts.ropeDim, precision);
  if (!row)
    return {};
  Value latent = slicePart(where, row, 1, 0, parts.rank);
  Value turned = slicePart(where, row, 1, parts.rank, parts.ropeDim);
  latent = partNorm(call, "kv_norm", latent, std::nullopt, precision.element);
  if (!latent)
    return {};
  if (isGiven(call, "kv_scale")) {
    std::optional<double> factor = real(call, "kv_scale");
    if (!factor)
      return {};
    Location at = loc(call.get("kv_scale")->range);
    latent = map(at, latent, parts.rank, precision.element,
                 [&](OpBuilder &b, ValueRange v) -> Value {
                   Value constant = arith::ConstantOp::create(
                       b, at, b.getF32FloatAttr(*factor));
                   return arith::MulFOp::create(b, at, v[0], constant);
                 });
  }
  if (attention.rope)
    turned = rotate(loc(attention.rope->range), turned, *attention.rope,
                    parts.ropeDim);
  return nn::ConcatOp::create(
      builder, where, streamType(parts.rank + parts.ropeDim, precision.element),
      latent, turned,
      /*heads=*/1);
}

Operand Expander::buildMla(const BoundCall &call) {
  if (!canAttend(call))
    return Operand();
  Operand x = stream(call, "x");
  std::optional<int64_t> heads = size(call, "heads");
  std::optional<int64_t> rank = size(call, "kv_rank");
  std::optional<int64_t> nopeDim = size(call, "nope_dim");
  std::optional<int64_t> ropeDim = size(call, "rope_dim");
  std::optional<int64_t> valueDim = size(call, "value_dim");
  std::optional<Precision> precision = this->precision(call);
  LatentParts parts;
  AttentionParts &attention = parts.attention;
  if (!x || !heads || !rank || !nopeDim || !ropeDim || !valueDim ||
      !precision || !readMask(call, attention.mask) ||
      !readRope(call, *ropeDim, attention.rope) ||
      !readScoring(call, *nopeDim + *ropeDim, attention))
    return recover(x);
  parts.rank = *rank;
  parts.nopeDim = *nopeDim;
  parts.ropeDim = *ropeDim;
  parts.valueDim = *valueDim;
  attention.heads = *heads;
  attention.precision = *precision;
  // All heads share one key, whose first part is their value too.
  attention.kvHeads = 1;
  attention.headDim = *rank + *ropeDim;
  attention.valueDim = *rank;
  attention.query = latentQuery(call, x.value, parts);
  attention.key = attention.value = latentRow(call, x.value, parts);
  if (!attention.query || !attention.key)
    return recover(x);
  Value output = attend(call, attention);
  if (output)
    output = headMap(call, output, parts, /*isKey=*/false);
  if (output)
    output = projectOutput(call, x.value, output, *precision);
  return output ? Operand::ofValue(output) : recover(x);
}
