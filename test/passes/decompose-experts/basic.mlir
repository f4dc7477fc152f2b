// RUN: moe-opt %s --share-dispatch-plans --decompose-experts | FileCheck %s
// RUN: not moe-opt %s --decompose-experts 2>&1 | FileCheck %s --check-prefix=NOPLAN
// RUN: sed 's/silu compute = bf16 :/silu compute = bf16 {apply_input} :/' %s > %t.mlir
// RUN: not moe-opt %t.mlir --share-dispatch-plans --decompose-experts 2>&1 | FileCheck %s --check-prefix=NOTSPLIT

// NOTSPLIT: error: 'moe.experts' op expected experts with matrices whose results are weighed, in all slots: run split-experts before decompose-experts

// NOPLAN: error: 'moe.experts' op expected a moe.plan of its ids: run share-dispatch-plans before decompose-experts

moe.weight @g : tensor<32x64xbf16> from [#moe.tensor<"g">]
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.expert_table @e body = "glu" [#moe.expert<width = 32, weights = {down = @d, gate = @g, up = @u}>]

// CHECK-LABEL: func.func @glu(
// CHECK-SAME:    %[[X:.*]]: tensor<?x64xbf16>, %[[I:.*]]: tensor<?x1xi32>, %[[W:.*]]: tensor<?x1xf32>
// CHECK:       %[[ROWS:.*]], %[[OFFSETS:.*]], %[[SLOTS:.*]] = moe.plan %[[I]] experts = 1
// CHECK:       %[[D:.*]] = moe.dispatch %[[X]][%[[ROWS]]] until %[[OFFSETS]]
// CHECK:       %[[GATE:.*]] = moe.grouped_matmul @e ["gate"] %[[D]] segments(%[[OFFSETS]]) compute = bf16 : tensor<?x64xbf16>, tensor<2xi32> -> tensor<?x32xf32>
// CHECK:       %[[UP:.*]] = moe.grouped_matmul @e ["up"] %[[D]]
// CHECK:       %[[H:.*]] = row.apply %[[GATE]], %[[UP]] : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xbf16>
// CHECK:         math.exp
// CHECK:         arith.mulf
// CHECK:         arith.truncf
// CHECK:       %[[DOWN:.*]] = moe.grouped_matmul @e ["down"] %[[H]] segments(%[[OFFSETS]]) compute = bf16 : tensor<?x32xbf16>, tensor<2xi32> -> tensor<?x64xf32>
// CHECK:       moe.combine %[[DOWN]][%[[SLOTS]]] scale(%[[W]])
func.func @glu(%x: tensor<?x64xbf16>, %i: tensor<?x1xi32>, %w: tensor<?x1xf32>) -> tensor<?x64xbf16> {
  %y = moe.experts @e %x routed(%i, %w) act = silu compute = bf16 : tensor<?x64xbf16>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x64xbf16>
  return %y : tensor<?x64xbf16>
}

// Biases go with their maps.
moe.weight @b : tensor<32xbf16> from [#moe.tensor<"b">]
moe.expert_table @biased body = "glu" [#moe.expert<width = 32, weights = {down = @d, gate = @g, gate_bias = @b, up = @u}>]

// CHECK-LABEL: func.func @biases(
// CHECK:       %[[GATE:.*]] = moe.grouped_matmul @biased ["gate"] biases ["gate_bias"]
// CHECK:       %[[UP:.*]] = moe.grouped_matmul @biased ["up"] %
// CHECK:       row.apply %[[GATE]], %[[UP]]
// CHECK:         arith.minimumf
// CHECK:         math.exp
// CHECK:         arith.maximumf
// CHECK:         arith.addf
func.func @biases(%x: tensor<?x64xbf16>, %i: tensor<?x1xi32>, %w: tensor<?x1xf32>) -> tensor<?x64xbf16> {
  %y = moe.experts @biased %x routed(%i, %w) act = silu compute = bf16 {slope = 1.702, clamp_before = 7.0, up_offset = 1.0} : tensor<?x64xbf16>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x64xbf16>
  return %y : tensor<?x64xbf16>
}
