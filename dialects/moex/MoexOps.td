//===- MoexOps.td - Scheduling made visible ----------------*- tablegen -*-===//
#ifndef MOEC_DIALECTS_MOEX_MOEXOPS
#define MOEC_DIALECTS_MOEX_MOEXOPS

include "mlir/IR/OpBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"

def Moex_Dialect : Dialect {
  let name = "moex";
  let cppNamespace = "::moec::moex";
  let summary = "when, where and by which kernel";
  let description = [{
    Memory, order, threads. A step function has no operands and no results: it
    reads fields of the batch (`moex.input`), weights (`moex.weight`), states,
    and writes outputs (`moex.output`) and buffers. Buffers are contiguous and
    row-major; their first dimension may be dynamic.

    Sizes that vary from step to step are *extents*: (T, B, R, M0, .., M7), the
    tokens, sequences, result rows and raw inputs per modality of
    `moe_extents_v1`. A row count is an affine map of them with one result.

    Inside `moex.parallel` all participants execute every operation together:
    an operation divides its *tasks* among them by a fixed rule (attribute
    `tasks`), never by timing, so results do not depend on the number of threads.
    `moex.barrier` separates an operation from one that needs what other
    participants wrote.
  }];
}

class Moex_Op<string mnemonic, list<Trait> traits = []>
    : Op<Moex_Dialect, mnemonic, traits>;

def Moex_Rows : Type<And<[
    MemRefOf<[F32, BF16, F16]>.predicate,
    CPred<"::llvm::cast<::mlir::MemRefType>($_self).getRank() == 2">,
    CPred<"!::llvm::cast<::mlir::MemRefType>($_self).isDynamicDim(1)">]>,
    "rows memref<?xWxfloat>", "::mlir::MemRefType">;
def Moex_I32Buffer : MemRefOf<[I32]>;
def Moex_ComputeType : TypeAttrOf<AnyTypeOf<[F32, BF16, F16]>>;
def Moex_MatrixComputeType : TypeAttrOf<AnyTypeOf<[F32, BF16, F16, I8]>>;

def Moex_Tasks : I32EnumAttr<"Tasks", "how the tasks of an operation are divided", [
    // Participant p of n owns rows [rows * p / n, rows * (p + 1) / n).
    I32EnumAttrCase<"Rows", 0, "rows">,
    // The same for blocks of 16 output columns.
    I32EnumAttrCase<"Columns", 1, "columns">,
    // Participant 0 does everything.
    I32EnumAttrCase<"One", 2, "one">]> {
  let cppNamespace = "::moec::moex";
}

