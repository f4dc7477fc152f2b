//===- RandomModel.cpp - Small models made up by a generator --------------===//
#include "test/property/RandomModel.h"

#include <cmath>
#include <cstdint>
#include <fstream>
#include <sstream>

using namespace property;
using namespace naive;

// The distributions of <random> differ between libraries; the engine does not.
int RandomModel::pick(int low, int high) {
  return low + static_cast<int>(random() % unsigned(high - low + 1));
}

float RandomModel::normal() {
  double sum = 0.0;
  for (int i = 0; i < 12; ++i)
    sum += random() / 4294967296.0;
  return static_cast<float>(sum - 6.0);
}

Routing RandomModel::routing(int ids) {
  Routing r;
  r.score =
      oneOf({Score::Softmax, Score::Softmax, Score::Sigmoid, Score::Identity});
  r.biased = chance(40);
  r.weigh = oneOf({Weigh::Score, Weigh::Score, Weigh::SelectedSoftmax,
                   Weigh::SelectedSigmoid, Weigh::One});
  // Scores of any sign have no sum to divide by.
  if (r.score == Score::Identity && r.weigh == Weigh::Score)
    r.weigh = Weigh::SelectedSoftmax;
  r.renormalise = chance(50);
  r.scale = oneOf({1.0, 2.5, 0.5});
  if (r.renormalise && chance(30))
    r.atLeast = oneOf({0.4, 1e-12});
  r.factors = chance(15);
  if (r.factors)
    r.scale = 1.0;
  r.skipRatio = chance(20) ? oneOf({0.3, 0.7}) : 0.0;
  if (r.score == Score::Softmax && !r.biased && chance(35)) {
    r.p = oneOf({0.3, 0.5, 0.8});
    return r;
  }
  r.k = pick(1, std::min(ids, 5));
  int groups = oneOf({2, 3, 4});
  if (ids % groups == 0 && chance(60)) {
    int size = ids / groups, least = (r.k + size - 1) / size;
    r.groups = groups;
    r.keep = pick(least, groups);
    r.byTwoLargest = size >= 2 && chance(50);
    r.outsideIsZero = chance(50);
  }
  return r;
}

FeedForward RandomModel::feedForward() {
  FeedForward f;
  bool isRagged = chance(30);
  int width = pick(1, 20);
  for (int e = pick(1, 12); e > 0; --e)
    f.widths.push_back(isRagged ? pick(1, 20) : width);
  if (chance(30)) {
    f.identities = pick(0, 3);
    f.nulls = pick(0, 2);
    f.virtualFirst = chance(50);
  }
  f.gated = chance(70);
  f.activation = oneOf({Activation::Silu, Activation::Relu, Activation::Relu2,
                        Activation::GeluTanh});
  if (f.activation == Activation::Silu && chance(30))
    f.slope = 1.702;
  if (f.gated && chance(30))
    (chance(50) ? f.clampBefore : f.clampAfter) = oneOf({0.25, 1.0});
  if (f.gated && chance(20))
    f.upOffset = 1.0;
  f.gateBias = f.gated && chance(20);
  f.upBias = chance(25);
  f.downBias = chance(25);
  f.applyInput = chance(15);
  f.sharedWidth = chance(40) ? pick(1, 24) : 0;
  f.routing = routing(f.ids());
  return f;
}

void RandomModel::attention() {
  config.kvHeads = pick(1, 3);
  config.heads = config.kvHeads * pick(1, 3);
  config.rotated = 2 * pick(1, 9);
  config.headDim = config.rotated;
  config.valueDim = chance(30) ? pick(1, 20) : config.headDim;
  if (chance(30))
    config.window = pick(1, 20);
  else if (chance(20))
    config.chunk = pick(1, 12);
  config.rope = oneOf({Rope::None, Rope::Half, Rope::Pairs});
  config.sinks = chance(25);
  config.softcap = chance(20) ? 1.5 : 0.0;
  if (chance(30)) {
    config.headDim += pick(1, 18);
    config.latentRank = pick(1, 40);
    config.queryRank = chance(50) ? pick(1, 20) : 0;
    return;
  }
  if (chance(30))
    config.headDim += pick(1, 8);
  config.attentionBias = chance(40);
  config.normedHeads = chance(25);
  config.gate = chance(20);
}

