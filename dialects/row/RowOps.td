//===- RowOps.td - Operations inside one row ---------------*- tablegen -*-===//
#ifndef MOEC_DIALECTS_ROW_ROWOPS
#define MOEC_DIALECTS_ROW_ROWOPS

include "dialects/interfaces/ReferenceOpInterface.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/EnumAttr.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"

def Row_Dialect : Dialect {
  let name = "row";
  let cppNamespace = "::moec::row";
  let summary = "what happens inside one row";
  let description = [{
    A *row* is what an operation knows of one token: a tensor of static shape,
    or a scalar. The dialect is a closed set of operations on rows without
    memory, lanes or threads. Each target implements exactly these operations:
    loops over the width on a CPU, lanes of a warp on a GPU. Bodies of routers,
    norms, rotary positions and elementwise maps are written in it, so that
    their authors write them once.

    A body may hold operations of this dialect, `arith` and `math` operations on
    scalars, and nothing else (checked by `row.apply` and by every other op
    that has such a body).
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::math::MathDialect"];
  let extraClassDeclaration = [{
    /// Checks that `body` holds nothing but row operations and scalar
    /// arithmetic. Emits an error at the first other operation.
    static ::mlir::LogicalResult verifyBody(::mlir::Region &body);
  }];
}

class Row_Op<string mnemonic, list<Trait> traits = []>
    : Op<Row_Dialect, mnemonic, traits>;

def Row_Scalar : Type<CPred<"$_self.isIntOrIndexOrFloat()">, "scalar">;
def Row_Row : Type<And<[
    CPred<"::llvm::isa<::mlir::RankedTensorType>($_self)">,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).hasStaticShape()">,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getRank() >= 1">]>,
    "row (tensor of static shape)", "::mlir::RankedTensorType">;
def Row_Vector : Type<And<[Row_Row.predicate,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getRank() == 1">]>,
    "row of rank 1", "::mlir::RankedTensorType">;
def Row_Any : AnyTypeOf<[Row_Row, Row_Scalar]>;

def Row_Reduction : I32EnumAttr<"Reduction", "reduction of a row", [
    I32EnumAttrCase<"Sum", 0, "sum">,
    I32EnumAttrCase<"Max", 1, "max">,
    I32EnumAttrCase<"Min", 2, "min">]> {
  let cppNamespace = "::moec::row";
}

def Row_ApplyOp : Row_Op<"apply",
    [Pure, SingleBlockImplicitTerminator<"::moec::row::YieldOp">,
     IsolatedFromAbove, DeclareOpInterfaceMethods<ReferenceOpInterface>]> {
  let summary = "applies a row body to every row of its operands";
  let description = [{
    Applies the body once per row. An operand whose first dimension is dynamic
    gives its row: `tensor<?xAx..xt>` a `tensor<Ax..xt>`, `tensor<?xt>` a scalar
    `t`. An operand of static shape is *uniform*: the body sees all of it. The
    body yields one value per result in the same way.

    Constraints:
    - (C1) every result has a dynamic first dimension and static others
    - (C2) the body's arguments are the rows of the operands, in order
    - (C3) the body yields the rows of the results, in order
    - (C4) the body holds row operations and scalar arithmetic only

    Example:
    ```mlir
    func.func @double(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
      %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?x8xf32> {
      ^bb0(%r: tensor<8xf32>):
        %s = row.map %r : (tensor<8xf32>) -> tensor<8xf32> {
        ^bb0(%e: f32):
          %d = arith.addf %e, %e : f32
          row.yield %d : f32
        }
        row.yield %s : tensor<8xf32>
      }
      return %y : tensor<?x8xf32>
    }
    ```
  }];
  let arguments = (ins Variadic<AnyRankedTensor>:$inputs);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $inputs attr-dict `:` functional-type($inputs, $results) $body
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The row of a tensor: its element type or the tensor without the first
    /// dimension; the tensor itself where the first dimension is static.
    static ::mlir::Type getRowType(::mlir::Type tensor);
  }];
}

