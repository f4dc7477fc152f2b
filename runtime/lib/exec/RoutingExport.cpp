//===- RoutingExport.cpp - Where a step writes what routers choose --------===//

#include "runtime/lib/exec/RoutingExport.h"

#include <algorithm>

using namespace moe::rt;

RoutingExport::RoutingExport(const ModelDescription &model)
    : routers(model.routers), idsOf(routers.size()), weightsOf(routers.size()) {
  for (const Router &router : routers)
    slots += router.slots;
}

absl::Status RoutingExport::prepare(uint64_t wanted) {
  // One slot more, so that a model without routers has buffers as well.
  const uint64_t count = wanted * slots + 1;
  MOE_RETURN_IF_ERROR(ids.grow(count * sizeof(int32_t)));
  MOE_RETURN_IF_ERROR(weights.grow(count * sizeof(float)));
  tokens = wanted;
  auto *firstId = reinterpret_cast<int32_t *>(ids.data());
  auto *firstWeight = reinterpret_cast<float *>(weights.data());
  // Routers of other functions stay as they are here.
  std::fill_n(firstId, count, -1);
  std::fill_n(firstWeight, count, 0.0f);
  for (size_t i = 0; i < routers.size(); ++i) {
    idsOf[i] = firstId;
    weightsOf[i] = firstWeight;
    firstId += tokens * routers[i].slots;
    firstWeight += tokens * routers[i].slots;
  }
  return absl::OkStatus();
}

void RoutingExport::assign(const int32_t *fromIds, const float *fromWeights) {
  const uint64_t count = tokens * slots;
  std::copy_n(fromIds, count, reinterpret_cast<int32_t *>(ids.data()));
  std::copy_n(fromWeights, count, reinterpret_cast<float *>(weights.data()));
}

moe_routing RoutingExport::describe(uint64_t index) const {
  moe_routing routing = {};
  routing.size = sizeof(routing);
  routing.ids = idsOf[index];
  routing.weights = weightsOf[index];
  routing.tokens = tokens;
  routing.slots = routers[index].slots;
  return routing;
}
