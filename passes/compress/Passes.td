//===- Passes.td - Passes on stored weights ----------------*- tablegen -*-===//
#ifndef MOEC_PASSES_COMPRESS_PASSES
#define MOEC_PASSES_COMPRESS_PASSES

include "mlir/Pass/PassBase.td"

def AssignFormats : Pass<"assign-formats", "::mlir::ModuleOp"> {
  let summary = "gives every weight its format";
  let description = [{
    Input: phase graph. Output: every `moe.weight` of float type has a `format`;
    a weight without one gets the plain format of its element type. Preserves
    values.

    Fails never. Example: test/passes/assign-formats/basic.mlir
  }];
  let dependentDialects = ["::moec::moeq::MoeqDialect"];
}

def AssignLayouts : Pass<"assign-layouts", "::mlir::ModuleOp"> {
  let summary = "gives every weight its one layout";
  let description = [{
    Input: phase compress, after assign-formats. Output: every `moe.weight` has a
    `layout`, chosen by `TargetModel::layoutFor` from how it is used (contract
    4.2): matrices of matmuls lie in row blocks, everything else row-major. One
    layout per weight: an embedding that is also the head is read by both through
    the head's layout. Preserves values.

    Fails never. Example: test/passes/assign-layouts/basic.mlir
  }];
  let dependentDialects = ["::moec::moeq::MoeqDialect"];
}

#endif // MOEC_PASSES_COMPRESS_PASSES
