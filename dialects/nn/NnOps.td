//===- NnOps.td - The rest of a decoder --------------------*- tablegen -*-===//
#ifndef MOEC_DIALECTS_NN_NNOPS
#define MOEC_DIALECTS_NN_NNOPS

include "dialects/interfaces/Activation.td"
include "dialects/interfaces/QuantizableOpInterface.td"
include "dialects/interfaces/ReferenceOpInterface.td"
include "dialects/nn/NnEnums.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"

def Nn_Dialect : Dialect {
  let name = "nn";
  let cppNamespace = "::moec::nn";
  let summary = "the parts of a decoder that are not routed";
  let description = [{
    Value-semantic operations on *token streams* `tensor<?xWxt>`: T tokens of W
    elements each, all sequences of the batch one after the other. Weights are
    operands of static shape (`moe.weight_ref`). A linear map is stored `[out,
    in]`. The dialect is deliberately small; what it lacks is written with
    `nn.map` or added as one op.

    *compute* is the type to which the operands of a matrix product are rounded
    (round to nearest even) before they are multiplied; products are summed in
    f32 in ascending order of the contraction index. `compute = i8`, for weights
    in an integer format only, rounds the operand to 8-bit integers instead: the
    columns that share a scale in the weights' format share one here, the largest
    magnitude divided by 127; products of a group are summed as integers, scaled
    by both scales, and added to the f32 sum. Results are rounded once, to the
    element type of the result. Norms, softmax and elementwise functions
    are computed in f32.
  }];
}

// Operations say here how they are evaluated (ReferenceOpInterface).
defvar Nn_Reference = DeclareOpInterfaceMethods<ReferenceOpInterface>;
defvar Nn_ContextReference =
    DeclareOpInterfaceMethods<ContextReferenceOpInterface>;

class Nn_Op<string mnemonic, list<Trait> traits = []>
    : Op<Nn_Dialect, mnemonic, traits>;

def Nn_Float : AnyTypeOf<[F32, BF16, F16]>;
// A token stream: dynamic tokens by static width.
def Nn_Stream : Type<And<[
    RankedTensorOf<[Nn_Float]>.predicate,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getRank() == 2">,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).isDynamicDim(0)">,
    CPred<"!::llvm::cast<::mlir::RankedTensorType>($_self).isDynamicDim(1)">]>,
    "token stream tensor<?xWxfloat>", "::mlir::RankedTensorType">;
class Nn_StaticOfRank<int rank> : Type<And<[
    RankedTensorOf<[Nn_Float]>.predicate,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getRank() == " # rank>,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).hasStaticShape()">]>,
    "static float tensor of rank " # rank, "::mlir::RankedTensorType">;
def Nn_Matrix : Nn_StaticOfRank<2>;
def Nn_Vector : Nn_StaticOfRank<1>;
// One i32 (or i8) per token or per sequence.
def Nn_Ids : Type<And<[
    RankedTensorOf<[I32]>.predicate,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getRank() == 1">,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).isDynamicDim(0)">]>,
    "tensor<?xi32>", "::mlir::RankedTensorType">, BuildableType<
    "::mlir::RankedTensorType::get({::mlir::ShapedType::kDynamic}, $_builder.getI32Type())">;
def Nn_Kinds : Type<And<[
    RankedTensorOf<[I8]>.predicate,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getRank() == 1">,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).isDynamicDim(0)">]>,
    "tensor<?xi8>", "::mlir::RankedTensorType">, BuildableType<
    "::mlir::RankedTensorType::get({::mlir::ShapedType::kDynamic}, $_builder.getI8Type())">;

// Dense numbers print with all their digits, unlike arrays.
def Nn_Numbers : ConfinedAttr<FloatElementsAttr<32>, [AttrConstraint<
    CPred<"::llvm::cast<::mlir::DenseElementsAttr>($_self).getType().getRank() == 1">,
    "of rank 1">]>;

def Nn_ComputeType : TypeAttrOf<AnyTypeOf<[F32, BF16, F16]>>;
// Of products with stored matrices, which may be quantised.
def Nn_MatrixComputeType : TypeAttrOf<AnyTypeOf<[F32, BF16, F16, I8]>>;

//===----------------------------------------------------------------------===//
// State
//===----------------------------------------------------------------------===//

