//===- FuseExpertEpilogue.cpp - Gather and activation into matmuls --------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/nn/NnDialect.h"
#include "dialects/row/RowDialect.h"
#include "passes/PassRemarks.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Pass/Pass.h"

namespace moec {
#define GEN_PASS_DEF_FUSEEXPERTEPILOGUE
#include "passes/experts/Passes.h.inc"
} // namespace moec

using namespace mlir;
using namespace moec;

/// The row.map that is all of `apply`'s body, over its arguments in order.
static row::MapOp soleMap(row::ApplyOp apply) {
  Block &block = apply.getBody().front();
  if (apply.getNumResults() != 1 || block.getOperations().size() != 2)
    return {};
  auto map = dyn_cast<row::MapOp>(block.front());
  if (!map || block.getTerminator()->getOperand(0) != map.getResult() ||
      !llvm::equal(map.getInputs(), block.getArguments()))
    return {};
  return map;
}

/// Clones the scalar body of `map` into `block`, whose arguments stand for the
/// map's. Returns the f32 it yields: the matmul itself rounds to the element
/// type, so a rounding at the end is left out.
static Value cloneScalarBody(OpBuilder &b, row::MapOp map, Block *block) {
  Block &body = map.getBody().front();
  IRMapping mapping;
  mapping.map(body.getArguments(), block->getArguments());
  Value yielded = body.getTerminator()->getOperand(0);
  auto rounding = yielded.getDefiningOp<arith::TruncFOp>();
  if (rounding && rounding.getIn().getType().isF32())
    yielded = rounding.getIn();
  else
    rounding = nullptr;
  for (Operation &op : body.without_terminator())
    if (&op != rounding.getOperation())
      b.clone(op, mapping);
  return mapping.lookup(yielded);
}

static Block *createEpilogue(OpBuilder &b, Location loc, Region &region,
                             size_t maps) {
  return b.createBlock(&region, {}, SmallVector<Type>(maps, b.getF32Type()),
                       SmallVector<Location>(maps, loc));
}

