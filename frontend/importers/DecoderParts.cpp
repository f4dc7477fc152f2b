//===- DecoderParts.cpp - Attention and feed-forward parts as text --------===//

#include "frontend/importers/Decoder.h"

#include "llvm/ADT/STLExtras.h"

using namespace moec;
using namespace moec::importers;
using llvm::StringRef;
using llvm::Twine;

static std::string quote(const std::string &name) { return "\"" + name + "\""; }

/// `"a.weight"` or `"a.weight" + "a.bias"`.
static std::string affine(const std::string &name, bool bias) {
  std::string text = quote(name + ".weight");
  return bias ? text + " + " + quote(name + ".bias") : text;
}

static void append(std::string &text, llvm::ArrayRef<std::string> more) {
  for (const std::string &argument : more)
    if (!argument.empty())
      text += ", " + argument;
}

std::string Decoder::activation(const Names &names, StringRef fallback,
                                ModelConfig *where) {
  ModelConfig &source = where ? *where : config;
  std::string word = source.word(names, fallback);
  if (word == "silu" || word == "swish")
    return "silu";
  if (word == "gelu_pytorch_tanh" || word == "gelu_new")
    return "gelu(tanh)";
  if (word == "gelu" || word == "relu" || word == "relu2")
    return word;
  source.unsupported(names, "activation '" + word + "' is not built");
  return "silu";
}

std::vector<std::string> Decoder::qkNorms(StringRef over, StringRef q,
                                          StringRef k) const {
  std::vector<std::string> result;
  for (auto [argument, name] : {std::pair("q_norm", q), std::pair("k_norm", k)})
    result.push_back((Twine(argument) + " = rms_norm(\"self_attn." + name +
                      ".weight\", eps = eps, over = " + over + ")")
                         .str());
  return result;
}

void Decoder::preNormLayer(const std::string &attention,
                           const std::string &feedForward) {
  layer("n = " + norm("x", "input_layernorm.weight"));
  layer("x = x + " + attention);
  layer("f = " + norm("x", "post_attention_layernorm.weight"));
  layer(feedForward);
}

std::string Decoder::attention(const AttentionText &t) {
  if (head * heads != hidden && !config.has("head_dim"))
    config.unsupported({"num_attention_heads", "n_heads"},
                       "the hidden size " + Twine(hidden) +
                           " is no multiple of the " + Twine(heads) +
                           " attention heads");
  std::string text =
      "attention(" + t.input + ", heads = heads, kv_heads = " + t.kvHeads +
      ", head_dim = " + t.head + ", mask = " + t.mask + ", rope = " + t.rope;
  text += ", q = " + affine(t.at + t.q, t.qkvBias);
  text += ", k = " + affine(t.at + t.k, t.qkvBias);
  text += ", v = " + affine(t.at + t.v, t.qkvBias);
  text += ", o = " + affine(t.at + t.o, t.oBias);
  append(text, t.more);
  return text + ")";
}

std::string Decoder::mla(const MlaText &t) {
  std::optional<int64_t> qRank = config.maybeInteger("q_lora_rank");
  dim("kv_rank", config.size("kv_lora_rank"));
  dim("nope", config.size("qk_nope_head_dim"));
  dim("rotated", config.size("qk_rope_head_dim"));
  dim("value", config.size("v_head_dim"));
  if (qRank)
    dim("q_rank", *qRank);
  std::string normEnd = ", eps = " + t.eps + ")";
  std::string text = "mla(" + t.input + ", heads = heads";
  if (qRank)
    text += ", q_rank = q_rank";
  text += ", kv_rank = kv_rank, nope_dim = nope, rope_dim = rotated, "
          "value_dim = value, mask = causal, rope = " +
          t.rope;
  if (!t.scale.empty())
    text += ", scale = " + t.scale;
  if (qRank)
    text += ", q_a = " + affine(t.at + t.qA, t.bias) + ", q_norm = rms_norm(" +
            quote(t.at + "q_a_layernorm.weight") + normEnd +
            ", q_b = " + affine(t.at + "q_b_proj", false);
  else
    text += ", q = " + affine(t.at + "q_proj", false);
  text += ", kv_a = " + affine(t.at + t.kvA, t.bias) + ", kv_norm = rms_norm(" +
          quote(t.at + "kv_a_layernorm.weight") + normEnd +
          ", kv_b = " + affine(t.at + "kv_b_proj", false) +
          ", o = " + affine(t.at + "o_proj", t.bias);
  append(text, t.more);
  return text + ")";
}

std::string Decoder::route(const RouteText &t) {
  std::string text = "route(linear(" + t.input + ", " + t.gate +
                     ", to = " + t.count + (t.f32 ? ", dtype = f32" : "") +
                     "), score = " + t.score + ", rank = " + t.rank;
  if (!t.groups.empty())
    text += ", groups = " + t.groups;
  return text + ", select = " + t.select + ", weigh = " + t.weigh +
         ", renorm = " + t.renorm + ", scale = " + t.scale + ")";
}

