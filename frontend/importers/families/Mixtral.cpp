//===- Mixtral.cpp - Mixtral ----------------------------------------------===//

#include "frontend/importers/ModelFamily.h"

using namespace moec::importers;

static void describe(Decoder &d) {
  ModelConfig &c = d.config;
  d.readCommon();
  d.dim("experts", c.size({"num_local_experts", "num_experts"}));
  d.dim("ffn", c.size("intermediate_size"));
  AttentionText attention;
  attention.rope = d.rope(RopeDefaults::withTheta(1e6));
  if (auto window = c.maybeInteger("sliding_window"))
    attention.mask = "window(" + spell(*window) + ")";
  ExpertsText experts;
  experts.act = d.activation("hidden_act");
  experts.places = {"block_sparse_moe.experts.", "mlp.experts."};
  std::string gate =
      d.pick(0, {"block_sparse_moe.gate.weight", "mlp.gate.weight"});

  d.layer("n = " + d.norm("x", "input_layernorm.weight"));
  d.layer("x = x + " + d.attention(attention));
  d.layer("f = " + d.norm("x", "post_attention_layernorm.weight"));
  d.layer("r = route(linear(f, \"" + gate +
          "\", to = experts), "
          "score = softmax, rank = score, select = top_k(" +
          spell(c.size("num_experts_per_tok")) +
          "), weigh = score, renorm = sum, scale = 1)");
  d.layer("x = x + " + d.experts(experts));
}

static FamilyRegistration
    registration({{"mixtral"}, "softmax over the chosen experts", &describe});
