//===- Passes.td - From tensors to memory ------------------*- tablegen -*-===//
#ifndef MOEC_PASSES_BUFFERS_PASSES
#define MOEC_PASSES_BUFFERS_PASSES

include "mlir/Pass/PassBase.td"

def ConvertToMoex : Pass<"convert-to-moex", "::mlir::ModuleOp"> {
  let summary = "gives every value a buffer and every operation its kernel op";
  let description = [{
    Input: phase experts. Output: phase buffers: step functions without operands
    and results whose bodies are `moex` operations on memrefs, in the same order.
    Each tensor value becomes one buffer (`moex.alloc` with its row count as a
    map of the extents) that one operation writes, so no copies are needed;
    results are written to outputs directly. Preserves values exactly.

    Fails on an operation that has no kernel op: a dialect of another level, or
    a result whose number of rows is not known.
    Example: test/passes/convert-to-moex/basic.mlir
  }];
  let dependentDialects = ["::moec::moex::MoexDialect", "::moec::row::RowDialect"];
}

#endif // MOEC_PASSES_BUFFERS_PASSES
