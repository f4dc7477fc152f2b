//===- Cohere2Moe.cpp - Command A with experts ----------------------------===//

#include "frontend/importers/DeepSeekParts.h"
#include "frontend/importers/ModelFamily.h"

using namespace moec::importers;

/// Rotary positions where there is a window, and in dense layers at the front
/// if these have none.
static void positions(Decoder &d, AttentionText &attention, int64_t dense,
                      const Schedule &sparse) {
  ModelConfig &c = d.config;
  int64_t first = c.size("prefix_dense_sliding_window_pattern", 1);
  int64_t every = c.size("sliding_window_pattern", 4);
  Schedule narrow = d.layerTypes(
      "sliding_attention", Schedule::where(d.depth, [&](int64_t l) {
        return l < dense ? (l + 1) % first != 0 : (l - dense + 1) % every != 0;
      }));
  Schedule rotary = Schedule::where(d.depth, [&](int64_t l) {
    return narrow[l] || (!sparse[l] && first == 1);
  });
  RopeDefaults rope;
  rope.style = "pairs";
  attention.rope = d.choose(rotary, "rotary", d.rope(rope), "none");
  attention.mask = d.choose(
      narrow, "narrow", "window(" + spell(c.size("sliding_window", 4096)) + ")",
      "causal");
}

static RouteText routing(Decoder &d) {
  ModelConfig &c = d.config;
  RouteText route;
  route.input = "n";
  route.score = "identity";
  route.select = "top_k(" + spell(c.size("num_experts_per_tok", 2)) + ")";
  std::string kind = c.word("expert_selection_fn", "softmax");
  bool renormalise = c.boolean("norm_topk_prob", true);
  if (kind != "softmax" && kind != "sigmoid")
    c.unsupported("expert_selection_fn", "'expert_selection_fn' must be "
                                         "'softmax' or 'sigmoid', found '" +
                                             kind + "'");
  route.weigh = kind + "(logits)";
  if (kind == "sigmoid" && renormalise)
    route.renorm = "sum";
  return route;
}

static std::string experts(Decoder &d, int64_t layer, const std::string &act) {
  ModelConfig &c = d.config;
  int64_t width = c.size("intermediate_size");
  d.dim("experts", c.size({"num_experts", "num_local_experts"}));
  d.dim("ffn", width);
  ExpertsText text;
  text.layer = layer;
  text.input = "n";
  text.act = act;
  std::string value = d.experts(text);
  int64_t count = c.integer("num_shared_experts", 0);
  std::string how = c.word("shared_expert_combination_strategy", "average");
  if (how != "average" && how != "sum")
    c.unsupported("shared_expert_combination_strategy",
                  "'shared_expert_combination_strategy' must be 'average' or "
                  "'sum', found '" +
                      how + "'");
  if (count == 0)
    return value;
  GluText shared;
  shared.input = "n";
  shared.act = act;
  shared.at = "mlp.shared_experts.";
  shared.width = d.dim("shared_ffn", count * width);
  value += " + " + d.glu(shared);
  return how == "sum" ? value : "(" + value + ") / 2";
}

static void describe(Decoder &d) {
  ModelConfig &c = d.config;
  d.readCommon(/*tiedByDefault=*/true);
  int64_t dense = c.integer("first_k_dense_replace", 0);
  Schedule sparse = layersWithExperts(d);
  std::string act = d.activation("hidden_act");
  AttentionText attention;
  attention.qkvBias = attention.oBias = c.boolean("attention_bias", false);
  positions(d, attention, dense, sparse);
  // One norm for attention and feed-forward part.
  c.neutral({"rms_norm_eps", "layer_norm_eps"});
  std::string norm = c.has("rms_norm_eps") ? "rms_norm" : "layer_norm";
  auto normed = [&](const std::string &name) {
    return norm + "(x, \"" + name + "\", eps = eps)";
  };
  GluText mlp;
  mlp.input = "n";
  mlp.act = act;
  if (sparse.all())
    c.neutral("prefix_dense_intermediate_size");
  else
    mlp.width = d.dim("dense_ffn", c.size("prefix_dense_intermediate_size",
                                          c.size("intermediate_size")));
  std::string routed;
  RouteText route = routing(d);
  if (!sparse.none())
    routed =
        "r = " + d.route(route) + "\ny = " + experts(d, sparse.first(), act);
  d.layer("n = " + normed("input_layernorm.weight"));
  d.layer(d.when(sparse, "sparse", routed, "y = " + d.glu(mlp)));
  d.layer("x = x + " + d.attention(attention) + " + y");
  d.finalNorm = normed(d.prefix + "norm.weight");
  double scale = c.real("logit_scale", 0.0625);
  if (scale != 1)
    d.logits = spell(scale) + " * $head";
}

static FamilyRegistration
    registration({{"cohere2_moe"},
                  "attention and experts in parallel, layers without positions",
                  &describe});
