//===- Activation.h - Activation functions ----------------------*- C++ -*-===//
#ifndef MOEC_DIALECTS_INTERFACES_ACTIVATION_H
#define MOEC_DIALECTS_INTERFACES_ACTIVATION_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Operation.h"

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

/// What stands between the maps of a feed-forward network. With a gate g and an
/// up value u it is activation(g) * (u + upOffset), without a gate
/// activation(u). silu has a slope a: g / (1 + exp(-a g)). A limit c holds g at
/// most at c (`clampBefore`) or activation(g) at most at c (`clampAfter`), and
/// u within -c and c.
struct HiddenFunction {
  HiddenFunction(Activation activation = Activation::Identity)
      : activation(activation) {}

  Activation activation;
  double slope = 1.0;
  std::optional<double> clampBefore, clampAfter;
  double upOffset = 0.0;

  bool operator==(const HiddenFunction &other) const {
    return activation == other.activation && slope == other.slope &&
           clampBefore == other.clampBefore && clampAfter == other.clampAfter &&
           upOffset == other.upOffset;
  }
  bool operator!=(const HiddenFunction &other) const {
    return !(*this == other);
  }
};

/// Checks what a function may be, with or without a gate.
mlir::LogicalResult
verifyHiddenFunction(const HiddenFunction &function, bool hasGate,
                     llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

/// Builds the function for f32 scalars or vectors: gate and up, or up alone.
mlir::Value buildHiddenFunction(mlir::OpBuilder &builder, mlir::Location loc,
                                const HiddenFunction &function,
                                mlir::ValueRange maps);

/// The same in f32, for reference evaluation.
float evaluateHiddenFunction(const HiddenFunction &function,
                             llvm::ArrayRef<float> maps);

/// The function of an operation with Moec_HiddenArguments.
template <typename OpT> HiddenFunction getHiddenFunction(OpT op) {
  HiddenFunction function(op.getActivation());
  auto number = [](std::optional<llvm::APFloat> value) {
    return value ? std::optional<double>(value->convertToDouble())
                 : std::nullopt;
  };
  function.slope = number(op.getSlope()).value_or(1.0);
  function.clampBefore = number(op.getClampBefore());
  function.clampAfter = number(op.getClampAfter());
  function.upOffset = number(op.getUpOffset()).value_or(0.0);
  return function;
}

/// Gives an operation with Moec_HiddenArguments a function. What has its
/// neutral value stays away.
template <typename OpT>
void setHiddenFunction(OpT op, const HiddenFunction &function) {
  mlir::Builder b(op.getContext());
  auto number = [&](std::optional<double> value) {
    return value ? b.getF64FloatAttr(*value) : mlir::FloatAttr();
  };
  op.setActivation(function.activation);
  op.setSlopeAttr(function.slope == 1.0 ? mlir::FloatAttr()
                                        : number(function.slope));
  op.setClampBeforeAttr(number(function.clampBefore));
  op.setClampAfterAttr(number(function.clampAfter));
  op.setUpOffsetAttr(function.upOffset == 0.0 ? mlir::FloatAttr()
                                              : number(function.upOffset));
}

} // namespace moec

#endif // MOEC_DIALECTS_INTERFACES_ACTIVATION_H
