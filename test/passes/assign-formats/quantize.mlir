// RUN: moe-opt %s --assign-formats=format=int4 --assign-layouts | FileCheck %s
// RUN: moe-opt %s --assign-formats="format=int8 activations=float" | FileCheck %s --check-prefix=FLOAT
// RUN: moe-opt %s --assign-formats="format=int4 head=int4" | FileCheck %s --check-prefix=HEAD
// RUN: not moe-opt %s --assign-formats=format=int3 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: not moe-opt %s --assign-formats="format=int4 activations=fp8" 2>&1 | FileCheck %s --check-prefix=ACTIVATIONS

// UNKNOWN: expected a format of weights (int8, int4, nf4), found 'int3'
// ACTIVATIONS: activations: expected int8 or float, found 'fp8'

// CHECK: module attributes {moe.compute = i8}
// CHECK: moe.weight @q {{.*}} format = #moeq.affine<4, 32, bf16> layout = #moeq.group_blocks
// FLOAT: moe.weight @q {{.*}} format = #moeq.affine<8, 128, f32>
moe.weight @q : tensor<128x128xbf16> from [#moe.tensor<"q">]
// Routers and norms keep their numbers ..
// CHECK: moe.weight @router {{.*}} format = #moeq.plain<bf16> layout = #moeq.row_blocks<16, 2>
moe.weight @router : tensor<4x128xbf16> from [#moe.tensor<"router">]
// CHECK: moe.weight @norm {{.*}} format = #moeq.plain<bf16> layout = #moeq.row_major
moe.weight @norm : tensor<128xbf16> from [#moe.tensor<"norm">]
// .. and so does a matrix that is looked up, too ..
// CHECK: moe.weight @tied {{.*}} format = #moeq.plain<bf16>
moe.weight @tied : tensor<128x128xbf16> from [#moe.tensor<"tied">]
// .. one narrower than a group ..
// CHECK: moe.weight @narrow {{.*}} format = #moeq.plain<bf16>
moe.weight @narrow : tensor<128x16xbf16> from [#moe.tensor<"narrow">]
// .. and what shares a product with one that is kept.
// CHECK: moe.weight @gate {{.*}} format = #moeq.plain<bf16>
moe.weight @gate : tensor<16x128xbf16> from [#moe.tensor<"gate">]
// CHECK: moe.weight @up {{.*}} format = #moeq.plain<bf16>
moe.weight @up : tensor<16x128xbf16> from [#moe.tensor<"up">]
// CHECK: moe.weight @eu0 {{.*}} format = #moeq.affine<4, 32, bf16>
moe.weight @eu0 : tensor<64x128xbf16> from [#moe.tensor<"eu0">]
// CHECK: moe.weight @ed0 {{.*}} format = #moeq.affine<4, 32, bf16>
moe.weight @ed0 : tensor<128x64xbf16> from [#moe.tensor<"ed0">]
moe.expert_table @e body = "mlp" [#moe.expert<width = 64, weights = {down = @ed0, up = @eu0}>]
// The logits' map has more bits.
// CHECK: moe.weight @head {{.*}} format = #moeq.affine<8, 128, f32>
// HEAD: moe.weight @head {{.*}} format = #moeq.affine<4, 32, bf16>
moe.weight @head : tensor<256x128xbf16> from [#moe.tensor<"head">]

func.func @f(%ids: tensor<?xi32>, %i: tensor<?x1xi32>, %g: tensor<?x1xf32>) -> tensor<?x256xf32> {
  %tied = moe.weight_ref @tied : tensor<128x128xbf16>
  %x = nn.embed %ids, %tied : tensor<128x128xbf16> -> tensor<?x128xf32>
  // CHECK: nn.linear {{.*}} compute = bf16 {{.*}}tensor<128x128xbf16>
  %t = nn.linear %x, %tied compute = bf16 : tensor<?x128xf32>, tensor<128x128xbf16> -> tensor<?x128xf32>
  %q = moe.weight_ref @q : tensor<128x128xbf16>
  // CHECK: nn.linear {{.*}} compute = i8
  // FLOAT: nn.linear
  // FLOAT: nn.linear {{.*}} compute = bf16
  %y = nn.linear %t, %q compute = bf16 : tensor<?x128xf32>, tensor<128x128xbf16> -> tensor<?x128xf32>
  %router = moe.weight_ref @router : tensor<4x128xbf16>
  // CHECK: nn.linear {{.*}} compute = f32
  %z = nn.linear %y, %router compute = f32 : tensor<?x128xf32>, tensor<4x128xbf16> -> tensor<?x4xf32>
  %ri, %rw = moe.route %z score(#moe.softmax) rank(#moe.by_score) select(#moe.top_k<1>)
    weigh(#moe.by_score_weight) renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>)
    : tensor<?x4xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  %gate = moe.weight_ref @gate : tensor<16x128xbf16>
  %up = moe.weight_ref @up : tensor<16x128xbf16>
  %narrow = moe.weight_ref @narrow : tensor<128x16xbf16>
  // CHECK: nn.glu {{.*}} compute = bf16
  %s = nn.glu %y gate %gate up %up down %narrow act = silu compute = bf16
    : tensor<?x128xf32>, tensor<16x128xbf16>, tensor<16x128xbf16>, tensor<128x16xbf16> -> tensor<?x128xf32>
  // CHECK: moe.experts @e {{.*}} compute = i8
  %m = moe.experts @e %s routed(%ri, %rw) act = relu2 compute = bf16
    : tensor<?x128xf32>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x128xf32>
  %head = moe.weight_ref @head : tensor<256x128xbf16>
  // CHECK: nn.linear {{.*}} compute = i8
  %l = nn.linear %m, %head compute = bf16 : tensor<?x128xf32>, tensor<256x128xbf16> -> tensor<?x256xf32>
  return %l : tensor<?x256xf32>
}
