//===- SparseMixer.cpp - The best expert among its near rivals ------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowBuilder.h"
#include "dialects/row/RowDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::moe;

StringRef SparseMixerStageAttr::getSpelling() { return "sparse_mixer"; }
StageKind SparseMixerStageAttr::getStageKind() { return StageKind::Select; }
Signature SparseMixerStageAttr::getSignature() {
  return {{{"k", ArgumentKind::Integer, true, true, {}, "experts per token"},
           {"eps",
            ArgumentKind::Real,
            true,
            false,
            {},
            "half the distance of rivals"}}};
}
Attribute SparseMixerStageAttr::build(MLIRContext *context,
                                      ArrayRef<NamedStatic> arguments,
                                      function_ref<InFlightDiagnostic()>) {
  return get(context, cast<IntegerAttr>(arguments[0].value).getInt(),
             cast<FloatAttr>(arguments[1].value));
}
int64_t SparseMixerStageAttr::getSlots(int64_t) const { return getK(); }
LogicalResult SparseMixerStageAttr::verifyStage(
    int64_t width, int64_t,
    function_ref<InFlightDiagnostic()> emitError) const {
  if (getK() < 1 || getK() > width)
    return emitError() << "expected k from 1 to " << width
                       << ", the experts of the pool, found " << getK();
  if (!(getEps().getValueAsDouble() >= 0.0))
    return emitError() << "expected eps of at least 0, found "
                       << getEps().getValueAsDouble();
  return success();
}
void SparseMixerStageAttr::updateGuarantees(
    RoutingGuarantees &guarantees) const {
  guarantees.distinct = true;
  guarantees.dropFree = true;
}
bool SparseMixerStageAttr::givesWeights() const { return true; }
bool SparseMixerStageAttr::ordersSlots() const { return true; }

namespace {
/// Builds one round of the selection.
struct RoundBuilder {
  OpBuilder &b;
  Location loc;
  row::RowBuilder &rows;
  SparseMixerStageAttr stage;

  /// exp(left - m) of the rivals, 0 for others. `left` is -inf where an expert
  /// was chosen before.
  Value rivals(Value rank, Value left, Value largest) {
    double eps = stage.getEps().getValueAsDouble();
    return rows.map(
        {rank, left, largest, rows.f32(2.0 * eps), rows.f32(0.0)},
        b.getF32Type(), [&](OpBuilder &b, ValueRange v) -> Value {
          Value d = arith::MaximumFOp::create(
              b, loc, math::AbsFOp::create(b, loc, v[0]), v[2]);
          Value distance = arith::DivFOp::create(
              b, loc, arith::SubFOp::create(b, loc, v[2], v[0]), d);
          Value isFar = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT,
                                              distance, v[3]);
          Value lowest = arith::ConstantOp::create(
              b, loc,
              b.getF32FloatAttr(-std::numeric_limits<float>::infinity()));
          Value isGone = arith::CmpFOp::create(
              b, loc, arith::CmpFPredicate::OEQ, v[1], lowest);
          Value e = math::ExpOp::create(
              b, loc, arith::SubFOp::create(b, loc, v[0], v[2]));
          Value isOut = arith::OrIOp::create(b, loc, isFar, isGone);
          return arith::SelectOp::create(b, loc, isOut, v[4], e);
        });
  }
  /// `row` with `value` where `places` is `place`.
  Value put(Value row, Value places, Value place, Value value) {
    Type element = cast<RankedTensorType>(row.getType()).getElementType();
    return rows.map({row, places, place, value}, element,
                    [&](OpBuilder &b, ValueRange v) -> Value {
                      Value isHere = arith::CmpIOp::create(
                          b, loc, arith::CmpIPredicate::eq, v[1], v[2]);
                      return arith::SelectOp::create(b, loc, isHere, v[3],
                                                     v[0]);
                    });
  }
};
} // namespace

void SparseMixerStageAttr::lowerToken(OpBuilder &b, Location loc,
                                      StageState &state) const {
  row::RowBuilder rows(b, loc);
  RoundBuilder round{b, loc, rows, *this};
  int64_t width = cast<RankedTensorType>(state.rank.getType()).getDimSize(0);
  Value experts = rows.iota(width), slots = rows.iota(getK());
  Value one = rows.f32(1.0), left = state.rank;
  state.ids = rows.splat(rows.i32(0), getK());
  state.givenWeights = rows.splat(rows.f32(0.0), getK());
  for (int64_t k = 0; k < getK(); ++k) {
    auto [values, order] = rows.topK(left, 1);
    Value largest =
        row::TableOp::create(b, loc, b.getF32Type(), values, rows.i32(0));
    Value id = row::TableOp::create(b, loc, b.getI32Type(), order, rows.i32(0));
    // The best expert's own term is exp(0).
    Value weight =
        rows.div(one, rows.sum(round.rivals(state.rank, left, largest)));
    state.ids = round.put(state.ids, slots, rows.i32(k), id);
    state.givenWeights =
        round.put(state.givenWeights, slots, rows.i32(k), weight);
    left = round.put(left, experts, id,
                     rows.f32(-std::numeric_limits<double>::infinity()));
  }
}

void SparseMixerStageAttr::evaluate(StageValues &state) const {
  std::vector<bool> isGone(state.rank.size(), false);
  float limit = static_cast<float>(2.0 * getEps().getValueAsDouble());
  for (int64_t k = 0; k < getK(); ++k) {
    int32_t best = -1;
    for (size_t e = 0; e < state.rank.size(); ++e)
      if (!isGone[e] && (best < 0 || state.rank[e] > state.rank[best]))
        best = e;
    float m = state.rank[best], sum = 0.0f;
    for (size_t e = 0; e < state.rank.size(); ++e) {
      float r = state.rank[e];
      if (!isGone[e] && !((m - r) / std::max(std::fabs(r), m) > limit))
        sum += std::exp(r - m);
    }
    isGone[best] = true;
    state.ids.push_back(best);
    state.givenWeights.push_back(1.0f / sum);
  }
}

StringRef SparseMixerWeightStageAttr::getSpelling() { return "sparse_mixer"; }
StageKind SparseMixerWeightStageAttr::getStageKind() {
  return StageKind::Weigh;
}
Signature SparseMixerWeightStageAttr::getSignature() { return {}; }
Attribute
SparseMixerWeightStageAttr::build(MLIRContext *context, ArrayRef<NamedStatic>,
                                  function_ref<InFlightDiagnostic()>) {
  return get(context);
}
bool SparseMixerWeightStageAttr::takesGivenWeights() const { return true; }
void SparseMixerWeightStageAttr::lowerToken(OpBuilder &, Location,
                                            StageState &state) const {
  state.weights = state.givenWeights;
}
void SparseMixerWeightStageAttr::evaluate(StageValues &state) const {
  state.weights = state.givenWeights;
}