RandomModel::RandomModel(unsigned seed) : random(seed) {
  config.vocab = pick(2, 40);
  config.hidden = pick(1, 40);
  config.layers = pick(1, 3);
  attention();
  config.feedForwards.push_back(feedForward());
  if (chance(40)) {
    config.imageTokens = pick(1, 5);
    config.imageWidth = pick(1, 12);
    if (chance(60))
      config.feedForwards.push_back(feedForward());
  }
  fillTensors();
  fillTokens();
}

void RandomModel::fillTensors() {
  for (const auto &[name, shape] : config.shapes()) {
    Tensor tensor;
    tensor.shape = shape;
    int count = 1;
    for (int size : shape)
      count *= size;
    double deviation = 1.0 / std::sqrt(static_cast<double>(shape.back()));
    bool isNorm = name.find("norm") != std::string::npos;
    bool isBias = shape.size() == 1;
    if (isNorm || isBias)
      deviation = 0.3;
    else if (name == "embed.weight")
      deviation = 1.0;
    else if (name.find("router") != std::string::npos)
      deviation *= 1.5;
    for (int i = 0; i < count; ++i)
      tensor.values.push_back(
          static_cast<float>((isNorm ? 1.0 : 0.0) + deviation * normal()));
    tensors[name] = std::move(tensor);
  }
}

void RandomModel::fillTokens() {
  for (int length = pick(1, 30); length > 0; --length) {
    if (config.imageTokens && chance(15)) {
      int first = static_cast<int>(images.size()) / config.imageWidth;
      for (int i = 0; i < config.imageTokens; ++i)
        tokens.push_back({true, first + i});
      for (int i = 0; i < config.imageTokens * config.imageWidth; ++i)
        images.push_back(normal());
    } else {
      tokens.push_back({false, pick(0, config.vocab - 1)});
    }
  }
}

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

static const char *spell(Activation activation) {
  switch (activation) {
  case Activation::Silu:
    return "silu";
  case Activation::Relu:
    return "relu";
  case Activation::Relu2:
    return "relu2";
  case Activation::GeluTanh:
    return "gelu(tanh)";
  }
  return "";
}

static std::string body(const FeedForward &f, const std::string &width,
                        const std::string &prefix, bool onValue) {
  std::ostringstream s;
  s << (f.gated ? "glu(" : "mlp(") << (onValue ? "f, " : "")
    << "act = " << spell(f.activation);
  if (f.slope != 1.0)
    s << "(slope = " << f.slope << ")";
  s << ", width = " << width;
  if (f.clampBefore + f.clampAfter > 0.0)
    s << ", clamp = " << (f.clampBefore > 0.0 ? "before(" : "after(")
      << f.clampBefore + f.clampAfter << ")";
  if (f.upOffset != 0.0)
    s << ", up_offset = " << f.upOffset;
  auto map = [&](const std::string &name, bool biased) {
    s << ",\n      " << name << " = \"" << prefix << name << ".weight\"";
    if (biased)
      s << " + \"" << prefix << name << ".bias\"";
  };
  if (f.gated)
    map("gate", f.gateBias);
  map("up", f.upBias);
  map("down", f.downBias);
  s << ")";
  return s.str();
}

