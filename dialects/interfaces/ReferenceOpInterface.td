//===- ReferenceOpInterface.td - Reference semantics -------*- tablegen -*-===//
#ifndef MOEC_DIALECTS_INTERFACES_REFERENCEOPINTERFACE
#define MOEC_DIALECTS_INTERFACES_REFERENCEOPINTERFACE

include "mlir/IR/OpBase.td"

def ReferenceOpInterface : OpInterface<"ReferenceOpInterface"> {
  let cppNamespace = "::moec";
  let description = [{
    An operation that can compute itself on host tensors, as its description
    defines it: straightforward code, f32 arithmetic, no regard to speed. It is
    the oracle of the op's lowering and shares no code with it.

    Consumers: the pass `check-routers`, conformance tests. Every router
    implements it.
  }];
  let methods = [
    InterfaceMethod<[{
        Computes the results from the operands. `outputs` has one empty tensor
        per result, to be assigned. Failure has emitted a diagnostic.
      }], "::mlir::LogicalResult", "evaluate",
      (ins "::llvm::ArrayRef<::moec::HostTensor>":$inputs,
           "::llvm::MutableArrayRef<::moec::HostTensor>":$outputs)>
  ];
}

#endif // MOEC_DIALECTS_INTERFACES_REFERENCEOPINTERFACE
