//===- DeepSeekParts.h - What DeepSeek's successors share -------*- C++ -*-===//
//
// Routing by sigmoid with a bias that only selects, groups, experts beside
// shared ones, and dense layers first: many families are built of these.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_FRONTEND_IMPORTERS_DEEPSEEKPARTS_H
#define MOEC_FRONTEND_IMPORTERS_DEEPSEEKPARTS_H

#include "frontend/importers/Decoder.h"

namespace moec::importers {

/// Layers with experts: `mlp_layer_types`, or those from the
/// `first_k_dense_replace`-th on.
Schedule layersWithExperts(Decoder &decoder, int64_t denseByDefault = 0);

/// The routing of DeepSeek-V3 with a bias of the given name; reads the keys for
/// groups, renormalisation and scale.
RouteText biasedSigmoidRoute(Decoder &decoder, const std::string &gate,
                             const std::string &bias);

/// Names of a feed-forward part with routed and shared experts.
struct SharedExpertLayers {
  Schedule sparse;
  RouteText route;
  ExpertsText experts;
  /// Key of the number of shared experts, whose widths add up.
  Names sharedCount = {"n_shared_experts", "num_shared_experts"};
  std::string sharedAt = "mlp.shared_experts.";
  /// Of the dense layers.
  Names denseWidth = "intermediate_size";
  std::string act = "silu";

  explicit SharedExpertLayers(Schedule sparse) : sparse(std::move(sparse)) {}
};

/// An expression for each kind of layer; the statements before it are in
/// `sparse` and `dense`.
struct FeedForwardText {
  std::string sparse; ///< statements up to `routed`
  std::string sparseValue;
  std::string denseValue;
};
FeedForwardText sharedExpertFeedForward(Decoder &decoder,
                                        SharedExpertLayers layers);
/// The same as statements that add to `x`.
std::string sharedExpertStatements(Decoder &decoder, SharedExpertLayers layers);

} // namespace moec::importers

#endif // MOEC_FRONTEND_IMPORTERS_DEEPSEEKPARTS_H
