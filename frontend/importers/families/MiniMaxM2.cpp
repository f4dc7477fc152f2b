//===- MiniMaxM2.cpp - MiniMax-M2 -----------------------------------------===//

#include "frontend/importers/ModelFamily.h"

using namespace moec::importers;

static void describe(Decoder &d) {
  ModelConfig &c = d.config;
  d.readCommon();
  d.ignoreExtraLayers("num_mtp_modules");
  d.dim("experts", c.size({"num_local_experts", "num_experts"}));
  d.dim("ffn", c.size("intermediate_size"));
  c.expect("scoring_func", llvm::StringRef("sigmoid"));
  c.expect("use_qk_norm", true);
  c.expect("qk_norm_type", llvm::StringRef("per_layer"));
  c.expect("use_routing_bias", true);
  c.expectNone({"shared_intermediate_size"});
  for (int64_t kind : c.integers("attn_type_list"))
    if (kind != 1)
      c.unsupported("attn_type_list", "only layers of type 1 are built");
  c.neutral({"use_mtp", "mtp_transformer_layers"});
  AttentionText attention;
  RopeDefaults rope = RopeDefaults::withTheta(5e6);
  rope.takesPartial = true;
  if (auto rotated = c.maybeInteger("rotary_dim"))
    rope.partial = static_cast<double>(*rotated) / static_cast<double>(d.head);
  attention.rope = d.rope(rope);
  attention.more = d.qkNorms("all");
  const char *folder =
      d.hasInLayer(0, "mlp.gate.weight") ? "mlp." : "block_sparse_moe.";
  std::string bias = std::string(folder) + "e_score_correction_bias";
  d.keep("*." + bias);
  RouteText route;
  route.gate = std::string("\"") + folder + "gate.weight\"";
  route.score = "sigmoid";
  route.rank = "score + \"" + bias + "\"";
  route.select = "top_k(" + spell(c.size("num_experts_per_tok")) + ")";
  route.renorm = "sum";
  ExpertsText experts;
  experts.act = d.activation("hidden_act");
  experts.places = {std::string(folder) + "experts."};
  d.preNormLayer(d.attention(attention),
                 "r = " + d.route(route) + "\nx = x + " + d.experts(experts));
}

static FamilyRegistration
    registration({{"minimax_m2"},
                  "norms of q and k over all heads, a bias that selects",
                  &describe});
