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

// Angles in f64, one rounding.
// CHECK-LABEL: func.func @rotary(
// CHECK:       row.apply %{{.*}} : (tensor<?xi32>) -> tensor<?x4xf32>
// CHECK:         row.constant dense<[1.000000e+00, 1.000000e-02, 1.000000e+00, 1.000000e-02]> : tensor<4xf64>
// CHECK:         math.cos %{{.*}} : f64
// CHECK:         math.sin %{{.*}} : f64
// Element 0 pairs with 2, element 1 with 3; the first of a pair subtracts.
// CHECK:       row.apply %{{.*}}, %{{.*}} : (tensor<?x4xf32>, tensor<?x4xf32>)
// CHECK:         row.constant dense<[2, 3, 0, 1]>
// CHECK:         row.constant dense<[0, 1, 0, 1]>
// CHECK:         row.constant dense<[2, 3, 2, 3]>
// CHECK:         row.constant dense<[-1.000000e+00, -1.000000e+00, 1.000000e+00, 1.000000e+00]>
func.func @rotary(%p: tensor<?xi32>, %x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %t = nn.rotary_table %p theta = 1.0e4 : tensor<?x4xf32>
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

// CHECK-LABEL: func.func @mlp(
// CHECK:       nn.linear %{{.*}}, %{{.*}} bias
// CHECK:       row.apply
// CHECK:       nn.linear
func.func @mlp(%x: tensor<?x64xf32>, %u: tensor<32x64xbf16>, %b: tensor<32xbf16>, %d: tensor<64x32xbf16>) -> tensor<?x64xf32> {
  %y = nn.mlp %x up %u bias %b : tensor<32xbf16> down %d act = gelu compute = f32 : tensor<?x64xf32>, tensor<32x64xbf16>, tensor<64x32xbf16> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
