//===- Normalize.cpp - Stages that renormalise and scale ------------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowBuilder.h"
#include "dialects/row/RowDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"

#include <algorithm>
#include <cmath>

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

StringRef AtLeastRenormStageAttr::getSpelling() { return "at_least"; }
StageKind AtLeastRenormStageAttr::getStageKind() { return StageKind::Renorm; }
Signature AtLeastRenormStageAttr::getSignature() {
  return {{{"m", ArgumentKind::Real, true, true, {}, "the least divisor"}}};
}
Attribute
AtLeastRenormStageAttr::build(MLIRContext *context,
                              ArrayRef<NamedStatic> arguments,
                              function_ref<InFlightDiagnostic()> emitError) {
  auto m = cast<FloatAttr>(arguments[0].value);
  if (m.getValueAsDouble() > 0.0)
    return get(context, m);
  emitError() << "expected a positive divisor, found " << m.getValueAsDouble();
  return {};
}
void AtLeastRenormStageAttr::lowerToken(OpBuilder &b, Location loc,
                                        StageState &state) const {
  row::RowBuilder rows(b, loc);
  Value divisor = arith::MaximumFOp::create(
      b, loc, rows.sum(state.weights), rows.f32(getM().getValueAsDouble()));
  state.weights = rows.div(state.weights, divisor);
}
void AtLeastRenormStageAttr::evaluate(StageValues &state) const {
  float sum = 0.0f;
  for (float w : state.weights)
    sum += w;
  sum = std::max(sum, static_cast<float>(getM().getValueAsDouble()));
  for (float &w : state.weights)
    w /= sum;
}

StringRef NormRenormStageAttr::getSpelling() { return "norm"; }
StageKind NormRenormStageAttr::getStageKind() { return StageKind::Renorm; }
Signature NormRenormStageAttr::getSignature() {
  return {{{"p", ArgumentKind::Real, true, true, {}, "order of the norm"}}};
}
Attribute
NormRenormStageAttr::build(MLIRContext *context,
                           ArrayRef<NamedStatic> arguments,
                           function_ref<InFlightDiagnostic()> emitError) {
  auto p = cast<FloatAttr>(arguments[0].value);
  if (p.getValueAsDouble() > 0.0 && std::isfinite(p.getValueAsDouble()))
    return get(context, p);
  emitError() << "expected a norm of positive order, found "
              << p.getValueAsDouble();
  return {};
}
/// x^e for x >= 0, without functions for the orders that occur.
static Value power(OpBuilder &b, Location loc, Value x, double e) {
  if (e == 1.0)
    return x;
  if (e == 2.0)
    return arith::MulFOp::create(b, loc, x, x);
  if (e == 0.5)
    return math::SqrtOp::create(b, loc, x);
  auto constant = [&](double value) -> Value {
    return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(value));
  };
  Value zero = constant(0.0);
  Value raised = math::ExpOp::create(
      b, loc,
      arith::MulFOp::create(b, loc, math::LogOp::create(b, loc, x),
                            constant(e)));
  Value isZero =
      arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, x, zero);
  return arith::SelectOp::create(b, loc, isZero, zero, raised);
}
void NormRenormStageAttr::lowerToken(OpBuilder &b, Location loc,
                                     StageState &state) const {
  row::RowBuilder rows(b, loc);
  double p = getP().getValueAsDouble();
  Value powers =
      rows.map(state.weights, b.getF32Type(), [&](OpBuilder &b, ValueRange v) {
        return power(b, loc, math::AbsFOp::create(b, loc, v[0]), p);
      });
  Value norm = power(b, loc, rows.sum(powers), 1.0 / p);
  state.weights = rows.div(state.weights, norm);
}
void NormRenormStageAttr::evaluate(StageValues &state) const {
  float p = static_cast<float>(getP().getValueAsDouble()), sum = 0.0f;
  for (float w : state.weights)
    sum += std::pow(std::fabs(w), p);
  for (float &w : state.weights)
    w /= std::pow(sum, 1.0f / p);
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

StringRef FactorsStageAttr::getSpelling() { return "a weight"; }
StageKind FactorsStageAttr::getStageKind() { return StageKind::Scale; }
Signature FactorsStageAttr::getSignature() {
  return {{{"factors",
            ArgumentKind::Weight,
            true,
            true,
            {},
            "one factor, or one for each expert"}}};
}
Attribute FactorsStageAttr::build(MLIRContext *context, ArrayRef<NamedStatic>,
                                  function_ref<InFlightDiagnostic()>) {
  return get(context);
}
StringRef FactorsStageAttr::getOperandName() const { return "factors"; }
bool FactorsStageAttr::acceptsOperandWidth(int64_t width, int64_t found) const {
  return found == width || found == 1;
}
void FactorsStageAttr::updateGuarantees(RoutingGuarantees &guarantees) const {
  guarantees.normalized = false;
}
void FactorsStageAttr::lowerToken(OpBuilder &b, Location loc,
                                  StageState &state) const {
  row::RowBuilder rows(b, loc);
  auto type = cast<RankedTensorType>(state.operand.getType());
  Value factor = type.getDimSize(0) == 1
                     ? row::TableOp::create(b, loc, type.getElementType(),
                                            state.operand, rows.i32(0))
                           .getResult()
                     : rows.gather(state.operand, state.ids);
  state.weights = rows.mul(state.weights, factor);
}
void FactorsStageAttr::evaluate(StageValues &state) const {
  for (size_t s = 0; s < state.weights.size(); ++s)
    if (state.operand.size() == 1)
      state.weights[s] *= state.operand[0];
    else if (state.ids[s] >= 0)
      state.weights[s] *= state.operand[state.ids[s]];
}