def Moex_BatchField : I32EnumAttr<"BatchField", "field of the batch", [
    I32EnumAttrCase<"Tokens", 0, "tokens">,
    I32EnumAttrCase<"Kinds", 1, "kinds">,
    I32EnumAttrCase<"Positions", 2, "positions">,
    I32EnumAttrCase<"CuSeqlens", 3, "cu_seqlens">,
    I32EnumAttrCase<"LogitsRows", 4, "logits_rows">,
    I32EnumAttrCase<"Raw", 5, "raw">]> {
  let cppNamespace = "::moec::moex";
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

def Moex_InputOp : Moex_Op<"input", [Pure]> {
  let summary = "a field of the batch";
  let description = [{
    The array of a field of `moe_batch_v1`; `raw` needs the modality's id.

    Constraints:
    - (C1) `modality` is there exactly for `raw`
    - (C2) the type is memref<?xi32>, for `kinds` memref<?xi8>, for `raw`
      memref<?xWxt>

    Example:
    ```mlir
    func.func @f() {
      %t = moex.input tokens : memref<?xi32>
      return
    }
    ```
  }];
  let arguments = (ins Moex_BatchField:$field, OptionalAttr<I64Attr>:$modality);
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = "$field (`of` $modality^)? attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Moex_OutputOp : Moex_Op<"output", [Pure]> {
  let summary = "the memory of an output";
  let description = [{
    `outputs[index]` of `moe_step_v1`: R rows of f32.

    Constraints:
    - (C1) the type is memref<?xWxf32>

    Example:
    ```mlir
    func.func @f() {
      %o = moex.output 0 : memref<?x256xf32>
      return
    }
    ```
  }];
  let arguments = (ins I64Attr:$index);
  let results = (outs Moex_Rows:$result);
  let assemblyFormat = "$index attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Moex_WeightOp : Moex_Op<"weight",
    [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "the stored bytes of a weight";
  let description = [{
    Memory of a `moe.weight`, typed by its shape and stored element type; where
    elements lie is the weight's layout, not the memref's.

    Constraints:
    - (C1) the symbol exists

    Example:
    ```mlir
    moe.weight @w : tensor<8xbf16> from [#moe.tensor<"w">]
    func.func @f() {
      %w = moex.weight @w : memref<8xbf16>
      return
    }
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$weight);
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = "$weight attr-dict `:` type($result)";
}

def Moex_ExpertWeightsOp : Moex_Op<"expert_weights",
    [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "one role's weights of all experts of a table";
  let description = [{
    The weights of `role` of experts 0 .. E-1, typed [E, rows, columns], or [E,
    columns] for a bias. The
    experts' memory need not be adjacent: a kernel gets one pointer per expert.

    Constraints:
    - (C1) the symbol exists

    Example:
    ```mlir
    moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
    moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
    moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u}>]
    func.func @f() {
      %w = moex.expert_weights @e role "up" : memref<1x32x64xbf16>
      return
    }
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$table, StrAttr:$role);
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = "$table `role` $role attr-dict `:` type($result)";
}

def Moex_AllocOp : Moex_Op<"alloc", [MemoryEffects<[MemAlloc]>]> {
  let summary = "a buffer of scratch, not placed yet";
  let description = [{
    Memory of `rows` rows, valid from its first to its last use.
    `plan-arena` turns it into `moex.arena_slice`.

    Constraints:
    - (C1) `rows` is a map of the 11 extents with one result
    - (C2) only the first dimension of the type may be dynamic

    Example:
    ```mlir
    func.func @f() {
      %b = moex.alloc affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T * 2)> : memref<?x64xf32>
      return
    }
    ```
  }];
  let arguments = (ins AffineMapAttr:$rows);
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = "$rows attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Moex_ArenaSliceOp : Moex_Op<"arena_slice", [Pure]> {
  let summary = "a buffer at its place in scratch";
  let description = [{
    Memory of `rows` rows at byte `offset` of the step's scratch; both are maps
    of the extents. Slices of buffers that are not needed at the same time
    overlap.

    Constraints:
    - (C1) both maps have 11 dimensions and one result

    Example:
    ```mlir
    func.func @f() {
      %b = moex.arena_slice affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T * 512)>
        rows affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)> : memref<?x64xf32>
      return
    }
    ```
  }];
  let arguments = (ins AffineMapAttr:$offset, AffineMapAttr:$rows);
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = "$offset `rows` $rows attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Moex_ViewOp : Moex_Op<"view", [Pure]> {
  let summary = "the same memory with rows split or joined";
  let description = [{
    The memory of the operand, row-major, with another row size: 49 patches of
    one image as 49 rows.

    Constraints:
    - (C1) element types are equal and one row size divides the other

    Example:
    ```mlir
    func.func @f() {
      %b = moex.alloc affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (M1)> : memref<?x49x16xf32>
      %v = moex.view %b : memref<?x49x16xf32> to memref<?x16xf32>
      return
    }
    ```
  }];
  let arguments = (ins AnyMemRef:$source);
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = "$source attr-dict `:` type($source) `to` type($result)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Threads
//===----------------------------------------------------------------------===//

def Moex_ParallelOp : Moex_Op<"parallel",
    [SingleBlock, NoTerminator]> {
  let summary = "a team of threads";
  let description = [{
    The host runs the body on every participant of a team at the same time
    (contract 4.7).

    Constraints:
    - (C1) the body holds moex operations only

    Example:
    ```mlir
    func.func @f() {
      moex.parallel {
        moex.barrier
      }
      return
    }
    ```
  }];
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

def Moex_BarrierOp : Moex_Op<"barrier"> {
  let summary = "waits for all participants";
  let description = [{
    Effects of every participant before the barrier are visible to all after it.

    Example: see `moex.parallel`.
  }];
  let assemblyFormat = "attr-dict";
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

// A kernel op writes its `outs`, reads its `ins`, and divides `tasks`.
class Moex_Kernel<string mnemonic, list<Trait> traits = []>
    : Moex_Op<mnemonic, traits>;

def Moex_RowwiseOp : Moex_Kernel<"rowwise",
    [SingleBlock, IsolatedFromAbove, AttrSizedOperandSegments]> {
  let summary = "a row body on every row of its buffers";
  let description = [{
    `row.apply` on memory: for each row of the first out, the body sees the rows
    of the ins (all of an in of static shape) and its yielded rows are stored.
    The number of rows is `rows`. `period` (one per in, 0 for none) reads row
    r mod period instead of row r, seeing an in of static shape [period, ..] as
    rows. Body values are of the memory's element types.

    Constraints:
    - (C1) the body's arguments and yielded values are rows of ins and outs
    - (C2) the body holds row operations and scalar arithmetic only
    - (C3) `period` has one element per in
    - (C4) `rows` is a map of the 11 extents with one result

    Example:
    ```mlir
    func.func @f(%a: memref<?x64xf32>, %b: memref<?x64xf32>) {
      moex.rowwise ins(%a : memref<?x64xf32>) outs(%b : memref<?x64xf32>)
        rows affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)> period = [0] body {
      ^bb0(%r: tensor<64xf32>):
        row.yield %r : tensor<64xf32>
      }
      return
    }
    ```
  }];
  let arguments = (ins Variadic<AnyMemRef>:$ins, Variadic<AnyMemRef>:$outs,
                       AffineMapAttr:$rows, DenseI64ArrayAttr:$period,
                       DefaultValuedAttr<Moex_Tasks, "Tasks::Rows">:$tasks);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    (`ins` `(` $ins^ `:` type($ins) `)`)? `outs` `(` $outs `:` type($outs) `)`
    `rows` $rows `period` `=` $period (`tasks` `=` $tasks^)? attr-dict `body` $body
  }];
  let hasVerifier = 1;
}

def Moex_GroupedGemmOp : Moex_Kernel<"grouped_gemm", [AttrSizedOperandSegments]> {
  let summary = "matrix product, dense or per expert";
  let description = [{
    out[r] = epilogue over the weights w of (x[g(r)] * w^T + bias). Without
    `segments` the weights are matrices [out, in] and r runs over `rows`; with
    them the weights are [E, out, in] (biases [E, out]) and row r of segment e
    uses expert e, r
    runs to the last offset. g(r) is `gather[r]`, or r. Operands are rounded to
    `compute`, sums are f32 in ascending order of the contraction index
    (contract 4.1); with `compute = i8` the operand is rounded, and products are
    summed, in groups as dialect `nn` says. The epilogue maps one f32 per weight to one f32, which is
    rounded to the out's element type. No epilogue: one weight.

    With `heads = H` the product is block-diagonal: x holds H heads of I elements,
    out of O elements, and the weight is [H * O, I]; head h of out comes from head
    h of x and rows h * O .. of the weight.

    Constraints:
    - (C1) weights have one shape, matching x and out, rank 2 without segments
      and rank 3 with
    - (C2) biases are absent or one per weight: [out], or [E, out] with segments
    - (C3) the epilogue takes one f32 per weight and yields one f32; it is there
      when there are several weights
    - (C4) segments has one element more than there are experts
    - (C5) `heads` divides the widths of x and out and the rows of the one weight,
      and excludes biases, segments and an epilogue

    Example:
    ```mlir
    func.func @f(%x: memref<?x64xf32>, %w: memref<32x64xbf16>, %y: memref<?x32xf32>) {
      moex.grouped_gemm ins(%x : memref<?x64xf32>) weights(%w : memref<32x64xbf16>)
        outs(%y : memref<?x32xf32>)
        rows affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)> compute = f32
      return
    }
    ```
  }];
  let arguments = (ins Moex_Rows:$x, Variadic<AnyMemRef>:$weights,
                       Variadic<AnyMemRef>:$biases,
                       Optional<Moex_I32Buffer>:$gather,
                       Optional<Moex_I32Buffer>:$segments, Moex_Rows:$out,
                       AffineMapAttr:$rows, Moex_MatrixComputeType:$compute,
                       DefaultValuedAttr<Moex_Tasks, "Tasks::Columns">:$tasks,
                       OptionalAttr<I64Attr>:$heads);
  let regions = (region AnyRegion:$epilogue);
  let assemblyFormat = [{
    `ins` `(` $x `:` type($x) `)` `weights` `(` $weights `:` type($weights) `)`
    (`biases` `(` $biases^ `:` type($biases) `)`)?
    (`gather` `(` $gather^ `:` type($gather) `)`)?
    (`segments` `(` $segments^ `:` type($segments) `)`)?
    `outs` `(` $out `:` type($out) `)` `rows` $rows `compute` `=` $compute
    (`heads` `=` $heads^)? (`tasks` `=` $tasks^)? attr-dict
    (`epilogue` $epilogue^)?
  }];
  let hasVerifier = 1;
}

def Moex_RouteSortOp : Moex_Kernel<"route_sort",
    [SingleBlock, IsolatedFromAbove]> {
  let summary = "routing, histogram and dispatch plan in one kernel";
  let description = [{
    For every token the body computes ids and weights from the token's rows;
    then the valid pairs are sorted as `moe.plan` says. All in one kernel: scores
    never leave it.

    Constraints:
    - (C1) the body's arguments are rows of the ins, it yields ids tensor<Kxi32>
      and weights tensor<Kxf32>
    - (C2) ids and slot_rows are memref<?xKxi32>, weights memref<?xKxf32>, rows
      memref<?xi32>, offsets memref<(experts + 1)xi32>
    - (C3) the body holds row operations and scalar arithmetic only

    Example:
    ```mlir
    func.func @f(%z: memref<?x8xf32>, %ids: memref<?x2xi32>, %w: memref<?x2xf32>,
                 %rows: memref<?xi32>, %offsets: memref<9xi32>, %slots: memref<?x2xi32>) {
      moex.route_sort ins(%z : memref<?x8xf32>) ids(%ids : memref<?x2xi32>)
        weights(%w : memref<?x2xf32>) plan(%rows, %offsets, %slots : memref<?xi32>, memref<9xi32>, memref<?x2xi32>)
        experts = 8 body {
      ^bb0(%r: tensor<8xf32>):
        %v, %i = row.top_k %r : tensor<8xf32> -> tensor<2xf32>, tensor<2xi32>
        row.yield %i, %v : tensor<2xi32>, tensor<2xf32>
      }
      return
    }
    ```
  }];
  let arguments = (ins Variadic<AnyMemRef>:$ins, Moex_I32Buffer:$ids,
                       MemRefOf<[F32]>:$weights, Moex_I32Buffer:$rows,
                       Moex_I32Buffer:$offsets, Moex_I32Buffer:$slot_rows,
                       I64Attr:$experts);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    `ins` `(` $ins `:` type($ins) `)` `ids` `(` $ids `:` type($ids) `)`
    `weights` `(` $weights `:` type($weights) `)` `plan` `(` $rows `,` $offsets
    `,` $slot_rows `:` type($rows) `,` type($offsets) `,` type($slot_rows) `)`
    `experts` `=` $experts attr-dict `body` $body
  }];
  let hasVerifier = 1;
}

