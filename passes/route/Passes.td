//===- Passes.td - Passes on routing -----------------------*- tablegen -*-===//
#ifndef MOEC_PASSES_ROUTE_PASSES
#define MOEC_PASSES_ROUTE_PASSES

include "mlir/Pass/PassBase.td"

def DecomposeRouting : Pass<"decompose-routing", "::mlir::ModuleOp"> {
  let summary = "turns routers into token bodies";
  let description = [{
    Input: phase compress. Output: no operation with `RoutingOpInterface`; each
    has become a `row.apply` whose body its `lowerToken` built. Preserves values
    up to the rounding that the row operations define.

    Fails when a router couples tokens (does not promise TokenLocal): whole-batch
    lowerings are not built yet; and when `lowerToken` fails.
    Example: test/passes/decompose-routing/stages.mlir
  }];
  let statistics = [Statistic<"decomposed", "decomposed", "routers decomposed">];
  let dependentDialects = ["::moec::row::RowDialect"];
}

def ShareDispatchPlans : Pass<"share-dispatch-plans", "::mlir::ModuleOp"> {
  let summary = "gives expert sets with the same ids one plan";
  let description = [{
    Input: phase route, after decompose-routing. Output: one `moe.plan` after
    the definition of every ids value that experts use. Preserves values.

    Fails never. Example: test/passes/share-dispatch-plans/basic.mlir
  }];
  let statistics = [Statistic<"plans", "plans", "plans created">,
                    Statistic<"shared", "shared", "expert sets beyond the first of a plan">];
  let dependentDialects = ["::moec::moe::MoeDialect"];
}

def FuseRouting : Pass<"fuse-routing", "::mlir::ModuleOp"> {
  let summary = "joins routers and their plan";
  let description = [{
    Input: phase route, after share-dispatch-plans. Output: a `moe.plan` whose
    ids come from a row body is one `moe.route_plan` with that body, and bodies
    that feed it (the arms of select_routing) are part of it. Preserves values
    exactly: the same row operations run on the same rows.

    Fails never. Example: test/passes/fuse-routing/basic.mlir
  }];
  let statistics = [Statistic<"fused", "fused", "plans fused with their router">];
  let dependentDialects = ["::moec::moe::MoeDialect"];
}

#endif // MOEC_PASSES_ROUTE_PASSES