std::string Decoder::glu(const GluText &t) {
  std::string text =
      "glu(" + t.input + ", act = " + t.act + ", width = " + t.width;
  text += ", gate = " + affine(t.at + t.gate, t.bias);
  text += ", up = " + affine(t.at + t.up, t.bias);
  text += ", down = " + affine(t.at + t.down, t.bias);
  append(text, t.more);
  return text + ")";
}

//===----------------------------------------------------------------------===//
// Layouts of experts
//===----------------------------------------------------------------------===//

/// Views of fused tensors [E, 2I, D] or, transposed, [E, D, 2I].
bool Decoder::fusedViews(const ExpertsText &t, const std::string &fused,
                         const std::string &down, FusedExperts &names) {
  llvm::ArrayRef<int64_t> shape = shapeInLayer(t.layer, fused);
  if (shape.size() != 3 || shapeInLayer(t.layer, down).size() != 3)
    return false;
  bool transposed = shape[1] == hidden && shape[2] != hidden;
  if (shape[1] == hidden && shape[2] == hidden)
    transposed = t.transposedIfSquare;
  std::string first = t.interleaved ? "0::2" : "0:" + t.width;
  std::string second = t.interleaved ? "1::2" : t.width + ":2 * " + t.width;
  std::string open = transposed ? "[e, :, " : "[e, ";
  std::string close = transposed ? "].T" : "]";
  names.gate = quote(fused) + open + first + close;
  names.up = quote(fused) + open + second + close;
  names.down = quote(down) + (transposed ? "[e].T" : "[e]");
  if (!t.bias)
    return true;
  auto biasOf = [](std::string name) {
    if (StringRef(name).ends_with(".weight"))
      name.resize(name.size() - 7);
    return name + "_bias";
  };
  names.gateBias = quote(biasOf(fused)) + "[e, " + first + "]";
  names.upBias = quote(biasOf(fused)) + "[e, " + second + "]";
  names.downBias = quote(biasOf(down)) + "[e]";
  return true;
}

/// Finds the layout; returns its kind for messages, empty where there is none.
std::string Decoder::expertNames(const ExpertsText &t, FusedExperts &names) {
  using Triple = std::array<const char *, 3>;
  constexpr Triple separate[] = {{"gate_proj", "up_proj", "down_proj"},
                                 {"w1", "w3", "w2"}};
  for (const std::string &place : t.places)
    for (const Triple &triple : separate) {
      auto each = [&](const char *name, const char *part) {
        return place + "{e}." + name + part;
      };
      if (!hasInLayer(t.layer, place + "0." + triple[0] + ".weight"))
        continue;
      names.gate = quote(each(triple[0], ".weight"));
      names.up = quote(each(triple[1], ".weight"));
      names.down = quote(each(triple[2], ".weight"));
      if (t.bias) {
        names.gateBias = quote(each(triple[0], ".bias"));
        names.upBias = quote(each(triple[1], ".bias"));
        names.downBias = quote(each(triple[2], ".bias"));
      }
      return "one tensor for each expert";
    }
  using Pair = std::array<const char *, 2>;
  constexpr Pair fused[] = {{"gate_up_proj", "down_proj"},
                            {"gate_up_proj.weight", "down_proj.weight"},
                            {"input_linear.weight", "output_linear.weight"}};
  for (const std::string &place : t.places)
    for (const Pair &pair : fused)
      if (hasInLayer(t.layer, place + pair[0]) &&
          fusedViews(t, place + pair[0], place + pair[1], names))
        return "fused tensors";
  return "";
}

std::string Decoder::experts(const ExpertsText &t) {
  FusedExperts names;
  if (expertNames(t, names).empty()) {
    std::string at = layerPrefix(t.layer) + t.places.front();
    config.getDiagnostics().error(
        DiagId::E638, DiagnosticPlace::wholeFile(tensors.folder()),
        "no tensors of experts found at '" + at + "*': expected " + at +
            "0.gate_proj.weight and the like, or " + at +
            "gate_up_proj of three dimensions");
    names.gate = names.up = names.down = "\"missing\"";
  }
  auto with = [](const std::string &weight, const std::string &bias) {
    return bias.empty() ? weight : weight + " + " + bias;
  };
  std::string body = "glu(act = " + t.act + ", width = " + t.width +
                     ", gate = " + with(names.gate, names.gateBias) +
                     ", up = " + with(names.up, names.upBias) +
                     ", down = " + with(names.down, names.downBias);
  append(body, t.inner);
  std::string text = "experts(" + t.input + ", " + t.routing;
  append(text, t.more);
  text += ", for e in 0.." + t.count + ": " + body + ")";
  append(text, t.arms);
  return text + ")";
}
