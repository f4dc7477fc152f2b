//===- MoeOps.td - Weights, experts, dispatch --------------*- tablegen -*-===//
#ifndef MOEC_DIALECTS_MOE_MOEOPS
#define MOEC_DIALECTS_MOE_MOEOPS

include "dialects/moe/MoeBase.td"
include "dialects/interfaces/Activation.td"
include "dialects/interfaces/ExpertOpInterface.td"
include "dialects/interfaces/QuantizableOpInterface.td"
include "dialects/interfaces/ReferenceOpInterface.td"
include "dialects/interfaces/WeightInterfaces.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"

def Moe_Stream : Type<And<[
    RankedTensorOf<[F32, BF16, F16]>.predicate,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getRank() == 2">,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).isDynamicDim(0)">,
    CPred<"!::llvm::cast<::mlir::RankedTensorType>($_self).isDynamicDim(1)">]>,
    "token stream tensor<?xWxfloat>", "::mlir::RankedTensorType">;
class Moe_PerToken<Type element, string text, string getter> : Type<And<[
    RankedTensorOf<[element]>.predicate,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getRank() == 1">,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).isDynamicDim(0)">]>,
    "tensor<?x" # text # ">", "::mlir::RankedTensorType">, BuildableType<
    "::mlir::RankedTensorType::get({::mlir::ShapedType::kDynamic}, $_builder." #
    getter # "())">;
def Moe_Ids : Moe_PerToken<I32, "i32", "getI32Type">;
def Moe_Kinds : Moe_PerToken<I8, "i8", "getI8Type">;
class Moe_PerSlot<Type element, string text> : Type<And<[
    RankedTensorOf<[element]>.predicate,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getRank() == 2">,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).isDynamicDim(0)">,
    CPred<"!::llvm::cast<::mlir::RankedTensorType>($_self).isDynamicDim(1)">]>,
    "tensor<?xKx" # text # ">", "::mlir::RankedTensorType">;
def Moe_SlotIds : Moe_PerSlot<I32, "i32">;
def Moe_SlotWeights : Moe_PerSlot<F32, "f32">;
def Moe_Offsets : Type<And<[
    RankedTensorOf<[I32]>.predicate,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getRank() == 1">,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).hasStaticShape()">]>,
    "tensor<(E+1)xi32>", "::mlir::RankedTensorType">;
// Operations say here how they are evaluated (ReferenceOpInterface).
defvar Moe_Reference = DeclareOpInterfaceMethods<ReferenceOpInterface>;
defvar Moe_ContextReference =
    DeclareOpInterfaceMethods<ContextReferenceOpInterface>;
// i8 goes with integer formats of weights, as in dialect nn.
def Moe_ComputeType : TypeAttrOf<AnyTypeOf<[F32, BF16, F16, I8]>>;

//===----------------------------------------------------------------------===//
// Declarations
//===----------------------------------------------------------------------===//

