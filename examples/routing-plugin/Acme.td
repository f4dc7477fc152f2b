//===- Acme.td - The acme dialect --------------------------*- tablegen -*-===//
#ifndef ACME
#define ACME

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/DialectBase.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "dialects/interfaces/ReferenceOpInterface.td"
include "dialects/interfaces/RoutingInterfaces.td"

def Acme_Dialect : Dialect {
  let name = "acme";
  let cppNamespace = "::acme";
  let summary = "routing that moec does not have";
  let useDefaultAttributePrinterParser = 1;
  // Routing bodies are built from these.
  let dependentDialects = ["::moec::row::RowDialect",
                           "::mlir::arith::ArithDialect",
                           "::mlir::math::MathDialect"];
}

def Acme_MarginOp : Op<Acme_Dialect, "margin", [
    Pure,
    InferTypeOpAdaptor,
    DeclareOpInterfaceMethods<RoutingOpInterface, ["getGuarantees"]>,
    DeclareOpInterfaceMethods<ReferenceOpInterface>]> {
  let summary = "the experts that come close to the best one";
  let description = [{
    Scores are the softmax of the logits. Of the `k` experts with the highest
    score (ties go to the lower id) those stay whose score is at least `ratio`
    times the best; the others leave their slot unused. Weights are the scores
    that stay, divided by their sum.

    A sure router spends one expert on a token, a hesitant one up to `k`.

    Constraints:
    - (C1) logits are tensor<?xExf32>
    - (C2) k is at least 1 and at most E
    - (C3) ratio is at least 0 and at most 1

    Example:
    ```mlir
    func.func @f(%z: tensor<?x8xf32>) -> (tensor<?x3xi32>, tensor<?x3xf32>) {
      %ids, %w = acme.margin %z k = 3 ratio = 0.5 : tensor<?x8xf32>
      return %ids, %w : tensor<?x3xi32>, tensor<?x3xf32>
    }
    ```
  }];
  let arguments = (ins AnyRankedTensor:$logits, I64Attr:$k, F64Attr:$ratio);
  let results = (outs AnyRankedTensor:$ids, AnyRankedTensor:$weights);
  let assemblyFormat = [{
    $logits `k` `=` $k `ratio` `=` $ratio attr-dict `:` type($logits)
  }];
  let hasVerifier = 1;
}

def Acme_TemperedSoftmaxAttr : AttrDef<Acme_Dialect, "TemperedSoftmax",
    [DeclareAttrInterfaceMethods<RoutingStageAttrInterface>]> {
  let mnemonic = "tempered_softmax";
  let summary = "scores are the softmax of the logits over a temperature";
  let description = [{
    softmax(z / temperature). The temperature is above 0.

    Example: `score(#acme.tempered_softmax<0.5>)`
  }];
  let parameters = (ins "::mlir::FloatAttr":$temperature);
  let assemblyFormat = "`<` $temperature `>`";
}

#endif // ACME
