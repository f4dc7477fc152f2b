//===- BlendModalities.cpp - Compute every arm and select rows ------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Pass/Pass.h"

namespace moec {
#define GEN_PASS_DEF_BLENDMODALITIES
#include "passes/modality/Passes.h.inc"
} // namespace moec

using namespace mlir;
using namespace moec;

namespace {
struct BlendModalities
    : public moec::impl::BlendModalitiesBase<BlendModalities> {
  void runOnOperation() override {
    SmallVector<moe::ByModalityOp> ops;
    getOperation().walk<WalkOrder::PostOrder>(
        [&](moe::ByModalityOp op) { ops.push_back(op); });
    IRRewriter rewriter(&getContext());
    for (moe::ByModalityOp op : ops) {
      op.emitRemark("every arm is computed for all tokens: the arms are not "
                    "routed experts that could be joined");
      blend(rewriter, op);
      ++blended;
    }
  }

  void blend(IRRewriter &rewriter, moe::ByModalityOp op) {
    SmallVector<Value> operands{op.getKinds()};
    for (Region &arm : op.getArms()) {
      for (Operation &inner :
           llvm::make_early_inc_range(arm.front().without_terminator()))
        rewriter.moveOpBefore(&inner, op);
      operands.push_back(arm.front().getTerminator()->getOperand(0));
    }
    rewriter.setInsertionPoint(op);
    Location loc = op.getLoc();
    auto apply = row::ApplyOp::create(rewriter, loc, op.getResult().getType(),
                                      operands);
    SmallVector<Type> rows;
    for (Value operand : operands)
      rows.push_back(row::ApplyOp::getRowType(operand.getType()));
    Block *block =
        rewriter.createBlock(&apply.getBody(), {}, rows,
                             SmallVector<Location>(operands.size(), loc));
    // Arms cover every modality that can occur, so the last needs no test.
    Value result = block->getArguments().back();
    for (size_t a = op.getIds().size() - 1; a-- > 0;) {
      Value id = arith::ConstantOp::create(
          rewriter, loc, rewriter.getI8IntegerAttr(op.getIds()[a]));
      Value isArm =
          arith::CmpIOp::create(rewriter, loc, arith::CmpIPredicate::eq,
                                block->getArgument(0), id);
      result = row::SelectOp::create(rewriter, loc, result.getType(), isArm,
                                     block->getArgument(1 + a), result);
    }
    row::YieldOp::create(rewriter, loc, result);
    rewriter.replaceOp(op, apply.getResults());
  }
};
} // namespace
