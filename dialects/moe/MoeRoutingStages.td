//===- MoeRoutingStages.td - Stages of moe.route -----------*- tablegen -*-===//
//
// One definition per stage; moe/routing/ holds one source per stage or family.
// docs/guides/add-a-router.md shows how to add one.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_DIALECTS_MOE_MOEROUTINGSTAGES
#define MOEC_DIALECTS_MOE_MOEROUTINGSTAGES

include "dialects/moe/MoeBase.td"
include "dialects/interfaces/RoutingInterfaces.td"

class Moe_Stage<string name, string mnemonic, list<string> methods = []>
    : Moe_Attr<name, mnemonic,
        [DeclareAttrInterfaceMethods<RoutingStageAttrInterface, methods>]>;

//===----------------------------------------------------------------------===//
// score
//===----------------------------------------------------------------------===//

def Moe_SoftmaxStage : Moe_Stage<"SoftmaxStage", "softmax"> {
  let summary = "scores are the softmax of the logits";
  let description = [{
    exp(z - max z) / sum(exp(z - max z)) over the whole pool, before the
    selection. Example: `score(#moe.softmax)`
  }];
}
def Moe_SigmoidStage : Moe_Stage<"SigmoidStage", "sigmoid"> {
  let summary = "scores are the sigmoid of the logits";
  let description = [{
    1 / (1 + exp(-z)), as in DeepSeek-V3 (arXiv:2412.19437).
    Example: `score(#moe.sigmoid)`
  }];
}
def Moe_IdentityStage : Moe_Stage<"IdentityStage", "identity"> {
  let summary = "scores are the logits";
  let description = [{
    For gates that weigh by a softmax of the selected logits. Example:
    `score(#moe.identity)`
  }];
}

def Moe_SqrtSoftplusStage : Moe_Stage<"SqrtSoftplusStage", "sqrt_softplus"> {
  let summary = "scores are the root of the softplus of the logits";
  let description = [{
    sqrt(log(1 + exp(z))), as in DeepSeek-V4.
    Example: `score(#moe.sqrt_softplus)`
  }];
}

//===----------------------------------------------------------------------===//
// rank
//===----------------------------------------------------------------------===//

def Moe_ByScoreStage : Moe_Stage<"ByScoreStage", "by_score"> {
  let summary = "selection looks at the scores";
  let description = [{Example: `rank(#moe.by_score)`}];
}
def Moe_BiasedScoreStage : Moe_Stage<"BiasedScoreStage", "biased_score",
    ["getOperandName"]> {
  let summary = "selection looks at score + bias";
  let description = [{
    The bias, a weight of the pool's width, moves selection and never the
    weights: balancing without an auxiliary loss (arXiv:2408.15664).
    Example: `rank(#moe.biased_score)`
  }];
}
def Moe_ByValueStage : Moe_Stage<"ByValueStage", "by_value",
    ["getOperandName"]> {
  let summary = "selection looks at a value";
  let description = [{
    The operand has the pool's width. Example: `rank(#moe.by_value)`
  }];
}

//===----------------------------------------------------------------------===//
// groups
//===----------------------------------------------------------------------===//

def Moe_GroupsStage : Moe_Stage<"GroupsStage", "groups",
    ["verifyStage"]> {
  let summary = "selection looks at the best groups of experts only";
  let description = [{
    The pool is cut into `groups` equal groups of consecutive experts. The
    `keep` groups of the highest statistic stay (ties go to the lower group); the
    rank of experts outside them becomes `outside`, "-inf" or "0" (semantics.md
    1.10: "0" can still win where ranks are negative). The statistic is the
    largest rank of the group, `by = "max"`, or the sum of its two largest,
    `by = "top2_sum"`. Example:
    `groups(#moe.groups<8, keep = 4, by = "top2_sum", outside = "-inf">)`
  }];
  let parameters = (ins "int64_t":$groups, "int64_t":$keep,
                        "::mlir::StringAttr":$by, "::mlir::StringAttr":$outside);
  let assemblyFormat = [{
    `<` $groups `,` `keep` `=` $keep `,` `by` `=` $by `,` `outside` `=` $outside
    `>`
  }];
}

//===----------------------------------------------------------------------===//
// select
//===----------------------------------------------------------------------===//

def Moe_TopKStage : Moe_Stage<"TopKStage", "top_k",
    ["getSlots", "verifyStage", "updateGuarantees", "ordersSlots"]> {
  let summary = "the k experts of the highest rank";
  let description = [{
    In descending order of rank; ties go to the lower id. k is at least 1 and at
    most the pool. Example: `select(#moe.top_k<2>)`
  }];
  let parameters = (ins "int64_t":$k);
  let assemblyFormat = "`<` $k `>`";
}
def Moe_AllStage : Moe_Stage<"AllStage", "all",
    ["getSlots", "updateGuarantees"]> {
  let summary = "every expert of the pool, in order of id";
  let description = [{Dense mixtures. Example: `select(#moe.all)`}];
}