def Nn_StateOp : Nn_Op<"state", [Symbol]> {
  let summary = "declares a state that lives as long as a sequence";
  let description = [{
    A per-token state: one row of `type` for every token of a sequence, kept
    between steps. Only operations with effects on the symbol touch it. Storage
    belongs to the runtime, in pages of 64 tokens.

    Constraints:
    - (C1) the type is a static float tensor of rank 1
    - (C2) `cache_tokens` is positive: the longest sequence

    Example:
    ```mlir
    nn.state @l0.k per_token : tensor<128xbf16> cache_tokens = 561 layer = 0
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttr:$type,
                       I64Attr:$cache_tokens, DefaultValuedAttr<I64Attr, "-1">:$layer);
  let assemblyFormat = [{
    $sym_name `per_token` `:` $type `cache_tokens` `=` $cache_tokens
    (`layer` `=` $layer^)? attr-dict
  }];
  let hasVerifier = 1;
}

def Nn_StateAppendOp : Nn_Op<"state_append",
    [DeclareOpInterfaceMethods<SymbolUserOpInterface>, MemoryEffects<[MemWrite]>,
     Nn_ContextReference]> {
  let summary = "stores the rows of new tokens into a state";
  let description = [{
    Writes row t of `rows` to the state of token t's sequence at position
    `positions[t]`. Sequence b owns the tokens `cu_seqlens[b]` ..
    `cu_seqlens[b+1] - 1`.

    Constraints:
    - (C1) the symbol is an `nn.state` of the rows' width and element type

    Example:
    ```mlir
    nn.state @k per_token : tensor<128xf32> cache_tokens = 64
    func.func @f(%k: tensor<?x128xf32>, %p: tensor<?xi32>, %s: tensor<?xi32>) {
      nn.state_append @k, %k at %p of %s : tensor<?x128xf32>
      return
    }
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$state, Nn_Stream:$rows,
                       Nn_Ids:$positions, Nn_Ids:$cu_seqlens);
  let assemblyFormat = [{
    $state `,` $rows `at` $positions `of` $cu_seqlens attr-dict `:` type($rows)
  }];
}

//===----------------------------------------------------------------------===//
// Into the stream
//===----------------------------------------------------------------------===//

def Nn_EmbedOp : Nn_Op<"embed", [Pure, Nn_Reference]> {
  let summary = "rows of a table by token id";
  let description = [{
    Row t of the result is `table[ids[t]]`. With `kinds`, only tokens of modality
    `kind` have an id; the rows of others are unspecified and must not be used
    (`moe.merge_modalities` leaves them out).

    Constraints:
    - (C1) the result has the table's width
    - (C2) `kind` is there exactly when `kinds` is

    Example:
    ```mlir
    func.func @f(%ids: tensor<?xi32>, %w: tensor<256x64xbf16>) -> tensor<?x64xf32> {
      %x = nn.embed %ids, %w : tensor<256x64xbf16> -> tensor<?x64xf32>
      return %x : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = (ins Nn_Ids:$ids, Nn_Matrix:$table, Optional<Nn_Kinds>:$kinds,
                       OptionalAttr<I64Attr>:$kind);
  let results = (outs Nn_Stream:$result);
  let assemblyFormat = [{
    $ids `,` $table (`where` $kinds^ `is` $kind)? attr-dict `:` type($table)
    `->` type($result)
  }];
  let hasVerifier = 1;
}

def Nn_PatchesOp : Nn_Op<"patches", [Pure, Nn_Reference]> {
  let summary = "cuts images into patches";
  let description = [{
    Each row of `images` is one image, height x width x channels, row-major. The
    result has (height/size) * (width/size) rows per image, patches in row-major
    order, each size * size * channels long: pixels in order `hwc` or `chw`.

    Constraints:
    - (C1) the operand is height * width * channels wide
    - (C2) size divides height and width
    - (C3) the result is size * size * channels wide, of the same element type

    Example:
    ```mlir
    func.func @f(%i: tensor<?x784xf32>) -> tensor<?x16xf32> {
      %p = nn.patches %i height = 28 width = 28 channels = 1 size = 4 order = hwc
        : tensor<?x784xf32> -> tensor<?x16xf32>
      return %p : tensor<?x16xf32>
    }
    ```
  }];
  let arguments = (ins Nn_Stream:$images, I64Attr:$height, I64Attr:$width,
                       I64Attr:$channels, I64Attr:$size, Nn_PatchOrder:$order);
  let results = (outs Nn_Stream:$result);
  let assemblyFormat = [{
    $images `height` `=` $height `width` `=` $width `channels` `=` $channels
    `size` `=` $size `order` `=` $order attr-dict `:` type($images) `->`
    type($result)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Patches of one image.
    int64_t getPatchesPerImage() {
      return (getHeight() / getSize()) * (getWidth() / getSize());
    }
  }];
}

def Nn_AddPositionsOp : Nn_Op<"add_positions",
    [Pure, AllTypesMatch<["input", "result"]>, Nn_Reference]> {
  let summary = "adds a learned position table";
  let description = [{
    Row r of the result is `input[r] + table[r mod N]`, N the rows of the table:
    the tokens of each raw input are counted from 0.

    Constraints:
    - (C1) the table has the operand's width

    Example:
    ```mlir
    func.func @f(%x: tensor<?x64xf32>, %w: tensor<49x64xbf16>) -> tensor<?x64xf32> {
      %y = nn.add_positions %x, %w : tensor<?x64xf32>, tensor<49x64xbf16>
      return %y : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = (ins Nn_Stream:$input, Nn_Matrix:$table);
  let results = (outs Nn_Stream:$result);
  let assemblyFormat = "$input `,` $table attr-dict `:` type($input) `,` type($table)";
  let hasVerifier = 1;
}

def Nn_TakeRowsOp : Nn_Op<"take_rows",
    [Pure, AllTypesMatch<["input", "result"]>, Nn_Reference]> {
  let summary = "rows at given indices";
  let description = [{
    Row r of the result is `input[rows[r]]`: the positions of which an entry
    returns results.

    Example:
    ```mlir
    func.func @f(%x: tensor<?x64xf32>, %r: tensor<?xi32>) -> tensor<?x64xf32> {
      %y = nn.take_rows %x[%r] : tensor<?x64xf32>
      return %y : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = (ins Nn_Stream:$input, Nn_Ids:$rows);
  let results = (outs Nn_Stream:$result);
  let assemblyFormat = [{
    $input `[` $rows `]` attr-dict `:` type($input)
  }];
  let hasCanonicalizer = 1;
}

//===----------------------------------------------------------------------===//
// Parts of rows
//===----------------------------------------------------------------------===//

def Nn_SliceOp : Nn_Op<"slice", [Pure, Nn_Reference]> {
  let summary = "a part of each head";
  let description = [{
    The operand holds `heads` heads of D elements; of each the result has the
    elements `from` .. `from` + R - 1, R the result's width over `heads`.

    Constraints:
    - (C1) `heads` is positive and divides the widths of operand and result
    - (C2) the part lies inside the head
    - (C3) operand and result have the same element type

    Example:
    ```mlir
    func.func @f(%x: tensor<?x64xf32>) -> tensor<?x32xf32> {
      %y = nn.slice %x heads = 4 from = 8 : tensor<?x64xf32> -> tensor<?x32xf32>
      return %y : tensor<?x32xf32>
    }
    ```
  }];
  let arguments = (ins Nn_Stream:$input, I64Attr:$heads, I64Attr:$from);
  let results = (outs Nn_Stream:$result);
  let assemblyFormat = [{
    $input `heads` `=` $heads `from` `=` $from attr-dict `:` type($input) `->`
    type($result)
  }];
  let hasVerifier = 1;
}

def Nn_ConcatOp : Nn_Op<"concat", [Pure, Nn_Reference]> {
  let summary = "heads put together from two streams";
  let description = [{
    Both operands hold `heads` heads; each head of the result is that of the
    first operand followed by that of the second.

    Constraints:
    - (C1) `heads` is positive and divides the widths of both operands
    - (C2) the result is as wide as both together
    - (C3) operands and result have the same element type

    Example:
    ```mlir
    func.func @f(%x: tensor<?x64xf32>, %y: tensor<?x8xf32>) -> tensor<?x72xf32> {
      %z = nn.concat %x, %y heads = 2 : tensor<?x64xf32>, tensor<?x8xf32> -> tensor<?x72xf32>
      return %z : tensor<?x72xf32>
    }
    ```
  }];
  let arguments = (ins Nn_Stream:$lhs, Nn_Stream:$rhs, I64Attr:$heads);
  let results = (outs Nn_Stream:$result);
  let assemblyFormat = [{
    $lhs `,` $rhs `heads` `=` $heads attr-dict `:` type($lhs) `,` type($rhs)
    `->` type($result)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Maps and norms
//===----------------------------------------------------------------------===//

def Nn_MapOp : Nn_Op<"map",
    [Pure, SingleBlockImplicitTerminator<"::moec::nn::YieldOp">, Nn_Reference]> {
  let summary = "elementwise function of streams";
  let description = [{
    Applies a scalar body to the elements of its operands. An operand of width w
    is broadcast over a result of width W: element i reads element i / (W / w).
    An operand of static shape, a weight, is the same row for all tokens, and
    tensor<?xi32> (positions) gives a number for the row. Arguments are f32 (i8
    for raw input, i32 for positions); the body yields f32, which is rounded to
    the result's element type.

    Constraints:
    - (C1) the first operand is of rank 2; operands are of rank 2, or static floats
      of rank 1, with a width that divides the result's, or tensor<?xi32>
    - (C2) the body takes one f32 per float operand, one i8 per i8 operand and one
      i32 per i32 operand, and yields one f32

    Example:
    ```mlir
    func.func @f(%x: tensor<?x64xf32>, %g: tensor<?x1xf32>) -> tensor<?x64xf32> {
      %y = nn.map %x, %g : (tensor<?x64xf32>, tensor<?x1xf32>) -> tensor<?x64xf32> {
      ^bb0(%a: f32, %b: f32):
        %p = arith.mulf %a, %b : f32
        nn.yield %p : f32
      }
      return %y : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = (ins Variadic<RankedTensorOf<[Nn_Float, I8, I32]>>:$inputs);
  let results = (outs Nn_Stream:$result);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$inputs attr-dict `:` functional-type($inputs, $result) $body";
  let hasVerifier = 1;
}

def Nn_YieldOp : Nn_Op<"yield", [Pure, Terminator, ReturnLike]> {
  let summary = "ends the body of nn.map";
  let description = [{
    Gives the value of one element.

    Example: see `nn.map`.
  }];
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "attr-dict ($values^ `:` type($values))?";
  let builders = [OpBuilder<(ins), [{ }]>];
}

def Nn_NormOp : Nn_Op<"norm", [Pure, AttrSizedOperandSegments, Nn_Reference]> {
  let summary = "RMS or layer normalisation";
  let description = [{
    Per group of G elements: `rms` gives x / sqrt(mean(x^2) + eps) * weight;
    `layer` gives (x - mean) / sqrt(variance + eps) * weight (+ bias), with the
    population variance. G is the width of the weight or, without one, `group`.
    Groups cover the row: G equal to its width is the ordinary norm, a smaller G
    normalises each head.

    Constraints:
    - (C1) G divides the operand's width
    - (C2) a bias has the weight's width, and needs a weight
    - (C3) operand and result have the same width
    - (C4) `group` is there exactly when there is no weight

    Example:
    ```mlir
    func.func @f(%x: tensor<?x64xf32>, %w: tensor<64xbf16>) -> tensor<?x64xf32> {
      %y = nn.norm rms %x, %w eps = 1.0e-6
        : tensor<?x64xf32>, tensor<64xbf16> -> tensor<?x64xf32>
      return %y : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = (ins Nn_NormKind:$kind, Nn_Stream:$input,
                       Optional<Nn_Vector>:$weight, Optional<Nn_Vector>:$bias,
                       F64Attr:$eps, OptionalAttr<I64Attr>:$group);
  let results = (outs Nn_Stream:$result);
  let assemblyFormat = [{
    $kind $input (`,` $weight^)? (`bias` $bias^ `:` type($bias))?
    (`group` `=` $group^)? `eps` `=` $eps attr-dict `:` type($input)
    (`,` type($weight)^)? `->` type($result)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Elements that are normalised together.
    int64_t getGroupSize() {
      if (!getWeight())
        return static_cast<int64_t>(*getGroup());
      return getWeight().getType().getDimSize(0);
    }
  }];
}

def Nn_LinearOp : Nn_Op<"linear", [Pure,
    DeclareOpInterfaceMethods<QuantizableOpInterface, ["getMatrixOperands"]>,
    Nn_Reference]> {
  let summary = "linear map with an optional bias";
  let description = [{
    y[t, o] = sum over i of x[t, i] * weight[o, i] (+ bias[o]).

    Constraints:
    - (C1) the weight is [to, from], from the operand's width, to the result's
    - (C2) a bias is [to]

    Example:
    ```mlir
    func.func @f(%x: tensor<?x64xf32>, %w: tensor<32x64xbf16>) -> tensor<?x32xf32> {
      %y = nn.linear %x, %w compute = f32
        : tensor<?x64xf32>, tensor<32x64xbf16> -> tensor<?x32xf32>
      return %y : tensor<?x32xf32>
    }
    ```
  }];
  let arguments = (ins Nn_Stream:$input, Nn_Matrix:$weight,
                       Optional<Nn_Vector>:$bias, Nn_MatrixComputeType:$compute);
  let results = (outs Nn_Stream:$result);
  let assemblyFormat = [{
    $input `,` $weight (`bias` $bias^ `:` type($bias))? `compute` `=` $compute
    attr-dict `:` type($input) `,` type($weight) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Nn_HeadLinearOp : Nn_Op<"head_linear", [Pure,
    DeclareOpInterfaceMethods<QuantizableOpInterface, ["getMatrixOperands"]>,
    Nn_Reference]> {
  let summary = "a linear map of its own for each head";
  let description = [{
    The operand holds `heads` heads of I elements, the result of O elements:
    y[t, h, o] = sum over i of x[t, h, i] * weight[h * O + o, i].

    Constraints:
    - (C1) `heads` is positive and divides the widths of operand and result
    - (C2) the weight is [heads * O, I]

    Example:
    ```mlir
    func.func @f(%x: tensor<?x64xf32>, %w: tensor<128x16xbf16>) -> tensor<?x128xf32> {
      %y = nn.head_linear %x, %w heads = 4 compute = f32
        : tensor<?x64xf32>, tensor<128x16xbf16> -> tensor<?x128xf32>
      return %y : tensor<?x128xf32>
    }
    ```
  }];
  let arguments = (ins Nn_Stream:$input, Nn_Matrix:$weight, I64Attr:$heads,
                       Nn_MatrixComputeType:$compute);
  let results = (outs Nn_Stream:$result);
  let assemblyFormat = [{
    $input `,` $weight `heads` `=` $heads `compute` `=` $compute attr-dict `:`
    type($input) `,` type($weight) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Nn_JointLinearOp : Nn_Op<"joint_linear",
    [Pure, AttrSizedOperandSegments, Nn_Reference]> {
  let summary = "linear maps of one operand, joined element by element";
  let description = [{
    y[t, o] = f(a_0, a_1, ..) with a_i = sum over i of x[t, i] * weight_i[o, i]
    (+ bias_i[o]) in f32; f is the body. What `fuse-expert-epilogue` makes of
    the maps of a feed-forward network and their activation.

    Constraints:
    - (C1) every weight is [to, from], from the operand's width, to the result's
    - (C2) there are no biases, or one [to] per weight
    - (C3) the body takes one f32 per weight and yields one f32

    Example:
    ```mlir
    func.func @f(%x: tensor<?x64xf32>, %w: tensor<32x64xbf16>) -> tensor<?x32xf32> {
      %y = nn.joint_linear %x weights(%w : tensor<32x64xbf16>) compute = f32
        : tensor<?x64xf32> -> tensor<?x32xf32> {
      ^bb0(%a: f32):
        %zero = arith.constant 0.0 : f32
        %r = arith.maximumf %a, %zero : f32
        nn.yield %r : f32
      }
      return %y : tensor<?x32xf32>
    }
    ```
  }];
  let arguments = (ins Nn_Stream:$input, Variadic<Nn_Matrix>:$weights,
                       Variadic<Nn_Vector>:$biases, Nn_MatrixComputeType:$compute);
  let results = (outs Nn_Stream:$result);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $input `weights` `(` $weights `:` type($weights) `)`
    (`biases` `(` $biases^ `:` type($biases) `)`)? `compute` `=` $compute
    attr-dict `:` type($input) `->` type($result) $body
  }];
  let hasVerifier = 1;
}

def Nn_GluOp : Nn_Op<"glu", [Pure, AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<QuantizableOpInterface, ["getMatrixOperands"]>,
    Nn_Reference]> {
  let summary = "gated feed-forward network";
  let description = [{
    down(act(gate(x)) * up(x)): with `act = silu` SwiGLU (arXiv:2002.05202).
    The product is rounded to the element type of the operand before the
    down map. Maps may have biases. `slope` a makes silu g / (1 + exp(-a g));
    `clamp_before` c limits gate(x) to at most c, `clamp_after` act(gate(x)), and
    either up(x) to -c .. c; `up_offset` is added to up(x) after that.

    Constraints:
    - (C1) gate and up are [width, hidden], down is [to, width]; hidden is the
      operand's width, to the result's
    - (C2) biases have the width of their map
    - (C3) there is at most one clamp, with a positive limit; a slope goes with
      silu

    Example:
    ```mlir
    func.func @f(%x: tensor<?x64xf32>, %g: tensor<32x64xbf16>,
                 %u: tensor<32x64xbf16>, %d: tensor<64x32xbf16>) -> tensor<?x64xf32> {
      %y = nn.glu %x gate %g up %u down %d act = silu compute = f32
        : tensor<?x64xf32>, tensor<32x64xbf16>, tensor<32x64xbf16>,
          tensor<64x32xbf16> -> tensor<?x64xf32>
      return %y : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = !con((ins Nn_Stream:$input, Nn_Matrix:$gate,
                            Optional<Nn_Vector>:$gate_bias, Nn_Matrix:$up,
                            Optional<Nn_Vector>:$up_bias, Nn_Matrix:$down,
                            Optional<Nn_Vector>:$down_bias),
                       Moec_HiddenArguments,
                       (ins Nn_MatrixComputeType:$compute));
  let results = (outs Nn_Stream:$result);
  let assemblyFormat = [{
    $input `gate` $gate (`gate_bias` $gate_bias^ `:` type($gate_bias))?
    `up` $up (`up_bias` $up_bias^ `:` type($up_bias))?
    `down` $down (`down_bias` $down_bias^ `:` type($down_bias))?
    `act` `=` $activation
    `compute` `=` $compute attr-dict `:` type($input) `,` type($gate) `,`
    type($up) `,` type($down) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Nn_MlpOp : Nn_Op<"mlp", [Pure, AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<QuantizableOpInterface, ["getMatrixOperands"]>,
    Nn_Reference]> {
  let summary = "plain feed-forward network";
  let description = [{
    down(act(up(x))), with optional biases. `slope` is that of `nn.glu`.

    Constraints:
    - (C1) up is [width, hidden], down is [to, width]; hidden is the operand's
      width, to the result's
    - (C2) biases have the width of their map
    - (C3) a slope goes with silu; clamps and `up_offset` with a gate only

    Example:
    ```mlir
    func.func @f(%x: tensor<?x64xf32>, %u: tensor<32x64xbf16>,
                 %d: tensor<64x32xbf16>) -> tensor<?x64xf32> {
      %y = nn.mlp %x up %u down %d act = relu2 compute = f32
        : tensor<?x64xf32>, tensor<32x64xbf16>, tensor<64x32xbf16>
        -> tensor<?x64xf32>
      return %y : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = !con((ins Nn_Stream:$input, Nn_Matrix:$up,
                            Optional<Nn_Vector>:$up_bias, Nn_Matrix:$down,
                            Optional<Nn_Vector>:$down_bias),
                       Moec_HiddenArguments,
                       (ins Nn_MatrixComputeType:$compute));
  let results = (outs Nn_Stream:$result);
  let assemblyFormat = [{
    $input `up` $up (`bias` $up_bias^ `:` type($up_bias))? `down` $down
    (`down_bias` $down_bias^ `:` type($down_bias))? `act` `=` $activation
    `compute` `=` $compute attr-dict `:` type($input) `,` type($up) `,`
    type($down) `->` type($result)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

def Nn_SequenceLengthsOp : Nn_Op<"sequence_lengths", [Pure, Nn_Reference]> {
  let summary = "how long each token's sequence is";
  let description = [{
    For each token one more than the position of the last token of its sequence
    in this step: what rotary positions that depend on the length go by.

    Example:
    ```mlir
    func.func @f(%p: tensor<?xi32>, %s: tensor<?xi32>) -> tensor<?xi32> {
      %n = nn.sequence_lengths %p of %s
      return %n : tensor<?xi32>
    }
    ```
  }];
  let arguments = (ins Nn_Ids:$positions, Nn_Ids:$cu_seqlens);
  let results = (outs Nn_Ids:$result);
  let assemblyFormat = "$positions `of` $cu_seqlens attr-dict";
}

def Nn_RotaryTableOp : Nn_Op<"rotary_table", [Pure, Nn_Reference]> {
  let summary = "cosines and sines of rotary positions";
  let description = [{
    For each token, D/2 cosines followed by D/2 sines of the angles positions[t] *
    frequencies[i], i = 0 .. D/2-1, D the width of the result, times `magnitude`.
    An angle is rounded to f32, as published models do
    (docs/rationale/rotary-positions.md), its cosine and sine are computed in f64.
    Layers with equal parameters share one table.

    With `lengths`, tokens of sequences longer than `limit` take
    `long_frequencies` and `long_magnitude` instead (LongRoPE), or, with
    `growth = g`, frequencies[i] * (g * length / limit - (g - 1))^(-2i / (D - 2)),
    rounded to f32 (dynamic NTK).

    Constraints:
    - (C1) the result is f32 and of even width, at least 4 with `growth`
    - (C2) there are D/2 frequencies, and D/2 long ones if there are any
    - (C3) `lengths`, a positive `limit` and one of `growth` and
      `long_frequencies` are there together or not at all, `long_magnitude`
      exactly with `long_frequencies`

    Example:
    ```mlir
    func.func @f(%p: tensor<?xi32>) -> tensor<?x4xf32> {
      %t = nn.rotary_table %p frequencies = dense<[1.0, 0.01]> : tensor<2xf32>
        magnitude = 1.0 : tensor<?x4xf32>
      return %t : tensor<?x4xf32>
    }
    ```
  }];
  let arguments = (ins Nn_Ids:$positions, Optional<Nn_Ids>:$lengths,
                       Nn_Numbers:$frequencies, F64Attr:$magnitude,
                       OptionalAttr<I64Attr>:$limit,
                       OptionalAttr<F64Attr>:$growth,
                       OptionalAttr<Nn_Numbers>:$long_frequencies,
                       OptionalAttr<F64Attr>:$long_magnitude);
  let results = (outs Nn_Stream:$result);
  let assemblyFormat = [{
    $positions `frequencies` `=` $frequencies `magnitude` `=` $magnitude
    (`lengths` $lengths^)? (`limit` `=` $limit^)? (`growth` `=` $growth^)?
    (`long` `=` $long_frequencies^)? (`long_magnitude` `=` $long_magnitude^)?
    attr-dict `:` type($result)
  }];
  let hasVerifier = 1;
}

def Nn_RopeOp : Nn_Op<"rope", [Pure, AllTypesMatch<["input", "result"]>, Nn_Reference]> {
  let summary = "rotates heads by their position";
  let description = [{
    Each row holds heads of `head` elements; without `head` they are as wide as
    the table. Of each head the D elements from `from` (0 without it) on are
    rotated, D the width of the table, and the others pass. In style `half`
    element i < D/2 of these is paired with i + D/2, in style `pairs` 2i with
    2i + 1. A pair (a, b) with cosine c and sine s becomes
    (a c - b s, b c + a s). Computed in f32.

    Constraints:
    - (C1) the width of a head divides the operand's
    - (C2) the rotated elements lie inside the head

    Example:
    ```mlir
    func.func @f(%x: tensor<?x256xf32>, %t: tensor<?x64xf32>) -> tensor<?x256xf32> {
      %y = nn.rope half %x, %t : tensor<?x256xf32>, tensor<?x64xf32>
      return %y : tensor<?x256xf32>
    }
    ```
  }];
  let arguments = (ins Nn_RopeStyle:$style, Nn_Stream:$input, Nn_Stream:$table,
                       OptionalAttr<I64Attr>:$head, OptionalAttr<I64Attr>:$from);
  let results = (outs Nn_Stream:$result);
  let assemblyFormat = [{
    $style $input `,` $table (`head` `=` $head^)? (`from` `=` $from^)? attr-dict
    `:` type($input) `,` type($table)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Elements of a head, and the first of them that is rotated.
    int64_t getHeadSize() {
      return getHead() ? static_cast<int64_t>(*getHead())
                       : getTable().getType().getDimSize(1);
    }
    int64_t getFirst() { return getFrom() ? static_cast<int64_t>(*getFrom()) : 0; }
  }];
}

def Nn_AttentionOp : Nn_Op<"attention",
    [DeclareOpInterfaceMethods<SymbolUserOpInterface>,
     DeclareOpInterfaceMethods<MemoryEffectsOpInterface>, AttrSizedOperandSegments,
     Nn_ContextReference]> {
  let summary = "grouped-query attention";
  let description = [{
    Query head h of token t attends to key head h / (heads / kv_heads). A token
    at position p sees the tokens of its own sequence at positions up to p; with
    `window = w` only the last w of them, itself included; with `chunk = n` those
    from p / n * n on; with `full` all that are there, later ones too. Scores are
    scale * (q . k), both rounded to `compute`, and with `softcap = c` then
    c * tanh(score / c); softmax and the weighted sum of the values are f32. A
    *sink* is one more score of each head, which takes its share of the softmax
    and has no value.

    Keys are visited in blocks of 64 at absolute positions (0 .. 63, 64 .. 127,
    ..) in ascending order, each block's maximum first, so a token's result does
    not depend on what else is in the batch or on how a prompt is cut.

    Keys and values are either operands, for entries without a cache (all tokens
    of a sequence are in the batch), or states that already hold the new tokens.

    Values may be wider than the result's heads: the first V elements of each head
    count. So keys and values can be one state, or one operand.

    Constraints:
    - (C1) heads is a multiple of kv_heads
    - (C2) the query is heads * D wide, keys kv_heads * D, values kv_heads * P with
      P at least V, the result heads * V
    - (C3) keys and values are both operands or both states
    - (C4) at most one of `window`, `chunk`, `full` is there, and sizes are positive
    - (C5) there is one sink per head
    - (C6) a softcap is positive

    Example:
    ```mlir
    nn.state @k per_token : tensor<128xf32> cache_tokens = 64
    nn.state @v per_token : tensor<128xf32> cache_tokens = 64
    func.func @f(%q: tensor<?x256xf32>, %p: tensor<?xi32>, %s: tensor<?xi32>) -> tensor<?x256xf32> {
      %y = nn.attention %q state(@k, @v) at %p of %s heads = 4 kv_heads = 2
        scale = 1.25e-1 compute = f32 : tensor<?x256xf32> -> tensor<?x256xf32>
      return %y : tensor<?x256xf32>
    }
    ```
  }];
  let arguments = (ins Nn_Stream:$query, Optional<Nn_Stream>:$key,
                       Optional<Nn_Stream>:$value, Nn_Ids:$positions,
                       Nn_Ids:$cu_seqlens,
                       OptionalAttr<FlatSymbolRefAttr>:$key_state,
                       OptionalAttr<FlatSymbolRefAttr>:$value_state,
                       Optional<Nn_Vector>:$sinks, I64Attr:$heads,
                       I64Attr:$kv_heads, F64Attr:$scale,
                       OptionalAttr<F64Attr>:$softcap,
                       OptionalAttr<I64Attr>:$window,
                       OptionalAttr<I64Attr>:$chunk, UnitAttr:$full,
                       Nn_ComputeType:$compute);
  let results = (outs Nn_Stream:$result);
  let assemblyFormat = [{
    $query (`,` $key^ `,` $value `:` type($key) `,` type($value))?
    (`state` `(` $key_state^ `,` $value_state `)`)?
    `at` $positions `of` $cu_seqlens (`sinks` $sinks^ `:` type($sinks))?
    `heads` `=` $heads `kv_heads` `=` $kv_heads `scale` `=` $scale
    (`softcap` `=` $softcap^)? (`window` `=` $window^)? (`chunk` `=` $chunk^)?
    (`full` $full^)? `compute` `=` $compute attr-dict `:` type($query) `->`
    type($result)
  }];
  let hasVerifier = 1;
}

#endif // MOEC_DIALECTS_NN_NNOPS
