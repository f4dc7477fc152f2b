//===- NaiveModel.cpp - A decoder with experts, plainly -------------------===//
#include "test/lib/NaiveModel.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

using namespace naive;

namespace {
constexpr double infinity = std::numeric_limits<double>::infinity();

double activate(Activation activation, double x) {
  switch (activation) {
  case Activation::Silu:
    return x / (1.0 + std::exp(-x));
  case Activation::Relu:
    return std::max(x, 0.0);
  case Activation::Relu2:
    return std::max(x, 0.0) * std::max(x, 0.0);
  case Activation::GeluTanh:
    return 0.5 * x *
           (1.0 +
            std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
  }
  return x;
}

Vector softmax(Vector x) {
  double max = *std::max_element(x.begin(), x.end()), sum = 0.0;
  for (double &v : x)
    sum += v = std::exp(v - max);
  for (double &v : x)
    v /= sum;
  return x;
}

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

/// Ids in falling order of rank, ties in order of id.
std::vector<int> sorted(const Vector &rank) {
  std::vector<int> order(rank.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    return rank[a] != rank[b] ? rank[a] > rank[b] : a < b;
  });
  return order;
}

/// A weight for each chosen id.
using Choice = std::vector<std::pair<int, double>>;

/// Queries, keys and values of a token, head by head.
struct Projected {
  Vector query, key, value;
};

class Model {
public:
  Model(const Config &config, const Tensors &tensors)
      : config(config), tensors(tensors) {}

  Result run(const std::vector<Token> &tokens,
             const std::vector<float> &images);

private:
  const Tensor &tensor(const std::string &name) const {
    return tensors.at(name);
  }
  Vector linear(const Vector &x, const std::string &name) const;
  Vector norm(const Vector &x, const std::string &name) const;
  Vector embed(const Token &token, const std::vector<float> &images) const;
  Vector project(const Vector &x, const std::string &name) const;
  void rotate(Vector &heads, int width, int position) const;
  Vector normHeads(const Vector &heads, const std::string &name) const;
  Projected projectPlain(const std::string &prefix, const Vector &row,
                         int position) const;
  Projected projectLatent(const std::string &prefix, const Vector &row,
                          int position) const;
  std::vector<Vector> attend(const std::string &prefix,
                             const std::vector<Vector> &rows) const;
  Vector expert(const FeedForward &ffn, const std::string &prefix,
                const Vector &x) const;
  Vector feedForward(size_t part, int layer, const Vector &x);
  void limitGroups(const Routing &routing, Vector &rank);
  std::vector<int> select(const Routing &routing, const Vector &rank);
  Choice route(const Routing &routing, const Vector &logits,
               const std::string &prefix);
  /// Notes how far the last kept of a falling order is from the next.
  void note(double kept, double next) {
    // Ranks that a constant replaced tie exactly, wherever they are computed.
    if (std::isfinite(next) && kept != next)
      clearance = std::min(clearance, kept - next);
  }

