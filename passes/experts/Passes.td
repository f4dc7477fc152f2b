//===- Passes.td - Passes on experts and nn ----------------*- tablegen -*-===//
#ifndef MOEC_PASSES_EXPERTS_PASSES
#define MOEC_PASSES_EXPERTS_PASSES

include "mlir/Pass/PassBase.td"

def SplitExperts : Pass<"split-experts", "::mlir::ModuleOp"> {
  let summary = "takes ragged and virtual experts apart";
  let description = [{
    Input: phase route, before share-dispatch-plans. Output: the experts of every
    table have one width, format and layout, and none is virtual. A set that
    mixes them becomes one set per group, each with its own table and the ids of
    its experts (other slots -1), whose f32 results are added in the order of the
    groups; identities add (sum of their weights) * x, nulls nothing, constants
    (sum of their weights) * their vector. No virtual expert ever has a row of a
    plan. Weights that multiply operands (`apply_input`) become row bodies before
    sets of one slot, and `moe.share` and `moe.table_rows` row bodies. Preserves values by definition of
    the operations.

    Fails never. Example: test/passes/split-experts/basic.mlir
  }];
  let statistics = [Statistic<"numSplit", "split", "expert sets split">];
  let dependentDialects = ["::moec::moe::MoeDialect", "::moec::row::RowDialect",
                           "::mlir::arith::ArithDialect"];
}

def DecomposeExperts : Pass<"decompose-experts", "::mlir::ModuleOp"> {
  let summary = "turns expert sets into grouped matmuls over a plan";
  let description = [{
    Input: phase route. Output: no operation with `ExpertOpInterface`; each has
    become dispatch, grouped matmuls, an elementwise body and a combine. Preserves
    values by definition of `moe.experts`.

    Fails when an expert set has no plan (run share-dispatch-plans before).
    Example: test/passes/decompose-experts/basic.mlir
  }];
  let statistics = [Statistic<"decomposed", "decomposed", "expert sets decomposed">];
  let dependentDialects = ["::moec::moe::MoeDialect", "::moec::row::RowDialect"];
}

def LowerNn : Pass<"lower-nn", "::mlir::ModuleOp"> {
  let summary = "writes norms, rotary positions and maps as row bodies";
  let description = [{
    Input: phase experts. Output: of `nn`, only linear, joint_linear, embed,
    patches, add_positions, take_rows, state_append and attention are left; glu
    and mlp have become linear maps with an elementwise body between them, the
    rest `row.apply`. Preserves values as the operations define them.

    Fails never. Example: test/passes/lower-nn/basic.mlir
  }];
  let statistics = [Statistic<"lowered", "lowered", "operations lowered">];
  let dependentDialects = ["::moec::nn::NnDialect", "::moec::row::RowDialect"];
}

def FuseExpertEpilogue : Pass<"fuse-expert-epilogue", "::mlir::ModuleOp"> {
  let summary = "moves gather and activation into the matmuls";
  let description = [{
    Input: phase experts, after decompose-experts and lower-nn. Output: a
    `moe.dispatch` that only grouped matmuls read becomes their `gather`; an
    elementwise body over matmuls of one operand becomes the epilogue of one
    matmul over all their weights (`moe.grouped_matmul`, `nn.joint_linear`).
    Preserves values exactly: sums, functions and roundings are the same, in the
    same order; only the f32 rows between them are no longer stored.

    Fails never. Example: test/passes/fuse-expert-epilogue/basic.mlir
  }];
  let statistics = [Statistic<"gathers", "gathers", "dispatches fused">,
                    Statistic<"epilogues", "epilogues", "elementwise bodies fused">];
  let dependentDialects = ["::moec::moe::MoeDialect", "::moec::nn::NnDialect"];
}

#endif // MOEC_PASSES_EXPERTS_PASSES
