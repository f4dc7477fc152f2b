//===- Llama.cpp - Dense decoders -----------------------------------------===//

#include "frontend/importers/ModelFamily.h"

using namespace moec::importers;

/// Layers with a window: Qwen's rule without `layer_types`.
static std::string qwenMask(Decoder &d) {
  ModelConfig &c = d.config;
  bool windows = c.boolean("use_sliding_window", false);
  int64_t first = c.integer("max_window_layers", 28);
  Schedule narrow = d.layerTypes("sliding_attention",
                                 Schedule::where(d.depth, [&](int64_t l) {
                                   return windows && l >= first;
                                 }));
  if (narrow.none()) {
    c.neutral("sliding_window");
    return "causal";
  }
  return d.choose(narrow, "narrow",
                  "window(" + spell(c.size("sliding_window")) + ")", "causal");
}

static void describe(Decoder &d, AttentionText attention, GluText mlp) {
  d.dim("ffn", d.config.size("intermediate_size"));
  mlp.act = d.activation("hidden_act");
  attention.rope = d.rope();
  d.layer("n = " + d.norm("x", "input_layernorm.weight"));
  d.layer("x = x + " + d.attention(attention));
  d.layer("f = " + d.norm("x", "post_attention_layernorm.weight"));
  d.layer("x = x + " + d.glu(mlp));
}

static void llama(Decoder &d) {
  d.readCommon();
  AttentionText attention;
  attention.qkvBias = attention.oBias =
      d.config.boolean("attention_bias", false);
  GluText mlp;
  mlp.bias = d.config.boolean("mlp_bias", false);
  describe(d, attention, mlp);
}

static void mistral(Decoder &d) {
  d.readCommon();
  AttentionText attention;
  // Only null means that there is none.
  if (d.config.has("sliding_window") || !d.config.mentions("sliding_window"))
    attention.mask =
        "window(" + spell(d.config.size("sliding_window", 4096)) + ")";
  else
    d.config.neutral("sliding_window");
  describe(d, attention, {});
}

static void qwen2(Decoder &d) {
  d.readCommon();
  AttentionText attention;
  attention.qkvBias = true;
  attention.mask = qwenMask(d);
  describe(d, attention, {});
}

static void qwen3(Decoder &d) {
  d.readCommon();
  AttentionText attention;
  attention.qkvBias = attention.oBias =
      d.config.boolean("attention_bias", false);
  attention.mask = qwenMask(d);
  attention.more = d.qkNorms("head");
  describe(d, attention, {});
}

static FamilyRegistration llamaFamily({{"llama"}, "dense", &llama});
static FamilyRegistration
    mistralFamily({{"mistral"}, "dense, sliding window", &mistral});
static FamilyRegistration
    qwen2Family({{"qwen2"}, "dense, biases of q, k and v", &qwen2});
static FamilyRegistration
    qwen3Family({{"qwen3"}, "dense, norms of q and k in each head", &qwen3});
