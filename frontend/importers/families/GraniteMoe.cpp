//===- GraniteMoe.cpp - Granite MoE, also with shared experts -------------===//

#include "frontend/importers/ModelFamily.h"

using namespace moec::importers;

/// `m * value`, or the value alone.
static std::string times(double m, const std::string &value) {
  return m == 1 ? value : spell(m) + " * " + value;
}

/// Sinks, windows, and a theta for each layer, where 0 means no positions.
static void windows(Decoder &d, AttentionText &attention) {
  ModelConfig &c = d.config;
  attention.more.push_back("sinks = \"self_attn.sinks\"");
  Schedule narrow = d.layerTypes(
      "sliding_attention",
      Schedule::where(d.depth, [](int64_t l) { return l % 4 != 0; }));
  attention.mask = d.choose(
      narrow, "narrow", "window(" + spell(c.size("sliding_window", 128)) + ")",
      "causal");
  std::vector<double> thetas = c.reals("layer_rope_theta");
  if (thetas.empty())
    return;
  if (static_cast<int64_t>(thetas.size()) != d.depth) {
    c.unsupported("layer_rope_theta", "'layer_rope_theta' must have " +
                                          llvm::Twine(d.depth) + " entries");
    return;
  }
  std::string list;
  for (double theta : thetas)
    list += (list.empty() ? "" : ", ") + spell(theta == 0 ? 1.0 : theta);
  std::string &rope = attention.rope;
  size_t end = rope.find(',');
  rope = "rope(theta = " + d.constant("theta", "[" + list + "]") + "[l]" +
         rope.substr(end);
  rope = d.choose(
      Schedule::where(d.depth, [&](int64_t l) { return thetas[l] != 0; }),
      "rotary", rope, "none");
}

static void describe(Decoder &d, bool hasWindows) {
  ModelConfig &c = d.config;
  d.readCommon();
  d.dim("experts", c.size({"num_local_experts", "num_experts"}));
  d.dim("ffn", c.size("intermediate_size"));
  AttentionText attention;
  attention.qkvBias = attention.oBias = c.boolean("attention_bias", false);
  attention.rope = d.rope();
  attention.more = {"scale = " + spell(c.real("attention_multiplier", 1.0))};
  if (hasWindows)
    windows(d, attention);
  RouteText route;
  route.gate = "\"" +
               d.pick(0, {"block_sparse_moe.router.layer.weight",
                          "block_sparse_moe.router.weight"}) +
               "\"";
  route.score = "identity";
  route.select = "top_k(" + spell(c.size("num_experts_per_tok")) + ")";
  route.weigh = "softmax(logits)";
  ExpertsText experts;
  experts.act = d.activation("hidden_act");
  experts.places = {"block_sparse_moe.", "block_sparse_moe.experts."};
  std::string feed = d.experts(experts);
  if (int64_t shared = c.integer("shared_intermediate_size", 0)) {
    d.dim("shared_ffn", shared);
    feed = "(" + feed + " + glu(f, act = " + experts.act +
           ", width = shared_ffn, gate = "
           "\"shared_mlp.input_linear.weight\"[0:shared_ffn], up = "
           "\"shared_mlp.input_linear.weight\"[shared_ffn:2 * shared_ffn], "
           "down = \"shared_mlp.output_linear.weight\"))";
  }
  double residual = c.real("residual_multiplier", 1.0);
  d.layer("n = " + d.norm("x", "input_layernorm.weight"));
  d.layer("x = x + " + times(residual, d.attention(attention)));
  d.layer("f = " + d.norm("x", "post_attention_layernorm.weight"));
  d.layer("r = " + d.route(route));
  d.layer("x = x + " + times(residual, feed));
  d.embedding = times(c.real("embedding_multiplier", 1.0), d.embedding);
  double scaling = c.real("logits_scaling", 1.0);
  if (scaling != 1)
    d.logits = "$head / " + spell(scaling);
}

static void plain(Decoder &d) { describe(d, /*hasWindows=*/false); }
static void windowed(Decoder &d) { describe(d, /*hasWindows=*/true); }

static FamilyRegistration
    registration({{"granitemoe", "granitemoeshared"},
                  "multipliers of embeddings, scores, residuals and logits",
                  &plain});
static FamilyRegistration
    windowFamily({{"granitemoe_swa"},
                  "the same with sinks, windows and a theta for each layer",
                  &windowed});
