// RUN: moe-opt %s --share-dispatch-plans | FileCheck %s

moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.expert_table @a body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u}>]
moe.expert_table @b body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u}>]

// Two sets with the same ids share one plan.
// CHECK-LABEL: func.func @shared(
// CHECK-NEXT:    moe.plan %{{.*}} experts = 1
// CHECK-NEXT:    moe.experts @a
// CHECK-NEXT:    moe.experts @b
func.func @shared(%x: tensor<?x64xf32>, %i: tensor<?x1xi32>, %w: tensor<?x1xf32>) -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  %y = moe.experts @a %x routed(%i, %w) act = relu compute = f32 : tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x64xf32>
  %z = moe.experts @b %x routed(%i, %w) act = relu compute = f32 : tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x64xf32>
  return %y, %z : tensor<?x64xf32>, tensor<?x64xf32>
}

// Other ids, another plan.
// CHECK-LABEL: func.func @two(
// CHECK:         moe.plan %[[I:.*]] experts = 1
// CHECK:         moe.plan %[[J:.*]] experts = 1
func.func @two(%x: tensor<?x64xf32>, %i: tensor<?x1xi32>, %j: tensor<?x1xi32>, %w: tensor<?x1xf32>) -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  %y = moe.experts @a %x routed(%i, %w) act = relu compute = f32 : tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x64xf32>
  %z = moe.experts @b %x routed(%j, %w) act = relu compute = f32 : tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x64xf32>
  return %y, %z : tensor<?x64xf32>, tensor<?x64xf32>
}
