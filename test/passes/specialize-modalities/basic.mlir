// RUN: moe-opt %s --specialize-modalities --split-input-file | FileCheck %s

// Two groups of equal bodies become one set over a joined table; ids of the
// second arm are raised by the experts of the first.

moe.weight @g : tensor<32x64xbf16> from [#moe.tensor<"g">]
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.expert_table @text body = "glu" [#moe.expert<width = 32, weights = {down = @d, gate = @g, up = @u}>, #moe.expert<width = 32, weights = {down = @d, gate = @g, up = @u}>]
moe.expert_table @image body = "glu" [#moe.expert<width = 32, weights = {down = @d, gate = @g, up = @u}>]

// CHECK-NOT: moe.expert_table @text body
// CHECK-NOT: moe.expert_table @image body
// CHECK: moe.expert_table @text.joined body = "glu" [#moe.expert<{{.*}}, #moe.expert<{{.*}}, #moe.expert<{{.*}}]
// CHECK-LABEL: func.func @joined(
// CHECK-SAME:    %[[X:.*]]: tensor<?x64xf32>, %[[K:.*]]: tensor<?xi8>, %[[I0:.*]]: tensor<?x2xi32>, %[[W0:.*]]: tensor<?x2xf32>, %[[I1:.*]]: tensor<?x1xi32>, %[[W1:.*]]: tensor<?x1xf32>
// CHECK-NEXT:  %[[I:.*]], %[[W:.*]] = moe.select_routing %[[K]] ids(%[[I0]], %[[I1]]) weights(%[[W0]], %[[W1]]) modalities = [0, 1] offsets = [0, 2] experts = 3
// CHECK-NEXT:  %[[Y:.*]] = moe.experts @text.joined %[[X]] routed(%[[I]], %[[W]]) act = silu compute = f32
// CHECK-NEXT:  return %[[Y]]
func.func @joined(%x: tensor<?x64xf32>, %k: tensor<?xi8>, %i0: tensor<?x2xi32>, %w0: tensor<?x2xf32>, %i1: tensor<?x1xi32>, %w1: tensor<?x1xf32>) -> tensor<?x64xf32> {
  %y = moe.by_modality %k ids = [0, 1] : tensor<?x64xf32> {
    %e = moe.experts @text %x routed(%i0, %w0) act = silu compute = f32 : tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x64xf32>
    moe.yield %e : tensor<?x64xf32>
  }, {
    %e = moe.experts @image %x routed(%i1, %w1) act = silu compute = f32 : tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x64xf32>
    moe.yield %e : tensor<?x64xf32>
  }
  return %y : tensor<?x64xf32>
}

// -----

// Arms that are no routed experts, or experts of other activations, stay.

moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.expert_table @a body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u}>]

// CHECK-LABEL: func.func @kept(
// CHECK:         moe.by_modality
// CHECK:         moe.by_modality
// CHECK-NOT:     moe.select_routing
func.func @kept(%x: tensor<?x64xf32>, %k: tensor<?xi8>, %i: tensor<?x1xi32>, %w: tensor<?x1xf32>) -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  %y = moe.by_modality %k ids = [0, 1] : tensor<?x64xf32> {
    %e = moe.experts @a %x routed(%i, %w) act = silu compute = f32 : tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x64xf32>
    moe.yield %e : tensor<?x64xf32>
  }, {
    moe.yield %x : tensor<?x64xf32>
  }
  %z = moe.by_modality %k ids = [0, 1] : tensor<?x64xf32> {
    %e = moe.experts @a %x routed(%i, %w) act = silu compute = f32 : tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x64xf32>
    moe.yield %e : tensor<?x64xf32>
  }, {
    %e = moe.experts @a %x routed(%i, %w) act = relu2 compute = f32 : tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x64xf32>
    moe.yield %e : tensor<?x64xf32>
  }
  return %y, %z : tensor<?x64xf32>, tensor<?x64xf32>
}
