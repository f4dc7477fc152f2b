//===- Passes.td - Passes on stored weights ----------------*- tablegen -*-===//
#ifndef MOEC_PASSES_COMPRESS_PASSES
#define MOEC_PASSES_COMPRESS_PASSES

include "mlir/Pass/PassBase.td"

def AssignFormats : Pass<"assign-formats", "::mlir::ModuleOp"> {
  let summary = "gives every weight its format";
  let description = [{
    Input: phase graph. Output: every `moe.weight` of float type has a `format`;
    a weight without one gets the plain format of its element type. Without
    options values are preserved.

    With `format` the matrices of products (QuantizableOpInterface) are stored in
    that format: not those of routers, not those that something else reads, too,
    and not those with fewer columns than a group. All matrices of a product
    change or none. The map to the logits gets `head`. Products with integer
    formats are computed in i8 unless `activations` is float: then weights are
    turned into numbers again and multiplied in the type that the product had.

    Fails where a format is unknown. Examples: test/passes/assign-formats
  }];
  let options = [
    Option<"format", "format", "std::string", "\"\"",
           "format of matrices, by its spelling; empty keeps plain numbers">,
    Option<"head", "head", "std::string", "\"\"",
           "format of the map to the logits; empty: int8 where `format` has "
           "fewer than 8 bits, else `format`">,
    Option<"activations", "activations", "std::string", "\"int8\"",
           "int8 or float: how products with integer formats are computed">
  ];
  let statistics = [
    Statistic<"numQuantized", "quantized", "products that were quantised">,
    Statistic<"numKept", "kept", "products that were not">
  ];
  let dependentDialects = ["::moec::moeq::MoeqDialect"];
}

def AssignLayouts : Pass<"assign-layouts", "::mlir::ModuleOp"> {
  let summary = "gives every weight its one layout";
  let description = [{
    Input: phase compress, after assign-formats. Output: every `moe.weight` has a
    `layout`, chosen by `TargetModel::layoutFor` from how it is used (contract
    4.2): matrices of matmuls lie in blocks of rows, everything else row-major. One
    layout per weight: an embedding that is also the head is read by both through
    the head's layout. Preserves values.

    Layouts are those of the first processor among the targets; without one, of
    the first device. Where a device wants another one, the weight gets a copy
    @w.<target> with `moe.copy_of = @w` and `moe.copy_for`, which `lower-to-llvm`
    takes for that device: an artifact for both holds such a matrix twice.

    Fails where a target is unknown. Examples: test/passes/assign-layouts
  }];
  let options = [
    ListOption<"targets", "target", "std::string",
               "names of the targets; x86_64 when empty">
  ];
  let statistics = [
    Statistic<"numCopies", "copies", "weights with a copy for a device">
  ];
  let dependentDialects = ["::moec::moeq::MoeqDialect"];
}

#endif // MOEC_PASSES_COMPRESS_PASSES