def Moe_TopPStage : Moe_Stage<"TopPStage", "top_p",
    ["getSlots", "verifyStage", "updateGuarantees", "ordersSlots"]> {
  let summary = "as many of the best experts as reach a share p";
  let description = [{
    Experts in descending order of rank, ties to the lower id, with running sums
    c. `until = "crossing"` keeps them up to and including the first whose sum is
    above p (all, if none is); `until = "count_below"` keeps one more than there
    are sums below p. They differ only where a sum equals p (semantics.md 1.7).
    One slot per expert of the pool; slots that are not kept hold -1. Example:
    `select(#moe.top_p<0.4, until = "crossing">)`
  }];
  let parameters = (ins "::mlir::FloatAttr":$p, "::mlir::StringAttr":$until);
  let assemblyFormat = "`<` custom<Number>($p) `,` `until` `=` $until `>`";
}

def Moe_ThresholdStage : Moe_Stage<"ThresholdStage", "threshold",
    ["getSlots", "verifyStage", "updateGuarantees", "ordersSlots"]> {
  let summary = "the experts of a rank above a number";
  let description = [{
    Experts of a rank strictly above `t` in descending order of rank, ties to
    the lower id, and as many of the best ones as make `at_least`. One slot per
    expert of the pool; slots that are not kept hold -1. Example:
    `select(#moe.threshold<0.5, at_least = 1>)`
  }];
  let parameters = (ins "::mlir::FloatAttr":$t, "int64_t":$at_least);
  let assemblyFormat = "`<` custom<Number>($t) `,` `at_least` `=` $at_least `>`";
}

def Moe_FixedStage : Moe_Stage<"FixedStage", "fixed",
    ["getSlots", "verifyStage", "updateGuarantees"]> {
  let summary = "one expert, whatever the rank";
  let description = [{
    The expert of column `id` of the pool. Example: `select(#moe.fixed<3>)`
  }];
  let parameters = (ins "int64_t":$id);
  let assemblyFormat = "`<` $id `>`";
}

def Moe_HashStage : Moe_Stage<"HashStage", "hash",
    ["getSlots", "verifyStage", "updateGuarantees", "getOperandName",
     "acceptsOperandWidth", "readsIds"]> {
  let summary = "the experts that a table has for the token";
  let description = [{
    The operand holds k columns of the pool for each token, looked up by its id
    (`moe.table_rows`); one that the pool does not have leaves its slot unused.
    Hash layers of DeepSeek-V4. Example: `select(#moe.hash<6>)`
  }];
  let parameters = (ins "int64_t":$k);
  let assemblyFormat = "`<` $k `>`";
}

def Moe_SparseMixerStage : Moe_Stage<"SparseMixerStage", "sparse_mixer",
    ["getSlots", "verifyStage", "updateGuarantees", "givesWeights",
     "ordersSlots"]> {
  let summary = "the best expert k times, weighed among its near rivals";
  let description = [{
    SparseMixer (arXiv:2409.12136) as at inference. k times: with m the largest
    rank r among the experts not chosen yet, its expert (ties to the lower id) is
    chosen; its rivals are the experts not chosen yet, itself among them, but
    those with (m - r) / max(|r|, m) > 2 eps; its weight is that of a softmax of
    the ranks of the rivals. (Codes with |m| for m give the same: where m is
    negative, |r| is at least |m|.) The weights are those of
    `weigh(#moe.sparse_mixer_weight)`; they sum to up to k. Example:
    `select(#moe.sparse_mixer<2, eps = 0.01>)`
  }];
  let parameters = (ins "int64_t":$k, "::mlir::FloatAttr":$eps);
  let assemblyFormat = "`<` $k `,` `eps` `=` custom<Number>($eps) `>`";
}

//===----------------------------------------------------------------------===//
// weigh
//===----------------------------------------------------------------------===//

def Moe_ByScoreWeightStage : Moe_Stage<"ByScoreWeightStage", "by_score_weight"> {
  let summary = "weights are the scores of the selected experts";
  let description = [{Example: `weigh(#moe.by_score_weight)`}];
}
def Moe_SelectedSoftmaxStage : Moe_Stage<"SelectedSoftmaxStage",
    "selected_softmax", ["updateGuarantees"]> {
  let summary = "weights are the softmax of the selected logits";
  let description = [{
    exp(z - max z) / sum(exp(z - max z)) over the selected experts, as in
    Mixtral (arXiv:2401.04088). Example: `weigh(#moe.selected_softmax)`
  }];
}
def Moe_SelectedSigmoidStage : Moe_Stage<"SelectedSigmoidStage",
    "selected_sigmoid"> {
  let summary = "weights are the sigmoid of the selected logits";
  let description = [{Example: `weigh(#moe.selected_sigmoid)`}];
}
def Moe_OneStage : Moe_Stage<"OneStage", "one"> {
  let summary = "every weight is 1";
  let description = [{Example: `weigh(#moe.one)`}];
}

