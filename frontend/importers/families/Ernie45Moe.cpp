//===- Ernie45Moe.cpp - ERNIE 4.5 -----------------------------------------===//

#include "frontend/importers/ModelFamily.h"

using namespace moec::importers;

static Schedule sparseLayers(Decoder &d) {
  ModelConfig &c = d.config;
  int64_t interval = c.size("moe_layer_interval", 1);
  int64_t first = c.integer("moe_layer_start_index", 1);
  int64_t last = c.integer("moe_layer_end_index", -1);
  return Schedule::where(d.depth, [&](int64_t l) {
    return (l + 1) % interval == 0 && l >= first && (last == -1 || l <= last);
  });
}

static void describe(Decoder &d) {
  ModelConfig &c = d.config;
  d.readCommon(/*tiedByDefault=*/true);
  d.ignoreExtraLayers("num_nextn_predict_layers");
  bool bias = c.boolean("use_bias", false);
  std::string act = d.activation("hidden_act");
  d.dim("experts", c.size({"moe_num_experts", "num_experts"}));
  int64_t width = c.size("moe_intermediate_size");
  d.dim("ffn", width);
  // How pre-training filled experts.
  c.neutral({"moe_capacity", "moe_group", "moe_use_aux_free", "moe_gate",
             "moe_aux_loss_lambda", "moe_orthogonal_loss_lambda",
             "moe_z_loss_lambda", "moe_all_to_all_dropout",
             "moe_dropout_prob"});
  AttentionText attention;
  attention.qkvBias = attention.oBias = bias;
  RopeDefaults rope = RopeDefaults::withTheta(5e5);
  rope.style = "pairs";
  attention.rope = d.rope(rope);
  Schedule sparse = sparseLayers(d);
  int64_t at = sparse.first();
  std::string offset =
      d.pick(at, {"mlp.moe_statics.e_score_correction_bias",
                  "mlp.gate.moe_statics.e_score_correction_bias"});
  d.keep("*." + offset);
  RouteText route;
  route.f32 = true;
  route.rank = "score + \"" + offset + "\"[0]";
  route.select =
      "top_k(" + spell(c.size({"moe_k", "num_experts_per_tok"})) + ")";
  route.renorm = "at_least(" + spell(c.real("moe_norm_min", 1e-12)) + ")";
  ExpertsText experts;
  experts.layer = at;
  experts.act = act;
  std::string routed;
  if (!sparse.none())
    routed = "r = " + d.route(route) + "\nrouted = " + d.experts(experts) +
             "\nx = x + routed";
  int64_t count = c.integer("moe_num_shared_experts", 0);
  if (count > 0) {
    GluText shared;
    shared.at = "mlp.shared_experts.";
    shared.act = act;
    shared.bias = bias;
    shared.width = d.dim("shared_ffn", count * width);
    routed += " + " + d.glu(shared);
  }
  if (bias)
    d.headMap += " + \"lm_head.bias\"";
  GluText dense;
  dense.act = act;
  dense.bias = bias;
  dense.width = d.dim("dense_ffn", c.size("intermediate_size"));
  d.preNormLayer(d.attention(attention),
                 d.when(sparse, "sparse", routed, "x = x + " + d.glu(dense)));
}

static FamilyRegistration registration({{"ernie4_5_moe"},
                                        "softmax with a bias that selects",
                                        &describe});
