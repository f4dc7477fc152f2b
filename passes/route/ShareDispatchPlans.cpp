//===- ShareDispatchPlans.cpp - One plan per ids value --------------------===//
#include "dialects/moe/MoeDialect.h"
#include "passes/PassRemarks.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace moec {
#define GEN_PASS_DEF_SHAREDISPATCHPLANS
#include "passes/route/Passes.h.inc"
} // namespace moec

using namespace mlir;
using namespace moec;

namespace {
struct ShareDispatchPlans
    : public moec::impl::ShareDispatchPlansBase<ShareDispatchPlans> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    llvm::DenseSet<std::pair<Value, int64_t>> planned;
    getOperation().walk([&](ExpertOpInterface experts) {
      Value ids = experts.getRoutingIds();
      auto table = symbols.lookup<moe::ExpertTableOp>(
          experts.getExpertTable().getValue());
      if (!planned.insert({ids, table.getNumExperts()}).second) {
        remarkPassed(*this, experts->getLoc(), "shared")
            << "uses the plan of other experts with the same routing";
        ++shared;
        return;
      }
      OpBuilder b(experts);
      b.setInsertionPointAfterValue(ids);
      moe::PlanOp::create(
          b, experts->getLoc(),
          RankedTensorType::get({ShapedType::kDynamic}, b.getI32Type()),
          RankedTensorType::get({table.getNumExperts() + 1}, b.getI32Type()),
          ids.getType(), ids, table.getNumExperts());
      ++plans;
    });
  }
};
} // namespace
