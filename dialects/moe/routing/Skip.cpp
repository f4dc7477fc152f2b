//===- Skip.cpp - Stages that drop small weights --------------------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <algorithm>
#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::moe;

static Signature signatureOf(StringRef limit, StringRef help) {
  return {{{limit, ArgumentKind::Real, true, true, {}, help},
           {"renorm",
            ArgumentKind::Word,
            true,
            false,
            {"none", "sum"},
            "whether the rest is divided by its sum"}}};
}

static LogicalResult
verifyRenorm(StringAttr renorm, function_ref<InFlightDiagnostic()> emitError) {
  if (renorm == "none" || renorm == "sum")
    return success();
  return emitError() << "expected renorm = none or sum, found " << renorm;
}

/// Some slots may be unused now; what is left sums to one or no longer.
static void update(RoutingGuarantees &guarantees, bool isNormalized) {
  guarantees.dropFree = false;
  guarantees.normalized = isNormalized;
}

/// Keeps the slots whose weight is at least `limit`.
static void keepFrom(OpBuilder &b, Location loc, StageState &state, Value limit,
                     StringAttr renorm) {
  row::RowBuilder rows(b, loc);
  state.ids =
      rows.map({state.ids, state.weights, limit, rows.i32(-1)}, b.getI32Type(),
               [&](OpBuilder &b, ValueRange v) -> Value {
                 Value isLess = arith::CmpFOp::create(
                     b, loc, arith::CmpFPredicate::OLT, v[1], v[2]);
                 return arith::SelectOp::create(b, loc, isLess, v[3], v[0]);
               });
  state.hasUnused = true;
  state.weights = rows.whereUsed(state.weights, state.ids);
  if (renorm != "sum")
    return;
  // Where nothing is left zeros stay zeros.
  Value sum =
      rows.map({rows.sum(state.weights), rows.f32(0.0), rows.f32(1.0)},
               b.getF32Type(), [&](OpBuilder &b, ValueRange v) -> Value {
                 Value isZero = arith::CmpFOp::create(
                     b, loc, arith::CmpFPredicate::OEQ, v[0], v[1]);
                 return arith::SelectOp::create(b, loc, isZero, v[2], v[0]);
               });
  state.weights = rows.div(state.weights, sum);
}

static void keepFrom(StageValues &state, float limit, StringAttr renorm) {
  float sum = 0.0f;
  for (size_t s = 0; s < state.ids.size(); ++s) {
    if (state.weights[s] < limit)
      state.ids[s] = -1;
    if (state.ids[s] < 0)
      state.weights[s] = 0.0f;
    sum += state.weights[s];
  }
  if (renorm == "sum" && sum != 0.0f)
    for (float &w : state.weights)
      w /= sum;
}

StringRef RatioSkipStageAttr::getSpelling() { return "ratio"; }
StageKind RatioSkipStageAttr::getStageKind() { return StageKind::Skip; }
Signature RatioSkipStageAttr::getSignature() {
  return signatureOf("b", "share of the largest weight");
}
Attribute RatioSkipStageAttr::build(MLIRContext *context,
                                    ArrayRef<NamedStatic> arguments,
                                    function_ref<InFlightDiagnostic()>) {
  return get(context, cast<FloatAttr>(arguments[0].value),
             cast<StringAttr>(arguments[1].value));
}
LogicalResult RatioSkipStageAttr::verifyStage(
    int64_t, int64_t, function_ref<InFlightDiagnostic()> emitError) const {
  double limit = getLimit().getValueAsDouble();
  if (!(limit >= 0.0 && limit <= 1.0))
    return emitError() << "expected a share from 0 to 1, found " << limit;
  return verifyRenorm(getRenorm(), emitError);
}
void RatioSkipStageAttr::updateGuarantees(RoutingGuarantees &guarantees) const {
  // Weights that sum to zero stay as they are.
  update(guarantees, guarantees.normalized && getRenorm() == "sum");
}
void RatioSkipStageAttr::lowerToken(OpBuilder &b, Location loc,
                                    StageState &state) const {
  row::RowBuilder rows(b, loc);
  Value limit = rows.mul(rows.max(state.weights),
                         rows.f32(getLimit().getValueAsDouble()));
  keepFrom(b, loc, state, limit, getRenorm());
}
void RatioSkipStageAttr::evaluate(StageValues &state) const {
  float largest = -std::numeric_limits<float>::infinity();
  for (float w : state.weights)
    largest = std::max(largest, w);
  keepFrom(state, largest * static_cast<float>(getLimit().getValueAsDouble()),
           getRenorm());
}

StringRef BelowSkipStageAttr::getSpelling() { return "below"; }
StageKind BelowSkipStageAttr::getStageKind() { return StageKind::Skip; }
Signature BelowSkipStageAttr::getSignature() {
  return signatureOf("t", "least weight");
}
Attribute BelowSkipStageAttr::build(MLIRContext *context,
                                    ArrayRef<NamedStatic> arguments,
                                    function_ref<InFlightDiagnostic()>) {
  return get(context, cast<FloatAttr>(arguments[0].value),
             cast<StringAttr>(arguments[1].value));
}
LogicalResult BelowSkipStageAttr::verifyStage(
    int64_t, int64_t, function_ref<InFlightDiagnostic()> emitError) const {
  return verifyRenorm(getRenorm(), emitError);
}
void BelowSkipStageAttr::updateGuarantees(RoutingGuarantees &guarantees) const {
  update(guarantees, false);
}
void BelowSkipStageAttr::lowerToken(OpBuilder &b, Location loc,
                                    StageState &state) const {
  Value limit = row::RowBuilder(b, loc).f32(getLimit().getValueAsDouble());
  keepFrom(b, loc, state, limit, getRenorm());
}
void BelowSkipStageAttr::evaluate(StageValues &state) const {
  keepFrom(state, static_cast<float>(getLimit().getValueAsDouble()),
           getRenorm());
}
