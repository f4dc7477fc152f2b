//===- BenchCosts.cpp - Bytes and operations of a step --------------------===//

#include "runtime/tools/BenchCosts.h"

#include "absl/strings/str_split.h"

#include <algorithm>
#include <cmath>
#include <map>

using namespace moe::tools;
using namespace moe::manifest;

namespace {

uint64_t elementsOf(const WeightT &weight) {
  uint64_t elements = 1;
  for (const uint64_t extent : weight.shape)
    elements *= extent;
  return elements;
}

uint64_t bytesOf(DType dtype) {
  switch (dtype) {
  case DType::f32:
  case DType::i32:
    return 4;
  case DType::bf16:
  case DType::f16:
    return 2;
  default:
    return 1;
  }
}

size_t commonPrefix(const std::string &a, const std::string &b) {
  return static_cast<size_t>(
      std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

/// A table of rows of which each token reads one.
bool isLookup(const WeightT &weight) {
  return weight.role == "embed" || weight.role == "position";
}

} // namespace

BenchCosts::BenchCosts(const ManifestT &manifest, uint32_t function,
                       const std::string &modality) {
  for (const auto &each : manifest.modalities)
    if (each->name != modality)
      otherModalities.push_back(each->name);
  for (uint32_t i = 0; i < manifest.routers.size(); ++i) {
    const auto &router = manifest.routers[i];
    if (!belongsToOther(router->name)) {
      Pool &pool = all.emplace_back();
      pool.ordinal = i;
      pool.router = router->name;
      pool.experts = router->experts;
      pool.slots = router->slots;
      poolLayers.push_back({router->layer, router->name});
    }
  }
  const uint64_t width = manifest.functions[function]->outputs.front()->width;
  std::map<std::string, uint64_t> bytesByFormat;
  for (const auto &weight : manifest.weights) {
    params += elementsOf(*weight);
    bytesByFormat[weight->format == "plain" ? EnumNameDType(weight->dtype)
                                            : weight->format] += weight->bytes;
    if (!belongsToOther(weight->name))
      addWeight(*weight, width);
  }
  uint64_t most = 0;
  for (const auto &[format, bytes] : bytesByFormat)
    if (bytes > most) {
      most = bytes;
      mainFormat = format;
    }
  // With tied embeddings the looked-up table is the head as well: then there is
  // no other matrix outside the layers.
  if (!hasOuterMatrix)
    for (const auto &weight : manifest.weights)
      if (weight->role == "embed" && weight->shape.size() == 2 &&
          weight->shape[0] == width && !belongsToOther(weight->name)) {
        headBytes = weight->bytes;
        headElements = elementsOf(*weight);
        break;
      }
  for (const auto &state : manifest.states)
    cacheBytesPerToken += state->width * bytesOf(state->dtype);
}

bool BenchCosts::belongsToOther(const std::string &name) const {
  for (const absl::string_view part : absl::StrSplit(name, '.'))
    for (const std::string &other : otherModalities)
      if (part == other)
        return true;
  return false;
}

void BenchCosts::addWeight(const WeightT &weight, uint64_t width) {
  const bool isMatrix = weight.shape.size() >= 2;
  if (weight.expert >= 0)
    return addExpert(weight);
  if (isLookup(weight) && isMatrix) {
    // One modality: each token reads one row of every table.
    lookupBytes += weight.bytes / weight.shape[0];
    return;
  }
  hasOuterMatrix |= weight.layer < 0 && isMatrix;
  if (weight.layer < 0 && isMatrix && weight.shape[0] == width) {
    headBytes += weight.bytes;
    headElements += elementsOf(weight);
    return;
  }
  denseBytes += weight.bytes;
  if (!isMatrix)
    return;
  denseElements += elementsOf(weight);
  if (weight.role == "q")
    attentionWidth += weight.shape.front();
  else if (weight.role == "o")
    attentionWidth += weight.shape.back();
}

size_t BenchCosts::poolOf(const WeightT &weight) const {
  size_t best = all.size();
  size_t longest = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    if (poolLayers[i].layer != weight.layer ||
        static_cast<uint32_t>(weight.expert) >= all[i].experts)
      continue;
    const size_t shared = commonPrefix(poolLayers[i].router, weight.name);
    if (best == all.size() || shared > longest) {
      best = i;
      longest = shared;
    }
  }
  return best;
}

void BenchCosts::addExpert(const WeightT &weight) {
  const size_t best = poolOf(weight);
  if (best == all.size()) // chosen by nobody we know: as if always needed
    denseBytes += weight.bytes, denseElements += elementsOf(weight);
  else
    all[best].bytes += weight.bytes, all[best].elements += elementsOf(weight);
}

double BenchCosts::expectedHits(const Pool &pool, uint64_t tokens) {
  const double experts = pool.experts;
  return experts *
         (1 - std::pow(1 - pool.slots / experts, static_cast<double>(tokens)));
}

double BenchCosts::expectedHits(uint64_t tokens) const {
  double sum = 0;
  for (const Pool &pool : all)
    sum += expectedHits(pool, tokens);
  return all.empty() ? 0 : sum / static_cast<double>(all.size());
}

double BenchCosts::weightBytes(const StepShape &step,
                               const std::vector<double> &hits) const {
  double bytes = static_cast<double>(denseBytes + step.tokens * lookupBytes +
                                     (step.rows ? headBytes : 0));
  for (size_t i = 0; i < all.size(); ++i)
    bytes += static_cast<double>(all[i].bytes) * hits[i] / all[i].experts;
  return bytes;
}

double BenchCosts::cacheBytes(const StepShape &step) const {
  return static_cast<double>(step.positions * cacheBytesPerToken);
}

double BenchCosts::operations(const StepShape &step) const {
  double perToken = static_cast<double>(denseElements);
  for (const Pool &pool : all)
    perToken += static_cast<double>(pool.elements) * pool.slots / pool.experts;
  return 2 * (static_cast<double>(step.tokens) * perToken +
              static_cast<double>(step.rows * headElements) +
              static_cast<double>(step.positions * attentionWidth));
}
