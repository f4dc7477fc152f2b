//===- BenchCosts.h - Bytes and operations of a step ----------------------===//
//
// What a step must read and compute at least, from the manifest: every weight
// that its tokens need, once. Modalities other than the one that is fed are
// known by their names, which are parts of the names of their weights, as in
// "layers.0.moe.image.router".
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_RUNTIME_TOOLS_BENCHCOSTS_H
#define MOEC_RUNTIME_TOOLS_BENCHCOSTS_H

#include "runtime/abi/manifest_generated.h"

#include <cstdint>
#include <string>
#include <vector>

namespace moe::tools {

/// What one step does, as far as its cost depends on it.
struct StepShape {
  uint64_t tokens = 0;
  uint64_t rows = 0;      // results
  uint64_t positions = 0; // sum over the tokens of the keys each attends to
};

class BenchCosts {
public:
  /// Of the function with ordinal `function`, fed with ids of `modality`.
  BenchCosts(const manifest::ManifestT &manifest, uint32_t function,
             const std::string &modality);

  /// Experts of one layer that one router chooses from.
  struct Pool {
    std::string router;
    uint32_t ordinal = 0; // of the router
    uint32_t experts = 0;
    uint32_t slots = 0; // per token
    uint64_t bytes = 0; // of all experts
    uint64_t elements = 0;
  };
  const std::vector<Pool> &pools() const { return all; }
  /// Index of the pool that an expert's weight belongs to: the router of its
  /// layer whose name has most in common with the weight's. As many as there
  /// are pools where there is none.
  size_t poolOf(const manifest::WeightT &weight) const;
  /// Whether a weight or router is of a modality that is not fed.
  bool belongsToOther(const std::string &name) const;

  /// Experts that `tokens` tokens hit in a pool if each chooses at random:
  /// E (1 - (1 - k/E)^T).
  static double expectedHits(const Pool &pool, uint64_t tokens);
  /// The same, mean over the pools; 0 without any.
  double expectedHits(uint64_t tokens) const;

  /// Weights touched by a step that hits hits[p] experts of pool p.
  double weightBytes(const StepShape &step,
                     const std::vector<double> &hits) const;
  /// Cache read by a step.
  double cacheBytes(const StepShape &step) const;
  /// Operations in matrix products and attention, a multiply-add being two.
  double operations(const StepShape &step) const;

  uint64_t parameters() const { return params; }
  /// Storage format of most bytes: "bf16", or the name of a quantised format.
  const std::string &format() const { return mainFormat; }

private:
  void addWeight(const manifest::WeightT &weight, uint64_t width);
  void addExpert(const manifest::WeightT &weight);

  std::vector<std::string> otherModalities;
  std::vector<Pool> all;
  struct PoolLayer {
    int32_t layer;
    std::string router;
  };
  std::vector<PoolLayer> poolLayers; // beside `all`
  uint64_t denseBytes = 0;
  uint64_t denseElements = 0;  // of matrices
  bool hasOuterMatrix = false; // one outside the layers that is not looked up
  uint64_t headBytes = 0;
  uint64_t headElements = 0;
  uint64_t lookupBytes = 0;    // rows looked up, per token
  uint64_t attentionWidth = 0; // query and output columns, of all layers
  uint64_t cacheBytesPerToken = 0;
  uint64_t params = 0;
  std::string mainFormat;
};

} // namespace moe::tools

#endif // MOEC_RUNTIME_TOOLS_BENCHCOSTS_H
