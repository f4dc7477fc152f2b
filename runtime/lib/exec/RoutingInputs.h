//===- RoutingInputs.h - What a step gives to its routers -------*- C++ -*-===//
#ifndef MOEC_RUNTIME_LIB_EXEC_ROUTINGINPUTS_H
#define MOEC_RUNTIME_LIB_EXEC_ROUTINGINPUTS_H

#include "runtime/include/moe/runtime.h"
#include "runtime/lib/base/StructSize.h"
#include "runtime/lib/load/ModelDescription.h"

namespace moe::rt {

/// Checks everything that generated code relies on. Its arrays are kept from
/// step to step.
class RoutingInputs {
public:
  explicit RoutingInputs(const ModelDescription &model);

  /// Takes what a step of `tokens` tokens gives.
  absl::Status take(const Entry &entry, const moe_batch &batch,
                    uint64_t tokens);
  /// Says so to that step.
  void addTo(moe_routing_io_v1 &io) const;

private:
  absl::Status takeOne(const moe_router_input &input);
  absl::Status checkOptions(const moe_router_input &input) const;
  absl::Status checkIds(const moe_router_input &input);
  absl::Status checkNumbers(const moe_router_input &input) const;
  template <typename... Args>
  absl::Status bad(uint32_t router, const Args &...args) const;

  const std::vector<Router> &routers;
  const Entry *entry = nullptr;
  uint64_t tokens = 0;
  std::vector<const int32_t *> ids;
  std::vector<const float *> weights;
  std::vector<const float *> biases;
  std::vector<const uint8_t *> masks;
  std::vector<int32_t> counts;
  std::vector<bool> isTaken;
  /// The token that had an expert last, counted from 1.
  std::vector<uint64_t> lastToken;
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_EXEC_ROUTINGINPUTS_H
