//===- Afmoe.cpp - Arcee's Trinity ----------------------------------------===//

#include "frontend/importers/DeepSeekParts.h"
#include "frontend/importers/ModelFamily.h"

#include <cmath>

using namespace moec::importers;

static void describe(Decoder &d) {
  ModelConfig &c = d.config;
  d.readCommon();
  c.expect("score_func", llvm::StringRef("sigmoid"));
  c.expect("route_norm", true);
  c.expect("attention_bias", false);
  // As DeepSeek's, without groups.
  c.expect("n_group", int64_t(1));
  c.expect("topk_group", int64_t(1));
  int64_t dense = c.integer("num_dense_layers", 1);
  int64_t every = c.size("global_attn_every_n_layers", 4);
  Schedule narrow = d.layerTypes("sliding_attention",
                                 Schedule::where(d.depth, [&](int64_t l) {
                                   return (l + 1) % every != 0;
                                 }));
  AttentionText attention;
  attention.mask = d.choose(
      narrow, "narrow", "window(" + spell(c.size("sliding_window", 1024)) + ")",
      "causal");
  attention.rope = d.choose(narrow, "narrow", d.rope(), "none");
  attention.more = d.qkNorms("head");
  attention.more.push_back("gate = \"self_attn.gate_proj.weight\"");

  SharedExpertLayers layers(
      Schedule::where(d.depth, [&](int64_t l) { return l >= dense; }));
  int64_t at = layers.sparse.first();
  layers.act = d.activation("hidden_act");
  layers.route = biasedSigmoidRoute(d, d.pick(at, {"mlp.router.gate.weight"}),
                                    "mlp.expert_bias");
  layers.route.f32 = false;
  layers.route.renorm = "sum(eps = 1e-20)";
  Schedule sparse = layers.sparse;
  FeedForwardText feed = sharedExpertFeedForward(d, layers);
  d.layer("n = " + d.norm("x", "input_layernorm.weight"));
  d.layer("a = " + d.attention(attention));
  d.layer("h = x + " + d.norm("a", "post_attention_layernorm.weight"));
  d.layer("f = " + d.norm("h", "pre_mlp_layernorm.weight"));
  d.layer(d.when(sparse, "sparse", feed.sparse + "y = " + feed.sparseValue,
                 "y = " + feed.denseValue));
  d.layer("x = h + " + d.norm("y", "post_mlp_layernorm.weight"));
  if (c.boolean("mup_enabled", false))
    d.embedding = "sqrt(" + spell(d.hidden) + ") * " + d.embedding;
}

static FamilyRegistration registration(
    {{"afmoe"},
     "gated attention, norms on both sides, layers without positions",
     &describe});