def Moex_PlanOp : Moex_Kernel<"plan"> {
  let summary = "the dispatch plan of given ids";
  let description = [{
    The sorting half of `moex.route_sort`, for routings that are not computed in
    the same kernel and for `--no-fuse`.

    Constraints:
    - (C1) as C2 of `moex.route_sort`

    Example:
    ```mlir
    func.func @f(%ids: memref<?x2xi32>, %rows: memref<?xi32>, %offsets: memref<9xi32>, %slots: memref<?x2xi32>) {
      moex.plan ins(%ids : memref<?x2xi32>) outs(%rows, %offsets, %slots : memref<?xi32>, memref<9xi32>, memref<?x2xi32>)
        experts = 8
      return
    }
    ```
  }];
  let arguments = (ins Moex_I32Buffer:$ids, Moex_I32Buffer:$rows,
                       Moex_I32Buffer:$offsets, Moex_I32Buffer:$slot_rows,
                       I64Attr:$experts);
  let assemblyFormat = [{
    `ins` `(` $ids `:` type($ids) `)` `outs` `(` $rows `,` $offsets `,`
    $slot_rows `:` type($rows) `,` type($offsets) `,` type($slot_rows) `)`
    `experts` `=` $experts attr-dict
  }];
  let hasVerifier = 1;
}

