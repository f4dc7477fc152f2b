//===- Doge.cpp - Doge, dense or with experts of one neuron ---------------===//

#include "frontend/importers/ModelFamily.h"

#include <cmath>

using namespace moec::importers;

/// Every key has a number, made of its value, that is added to its scores.
static std::string attention(Decoder &d) {
  ModelConfig &c = d.config;
  AttentionText text;
  text.qkvBias = text.oBias = c.boolean("attention_bias", false);
  text.rope = d.rope();
  if (auto window = c.maybeInteger("sliding_window"))
    text.mask = "window(" + spell(*window) + ")";
  // Keys of the largest numbers are kept, where there are more.
  int64_t kept = c.size("keep_window_size", 2048);
  if (kept < d.contextLength())
    c.unsupported("keep_window_size",
                  "leaving out keys of sequences longer than "
                  "'keep_window_size' is not built: expected --context=" +
                      llvm::Twine(kept) + " or less");
  auto map = [&](const std::string &name) {
    std::string at = "\"self_attn." + name;
    return at + ".weight\"" + (text.oBias ? " + " + at + ".bias\"" : "");
  };
  text.more = d.qkNorms("head");
  text.more.push_back("key_bias = exp(\"self_attn.A\" * softplus(d))");
  return "d = linear(linear(n, " + map("v_proj") + ", to = kv_heads * head), " +
         map("dt_proj") + ", to = kv_heads)\na = " + d.attention(text);
}

/// Experts of one neuron in a square, each a row of two tables.
static std::string experts(Decoder &d, const std::string &act) {
  ModelConfig &c = d.config;
  int64_t count = c.size({"num_experts", "num_local_experts"});
  auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(count)));
  if (side * side != count)
    c.unsupported({"num_experts", "num_local_experts"},
                  "expected 'num_experts' to be a square, found " +
                      llvm::Twine(count));
  d.dim("side", side);
  d.dim("experts", count);
  // A softmax sums to one already.
  c.neutral("norm_topk_prob");
  auto logits = [](const std::string &rows) {
    return "linear(f, \"mlp.router_gate.weight\"[" + rows + "], to = side)";
  };
  return "r = product_keys(" + logits("0:side") + ", " +
         logits("side:2 * side") +
         ", k = " + spell(c.size("num_experts_per_tok")) +
         ", weigh = softmax)\ny = experts(f, r, for e in 0..experts: mlp(act "
         "= " +
         act +
         ", width = 1, up = \"mlp.down_embed.weight\".view(experts, 1, "
         "hidden)[e], down = \"mlp.up_embed.weight\".view(experts, hidden, "
         "1)[e]))\n";
}

static void describe(Decoder &d) {
  ModelConfig &c = d.config;
  d.readCommon();
  bool hasExperts = c.boolean("is_moe", false);
  if (!hasExperts)
    c.neutral({"num_experts", "num_local_experts", "num_experts_per_tok",
               "norm_topk_prob"});
  GluText dense;
  dense.act = d.activation("hidden_act");
  dense.bias = c.boolean("mlp_bias", false);
  d.dim("ffn", c.size("intermediate_size"));
  d.layer("n = " + d.norm("x", "input_layernorm.weight"));
  d.layer(attention(d));
  d.layer("x = \"input_residual\" * x + a");
  d.layer("f = " + d.norm("x", "post_attention_layernorm.weight"));
  if (hasExperts)
    d.layer(experts(d, dense.act));
  d.layer("x = \"post_attention_residual\" * x + " + d.glu(dense) +
          (hasExperts ? " + y" : ""));
}

static FamilyRegistration
    registration({{"doge"},
                  "a number of each key in its scores, experts of one neuron",
                  &describe});
