//===- Select.cpp - Stages that choose experts ----------------------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowBuilder.h"

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
void TopKStageAttr::updateGuarantees(RoutingGuarantees &guarantees) const {
  guarantees.distinct = true;
  guarantees.dropFree = true;
}
void TopKStageAttr::lowerToken(OpBuilder &b, Location loc,
                               StageState &state) const {
  state.ids = row::RowBuilder(b, loc).topK(state.rank, getK()).second;
}
void TopKStageAttr::evaluate(StageValues &state) const {
  std::vector<int32_t> order(state.rank.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return state.rank[a] != state.rank[b] ? state.rank[a] > state.rank[b]
                                          : a < b;
  });
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
