//===- Activation.cpp - Activation functions ------------------------------===//
#include "dialects/interfaces/Activation.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <algorithm>
#include <cmath>

#include "dialects/interfaces/Activation.cpp.inc"

using namespace mlir;

namespace {
/// Arithmetic on values of one float type.
struct Arithmetic {
  OpBuilder &b;
  Location loc;
  Type type;

  Value constant(double value) {
    return arith::ConstantOp::create(b, loc, b.getFloatAttr(type, value));
  }
  Value add(Value x, Value y) { return arith::AddFOp::create(b, loc, x, y); }
  Value mul(Value x, Value y) { return arith::MulFOp::create(b, loc, x, y); }
  Value div(Value x, Value y) { return arith::DivFOp::create(b, loc, x, y); }
  Value exp(Value x) { return math::ExpOp::create(b, loc, x); }
  Value neg(Value x) { return arith::NegFOp::create(b, loc, x); }
  Value relu(Value x) { return atLeast(x, 0.0); }
  Value atLeast(Value x, double limit) {
    return arith::MaximumFOp::create(b, loc, x, constant(limit));
  }
  Value atMost(Value x, double limit) {
    return arith::MinimumFOp::create(b, loc, x, constant(limit));
  }
};
} // namespace

Value moec::buildActivation(OpBuilder &builder, Location loc,
                            Activation activation, Value x) {
  Arithmetic a{builder, loc, x.getType()};
  switch (activation) {
  case Activation::Identity:
    return x;
  case Activation::Silu:
    return a.div(x, a.add(a.constant(1.0), a.exp(a.neg(x))));
  case Activation::Sigmoid:
    return a.div(a.constant(1.0), a.add(a.constant(1.0), a.exp(a.neg(x))));
  case Activation::Gelu: {
    Value erf =
        math::ErfOp::create(builder, loc, a.mul(x, a.constant(std::sqrt(0.5))));
    return a.mul(a.mul(a.constant(0.5), x), a.add(a.constant(1.0), erf));
  }
  case Activation::GeluTanh: {
    Value cube = a.mul(x, a.mul(x, x));
    Value inner = a.mul(a.constant(std::sqrt(2.0 / M_PI)),
                        a.add(x, a.mul(a.constant(0.044715), cube)));
    Value tanh = math::TanhOp::create(builder, loc, inner);
    return a.mul(a.mul(a.constant(0.5), x), a.add(a.constant(1.0), tanh));
  }
  case Activation::Relu:
    return a.relu(x);
  case Activation::Relu2: {
    Value r = a.relu(x);
    return a.mul(r, r);
  }
  case Activation::Tanh:
    return math::TanhOp::create(builder, loc, x);
  }
  llvm_unreachable("all activations are handled");
}

float moec::evaluateActivation(Activation activation, float x) {
  switch (activation) {
  case Activation::Identity:
    return x;
  case Activation::Silu:
    return x / (1.0f + std::exp(-x));
  case Activation::Sigmoid:
    return 1.0f / (1.0f + std::exp(-x));
  case Activation::Gelu:
    return 0.5f * x * (1.0f + std::erf(x * std::sqrt(0.5f)));
  case Activation::GeluTanh:
    return 0.5f * x *
           (1.0f + std::tanh(std::sqrt(2.0f / static_cast<float>(M_PI)) *
                             (x + 0.044715f * x * x * x)));
  case Activation::Relu:
    return std::max(x, 0.0f);
  case Activation::Relu2:
    return std::max(x, 0.0f) * std::max(x, 0.0f);
  case Activation::Tanh:
    return std::tanh(x);
  }
  llvm_unreachable("all activations are handled");
}

//===----------------------------------------------------------------------===//
// Hidden functions
//===----------------------------------------------------------------------===//

LogicalResult
moec::verifyHiddenFunction(const HiddenFunction &function, bool hasGate,
                           function_ref<InFlightDiagnostic()> emitError) {
  if (function.slope != 1.0 && function.activation != Activation::Silu)
    return emitError() << "expected a slope with silu only, found one with "
                       << stringifyActivation(function.activation);
  auto isF32 = [](double x) { return std::isfinite(static_cast<float>(x)); };
  if (!isF32(function.slope) || !isF32(function.upOffset))
    return emitError() << "expected a finite slope and offset, found "
                       << function.slope << " and " << function.upOffset;
  if (function.clampBefore && function.clampAfter)
    return emitError() << "expected a clamp on one side of the activation, "
                          "found both";
  for (std::optional<double> limit :
       {function.clampBefore, function.clampAfter})
    if (limit && !(*limit > 0.0 && isF32(*limit)))
      return emitError() << "expected a positive limit, found " << *limit;
  if (!hasGate &&
      (function.clampBefore || function.clampAfter || function.upOffset != 0.0))
    return emitError() << "expected clamp and up_offset with a gate only";
  return success();
}

Value moec::buildHiddenFunction(OpBuilder &builder, Location loc,
                                const HiddenFunction &function,
                                ValueRange maps) {
  Arithmetic a{builder, loc, maps[0].getType()};
  Value x = maps[0];
  if (function.clampBefore)
    x = a.atMost(x, *function.clampBefore);
  if (function.slope == 1.0)
    x = buildActivation(builder, loc, function.activation, x);
  else
    x = a.div(x, a.add(a.constant(1.0),
                       a.exp(a.mul(x, a.constant(-function.slope)))));
  if (function.clampAfter)
    x = a.atMost(x, *function.clampAfter);
  if (maps.size() == 1)
    return x;
  Value up = maps[1];
  std::optional<double> limit =
      function.clampBefore ? function.clampBefore : function.clampAfter;
  if (limit)
    up = a.atLeast(a.atMost(up, *limit), -*limit);
  if (function.upOffset != 0.0)
    up = a.add(up, a.constant(function.upOffset));
  return a.mul(x, up);
}

float moec::evaluateHiddenFunction(const HiddenFunction &function,
                                   ArrayRef<float> maps) {
  float x = maps[0];
  if (function.clampBefore)
    x = std::min(x, static_cast<float>(*function.clampBefore));
  if (function.slope == 1.0)
    x = evaluateActivation(function.activation, x);
  else
    x = x / (1.0f + std::exp(static_cast<float>(-function.slope) * x));
  if (function.clampAfter)
    x = std::min(x, static_cast<float>(*function.clampAfter));
  if (maps.size() == 1)
    return x;
  float up = maps[1];
  if (std::optional<double> limit =
          function.clampBefore ? function.clampBefore : function.clampAfter)
    up =
        std::clamp(up, static_cast<float>(-*limit), static_cast<float>(*limit));
  return x * (up + static_cast<float>(function.upOffset));
}
