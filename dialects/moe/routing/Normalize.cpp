//===- Normalize.cpp - Stages that renormalise and scale ------------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowBuilder.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace moec;
using namespace moec::moe;

StringRef NoRenormStageAttr::getSpelling() { return "none"; }
StageKind NoRenormStageAttr::getStageKind() { return StageKind::Renorm; }
Signature NoRenormStageAttr::getSignature() { return {}; }
Attribute NoRenormStageAttr::build(MLIRContext *context, ArrayRef<NamedStatic>,
                                   function_ref<InFlightDiagnostic()>) {
  return get(context);
}
void NoRenormStageAttr::lowerToken(OpBuilder &, Location, StageState &) const {}
void NoRenormStageAttr::evaluate(StageValues &) const {}

StringRef SumRenormStageAttr::getSpelling() { return "sum"; }
StageKind SumRenormStageAttr::getStageKind() { return StageKind::Renorm; }
Signature SumRenormStageAttr::getSignature() {
  return {{{"eps", ArgumentKind::Real, /*mandatory=*/false, true, {},
            "added to the sum"}}};
}
Attribute
SumRenormStageAttr::build(MLIRContext *context,
                          ArrayRef<NamedStatic> arguments,
                          function_ref<InFlightDiagnostic()> emitError) {
  FloatAttr eps = arguments.empty()
                      ? Builder(context).getF64FloatAttr(0.0)
                      : cast<FloatAttr>(arguments[0].value);
  if (eps.getValueAsDouble() < 0.0) {
    emitError() << "expected eps of at least 0, found "
                << eps.getValueAsDouble();
    return {};
  }
  return get(context, eps);
}
void SumRenormStageAttr::updateGuarantees(RoutingGuarantees &guarantees) const {
  guarantees.normalized = true;
}
void SumRenormStageAttr::lowerToken(OpBuilder &b, Location loc,
                                    StageState &state) const {
  row::RowBuilder rows(b, loc);
  Value sum = rows.sum(state.weights);
  if (double eps = getEps().getValueAsDouble())
    sum = rows.add(sum, rows.f32(eps));
  state.weights = rows.div(state.weights, sum);
}
void SumRenormStageAttr::evaluate(StageValues &state) const {
  float sum = 0.0f;
  for (float w : state.weights)
    sum += w;
  sum += static_cast<float>(getEps().getValueAsDouble());
  for (float &w : state.weights)
    w /= sum;
}

StringRef FactorStageAttr::getSpelling() { return "number"; }
StageKind FactorStageAttr::getStageKind() { return StageKind::Scale; }
Signature FactorStageAttr::getSignature() {
  return {{{"value", ArgumentKind::Real, true, true, {}, "the factor"}}};
}
Attribute FactorStageAttr::build(MLIRContext *context,
                                 ArrayRef<NamedStatic> arguments,
                                 function_ref<InFlightDiagnostic()>) {
  return get(context, cast<FloatAttr>(arguments[0].value));
}
void FactorStageAttr::updateGuarantees(RoutingGuarantees &guarantees) const {
  if (getValue().getValueAsDouble() != 1.0)
    guarantees.normalized = false;
}
void FactorStageAttr::lowerToken(OpBuilder &b, Location loc,
                                 StageState &state) const {
  row::RowBuilder rows(b, loc);
  double factor = getValue().getValueAsDouble();
  if (factor != 1.0)
    state.weights = rows.mul(state.weights, rows.f32(factor));
}
void FactorStageAttr::evaluate(StageValues &state) const {
  for (float &w : state.weights)
    w *= static_cast<float>(getValue().getValueAsDouble());
}
