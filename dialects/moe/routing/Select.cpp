//===- Select.cpp - Stages that choose experts ----------------------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <algorithm>
#include <numeric>

using namespace mlir;
using namespace moec;
using namespace moec::moe;

StringRef TopKStageAttr::getSpelling() { return "top_k"; }
StageKind TopKStageAttr::getStageKind() { return StageKind::Select; }
Signature TopKStageAttr::getSignature() {
  return {{{"k", ArgumentKind::Integer, true, true, {},
            "experts per token"}}};
}
Attribute TopKStageAttr::build(MLIRContext *context,
                               ArrayRef<NamedStatic> arguments,
                               function_ref<InFlightDiagnostic()> emitError) {
  int64_t k = cast<IntegerAttr>(arguments[0].value).getInt();
  if (k < 1) {
    emitError() << "expected k of at least 1, found " << k;
    return {};
  }
  return get(context, k);
}
int64_t TopKStageAttr::getSlots(int64_t) const { return getK(); }
LogicalResult
TopKStageAttr::verifyStage(int64_t width, int64_t,
                           function_ref<InFlightDiagnostic()> emitError) const {
  if (getK() >= 1 && getK() <= width)
    return success();
  return emitError() << "expected k from 1 to " << width
                     << ", the experts of the pool, found " << getK();
}
bool TopKStageAttr::ordersSlots() const { return true; }
void TopKStageAttr::updateGuarantees(RoutingGuarantees &guarantees) const {
  guarantees.distinct = true;
  guarantees.dropFree = true;
}
void TopKStageAttr::lowerToken(OpBuilder &b, Location loc,
                               StageState &state) const {
  state.ids = row::RowBuilder(b, loc).topK(state.rank, getK()).second;
}
/// All experts in descending order of rank, ties to the lower id.
static std::vector<int32_t> orderOf(const StageValues &state) {
  std::vector<int32_t> order(state.rank.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return state.rank[a] != state.rank[b] ? state.rank[a] > state.rank[b]
                                          : a < b;
  });
  return order;
}
void TopKStageAttr::evaluate(StageValues &state) const {
  std::vector<int32_t> order = orderOf(state);
  state.ids.assign(order.begin(), order.begin() + getK());
}

StringRef AllStageAttr::getSpelling() { return "all"; }
StageKind AllStageAttr::getStageKind() { return StageKind::Select; }
Signature AllStageAttr::getSignature() { return {}; }
Attribute AllStageAttr::build(MLIRContext *context, ArrayRef<NamedStatic>,
                              function_ref<InFlightDiagnostic()>) {
  return get(context);
}
int64_t AllStageAttr::getSlots(int64_t width) const { return width; }
void AllStageAttr::updateGuarantees(RoutingGuarantees &guarantees) const {
  guarantees.distinct = true;
  guarantees.dropFree = true;
}
void AllStageAttr::lowerToken(OpBuilder &b, Location loc,
                              StageState &state) const {
  state.ids = row::RowBuilder(b, loc).iota(
      cast<RankedTensorType>(state.rank.getType()).getDimSize(0));
}
void AllStageAttr::evaluate(StageValues &state) const {
  state.ids.resize(state.rank.size());
  std::iota(state.ids.begin(), state.ids.end(), 0);
}

StringRef ThresholdStageAttr::getSpelling() { return "threshold"; }
StageKind ThresholdStageAttr::getStageKind() { return StageKind::Select; }
Signature ThresholdStageAttr::getSignature() {
  return {{{"t", ArgumentKind::Real, true, true, {}, "what ranks must exceed"},
           {"at_least",
            ArgumentKind::Integer,
            true,
            false,
            {},
            "experts that are kept anyway"}}};
}
Attribute ThresholdStageAttr::build(MLIRContext *context,
                                    ArrayRef<NamedStatic> arguments,
                                    function_ref<InFlightDiagnostic()>) {
  return get(context, cast<FloatAttr>(arguments[0].value),
             cast<IntegerAttr>(arguments[1].value).getInt());
}
int64_t ThresholdStageAttr::getSlots(int64_t width) const { return width; }
LogicalResult ThresholdStageAttr::verifyStage(
    int64_t width, int64_t,
    function_ref<InFlightDiagnostic()> emitError) const {
  if (getAtLeast() >= 0 && getAtLeast() <= width)
    return success();
  return emitError() << "expected at_least from 0 to " << width
                     << ", the experts of the pool, found " << getAtLeast();
}
bool ThresholdStageAttr::ordersSlots() const { return true; }
void ThresholdStageAttr::updateGuarantees(RoutingGuarantees &guarantees) const {
  guarantees.distinct = true;
  guarantees.mayBeEmpty = getAtLeast() == 0;
}
void ThresholdStageAttr::lowerToken(OpBuilder &b, Location loc,
                                    StageState &state) const {
  row::RowBuilder rows(b, loc);
  int64_t width = cast<RankedTensorType>(state.rank.getType()).getDimSize(0);
  auto [values, order] = rows.topK(state.rank, width);
  state.ids = rows.map(
      {order, values, rows.iota(width), rows.f32(getT().getValueAsDouble()),
       rows.i32(getAtLeast()), rows.i32(-1)},
      b.getI32Type(), [&](OpBuilder &b, ValueRange v) -> Value {
        Value isAbove = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT,
                                              v[1], v[3]);
        Value isFirst = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt,
                                              v[2], v[4]);
        Value isKept = arith::OrIOp::create(b, loc, isAbove, isFirst);
        return arith::SelectOp::create(b, loc, isKept, v[0], v[5]);
      });
  state.hasUnused = true;
}
void ThresholdStageAttr::evaluate(StageValues &state) const {
  float t = static_cast<float>(getT().getValueAsDouble());
  state.ids = orderOf(state);
  for (size_t i = getAtLeast(); i < state.ids.size(); ++i)
    if (!(state.rank[state.ids[i]] > t))
      state.ids[i] = -1;
}

