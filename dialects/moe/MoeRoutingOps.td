//===- MoeRoutingOps.td - Routers --------------------------*- tablegen -*-===//
#ifndef MOEC_DIALECTS_MOE_MOEROUTINGOPS
#define MOEC_DIALECTS_MOE_MOEROUTINGOPS

include "dialects/moe/MoeBase.td"
include "dialects/interfaces/RoutingInterfaces.td"
include "dialects/interfaces/ReferenceOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"

def Moe_Logits : Type<And<[
    RankedTensorOf<[F32]>.predicate,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getRank() == 2">,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).isDynamicDim(0)">,
    CPred<"!::llvm::cast<::mlir::RankedTensorType>($_self).isDynamicDim(1)">]>,
    "logits tensor<?xExf32>", "::mlir::RankedTensorType">;

class Moe_RoutingOp<string mnemonic, list<Trait> traits = []>
    : Moe_Op<mnemonic, [Pure, DeclareOpInterfaceMethods<RoutingOpInterface,
          ["getGuarantees"]>,
          DeclareOpInterfaceMethods<ReferenceOpInterface>] # traits>;

def Moe_RouteOp : Moe_RoutingOp<"route",
    [InferTypeOpAdaptor]> {
  let summary = "routing composed of stages";
  let description = [{
    The routing normal form: most published gates are one pipeline with
    different stages. Each stage is an attribute with
    `RoutingStageAttrInterface`; they act in the order in which they are
    written, on one token at a time, in f32:

    - `score` turns the logits into scores,
    - `rank` says what selection looks at,
    - `groups`, where it is written, changes the rank by groups of experts,
    - `select` chooses the experts of the K slots (ties go to the lower id),
    - `weigh` says from what the weights are taken,
    - `renorm` and `scale` change the weights,
    - `skip`, where it is written, leaves slots of small weights unused.

    Operand 0 holds the logits, one column per expert of the pool; a stage that
    asks for an operand (`rank(#moe.biased_score)`) finds it among
    `stage_operands`, in stage order. Ids are counted from `pool_start`. A slot
    that selection leaves unused has id -1 and weight 0.

    `always = [a, b]` names columns, the first or the last ones, whose experts
    are selected for every token: `rank`, `groups` and `select` work on the other
    columns alone, and the slots of a .. b-1 follow those of the selection.

    `run_time` names what the last stage operands are (`moe.routing_operand`):
    `bias` is added to the logits. Experts with `mask` 0 have the logit and, for
    selection, the rank -inf; those selected all the same leave their slots
    unused. At most the first `count` selected experts stay. `ids`, where they
    are not -2, replace what was selected, `always` included; their weights are
    those that the stages give them.

    Constraints:
    - (C1) every stage is of the kind of its place
    - (C2) every stage accepts the number of experts that it works on, and of slots
    - (C3) there are as many stage operands as stages ask for, as wide as the
      number of experts that the stage works on
    - (C4) a `weigh` stage that takes the weights of the selection stands with a
      `select` stage that makes some, without `always`
    - (C5) `always` is not empty, not all, and at one end of the pool
    - (C6) `run_time` names different fields of `moe.routing_operand`, not
      `weights`; the operands have their types
    - (C7) `count` stands with a selection in order of rank, `ids` with stages
      that can weigh any expert

    Example:
    ```mlir
    func.func @f(%z: tensor<?x8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
      %ids, %w = moe.route %z score(#moe.softmax) rank(#moe.by_score)
        select(#moe.top_k<2>) weigh(#moe.by_score_weight) renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>)
        : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
      return %ids, %w : tensor<?x2xi32>, tensor<?x2xf32>
    }
    ```
  }];
  let arguments = (ins Moe_Logits:$logits,
                       Variadic<AnyRankedTensor>:$stage_operands,
                       RoutingStageAttrInterface:$score,
                       RoutingStageAttrInterface:$rank,
                       OptionalAttr<RoutingStageAttrInterface>:$groups,
                       RoutingStageAttrInterface:$select,
                       RoutingStageAttrInterface:$weigh,
                       RoutingStageAttrInterface:$renorm,
                       RoutingStageAttrInterface:$scale,
                       OptionalAttr<RoutingStageAttrInterface>:$skip,
                       OptionalAttr<DenseI64ArrayAttr>:$always,
                       DefaultValuedAttr<I64Attr, "0">:$pool_start,
                       OptionalAttr<StrArrayAttr>:$run_time);
  let results = (outs AnyRankedTensor:$ids, AnyRankedTensor:$weights);
  let assemblyFormat = [{
    $logits (`operands` `(` $stage_operands^ `:` type($stage_operands) `)`)?
    `score` `(` $score `)` `rank` `(` $rank `)`
    (`groups` `(` $groups^ `)`)? `select` `(` $select `)`
    `weigh` `(` $weigh `)` `renorm` `(` $renorm `)` `scale` `(` $scale `)`
    (`skip` `(` $skip^ `)`)? (`always` `=` $always^)?
    (`pool_start` `=` $pool_start^)? (`run_time` `=` $run_time^)? attr-dict `:` type($logits) `->` type($ids)
    `,` type($weights)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The stages in the order in which they act.
    ::llvm::SmallVector<::moec::RoutingStageAttrInterface> getStages();
    /// What the last stage operands are, in order.
    ::llvm::SmallVector<::moec::RoutingField> getRunTimeFields();
    /// Whether the stages can weigh experts that they did not select.
    bool weighsAny() { return !getWeigh().takesGivenWeights(); }
    /// Number of logit columns.
    int64_t getPoolWidth() {
      return ::llvm::cast<::mlir::RankedTensorType>(getLogits().getType())
          .getDimSize(1);
    }
    /// Columns that selection works on.
    int64_t getSelectableWidth() {
      return getPoolWidth() - getNumAlways();
    }
    int64_t getNumAlways() {
      auto always = getAlways();
      return always && always->size() == 2 ? (*always)[1] - (*always)[0] : 0;
    }
  }];
}

