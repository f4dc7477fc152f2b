//===- Weigh.cpp - Stages that say from what the weights are taken --------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowBuilder.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::moe;

StringRef ByScoreWeightStageAttr::getSpelling() { return "score"; }
StageKind ByScoreWeightStageAttr::getStageKind() { return StageKind::Weigh; }
Signature ByScoreWeightStageAttr::getSignature() { return {}; }
Attribute ByScoreWeightStageAttr::build(MLIRContext *context,
                                        ArrayRef<NamedStatic>,
                                        function_ref<InFlightDiagnostic()>) {
  return get(context);
}
void ByScoreWeightStageAttr::lowerToken(OpBuilder &b, Location loc,
                                        StageState &state) const {
  state.weights = row::RowBuilder(b, loc).gather(state.scores, state.ids);
}
void ByScoreWeightStageAttr::evaluate(StageValues &state) const {
  for (int32_t id : state.ids)
    state.weights.push_back(id < 0 ? 0.0f : state.scores[id]);
}

static int64_t slotsOf(Value ids) {
  return cast<RankedTensorType>(ids.getType()).getDimSize(0);
}

StringRef SelectedSoftmaxStageAttr::getSpelling() { return "softmax"; }
StageKind SelectedSoftmaxStageAttr::getStageKind() { return StageKind::Weigh; }
Signature SelectedSoftmaxStageAttr::getSignature() { return {}; }
Attribute SelectedSoftmaxStageAttr::build(MLIRContext *context,
                                          ArrayRef<NamedStatic>,
                                          function_ref<InFlightDiagnostic()>) {
  return get(context);
}
void SelectedSoftmaxStageAttr::updateGuarantees(
    RoutingGuarantees &guarantees) const {
  guarantees.normalized = true;
}
void SelectedSoftmaxStageAttr::lowerToken(OpBuilder &b, Location loc,
                                          StageState &state) const {
  row::RowBuilder rows(b, loc);
  Value z = rows.gather(state.logits, state.ids);
  if (!state.hasUnused) {
    state.weights = rows.softmax(z);
    return;
  }
  // An unused slot gathered a zero, which must not be the largest.
  Value lowest = rows.splat(rows.f32(std::numeric_limits<float>::lowest()),
                            slotsOf(state.ids));
  Value used = rows.add(z, rows.sub(lowest, rows.whereUsed(lowest, state.ids)));
  Value e = rows.exp(rows.sub(used, rows.max(used)));
  e = rows.whereUsed(e, state.ids);
  state.weights = rows.div(e, rows.sum(e));
}
void SelectedSoftmaxStageAttr::evaluate(StageValues &state) const {
  float max = -std::numeric_limits<float>::infinity(), sum = 0.0f;
  for (int32_t id : state.ids)
    if (id >= 0)
      max = std::max(max, state.logits[id]);
  for (int32_t id : state.ids) {
    state.weights.push_back(id < 0 ? 0.0f : std::exp(state.logits[id] - max));
    sum += state.weights.back();
  }
  for (float &w : state.weights)
    w /= sum;
}

StringRef SelectedSigmoidStageAttr::getSpelling() { return "sigmoid"; }
StageKind SelectedSigmoidStageAttr::getStageKind() { return StageKind::Weigh; }
Signature SelectedSigmoidStageAttr::getSignature() { return {}; }
Attribute SelectedSigmoidStageAttr::build(MLIRContext *context,
                                          ArrayRef<NamedStatic>,
                                          function_ref<InFlightDiagnostic()>) {
  return get(context);
}
void SelectedSigmoidStageAttr::lowerToken(OpBuilder &b, Location loc,
                                          StageState &state) const {
  row::RowBuilder rows(b, loc);
  state.weights = rows.sigmoid(rows.gather(state.logits, state.ids));
  if (state.hasUnused)
    state.weights = rows.whereUsed(state.weights, state.ids);
}
void SelectedSigmoidStageAttr::evaluate(StageValues &state) const {
  for (int32_t id : state.ids)
    state.weights.push_back(
        id < 0 ? 0.0f : 1.0f / (1.0f + std::exp(-state.logits[id])));
}

StringRef OneStageAttr::getSpelling() { return "one"; }
StageKind OneStageAttr::getStageKind() { return StageKind::Weigh; }
Signature OneStageAttr::getSignature() { return {}; }
Attribute OneStageAttr::build(MLIRContext *context, ArrayRef<NamedStatic>,
                              function_ref<InFlightDiagnostic()>) {
  return get(context);
}
void OneStageAttr::lowerToken(OpBuilder &b, Location loc,
                              StageState &state) const {
  row::RowBuilder rows(b, loc);
  state.weights = rows.splat(rows.f32(1.0), slotsOf(state.ids));
  if (state.hasUnused)
    state.weights = rows.whereUsed(state.weights, state.ids);
}
void OneStageAttr::evaluate(StageValues &state) const {
  for (int32_t id : state.ids)
    state.weights.push_back(id < 0 ? 0.0f : 1.0f);
}
