// RUN: moe-opt %s --share-dispatch-plans --decompose-experts --lower-nn --fuse-expert-epilogue | FileCheck %s

moe.weight @g : tensor<32x64xbf16> from [#moe.tensor<"g">]
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.expert_table @e body = "glu" [#moe.expert<width = 32, weights = {down = @d, gate = @g, up = @u}>]

// The gather moves into the load, activation and product into the epilogue; the
// rounding at the end is the matmul's own.
// CHECK-LABEL: func.func @routed(
// CHECK-SAME:    %[[X:.*]]: tensor<?x64xbf16>
// CHECK:       %[[ROWS:.*]], %[[OFFSETS:.*]], %{{.*}} = moe.plan
// CHECK-NOT:   moe.dispatch
// CHECK-NOT:   row.apply
// CHECK:       %[[H:.*]] = moe.grouped_matmul @e ["gate", "up"] %[[X]] gather(%[[ROWS]]) segments(%[[OFFSETS]]) compute = bf16 : tensor<?x64xbf16>, tensor<2xi32> -> tensor<?x32xbf16> {
// CHECK-NEXT:  ^bb0(%[[A:.*]]: f32, %[[B:.*]]: f32):
// CHECK:         math.exp
// CHECK-NOT:     arith.truncf
// CHECK:         moe.yield
// CHECK:       moe.grouped_matmul @e ["down"] %[[H]] segments
func.func @routed(%x: tensor<?x64xbf16>, %i: tensor<?x1xi32>, %w: tensor<?x1xf32>) -> tensor<?x64xbf16> {
  %y = moe.experts @e %x routed(%i, %w) act = silu compute = bf16 : tensor<?x64xbf16>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x64xbf16>
  return %y : tensor<?x64xbf16>
}

// Biases go along where both maps have one, and keep the maps apart where one has.
// CHECK-LABEL: func.func @biases(
// CHECK:       moe.grouped_matmul @b ["gate", "up"] biases ["gate_bias", "up_bias"]
// CHECK:       moe.grouped_matmul @b ["down"] %
// CHECK:       moe.grouped_matmul @c ["gate"] biases ["gate_bias"]
// CHECK:       moe.grouped_matmul @c ["up"] %
// CHECK:       row.apply
moe.weight @bias : tensor<32xbf16> from [#moe.tensor<"bias">]
moe.expert_table @b body = "glu" [#moe.expert<width = 32, weights = {down = @d, gate = @g, gate_bias = @bias, up = @u, up_bias = @bias}>]
moe.expert_table @c body = "glu" [#moe.expert<width = 32, weights = {down = @d, gate = @g, gate_bias = @bias, up = @u}>]
func.func @biases(%x: tensor<?x64xbf16>, %i: tensor<?x1xi32>, %w: tensor<?x1xf32>) -> tensor<?x64xbf16> {
  %y = moe.experts @b %x routed(%i, %w) act = silu compute = bf16 {clamp_before = 7.0} : tensor<?x64xbf16>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x64xbf16>
  %z = moe.experts @c %y routed(%i, %w) act = silu compute = bf16 : tensor<?x64xbf16>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x64xbf16>
  return %z : tensor<?x64xbf16>
}

// The same for a network that every token passes.
// CHECK-LABEL: func.func @dense(
// CHECK:       nn.joint_linear %{{.*}} weights(%{{.*}}, %{{.*}} : tensor<32x64xbf16>, tensor<32x64xbf16>) compute = f32
// CHECK:         math.exp
// CHECK:       nn.linear
// CHECK-NOT:   row.apply
func.func @dense(%x: tensor<?x64xf32>, %g: tensor<32x64xbf16>, %u: tensor<32x64xbf16>, %d: tensor<64x32xbf16>) -> tensor<?x64xf32> {
  %y = nn.glu %x gate %g up %u down %d act = silu compute = f32 : tensor<?x64xf32>, tensor<32x64xbf16>, tensor<32x64xbf16>, tensor<64x32xbf16> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// A map that something else reads as well is left alone.
// CHECK-LABEL: func.func @used_twice(
// CHECK:       nn.linear
// CHECK:       row.apply
func.func @used_twice(%x: tensor<?x64xf32>, %w: tensor<32x64xbf16>) -> (tensor<?x32xf32>, tensor<?x32xf32>) {
  %a = nn.linear %x, %w compute = f32 : tensor<?x64xf32>, tensor<32x64xbf16> -> tensor<?x32xf32>
  %b = nn.map %a : (tensor<?x32xf32>) -> tensor<?x32xf32> {
  ^bb0(%v: f32):
    %s = arith.addf %v, %v : f32
    nn.yield %s : f32
  }
  return %a, %b : tensor<?x32xf32>, tensor<?x32xf32>
}
