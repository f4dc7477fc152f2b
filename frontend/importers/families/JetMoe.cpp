//===- JetMoe.cpp - JetMoE: experts in attention, too ---------------------===//

#include "frontend/importers/ModelFamily.h"

using namespace moec::importers;

/// Softmax over the chosen experts, with the router at `at`.
static std::string route(Decoder &d, const std::string &input,
                         const std::string &at) {
  RouteText route;
  route.input = input;
  route.gate = "\"" + at + "router.layer.weight\"";
  route.score = "identity";
  route.select = "top_k(" + spell(d.config.size("num_experts_per_tok")) + ")";
  route.weigh = "softmax(logits)";
  return d.route(route);
}

/// Each expert has maps of its own to the queries and back; keys and values are
/// those of all.
static std::string attention(const std::string &at, const std::string &rope) {
  std::string experts = "for e in 0..experts: \"" + at + "experts.";
  std::string kv = "\"" + at + "kv_proj.weight\"";
  return "attention(n, route = q, heads = kv_heads, kv_heads = kv_heads, "
         "head_dim = head, mask = causal, rope = " +
         rope + ", q = " + experts + "input_linear.weight\"[e], " +
         "k = " + kv + "[0:kv_heads * head], v = " + kv +
         "[kv_heads * head:2 * kv_heads * head], o = " + experts +
         "output_linear.weight\"[e])";
}

static void describe(Decoder &d) {
  ModelConfig &c = d.config;
  // The heads of all slots follow from the others.
  c.neutral("num_attention_heads");
  d.readSizes("vocab_size", "hidden_size", "num_hidden_layers",
              "num_key_value_heads", "max_position_embeddings");
  d.kvHeads = d.heads;
  d.head = c.size({"kv_channels", "head_dim"});
  d.dim("kv_heads", d.kvHeads);
  d.dim("head", d.head);
  d.constant("eps", spell(c.real("rms_norm_eps")));
  d.readHead(c.boolean("tie_word_embeddings", true));
  d.dim("experts", c.size({"num_local_experts", "num_experts"}));
  d.dim("ffn", c.size("intermediate_size"));
  ExpertsText experts;
  experts.act = d.activation({"activation_function", "hidden_act"});
  experts.places = {"mlp."};
  std::string at = d.hasInLayer(0, "self_attn.kv_proj.weight")
                       ? "self_attn."
                       : "self_attention.";
  c.neutral("aux_loss_coef");
  d.layer("n = " + d.norm("x", "input_layernorm.weight"));
  d.layer("q = " + route(d, "n", at + "experts."));
  d.layer("x = x + " + attention(at, d.rope()) + " + \"" + at +
          "experts.bias\"");
  d.layer("f = " + d.norm("x", "post_attention_layernorm.weight"));
  d.layer("r = " + route(d, "f", "mlp."));
  d.layer("x = x + " + d.experts(experts) + " + \"mlp.bias\"");
}

static FamilyRegistration registration(
    {{"jetmoe"}, "experts with queries and last maps of attention", &describe});
