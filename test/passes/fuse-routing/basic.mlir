// RUN: moe-opt %s --decompose-routing --share-dispatch-plans --fuse-routing | FileCheck %s

moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.expert_table @a body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u}>, #moe.expert<width = 32, weights = {down = @d, up = @u}>]

// The router's body and the plan are one.
// CHECK-LABEL: func.func @one(
// CHECK-NOT:     row.apply
// CHECK-NOT:     moe.plan
// CHECK:         moe.route_plan %{{.*}} experts = 2
// CHECK:           row.top_k
// CHECK:         moe.experts
func.func @one(%x: tensor<?x64xf32>, %z: tensor<?x2xf32>) -> tensor<?x64xf32> {
  %i, %w = moe.route %z score(#moe.softmax) rank(#moe.by_score) select(#moe.top_k<1>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>)
    : tensor<?x2xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  %y = moe.experts @a %x routed(%i, %w) act = relu compute = f32 : tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// The arms of select_routing are part of it.
// CHECK-LABEL: func.func @arms(
// CHECK-NOT:     row.apply
// CHECK:         moe.route_plan %{{.*}}, %{{.*}}, %{{.*}} experts = 2
// CHECK:           row.top_k
// CHECK:           row.top_k
// CHECK:           row.select
func.func @arms(%x: tensor<?x64xf32>, %k: tensor<?xi8>, %z0: tensor<?x1xf32>, %z1: tensor<?x1xf32>) -> tensor<?x64xf32> {
  %i0, %w0 = moe.route %z0 score(#moe.softmax) rank(#moe.by_score) select(#moe.top_k<1>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>)
    : tensor<?x1xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  %i1, %w1 = moe.route %z1 score(#moe.softmax) rank(#moe.by_score) select(#moe.top_k<1>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>)
    : tensor<?x1xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  %i, %w = moe.select_routing %k ids(%i0, %i1) weights(%w0, %w1) modalities = [0, 1] offsets = [0, 1] experts = 2
    : tensor<?xi8>, (tensor<?x1xi32>, tensor<?x1xi32>), (tensor<?x1xf32>, tensor<?x1xf32>) -> tensor<?x1xi32>, tensor<?x1xf32>
  %y = moe.experts @a %x routed(%i, %w) act = relu compute = f32 : tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// Ids that come from elsewhere keep a plan of their own.
// CHECK-LABEL: func.func @given(
// CHECK:         moe.plan
// CHECK-NOT:     moe.route_plan
func.func @given(%x: tensor<?x64xf32>, %i: tensor<?x1xi32>, %w: tensor<?x1xf32>) -> tensor<?x64xf32> {
  %y = moe.experts @a %x routed(%i, %w) act = relu compute = f32 : tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