StringRef FixedStageAttr::getSpelling() { return "fixed"; }
StageKind FixedStageAttr::getStageKind() { return StageKind::Select; }
Signature FixedStageAttr::getSignature() {
  return {
      {{"id", ArgumentKind::Integer, true, true, {}, "column of the pool"}}};
}
Attribute FixedStageAttr::build(MLIRContext *context,
                                ArrayRef<NamedStatic> arguments,
                                function_ref<InFlightDiagnostic()>) {
  return get(context, cast<IntegerAttr>(arguments[0].value).getInt());
}
int64_t FixedStageAttr::getSlots(int64_t) const { return 1; }
LogicalResult FixedStageAttr::verifyStage(
    int64_t width, int64_t,
    function_ref<InFlightDiagnostic()> emitError) const {
  if (getId() >= 0 && getId() < width)
    return success();
  return emitError() << "expected a column from 0 to " << width - 1
                     << " of the pool, found " << getId();
}
void FixedStageAttr::updateGuarantees(RoutingGuarantees &guarantees) const {
  guarantees.distinct = true;
  guarantees.dropFree = true;
}
void FixedStageAttr::lowerToken(OpBuilder &b, Location loc,
                                StageState &state) const {
  state.ids = row::RowBuilder(b, loc).constant(
      ArrayRef<int32_t>(static_cast<int32_t>(getId())));
}
void FixedStageAttr::evaluate(StageValues &state) const {
  state.ids = {static_cast<int32_t>(getId())};
}

StringRef HashStageAttr::getSpelling() { return "hash"; }
StageKind HashStageAttr::getStageKind() { return StageKind::Select; }
Signature HashStageAttr::getSignature() {
  return {{{"table",
            ArgumentKind::Weight,
            true,
            true,
            {},
            "experts of each token id"},
           {"ids", ArgumentKind::Value, true, true, {}, "the token ids"},
           {"k", ArgumentKind::Integer, true, false, {}, "experts per token"}}};
}
Attribute HashStageAttr::build(MLIRContext *context,
                               ArrayRef<NamedStatic> arguments,
                               function_ref<InFlightDiagnostic()>) {
  return get(context, cast<IntegerAttr>(arguments.back().value).getInt());
}
StringRef HashStageAttr::getOperandName() const { return "ids"; }
bool HashStageAttr::acceptsOperandWidth(int64_t, int64_t found) const {
  return found == getK();
}
bool HashStageAttr::readsIds() const { return true; }
int64_t HashStageAttr::getSlots(int64_t) const { return getK(); }
LogicalResult
HashStageAttr::verifyStage(int64_t width, int64_t,
                           function_ref<InFlightDiagnostic()> emitError) const {
  if (getK() >= 1 && getK() <= width)
    return success();
  return emitError() << "expected k from 1 to " << width
                     << ", the experts of the pool, found " << getK();
}
void HashStageAttr::updateGuarantees(RoutingGuarantees &guarantees) const {
  // Nothing is known of the table.
  guarantees.mayBeEmpty = true;
}
void HashStageAttr::lowerToken(OpBuilder &b, Location loc,
                               StageState &state) const {
  row::RowBuilder rows(b, loc);
  int64_t width = cast<RankedTensorType>(state.scores.getType()).getDimSize(0);
  state.ids =
      rows.map({state.operand, rows.i32(0), rows.i32(width), rows.i32(-1)},
               b.getI32Type(), [&](OpBuilder &b, ValueRange v) -> Value {
                 Value isLow = arith::CmpIOp::create(
                     b, loc, arith::CmpIPredicate::slt, v[0], v[1]);
                 Value isHigh = arith::CmpIOp::create(
                     b, loc, arith::CmpIPredicate::sge, v[0], v[2]);
                 Value isOutside = arith::OrIOp::create(b, loc, isLow, isHigh);
                 return arith::SelectOp::create(b, loc, isOutside, v[3], v[0]);
               });
  state.hasUnused = true;
}
void HashStageAttr::evaluate(StageValues &state) const {
  for (int32_t id : state.operandIds)
    state.ids.push_back(id >= 0 && id < int64_t(state.scores.size()) ? id : -1);
}
