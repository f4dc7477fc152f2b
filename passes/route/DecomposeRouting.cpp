//===- DecomposeRouting.cpp - Turn routers into token bodies --------------===//
#include "dialects/interfaces/RoutingInterfaces.h"
#include "dialects/row/RowDialect.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Pass/Pass.h"

namespace moec {
#define GEN_PASS_DEF_DECOMPOSEROUTING
#include "passes/route/Passes.h.inc"
} // namespace moec

using namespace mlir;
using namespace moec;

namespace {
struct DecomposeRouting
    : public moec::impl::DecomposeRoutingBase<DecomposeRouting> {
  void runOnOperation() override {
    SmallVector<RoutingOpInterface> routers;
    getOperation().walk([&](RoutingOpInterface op) { routers.push_back(op); });
    IRRewriter rewriter(&getContext());
    for (RoutingOpInterface router : routers) {
      if (failed(decompose(rewriter, router)))
        return signalPassFailure();
      ++decomposed;
    }
  }

  LogicalResult decompose(IRRewriter &rewriter, RoutingOpInterface router) {
    if (!router.getGuarantees().tokenLocal)
      return router->emitOpError(
          "couples tokens: expected a router that promises TokenLocal, "
          "whole-batch lowerings are not built yet");
    Location loc = router->getLoc();
    rewriter.setInsertionPoint(router);
    auto apply = row::ApplyOp::create(
        rewriter, loc, router->getResultTypes(), router->getOperands());
    SmallVector<Type> rows;
    for (Value operand : router->getOperands())
      rows.push_back(row::ApplyOp::getRowType(operand.getType()));
    Block *block = rewriter.createBlock(
        &apply.getBody(), {}, rows, SmallVector<Location>(rows.size(), loc));
    FailureOr<RoutedRow> routed =
        router.lowerToken(rewriter, block->getArguments());
    if (failed(routed))
      return failure();
    row::YieldOp::create(rewriter, loc,
                         ValueRange{routed->ids, routed->weights});
    rewriter.replaceOp(router, apply.getResults());
    return success();
  }
};
} // namespace
