//===- ReferenceOpInterface.h - Reference semantics -------------*- C++ -*-===//
#ifndef MOEC_DIALECTS_INTERFACES_REFERENCEOPINTERFACE_H
#define MOEC_DIALECTS_INTERFACES_REFERENCEOPINTERFACE_H

#include "dialects/interfaces/HostTensor.h"

#include "mlir/IR/OpDefinition.h"

namespace moec {

/// What an operation may ask for besides its operands.
class ReferenceContext {
public:
  virtual ~ReferenceContext();

  /// The numbers of the `moe.weight` of that name, on behalf of `user`. Null
  /// after a diagnostic. Valid until the next call.
  virtual const HostTensor *getWeight(mlir::FlatSymbolRefAttr weight,
                                      mlir::Operation *user) = 0;
  /// The rows that the `nn.state` of that name holds for sequence `sequence` of
  /// the batch, by position. Operations may make it longer.
  virtual std::vector<std::vector<float>> &
  getState(mlir::FlatSymbolRefAttr state, int64_t sequence) = 0;
  /// The array that the caller gives router `router` as a `field` of
  /// `moe.routing_operand`; null for none.
  virtual const HostTensor *getRoutingOperand(mlir::StringAttr field,
                                              int64_t router) = 0;
  /// Evaluates a region of one block without arguments, which may read values
  /// from outside, and gives what its terminator yields. Failure has emitted a
  /// diagnostic.
  virtual mlir::LogicalResult
  evaluateRegion(mlir::Region &region, std::vector<HostTensor> &yielded) = 0;
};

} // namespace moec

#include "dialects/interfaces/ReferenceOpInterface.h.inc"

#endif // MOEC_DIALECTS_INTERFACES_REFERENCEOPINTERFACE_H
