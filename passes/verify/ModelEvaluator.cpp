//===- ModelEvaluator.cpp - Evaluating step functions on the host ---------===//
#include "passes/verify/ModelEvaluator.h"

using namespace mlir;
using namespace moec;

FailureOr<std::vector<HostTensor>>
ModelEvaluator::call(func::FuncOp function, std::vector<HostTensor> operands) {
  if (function.isExternal() || !function.getBody().hasOneBlock())
    return function.emitError("expected a function with a body of one block");
  values.clear();
  for (auto [argument, operand] : llvm::zip(function.getArguments(), operands))
    values[argument] = std::move(operand);
  std::vector<HostTensor> results;
  if (failed(evaluateRegion(function.getBody(), results)))
    return failure();
  return results;
}

LogicalResult ModelEvaluator::evaluateRegion(Region &region,
                                             std::vector<HostTensor> &yielded) {
  for (Operation &op : region.front().without_terminator())
    if (failed(evaluate(op)))
      return failure();
  for (Value value : region.front().getTerminator()->getOperands())
    yielded.push_back(values.lookup(value));
  return success();
}

LogicalResult ModelEvaluator::evaluate(Operation &op) {
  std::vector<HostTensor> inputs, outputs(op.getNumResults());
  for (Value operand : op.getOperands())
    inputs.push_back(values.lookup(operand));
  LogicalResult done = failure();
  if (auto reference = dyn_cast<ReferenceOpInterface>(op))
    done = reference.evaluate(inputs, outputs);
  else if (auto reference = dyn_cast<ContextReferenceOpInterface>(op))
    done = reference.evaluateIn(*this, inputs, outputs);
  else
    return op.emitOpError("has no reference evaluation: expected a module in "
                          "the form after phase import, graph, compress, route "
                          "or experts");
  if (failed(done))
    return failure();
  for (auto [result, output] : llvm::zip(op.getResults(), outputs)) {
    auto type = cast<RankedTensorType>(result.getType());
    bool fits = output.getRank() == type.getRank();
    for (int64_t d = 0; fits && d < type.getRank(); ++d)
      fits = type.isDynamicDim(d) || type.getDimSize(d) == output.getShape()[d];
    if (!fits)
      return op.emitOpError("expected an evaluation to give ")
             << type << ", found another shape";
    output.roundTo(type.getElementType());
    values[result] = std::move(output);
  }
  return success();
}

const HostTensor *ModelEvaluator::getWeight(FlatSymbolRefAttr weight,
                                            Operation *user) {
  auto known = weights.find(weight.getValue());
  if (known != weights.end())
    return &known->second;
  auto op = symbols.lookup<moe::WeightOp>(weight.getValue());
  if (!op) {
    user->emitOpError("expected a moe.weight ") << weight << ", found none";
    return nullptr;
  }
  FailureOr<HostTensor> numbers = reader(op);
  if (failed(numbers))
    return nullptr;
  return &(weights[weight.getValue()] = std::move(*numbers));
}

const HostTensor *ModelEvaluator::getRoutingOperand(StringAttr field,
                                                    int64_t router) {
  auto found = routing.find({field.str(), router});
  return found == routing.end() ? nullptr : &found->second;
}

std::vector<std::vector<float>> &
ModelEvaluator::getState(FlatSymbolRefAttr state, int64_t sequence) {
  return states[{state.getValue().str(), sequence}];
}
