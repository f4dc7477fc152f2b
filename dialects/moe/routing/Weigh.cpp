//===- Weigh.cpp - Stages that say from what the weights are taken --------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowBuilder.h"

#include <algorithm>
#include <cmath>

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
    state.weights.push_back(state.scores[id]);
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
  state.weights = rows.softmax(rows.gather(state.logits, state.ids));
}
void SelectedSoftmaxStageAttr::evaluate(StageValues &state) const {
  float max = state.logits[state.ids[0]], sum = 0.0f;
  for (int32_t id : state.ids)
    max = std::max(max, state.logits[id]);
  for (int32_t id : state.ids) {
    state.weights.push_back(std::exp(state.logits[id] - max));
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
}
void SelectedSigmoidStageAttr::evaluate(StageValues &state) const {
  for (int32_t id : state.ids)
    state.weights.push_back(1.0f / (1.0f + std::exp(-state.logits[id])));
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
  auto ids = cast<RankedTensorType>(state.ids.getType());
  state.weights = rows.splat(rows.f32(1.0), ids.getDimSize(0));
}
void OneStageAttr::evaluate(StageValues &state) const {
  state.weights.assign(state.ids.size(), 1.0f);
}