def Moex_LimitSlotsOp : Moex_Kernel<"limit_slots"> {
  let summary = "leaves out what exceeds the capacity of experts";
  let description = [{
    `moe.limit_slots` on memory.

    Constraints:
    - (C1) ids and weights, given and limited, have one shape [?, K]

    Example:
    ```mlir
    func.func @f(%i: memref<?x2xi32>, %w: memref<?x2xf32>, %c: memref<?xi32>, %j: memref<?x2xi32>, %v: memref<?x2xf32>) {
      moex.limit_slots ins(%i, %w, %c : memref<?x2xi32>, memref<?x2xf32>, memref<?xi32>)
        outs(%j, %v : memref<?x2xi32>, memref<?x2xf32>) experts = 8 millionths = 1250000 multiple = 4
      return
    }
    ```
  }];
  let arguments = (ins Moex_I32Buffer:$ids, Moex_Rows:$weights,
                       Moex_I32Buffer:$cu_seqlens, Moex_I32Buffer:$limited_ids,
                       Moex_Rows:$limited_weights, I64Attr:$experts,
                       I64Attr:$millionths, I64Attr:$multiple);
  let assemblyFormat = [{
    `ins` `(` $ids `,` $weights `,` $cu_seqlens `:` type($ids) `,`
    type($weights) `,` type($cu_seqlens) `)` `outs` `(` $limited_ids `,`
    $limited_weights `:` type($limited_ids) `,` type($limited_weights) `)`
    `experts` `=` $experts `millionths` `=` $millionths `multiple` `=` $multiple
    attr-dict
  }];
  let hasVerifier = 1;
}

