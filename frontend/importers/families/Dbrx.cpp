//===- Dbrx.cpp - DBRX ----------------------------------------------------===//

#include "frontend/importers/ModelFamily.h"

using namespace moec::importers;

static std::string layerNorm(const std::string &input,
                             const std::string &name) {
  return "layer_norm(" + input + ", \"" + name + "\", eps = 1e-5)";
}

/// One matrix for q, k and v; the others of attention as usual.
static std::string attention(Decoder &d, ModelConfig &c) {
  d.kvHeads = c.size("kv_n_heads", 1);
  // transformers repeats it one level up.
  d.config.expect("num_key_value_heads", d.kvHeads);
  d.dim("kv_heads", d.kvHeads);
  std::string at = "\"norm_attn_norm.attn.Wqkv.weight\"";
  std::string one = "heads * head", two = "(heads + kv_heads) * head",
              three = "(heads + 2 * kv_heads) * head";
  RopeDefaults rope = RopeDefaults::withTheta(c.real("rope_theta", 1e4));
  std::string text =
      "attention(n, heads = heads, kv_heads = kv_heads, head_dim = head, "
      "mask = causal, rope = " +
      d.rope(rope) + ", q = " + at + "[0:" + one + "], k = " + at + "[" + one +
      ":" + two + "], v = " + at + "[" + two + ":" + three +
      "], o = \"norm_attn_norm.attn.out_proj.weight\"";
  if (auto clip = c.maybeReal("clip_qkv"))
    text += ", clip = " + spell(*clip);
  c.neutral("attn_pdrop");
  return text + ")";
}

static std::string experts(Decoder &d, ModelConfig &c) {
  d.dim("experts", c.size("moe_num_experts", 4));
  d.dim("ffn", c.size("ffn_hidden_size", 3584));
  c.neutral({"moe_jitter_eps", "moe_loss_weight", "hidden_size",
             "uniform_expert_assignment"});
  std::string act = "silu";
  if (auto named = c.child("ffn_act_fn"))
    act = d.activation("name", "silu", &*named);
  RouteText route;
  route.gate = "\"ffn.router.layer.weight\"";
  route.select = "top_k(" + spell(c.size("moe_top_k", 1)) + ")";
  double power = c.real("moe_normalize_expert_weights", 1.0);
  if (c.mentions("moe_normalize_expert_weights") &&
      !c.has("moe_normalize_expert_weights"))
    route.renorm = "none";
  else
    route.renorm = power == 1 ? "sum" : "norm(" + spell(power) + ")";
  auto view = [](const char *name) {
    return std::string("\"ffn.experts.mlp.") + name +
           "\".view(experts, ffn, hidden)[e]";
  };
  return "r = " + d.route(route) +
         "\nx = x + experts(f, r, for e in 0..experts: glu(act = " + act +
         ", width = ffn, gate = " + view("w1") + ", up = " + view("v1") +
         ", down = " + view("w2") + ".T))";
}

static void describe(Decoder &d) {
  ModelConfig &c = d.config;
  d.prefix = "transformer.";
  d.layersAt = "transformer.blocks.{l}.";
  d.embedding = "embed(ids, \"transformer.wte.weight\", to = hidden)";
  d.readSizes("vocab_size", {"d_model", "hidden_size"},
              {"n_layers", "num_hidden_layers"},
              {"n_heads", "num_attention_heads"},
              {"max_seq_len", "max_position_embeddings"});
  c.expect("tie_word_embeddings", false);
  d.head = d.hidden / d.heads;
  d.dim("head", d.head);
  auto attn = c.child("attn_config");
  auto ffn = c.child("ffn_config");
  if (!attn || !ffn) {
    c.unsupported("attn_config", "expected objects 'attn_config' and "
                                 "'ffn_config'");
    return;
  }
  d.layer("n = " + layerNorm("x", "norm_attn_norm.norm_1.weight"));
  d.layer("x = x + " + attention(d, *attn));
  d.layer("f = " + layerNorm("x", "norm_attn_norm.norm_2.weight"));
  d.layer(experts(d, *ffn));
  d.finalNorm = layerNorm("x", "transformer.norm_f.weight");
  d.headMap = "\"lm_head.weight\"";
  for (ModelConfig *part : {&*attn, &*ffn})
    part->neutral({"dtype", "torch_dtype", "is_encoder_decoder"});
  attn->reportUnread();
  ffn->reportUnread();
}

static FamilyRegistration registration(
    {{"dbrx"}, "fused q, k and v with clipping, packed experts", &describe});
