//===- NnFolds.cpp - Canonicalisation of nn operations --------------------===//
#include "dialects/nn/NnDialect.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace moec::nn;

namespace {
/// take_rows(f(x)) -> f(take_rows(x)) for an f that works on each row alone, so
/// that the last norm and the head run on the wanted rows only.
struct TakeRowsBeforeRowOps : public OpRewritePattern<TakeRowsOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(TakeRowsOp op,
                                PatternRewriter &rewriter) const override {
    Operation *producer = op.getInput().getDefiningOp();
    if (!isa_and_nonnull<LinearOp, NormOp, MapOp>(producer) ||
        !producer->hasOneUse())
      return failure();
    IRMapping mapping;
    for (Value operand : producer->getOperands()) {
      auto stream = cast<RankedTensorType>(operand.getType());
      if (!stream.isDynamicDim(0))
        continue; // a weight
      if (!isa<FloatType>(stream.getElementType()))
        return failure();
      mapping.map(operand,
                  TakeRowsOp::create(rewriter, op.getLoc(), stream, operand,
                                     op.getRows())
                      .getResult());
    }
    rewriter.replaceOp(op, rewriter.clone(*producer, mapping)->getResults());
    return success();
  }
};
} // namespace

void TakeRowsOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                             MLIRContext *context) {
  patterns.add<TakeRowsBeforeRowOps>(context);
}