def Moe_ModalityOp : Moe_Op<"modality", [Symbol]> {
  let summary = "declares a modality";
  let description = [{
    Tokens of the modality carry `id` in the batch's `kinds`. `token` modalities
    come in as ids below `vocab`; `raw` ones as raw inputs of `raw_type`, each of
    which is `tokens` tokens.

    Constraints:
    - (C1) the id is 0 .. 7 and unique in the module
    - (C2) exactly one of `vocab` and `raw_type` is there
    - (C3) `tokens` is positive, and 1 with `vocab`

    Example:
    ```mlir
    moe.modality @text id = 0 token vocab = 256
    moe.modality @image id = 1 raw tensor<28x28x1xui8> tokens = 49
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$id,
                       OptionalAttr<I64Attr>:$vocab,
                       OptionalAttr<TypeAttr>:$raw_type,
                       DefaultValuedAttr<I64Attr, "1">:$tokens);
  let assemblyFormat = [{
    $sym_name `id` `=` $id (`token` `vocab` `=` $vocab^)? (`raw` $raw_type^)?
    (`tokens` `=` $tokens^)? attr-dict
  }];
  let hasVerifier = 1;
}

def Moe_EntryOp : Moe_Op<"entry",
    [Symbol, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "declares an entry of the model";
  let description = [{
    An entry of the source: a use of a step function (contract 4.4). Entries that
    differ only in lengths and in `last` share the function. `routing_out`: the
    entry exports what its routers choose. `routing_in`, `expert_mask`,
    `router_bias` and `k_override`: a step may force, bar, favour experts, and
    use fewer of them. The function must be able to.

    Constraints:
    - (C1) `function` names a function of the module
    - (C2) the layout is a list of `#moe.segment`

    Example:
    ```mlir
    func.func private @step()
    moe.entry @prefill function = @step last layout = [#moe.segment<modalities = [0], min = 1, max = 512>]
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, FlatSymbolRefAttr:$function,
                       UnitAttr:$last, UnitAttr:$routing_out,
                       UnitAttr:$routing_in, UnitAttr:$expert_mask,
                       UnitAttr:$router_bias, UnitAttr:$k_override,
                       ArrayAttr:$layout);
  let assemblyFormat = [{
    $sym_name `function` `=` $function (`last` $last^)?
    (`routing_out` $routing_out^)? (`routing_in` $routing_in^)?
    (`expert_mask` $expert_mask^)? (`router_bias` $router_bias^)?
    (`k_override` $k_override^)? `layout` `=` $layout attr-dict
  }];
  let hasVerifier = 1;
}

def Moe_WeightOp : Moe_Op<"weight", [Symbol]> {
  let summary = "declares a weight";
  let description = [{
    A constant tensor made from stored ones by `recipe`. The type is that of the
    numbers after the recipe; its element type is that of the stored tensor
    unless a step changes it. `format` and `layout` say how the artifact stores
    it; phase `compress` sets them. `layer`, `expert` and `role` tell people and
    passes where it belongs.

    Constraints:
    - (C1) the type is static, of element type f32, bf16, f16 or i32
    - (C2) the recipe begins with a tensor and has only recipe steps

    Example:
    ```mlir
    moe.weight @layers.0.q : tensor<256x256xbf16> from [#moe.tensor<"layers.0.q.weight">] layer = 0 role = "q"
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttr:$type,
                       ArrayAttr:$recipe,
                       OptionalAttr<QuantFormatAttrInterface>:$format,
                       OptionalAttr<WeightLayoutAttrInterface>:$layout,
                       DefaultValuedAttr<I64Attr, "-1">:$layer,
                       DefaultValuedAttr<I64Attr, "-1">:$expert,
                       DefaultValuedAttr<StrAttr, "\"\"">:$role);
  let assemblyFormat = [{
    $sym_name `:` $type `from` $recipe (`format` `=` $format^)?
    (`layout` `=` $layout^)? (`layer` `=` $layer^)? (`expert` `=` $expert^)?
    (`role` `=` $role^)? attr-dict
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::RankedTensorType getTensorType() {
      return ::llvm::cast<::mlir::RankedTensorType>(getType());
    }
  }];
}

def Moe_WeightRefOp : Moe_Op<"weight_ref",
    [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
     Moe_ContextReference]> {
  let summary = "the tensor of a weight";
  let description = [{
    The value of a `moe.weight`, as an operand of `nn` and routing operations.

    Constraints:
    - (C1) the symbol is a `moe.weight` of the result's type

    Example:
    ```mlir
    moe.weight @w : tensor<8xbf16> from [#moe.tensor<"w">]
    func.func @f() -> tensor<8xbf16> {
      %w = moe.weight_ref @w : tensor<8xbf16>
      return %w : tensor<8xbf16>
    }
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$weight);
  let results = (outs AnyStaticShapeTensor:$result);
  let assemblyFormat = "$weight attr-dict `:` type($result)";
}

def Moe_ExpertTableOp : Moe_Op<"expert_table",
    [Symbol, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "lists the experts of a set";
  let description = [{
    Expert e of the set is entry e. Weights may be shared between experts and
    between tables. Experts may differ in width and in their biases, and some may
    be virtual, without matrices. Ids that nothing selects are `null`.

    Constraints:
    - (C1) every entry is a `#moe.virtual` or a `#moe.expert` with the roles
      `gate`, `up`, `down` (body `glu`), `up`, `down` (body `mlp`) or `up` (body
      `linear`) and no other ones than biases of these
    - (C2) every role names a `moe.weight`: gate and up [width, hidden], down
      [to, width], with one hidden and one to for the whole table, biases [width]
      and [to]; without down, width is to
    - (C3) virtual experts are `identity`, which needs hidden equal to to, `null`,
      or `constant` with a weight [to]

    Example:
    ```mlir
    moe.weight @g : tensor<32x64xbf16> from [#moe.tensor<"g">]
    moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
    moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
    moe.expert_table @experts body = "glu" [#moe.expert<width = 32, weights = {down = @d, gate = @g, up = @u}>]
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$body,
                       ArrayAttr:$experts);
  let assemblyFormat = "$sym_name `body` `=` $body $experts attr-dict";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The number of ids.
    int64_t getNumExperts() { return getExperts().size(); }
    /// Expert e of the table; null for a virtual one.
    ExpertAttr getExpert(int64_t e) {
      return ::llvm::dyn_cast<ExpertAttr>(getExperts()[e]);
    }
    /// Expert e if it is virtual, otherwise null.
    VirtualExpertAttr getVirtualExpert(int64_t e) {
      return ::llvm::dyn_cast<VirtualExpertAttr>(getExperts()[e]);
    }
    /// The first expert with matrices; null where all are virtual.
    ExpertAttr getFirstExpert();
    bool hasVirtualExperts();
  }];
}

//===----------------------------------------------------------------------===//
// Modalities
//===----------------------------------------------------------------------===//

def Moe_MergeModalitiesOp : Moe_Op<"merge_modalities", [Pure, Moe_Reference]> {
  let summary = "joins the vectors of all modalities into the merged sequence";
  let description = [{
    Row t of the result comes from the operand of token t's modality: row t of a
    token modality's stream, row `tokens[t]` of a raw modality's.
    `ids` gives the modality id of each operand, `indexed` whether it is raw.

    Constraints:
    - (C1) ids and indexed have one element per stream, ids differ
    - (C2) all streams have the result's type

    Example:
    ```mlir
    func.func @f(%t: tensor<?xi32>, %k: tensor<?xi8>, %a: tensor<?x64xf32>, %b: tensor<?x64xf32>) -> tensor<?x64xf32> {
      %x = moe.merge_modalities %t, %k (%a, %b) ids = [0, 1] indexed = [false, true] : tensor<?x64xf32>, tensor<?x64xf32> -> tensor<?x64xf32>
      return %x : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = (ins Moe_Ids:$tokens, Moe_Kinds:$kinds,
                       Variadic<Moe_Stream>:$streams, DenseI64ArrayAttr:$ids,
                       DenseBoolArrayAttr:$indexed);
  let results = (outs Moe_Stream:$result);
  let assemblyFormat = [{
    $tokens `,` $kinds `(` $streams `)` `ids` `=` $ids `indexed` `=` $indexed
    attr-dict `:` type($streams) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Moe_ByModalityOp : Moe_Op<"by_modality",
    [RecursiveMemoryEffects, SingleBlockImplicitTerminator<"::moec::moe::YieldOp">,
     Moe_ContextReference]> {
  let summary = "a value computed differently per modality";
  let description = [{
    Row t of the result is row t of what arm `kinds[t]` yields. An arm may read
    values from outside and computes all rows; rows of other modalities are not
    used. `ids` gives the modality of each region.

    Constraints:
    - (C1) ids has one element per region, all different
    - (C2) every arm yields one value of the result's type

    Example:
    ```mlir
    func.func @f(%k: tensor<?xi8>, %a: tensor<?x64xf32>, %b: tensor<?x64xf32>) -> tensor<?x64xf32> {
      %x = moe.by_modality %k ids = [0, 1] : tensor<?x64xf32> {
        moe.yield %a : tensor<?x64xf32>
      }, {
        moe.yield %b : tensor<?x64xf32>
      }
      return %x : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = (ins Moe_Kinds:$kinds, DenseI64ArrayAttr:$ids);
  let results = (outs Moe_Stream:$result);
  let regions = (region VariadicRegion<SizedRegion<1>>:$arms);
  let assemblyFormat = [{
    $kinds `ids` `=` $ids attr-dict `:` type($result) $arms
  }];
  let hasVerifier = 1;
}

def Moe_YieldOp : Moe_Op<"yield", [Pure, Terminator, ReturnLike]> {
  let summary = "ends a region of a moe operation";
  let description = [{
    Gives the values of an arm or of one element of an epilogue.

    Example: see `moe.by_modality`.
  }];
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "attr-dict ($values^ `:` type($values))?";
  let builders = [OpBuilder<(ins), [{ }]>];
}

//===----------------------------------------------------------------------===//
// Experts
//===----------------------------------------------------------------------===//

def Moe_ExpertsOp : Moe_Op<"experts",
    [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
     DeclareOpInterfaceMethods<ExpertOpInterface, ["splitExperts"]>,
     DeclareOpInterfaceMethods<QuantizableOpInterface, ["getMatrixTable"]>,
     Moe_ContextReference]> {
  let summary = "sends tokens through their experts";
  let description = [{
    y[t] = sum over slots s, ascending, of weights[t, s] * E(x[t]) with E the
    expert ids[t, s] of the table; slots with id -1 are left out. An expert of
    body `glu` computes down(act(gate(x)) * up(x)), of body `mlp`
    down(act(up(x))), of body `linear` up(x), with the biases that it has; slope,
    clamps and `up_offset` are those of `nn.glu`. The hidden vector is rounded to
    the operand's element type; expert results are f32; the sum is f32 and rounded
    once. Where the
    experts of a table differ in width, or some are virtual, those of one width
    are summed first, then the sums in the order of their first experts, then
    what identities give: (sum of their weights) * x[t], then constants in order
    of id: (sum of its weights) * its vector.

    With `apply_input` the weight multiplies the expert's operand instead:
    E(weights[t, s] * x[t]), the product rounded to the operand's element type.

    With `slot` only that one of each token's slots counts.

    Constraints:
    - (C1) the table exists; its hidden width is the operand's and its output
      width the result's
    - (C2) ids and weights have the same number of slots; `slot` is one of them
    - (C3) there is at most one clamp, with a positive limit; a slope goes with
      silu; clamps and `up_offset` go with body `glu`; body `linear` has the
      activation identity

    Example:
    ```mlir
    moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
    moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
    moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u}>]
    func.func @f(%x: tensor<?x64xf32>, %i: tensor<?x1xi32>, %w: tensor<?x1xf32>) -> tensor<?x64xf32> {
      %y = moe.experts @e %x routed(%i, %w) act = relu2 compute = f32
        : tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x64xf32>
      return %y : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = !con((ins FlatSymbolRefAttr:$table, Moe_Stream:$tokens,
                            Moe_SlotIds:$ids, Moe_SlotWeights:$weights),
                       Moec_HiddenArguments,
                       (ins Moe_ComputeType:$compute, UnitAttr:$apply_input,
                            OptionalAttr<I64Attr>:$slot));
  let results = (outs Moe_Stream:$result);
  let assemblyFormat = [{
    $table $tokens `routed` `(` $ids `,` $weights `)` `act` `=` $activation
    `compute` `=` $compute attr-dict `:` type($tokens) `,` type($ids) `,`
    type($weights) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Moe_ShareOp : Moe_Op<"share", [Pure, Moe_Reference]> {
  let summary = "the weight of one expert for each token";
  let description = [{
    y[t] = sum over the slots s with ids[t, s] = expert of weights[t, s]. How the
    result of an expert that is no feed-forward network is weighed.

    Constraints:
    - (C1) ids and weights have the same number of slots; the result is one wide

    Example:
    ```mlir
    func.func @f(%i: tensor<?x2xi32>, %w: tensor<?x2xf32>) -> tensor<?x1xf32> {
      %y = moe.share %i, %w expert = 3 : tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x1xf32>
      return %y : tensor<?x1xf32>
    }
    ```
  }];
  let arguments = (ins Moe_SlotIds:$ids, Moe_SlotWeights:$weights,
                       I64Attr:$expert);
  let results = (outs Moe_Stream:$result);
  let assemblyFormat = [{
    $ids `,` $weights `expert` `=` $expert attr-dict `:` type($ids) `,`
    type($weights) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Moe_TableRowsOp : Moe_Op<"table_rows", [Pure, Moe_Reference]> {
  let summary = "rows of a table of ids";
  let description = [{
    Row tokens[t] of the table for each token. Tokens of other modalities have
    no row of their own there: beyond the table it is row 0.

    Constraints:
    - (C1) the table is [V, K] of i32, the result [?, K]

    Example:
    ```mlir
    func.func @f(%t: tensor<?xi32>, %h: tensor<256x2xi32>) -> tensor<?x2xi32> {
      %y = moe.table_rows %t of %h : tensor<256x2xi32> -> tensor<?x2xi32>
      return %y : tensor<?x2xi32>
    }
    ```
  }];
  let arguments = (ins Moe_Ids:$tokens, AnyStaticShapeTensor:$table);
  let results = (outs Moe_SlotIds:$result);
  let assemblyFormat = [{
    $tokens `of` $table attr-dict `:` type($table) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Moe_LimitSlotsOp : Moe_Op<"limit_slots",
    [Pure, AllTypesMatch<["ids", "limited_ids"]>,
     AllTypesMatch<["weights", "limited_weights"]>, Moe_Reference]> {
  let summary = "leaves out what exceeds the capacity of experts";
  let description = [{
    Of the tokens cu_seqlens[b] .. cu_seqlens[b+1] - 1 of each sequence, an expert
    keeps the first C pairs (token, slot), in ascending order of slot and, within a
    slot, of token; other slots become unused (id -1, weight 0). With n tokens and K
    slots C is ceil(n * K * millionths / (experts * 1000000)), rounded up to a multiple
    of `multiple`: a capacity factor with six decimals. Nothing is normalised again.

    What one token gets depends on others: the operation is no router.

    Constraints:
    - (C1) ids and weights have the same number of slots
    - (C2) experts is 1 .. 65536, millionths 1 .. 1000000000, multiple at least 1

    Example:
    ```mlir
    func.func @f(%i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %c: tensor<?xi32>) -> tensor<?x2xi32> {
      %j, %v = moe.limit_slots %i, %w of %c experts = 8 millionths = 1250000 multiple = 4
        : tensor<?x2xi32>, tensor<?x2xf32>
      return %j : tensor<?x2xi32>
    }
    ```
  }];
  let arguments = (ins Moe_SlotIds:$ids, Moe_SlotWeights:$weights,
                       Moe_Ids:$cu_seqlens, I64Attr:$experts,
                       I64Attr:$millionths, I64Attr:$multiple);
  let results = (outs Moe_SlotIds:$limited_ids, Moe_SlotWeights:$limited_weights);
  let assemblyFormat = [{
    $ids `,` $weights `of` $cu_seqlens `experts` `=` $experts `millionths` `=`
    $millionths `multiple` `=` $multiple attr-dict `:` type($ids) `,`
    type($weights)
  }];
  let hasVerifier = 1;
}

def Moe_PlanOp : Moe_Op<"plan",
    [Pure, AllTypesMatch<["ids", "slot_rows"]>, Moe_Reference]> {
  let summary = "sorts (token, slot) pairs by expert";
  let description = [{
    The dispatch contract (architecture 4.5). The valid pairs (ids[t, s] >= 0),
    sorted by (expert, token, slot), are numbered from 0: `rows[r]` is the token
    of pair r, expert e owns the pairs offsets[e] .. offsets[e+1] - 1, and
    `slot_rows[t, s]` is the pair's number, or -1. `rows` has T * K elements;
    those from offsets[E] on are unspecified.

    Constraints:
    - (C1) offsets has experts + 1 elements

    Example:
    ```mlir
    func.func @f(%i: tensor<?x2xi32>) -> tensor<9xi32> {
      %rows, %offsets, %slots = moe.plan %i experts = 8 : tensor<?x2xi32> -> tensor<9xi32>
      return %offsets : tensor<9xi32>
    }
    ```
  }];
  let arguments = (ins Moe_SlotIds:$ids, I64Attr:$experts);
  let results = (outs Moe_Ids:$rows, Moe_Offsets:$offsets, Moe_SlotIds:$slot_rows);
  let assemblyFormat = [{
    $ids `experts` `=` $experts attr-dict `:` type($ids) `->` type($offsets)
  }];
  let hasVerifier = 1;
}

def Moe_ExportRoutingOp : Moe_Op<"export_routing",
    [MemoryEffects<[MemWrite]>, Moe_Reference]> {
  let summary = "gives what a router chose to the caller of the step";
  let description = [{
    Writes ids and weights to the arrays that the batch has for the router with
    this ordinal in the manifest, if it has any. Where the router decides for
    one modality only, `kinds` and `kind` say for which: other tokens get ids -1
    and weights 0, as in slots that are not used. Pass `record-model` makes it,
    for functions with `routing_out`.

    Constraints:
    - (C1) ids and weights have the same number of slots
    - (C2) `kind` is there exactly when `kinds` is

    Example:
    ```mlir
    func.func @f(%i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %k: tensor<?xi8>) {
      moe.export_routing %i, %w kinds %k {kind = 1 : i64, router = 0 : i64} : tensor<?x2xi32>, tensor<?x2xf32>
      return
    }
    ```
  }];
  let arguments = (ins Moe_SlotIds:$ids, Moe_SlotWeights:$weights,
                       Optional<Moe_Kinds>:$kinds, OptionalAttr<I64Attr>:$kind,
                       I64Attr:$router);
  let assemblyFormat = [{
    $ids `,` $weights (`kinds` $kinds^)? attr-dict `:` type($ids) `,`
    type($weights)
  }];
  let hasVerifier = 1;
}

def Moe_RoutingOperandOp : Moe_Op<"routing_operand",
    [Pure, Moe_ContextReference]> {
  let summary = "what the caller of the step gives to a router";
  let description = [{
    A run-time operand of the router with this ordinal in the manifest: an array
    of the batch's `moe_routing_io_v1`, or what changes nothing where the batch
    has none.

    | field | type | nothing | meaning |
    | --- | --- | --- | --- |
    | `ids` | tensor<?xKxi32> | -2 | experts of each token's slots |
    | `weights` | tensor<?xKxf32> | NaN | their weights |
    | `bias` | tensor<Exf32> | -0.0 | added to the logits |
    | `mask` | tensor<Exi32> | 1 | 0: never chosen |
    | `count` | tensor<1xi32> | 2^31 - 1 | at most so many selected experts |

    `ids` and `weights` have as many rows as the operand. Pass `record-model`
    makes it, for functions that have such operands.

    Constraints:
    - (C1) `field` is one of these
    - (C2) the type is that of the field, and there is an operand exactly for
      types with rows

    Example:
    ```mlir
    func.func @f(%z: tensor<?x8xf32>) -> (tensor<?x2xi32>, tensor<8xf32>) {
      %i = moe.routing_operand "ids" router = 0 rows %z : tensor<?x8xf32> -> tensor<?x2xi32>
      %b = moe.routing_operand "bias" router = 0 -> tensor<8xf32>
      return %i, %b : tensor<?x2xi32>, tensor<8xf32>
    }
    ```
  }];
  let arguments = (ins StrAttr:$field, I64Attr:$router,
                       Optional<AnyRankedTensor>:$like);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $field `router` `=` $router (`rows` $like^ `:` type($like))? attr-dict `->`
    type($result)
  }];
  let hasVerifier = 1;
}

def Moe_RoutePlanOp : Moe_Op<"route_plan",
    [Pure, SingleBlock, IsolatedFromAbove, Moe_Reference]> {
  let summary = "routing of each token and the plan, in one";
  let description = [{
    A token body as in `row.apply` that yields ids and weights, followed by
    `moe.plan` of those ids. What `fuse-routing` makes of a decomposed router and
    its plan, so that score, selection, weights, histogram and plan become one
    kernel.

    Constraints:
    - (C1) the body's arguments are rows of the operands; it yields the rows of
      ids and weights
    - (C2) offsets has experts + 1 elements, slot_rows the type of the ids

    Example:
    ```mlir
    func.func @f(%z: tensor<?x8xf32>) -> tensor<9xi32> {
      %ids, %w, %rows, %offsets, %slots = moe.route_plan %z experts = 8
        : (tensor<?x8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?xi32>, tensor<9xi32>, tensor<?x2xi32>) {
      ^bb0(%r: tensor<8xf32>):
        %v, %i = row.top_k %r : tensor<8xf32> -> tensor<2xf32>, tensor<2xi32>
        row.yield %i, %v : tensor<2xi32>, tensor<2xf32>
      }
      return %offsets : tensor<9xi32>
    }
    ```
  }];
  let arguments = (ins Variadic<AnyRankedTensor>:$inputs, I64Attr:$experts);
  let results = (outs Moe_SlotIds:$ids, Moe_SlotWeights:$weights, Moe_Ids:$rows,
                      Moe_Offsets:$offsets, Moe_SlotIds:$slot_rows);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $inputs `experts` `=` $experts attr-dict `:` functional-type($inputs, results)
    $body
  }];
  let hasVerifier = 1;
}

def Moe_DispatchOp : Moe_Op<"dispatch",
    [Pure, AllTypesMatch<["tokens", "result"]>, Moe_Reference]> {
  let summary = "gathers tokens in the order of a plan";
  let description = [{
    Row r of the result is `tokens[rows[r]]`, for r below the last offset.

    Example:
    ```mlir
    func.func @f(%x: tensor<?x64xf32>, %i: tensor<?x2xi32>) -> tensor<?x64xf32> {
      %rows, %offsets, %slots = moe.plan %i experts = 8 : tensor<?x2xi32> -> tensor<9xi32>
      %g = moe.dispatch %x[%rows] until %offsets : tensor<?x64xf32>, tensor<9xi32>
      return %g : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = (ins Moe_Stream:$tokens, Moe_Ids:$rows, Moe_Offsets:$offsets);
  let results = (outs Moe_Stream:$result);
  let assemblyFormat = [{
    $tokens `[` $rows `]` `until` $offsets attr-dict `:` type($tokens) `,` type($offsets)
  }];
}

def Moe_GroupedMatmulOp : Moe_Op<"grouped_matmul",
    [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
     Moe_ContextReference]> {
  let summary = "each expert's linear maps on its own rows";
  let description = [{
    For every expert e and every row r of its segment offsets[e] ..
    offsets[e+1] - 1: the linear maps of the given roles of the expert on row r
    of the operand, or, with `gather`, on row gather[r]; `biases` gives the role
    of the bias of each map, where they have one. Without an epilogue
    there is one role, whose f32 result is rounded to the result's element type.
    An epilogue computes one element from the f32 elements of all roles; its
    value is rounded.

    Constraints:
    - (C1) the table exists and all its experts have the roles, of one width
    - (C2) the operand is as wide as the maps' input, the result as their output
    - (C3) there is an epilogue exactly when there are several roles or it has
      a body; its arguments are one f32 per role and it yields one f32
    - (C4) offsets has one element more than the table has experts
    - (C5) there is one bias per role, or none

    Example:
    ```mlir
    moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
    moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
    moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u}>]
    func.func @f(%x: tensor<?x64xf32>, %i: tensor<?x1xi32>) -> tensor<?x32xf32> {
      %rows, %offsets, %slots = moe.plan %i experts = 1 : tensor<?x1xi32> -> tensor<2xi32>
      %h = moe.grouped_matmul @e ["up"] %x gather(%rows) segments(%offsets) compute = f32
        : tensor<?x64xf32>, tensor<2xi32> -> tensor<?x32xf32> {
      ^bb0(%a: f32):
        %zero = arith.constant 0.0 : f32
        %r = arith.maximumf %a, %zero : f32
        moe.yield %r : f32
      }
      return %h : tensor<?x32xf32>
    }
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$table, StrArrayAttr:$roles,
                       OptionalAttr<StrArrayAttr>:$biases,
                       Moe_Stream:$input, Optional<Moe_Ids>:$gather,
                       Moe_Offsets:$offsets, Moe_ComputeType:$compute);
  let results = (outs Moe_Stream:$result);
  let regions = (region AnyRegion:$epilogue);
  let assemblyFormat = [{
    $table $roles (`biases` $biases^)? $input (`gather` `(` $gather^ `)`)?
    `segments` `(` $offsets `)`
    `compute` `=` $compute attr-dict `:` type($input) `,` type($offsets) `->`
    type($result) ($epilogue^)?
  }];
  let hasVerifier = 1;
}

def Moe_CombineOp : Moe_Op<"combine", [Pure, Moe_Reference]> {
  let summary = "weighted sum of the expert results of each token";
  let description = [{
    y[t] = sum over slots s, ascending, of weights[t, s] * rows[slot_rows[t, s]],
    slots with -1 left out: products and sum in f32, rounded once.

    Constraints:
    - (C1) slot_rows and weights have the same number of slots
    - (C2) operand and result have the same width

    Example:
    ```mlir
    func.func @f(%d: tensor<?x64xf32>, %s: tensor<?x2xi32>, %w: tensor<?x2xf32>) -> tensor<?x64xf32> {
      %y = moe.combine %d[%s] scale(%w) : tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x64xf32>
      return %y : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = (ins Moe_Stream:$rows, Moe_SlotIds:$slot_rows,
                       Moe_SlotWeights:$weights);
  let results = (outs Moe_Stream:$result);
  let assemblyFormat = [{
    $rows `[` $slot_rows `]` `scale` `(` $weights `)` attr-dict `:` type($rows)
    `,` type($slot_rows) `,` type($weights) `->` type($result)
  }];
  let hasVerifier = 1;
}

#endif // MOEC_DIALECTS_MOE_MOEOPS
