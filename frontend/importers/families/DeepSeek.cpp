//===- DeepSeek.cpp - DeepSeek-V2, DeepSeek-V3 and Kimi-K2 ----------------===//

#include "frontend/importers/DeepSeekParts.h"
#include "frontend/importers/ModelFamily.h"

#include <cmath>

using namespace moec::importers;

/// Both norms of latents have their own epsilon, whatever the model's is.
static std::string attention(Decoder &d, llvm::StringRef style) {
  ModelConfig &c = d.config;
  int64_t rotated = c.size("qk_rope_head_dim");
  c.expect("num_key_value_heads", d.heads);
  c.neutral({"head_dim", "qk_head_dim"});
  MlaText mla;
  mla.eps = "1e-6";
  mla.bias = c.boolean("attention_bias", false);
  RopeDefaults rope;
  rope.style = style;
  rope.dims = rotated;
  mla.rope = d.rope(rope);
  if (d.yarnScale != 1)
    mla.scale = spell(d.yarnScale) + " / sqrt(" +
                spell(c.size("qk_nope_head_dim") + rotated) + ")";
  return d.mla(mla);
}

/// The feed-forward part reads `f`; `norm` is the name of one on its result.
static void biased(Decoder &d, int64_t denseByDefault,
                   const std::string &norm = "") {
  ModelConfig &c = d.config;
  bool pairs = c.boolean("rope_interleave", true);
  SharedExpertLayers layers(layersWithExperts(d, denseByDefault));
  layers.act = d.activation("hidden_act");
  layers.route = biasedSigmoidRoute(d, "mlp.gate.weight",
                                    "mlp.gate.e_score_correction_bias");
  Schedule sparse = layers.sparse;
  std::string attend = attention(d, pairs ? "pairs" : "half");
  FeedForwardText feed = sharedExpertFeedForward(d, layers);
  std::string value = feed.sparseValue;
  if (!norm.empty())
    value = d.norm(value, d.pick(sparse.first(), {norm, "mlp." + norm}));
  d.preNormLayer(attend,
                 d.when(sparse, "sparse", feed.sparse + "x = x + " + value,
                        "x = x + " + feed.denseValue));
}

static void v3(Decoder &d) {
  d.readCommon();
  d.ignoreExtraLayers({"num_nextn_predict_layers", "num_mtp_layers"});
  biased(d, /*denseByDefault=*/0);
}

static void glmLite(Decoder &d) {
  d.readCommon();
  d.ignoreExtraLayers({"num_nextn_predict_layers", "num_mtp_layers"});
  biased(d, /*denseByDefault=*/1);
}

static void axk1(Decoder &d) {
  d.readCommon();
  d.ignoreExtraLayers({"num_nextn_predict_layers", "num_mtp_layers"});
  biased(d, /*denseByDefault=*/1, "post_mlp_layernorm.weight");
}

static void v2(Decoder &d) {
  ModelConfig &c = d.config;
  d.readCommon();
  c.expect("scoring_func", llvm::StringRef("softmax"));
  c.expect("moe_layer_freq", int64_t(1));
  c.expect("mlp_bias", false);
  // transformers never divides by the sum, whatever this says.
  c.neutral("norm_topk_prob");
  SharedExpertLayers layers(layersWithExperts(d));
  layers.act = d.activation("hidden_act");
  layers.route.f32 = true;
  layers.route.select = "top_k(" + spell(c.size("num_experts_per_tok")) + ")";
  layers.route.scale = spell(c.real("routed_scaling_factor", 1.0));
  std::string method = c.word("topk_method", "greedy");
  if (method == "group_limited_greedy")
    layers.route.groups = "groups(" + spell(c.size("n_group")) +
                          ", keep = " + spell(c.size("topk_group")) +
                          ", by = max, outside = 0)";
  else if (method == "greedy")
    c.neutral({"n_group", "topk_group"});
  else
    c.unsupported("topk_method", "'topk_method' must be 'greedy' or "
                                 "'group_limited_greedy', found '" +
                                     method + "'");
  std::string attend = attention(d, "pairs");
  d.preNormLayer(attend, sharedExpertStatements(d, layers));
}

static FamilyRegistration
    v3Family({{"deepseek_v3", "kimi_k2"},
              "latent attention, groups of experts, a bias that selects",
              &v3});
static FamilyRegistration
    v2Family({{"deepseek_v2"}, "latent attention, groups of experts", &v2});
static FamilyRegistration glmLiteFamily(
    {{"glm4_moe_lite"}, "as DeepSeek-V3, the first layer dense", &glmLite});
static FamilyRegistration
    axk1Family({{"axk1"}, "as DeepSeek-V3, a norm behind the experts", &axk1});