def Moe_SparseMixerWeightStage : Moe_Stage<"SparseMixerWeightStage",
    "sparse_mixer_weight", ["takesGivenWeights"]> {
  let summary = "weights are those that the selection made";
  let description = [{
    Goes with `select(#moe.sparse_mixer)`.
    Example: `weigh(#moe.sparse_mixer_weight)`
  }];
}

//===----------------------------------------------------------------------===//
// renorm
//===----------------------------------------------------------------------===//

def Moe_NoRenormStage : Moe_Stage<"NoRenormStage", "no_renorm"> {
  let summary = "weights stay as they are";
  let description = [{Example: `renorm(#moe.no_renorm)`}];
}
def Moe_SumRenormStage : Moe_Stage<"SumRenormStage", "sum_renorm",
    ["updateGuarantees"]> {
  let summary = "weights are divided by their sum plus eps";
  let description = [{
    w / (sum w + eps), over the slots of a token; eps guards a sum of zero.
    Example: `renorm(#moe.sum_renorm<1.0e-20>)`
  }];
  let parameters = (ins "::mlir::FloatAttr":$eps);
  let assemblyFormat = "`<` custom<Number>($eps) `>`";
}
def Moe_AtLeastRenormStage : Moe_Stage<"AtLeastRenormStage", "at_least_renorm"> {
  let summary = "weights are divided by their sum, at least by a number";
  let description = [{
    w / max(sum w, m), as in ERNIE 4.5.
    Example: `renorm(#moe.at_least_renorm<1.0e-12>)`
  }];
  let parameters = (ins "::mlir::FloatAttr":$m);
  let assemblyFormat = "`<` custom<Number>($m) `>`";
}
def Moe_NormRenormStage : Moe_Stage<"NormRenormStage", "norm_renorm"> {
  let summary = "weights are divided by their norm";
  let description = [{
    w / (sum |w|^p)^(1/p) for a positive p, as in DBRX.
    Example: `renorm(#moe.norm_renorm<2.0>)`
  }];
  let parameters = (ins "::mlir::FloatAttr":$p);
  let assemblyFormat = "`<` custom<Number>($p) `>`";
}

//===----------------------------------------------------------------------===//
// scale
//===----------------------------------------------------------------------===//

def Moe_FactorStage : Moe_Stage<"FactorStage", "factor",
    ["updateGuarantees"]> {
  let summary = "weights are multiplied by a number";
  let description = [{Example: `scale(#moe.factor<2.5>)`}];
  let parameters = (ins "::mlir::FloatAttr":$value);
  let assemblyFormat = "`<` custom<Number>($value) `>`";
}
def Moe_FactorsStage : Moe_Stage<"FactorsStage", "factors",
    ["updateGuarantees", "getOperandName", "acceptsOperandWidth"]> {
  let summary = "weights are multiplied by stored or computed numbers";
  let description = [{
    The operand is one wide, or of the pool's width: then each weight is
    multiplied by the number of its expert, as in Gemma 4.
    Example: `scale(#moe.factors)`
  }];
}

//===----------------------------------------------------------------------===//
// skip
//===----------------------------------------------------------------------===//

class Moe_SkipStage<string name, string mnemonic>
    : Moe_Stage<name, mnemonic, ["verifyStage", "updateGuarantees"]> {
  let assemblyFormat = "`<` custom<Number>($limit) `,` `renorm` `=` $renorm `>`";
  let parameters = (ins "::mlir::FloatAttr":$limit, "::mlir::StringAttr":$renorm);
}
def Moe_RatioSkipStage : Moe_SkipStage<"RatioSkipStage", "ratio_skip"> {
  let summary = "drops weights far below the largest";
  let description = [{
    Slots with w < limit * (the largest weight of the token) become unused.
    `renorm = "sum"` divides the rest by its sum, "none" does not (arXiv:2402.14800).
    Example: `skip(#moe.ratio_skip<0.4, renorm = "sum">)`
  }];
}
def Moe_BelowSkipStage : Moe_SkipStage<"BelowSkipStage", "below_skip"> {
  let summary = "drops weights below a number";
  let description = [{
    Slots with w < limit become unused, perhaps all of a token. `renorm` is that of
    `#moe.ratio_skip`. Example: `skip(#moe.below_skip<0.1, renorm = "none">)`
  }];
}

#endif // MOEC_DIALECTS_MOE_MOEROUTINGSTAGES