static std::string route(const FeedForward &f) {
  const Routing &r = f.routing;
  std::ostringstream s;
  s << "route(linear(f, \"router.weight\", to = " << f.ids()
    << "),\n      score = ";
  s << (r.score == Score::Softmax   ? "softmax"
        : r.score == Score::Sigmoid ? "sigmoid"
                                    : "identity");
  s << ", rank = score" << (r.biased ? " + \"router.bias\"" : "");
  if (r.groups)
    s << ",\n      groups = groups(" << r.groups << ", keep = " << r.keep
      << ", by = " << (r.byTwoLargest ? "top2_sum" : "max")
      << ", outside = " << (r.outsideIsZero ? "0" : "-inf") << ")";
  s << ",\n      select = ";
  if (r.k)
    s << "top_k(" << r.k << ")";
  else
    s << "top_p(" << r.p << ", until = crossing)";
  s << ", weigh = "
    << (r.weigh == Weigh::Score             ? "score"
        : r.weigh == Weigh::SelectedSoftmax ? "softmax(logits)"
        : r.weigh == Weigh::SelectedSigmoid ? "sigmoid(logits)"
                                            : "1");
  s << ", renorm = ";
  if (r.atLeast > 0.0)
    s << "at_least(" << r.atLeast << ")";
  else
    s << (r.renormalise ? "sum" : "none");
  s << ", scale = ";
  if (r.factors)
    s << "\"router.factors\"";
  else
    s << r.scale;
  if (r.skipRatio > 0.0)
    s << ", skip = ratio(" << r.skipRatio << ", renorm = none)";
  s << ")";
  return s.str();
}

/// A block that computes one feed-forward part.
static std::string block(const FeedForward &f, const std::string &name) {
  std::ostringstream s;
  size_t real = f.widths.size();
  s << "block " << name << "(f) {\n  r = " << route(f) << "\n  y = experts(f, r"
    << (f.applyInput ? ", apply = input" : "");
  // Tensors are counted without the experts that have none.
  std::string first = std::to_string(f.firstReal());
  s << ", for e in " << first << ".." << f.firstReal() + real << ": "
    << body(f, "width_" + name + "[e - " + first + "]",
            "experts.{e - " + first + "}.", false);
  int ids = f.firstVirtual();
  if (f.identities)
    s << ",\n      for e in " << ids << ".." << ids + f.identities
      << ": identity()";
  ids += f.identities;
  if (f.nulls)
    s << ",\n      for e in " << ids << ".." << ids + f.nulls << ": null()";
  s << ")\n  return y";
  if (f.sharedWidth)
    s << " + " << body(f, std::to_string(f.sharedWidth), "shared.", true);
  s << "\n}\n";
  return s.str();
}

static std::string maskAndRope(const Config &c) {
  std::ostringstream s;
  s << "mask = ";
  if (c.window)
    s << "window(" << c.window << ")";
  else if (c.chunk)
    s << "chunked(" << c.chunk << ")";
  else
    s << "causal";
  s << ", rope = ";
  if (c.rope == Rope::None)
    return s.str() + "none";
  s << "rope(theta = 1e4, style = " << (c.rope == Rope::Half ? "half" : "pairs")
    << ", dims = " << c.rotated << ")";
  return s.str();
}

static std::string attend(const Config &c) {
  std::ostringstream s;
  auto map = [&](const char *name) {
    s << name << " = \"attn." << name << ".weight\"";
    if (c.attentionBias)
      s << " + \"attn." << name << ".bias\"";
    s << ", ";
  };
  auto norm = [&](const char *name, const char *over) {
    s << name << " = rms_norm(\"attn." << name << ".weight\", eps = 1e-6"
      << over << "), ";
  };
  if (c.latentRank) {
    s << "mla(n, heads = " << c.heads << ", kv_rank = " << c.latentRank
      << ", nope_dim = " << c.headDim - c.rotated
      << ", rope_dim = " << c.rotated;
  } else {
    s << "attention(n, heads = " << c.heads << ", kv_heads = " << c.kvHeads
      << ", head_dim = " << c.headDim;
  }
  s << ", value_dim = " << c.valueDim << ",\n      " << maskAndRope(c)
    << ",\n      ";
  if (c.sinks)
    s << "sinks = \"attn.sinks\", ";
  if (c.softcap)
    s << "softcap = " << c.softcap << ", ";
  if (!c.latentRank) {
    map("q");
    map("k");
    map("v");
    if (c.normedHeads) {
      norm("q_norm", ", over = head");
      norm("k_norm", ", over = head");
    }
    if (c.gate)
      s << "gate = \"attn.gate.weight\", ";
  } else {
    if (c.queryRank) {
      s << "q_rank = " << c.queryRank << ", ";
      norm("q_norm", "");
      map("q_a");
      map("q_b");
    } else {
      map("q");
    }
    map("kv_a");
    map("kv_b");
    norm("kv_norm", "");
  }
  s << "o = \"attn.o.weight\")";
  return s.str();
}