def Row_MapOp : Row_Op<"map",
    [Pure, SingleBlockImplicitTerminator<"::moec::row::YieldOp">]> {
  let summary = "elementwise map";
  let description = [{
    Applies a scalar body to the elements of its operands. Scalars, and values
    of the enclosing body, are the same for every element.

    Constraints:
    - (C1) row operands have the shape of the result; at least one is a row
    - (C2) the body's arguments are the element types of the operands
    - (C3) the body yields the element type of the result
    - (C4) the body holds scalar arithmetic only

    Example: see `row.apply`.
  }];
  let arguments = (ins Variadic<Row_Any>:$inputs);
  let results = (outs Row_Row:$result);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $inputs attr-dict `:` functional-type($inputs, $result) $body
  }];
  let hasVerifier = 1;
}

def Row_ReduceOp : Row_Op<"reduce", [Pure]> {
  let summary = "sum, maximum or minimum over the last dimension";
  let description = [{
    Reduces the last dimension. The order of a sum is part of the meaning, so
    that all targets agree bit for bit: 16 partial sums, the l-th over the
    elements l, l + 16, l + 32, .. in ascending order, each starting from zero;
    then partial sum l is added to l + 8 (as l + (l + 8)), the eight results to
    four in the same way, and so on to one.

    Constraints:
    - (C1) the result is the operand without its last dimension: a scalar for
      a row of rank 1
    - (C2) elements are f32, f64 or i32

    Example:
    ```mlir
    func.func @total(%x: tensor<?x8xf32>) -> tensor<?xf32> {
      %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?xf32> {
      ^bb0(%r: tensor<8xf32>):
        %s = row.reduce sum %r : tensor<8xf32> -> f32
        row.yield %s : f32
      }
      return %y : tensor<?xf32>
    }
    ```
  }];
  let arguments = (ins Row_Reduction:$kind, Row_Row:$input);
  let results = (outs Row_Any:$result);
  let assemblyFormat = "$kind $input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Row_ArgmaxOp : Row_Op<"argmax", [Pure]> {
  let summary = "index of the largest element";
  let description = [{
    The index of the largest element; of equal ones, the lowest. A NaN is never
    larger than anything; a row of NaNs gives 0.

    Example:
    ```mlir
    func.func @best(%x: tensor<?x8xf32>) -> tensor<?xi32> {
      %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?xi32> {
      ^bb0(%r: tensor<8xf32>):
        %i = row.argmax %r : tensor<8xf32>
        row.yield %i : i32
      }
      return %y : tensor<?xi32>
    }
    ```
  }];
  let arguments = (ins Row_Vector:$input);
  let results = (outs I32:$index);
  let assemblyFormat = "$input attr-dict `:` type($input)";
}

def Row_TopKOp : Row_Op<"top_k", [Pure]> {
  let summary = "the k largest elements, in descending order";
  let description = [{
    Repeats `row.argmax` k times, each time without the elements found before:
    ties go to the lower index. The i-th result pair is the i-th largest value
    and its index. When nothing but NaN is left, the lowest index not yet found
    is taken.

    Constraints:
    - (C1) both results have rank 1 and the same width k, which is not above
      the operand's
    - (C2) values have the operand's element type, indices are i32

    Example:
    ```mlir
    func.func @best_two(%x: tensor<?x8xf32>) -> tensor<?x2xi32> {
      %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?x2xi32> {
      ^bb0(%r: tensor<8xf32>):
        %v, %i = row.top_k %r : tensor<8xf32> -> tensor<2xf32>, tensor<2xi32>
        row.yield %i : tensor<2xi32>
      }
      return %y : tensor<?x2xi32>
    }
    ```
  }];
  let arguments = (ins Row_Vector:$input);
  let results = (outs Row_Vector:$values, Row_Vector:$indices);
  let assemblyFormat = [{
    $input attr-dict `:` type($input) `->` type($values) `,` type($indices)
  }];
  let hasVerifier = 1;
}

