//===- FuseRouting.cpp - Join routers and their plan ----------------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowDialect.h"
#include "passes/PassRemarks.h"
#include "passes/RowFusion.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace moec {
#define GEN_PASS_DEF_FUSEROUTING
#include "passes/route/Passes.h.inc"
} // namespace moec

using namespace mlir;
using namespace moec;

namespace {
struct FuseRouting : public moec::impl::FuseRoutingBase<FuseRouting> {
  void runOnOperation() override {
    SmallVector<moe::PlanOp> plans;
    getOperation().walk([&](moe::PlanOp plan) { plans.push_back(plan); });
    IRRewriter rewriter(&getContext());
    for (moe::PlanOp plan : plans)
      fuse(rewriter, plan);
  }

  void fuse(IRRewriter &rewriter, moe::PlanOp plan) {
    auto router = plan.getIds().getDefiningOp<row::ApplyOp>();
    if (!router || router.getNumResults() != 2 ||
        router.getResult(0) != plan.getIds()) {
      remarkMissed(*this, plan.getLoc(), "ids")
          << "the ids of the plan are not those of one router";
      return;
    }
    router = absorbProducers(rewriter, router);

    rewriter.setInsertionPoint(plan);
    SmallVector<Type> types(router.getResultTypes());
    llvm::append_range(types, plan.getResultTypes());
    auto routePlan = moe::RoutePlanOp::create(
        rewriter, rewriter.getFusedLoc({router.getLoc(), plan.getLoc()}), types,
        router.getInputs(), plan.getExperts());
    rewriter.inlineRegionBefore(router.getBody(), routePlan.getBody(),
                                routePlan.getBody().end());
    rewriter.replaceAllUsesWith(router.getResult(0), routePlan.getIds());
    rewriter.replaceAllUsesWith(router.getResult(1), routePlan.getWeights());
    rewriter.replaceOp(plan, {routePlan.getRows(), routePlan.getOffsets(),
                              routePlan.getSlotRows()});
    rewriter.eraseOp(router);
    remarkPassed(*this, routePlan.getLoc(), "joined")
        << "joined the router and its plan";
    ++fused;
  }

  /// Takes row bodies that only this router uses into it.
  row::ApplyOp absorbProducers(IRRewriter &rewriter, row::ApplyOp router) {
    bool changed = true;
    while (changed) {
      changed = false;
      for (Value operand : router.getInputs()) {
        auto producer = operand.getDefiningOp<row::ApplyOp>();
        if (!producer || !isOnlyUsedBy(producer, router))
          continue;
        router = fuseApply(rewriter, producer, router);
        changed = true;
        break;
      }
    }
    return router;
  }
};
} // namespace
