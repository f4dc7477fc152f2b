//===- DeepSeekParts.cpp - What DeepSeek's successors share ---------------===//

#include "frontend/importers/DeepSeekParts.h"

using namespace moec;
using namespace moec::importers;

Schedule importers::layersWithExperts(Decoder &d, int64_t denseByDefault) {
  ModelConfig &c = d.config;
  int64_t dense = c.integer("first_k_dense_replace", denseByDefault);
  if (!c.has("mlp_layer_types"))
    return Schedule::where(d.depth, [&](int64_t l) { return l >= dense; });
  std::vector<std::string> types = c.words("mlp_layer_types");
  if (static_cast<int64_t>(types.size()) != d.depth) {
    c.unsupported("mlp_layer_types",
                  "'mlp_layer_types' must have " + llvm::Twine(d.depth) +
                      " entries, found " + llvm::Twine(types.size()));
    return d.allLayers();
  }
  for (const std::string &type : types)
    if (type != "dense" && type != "sparse")
      c.unsupported("mlp_layer_types",
                    "layers of type '" + type + "' are not built");
  return Schedule::where(d.depth,
                         [&](int64_t l) { return types[l] == "sparse"; });
}

RouteText importers::biasedSigmoidRoute(Decoder &d, const std::string &gate,
                                        const std::string &bias) {
  ModelConfig &c = d.config;
  c.expect("scoring_func", llvm::StringRef("sigmoid"));
  c.expect("topk_method", llvm::StringRef("noaux_tc"));
  c.expect("moe_layer_freq", int64_t(1));
  RouteText route;
  route.gate = "\"" + gate + "\"";
  route.f32 = true;
  route.score = "sigmoid";
  route.rank = "score + \"" + bias + "\"";
  d.keep("*." + bias);
  int64_t groups = c.size("n_group", 1), kept = c.size("topk_group", 1);
  if (groups > 1)
    route.groups = "groups(" + spell(groups) + ", keep = " + spell(kept) +
                   ", by = top2_sum, outside = -inf)";
  route.select = "top_k(" + spell(c.size("num_experts_per_tok")) + ")";
  route.renorm =
      c.boolean("norm_topk_prob", true) ? "sum(eps = 1e-20)" : "none";
  route.scale = spell(c.real(
      {"routed_scaling_factor", "route_scale", "router_scaling_factor"}, 1.0));
  return route;
}

FeedForwardText importers::sharedExpertFeedForward(Decoder &d,
                                                   SharedExpertLayers layers) {
  ModelConfig &c = d.config;
  d.dim("experts",
        c.size({"n_routed_experts", "num_experts", "num_local_experts"}));
  int64_t width = c.size("moe_intermediate_size");
  d.dim("ffn", width);
  FeedForwardText text;
  layers.experts.layer = layers.sparse.first();
  layers.experts.act = layers.act;
  if (!layers.sparse.none()) {
    text.sparse = "r = " + d.route(layers.route) +
                  "\nrouted = " + d.experts(layers.experts) + "\n";
    text.sparseValue = "routed";
  }
  int64_t shared = c.integer(layers.sharedCount, 0);
  if (shared > 0) {
    GluText glu;
    glu.at = layers.sharedAt;
    glu.act = layers.act;
    if (shared > 1)
      glu.width = d.dim("shared_ffn", shared * width);
    text.sparseValue += " + " + d.glu(glu);
  }
  GluText dense;
  dense.act = layers.act;
  if (layers.sparse.all())
    c.neutral(layers.denseWidth);
  else
    dense.width = d.dim("dense_ffn", c.size(layers.denseWidth));
  text.denseValue = d.glu(dense);
  return text;
}

std::string importers::sharedExpertStatements(Decoder &d,
                                              SharedExpertLayers layers) {
  Schedule sparse = layers.sparse;
  FeedForwardText text = sharedExpertFeedForward(d, std::move(layers));
  return d.when(sparse, "sparse", text.sparse + "x = x + " + text.sparseValue,
                "x = x + " + text.denseValue);
}
