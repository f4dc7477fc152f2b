//===- DecomposeExperts.cpp - Expert sets to grouped matmuls --------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowDialect.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Pass/Pass.h"

namespace moec {
#define GEN_PASS_DEF_DECOMPOSEEXPERTS
#include "passes/experts/Passes.h.inc"
} // namespace moec

using namespace mlir;
using namespace moec;

namespace {
/// The plan of `ids`, from moe.plan or moe.route_plan.
static std::optional<DispatchPlan> findPlan(Value ids) {
  if (auto fused = ids.getDefiningOp<moe::RoutePlanOp>())
    return DispatchPlan{fused.getRows(), fused.getOffsets(),
                        fused.getSlotRows()};
  for (Operation *user : ids.getUsers())
    if (auto plan = dyn_cast<moe::PlanOp>(user))
      return DispatchPlan{plan.getRows(), plan.getOffsets(),
                          plan.getSlotRows()};
  return std::nullopt;
}

struct DecomposeExperts
    : public moec::impl::DecomposeExpertsBase<DecomposeExperts> {
  void runOnOperation() override {
    SmallVector<ExpertOpInterface> sets;
    getOperation().walk([&](ExpertOpInterface op) { sets.push_back(op); });
    IRRewriter rewriter(&getContext());
    for (ExpertOpInterface experts : sets) {
      std::optional<DispatchPlan> plan = findPlan(experts.getRoutingIds());
      if (!plan) {
        experts->emitOpError("expected a moe.plan of its ids: run "
                             "share-dispatch-plans before decompose-experts");
        return signalPassFailure();
      }
      rewriter.setInsertionPoint(experts);
      rewriter.replaceOp(experts, experts.decomposeExperts(rewriter, *plan));
      ++decomposed;
    }
  }
};
} // namespace
