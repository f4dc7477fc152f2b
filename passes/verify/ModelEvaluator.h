//===- ModelEvaluator.h - Evaluating step functions on the host -*- C++ -*-===//
#ifndef MOEC_PASSES_VERIFY_MODELEVALUATOR_H
#define MOEC_PASSES_VERIFY_MODELEVALUATOR_H

#include "dialects/interfaces/ReferenceOpInterface.h"
#include "dialects/moe/MoeDialect.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"

#include <functional>
#include <map>
#include <string>

namespace moec {

/// Runs the step functions of a module in the form after phase import, graph,
/// compress, route or experts by the reference semantics of their operations
/// (ReferenceOpInterface, ContextReferenceOpInterface). Slow and plain: the
/// oracle of passes. Keeps states between calls, as a session does; one thread.
class ModelEvaluator : public ReferenceContext {
public:
  /// Gives the numbers of a weight as its format stores them. Failure has
  /// emitted a diagnostic.
  using WeightReader =
      std::function<mlir::FailureOr<HostTensor>(moe::WeightOp)>;

  ModelEvaluator(mlir::ModuleOp module, WeightReader reader)
      : symbols(module), reader(std::move(reader)) {}

  /// The results of `function` for its operands. Failure has emitted a
  /// diagnostic.
  mlir::FailureOr<std::vector<HostTensor>>
  call(mlir::func::FuncOp function, std::vector<HostTensor> operands);

  const HostTensor *getWeight(mlir::FlatSymbolRefAttr weight,
                              mlir::Operation *user) override;
  std::vector<std::vector<float>> &getState(mlir::FlatSymbolRefAttr state,
                                            int64_t sequence) override;
  const HostTensor *getRoutingOperand(mlir::StringAttr field,
                                      int64_t router) override;
  mlir::LogicalResult evaluateRegion(mlir::Region &region,
                                     std::vector<HostTensor> &yielded) override;

  /// Gives a router what `moe.routing_operand` reads, for later calls.
  void setRoutingOperand(llvm::StringRef field, int64_t router,
                         HostTensor operand) {
    routing[{field.str(), router}] = std::move(operand);
  }

private:
  mlir::LogicalResult evaluate(mlir::Operation &op);

  mlir::SymbolTable symbols;
  WeightReader reader;
  llvm::StringMap<HostTensor> weights;
  std::map<std::pair<std::string, int64_t>, std::vector<std::vector<float>>>
      states;
  std::map<std::pair<std::string, int64_t>, HostTensor> routing;
  llvm::DenseMap<mlir::Value, HostTensor> values;
};

} // namespace moec

#endif // MOEC_PASSES_VERIFY_MODELEVALUATOR_H
