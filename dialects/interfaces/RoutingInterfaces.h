//===- RoutingInterfaces.h - What a router promises -------------*- C++ -*-===//
//
// The seam for new routers. docs/guides/add-a-router.md walks through it;
// examples/routing-plugin is a router outside this tree.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_DIALECTS_INTERFACES_ROUTINGINTERFACES_H
#define MOEC_DIALECTS_INTERFACES_ROUTINGINTERFACES_H

#include "dialects/interfaces/Signature.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/OpDefinition.h"

#include <optional>
#include <string>
#include <vector>

namespace moec {

/// What a router promises for every input.
struct RoutingGuarantees {
  /// The valid ids of one token differ.
  bool distinct = false;
  /// The weights of one token sum to one (to rounding).
  bool normalized = false;
  /// A token's result depends on that token's operands alone.
  bool tokenLocal = false;
  /// Every slot holds a valid id.
  bool dropFree = false;
  /// No promise, but what takes one: a token may have no expert at all, so that
  /// its weights sum to zero whatever divides them.
  bool mayBeEmpty = false;

  /// The names that hold, in the manifest's spelling.
  std::vector<std::string> names() const;
};

/// The routing of one token: ids `tensor<Kxi32>`, weights `tensor<Kxf32>`.
struct RoutedRow {
  mlir::Value ids;
  mlir::Value weights;
};

/// The stages of moe.route, in the order in which they act.
enum class StageKind {
  Score,
  Rank,
  Groups,
  Select,
  Weigh,
  Renorm,
  Scale,
  Skip
};

/// The word for `kind` in .moe files, in diagnostics and in IR.
llvm::StringRef stringifyStageKind(StageKind kind);

/// What the caller of a step may give to a router: the fields of
/// `moe.routing_operand`.
enum class RoutingField { Ids, Weights, Bias, Mask, Count };

/// The word for `field` in IR.
llvm::StringRef stringifyRoutingField(RoutingField field);
std::optional<RoutingField> symbolizeRoutingField(llvm::StringRef word);
/// Whether there is a row of it for each token.
bool isPerToken(RoutingField field);
/// Whether `type` is a tensor or memory of the rank and elements of `field`.
bool isTypeOf(RoutingField field, mlir::ShapedType type);
/// The id in `Ids` that forces nothing.
inline constexpr int32_t kFreeSlot = -2;

/// State of one token between stages, as values of the `row` dialect. Where
/// experts are always selected, E counts the others from `rank` to `select`,
/// and all of them after it.
struct StageState {
  mlir::Value logits; ///< tensor<Exf32>
  mlir::Value scores; ///< tensor<Exf32>, after `score`
  mlir::Value rank;   ///< tensor<Exf32>, what `select` looks at
  mlir::Value ids;    ///< tensor<Kxi32>, after `select`; pool-relative
  /// Set by a `select` stage that may leave slots unused (id -1). Stages that
  /// weigh give those weight 0.
  bool hasUnused = false;
  /// tensor<Kxf32>: weights that a `select` stage makes (givesWeights).
  mlir::Value givenWeights;
  mlir::Value weights; ///< tensor<Kxf32>, after `weigh`
  mlir::Value operand; ///< the operand of the present stage, or null
};

/// The same as plain numbers.
struct StageValues {
  std::vector<float> logits, scores, rank;
  std::vector<int32_t> ids; ///< -1: unused slot, of weight 0
  std::vector<float> givenWeights;
  std::vector<float> weights;
  llvm::ArrayRef<float> operand;
  llvm::ArrayRef<int32_t> operandIds; ///< for stages that read ids
};

} // namespace moec

#include "dialects/interfaces/RoutingOpInterfaces.h.inc"

#include "dialects/interfaces/RoutingAttrInterfaces.h.inc"

#endif // MOEC_DIALECTS_INTERFACES_ROUTINGINTERFACES_H