def Moex_ExportRoutingOp : Moex_Kernel<"export_routing"> {
  let summary = "copies a router's choice to the caller's arrays";
  let description = [{
    `moe.export_routing` on memory: copies the rows of ids and weights to the
    arrays of router `router` in the `moe_routing_io_v1` of the batch, as far as
    there are any; rows whose kinds[t] is not `kind` become -1 and 0.

    Constraints:
    - (C1) ids and weights have one shape [?, K]
    - (C2) `kind` is there exactly when `kinds` is

    Example:
    ```mlir
    func.func @f(%ids: memref<?x2xi32>, %w: memref<?x2xf32>) {
      moex.export_routing ins(%ids, %w : memref<?x2xi32>, memref<?x2xf32>) router = 3
      return
    }
    ```
  }];
  let arguments = (ins Moex_I32Buffer:$ids, MemRefOf<[F32]>:$weights,
                       Optional<MemRefOf<[I8]>>:$kinds,
                       OptionalAttr<I64Attr>:$kind, I64Attr:$router);
  let assemblyFormat = [{
    `ins` `(` $ids `,` $weights `:` type($ids) `,` type($weights) `)`
    (`kinds` `(` $kinds^ `:` type($kinds) `)`)? `router` `=` $router attr-dict
  }];
  let hasVerifier = 1;
}

