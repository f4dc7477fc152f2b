//===- Passes.td - Checks ----------------------------------*- tablegen -*-===//
#ifndef MOEC_PASSES_VERIFY_PASSES
#define MOEC_PASSES_VERIFY_PASSES

include "mlir/Pass/PassBase.td"

def CheckRouters : Pass<"check-routers", "::mlir::ModuleOp"> {
  let summary = "compares each router's lowering with its reference";
  let description = [{
    Input: any phase with routers. Changes nothing.

    For every operation with `RoutingOpInterface` and `ReferenceOpInterface`:
    random operands, a number of tokens of them, go through `evaluate` and
    through an evaluation of the row body that `lowerToken` builds. Ids must be
    equal and weights agree to 1e-5 relative. What the router guarantees is
    checked as well: distinct ids, no unused slot, weights that sum to one. A
    remark says so of each router.

    Fails at the first router that disagrees, with the token and both results.
    Example: test/passes/check-routers/stages.mlir
  }];
  let options = [Option<"tokens", "tokens", "int64_t", "64", "tokens per router">,
                 Option<"seed", "seed", "int64_t", "1", "seed of the operands">];
  let statistics = [Statistic<"checked", "checked", "routers checked">];
  let dependentDialects = ["::moec::row::RowDialect"];
}

#endif // MOEC_PASSES_VERIFY_PASSES
