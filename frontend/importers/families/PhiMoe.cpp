//===- PhiMoe.cpp - Phi-3.5-MoE -------------------------------------------===//

#include "frontend/importers/ModelFamily.h"

using namespace moec::importers;

/// `layer_norm(x, "name.weight" + "name.bias", eps = eps)`.
static std::string layerNorm(const std::string &name) {
  return "layer_norm(x, \"" + name + ".weight\" + \"" + name +
         ".bias\", eps = eps)";
}

static void describe(Decoder &d) {
  ModelConfig &c = d.config;
  d.readCommon();
  d.dim("experts", c.size({"num_local_experts", "num_experts"}));
  d.dim("ffn", c.size("intermediate_size"));
  c.expect("num_experts_per_tok", int64_t(2));
  AttentionText attention;
  attention.qkvBias = attention.oBias = c.boolean("attention_bias", false);
  if (auto window = c.maybeInteger("sliding_window"))
    attention.mask = "window(" + spell(*window) + ")";
  RopeDefaults rope = RopeDefaults::withTheta(1e6);
  rope.shortMagnitudes = true;
  attention.rope = d.rope(rope);
  RouteText route;
  route.gate =
      "\"" + d.pick(0, {"block_sparse_moe.gate.weight", "mlp.router.weight"}) +
      "\"";
  route.score = "identity";
  // The "noise" is the width of the mask of sparse_mixer, also without
  // training.
  route.select =
      "sparse_mixer(2, eps = " + spell(c.real("router_jitter_noise", 0.01)) +
      ")";
  route.weigh = "sparse_mixer";
  ExpertsText experts;
  experts.act = d.activation("hidden_act");
  experts.places = {"block_sparse_moe.experts.", "mlp.experts."};
  d.layer("n = " + layerNorm("input_layernorm"));
  d.layer("x = x + " + d.attention(attention));
  d.layer("f = " + layerNorm("post_attention_layernorm"));
  d.layer("r = " + d.route(route));
  d.layer("x = x + " + d.experts(experts));
  d.finalNorm = layerNorm(d.prefix + "norm");
  if (c.boolean("lm_head_bias", false))
    d.headMap += " + \"lm_head.bias\"";
}

static FamilyRegistration registration(
    {{"phimoe"}, "sparse mixer routing, layer norms with biases", &describe});
