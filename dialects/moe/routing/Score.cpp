//===- Score.cpp - Stages that turn logits into scores --------------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

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

StringRef SqrtSoftplusStageAttr::getSpelling() { return "sqrt_softplus"; }
StageKind SqrtSoftplusStageAttr::getStageKind() { return StageKind::Score; }
Signature SqrtSoftplusStageAttr::getSignature() { return {}; }
Attribute SqrtSoftplusStageAttr::build(MLIRContext *context,
                                       ArrayRef<NamedStatic>,
                                       function_ref<InFlightDiagnostic()>) {
  return get(context);
}
void SqrtSoftplusStageAttr::lowerToken(OpBuilder &b, Location loc,
                                       StageState &state) const {
  state.scores = row::RowBuilder(b, loc).map(
      state.logits, b.getF32Type(), [&](OpBuilder &b, ValueRange v) -> Value {
        // max(z, 0) + log(1 + exp(-|z|)): no large exponent overflows.
        Value zero = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(0.0f));
        Value large = arith::MaximumFOp::create(b, loc, v[0], zero);
        Value e = math::ExpOp::create(
            b, loc,
            arith::NegFOp::create(b, loc, math::AbsFOp::create(b, loc, v[0])));
        Value rest = math::Log1pOp::create(b, loc, e);
        return math::SqrtOp::create(b, loc,
                                    arith::AddFOp::create(b, loc, large, rest));
      });
}
void SqrtSoftplusStageAttr::evaluate(StageValues &state) const {
  for (float z : state.logits)
    state.scores.push_back(
        std::sqrt(std::max(z, 0.0f) + std::log1p(std::exp(-std::fabs(z)))));
}
