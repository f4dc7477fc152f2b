//===- Glm4Moe.cpp - GLM-4.5, dots.llm1, Solar, EXAONE, Hunyuan 3 ---------===//
//
// Grouped-query attention before the feed-forward part of DeepSeek-V3.
//
//===----------------------------------------------------------------------===//

#include "frontend/importers/DeepSeekParts.h"
#include "frontend/importers/ModelFamily.h"

using namespace moec::importers;

static SharedExpertLayers feedForward(Decoder &d, const Schedule &sparse,
                                      const std::string &bias) {
  SharedExpertLayers layers(sparse);
  layers.act = d.activation("hidden_act");
  layers.route = biasedSigmoidRoute(d, "mlp.gate.weight", bias);
  return layers;
}

/// A layer whose networks have the names that DeepSeek-V3's have.
static void writeLayer(Decoder &d, const AttentionText &attention,
                       const Schedule &sparse) {
  d.preNormLayer(
      d.attention(attention),
      sharedExpertStatements(
          d, feedForward(d, sparse, "mlp.gate.e_score_correction_bias")));
}

static void glm(Decoder &d) {
  ModelConfig &c = d.config;
  d.readCommon();
  d.ignoreExtraLayers({"num_nextn_predict_layers", "num_mtp_layers"});
  AttentionText attention;
  attention.qkvBias = c.boolean("attention_bias", false);
  RopeDefaults rope;
  rope.partial = 0.5;
  rope.takesPartial = true;
  attention.rope = d.rope(rope);
  if (c.boolean("use_qk_norm", false))
    attention.more = d.qkNorms("head");
  writeLayer(d, attention, layersWithExperts(d));
}

static void dots(Decoder &d) {
  ModelConfig &c = d.config;
  d.readCommon();
  AttentionText attention;
  attention.qkvBias = attention.oBias = c.boolean("attention_bias", false);
  attention.rope = d.rope();
  attention.more = d.qkNorms("head");
  int64_t first = c.integer("max_window_layers", 62);
  bool mayHave = c.has("sliding_window") || !c.mentions("sliding_window");
  Schedule narrow = d.layerTypes("sliding_attention",
                                 Schedule::where(d.depth, [&](int64_t l) {
                                   return mayHave && l >= first;
                                 }));
  attention.mask = d.choose(
      narrow, "narrow", "window(" + spell(c.size("sliding_window", 4096)) + ")",
      "causal");
  writeLayer(d, attention, layersWithExperts(d));
}

static void solar(Decoder &d) {
  ModelConfig &c = d.config;
  d.readCommon();
  d.ignoreExtraLayers("num_nextn_predict_layers");
  AttentionText attention;
  attention.qkvBias = c.boolean("attention_bias", false);
  RopeDefaults rope;
  rope.theta = 1e6;
  rope.takesPartial = true;
  attention.rope = d.rope(rope);
  writeLayer(d, attention, d.allLayers());
}

/// Global layers have no positions where others have windows.
static void exaone(Decoder &d) {
  ModelConfig &c = d.config;
  d.readCommon();
  d.ignoreExtraLayers("num_nextn_predict_layers");
  AttentionText attention;
  attention.more = d.qkNorms("head");
  std::string rope = d.rope();
  bool windows = c.has("sliding_window") || !c.mentions("sliding_window");
  int64_t window = c.size("sliding_window", 4096);
  int64_t every = c.integer("sliding_window_pattern", 4);
  if (every < 1)
    every = d.depth + 1;
  Schedule narrow = d.layerTypes("sliding_attention",
                                 Schedule::where(d.depth, [&](int64_t l) {
                                   return windows && (l + 1) % every != 0;
                                 }));
  attention.rope = windows ? d.choose(narrow, "narrow", rope, "none") : rope;
  attention.mask =
      d.choose(narrow, "narrow", "window(" + spell(window) + ")", "causal");
  Schedule sparse = layersWithExperts(d);
  std::string bias =
      d.pick(sparse.first(), {"mlp.e_score_correction_bias",
                              "mlp.gate.e_score_correction_bias"});
  d.preNormLayer(d.attention(attention),
                 sharedExpertStatements(d, feedForward(d, sparse, bias)));
}

/// Names differ between what was published and what transformers 5 saves.
static void hunyuan(Decoder &d) {
  ModelConfig &c = d.config;
  d.readCommon();
  d.ignoreExtraLayers({"num_nextn_predict_layers", "num_mtp_layers"});
  c.expect("mlp_bias", false);
  // The sum with the shared experts is f32 in any case.
  c.neutral("enable_moe_fp32_combine");
  AttentionText attention;
  attention.qkvBias = attention.oBias = c.boolean("attention_bias", false);
  attention.rope = d.rope(RopeDefaults::withTheta(11158840));
  attention.more = d.qkNorms("head");
  SharedExpertLayers layers(layersWithExperts(d, /*denseByDefault=*/1));
  int64_t at = layers.sparse.first();
  layers.act = d.activation("hidden_act");
  layers.route = biasedSigmoidRoute(
      d, d.pick(at, {"mlp.router.gate.weight", "mlp.gate.weight"}),
      d.pick(at, {"mlp.expert_bias", "mlp.e_score_correction_bias"}));
  if (!d.hasInLayer(at, "mlp.shared_experts.gate_proj.weight"))
    layers.sharedAt = "mlp.shared_mlp.";
  d.preNormLayer(d.attention(attention), sharedExpertStatements(d, layers));
}

static FamilyRegistration hunyuanFamily(
    {{"hy_v3"}, "norms of q and k, a bias that selects", &hunyuan});
static FamilyRegistration
    glmFamily({{"glm4_moe"}, "rotary positions on a part of each head", &glm});
static FamilyRegistration
    dotsFamily({{"dots1"}, "norms of q and k, sliding windows", &dots});
static FamilyRegistration
    solarFamily({{"solar_open"}, "no dense layer", &solar});
static FamilyRegistration exaoneFamily({{"exaone_moe"},
                                        "windows, and layers without positions",
                                        &exaone});