def Row_ScanOp : Row_Op<"scan", [Pure, SameOperandsAndResultType]> {
  let summary = "running sum";
  let description = [{
    Element i of the result is the sum of the elements 0 .. i, added in
    ascending order.

    Example:
    ```mlir
    func.func @cumulative(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
      %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?x8xf32> {
      ^bb0(%r: tensor<8xf32>):
        %s = row.scan %r : tensor<8xf32>
        row.yield %s : tensor<8xf32>
      }
      return %y : tensor<?x8xf32>
    }
    ```
  }];
  let arguments = (ins Row_Vector:$input);
  let results = (outs Row_Vector:$result);
  let assemblyFormat = "$input attr-dict `:` type($input)";
}

def Row_ReshapeOp : Row_Op<"group_reshape", [Pure]> {
  let summary = "the same elements in another shape";
  let description = [{
    Reinterprets a row, row-major: splits a row into groups, or joins them.

    Constraints:
    - (C1) operand and result have the same element type and number of elements

    Example:
    ```mlir
    func.func @best_of_group(%x: tensor<?x8xf32>) -> tensor<?x2xf32> {
      %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?x2xf32> {
      ^bb0(%r: tensor<8xf32>):
        %g = row.group_reshape %r : tensor<8xf32> -> tensor<2x4xf32>
        %m = row.reduce max %g : tensor<2x4xf32> -> tensor<2xf32>
        row.yield %m : tensor<2xf32>
      }
      return %y : tensor<?x2xf32>
    }
    ```
  }];
  let arguments = (ins Row_Row:$input);
  let results = (outs Row_Row:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Row_GatherOp : Row_Op<"gather", [Pure]> {
  let summary = "elements at given indices";
  let description = [{
    Element i of the result is `source[indices[i]]`, counted row-major over the
    whole source. A negative index gives zero. Indices must be below the
    number of elements; they are not checked at run time.

    Constraints:
    - (C1) the result has the shape of the indices and the source's element
      type
    - (C2) indices are i32

    Example:
    ```mlir
    func.func @pick(%x: tensor<?x8xf32>, %i: tensor<?x2xi32>) -> tensor<?x2xf32> {
      %y = row.apply %x, %i : (tensor<?x8xf32>, tensor<?x2xi32>) -> tensor<?x2xf32> {
      ^bb0(%r: tensor<8xf32>, %n: tensor<2xi32>):
        %g = row.gather %r[%n] : tensor<8xf32>, tensor<2xi32> -> tensor<2xf32>
        row.yield %g : tensor<2xf32>
      }
      return %y : tensor<?x2xf32>
    }
    ```
  }];
  let arguments = (ins Row_Row:$source, Row_Row:$indices);
  let results = (outs Row_Row:$result);
  let assemblyFormat = [{
    $source `[` $indices `]` attr-dict `:` type($source) `,` type($indices)
    `->` type($result)
  }];
  let hasVerifier = 1;
}

def Row_TableOp : Row_Op<"table", [Pure]> {
  let summary = "one line of a table";
  let description = [{
    Line `index` of the outermost dimension of `source`. The index must be in
    range; it is not checked at run time.

    Constraints:
    - (C1) the result is the source without its first dimension; a source of
      rank 1 gives a scalar

    Example:
    ```mlir
    func.func @hash(%id: tensor<?xi32>, %t: tensor<256x2xi32>) -> tensor<?x2xi32> {
      %y = row.apply %id, %t : (tensor<?xi32>, tensor<256x2xi32>) -> tensor<?x2xi32> {
      ^bb0(%i: i32, %all: tensor<256x2xi32>):
        %r = row.table %all[%i] : tensor<256x2xi32> -> tensor<2xi32>
        row.yield %r : tensor<2xi32>
      }
      return %y : tensor<?x2xi32>
    }
    ```
  }];
  let arguments = (ins Row_Row:$source, I32:$index);
  let results = (outs Row_Any:$result);
  let assemblyFormat = [{
    $source `[` $index `]` attr-dict `:` type($source) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Row_ConstantOp : Row_Op<"constant",
    [Pure, ConstantLike, AllTypesMatch<["value", "result"]>]> {
  let summary = "constant row";
  let description = [{
    A row known at compile time: index tables, frequencies.

    Example:
    ```mlir
    func.func @first_two(%x: tensor<?x8xf32>) -> tensor<?x2xf32> {
      %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?x2xf32> {
      ^bb0(%r: tensor<8xf32>):
        %i = row.constant dense<[0, 1]> : tensor<2xi32>
        %g = row.gather %r[%i] : tensor<8xf32>, tensor<2xi32> -> tensor<2xf32>
        row.yield %g : tensor<2xf32>
      }
      return %y : tensor<?x2xf32>
    }
    ```
  }];
  let arguments = (ins ElementsAttr:$value);
  let results = (outs Row_Row:$result);
  let assemblyFormat = "attr-dict $value";
  let hasFolder = 1;
  let builders = [OpBuilder<(ins "::mlir::DenseElementsAttr":$value), [{
    build($_builder, $_state, value.getType(), value);
  }]>];
  let extraClassDefinition = [{
    ::mlir::OpFoldResult $cppClass::fold(FoldAdaptor) { return getValue(); }
  }];
}

def Row_IotaOp : Row_Op<"iota", [Pure]> {
  let summary = "0, 1, 2, ..";
  let description = [{
    Element i of the result is i.

    Constraints:
    - (C1) elements are i32

    Example:
    ```mlir
    func.func @ids(%x: tensor<?xi32>) -> tensor<?x8xi32> {
      %y = row.apply %x : (tensor<?xi32>) -> tensor<?x8xi32> {
      ^bb0(%t: i32):
        %i = row.iota : tensor<8xi32>
        row.yield %i : tensor<8xi32>
      }
      return %y : tensor<?x8xi32>
    }
    ```
  }];
  let results = (outs Row_Vector:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Row_SplatOp : Row_Op<"splat", [Pure]> {
  let summary = "a row of equal elements";
  let description = [{
    Every element of the result is the operand.

    Constraints:
    - (C1) the operand has the result's element type

    Example:
    ```mlir
    func.func @spread(%x: tensor<?xf32>) -> tensor<?x4xf32> {
      %y = row.apply %x : (tensor<?xf32>) -> tensor<?x4xf32> {
      ^bb0(%s: f32):
        %r = row.splat %s : f32 -> tensor<4xf32>
        row.yield %r : tensor<4xf32>
      }
      return %y : tensor<?x4xf32>
    }
    ```
  }];
  let arguments = (ins Row_Scalar:$input);
  let results = (outs Row_Row:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Row_SelectOp : Row_Op<"select",
    [Pure, AllTypesMatch<["trueRow", "falseRow", "result"]>]> {
  let summary = "one of two rows";
  let description = [{
    The first row where the condition holds, else the second, as a whole.

    Example:
    ```mlir
    func.func @choose(%k: tensor<?xi8>, %a: tensor<?x2xi32>, %b: tensor<?x2xi32>) -> tensor<?x2xi32> {
      %y = row.apply %k, %a, %b : (tensor<?xi8>, tensor<?x2xi32>, tensor<?x2xi32>) -> tensor<?x2xi32> {
      ^bb0(%kind: i8, %r: tensor<2xi32>, %s: tensor<2xi32>):
        %zero = arith.constant 0 : i8
        %is = arith.cmpi eq, %kind, %zero : i8
        %c = row.select %is, %r, %s : tensor<2xi32>
        row.yield %c : tensor<2xi32>
      }
      return %y : tensor<?x2xi32>
    }
    ```
  }];
  let arguments = (ins I1:$condition, Row_Row:$trueRow, Row_Row:$falseRow);
  let results = (outs Row_Row:$result);
  let assemblyFormat = [{
    $condition `,` $trueRow `,` $falseRow attr-dict `:` type($result)
  }];
}

def Row_YieldOp : Row_Op<"yield", [Pure, Terminator, ReturnLike]> {
  let summary = "ends a body";
  let description = [{
    Gives the results of a body to the operation that holds it.

    Example: see `row.apply`.
  }];
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "attr-dict ($values^ `:` type($values))?";
  let builders = [OpBuilder<(ins), [{ }]>];
}

#endif // MOEC_DIALECTS_ROW_ROWOPS