namespace {
struct FuseExpertEpilogue
    : public moec::impl::FuseExpertEpilogueBase<FuseExpertEpilogue> {
  void runOnOperation() override {
    SmallVector<moe::DispatchOp> dispatches;
    SmallVector<row::ApplyOp> bodies;
    getOperation().walk([&](Operation *op) {
      if (auto dispatch = dyn_cast<moe::DispatchOp>(op))
        dispatches.push_back(dispatch);
      else if (auto apply = dyn_cast<row::ApplyOp>(op))
        bodies.push_back(apply);
    });
    IRRewriter rewriter(&getContext());
    for (moe::DispatchOp dispatch : dispatches)
      fuseGather(rewriter, dispatch);
    for (row::ApplyOp body : bodies) {
      row::MapOp map = soleMap(body);
      if (map && yieldsF32(map))
        if (fuseGrouped(rewriter, body, map) ||
            fuseDense(rewriter, body, map)) {
          remarkPassed(*this, body.getLoc(), "epilogue")
              << "computed at the end of a matrix product";
          ++epilogues;
        }
    }
  }

  /// A body that ends in f32, or in one rounding of an f32.
  static bool yieldsF32(row::MapOp map) {
    Value yielded = map.getBody().front().getTerminator()->getOperand(0);
    if (yielded.getType().isF32())
      return true;
    auto rounding = yielded.getDefiningOp<arith::TruncFOp>();
    return rounding && rounding.getIn().getType().isF32();
  }

  void fuseGather(IRRewriter &rewriter, moe::DispatchOp dispatch) {
    bool onlyMatmuls = llvm::all_of(dispatch->getUsers(), [&](Operation *user) {
      auto matmul = dyn_cast<moe::GroupedMatmulOp>(user);
      return matmul && !matmul.getGather();
    });
    if (!onlyMatmuls) {
      remarkMissed(*this, dispatch.getLoc(), "gather")
          << "the gathered rows have other uses than matrix products";
      return;
    }
    remarkPassed(*this, dispatch.getLoc(), "gather")
        << "rows are gathered by the matrix products";
    for (Operation *user : llvm::make_early_inc_range(dispatch->getUsers())) {
      auto matmul = cast<moe::GroupedMatmulOp>(user);
      matmul.getInputMutable().assign(dispatch.getTokens());
      matmul.getGatherMutable().assign(dispatch.getRows());
    }
    rewriter.eraseOp(dispatch);
    ++gathers;
  }

  /// The operands' defining ops, when all are `Op` without a body, used only
  /// here and of one input.
  template <typename Op> static SmallVector<Op> matmulsOf(row::ApplyOp body) {
    SmallVector<Op> matmuls;
    for (Value operand : body.getInputs()) {
      auto matmul = operand.getDefiningOp<Op>();
      if (!matmul || !matmul->hasOneUse() ||
          !matmul.getResult().getType().getElementType().isF32() ||
          (!matmuls.empty() &&
           (matmul.getInput() != matmuls[0].getInput() ||
            matmul.getCompute() != matmuls[0].getCompute())))
        return {};
      matmuls.push_back(matmul);
    }
    return matmuls;
  }

  bool fuseGrouped(IRRewriter &rewriter, row::ApplyOp body, row::MapOp map) {
    auto matmuls = matmulsOf<moe::GroupedMatmulOp>(body);
    if (matmuls.empty())
      return false;
    SmallVector<Attribute> roles, biases;
    for (moe::GroupedMatmulOp matmul : matmuls) {
      if (!matmul.getEpilogue().empty() ||
          matmul.getTable() != matmuls[0].getTable() ||
          matmul.getGather() != matmuls[0].getGather() ||
          matmul.getOffsets() != matmuls[0].getOffsets() ||
          matmul.getBiases().has_value() != matmuls[0].getBiases().has_value())
        return false;
      llvm::append_range(roles, matmul.getRoles());
      if (matmul.getBiases())
        llvm::append_range(biases, *matmul.getBiases());
    }
    rewriter.setInsertionPoint(body);
    moe::GroupedMatmulOp first = matmuls[0];
    auto fused = moe::GroupedMatmulOp::create(
        rewriter, rewriter.getFusedLoc({first.getLoc(), body.getLoc()}),
        body.getResult(0).getType(), first.getTable(),
        rewriter.getArrayAttr(roles),
        biases.empty() ? ArrayAttr() : rewriter.getArrayAttr(biases),
        first.getInput(), first.getGather(), first.getOffsets(),
        first.getCompute());
    Block *block = createEpilogue(rewriter, fused.getLoc(), fused.getEpilogue(),
                                  matmuls.size());
    Value result = cloneScalarBody(rewriter, map, block);
    moe::YieldOp::create(rewriter, fused.getLoc(), result);
    rewriter.replaceOp(body, fused->getResults());
    for (moe::GroupedMatmulOp matmul : matmuls)
      rewriter.eraseOp(matmul);
    return true;
  }

  bool fuseDense(IRRewriter &rewriter, row::ApplyOp body, row::MapOp map) {
    auto matmuls = matmulsOf<nn::LinearOp>(body);
    if (matmuls.empty())
      return false;
    SmallVector<Value> weights, biases;
    for (nn::LinearOp matmul : matmuls) {
      if (bool(matmul.getBias()) != bool(matmuls[0].getBias()))
        return false;
      weights.push_back(matmul.getWeight());
      if (matmul.getBias())
        biases.push_back(matmul.getBias());
    }
    rewriter.setInsertionPoint(body);
    nn::LinearOp first = matmuls[0];
    auto fused = nn::JointLinearOp::create(
        rewriter, rewriter.getFusedLoc({first.getLoc(), body.getLoc()}),
        body.getResult(0).getType(), first.getInput(), weights, biases,
        first.getCompute());
    Block *block = createEpilogue(rewriter, fused.getLoc(), fused.getBody(),
                                  matmuls.size());
    Value result = cloneScalarBody(rewriter, map, block);
    nn::YieldOp::create(rewriter, fused.getLoc(), result);
    rewriter.replaceOp(body, fused->getResults());
    for (nn::LinearOp matmul : matmuls)
      rewriter.eraseOp(matmul);
    return true;
  }
};
} // namespace
