//===- GraniteMoe.cpp - Granite MoE, also with shared experts -------------===//

#include "frontend/importers/ModelFamily.h"

using namespace moec::importers;

/// `m * value`, or the value alone.
static std::string times(double m, const std::string &value) {
  return m == 1 ? value : spell(m) + " * " + value;
}

static void describe(Decoder &d) {
  ModelConfig &c = d.config;
  d.readCommon();
  d.dim("experts", c.size({"num_local_experts", "num_experts"}));
  d.dim("ffn", c.size("intermediate_size"));
  AttentionText attention;
  attention.qkvBias = attention.oBias = c.boolean("attention_bias", false);
  attention.rope = d.rope();
  attention.more = {"scale = " + spell(c.real("attention_multiplier", 1.0))};
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

static FamilyRegistration
    registration({{"granitemoe", "granitemoeshared"},
                  "multipliers of embeddings, scores, residuals and logits",
                  &describe});
