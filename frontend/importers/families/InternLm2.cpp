//===- InternLm2.cpp - InternLM2, and Mono-InternVL's decoder -------------===//

#include "frontend/importers/ModelFamily.h"

using namespace moec::importers;

/// Names that are the family's own: tok_embeddings and output.
static void readNames(Decoder &d) {
  d.prefix = "model.";
  std::string outer;
  if (d.tensors.has("language_model.model.tok_embeddings.weight"))
    outer = "language_model.";
  d.prefix = outer + "model.";
  std::string embed = d.prefix + "tok_embeddings.weight";
  std::string head = outer + "output.weight";
  d.ownNames = {embed, head};
  d.layersAt = d.prefix + "layers.{l}.";
  d.embedding = "embed(ids, \"" + embed + "\", to = hidden)";
  d.finalNorm = d.norm("x", d.prefix + "norm.weight");
  d.headMap = "\"" + head + "\"";
}

/// One matrix for all three: of each key head its queries, then the key, then
/// the value.
static std::string attention(Decoder &d) {
  ModelConfig &c = d.config;
  bool bias = c.boolean("bias", true);
  int64_t group = d.heads / d.kvHeads;
  d.dim("group", group);
  auto part = [&](const std::string &which, const std::string &heads) {
    std::string text = "\"attention.wqkv.weight\".view(kv_heads, group + 2, "
                       "head, hidden)[:, " +
                       which + "].view(" + heads + " * head, hidden)";
    if (bias)
      text += " + \"attention.wqkv.bias\".view(kv_heads, group + 2, head)[:, " +
              which + "].view(" + heads + " * head)";
    return text;
  };
  return "attention(n, heads = heads, kv_heads = kv_heads, head_dim = head, "
         "mask = causal, rope = " +
         d.rope() + ", q = " + part("0:group", "heads") +
         ", k = " + part("group", "kv_heads") +
         ", v = " + part("group + 1", "kv_heads") +
         ", o = \"attention.wo.weight\"" +
         (bias ? " + \"attention.wo.bias\"" : "") + ")";
}

static void describe(Decoder &d) {
  ModelConfig &c = d.config;
  readNames(d);
  d.readSizes("vocab_size", "hidden_size", "num_hidden_layers",
              "num_attention_heads", "max_position_embeddings");
  d.kvHeads = c.size("num_key_value_heads", d.heads);
  d.head = std::max<int64_t>(1, d.hidden / d.heads);
  if (d.head * d.heads != d.hidden || d.heads % d.kvHeads != 0)
    c.unsupported("num_attention_heads",
                  "expected heads that divide the hidden size, in groups of "
                  "the same number for each key head");
  d.dim("kv_heads", d.kvHeads);
  d.dim("head", d.head);
  d.constant("eps", spell(c.real("rms_norm_eps", 1e-6)));
  c.expect("tie_word_embeddings", false);
  c.neutral("attn_implementation");
  GluText feed;
  feed.act = d.activation("hidden_act");
  feed.at = "feed_forward.";
  feed.gate = "w1";
  feed.up = "w3";
  feed.down = "w2";
  d.dim("ffn", c.size("intermediate_size"));
  std::string text = d.glu(feed);
  // Mono-InternVL: a second one for what images are. Their rows come from
  // outside, one to a token.
  if (d.hasInLayer(0, "feed_forward_ve.w1.weight")) {
    feed.at = "feed_forward_ve.";
    text = "by modality { text: " + text + ", image: " + d.glu(feed) + " }";
    d.otherModality = "image(rows: f32[1, hidden]) = rows";
  }
  d.layer("n = " + d.norm("x", "attention_norm.weight"));
  d.layer("x = x + " + attention(d));
  d.layer("f = " + d.norm("x", "ffn_norm.weight"));
  d.layer("x = x + " + text);
}

static FamilyRegistration registration(
    {{"internlm2"},
     "one matrix for q, k and v; Mono-InternVL's networks by modality",
     &describe});
