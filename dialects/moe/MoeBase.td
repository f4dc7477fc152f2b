//===- MoeBase.td - The moe dialect ------------------------*- tablegen -*-===//
#ifndef MOEC_DIALECTS_MOE_MOEBASE
#define MOEC_DIALECTS_MOE_MOEBASE

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/DialectBase.td"

def Moe_Dialect : Dialect {
  let name = "moe";
  let cppNamespace = "::moec::moe";
  let summary = "Mixture-of-Experts models";
  let description = [{
    What is computed: weights by name, experts, routing, dispatch. Values are
    tensors of T tokens (`tensor<?xWxt>`), as in `nn`; routing results are plain
    tensors of ids `tensor<?xKxi32>` and weights `tensor<?xKxf32>`.

    Declarations (`moe.weight`, `moe.expert_table`, `moe.modality`, `moe.entry`,
    `nn.state`) stand at module level and are legal in every phase; their order
    gives the ordinals of the manifest.
  }];
  let useDefaultAttributePrinterParser = 1;
  let dependentDialects = ["::moec::row::RowDialect", "::mlir::arith::ArithDialect",
                           "::mlir::math::MathDialect"];
  let extraClassDeclaration = [{
    void registerOperations();
    void registerRoutingOperations();
  }];
}

class Moe_Attr<string name, string mnemonic_, list<Trait> traits = []>
    : AttrDef<Moe_Dialect, name, traits> {
  let mnemonic = mnemonic_;
}
class Moe_Op<string mnemonic, list<Trait> traits = []>
    : Op<Moe_Dialect, mnemonic, traits>;

#endif // MOEC_DIALECTS_MOE_MOEBASE
