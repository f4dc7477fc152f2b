//===- Llama4.cpp - Llama 4, its decoder of text --------------------------===//

#include "frontend/importers/ModelFamily.h"

#include "llvm/ADT/STLExtras.h"

using namespace moec::importers;

/// Layers with experts: a list, or every n-th.
static Schedule sparseLayers(Decoder &d) {
  ModelConfig &c = d.config;
  int64_t step = c.size("interleave_moe_layer_step", 1);
  if (!c.has("moe_layers"))
    return Schedule::where(d.depth,
                           [&](int64_t l) { return (l + 1) % step == 0; });
  std::vector<int64_t> list = c.integers("moe_layers");
  return Schedule::where(
      d.depth, [&](int64_t l) { return llvm::is_contained(list, l); });
}

/// Layers with rotary positions. The key's name says the opposite.
static Schedule rotaryLayers(Decoder &d) {
  ModelConfig &c = d.config;
  int64_t step = c.size("no_rope_layer_interval", 4);
  std::vector<int64_t> list = c.integers("no_rope_layers");
  if (!list.empty() && static_cast<int64_t>(list.size()) != d.depth)
    c.unsupported("no_rope_layers", "'no_rope_layers' must have " +
                                        llvm::Twine(d.depth) + " entries");
  return Schedule::where(d.depth, [&](int64_t l) {
    if (l < static_cast<int64_t>(list.size()))
      return list[l] != 0;
    return (l + 1) % step != 0;
  });
}

static std::string attention(Decoder &d) {
  ModelConfig &c = d.config;
  Schedule rotary = rotaryLayers(d);
  std::optional<int64_t> chunk = c.maybeInteger("attention_chunk_size");
  if (!c.mentions("attention_chunk_size"))
    chunk = 8192;
  Schedule chunked =
      d.layerTypes("chunked_attention", chunk ? rotary : d.noLayer());
  AttentionText with;
  with.qkvBias = with.oBias = c.boolean("attention_bias", false);
  with.mask = d.choose(chunked, "chunked",
                       "chunked(" + spell(chunk.value_or(1)) + ")", "causal");
  AttentionText without = with;
  RopeDefaults rope = RopeDefaults::withTheta(5e5);
  rope.style = "pairs";
  with.rope = d.rope(rope);
  // Where the two kinds of layers agree, each branch needs one mask only.
  if (chunked == rotary && !rotary.all() && !rotary.none()) {
    with.mask = "chunked(" + spell(*chunk) + ")";
    without.mask = "causal";
  }
  if (c.boolean("use_qk_norm", true))
    with.more = {"q_norm = rms_norm(eps = eps, over = head)",
                 "k_norm = rms_norm(eps = eps, over = head)",
                 "norm_after_rope = true"};
  double floor = c.real("floor_scale", 8192), scale = c.real("attn_scale", 0.1);
  if (c.boolean("attn_temperature_tuning", true))
    without.more = {"q_scale = temperature(floor = " + spell(floor) +
                    ", scale = " + spell(scale) + ")"};
  return d.when(rotary, "rotary", "a = " + d.attention(with),
                "a = " + d.attention(without));
}

static void describe(Decoder &d) {
  ModelConfig &c = d.config;
  d.readCommon();
  d.dim("experts", c.size({"num_local_experts", "num_experts"}));
  d.dim("ffn", c.size("intermediate_size"));
  std::string act = d.activation("hidden_act");
  Schedule sparse = sparseLayers(d);
  RouteText route;
  route.gate = "\"feed_forward.router.weight\"";
  route.score = "identity";
  route.select = "top_k(" + spell(c.size("num_experts_per_tok", 1)) + ")";
  route.weigh = "sigmoid(logits)";
  GluText shared, dense;
  shared.act = dense.act = act;
  shared.at = "feed_forward.shared_expert.";
  dense.at = "feed_forward.";
  c.neutral("intermediate_size_mlp");
  if (!sparse.all())
    dense.width = d.dim("dense_ffn", c.size("intermediate_size_mlp"));
  std::string routed;
  if (!sparse.none()) {
    ExpertsText experts;
    experts.layer = sparse.first();
    experts.act = act;
    experts.places = {"feed_forward.experts."};
    experts.transposedIfSquare = true;
    experts.more = {"apply = input"};
    routed = "r = " + d.route(route) + "\nx = x + " + d.experts(experts) +
             " + " + d.glu(shared);
  }
  d.layer("n = " + d.norm("x", "input_layernorm.weight"));
  d.layer(attention(d));
  d.layer("x = x + a");
  d.layer("f = " + d.norm("x", "post_attention_layernorm.weight"));
  d.layer(d.when(sparse, "sparse", routed, "x = x + " + d.glu(dense)));
}

static FamilyRegistration registration(
    {{"llama4_text"},
     "weights on the inputs of experts, chunked attention, layers without "
     "positions",
     &describe});