std::string RandomModel::source() const {
  const Config &c = config;
  bool split = c.feedForwards.size() > 1;
  std::ostringstream s;
  s << "moe 1\nmodel random\n\nweights \"model.safetensors\"\ndtype f32\n";
  for (size_t part = 0; part < c.feedForwards.size(); ++part) {
    s << "const width_" << (part ? "image" : "text") << " = [";
    for (size_t e = 0; e < c.feedForwards[part].widths.size(); ++e)
      s << (e ? ", " : "") << c.feedForwards[part].widths[e];
    s << "]\n";
  }
  s << "modality text(ids: token[" << c.vocab
    << "]) = embed(ids, \"embed.weight\", to = " << c.hidden << ")\n";
  if (c.imageTokens)
    s << "modality image(x: f32[" << c.imageTokens << ", " << c.imageWidth
      << "]) = linear(x, \"image.weight\", to = " << c.hidden << ")\n";
  s << block(c.feedForwards[0], "text");
  if (split)
    s << block(c.feedForwards[1], "image");
  s << "block moe_of(f) at \"moe.\" {\n  return ";
  if (split)
    s << "by modality { text: at_text(f), image: at_image(f) }";
  else
    s << "text(f)";
  s << "\n}\n";
  if (split)
    s << "block at_text(f) at \"text.\" { return text(f) }\n"
         "block at_image(f) at \"image.\" { return image(f) }\n";
  s << "block decoder(x) {\n  layers l in 0.." << c.layers
    << " carry x at \"layers.{l}.\" {\n    n = rms_norm(x, \"norm1.weight\", "
       "eps = 1e-6)\n    x = x + "
    << attend(c)
    << "\n    f = rms_norm(x, \"norm2.weight\", eps = "
       "1e-6)\n    x = x + moe_of(f)\n  }\n  return linear(rms_norm(x, "
       "\"norm.weight\", eps = 1e-6), \"head.weight\", to = "
    << c.vocab << ")\n}\n";
  const char *layout =
      c.imageTokens ? "any(text, image)[1..256]" : "text[1..256]";
  s << "entry score(s: seq(" << layout << ")) = decoder(s)\n";
  s << "entry prefill(s: seq(" << layout
    << ")) = last(decoder(s)) with cache(256)\n";
  return s.str();
}

void RandomModel::write(const std::string &folder) const {
  std::ofstream(folder + "/model.moe") << source();
  std::ostringstream header;
  std::string data;
  for (const auto &[name, tensor] : tensors) {
    size_t begin = data.size();
    data.append(reinterpret_cast<const char *>(tensor.values.data()),
                tensor.values.size() * sizeof(float));
    header << (begin ? "," : "{") << "\"" << name
           << "\":{\"dtype\":\"F32\",\"shape\":[";
    for (size_t d = 0; d < tensor.shape.size(); ++d)
      header << (d ? "," : "") << tensor.shape[d];
    header << "],\"data_offsets\":[" << begin << "," << data.size() << "]}";
  }
  std::string text = header.str() + "}";
  uint64_t length = text.size();
  std::ofstream file(folder + "/model.safetensors", std::ios::binary);
  file.write(reinterpret_cast<const char *>(&length), sizeof(length));
  file << text << data;
}
