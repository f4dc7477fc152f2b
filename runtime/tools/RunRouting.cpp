//===- RunRouting.cpp - What moe-run gives to the routers -----------------===//

#include "runtime/tools/RunRouting.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include <cstring>

using namespace moe;
using namespace moe::tools;

namespace {

template <typename... Args> [[noreturn]] void fail(const Args &...args) {
  throw Error(MOE_ERROR_INVALID_ARGUMENT, absl::StrCat(args...));
}

/// The numbers of a file of this type and shape.
template <typename Element>
std::vector<Element> read(const std::string &path, ElementType type,
                          const std::vector<uint64_t> &shape) {
  const auto bytes = readWholeFile(path);
  if (!bytes.ok())
    fail(bytes.status().message());
  const auto array = parseNpy(path, *bytes);
  if (!array.ok())
    fail(array.status().message());
  if (array->type != type || array->shape != shape)
    fail("'", path, "': expected ", elementTypeName(type), " [",
         absl::StrJoin(shape, ", "), "], found ", array->describe());
  std::vector<Element> result(array->elements());
  std::memcpy(result.data(), array->bytes.data(), array->bytes.size());
  return result;
}

} // namespace

RunRouting::RunRouting(const RunOptions &options, const Model &model,
                       uint64_t tokens) {
  if (!options.givesRouting())
    return;
  const uint32_t routers = model.info().num_routers;
  uint64_t slots = 0;
  uint64_t experts = 0;
  for (uint32_t r = 0; r < routers; ++r) {
    slots = std::max<uint64_t>(slots, model.router(r).slots);
    experts = std::max<uint64_t>(experts, model.router(r).experts);
  }
  std::vector<int32_t> ids;
  std::vector<float> weights;
  std::vector<float> bias;
  std::vector<uint8_t> mask;
  if (!options.replayIds.empty())
    ids = read<int32_t>(options.replayIds, ElementType::I32,
                        {routers, tokens, slots});
  if (!options.replayWeights.empty())
    weights = read<float>(options.replayWeights, ElementType::F32,
                          {routers, tokens, slots});
  if (!options.routerBias.empty())
    bias =
        read<float>(options.routerBias, ElementType::F32, {routers, experts});
  if (!options.expertMask.empty())
    mask =
        read<uint8_t>(options.expertMask, ElementType::U8, {routers, experts});
  arrays.resize(routers);
  for (uint32_t r = 0; r < routers; ++r) {
    const moe_router_info router = model.router(r);
    Arrays &own = arrays[r];
    RouterInput input = router_input(r);
    // Routers with fewer slots than others are filled up.
    for (uint64_t t = 0; t < tokens && !ids.empty(); ++t)
      for (uint64_t s = 0; s < slots; ++s) {
        const uint64_t at = (r * tokens + t) * slots + s;
        if (s < router.slots) {
          own.ids.push_back(ids[at]);
          if (!weights.empty())
            own.weights.push_back(weights[at]);
        } else if (ids[at] >= 0) {
          fail("'", options.replayIds, "': router ", r, ", token ", t,
               ", slot ", s, ": expected no expert behind its ", router.slots,
               " slots, found ", ids[at]);
        }
      }
    const auto row = [&](const auto &table, auto &into) {
      if (!table.empty())
        into.assign(table.begin() + static_cast<std::ptrdiff_t>(r * experts),
                    table.begin() + static_cast<std::ptrdiff_t>(
                                        r * experts + router.experts));
    };
    row(bias, own.bias);
    row(mask, own.mask);
    const auto view = [](const auto &numbers) {
      return numbers.empty() ? nullptr : numbers.data();
    };
    input.ids = view(own.ids);
    input.weights = view(own.weights);
    input.tokens = tokens;
    input.bias = view(own.bias);
    input.expert_mask = view(own.mask);
    input.count = static_cast<uint32_t>(options.expertsPerToken);
    inputs.push_back(input);
  }
}