def Moex_RoutingOperandOp : Moex_Kernel<"routing_operand"> {
  let summary = "what the caller gives to a router, or nothing";
  let description = [{
    `moe.routing_operand` on memory: copies the array of router `router` in the
    `moe_routing_io_v1` of the batch, or fills `out` with what means nothing.

    Constraints:
    - (C1) `field` is one of ids, weights, bias, mask and count, and the type of
      `out` the one of `moe.routing_operand`

    Example:
    ```mlir
    func.func @f(%ids: memref<?x2xi32>) {
      moex.routing_operand "ids" router = 3 outs(%ids : memref<?x2xi32>)
      return
    }
    ```
  }];
  let arguments = (ins StrAttr:$field, I64Attr:$router, AnyMemRef:$out);
  let assemblyFormat = [{
    $field `router` `=` $router `outs` `(` $out `:` type($out) `)` attr-dict
  }];
  let hasVerifier = 1;
}

def Moex_CombineRowsOp : Moex_Kernel<"combine_rows"> {
  let summary = "weighted sum of expert rows per token";
  let description = [{
    out[t] = sum over s, ascending, of weights[t, s] * rows[slot_rows[t, s]],
    slots with -1 left out, in f32, rounded once.

    Constraints:
    - (C1) slot_rows and weights are [?, K], rows and out have one width

    Example:
    ```mlir
    func.func @f(%d: memref<?x64xf32>, %s: memref<?x2xi32>, %w: memref<?x2xf32>, %y: memref<?x64xf32>) {
      moex.combine_rows ins(%d, %s, %w : memref<?x64xf32>, memref<?x2xi32>, memref<?x2xf32>)
        outs(%y : memref<?x64xf32>)
      return
    }
    ```
  }];
  let arguments = (ins Moex_Rows:$rows, Moex_I32Buffer:$slot_rows,
                       MemRefOf<[F32]>:$weights, Moex_Rows:$out);
  let assemblyFormat = [{
    `ins` `(` $rows `,` $slot_rows `,` $weights `:` type($rows) `,`
    type($slot_rows) `,` type($weights) `)` `outs` `(` $out `:` type($out) `)`
    attr-dict
  }];
  let hasVerifier = 1;
}

def Moex_LookupOp : Moex_Kernel<"lookup", [AttrSizedOperandSegments]> {
  let summary = "copies rows chosen by an index";
  let description = [{
    out[r] = table[indices[r]] (without indices table[r]) for r below `rows`, or
    below the last element of `until`; rows whose kinds[r] is not `kind` are left
    untouched. Element types are converted. A table that is a weight is read
    through its layout.

    Constraints:
    - (C1) table and out have one width
    - (C2) `kind` is there exactly when `kinds` is

    Example:
    ```mlir
    func.func @f(%w: memref<256x64xbf16>, %i: memref<?xi32>, %y: memref<?x64xf32>) {
      moex.lookup ins(%w : memref<256x64xbf16>) indices(%i : memref<?xi32>)
        outs(%y : memref<?x64xf32>)
        rows affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
      return
    }
    ```
  }];
  let arguments = (ins Moex_Rows:$table, Optional<Moex_I32Buffer>:$indices,
                       Optional<MemRefOf<[I8]>>:$kinds,
                       Optional<Moex_I32Buffer>:$until, Moex_Rows:$out,
                       AffineMapAttr:$rows, OptionalAttr<I64Attr>:$kind);
  let assemblyFormat = [{
    `ins` `(` $table `:` type($table) `)`
    (`indices` `(` $indices^ `:` type($indices) `)`)?
    (`where` `(` $kinds^ `:` type($kinds) `)` `is` $kind)?
    (`until` `(` $until^ `:` type($until) `)`)?
    `outs` `(` $out `:` type($out) `)` `rows` $rows attr-dict
  }];
  let hasVerifier = 1;
}

