//===- Qwen3Moe.cpp - Qwen2-MoE and Qwen3-MoE -----------------------------===//

#include "frontend/importers/ModelFamily.h"

#include "llvm/ADT/STLExtras.h"

using namespace moec::importers;

/// Every step-th layer has experts, but for those listed as dense.
static Schedule sparseLayers(Decoder &d) {
  int64_t step = d.config.size("decoder_sparse_step", 1);
  std::vector<int64_t> dense = d.config.integers("mlp_only_layers");
  return Schedule::where(d.depth, [&](int64_t l) {
    return !llvm::is_contained(dense, l) && (l + 1) % step == 0;
  });
}

/// The window is on only where `use_sliding_window` says so, whatever
/// `sliding_window` is.
static std::string mask(Decoder &d, const Schedule &narrow) {
  ModelConfig &c = d.config;
  bool windows = c.boolean("use_sliding_window", false);
  if (!windows || narrow.none()) {
    c.neutral({"sliding_window", "max_window_layers", "layer_types"});
    return "causal";
  }
  return d.choose(narrow, "narrow",
                  "window(" + spell(c.size("sliding_window")) + ")", "causal");
}

static std::string routed(Decoder &d, const Schedule &sparse) {
  ModelConfig &c = d.config;
  d.dim("experts", c.size({"num_experts", "num_local_experts"}));
  d.dim("ffn", c.size("moe_intermediate_size"));
  bool renormalise = c.boolean("norm_topk_prob", false);
  ExpertsText experts;
  experts.layer = sparse.first();
  experts.act = d.activation("hidden_act");
  return "r = route(linear(f, \"mlp.gate.weight\", to = experts), "
         "score = softmax, rank = score, select = top_k(" +
         spell(c.size("num_experts_per_tok")) +
         "), weigh = score, renorm = " + (renormalise ? "sum" : "none") +
         ", scale = 1)\nrouted = " + d.experts(experts) + "\n";
}

static void describe(Decoder &d, const AttentionText &attention,
                     const std::string &shared) {
  Schedule sparse = sparseLayers(d);
  GluText dense;
  dense.act = d.activation("hidden_act");
  if (!sparse.all())
    dense.width = d.dim("dense_ffn", d.config.size("intermediate_size"));
  else
    d.config.neutral("intermediate_size");
  std::string experts;
  if (!sparse.none())
    experts = routed(d, sparse) + shared;
  else
    d.config.neutral({"num_experts", "num_local_experts", "norm_topk_prob",
                      "num_experts_per_tok", "moe_intermediate_size"});
  d.layer("n = " + d.norm("x", "input_layernorm.weight"));
  d.layer("x = x + " + d.attention(attention));
  d.layer("f = " + d.norm("x", "post_attention_layernorm.weight"));
  d.layer(d.when(sparse, "sparse", experts, "x = x + " + d.glu(dense)));
}

static void qwen2(Decoder &d) {
  ModelConfig &c = d.config;
  d.readCommon();
  AttentionText attention;
  attention.qkvBias = c.boolean("qkv_bias", true);
  attention.rope = d.rope();
  bool windows = c.boolean("use_sliding_window", false);
  int64_t first = c.integer("max_window_layers", 28);
  attention.mask =
      mask(d, d.layerTypes("sliding_attention",
                           Schedule::where(d.depth, [&](int64_t l) {
                             return windows && l % 2 == 0 && l < first;
                           })));
  GluText shared;
  shared.at = "mlp.shared_expert.";
  shared.act = d.activation("hidden_act");
  shared.width = d.dim("shared_ffn", c.size("shared_expert_intermediate_size"));
  describe(d, attention,
           "shared = " + d.glu(shared) +
               "\nx = x + routed + sigmoid(linear(f, "
               "\"mlp.shared_expert_gate.weight\", to = 1)) * shared");
}

static void qwen3(Decoder &d) {
  ModelConfig &c = d.config;
  d.readCommon();
  AttentionText attention;
  attention.qkvBias = attention.oBias = c.boolean("attention_bias", false);
  attention.rope = d.rope();
  attention.mask = mask(d, d.allLayers());
  attention.more = d.qkNorms("head");
  describe(d, attention, "x = x + routed");
}

static FamilyRegistration qwen2Family({{"qwen2_moe"},
                                       "a shared expert with a gate of its own",
                                       &qwen2});
static FamilyRegistration
    qwen3Family({{"qwen3_moe"}, "norms of q and k in each head", &qwen3});
