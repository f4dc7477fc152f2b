//===- ProductKeys.cpp - Experts found by pairs of keys -------------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowBuilder.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

using namespace mlir;
using namespace moec;
using namespace moec::moe;

StringRef ProductKeysOp::getSpelling() { return "product_keys"; }
Signature ProductKeysOp::getSignature() {
  return {{{"columns",
            ArgumentKind::Value,
            true,
            true,
            {},
            "logits of the columns; those of the rows come first"},
           {"k", ArgumentKind::Integer, true, false, {}, "experts per token"},
           {"weigh",
            ArgumentKind::Word,
            true,
            false,
            {"softmax", "sigmoid", "identity"},
            "what becomes of the scores"}}};
}

static int64_t widthOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getDimSize(1);
}

int64_t ProductKeysOp::getNumExperts() {
  return widthOf(getLogits()) * widthOf(getColumns());
}
int64_t ProductKeysOp::getSlotsPerToken() { return getK(); }
RoutingGuarantees ProductKeysOp::getGuarantees() {
  RoutingGuarantees guarantees;
  guarantees.distinct = true;
  guarantees.normalized = getWeigh() == "softmax";
  guarantees.tokenLocal = true;
  guarantees.dropFree = true;
  return guarantees;
}

LogicalResult ProductKeysOp::inferReturnTypes(MLIRContext *context,
                                              std::optional<Location> location,
                                              ProductKeysOp::Adaptor adaptor,
                                              SmallVectorImpl<Type> &types) {
  Builder b(context);
  int64_t k = adaptor.getK();
  if (k < 1) // C2
    return emitOptionalError(location, "expected k of at least 1, found ", k);
  for (Type element : {Type(b.getI32Type()), Type(b.getF32Type())})
    types.push_back(RankedTensorType::get({ShapedType::kDynamic, k}, element));
  return success();
}

LogicalResult ProductKeysOp::verify() {
  int64_t experts;
  if (llvm::MulOverflow(widthOf(getLogits()), widthOf(getColumns()),
                        experts) ||
      experts > std::numeric_limits<int32_t>::max()) // C1
    return emitOpError("expected at most 2147483647 experts, found ")
           << widthOf(getLogits()) << " rows of " << widthOf(getColumns());
  if (static_cast<int64_t>(getK()) > experts) // C2
    return emitOpError("expected k from 1 to ")
           << experts << ", the number of experts, found " << getK();
  if (getWeigh() != "softmax" && getWeigh() != "sigmoid" &&
      getWeigh() != "identity") // C3
    return emitOpError("expected weigh to be softmax, sigmoid or identity, "
                       "found '")
           << getWeigh() << "'";
  return success();
}

FailureOr<RoutedRow> ProductKeysOp::lowerToken(OpBuilder &b,
                                               ValueRange inputs) {
  row::RowBuilder rows(b, getLoc());
  int64_t k = getK(), numColumns = widthOf(getColumns());
  int64_t bestRows = std::min(k, widthOf(getLogits()));
  int64_t bestColumns = std::min(k, numColumns);
  auto [rowScores, rowIds] = rows.topK(inputs[0], bestRows);
  auto [columnScores, columnIds] = rows.topK(inputs[1], bestColumns);
  // Of the i-th best row and the j-th best column: (i + 1) * (j + 1) - 1 pairs
  // are as good or better in both and come first.
  SmallVector<int32_t> rowPlaces, columnPlaces;
  for (int64_t i = 0; i < bestRows; ++i)
    for (int64_t j = 0; j < bestColumns && (i + 1) * (j + 1) <= k; ++j) {
      rowPlaces.push_back(i);
      columnPlaces.push_back(j);
    }
  Value pairRows = rows.constant(rowPlaces);
  Value pairColumns = rows.constant(columnPlaces);
  Value sums = rows.add(rows.gather(rowScores, pairRows),
                        rows.gather(columnScores, pairColumns));
  auto [scores, pairs] = rows.topK(sums, k);
  auto idsOf = [&, chosen = pairs](Value ids, Value places) {
    return rows.gather(ids, rows.gather(places, chosen));
  };
  Value ids = rows.add(rows.mul(idsOf(rowIds, pairRows), rows.i32(numColumns)),
                       idsOf(columnIds, pairColumns));
  if (getWeigh() == "softmax")
    return RoutedRow{ids, rows.softmax(scores)};
  if (getWeigh() == "sigmoid")
    return RoutedRow{ids, rows.sigmoid(scores)};
  return RoutedRow{ids, scores};
}

/// Indices in descending order of value, ties to the lower one.
static std::vector<int32_t> orderOf(ArrayRef<float> values) {
  std::vector<int32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return values[a] > values[b]; });
  return order;
}

LogicalResult ProductKeysOp::evaluate(ArrayRef<HostTensor> inputs,
                                      MutableArrayRef<HostTensor> outputs) {
  int64_t tokens = inputs[0].getShape()[0], k = getK();
  outputs[0] = HostTensor::zerosI32({tokens, k});
  outputs[1] = HostTensor::zerosF32({tokens, k});
  for (int64_t t = 0; t < tokens; ++t) {
    ArrayRef<float> rows = inputs[0].rowF32(t), columns = inputs[1].rowF32(t);
    // All experts, in the order that decides between equal scores.
    std::vector<std::pair<float, int32_t>> experts;
    for (int32_t a : orderOf(rows))
      for (int32_t b : orderOf(columns))
        experts.push_back({rows[a] + columns[b],
                           static_cast<int32_t>(a * columns.size() + b)});
    std::stable_sort(
        experts.begin(), experts.end(),
        [](const auto &x, const auto &y) { return x.first > y.first; });
    float sum = 0.0f;
    for (int64_t s = 0; s < k; ++s)
      sum += std::exp(experts[s].first - experts[0].first);
    for (int64_t s = 0; s < k; ++s) {
      auto [score, id] = experts[s];
      float weight = score;
      if (getWeigh() == "softmax")
        weight = std::exp(score - experts[0].first) / sum;
      else if (getWeigh() == "sigmoid")
        weight = 1.0f / (1.0f + std::exp(-score));
      outputs[0].rowI32(t)[s] = id;
      outputs[1].rowF32(t)[s] = weight;
    }
  }
  return success();
}
