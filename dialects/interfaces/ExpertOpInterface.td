//===- ExpertOpInterface.td - What a set of experts offers -*- tablegen -*-===//
#ifndef MOEC_DIALECTS_INTERFACES_EXPERTOPINTERFACE
#define MOEC_DIALECTS_INTERFACES_EXPERTOPINTERFACE

include "mlir/IR/OpBase.td"

def ExpertOpInterface : OpInterface<"ExpertOpInterface"> {
  let cppNamespace = "::moec";
  let description = [{
    An operation that sends tokens through experts chosen by a router.

    Vocabulary: the *table* lists the experts; an expert owns weights by *role*
    (gate, up, down); the *plan* sorts (token, slot) pairs by expert.

    Consumers: `specialize-modalities` joins sets with equal bodies;
    `split-experts` calls `splitExperts`;
    `share-dispatch-plans` gives sets with the same ids one plan;
    `decompose-experts` calls `decomposeExperts`.
  }];
  let methods = [
    InterfaceMethod<"Symbol of the expert table.",
      "::mlir::FlatSymbolRefAttr", "getExpertTable", (ins)>,
    InterfaceMethod<"The routing results: ids `tensor<?xKxi32>`.",
      "::mlir::Value", "getRoutingIds", (ins)>,
    InterfaceMethod<"The routing results: weights `tensor<?xKxf32>`.",
      "::mlir::Value", "getRoutingWeights", (ins)>,
    InterfaceMethod<"The tokens that are sent through the experts.",
      "::mlir::Value", "getTokens", (ins)>,
    InterfaceMethod<"Floating-point operations of one (token, slot) pair.",
      "int64_t", "getFlopsPerRow", (ins)>,
    InterfaceMethod<[{
        Builds the experts as several sets that a grouped matmul can each take
        whole, declares their tables, and returns the value that replaces the
        result. Null where there is nothing to split.
      }], "::mlir::Value", "splitExperts",
      (ins "::mlir::OpBuilder &":$builder,
           "::mlir::SymbolTable &":$symbols), [{}], [{ return {}; }]>,
    InterfaceMethod<[{
        Builds the experts from grouped matmuls over `plan` and returns the value
        that replaces the result; null after emitting an error.
      }], "::mlir::Value", "decomposeExperts",
      (ins "::mlir::OpBuilder &":$builder,
           "const ::moec::DispatchPlan &":$plan)>
  ];
}

#endif // MOEC_DIALECTS_INTERFACES_EXPERTOPINTERFACE
