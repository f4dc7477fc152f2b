//===- LongcatFlash.cpp - LongCat-Flash -----------------------------------===//

#include "frontend/importers/ModelFamily.h"

#include <cmath>

using namespace moec::importers;

static std::string attention(Decoder &d) {
  ModelConfig &c = d.config;
  int64_t rotated = c.size("qk_rope_head_dim");
  auto scale = [&](const char *rank) {
    return spell(std::sqrt(double(d.hidden) / double(c.size(rank))));
  };
  RopeDefaults rope = RopeDefaults::withTheta(1e7);
  rope.style = "pairs";
  rope.dims = rotated;
  MlaText mla;
  mla.input = "rms_norm(x, \"input_layernorm.{i}.weight\", eps = eps)";
  mla.at = "self_attn.{i}.";
  mla.eps = "1e-6";
  mla.bias = c.boolean("attention_bias", false);
  mla.rope = d.rope(rope);
  if (d.yarnScale != 1)
    mla.scale = spell(d.yarnScale) + " / sqrt(" +
                spell(c.size("qk_nope_head_dim") + rotated) + ")";
  // The corrections of the two low ranks.
  mla.more = {"q_scale = " + scale("q_lora_rank"),
              "kv_scale = " + scale("kv_lora_rank")};
  return d.mla(mla);
}

static void describe(Decoder &d) {
  ModelConfig &c = d.config;
  d.readSizes("vocab_size", "hidden_size", {"num_layers", "num_hidden_layers"},
              "num_attention_heads", "max_position_embeddings");
  d.constant("eps", spell(c.real("rms_norm_eps", 1e-5)));
  d.readHead(c.boolean("tie_word_embeddings", false));
  c.expect("num_key_value_heads", d.heads);
  c.expect("router_bias", false);
  c.expect("attention_method", llvm::StringRef("MLA"));
  c.expect("mla_scale_q_lora", true);
  c.expect("mla_scale_kv_lora", true);
  c.expect("zero_expert_type", llvm::StringRef("identity"));
  c.neutral({"head_dim", "qk_head_dim"});
  d.ignore("model.mtp.*");
  int64_t real = c.size({"n_routed_experts", "num_local_experts"});
  int64_t idle = c.integer("zero_expert_num", 0);
  d.dim("real", real);
  d.dim("ffn", c.size({"expert_ffn_hidden_size", "moe_intermediate_size"}));
  d.dim("dense_ffn", c.size({"ffn_hidden_size", "intermediate_size"}));
  std::string act = d.activation("hidden_act");
  RouteText route;
  route.gate = "\"mlp.router.classifier.weight\"";
  route.f32 = true;
  route.rank = "score + \"mlp.router.e_score_correction_bias\"";
  route.select =
      "top_k(" + spell(c.size({"moe_topk", "num_experts_per_tok"})) + ")";
  route.scale = spell(c.real("routed_scaling_factor", 1.0));
  d.keep("*.mlp.router.e_score_correction_bias");
  ExpertsText experts;
  experts.act = act;
  experts.count = "real";
  route.count = "real";
  if (idle > 0) {
    d.dim("idle", idle);
    route.count = "real + idle";
    experts.arms = "for e in real..real + idle: identity()";
    // transformers gives them matrices that it does not use.
    for (int64_t e = real; e < real + idle; ++e)
      d.ignore(d.prefix + "layers.*.mlp.experts." + spell(e) + ".*");
  }
  GluText dense;
  dense.input = "u";
  dense.width = "dense_ffn";
  dense.at = "mlps.{i}.";
  dense.act = act;
  d.block("block attend(x, i: index) { return " + attention(d) + " }");
  d.block("block dense(u, i: index) { return " + d.glu(dense) + " }");
  // The experts work beside the first dense part and the second attention.
  d.layer("x = x + attend(x, 0)");
  d.layer("f = " + d.norm("x", "post_attention_layernorm.0.weight"));
  d.layer("r = " + d.route(route));
  d.layer("shortcut = " + d.experts(experts));
  d.layer("x = x + dense(f, 0)");
  d.layer("x = x + attend(x, 1)");
  d.layer("g = " + d.norm("x", "post_attention_layernorm.1.weight"));
  d.layer("x = x + dense(g, 1) + shortcut");
}

static FamilyRegistration registration(
    {{"longcat_flash"},
     "two latent attentions in a layer, identity experts, shortcut",
     &describe});