  const Config &config;
  const Tensors &tensors;
  double clearance = infinity;
};

Vector Model::linear(const Vector &x, const std::string &name) const {
  const Tensor &weight = tensor(name);
  Vector y(weight.shape[0], 0.0);
  for (size_t o = 0; o < y.size(); ++o)
    for (size_t i = 0; i < x.size(); ++i)
      y[o] += x[i] * weight.row(static_cast<int>(o))[i];
  return y;
}

Vector Model::norm(const Vector &x, const std::string &name) const {
  double squares = 0.0;
  for (double v : x)
    squares += v * v;
  double root = std::sqrt(squares / static_cast<double>(x.size()) + config.eps);
  Vector y;
  for (size_t i = 0; i < x.size(); ++i)
    y.push_back(x[i] / root * tensor(name).values[i]);
  return y;
}

Vector Model::embed(const Token &token,
                    const std::vector<float> &images) const {
  if (!token.isImage) {
    const float *row = tensor("embed.weight").row(token.value);
    return Vector(row, row + config.hidden);
  }
  auto first = images.begin() + token.value * config.imageWidth;
  return linear(Vector(first, first + config.imageWidth), "image.weight");
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

Vector Model::project(const Vector &x, const std::string &name) const {
  Vector y = linear(x, name + ".weight");
  if (config.attentionBias)
    for (size_t i = 0; i < y.size(); ++i)
      y[i] += tensor(name + ".bias").values[i];
  return y;
}

/// Rotates the first elements of each head of `width`.
void Model::rotate(Vector &heads, int width, int position) const {
  if (config.rope == Rope::None)
    return;
  int half = config.rotated / 2;
  for (size_t head = 0; head < heads.size(); head += width)
    for (int i = 0; i < half; ++i) {
      bool isHalf = config.rope == Rope::Half;
      double &a = heads[head + (isHalf ? i : 2 * i)];
      double &b = heads[head + (isHalf ? i + half : 2 * i + 1)];
      double angle =
          position * std::pow(config.theta, -2.0 * i / config.rotated);
      double turned = a * std::cos(angle) - b * std::sin(angle);
      b = b * std::cos(angle) + a * std::sin(angle);
      a = turned;
    }
}

Vector Model::normHeads(const Vector &heads, const std::string &name) const {
  if (!config.normedHeads)
    return heads;
  Vector result;
  for (size_t head = 0; head < heads.size(); head += config.headDim) {
    auto first = heads.begin() + head;
    Vector one = norm(Vector(first, first + config.headDim), name);
    result.insert(result.end(), one.begin(), one.end());
  }
  return result;
}

Projected Model::projectPlain(const std::string &prefix, const Vector &row,
                              int position) const {
  Projected p;
  p.query = normHeads(project(row, prefix + "q"), prefix + "q_norm.weight");
  p.key = normHeads(project(row, prefix + "k"), prefix + "k_norm.weight");
  p.value = project(row, prefix + "v");
  rotate(p.query, config.headDim, position);
  rotate(p.key, config.headDim, position);
  return p;
}

/// Keys and values of every head, made from the latent.
Projected Model::projectLatent(const std::string &prefix, const Vector &row,
                               int position) const {
  Projected p;
  int turned = config.rotated, plain = config.headDim - turned;
  if (config.queryRank)
    p.query = linear(
        norm(linear(row, prefix + "q_a.weight"), prefix + "q_norm.weight"),
        prefix + "q_b.weight");
  else
    p.query = linear(row, prefix + "q.weight");
  Vector kept = linear(row, prefix + "kv_a.weight");
  auto split = kept.begin() + config.latentRank;
  Vector shared(split, kept.end());
  Vector made =
      linear(norm(Vector(kept.begin(), split), prefix + "kv_norm.weight"),
             prefix + "kv_b.weight");
  rotate(shared, turned, position);
  for (int h = 0; h < config.heads; ++h) {
    auto query = p.query.begin() + h * config.headDim + plain;
    Vector part(query, query + turned);
    rotate(part, turned, position);
    std::copy(part.begin(), part.end(), query);
    auto own = made.begin() + h * (plain + config.valueDim);
    p.key.insert(p.key.end(), own, own + plain);
    p.key.insert(p.key.end(), shared.begin(), shared.end());
    p.value.insert(p.value.end(), own + plain, own + plain + config.valueDim);
  }
  return p;
}

std::vector<Vector> Model::attend(const std::string &prefix,
                                  const std::vector<Vector> &rows) const {
  std::vector<Projected> all;
  std::vector<Vector> results;
  int d = config.headDim, v = config.valueDim;
  int shared = config.latentRank ? 1 : config.heads / config.kvHeads;
  for (size_t t = 0; t < rows.size(); ++t) {
    int position = static_cast<int>(t);
    all.push_back(config.latentRank ? projectLatent(prefix, rows[t], position)
                                    : projectPlain(prefix, rows[t], position));
    int first = 0;
    if (config.window)
      first = std::max(0, position + 1 - config.window);
    if (config.chunk)
      first = position / config.chunk * config.chunk;
    Vector mixed(config.heads * v, 0.0);
    for (int h = 0; h < config.heads; ++h) {
      int kv = h / shared;
      Vector scores;
      for (int u = first; u <= position; ++u) {
        double dot = 0.0;
        for (int i = 0; i < d; ++i)
          dot += all[t].query[h * d + i] * all[u].key[kv * d + i];
        dot /= std::sqrt(static_cast<double>(d));
        scores.push_back(config.softcap
                             ? config.softcap * std::tanh(dot / config.softcap)
                             : dot);
      }
      if (config.sinks)
        scores.push_back(tensor(prefix + "sinks").values[h]);
      scores = softmax(scores);
      for (int u = first; u <= position; ++u)
        for (int i = 0; i < v; ++i)
          mixed[h * v + i] += scores[u - first] * all[u].value[kv * v + i];
    }
    if (config.gate) {
      Vector gate = linear(rows[t], prefix + "gate.weight");
      for (size_t i = 0; i < mixed.size(); ++i)
        mixed[i] *= sigmoid(gate[i]);
    }
    results.push_back(linear(mixed, prefix + "o.weight"));
  }
  return results;
}

//===----------------------------------------------------------------------===//
// Routing and experts
//===----------------------------------------------------------------------===//

void Model::limitGroups(const Routing &routing, Vector &rank) {
  int size = static_cast<int>(rank.size()) / routing.groups;
  Vector statistic;
  for (int g = 0; g < routing.groups; ++g) {
    Vector members(rank.begin() + g * size, rank.begin() + (g + 1) * size);
    std::sort(members.rbegin(), members.rend());
    statistic.push_back(members[0] + (routing.byTwoLargest ? members[1] : 0.0));
  }
  std::vector<int> order = sorted(statistic);
  if (routing.keep < routing.groups)
    note(statistic[order[routing.keep - 1]], statistic[order[routing.keep]]);
  for (int g = routing.keep; g < routing.groups; ++g)
    std::fill_n(rank.begin() + order[g] * size, size,
                routing.outsideIsZero ? 0.0 : -infinity);
}

std::vector<int> Model::select(const Routing &routing, const Vector &rank) {
  std::vector<int> order = sorted(rank);
  size_t kept = routing.k;
  if (routing.k == 0) {
    double sum = 0.0;
    for (kept = 0; kept < order.size() && sum <= routing.p; ++kept) {
      sum += rank[order[kept]];
      clearance = std::min(clearance, std::fabs(sum - routing.p));
    }
  }
  if (kept < order.size())
    note(rank[order[kept - 1]], rank[order[kept]]);
  order.resize(kept);
  return order;
}

Choice Model::route(const Routing &routing, const Vector &logits,
                    const std::string &prefix) {
  Vector scores = logits;
  if (routing.score == Score::Softmax)
    scores = softmax(logits);
  else if (routing.score == Score::Sigmoid)
    for (double &s : scores)
      s = sigmoid(s);
  Vector rank = scores;
  if (routing.biased)
    for (size_t e = 0; e < rank.size(); ++e)
      rank[e] += tensor(prefix + "router.bias").values[e];
  if (routing.groups)
    limitGroups(routing, rank);
  std::vector<int> ids = select(routing, rank);
  Vector weights;
  for (int id : ids) {
    if (routing.weigh == Weigh::Score)
      weights.push_back(scores[id]);
    else if (routing.weigh == Weigh::One)
      weights.push_back(1.0);
    else if (routing.weigh == Weigh::SelectedSigmoid)
      weights.push_back(sigmoid(logits[id]));
    else
      weights.push_back(logits[id]);
  }
  if (routing.weigh == Weigh::SelectedSoftmax)
    weights = softmax(weights);
  double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  sum = std::max(sum, routing.atLeast);
  double largest = -infinity;
  for (size_t s = 0; s < ids.size(); ++s) {
    weights[s] *= routing.scale / (routing.renormalise ? sum : 1.0);
    if (routing.factors)
      weights[s] *= tensor(prefix + "router.factors").values[ids[s]];
    largest = std::max(largest, weights[s]);
  }
  Choice choice;
  for (size_t s = 0; s < ids.size(); ++s) {
    double limit = routing.skipRatio * largest;
    if (routing.skipRatio > 0.0)
      clearance = std::min(clearance, std::fabs(weights[s] - limit));
    if (routing.skipRatio == 0.0 || weights[s] >= limit)
      choice.push_back({ids[s], weights[s]});
  }
  return choice;
}

Vector Model::expert(const FeedForward &ffn, const std::string &prefix,
                     const Vector &x) const {
  auto map = [&](const Vector &v, const std::string &name, bool biased) {
    Vector y = linear(v, prefix + name + ".weight");
    if (biased)
      for (size_t i = 0; i < y.size(); ++i)
        y[i] += tensor(prefix + name + ".bias").values[i];
    return y;
  };
  auto act = [&](double v) {
    return ffn.slope == 1.0 ? activate(ffn.activation, v)
                            : v * sigmoid(ffn.slope * v);
  };
  Vector hidden = map(x, "up", ffn.upBias);
  if (ffn.gated) {
    Vector gate = map(x, "gate", ffn.gateBias);
    double limit = std::max(ffn.clampBefore, ffn.clampAfter);
    for (size_t i = 0; i < hidden.size(); ++i) {
      double g = gate[i];
      if (ffn.clampBefore > 0.0)
        g = std::min(g, ffn.clampBefore);
      g = act(g);
      if (ffn.clampAfter > 0.0)
        g = std::min(g, ffn.clampAfter);
      if (limit > 0.0)
        hidden[i] = std::clamp(hidden[i], -limit, limit);
      hidden[i] = g * (hidden[i] + ffn.upOffset);
    }
  } else {
    for (double &h : hidden)
      h = act(h);
  }
  return map(hidden, "down", ffn.downBias);
}

Vector Model::feedForward(size_t part, int layer, const Vector &x) {
  const FeedForward &ffn = config.feedForwards[part];
  std::string prefix = config.prefix(layer, part);
  Vector y(x.size(), 0.0);
  if (ffn.sharedWidth)
    y = expert(ffn, prefix + "shared.", x);
  int real = static_cast<int>(ffn.widths.size());
  for (auto [id, weight] :
       route(ffn.routing, linear(x, prefix + "router.weight"), prefix)) {
    int place = id - ffn.firstReal(), idle = id - ffn.firstVirtual();
    bool isReal = place >= 0 && place < real;
    if (!isReal && idle >= ffn.identities)
      continue; // gives zero
    Vector operand = x;
    if (ffn.applyInput)
      for (double &v : operand)
        v *= weight;
    Vector result =
        isReal ? expert(ffn, prefix + "experts." + std::to_string(place) + ".",
                        operand)
               : operand;
    for (size_t i = 0; i < y.size(); ++i)
      y[i] += (ffn.applyInput ? 1.0 : weight) * result[i];
  }
  return y;
}

//===----------------------------------------------------------------------===//
// The whole
//===----------------------------------------------------------------------===//

Result Model::run(const std::vector<Token> &tokens,
                  const std::vector<float> &images) {
  std::vector<Vector> x;
  for (const Token &token : tokens)
    x.push_back(embed(token, images));
  auto add = [](Vector &to, const Vector &term) {
    for (size_t i = 0; i < to.size(); ++i)
      to[i] += term[i];
  };
  for (int layer = 0; layer < config.layers; ++layer) {
    std::string prefix = "layers." + std::to_string(layer) + ".";
    std::vector<Vector> normed;
    for (const Vector &row : x)
      normed.push_back(norm(row, prefix + "norm1.weight"));
    std::vector<Vector> attended = attend(prefix + "attn.", normed);
    for (size_t t = 0; t < x.size(); ++t) {
      add(x[t], attended[t]);
      size_t part = config.feedForwards.size() > 1 && tokens[t].isImage;
      add(x[t], feedForward(part, layer, norm(x[t], prefix + "norm2.weight")));
    }
  }
  Result result;
  for (const Vector &row : x)
    result.logits.push_back(linear(norm(row, "norm.weight"), "head.weight"));
  result.clearance = clearance;
  return result;
}
} // namespace

std::string Config::prefix(int layer, size_t part) const {
  std::string name = "layers." + std::to_string(layer) + ".moe.";
  if (feedForwards.size() == 1)
    return name;
  return name + (part ? "image." : "text.");
}

void Config::addAttention(
    const std::string &p,
    std::map<std::string, std::vector<int>> &shapes) const {
  shapes[p + "o.weight"] = {hidden, heads * valueDim};
  if (sinks)
    shapes[p + "sinks"] = {heads};
  if (latentRank) {
    int made = headDim - rotated + valueDim;
    shapes[p + "kv_a.weight"] = {latentRank + rotated, hidden};
    shapes[p + "kv_norm.weight"] = {latentRank};
    shapes[p + "kv_b.weight"] = {heads * made, latentRank};
    if (queryRank) {
      shapes[p + "q_a.weight"] = {queryRank, hidden};
      shapes[p + "q_norm.weight"] = {queryRank};
      shapes[p + "q_b.weight"] = {heads * headDim, queryRank};
    } else {
      shapes[p + "q.weight"] = {heads * headDim, hidden};
    }
    return;
  }
  for (auto [name, width] :
       {std::pair("q", heads * headDim), std::pair("k", kvHeads * headDim),
        std::pair("v", kvHeads * valueDim)}) {
    shapes[p + name + ".weight"] = {width, hidden};
    if (attentionBias)
      shapes[p + name + ".bias"] = {width};
  }
  if (normedHeads)
    shapes[p + "q_norm.weight"] = shapes[p + "k_norm.weight"] = {headDim};
  if (gate)
    shapes[p + "gate.weight"] = {heads * valueDim, hidden};
}

std::map<std::string, std::vector<int>> Config::shapes() const {
  std::map<std::string, std::vector<int>> shapes;
  shapes["embed.weight"] = shapes["head.weight"] = {vocab, hidden};
  shapes["norm.weight"] = {hidden};
  if (imageTokens)
    shapes["image.weight"] = {hidden, imageWidth};
  auto addExpert = [&](const std::string &prefix, const FeedForward &ffn,
                       int width) {
    shapes[prefix + "up.weight"] = {width, hidden};
    shapes[prefix + "down.weight"] = {hidden, width};
    if (ffn.gated)
      shapes[prefix + "gate.weight"] = {width, hidden};
    if (ffn.gated && ffn.gateBias)
      shapes[prefix + "gate.bias"] = {width};
    if (ffn.upBias)
      shapes[prefix + "up.bias"] = {width};
    if (ffn.downBias)
      shapes[prefix + "down.bias"] = {hidden};
  };
  for (int layer = 0; layer < layers; ++layer) {
    std::string p = "layers." + std::to_string(layer) + ".";
    shapes[p + "norm1.weight"] = shapes[p + "norm2.weight"] = {hidden};
    addAttention(p + "attn.", shapes);
    for (size_t part = 0; part < feedForwards.size(); ++part) {
      const FeedForward &ffn = feedForwards[part];
      std::string m = prefix(layer, part);
      shapes[m + "router.weight"] = {ffn.ids(), hidden};
      if (ffn.routing.biased)
        shapes[m + "router.bias"] = {ffn.ids()};
      if (ffn.routing.factors)
        shapes[m + "router.factors"] = {ffn.ids()};
      if (ffn.sharedWidth)
        addExpert(m + "shared.", ffn, ffn.sharedWidth);
      for (size_t e = 0; e < ffn.widths.size(); ++e)
        addExpert(m + "experts." + std::to_string(e) + ".", ffn, ffn.widths[e]);
    }
  }
  return shapes;
}

Result naive::run(const Config &config, const Tensors &tensors,
                  const std::vector<Token> &tokens,
                  const std::vector<float> &images) {
  return Model(config, tensors).run(tokens, images);
}
