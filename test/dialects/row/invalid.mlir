// RUN: moe-opt %s --split-input-file -verify-diagnostics
//
// One test per labelled constraint.

// row.apply C1
func.func @f(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{expected results with a dynamic first dimension and static others, found 'tensor<8xf32>'}}
  %y = row.apply %x : (tensor<?x8xf32>) -> tensor<8xf32> {
  ^bb0(%r: tensor<8xf32>):
    row.yield %r : tensor<8xf32>
  }
  return
}

// -----

// row.apply C2
func.func @f(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{expected argument 0 of the body to be 'tensor<8xf32>', found 'tensor<4xf32>'}}
  %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?x4xf32> {
  ^bb0(%r: tensor<4xf32>):
    row.yield %r : tensor<4xf32>
  }
  return
}

// -----

// row.apply C2: number of arguments
func.func @f(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{expected 1 arguments of the body, found 2}}
  %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%r: tensor<8xf32>, %s: f32):
    row.yield %r : tensor<8xf32>
  }
  return
}

// -----

// row.apply C3
func.func @f(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{expected result 0 of the body to be 'tensor<4xf32>', found 'tensor<8xf32>'}}
  %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?x4xf32> {
  ^bb0(%r: tensor<8xf32>):
    row.yield %r : tensor<8xf32>
  }
  return
}

// -----

// row.apply C4: arithmetic on whole rows is not a row operation
func.func @f(%x: tensor<?x8xf32>) {
  %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%r: tensor<8xf32>):
    // expected-error@+1 {{is not allowed in a row body: expected a row operation or scalar arithmetic}}
    %s = arith.addf %r, %r : tensor<8xf32>
    row.yield %s : tensor<8xf32>
  }
  return
}

// -----

// row.map C1
func.func @f(%x: tensor<?x8xf32>, %z: tensor<?x4xf32>) {
  %y = row.apply %x, %z : (tensor<?x8xf32>, tensor<?x4xf32>) -> tensor<?x8xf32> {
  ^bb0(%r: tensor<8xf32>, %q: tensor<4xf32>):
    // expected-error@+1 {{expected row operands of the result's shape 'tensor<8xf32>', found 'tensor<4xf32>'}}
    %s = row.map %r, %q : (tensor<8xf32>, tensor<4xf32>) -> tensor<8xf32> {
    ^bb0(%a: f32, %b: f32):
      row.yield %a : f32
    }
    row.yield %s : tensor<8xf32>
  }
  return
}

// -----

// row.map C1: no row at all
func.func @f(%x: tensor<?xf32>) {
  %y = row.apply %x : (tensor<?xf32>) -> tensor<?x8xf32> {
  ^bb0(%r: f32):
    // expected-error@+1 {{expected at least one row operand, found none}}
    %s = row.map %r : (f32) -> tensor<8xf32> {
    ^bb0(%a: f32):
      row.yield %a : f32
    }
    row.yield %s : tensor<8xf32>
  }
  return
}

// -----

// row.map C2, C3
func.func @f(%x: tensor<?x8xf32>) {
  %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?x8xi32> {
  ^bb0(%r: tensor<8xf32>):
    // expected-error@+1 {{expected result 0 of the body to be 'i32', found 'f32'}}
    %s = row.map %r : (tensor<8xf32>) -> tensor<8xi32> {
    ^bb0(%a: f32):
      row.yield %a : f32
    }
    row.yield %s : tensor<8xi32>
  }
  return
}

// -----

// row.map C4
func.func @f(%x: tensor<?x8xf32>) {
  %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%r: tensor<8xf32>):
    %s = row.map %r : (tensor<8xf32>) -> tensor<8xf32> {
    ^bb0(%a: f32):
      // expected-error@+1 {{is not allowed in the body of row.map: expected scalar arithmetic}}
      %i = row.argmax %r : tensor<8xf32>
      row.yield %a : f32
    }
    row.yield %s : tensor<8xf32>
  }
  return
}

// -----

// row.reduce C1
func.func @f(%x: tensor<?x8xf32>) {
  %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%r: tensor<8xf32>):
    // expected-error@+1 {{expected the result to be 'f32', found 'tensor<1xf32>'}}
    %s = row.reduce sum %r : tensor<8xf32> -> tensor<1xf32>
    row.yield %r : tensor<8xf32>
  }
  return
}

// -----

// row.reduce C2
func.func @f(%x: tensor<?x8xbf16>) {
  %y = row.apply %x : (tensor<?x8xbf16>) -> tensor<?x8xbf16> {
  ^bb0(%r: tensor<8xbf16>):
    // expected-error@+1 {{expected elements of type f32, f64 or i32, found 'bf16'}}
    %s = row.reduce sum %r : tensor<8xbf16> -> bf16
    row.yield %r : tensor<8xbf16>
  }
  return
}

