// RUN: moe-opt %s --split-experts | FileCheck %s

moe.weight @u0 : tensor<8x4xf32> from [#moe.tensor<"u0">]
moe.weight @d0 : tensor<4x8xf32> from [#moe.tensor<"d0">]
moe.weight @u1 : tensor<12x4xf32> from [#moe.tensor<"u1">]
moe.weight @d1 : tensor<4x12xf32> from [#moe.tensor<"d1">]
moe.weight @u2 : tensor<8x4xf32> from [#moe.tensor<"u2">]
moe.weight @d2 : tensor<4x8xf32> from [#moe.tensor<"d2">]

// Expert 1 is of another width; 3 and 4 have no matrices.
moe.expert_table @ragged body = "mlp" [#moe.expert<width = 8, weights = {down = @d0, up = @u0}>, #moe.expert<width = 12, weights = {down = @d1, up = @u1}>, #moe.expert<width = 8, weights = {down = @d2, up = @u2}>, #moe.virtual<"null">, #moe.virtual<"identity">]
moe.expert_table @even body = "mlp" [#moe.expert<width = 8, weights = {down = @d0, up = @u0}>]
moe.expert_table @idle body = "mlp" [#moe.expert<width = 8, weights = {down = @d0, up = @u0}>, #moe.virtual<"null">]
moe.weight @b : tensor<8xf32> from [#moe.tensor<"b">]
moe.weight @c : tensor<4xf32> from [#moe.tensor<"c">]
moe.expert_table @biased_set body = "mlp" [#moe.virtual<"constant", weight = @c>, #moe.expert<width = 8, weights = {down = @d0, up = @u0, up_bias = @b}>, #moe.virtual<"identity">, #moe.expert<width = 8, weights = {down = @d2, up = @u2}>]
moe.expert_table @copies body = "mlp" [#moe.virtual<"null">, #moe.virtual<"identity">]
moe.expert_table @nothing body = "mlp" [#moe.virtual<"null">]

// CHECK-NOT: moe.expert_table @ragged body
// CHECK: moe.expert_table @ragged.part body = "mlp" [#moe.expert<width = 8, weights = {down = @d0, up = @u0}>, #moe.expert<width = 8, weights = {down = @d2, up = @u2}>]{{$}}
// CHECK-NEXT: moe.expert_table @[[OTHER:ragged.part_0]] body = "mlp" [#moe.expert<width = 12, weights = {down = @d1, up = @u1}>]{{$}}
// CHECK-NEXT: moe.expert_table @even
// CHECK: moe.expert_table @biased_set.part body = "mlp" [#moe.expert<width = 8, weights = {down = @d0, up = @u0, up_bias = @b}>]
// CHECK-NEXT: moe.expert_table @biased_set.part_{{[0-9]}} body = "mlp" [#moe.expert<width = 8, weights = {down = @d2, up = @u2}>]
// CHECK-NOT: moe.expert_table

// CHECK-LABEL: func.func @mixed
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xbf16>, %[[I:.*]]: tensor<?x2xi32>, %[[W:.*]]: tensor<?x2xf32>)
func.func @mixed(%x: tensor<?x4xbf16>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>) -> tensor<?x4xbf16> {
  // Ids of the parts: 1 more than the place, which -1 and others lack.
  // CHECK: %[[A:.*]] = row.apply %[[I]] : (tensor<?x2xi32>) -> tensor<?x2xi32>
  // CHECK: row.constant dense<[1, 0, 2, 0, 0]> : tensor<5xi32>
  // CHECK: %[[Y0:.*]] = moe.experts @ragged.part %[[X]] routed(%[[A]], %[[W]]) {{.*}} -> tensor<?x4xf32>
  // CHECK: %[[B:.*]] = row.apply %[[I]]
  // CHECK: row.constant dense<[0, 1, 0, 0, 0]> : tensor<5xi32>
  // CHECK: %[[Y1:.*]] = moe.experts @[[OTHER]] %[[X]] routed(%[[B]], %[[W]]) {{.*}} -> tensor<?x4xf32>
  // The share of the identity.
  // CHECK: %[[S:.*]] = row.apply %[[I]], %[[W]] : {{.*}} -> tensor<?xf32>
  // CHECK: row.constant dense<[0, 0, 0, 0, 1]> : tensor<5xi32>
  // CHECK: row.reduce sum
  // One rounding, at the end.
  // CHECK: %[[Y:.*]] = row.apply %[[Y0]], %[[Y1]], %[[X]], %[[S]] : {{.*}} -> tensor<?x4xbf16>
  // CHECK: arith.truncf
  // CHECK-NOT: arith.truncf
  // CHECK: return %[[Y]]
  %y = moe.experts @ragged %x routed(%i, %w) act = relu2 compute = bf16 : tensor<?x4xbf16>, tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x4xbf16>
  return %y : tensor<?x4xbf16>
}

// Nothing to split.
// CHECK-LABEL: func.func @plain
// CHECK-NEXT: moe.experts @even %{{.*}} routed(%arg1, %arg2)
func.func @plain(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>) -> tensor<?x4xf32> {
  %y = moe.experts @even %x routed(%i, %w) act = relu2 compute = f32 : tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// A null takes its slot away, and no sum is needed. What is left are the experts
// of another table, which is shared.
// CHECK-LABEL: func.func @nulls
// CHECK: row.constant dense<[1, 0]>
// CHECK: %[[Y:.*]] = moe.experts @even
// CHECK-NEXT: return %[[Y]]
func.func @nulls(%x: tensor<?x4xbf16>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>) -> tensor<?x4xbf16> {
  %y = moe.experts @idle %x routed(%i, %w) act = relu2 compute = bf16 : tensor<?x4xbf16>, tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x4xbf16>
  return %y : tensor<?x4xbf16>
}

// Experts with a bias and those without are not taken together; a constant and an
// identity stand before experts with matrices.
// CHECK-LABEL: func.func @biased
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xf32>
// CHECK: %[[Y0:.*]] = moe.experts @biased_set.part %[[X]] {{.*}} act = silu compute = f32 {slope = 1.702000e+00 : f64}
// CHECK: %[[Y1:.*]] = moe.experts @[[PART:biased_set.part_[0-9]]] %[[X]] {{.*}} {slope = 1.702000e+00 : f64}
// CHECK: %[[S:.*]] = row.apply
// CHECK: row.constant dense<[0, 0, 1, 0]>
// CHECK: %[[C:.*]] = moe.weight_ref @c : tensor<4xf32>
// CHECK: %[[P:.*]] = row.apply
// CHECK: row.constant dense<[1, 0, 0, 0]>
// CHECK: row.apply %[[Y0]], %[[Y1]], %[[X]], %[[S]], %[[C]], %[[P]]
func.func @biased(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>) -> tensor<?x4xf32> {
  %y = moe.experts @biased_set %x routed(%i, %w) act = silu compute = f32 {slope = 1.702} : tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// Nothing but experts without matrices.
// CHECK-LABEL: func.func @virtual
// CHECK-NOT: moe.experts
// CHECK: row.apply %{{.*}}, %{{.*}} : (tensor<?x4xf32>, tensor<?xf32>) -> tensor<?x4xf32>
// CHECK: row.apply %{{.*}} : (tensor<?x2xi32>) -> tensor<?x4xf32>
// CHECK-NEXT: ^bb0
// CHECK-NEXT: row.constant dense<0.000000e+00> : tensor<4xf32>
func.func @virtual(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %y = moe.experts @copies %x routed(%i, %w) act = relu compute = f32 : tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x4xf32>
  %z = moe.experts @nothing %x routed(%i, %w) act = relu compute = f32 : tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x4xf32>
  return %y, %z : tensor<?x4xf32>, tensor<?x4xf32>
}

// The weight multiplies the operand, rounded like it; then the weight is one. With
// two slots there are two sets.
// CHECK-LABEL: func.func @input
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xbf16>, %[[I:.*]]: tensor<?x1xi32>, %[[W:.*]]: tensor<?x1xf32>, %[[J:.*]]: tensor<?x2xi32>, %[[V:.*]]: tensor<?x2xf32>)
// CHECK: %[[ONE:.*]] = row.apply %[[I]] : (tensor<?x1xi32>) -> tensor<?x1xf32>
// CHECK: %[[WX:.*]] = row.apply %[[X]], %[[W]] : (tensor<?x4xbf16>, tensor<?x1xf32>) -> tensor<?x4xbf16>
// CHECK: arith.mulf
// CHECK: arith.truncf
// CHECK: moe.experts @even %[[WX]] routed(%[[I]], %[[ONE]]) act = relu2 compute = bf16 :
// CHECK: row.apply %[[V]] : (tensor<?x2xf32>) -> tensor<?x1xf32>
// CHECK: row.apply %[[J]] : (tensor<?x2xi32>) -> tensor<?x1xi32>
// CHECK: moe.experts @even {{.*}} -> tensor<?x4xf32>
// CHECK: moe.experts @even {{.*}} -> tensor<?x4xf32>
// CHECK: arith.addf
// CHECK-NEXT: arith.truncf
func.func @input(%x: tensor<?x4xbf16>, %i: tensor<?x1xi32>, %w: tensor<?x1xf32>, %j: tensor<?x2xi32>, %v: tensor<?x2xf32>) -> (tensor<?x4xbf16>, tensor<?x4xbf16>) {
  %y = moe.experts @even %x routed(%i, %w) act = relu2 compute = bf16 {apply_input} : tensor<?x4xbf16>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x4xbf16>
  %z = moe.experts @even %x routed(%j, %v) act = relu2 compute = bf16 {apply_input} : tensor<?x4xbf16>, tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x4xbf16>
  return %y, %z : tensor<?x4xbf16>, tensor<?x4xbf16>
}
