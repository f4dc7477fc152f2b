//===- QuantizableOpInterface.td - Ops with quantisable weights -*- tablegen -*-===//
#ifndef MOEC_DIALECTS_INTERFACES_QUANTIZABLEOPINTERFACE
#define MOEC_DIALECTS_INTERFACES_QUANTIZABLEOPINTERFACE

include "mlir/IR/OpBase.td"

def QuantizableOpInterface : OpInterface<"QuantizableOpInterface"> {
  let cppNamespace = "::moec";
  let description = [{
    An operation that multiplies its input by matrices whose storage may change.
    All matrices of one operation are multiplied in one type of computation, the
    attribute `compute`.

    Consumers: `assign-formats`, `assign-layouts`.
  }];
  let methods = [
    InterfaceMethod<[{
        The operands that are matrices [to, from]. The default has none.
      }], "::llvm::SmallVector<::mlir::OpOperand *>", "getMatrixOperands", (ins),
      "", "return {};">,
    InterfaceMethod<[{
        The expert table whose weights are matrices [to, from]; null without.
      }], "::mlir::FlatSymbolRefAttr", "getMatrixTable", (ins), "",
      "return {};">,
    InterfaceMethod<[{
        Sets the type of computation: i8 rounds the input, in groups of the
        columns that share a scale in the weights' format, to 8-bit integers.
      }], "void", "setComputeType", (ins "::mlir::Type":$type), "",
      "$_op->setAttr(\"compute\", ::mlir::TypeAttr::get(type));">
  ];
}

#endif // MOEC_DIALECTS_INTERFACES_QUANTIZABLEOPINTERFACE
