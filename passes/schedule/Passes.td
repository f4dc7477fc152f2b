//===- Passes.td - Who computes what, when and where -------*- tablegen -*-===//
#ifndef MOEC_PASSES_SCHEDULE_PASSES
#define MOEC_PASSES_SCHEDULE_PASSES

include "mlir/Pass/PassBase.td"

def PartitionTasks : Pass<"partition-tasks", "::mlir::ModuleOp"> {
  let summary = "chooses how each matmul's tasks are divided";
  let description = [{
    Input: phase buffers. Output: `tasks` of every `moex.grouped_gemm`: blocks of
    output columns, so that every weight is read by one participant only; a
    matmul of a single block (a router) is divided by rows. Preserves values:
    the order of a sum does not depend on who computes it.

    Fails never. Example: test/passes/partition-tasks/basic.mlir
  }];
  let dependentDialects = ["::moec::moex::MoexDialect"];
}

def PlaceBarriers : Pass<"place-barriers", "::mlir::ModuleOp"> {
  let summary = "runs the step on a team and separates dependent operations";
  let description = [{
    Input: phase buffers. Output: the body of each step function is one
    `moex.parallel`, memory operations first; a `moex.barrier` stands before an
    operation that reads what another participant may have written, or writes
    what another may still read. Row-wise operations over the same rows need
    none between them: a participant owns the same rows in both.

    Fails never. Example: test/passes/place-barriers/basic.mlir
  }];
  let statistics = [Statistic<"barriers", "barriers", "barriers placed">];
  let dependentDialects = ["::moec::moex::MoexDialect"];
}

def PlanArena : Pass<"plan-arena", "::mlir::ModuleOp"> {
  let summary = "places buffers in scratch";
  let description = [{
    Input: phase schedule, after place-barriers. Output: every `moex.alloc` is a
    `moex.arena_slice`, and each step function has `moex.scratch`, the bytes of
    scratch as a map of the extents. Buffers share memory when a barrier lies
    between the last use of one and the first of the other. Offsets are linear
    in the extents and multiples of 64 bytes, so one plan serves all sizes.

    Fails when the row count of a buffer is not linear in the extents.
    Example: test/passes/plan-arena/basic.mlir
  }];
  let statistics = [Statistic<"buffers", "buffers", "buffers placed">];
  let dependentDialects = ["::moec::moex::MoexDialect"];
}

#endif // MOEC_PASSES_SCHEDULE_PASSES
