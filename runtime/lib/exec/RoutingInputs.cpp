//===- RoutingInputs.cpp - What a step gives to its routers ---------------===//

#include "runtime/lib/exec/RoutingInputs.h"

#include <cmath>

using namespace moe::rt;

namespace {
/// The id that leaves the choice to the router.
constexpr int32_t kFree = -2;
} // namespace

RoutingInputs::RoutingInputs(const ModelDescription &model)
    : routers(model.routers), ids(routers.size()), weights(routers.size()),
      biases(routers.size()), masks(routers.size()), counts(routers.size()),
      isTaken(routers.size()) {
  uint32_t most = 0;
  for (const Router &router : routers)
    most = std::max(most, router.experts);
  lastToken.resize(most);
}

template <typename... Args>
absl::Status RoutingInputs::bad(uint32_t router, const Args &...args) const {
  return invalidArgument("entry '", entry->name, "', router ", router, " ('",
                         routers[router].name, "')", args...);
}

absl::Status RoutingInputs::take(const Entry &of, const moe_batch &batch,
                                 uint64_t wanted) {
  entry = &of;
  tokens = wanted;
  const StructArray<const moe_router_input> inputs(batch.routers,
                                                   batch.num_routers);
  MOE_RETURN_IF_ERROR(inputs.check("routers"));
  ids.assign(routers.size(), nullptr);
  weights.assign(routers.size(), nullptr);
  biases.assign(routers.size(), nullptr);
  masks.assign(routers.size(), nullptr);
  counts.assign(routers.size(), 0);
  isTaken.assign(routers.size(), false);
  for (uint64_t i = 0; i < inputs.size(); ++i)
    MOE_RETURN_IF_ERROR(takeOne(inputs[i]));
  return absl::OkStatus();
}

absl::Status RoutingInputs::takeOne(const moe_router_input &input) {
  const uint32_t router = input.router;
  if (router >= routers.size())
    return invalidArgument("entry '", entry->name,
                           "': expected a router below ", routers.size(),
                           ", found ", router);
  if (isTaken[router])
    return bad(router, ": expected it once in a batch, found it twice");
  isTaken[router] = true;
  MOE_RETURN_IF_ERROR(checkOptions(input));
  if (input.ids)
    MOE_RETURN_IF_ERROR(checkIds(input));
  MOE_RETURN_IF_ERROR(checkNumbers(input));
  ids[router] = input.ids;
  weights[router] = input.weights;
  biases[router] = input.bias;
  masks[router] = input.expert_mask;
  counts[router] = static_cast<int32_t>(input.count);
  return absl::OkStatus();
}

absl::Status RoutingInputs::checkOptions(const moe_router_input &input) const {
  struct Option {
    const char *what;
    const char *name;
    bool isGiven;
    bool isBuilt;
  };
  const Option options[] = {
      {"ids", "routing_in", input.ids != nullptr, entry->routingIn},
      {"weights", "routing_in", input.weights != nullptr, entry->routingIn},
      {"a bias", "router_bias", input.bias != nullptr, entry->routerBias},
      {"a mask", "expert_mask", input.expert_mask != nullptr,
       entry->expertMask},
      {"a count", "k_override", input.count != 0, entry->kOverride}};
  for (const Option &option : options)
    if (option.isGiven && !option.isBuilt)
      return bad(input.router, ": expected no ", option.name,
                 ", which the entry was compiled without, found ", option.what);
  if (input.weights && !input.ids)
    return bad(input.router, ": expected ids beside the weights, found NULL");
  if (input.ids && !input.weights && !routers[input.router].weighsAny)
    return bad(input.router, ": expected weights beside the ids, for it gives "
                             "weights to its own choice only, found NULL");
  return absl::OkStatus();
}

absl::Status RoutingInputs::checkIds(const moe_router_input &input) {
  const Router &router = routers[input.router];
  if (input.tokens != tokens)
    return bad(input.router, ": expected ids of the ", tokens,
               " tokens of the batch, found ", input.tokens);
  std::fill(lastToken.begin(), lastToken.end(), 0);
  for (uint64_t t = 0; t < tokens; ++t) {
    const int32_t *row = input.ids + t * router.slots;
    for (uint32_t s = 0; s < router.slots; ++s) {
      const int32_t id = row[s];
      if ((id == kFree) != (row[0] == kFree))
        return bad(input.router, ", token ", t, ", slot ", s,
                   ": expected id -2 in all slots of a token or in none, "
                   "found ",
                   id, " after ", row[0]);
      if (id == kFree || id == -1)
        continue;
      if (id < static_cast<int64_t>(router.firstExpert) ||
          id >= static_cast<int64_t>(router.experts))
        return bad(input.router, ", token ", t, ", slot ", s,
                   ": expected an id from ", router.firstExpert, " to ",
                   router.experts - 1, ", or -1, found ", id);
      uint64_t &last = lastToken[static_cast<size_t>(id)];
      if (router.distinct && last == t + 1)
        return bad(input.router, ", token ", t, ", slot ", s,
                   ": expected different experts, found ", id, " twice");
      last = t + 1;
    }
  }
  return absl::OkStatus();
}

absl::Status RoutingInputs::checkNumbers(const moe_router_input &input) const {
  const Router &router = routers[input.router];
  if (input.count > router.slots)
    return bad(input.router, ": expected a count of at most its ", router.slots,
               " slots, found ", input.count);
  for (uint64_t i = 0; input.weights && i < tokens * router.slots; ++i)
    if (!std::isfinite(input.weights[i]))
      return bad(input.router, ", token ", i / router.slots, ", slot ",
                 i % router.slots, ": expected a finite weight, found ",
                 input.weights[i]);
  bool isBarred = input.expert_mask != nullptr;
  for (uint32_t e = router.firstExpert; e < router.experts; ++e) {
    if (input.bias && !std::isfinite(input.bias[e]))
      return bad(input.router, ", expert ", e,
                 ": expected a finite bias, found ", input.bias[e]);
    isBarred = isBarred && input.expert_mask[e] == 0;
  }
  if (isBarred)
    return bad(input.router, ": expected a mask that leaves an expert, found "
                             "none");
  return absl::OkStatus();
}

void RoutingInputs::addTo(moe_routing_io_v1 &io) const {
  io.forced_ids = ids.data();
  io.forced_weights = weights.data();
  io.bias = biases.data();
  io.expert_mask = masks.data();
  io.count = counts.data();
}