def Moe_ProductKeysOp : Moe_RoutingOp<"product_keys", [InferTypeOpAdaptor]> {
  let summary = "routing by pairs of keys";
  let description = [{
    Experts stand in a table, and every row and every column of it has a key. The
    expert in row a and column b of C columns has the id a * C + b and the score
    logits[a] + columns[b]. The `k` experts with the largest scores are selected
    without looking at all: only the k best rows and columns can hold one.

    Of equal scores the one with the better row comes first, then the one
    with the better column; of equal logits the lower row or column is better.

    `weigh` says what the weights are: the `softmax` of the selected scores, the
    `sigmoid` of each, or `identity`, the scores themselves.

    Constraints:
    - (C1) there are at most 2^31 - 1 experts
    - (C2) k is at least 1 and at most their number
    - (C3) weigh is softmax, sigmoid or identity

    Example:
    ```mlir
    func.func @f(%z: tensor<?x8xf32>, %c: tensor<?x4xf32>) -> tensor<?x3xi32> {
      %ids, %w = moe.product_keys %z, %c k = 3 weigh = "softmax" : tensor<?x8xf32>, tensor<?x4xf32>
      return %ids : tensor<?x3xi32>
    }
    ```
  }];
  let arguments = (ins Moe_Logits:$logits, Moe_Logits:$columns, I64Attr:$k,
                       StrAttr:$weigh);
  let results = (outs AnyRankedTensor:$ids, AnyRankedTensor:$weights);
  let assemblyFormat = [{
    $logits `,` $columns `k` `=` $k `weigh` `=` $weigh attr-dict `:`
    type($logits) `,` type($columns)
  }];
  let hasVerifier = 1;
}

def Moe_SelectRoutingOp : Moe_RoutingOp<"select_routing",
    [AttrSizedOperandSegments]> {
  let summary = "one of several routings, by modality";
  let description = [{
    Token t takes the routing of the arm whose modality id is kinds[t]: its ids,
    raised by the arm's offset, and its weights. A token of another modality has
    no experts. Arms with fewer slots than the result leave the last ones unused.

    This is how modality groups share one expert table: each arm's experts are a
    range of it (contract 4.8).

    Constraints:
    - (C1) modalities, offsets, ids and weights have one element per arm, and
      modalities differ
    - (C2) ids and weights of an arm have the same number of slots, at most the
      result's

    Example:
    ```mlir
    func.func @f(%k: tensor<?xi8>, %i0: tensor<?x2xi32>, %w0: tensor<?x2xf32>,
                 %i1: tensor<?x2xi32>, %w1: tensor<?x2xf32>) -> tensor<?x2xi32> {
      %i, %w = moe.select_routing %k ids(%i0, %i1) weights(%w0, %w1)
        modalities = [0, 1] offsets = [0, 4] experts = 8
        : tensor<?xi8>, (tensor<?x2xi32>, tensor<?x2xi32>), (tensor<?x2xf32>, tensor<?x2xf32>)
        -> tensor<?x2xi32>, tensor<?x2xf32>
      return %i : tensor<?x2xi32>
    }
    ```
  }];
  let arguments = (ins AnyRankedTensor:$kinds,
                       Variadic<AnyRankedTensor>:$arm_ids,
                       Variadic<AnyRankedTensor>:$arm_weights,
                       DenseI64ArrayAttr:$modalities,
                       DenseI64ArrayAttr:$offsets, I64Attr:$experts);
  let results = (outs AnyRankedTensor:$ids, AnyRankedTensor:$weights);
  let assemblyFormat = [{
    $kinds `ids` `(` $arm_ids `)` `weights` `(` $arm_weights `)`
    `modalities` `=` $modalities `offsets` `=` $offsets `experts` `=` $experts
    attr-dict `:` type($kinds) `,` `(` type($arm_ids) `)` `,` `(`
    type($arm_weights) `)` `->`
    type($ids) `,` type($weights)
  }];
  let hasVerifier = 1;
}

#endif // MOEC_DIALECTS_MOE_MOEROUTINGOPS
