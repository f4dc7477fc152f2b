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
  Value relu(Value x) {
    return arith::MaximumFOp::create(b, loc, x, constant(0.0));
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
