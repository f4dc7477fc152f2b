//===- RoutingExport.h - Where a step writes what routers choose ----------===//
#ifndef MOEC_RUNTIME_LIB_EXEC_ROUTINGEXPORT_H
#define MOEC_RUNTIME_LIB_EXEC_ROUTINGEXPORT_H

#include "runtime/include/moe/runtime.h"
#include "runtime/lib/base/File.h"
#include "runtime/lib/load/ModelDescription.h"

namespace moe::rt {

/// Arrays for all routers of a model. They are kept from step to step, so a
/// step of a size seen before allocates nothing.
class RoutingExport {
public:
  explicit RoutingExport(const ModelDescription &model);

  /// Makes room for the tokens of a step; until then nothing is chosen.
  absl::Status prepare(uint64_t tokens);
  /// Takes what a device has written into arrays like these.
  void assign(const int32_t *fromIds, const float *fromWeights);
  /// Says so to that step.
  void addTo(moe_routing_io_v1 &io) const {
    io.ids = idsOf.data();
    io.weights = weightsOf.data();
  }
  /// What router `index`, below that of the model, chose.
  moe_routing describe(uint64_t index) const;

private:
  const std::vector<Router> &routers;
  uint64_t slots = 0; // of all routers
  uint64_t tokens = 0;
  Region ids, weights;
  std::vector<int32_t *> idsOf;
  std::vector<float *> weightsOf;
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_EXEC_ROUTINGEXPORT_H
