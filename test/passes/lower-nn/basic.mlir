// RUN: moe-opt %s --lower-nn | FileCheck %s

// CHECK-LABEL: func.func @rms(
// CHECK:       row.apply %{{.*}}, %{{.*}} : (tensor<?x64xbf16>, tensor<64xbf16>) -> tensor<?x64xbf16>
// CHECK:         row.reduce sum %{{.*}} : tensor<64xf32> -> f32
// CHECK:         math.sqrt
// CHECK:         arith.truncf
func.func @rms(%x: tensor<?x64xbf16>, %w: tensor<64xbf16>) -> tensor<?x64xbf16> {
  %y = nn.norm rms %x, %w eps = 1.0e-6 : tensor<?x64xbf16>, tensor<64xbf16> -> tensor<?x64xbf16>
  return %y : tensor<?x64xbf16>
}

// A weight narrower than the row normalises each head.
// CHECK-LABEL: func.func @per_head(
// CHECK:         row.group_reshape %{{.*}} : tensor<64xf32> -> tensor<4x16xf32>
// CHECK:         row.reduce sum %{{.*}} : tensor<4x16xf32> -> tensor<4xf32>
// CHECK:         row.gather %{{.*}} : tensor<4xf32>, tensor<64xi32> -> tensor<64xf32>
func.func @per_head(%x: tensor<?x64xf32>, %w: tensor<16xf32>) -> tensor<?x64xf32> {
  %y = nn.norm rms %x, %w eps = 1.0e-6 : tensor<?x64xf32>, tensor<16xf32> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// CHECK-LABEL: func.func @layer(
// CHECK-COUNT-2: row.reduce sum
func.func @layer(%x: tensor<?x64xf32>, %w: tensor<64xf32>, %b: tensor<64xf32>) -> tensor<?x64xf32> {
  %y = nn.norm layer %x, %w bias %b : tensor<64xf32> eps = 1.0e-5 : tensor<?x64xf32>, tensor<64xf32> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// Angles are rounded to f32, their cosines and sines computed in f64.
// CHECK-LABEL: func.func @rotary(
// CHECK:       row.apply %{{.*}} : (tensor<?xi32>) -> tensor<?x4xf32>
// CHECK:         row.constant dense<[1.000000e+00, 0.00999999977, 1.000000e+00, 0.00999999977]> : tensor<4xf32>
// CHECK:         arith.mulf %{{.*}} : f32
// CHECK:         arith.extf %{{.*}} : f32 to f64
// CHECK:         math.cos %{{.*}} : f64
// CHECK:         math.sin %{{.*}} : f64
// Element 0 pairs with 2, element 1 with 3; the first of a pair subtracts.
// CHECK:       row.apply %{{.*}}, %{{.*}} : (tensor<?x4xf32>, tensor<?x4xf32>)
// CHECK:         row.constant dense<[2, 3, 0, 1]>
// CHECK:         row.constant dense<[0, 1, 0, 1]>
// CHECK:         row.constant dense<[2, 3, 2, 3]>
// CHECK:         row.constant dense<[-1.000000e+00, -1.000000e+00, 1.000000e+00, 1.000000e+00]>
func.func @rotary(%p: tensor<?xi32>, %x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %t = nn.rotary_table %p frequencies = dense<[1.0, 0.01]> : tensor<2xf32> magnitude = 1.0 : tensor<?x4xf32>
  %y = nn.rope half %x, %t : tensor<?x4xf32>, tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// CHECK-LABEL: func.func @pairs(
// CHECK:         row.constant dense<[1, 0, 3, 2]>
// CHECK:         row.constant dense<[0, 0, 1, 1]>
func.func @pairs(%x: tensor<?x4xf32>, %t: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %y = nn.rope pairs %x, %t : tensor<?x4xf32>, tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// The first and the last element of each head pass.
// CHECK-LABEL: func.func @partial(
// CHECK:         row.constant dense<[0, 2, 1, 3, 4, 6, 5, 7]>
// CHECK:         row.constant dense<[0.000000e+00, -1.000000e+00, 1.000000e+00, 0.000000e+00, 0.000000e+00, -1.000000e+00, 1.000000e+00, 0.000000e+00]>
func.func @partial(%x: tensor<?x8xf32>, %t: tensor<?x2xf32>) -> tensor<?x8xf32> {
  %y = nn.rope half %x, %t head = 4 from = 1 : tensor<?x8xf32>, tensor<?x2xf32>
  return %y : tensor<?x8xf32>
}

// A sequence longer than the limit has frequencies and a magnitude of its own.
// CHECK-LABEL: func.func @long(
// CHECK:         arith.cmpi sgt, %{{.*}}, %{{.*}} : i32
// CHECK:         row.select
// CHECK:         arith.select
func.func @long(%p: tensor<?xi32>, %n: tensor<?xi32>) -> tensor<?x4xf32> {
  %t = nn.rotary_table %p frequencies = dense<[1.0, 0.01]> : tensor<2xf32> magnitude = 1.0 lengths %n limit = 16 long = dense<[0.5, 0.01]> : tensor<2xf32> long_magnitude = 1.5 : tensor<?x4xf32>
  return %t : tensor<?x4xf32>
}

// CHECK-LABEL: func.func @growing(
// CHECK:         math.log %{{.*}} : f32
// CHECK:         math.exp %{{.*}} : f32
func.func @growing(%p: tensor<?xi32>, %n: tensor<?xi32>) -> tensor<?x4xf32> {
  %t = nn.rotary_table %p frequencies = dense<[1.0, 0.01]> : tensor<2xf32> magnitude = 1.0 lengths %n limit = 16 growth = 2.0 : tensor<?x4xf32>
  return %t : tensor<?x4xf32>
}

// CHECK-LABEL: func.func @parts(
// CHECK:         row.constant dense<[2, 3, 6, 7]>
// CHECK:         row.constant dense<[0, 1, 2, 3, 3, 3, 4, 5, 6, 7, 7, 7]>
// CHECK:         row.constant dense<[0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 3]>
func.func @parts(%x: tensor<?x8xf32>) -> tensor<?x12xf32> {
  %y = nn.slice %x heads = 2 from = 2 : tensor<?x8xf32> -> tensor<?x4xf32>
  %z = nn.concat %x, %y heads = 2 : tensor<?x8xf32>, tensor<?x4xf32> -> tensor<?x12xf32>
  return %z : tensor<?x12xf32>
}

// An operand narrower than the result is repeated over its heads; a position is
// the same for the whole row.
// CHECK-LABEL: func.func @per_head_gate(
// CHECK:         row.constant dense<[0, 0, 0, 0, 1, 1, 1, 1]>
// CHECK:         row.map %{{.*}}, %{{.*}}, %{{.*}} : (tensor<8xf32>, tensor<8xf32>, i32) -> tensor<8xf32>
func.func @per_head_gate(%x: tensor<?x8xf32>, %g: tensor<?x2xf32>, %p: tensor<?xi32>) -> tensor<?x8xf32> {
  %y = nn.map %x, %g, %p : (tensor<?x8xf32>, tensor<?x2xf32>, tensor<?xi32>) -> tensor<?x8xf32> {
  ^bb0(%a: f32, %b: f32, %i: i32):
    %n = arith.sitofp %i : i32 to f32
    %c = arith.mulf %b, %n : f32
    %d = arith.mulf %a, %c : f32
    nn.yield %d : f32
  }
  return %y : tensor<?x8xf32>
}

// An operand one wide is the same scalar for every element.
// CHECK-LABEL: func.func @broadcast(
// CHECK:         %[[S:.*]] = row.table %{{.*}} : tensor<1xf32> -> f32
// CHECK:         row.map %{{.*}}, %[[S]] : (tensor<64xf32>, f32) -> tensor<64xf32>
func.func @broadcast(%x: tensor<?x64xf32>, %g: tensor<?x1xf32>) -> tensor<?x64xf32> {
  %y = nn.map %x, %g : (tensor<?x64xf32>, tensor<?x1xf32>) -> tensor<?x64xf32> {
  ^bb0(%a: f32, %b: f32):
    %p = arith.mulf %a, %b : f32
    nn.yield %p : f32
  }
  return %y : tensor<?x64xf32>
}

// Operands that are all one wide give one number for the row.
// CHECK-LABEL: func.func @spread(
// CHECK:         arith.negf %{{.*}} : f32
// CHECK:         row.splat %{{.*}} : f32 -> tensor<4xf32>
func.func @spread(%g: tensor<?x1xf32>) -> tensor<?x4xf32> {
  %y = nn.map %g : (tensor<?x1xf32>) -> tensor<?x4xf32> {
  ^bb0(%a: f32):
    %n = arith.negf %a : f32
    nn.yield %n : f32
  }
  return %y : tensor<?x4xf32>
}

// A stored vector is the same row for all tokens.
// CHECK-LABEL: func.func @stored(
// CHECK:         row.apply %{{.*}}, %{{.*}} : (tensor<?x8xf32>, tensor<8xbf16>) -> tensor<?x8xf32>
// CHECK:         row.map %{{.*}}, %{{.*}} : (tensor<8xf32>, tensor<8xbf16>) -> tensor<8xf32>
// CHECK:           arith.extf %{{.*}} : bf16 to f32
func.func @stored(%x: tensor<?x8xf32>, %v: tensor<8xbf16>) -> tensor<?x8xf32> {
  %y = nn.map %x, %v : (tensor<?x8xf32>, tensor<8xbf16>) -> tensor<?x8xf32> {
  ^bb0(%a: f32, %b: f32):
    %p = arith.mulf %a, %b : f32
    nn.yield %p : f32
  }
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: func.func @mlp(
// CHECK:       nn.linear %{{.*}}, %{{.*}} bias
// CHECK:       row.apply
// CHECK:       nn.linear
func.func @mlp(%x: tensor<?x64xf32>, %u: tensor<32x64xbf16>, %b: tensor<32xbf16>, %d: tensor<64x32xbf16>) -> tensor<?x64xf32> {
  %y = nn.mlp %x up %u bias %b : tensor<32xbf16> down %d act = gelu compute = f32 : tensor<?x64xf32>, tensor<32x64xbf16>, tensor<64x32xbf16> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
