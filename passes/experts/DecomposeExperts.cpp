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
/// The plan of `ids` for so many experts, from moe.plan or moe.route_plan.
static std::optional<DispatchPlan> findPlan(Value ids, int64_t experts) {
  auto fused = ids.getDefiningOp<moe::RoutePlanOp>();
  if (fused && int64_t(fused.getExperts()) == experts)
    return DispatchPlan{fused.getRows(), fused.getOffsets(),
                        fused.getSlotRows()};
  for (Operation *user : ids.getUsers())
    if (auto plan = dyn_cast<moe::PlanOp>(user);
        plan && int64_t(plan.getExperts()) == experts)
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
    SymbolTable symbols(getOperation());
    for (ExpertOpInterface experts : sets) {
      auto table = symbols.lookup<moe::ExpertTableOp>(
          experts.getExpertTable().getValue());
      std::optional<DispatchPlan> plan =
          findPlan(experts.getRoutingIds(), table.getNumExperts());
      if (!plan) {
        experts->emitOpError("expected a moe.plan of its ids: run "
                             "share-dispatch-plans before decompose-experts");
        return signalPassFailure();
      }
      rewriter.setInsertionPoint(experts);
      Value result = experts.decomposeExperts(rewriter, *plan);
      if (!result)
        return signalPassFailure();
      rewriter.replaceOp(experts, result);
      ++decomposed;
    }
  }
};
} // namespace