// -----

// row.top_k C1: k above the width
func.func @f(%x: tensor<?x8xf32>) {
  %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?x9xi32> {
  ^bb0(%r: tensor<8xf32>):
    // expected-error@+1 {{expected k of at most 8, the width of the row, found 9}}
    %v, %i = row.top_k %r : tensor<8xf32> -> tensor<9xf32>, tensor<9xi32>
    row.yield %i : tensor<9xi32>
  }
  return
}

// -----

// row.top_k C1: widths differ
func.func @f(%x: tensor<?x8xf32>) {
  %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?x2xi32> {
  ^bb0(%r: tensor<8xf32>):
    // expected-error@+1 {{expected values and indices of one width}}
    %v, %i = row.top_k %r : tensor<8xf32> -> tensor<3xf32>, tensor<2xi32>
    row.yield %i : tensor<2xi32>
  }
  return
}

// -----

// row.top_k C2
func.func @f(%x: tensor<?x8xf32>) {
  %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?x2xi32> {
  ^bb0(%r: tensor<8xf32>):
    // expected-error@+1 {{expected values of the operand's element type and i32 indices}}
    %v, %i = row.top_k %r : tensor<8xf32> -> tensor<2xf64>, tensor<2xi32>
    row.yield %i : tensor<2xi32>
  }
  return
}

// -----

// row.group_reshape C1
func.func @f(%x: tensor<?x8xf32>) {
  %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?x3x2xf32> {
  ^bb0(%r: tensor<8xf32>):
    // expected-error@+1 {{expected the same elements in operand and result}}
    %s = row.group_reshape %r : tensor<8xf32> -> tensor<3x2xf32>
    row.yield %s : tensor<3x2xf32>
  }
  return
}

// -----

// row.gather C1
func.func @f(%x: tensor<?x8xf32>, %i: tensor<?x2xi32>) {
  %y = row.apply %x, %i : (tensor<?x8xf32>, tensor<?x2xi32>) -> tensor<?x3xf32> {
  ^bb0(%r: tensor<8xf32>, %n: tensor<2xi32>):
    // expected-error@+1 {{expected the result to be 'tensor<2xf32>', found 'tensor<3xf32>'}}
    %s = row.gather %r[%n] : tensor<8xf32>, tensor<2xi32> -> tensor<3xf32>
    row.yield %s : tensor<3xf32>
  }
  return
}

// -----

// row.gather C2
func.func @f(%x: tensor<?x8xf32>, %i: tensor<?x2xi64>) {
  %y = row.apply %x, %i : (tensor<?x8xf32>, tensor<?x2xi64>) -> tensor<?x2xf32> {
  ^bb0(%r: tensor<8xf32>, %n: tensor<2xi64>):
    // expected-error@+1 {{expected i32 indices, found 'tensor<2xi64>'}}
    %s = row.gather %r[%n] : tensor<8xf32>, tensor<2xi64> -> tensor<2xf32>
    row.yield %s : tensor<2xf32>
  }
  return
}

// -----

// row.table C1
func.func @f(%i: tensor<?xi32>, %t: tensor<8x2xf32>) {
  %y = row.apply %i, %t : (tensor<?xi32>, tensor<8x2xf32>) -> tensor<?x8xf32> {
  ^bb0(%n: i32, %all: tensor<8x2xf32>):
    // expected-error@+1 {{expected the result to be 'tensor<2xf32>', found 'tensor<8xf32>'}}
    %s = row.table %all[%n] : tensor<8x2xf32> -> tensor<8xf32>
    row.yield %s : tensor<8xf32>
  }
  return
}

// -----

// row.iota C1
func.func @f(%i: tensor<?xi32>) {
  %y = row.apply %i : (tensor<?xi32>) -> tensor<?x8xf32> {
  ^bb0(%n: i32):
    // expected-error@+1 {{expected i32 elements, found 'tensor<8xf32>'}}
    %s = row.iota : tensor<8xf32>
    row.yield %s : tensor<8xf32>
  }
  return
}

// -----

// row.splat C1
func.func @f(%i: tensor<?xi32>) {
  %y = row.apply %i : (tensor<?xi32>) -> tensor<?x8xf32> {
  ^bb0(%n: i32):
    // expected-error@+1 {{expected the element type of the result to be 'i32', found 'tensor<8xf32>'}}
    %s = row.splat %n : i32 -> tensor<8xf32>
    row.yield %s : tensor<8xf32>
  }
  return
}
