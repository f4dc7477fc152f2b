//===- RowFusion.cpp - Joining row bodies ---------------------------------===//
#include "passes/RowFusion.h"

#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace moec;

bool moec::isOnlyUsedBy(Operation *producer, Operation *consumer) {
  return !producer->use_empty() &&
         llvm::all_of(producer->getUsers(),
                      [&](Operation *user) { return user == consumer; });
}

/// Clones the operations of `body` to the builder's place and returns what it
/// yields.
static SmallVector<Value> cloneBody(OpBuilder &builder, Region &body,
                                    IRMapping &mapping) {
  for (Operation &op : body.front().without_terminator())
    builder.clone(op, mapping);
  SmallVector<Value> yielded;
  for (Value value : body.front().getTerminator()->getOperands())
    yielded.push_back(mapping.lookupOrDefault(value));
  return yielded;
}

row::ApplyOp moec::fuseApply(RewriterBase &rewriter, row::ApplyOp producer,
                             row::ApplyOp consumer) {
  SmallVector<Value> operands;
  auto addOperand = [&](Value operand) {
    if (!llvm::is_contained(operands, operand))
      operands.push_back(operand);
  };
  for (Value operand : consumer.getInputs())
    if (operand.getDefiningOp() != producer)
      addOperand(operand);
  for (Value operand : producer.getInputs())
    addOperand(operand);

  rewriter.setInsertionPoint(consumer);
  Location loc =
      rewriter.getFusedLoc({producer.getLoc(), consumer.getLoc()});
  auto fused = row::ApplyOp::create(rewriter, loc, consumer.getResultTypes(),
                                    operands);
  SmallVector<Type> rows;
  for (Value operand : operands)
    rows.push_back(row::ApplyOp::getRowType(operand.getType()));
  Block *block =
      rewriter.createBlock(&fused.getBody(), {}, rows,
                           SmallVector<Location>(operands.size(), loc));
  auto argumentOf = [&](Value operand) -> Value {
    return block->getArgument(llvm::find(operands, operand) -
                              operands.begin());
  };
  IRMapping inner, outer;
  for (auto [operand, argument] : llvm::zip(
           producer.getInputs(), producer.getBody().front().getArguments()))
    inner.map(argument, argumentOf(operand));
  SmallVector<Value> produced =
      cloneBody(rewriter, producer.getBody(), inner);
  for (auto [operand, argument] : llvm::zip(
           consumer.getInputs(), consumer.getBody().front().getArguments())) {
    auto result = dyn_cast<OpResult>(operand);
    outer.map(argument, result && result.getOwner() == producer
                            ? produced[result.getResultNumber()]
                            : argumentOf(operand));
  }
  row::YieldOp::create(rewriter, loc,
                       cloneBody(rewriter, consumer.getBody(), outer));
  rewriter.replaceOp(consumer, fused.getResults());
  rewriter.eraseOp(producer);
  return fused;
}