def Moex_StateAppendOp : Moex_Kernel<"state_append",
    [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "stores rows of new tokens into the pages of a state";
  let description = [{
    `nn.state_append` on memory: row t goes to page
    page_table[b, positions[t] / 64], line positions[t] mod 64, b the sequence
    of t.

    Constraints:
    - (C1) the state exists and has the rows' width and element type

    Example:
    ```mlir
    nn.state @k per_token : tensor<128xf32> cache_tokens = 64
    func.func @f(%k: memref<?x128xf32>) {
      moex.state_append @k ins(%k : memref<?x128xf32>)
      return
    }
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$state, Moex_Rows:$rows);
  let assemblyFormat = "$state `ins` `(` $rows `:` type($rows) `)` attr-dict";
}

def Moex_SequenceLengthsOp : Moex_Kernel<"sequence_lengths"> {
  let summary = "how long each token's sequence is";
  let description = [{
    `nn.sequence_lengths` on memory, of the batch's positions and sequences.

    Constraints:
    - (C1) the out is memref<?xi32>

    Example:
    ```mlir
    func.func @f(%n: memref<?xi32>) {
      moex.sequence_lengths outs(%n : memref<?xi32>)
      return
    }
    ```
  }];
  let arguments = (ins Moex_I32Buffer:$out);
  let assemblyFormat = "`outs` `(` $out `:` type($out) `)` attr-dict";
  let hasVerifier = 1;
}

def Moex_AttentionOp : Moex_Kernel<"attention",
    [DeclareOpInterfaceMethods<SymbolUserOpInterface>, AttrSizedOperandSegments]> {
  let summary = "grouped-query attention over pages or over the batch";
  let description = [{
    `nn.attention` on memory: the same masks, sinks and soft cap. Positions,
    sequences and the page table are the batch's.

    Constraints:
    - (C1) keys and values are both buffers or both states
    - (C2) there is one sink per head

    Example:
    ```mlir
    nn.state @k per_token : tensor<128xf32> cache_tokens = 64
    nn.state @v per_token : tensor<128xf32> cache_tokens = 64
    func.func @f(%q: memref<?x256xf32>, %y: memref<?x256xf32>) {
      moex.attention ins(%q : memref<?x256xf32>) state(@k, @v)
        outs(%y : memref<?x256xf32>) heads = 4 kv_heads = 2 scale = 1.25e-1
        compute = f32
      return
    }
    ```
  }];
  let arguments = (ins Moex_Rows:$query, Optional<Moex_Rows>:$key,
                       Optional<Moex_Rows>:$value, Moex_Rows:$out,
                       OptionalAttr<FlatSymbolRefAttr>:$key_state,
                       OptionalAttr<FlatSymbolRefAttr>:$value_state,
                       Optional<AnyMemRef>:$sinks, I64Attr:$heads,
                       I64Attr:$kv_heads, F64Attr:$scale,
                       OptionalAttr<F64Attr>:$softcap,
                       OptionalAttr<I64Attr>:$window,
                       OptionalAttr<I64Attr>:$chunk, UnitAttr:$full,
                       Moex_ComputeType:$compute);
  let assemblyFormat = [{
    `ins` `(` $query `:` type($query) `)`
    (`keys` `(` $key^ `,` $value `:` type($key) `,` type($value) `)`)?
    (`state` `(` $key_state^ `,` $value_state `)`)?
    (`sinks` `(` $sinks^ `:` type($sinks) `)`)?
    `outs` `(` $out `:` type($out) `)` `heads` `=` $heads
    `kv_heads` `=` $kv_heads `scale` `=` $scale (`softcap` `=` $softcap^)?
    (`window` `=` $window^)? (`chunk` `=` $chunk^)? (`full` $full^)?
    `compute` `=` $compute attr-dict
  }];
  let hasVerifier = 1;
}

#endif // MOEC_DIALECTS_MOEX_MOEXOPS
