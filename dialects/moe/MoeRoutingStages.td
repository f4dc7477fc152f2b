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
    ["getSlots", "verifyStage", "updateGuarantees"]> {
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
    ["getSlots", "verifyStage", "updateGuarantees"]> {
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

#endif // MOEC_DIALECTS_MOE_MOEROUTINGSTAGES
