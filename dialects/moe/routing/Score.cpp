//===- Score.cpp - Stages that turn logits into scores --------------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowBuilder.h"

#include <algorithm>
#include <cmath>

using namespace mlir;
using namespace moec;
using namespace moec::moe;

StringRef SoftmaxStageAttr::getSpelling() { return "softmax"; }
StageKind SoftmaxStageAttr::getStageKind() { return StageKind::Score; }
Signature SoftmaxStageAttr::getSignature() { return {}; }
Attribute SoftmaxStageAttr::build(MLIRContext *context, ArrayRef<NamedStatic>,
                                  function_ref<InFlightDiagnostic()>) {
  return get(context);
}
void SoftmaxStageAttr::lowerToken(OpBuilder &b, Location loc,
                                  StageState &state) const {
  state.scores = row::RowBuilder(b, loc).softmax(state.logits);
}
void SoftmaxStageAttr::evaluate(StageValues &state) const {
  float max = *std::max_element(state.logits.begin(), state.logits.end());
  float sum = 0.0f;
  for (float z : state.logits) {
    state.scores.push_back(std::exp(z - max));
    sum += state.scores.back();
  }
  for (float &s : state.scores)
    s /= sum;
}

StringRef SigmoidStageAttr::getSpelling() { return "sigmoid"; }
StageKind SigmoidStageAttr::getStageKind() { return StageKind::Score; }
Signature SigmoidStageAttr::getSignature() { return {}; }
Attribute SigmoidStageAttr::build(MLIRContext *context, ArrayRef<NamedStatic>,
                                  function_ref<InFlightDiagnostic()>) {
  return get(context);
}
void SigmoidStageAttr::lowerToken(OpBuilder &b, Location loc,
                                  StageState &state) const {
  state.scores = row::RowBuilder(b, loc).sigmoid(state.logits);
}
void SigmoidStageAttr::evaluate(StageValues &state) const {
  for (float z : state.logits)
    state.scores.push_back(1.0f / (1.0f + std::exp(-z)));
}

StringRef IdentityStageAttr::getSpelling() { return "identity"; }
StageKind IdentityStageAttr::getStageKind() { return StageKind::Score; }
Signature IdentityStageAttr::getSignature() { return {}; }
Attribute IdentityStageAttr::build(MLIRContext *context, ArrayRef<NamedStatic>,
                                   function_ref<InFlightDiagnostic()>) {
  return get(context);
}
void IdentityStageAttr::lowerToken(OpBuilder &, Location,
                                   StageState &state) const {
  state.scores = state.logits;
}
void IdentityStageAttr::evaluate(StageValues &state) const {
  state.scores = state.logits;
}
