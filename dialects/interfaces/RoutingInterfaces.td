//===- RoutingInterfaces.td - What a router promises -------*- tablegen -*-===//
#ifndef MOEC_DIALECTS_INTERFACES_ROUTINGINTERFACES
#define MOEC_DIALECTS_INTERFACES_ROUTINGINTERFACES

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/Interfaces.td"

def RoutingOpInterface : OpInterface<"RoutingOpInterface"> {
  let cppNamespace = "::moec";
  let description = [{
    An operation that decides, for every token, which experts take part and
    with which weights.

    Vocabulary. *Tokens* T are the rows of the operands. A router has E
    *experts* (ids 0 .. E-1) and gives each token K *slots*. Its two results are
    the ids `tensor<?xKxi32>` and the combine weights `tensor<?xKxf32>`; the id
    -1 with weight 0 marks an unused slot. Unused slots may stand anywhere.

    Consumers: semantic analysis finds a router by `getSpelling` and checks a
    call by `getSignature`; `decompose-routing` calls `lowerToken`; the planner
    asks for the row bound; `check-routers` compares `lowerToken` with
    `ReferenceOpInterface::evaluate`.

    Facts default to "not promised".
  }];
  let methods = [
    StaticInterfaceMethod<[{
        The word that calls this router in a .moe file. Empty: it cannot be
        written there.
      }], "::llvm::StringRef", "getSpelling", (ins)>,
    StaticInterfaceMethod<[{
        The arguments of that call besides the logits.
      }], "::moec::Signature", "getSignature", (ins)>,
    InterfaceMethod<"Number of experts E that ids refer to.",
      "int64_t", "getNumExperts", (ins)>,
    InterfaceMethod<"Number of slots K per token.",
      "int64_t", "getSlotsPerToken", (ins)>,
    InterfaceMethod<[{
        Upper bound of the valid (token, slot) pairs of T tokens, as a multiple
        of T. Scratch is sized by it.
      }], "int64_t", "getRowsPerTokenBound", (ins), [{}],
      [{ return $_op.getSlotsPerToken(); }]>,
    InterfaceMethod<"What holds for every input.",
      "::moec::RoutingGuarantees", "getGuarantees", (ins), [{}],
      [{ return ::moec::RoutingGuarantees(); }]>,
    InterfaceMethod<[{
        Builds the routing of one token in the `row` dialect and returns its ids
        `tensor<Kxi32>` and weights `tensor<Kxf32>`. `inputs` are the op's
        operands for that token, in order: a row for `tensor<?xWxt>`, a scalar
        for `tensor<?xt>`, the tensor itself for operands of static shape.
        Only for routers that promise TokenLocal. One lowering serves every
        target. Failure has emitted a diagnostic.
      }], "::mlir::FailureOr<::moec::RoutedRow>", "lowerToken",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::ValueRange":$inputs)>
  ];
}

def RoutingStageAttrInterface : AttrInterface<"RoutingStageAttrInterface"> {
  let cppNamespace = "::moec";
  let description = [{
    One stage of `moe.route`: a step of the routing pipeline of one token. A new
    gate is usually one new stage.

    A stage reads and writes a `StageState` (lowering, values of the `row`
    dialect) or a `StageValues` (reference, plain numbers); both have the same
    fields, and the two functions must agree. Fields that stages before it have
    not set are null or empty; the verifier of `moe.route` fixes the order.

    Consumers: `moe.route` (verification, lowering, evaluation), semantic
    analysis through `MoecDialectInterface::getStages`.
  }];
  let methods = [
    StaticInterfaceMethod<"The word that spells the stage in a .moe file.",
      "::llvm::StringRef", "getSpelling", (ins)>,
    StaticInterfaceMethod<"Which argument of route() it may be given to.",
      "::moec::StageKind", "getStageKind", (ins)>,
    StaticInterfaceMethod<"The arguments of its call.",
      "::moec::Signature", "getSignature", (ins)>,
    StaticInterfaceMethod<[{
        The stage for evaluated arguments, all known by name and of the right
        kind. Returns null after calling `emitError` when a value is not
        acceptable.
      }], "::mlir::Attribute", "build",
      (ins "::mlir::MLIRContext *":$context,
           "::llvm::ArrayRef<::moec::NamedStatic>":$arguments,
           "::llvm::function_ref<::mlir::InFlightDiagnostic()>":$emitError)>,
    InterfaceMethod<[{
        Slots per token after a `select` stage over a pool of `width` experts; 0
        for stages of another kind.
      }], "int64_t", "getSlots", (ins "int64_t":$width), [{}], [{ return 0; }]>,
    InterfaceMethod<[{
        Checks the stage against the pool: `width` experts, `slots` selected.
      }], "::mlir::LogicalResult", "verifyStage",
      (ins "int64_t":$width, "int64_t":$slots,
           "::llvm::function_ref<::mlir::InFlightDiagnostic()>":$emitError),
      [{}], [{ return ::mlir::success(); }]>,
    InterfaceMethod<[{
        What the stage adds to (`establishes`) or takes from (`destroys`) the
        guarantees of the router.
      }], "void", "updateGuarantees",
      (ins "::moec::RoutingGuarantees &":$guarantees), [{}],
      [{ (void)guarantees; }]>,
    InterfaceMethod<[{
        Name of the extra operand that the stage reads from
        `StageState::operand`, such as "bias"; empty for none. A weight of the
        pool's width, or a value of that width per token.
      }], "::llvm::StringRef", "getOperandName", (ins), [{}], [{ return {}; }]>,
    InterfaceMethod<[{
        Whether the operand may be `found` wide where the stage works on `width`
        experts.
      }], "bool", "acceptsOperandWidth",
      (ins "int64_t":$width, "int64_t":$found), [{}],
      [{ return found == width; }]>,
    InterfaceMethod<[{
        Whether the operand holds ids of experts, `tensor<?xKxi32>`, instead of
        numbers.
      }], "bool", "readsIds", (ins), [{}], [{ return false; }]>,
    InterfaceMethod<[{
        For a `select` stage: whether it fills `StageState::givenWeights`.
      }], "bool", "givesWeights", (ins), [{}], [{ return false; }]>,
    InterfaceMethod<[{
        For a `select` stage: whether the slots stand in order of preference, so
        that fewer experts are the first ones.
      }], "bool", "ordersSlots", (ins), [{}], [{ return false; }]>,
    InterfaceMethod<[{
        For a `weigh` stage: whether it takes the weights that selection gave, so
        that it needs a `select` stage which gives some.
      }], "bool", "takesGivenWeights", (ins), [{}], [{ return false; }]>,
    InterfaceMethod<"Builds the stage in the `row` dialect.",
      "void", "lowerToken",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc,
           "::moec::StageState &":$state)>,
    InterfaceMethod<"The same on plain numbers, one token at a time.",
      "void", "evaluate", (ins "::moec::StageValues &":$state)>
  ];
}

#endif // MOEC_DIALECTS_INTERFACES_ROUTINGINTERFACES
