// Every operation of row: printed, parsed and printed again, and through bytecode.
//
// RUN: moe-opt %s --split-input-file | moe-opt --split-input-file | FileCheck %s
// RUN: moe-opt %s --split-input-file --verify-roundtrip -o %t

// CHECK: row.apply
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

// -----

// CHECK: row.reduce
func.func @total(%x: tensor<?x8xf32>) -> tensor<?xf32> {
  %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?xf32> {
  ^bb0(%r: tensor<8xf32>):
    %s = row.reduce sum %r : tensor<8xf32> -> f32
    row.yield %s : f32
  }
  return %y : tensor<?xf32>
}

// -----

// CHECK: row.argmax
func.func @best(%x: tensor<?x8xf32>) -> tensor<?xi32> {
  %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?xi32> {
  ^bb0(%r: tensor<8xf32>):
    %i = row.argmax %r : tensor<8xf32>
    row.yield %i : i32
  }
  return %y : tensor<?xi32>
}

// -----

// CHECK: row.top_k
func.func @best_two(%x: tensor<?x8xf32>) -> tensor<?x2xi32> {
  %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?x2xi32> {
  ^bb0(%r: tensor<8xf32>):
    %v, %i = row.top_k %r : tensor<8xf32> -> tensor<2xf32>, tensor<2xi32>
    row.yield %i : tensor<2xi32>
  }
  return %y : tensor<?x2xi32>
}

// -----

// CHECK: row.scan
func.func @cumulative(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%r: tensor<8xf32>):
    %s = row.scan %r : tensor<8xf32>
    row.yield %s : tensor<8xf32>
  }
  return %y : tensor<?x8xf32>
}

// -----

// CHECK: row.group_reshape
func.func @best_of_group(%x: tensor<?x8xf32>) -> tensor<?x2xf32> {
  %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?x2xf32> {
  ^bb0(%r: tensor<8xf32>):
    %g = row.group_reshape %r : tensor<8xf32> -> tensor<2x4xf32>
    %m = row.reduce max %g : tensor<2x4xf32> -> tensor<2xf32>
    row.yield %m : tensor<2xf32>
  }
  return %y : tensor<?x2xf32>
}

// -----

// CHECK: row.gather
func.func @pick(%x: tensor<?x8xf32>, %i: tensor<?x2xi32>) -> tensor<?x2xf32> {
  %y = row.apply %x, %i : (tensor<?x8xf32>, tensor<?x2xi32>) -> tensor<?x2xf32> {
  ^bb0(%r: tensor<8xf32>, %n: tensor<2xi32>):
    %g = row.gather %r[%n] : tensor<8xf32>, tensor<2xi32> -> tensor<2xf32>
    row.yield %g : tensor<2xf32>
  }
  return %y : tensor<?x2xf32>
}

// -----

// CHECK: row.table
func.func @hash(%id: tensor<?xi32>, %t: tensor<256x2xi32>) -> tensor<?x2xi32> {
  %y = row.apply %id, %t : (tensor<?xi32>, tensor<256x2xi32>) -> tensor<?x2xi32> {
  ^bb0(%i: i32, %all: tensor<256x2xi32>):
    %r = row.table %all[%i] : tensor<256x2xi32> -> tensor<2xi32>
    row.yield %r : tensor<2xi32>
  }
  return %y : tensor<?x2xi32>
}

// -----

// CHECK: row.constant
func.func @first_two(%x: tensor<?x8xf32>) -> tensor<?x2xf32> {
  %y = row.apply %x : (tensor<?x8xf32>) -> tensor<?x2xf32> {
  ^bb0(%r: tensor<8xf32>):
    %i = row.constant dense<[0, 1]> : tensor<2xi32>
    %g = row.gather %r[%i] : tensor<8xf32>, tensor<2xi32> -> tensor<2xf32>
    row.yield %g : tensor<2xf32>
  }
  return %y : tensor<?x2xf32>
}

// -----

// CHECK: row.iota
func.func @ids(%x: tensor<?xi32>) -> tensor<?x8xi32> {
  %y = row.apply %x : (tensor<?xi32>) -> tensor<?x8xi32> {
  ^bb0(%t: i32):
    %i = row.iota : tensor<8xi32>
    row.yield %i : tensor<8xi32>
  }
  return %y : tensor<?x8xi32>
}

// -----

// CHECK: row.splat
func.func @spread(%x: tensor<?xf32>) -> tensor<?x4xf32> {
  %y = row.apply %x : (tensor<?xf32>) -> tensor<?x4xf32> {
  ^bb0(%s: f32):
    %r = row.splat %s : f32 -> tensor<4xf32>
    row.yield %r : tensor<4xf32>
  }
  return %y : tensor<?x4xf32>
}

// -----

// CHECK: row.select
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
