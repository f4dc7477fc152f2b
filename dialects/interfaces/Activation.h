//===- Activation.h - Activation functions ----------------------*- C++ -*-===//
#ifndef MOEC_DIALECTS_INTERFACES_ACTIVATION_H
#define MOEC_DIALECTS_INTERFACES_ACTIVATION_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"

#include <optional>

#include "dialects/interfaces/Activation.h.inc"

namespace moec {

/// Builds activation(x) for a float scalar or a vector of them, from `arith`
/// and `math` operations:
///   silu(x) = x / (1 + exp(-x)), gelu(x) = x/2 (1 + erf(x / sqrt 2)),
///   gelu_tanh(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))),
///   relu2(x) = max(x, 0)^2, sigmoid(x) = 1 / (1 + exp(-x)).
mlir::Value buildActivation(mlir::OpBuilder &builder, mlir::Location loc,
                            Activation activation, mlir::Value x);

/// activation(x) in f32, for reference evaluation.
float evaluateActivation(Activation activation, float x);

} // namespace moec

#endif // MOEC_DIALECTS_INTERFACES_ACTIVATION_H
