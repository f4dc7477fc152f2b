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

    The results are f32 or i32; whoever evaluates rounds them to the element
    types of the results. Rounding inside the operation is its own business.

    Consumers: the pass `check-routers`, conformance tests, `moe-interp`. Every
    router implements it.
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

def ContextReferenceOpInterface : OpInterface<"ContextReferenceOpInterface"> {
  let cppNamespace = "::moec";
  let description = [{
    The same for an operation whose results depend on more than its operands:
    weights named by a symbol, a state, a region that reads values from outside.

    Consumers: `moe-interp`.
  }];
  let methods = [
    InterfaceMethod<[{
        Computes the results from the operands and the context. `outputs` has
        one empty tensor per result. Failure has emitted a diagnostic.
      }], "::mlir::LogicalResult", "evaluateIn",
      (ins "::moec::ReferenceContext &":$context,
           "::llvm::ArrayRef<::moec::HostTensor>":$inputs,
           "::llvm::MutableArrayRef<::moec::HostTensor>":$outputs)>
  ];
}

#endif // MOEC_DIALECTS_INTERFACES_REFERENCEOPINTERFACE
