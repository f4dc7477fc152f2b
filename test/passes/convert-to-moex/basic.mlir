// RUN: moe-opt %s --convert-to-moex --split-input-file | FileCheck %s

// Every value one buffer, the result straight into the output, the extents of
// rows as maps.

moe.weight @w : tensor<32x64xbf16> from [#moe.tensor<"w">]

// CHECK-DAG: #[[T:.*]] = affine_map<(d0, d1, {{.*}}) -> (d0)>
// CHECK-DAG: #[[R:.*]] = affine_map<(d0, d1, {{.*}}) -> (d2)>
// CHECK-DAG: #[[PAIRS:.*]] = affine_map<(d0, d1, {{.*}}) -> (d0 * 2)>
// CHECK-DAG: #[[NINE:.*]] = affine_map<(d0, d1, {{.*}}) -> (9)>
// CHECK-LABEL: func.func @step() attributes {moe.function = {}}
// CHECK:         %[[X:.*]] = moex.alloc #[[T]] : memref<?x64xf32>
// CHECK:         moex.lookup ins(%{{.*}} : memref<32x64xbf16>) indices(%{{.*}}) outs(%[[X]] : memref<?x64xf32>) rows #[[T]]
// CHECK:         moex.rowwise ins(%[[X]] : memref<?x64xf32>) outs(%{{.*}}) rows #[[T]] period = [0]
// CHECK:         %[[O:.*]] = moex.output 0 : memref<?x64xf32>
// CHECK:         moex.lookup {{.*}} outs(%[[O]] : memref<?x64xf32>) rows #[[R]]
// CHECK-NEXT:    return
func.func @step(%tokens: tensor<?xi32> {moe.input = "tokens"}, %rows: tensor<?xi32> {moe.input = "logits_rows"}) -> (tensor<?x64xf32> {moe.output = "logits"}) attributes {moe.function = {}} {
  %w = moe.weight_ref @w : tensor<32x64xbf16>
  %x = nn.embed %tokens, %w : tensor<32x64xbf16> -> tensor<?x64xf32>
  %y = row.apply %x : (tensor<?x64xf32>) -> tensor<?x64xf32> {
  ^bb0(%r: tensor<64xf32>):
    row.yield %r : tensor<64xf32>
  }
  %z = nn.take_rows %y[%rows] : tensor<?x64xf32>
  return %z : tensor<?x64xf32>
}

// Buffers of a plan: T * K pairs, E + 1 offsets.
// CHECK-LABEL: func.func @plan()
// CHECK:         %[[ROWS:.*]] = moex.alloc #[[PAIRS]] : memref<?xi32>
// CHECK:         %[[OFF:.*]] = moex.alloc #[[NINE]] : memref<9xi32>
// CHECK:         moex.plan ins(%{{.*}} : memref<?x2xi32>) outs(%[[ROWS]], %[[OFF]], %{{.*}}) experts = 8
func.func @plan(%tokens: tensor<?xi32> {moe.input = "tokens"}) attributes {moe.function = {}} {
  %ids = row.apply %tokens : (tensor<?xi32>) -> tensor<?x2xi32> {
  ^bb0(%t: i32):
    %i = row.iota : tensor<2xi32>
    row.yield %i : tensor<2xi32>
  }
  %rows, %offsets, %slots = moe.plan %ids experts = 8 : tensor<?x2xi32> -> tensor<9xi32>
  return
}

// -----

// The patches of an image are lines of one row of the buffer.
// CHECK-LABEL: func.func @patches()
// CHECK:         %[[IMAGE:.*]] = moex.input raw of 2 : memref<?x16xf32>
// CHECK:         %[[WIDE:.*]] = moex.alloc #{{.*}} : memref<?x4x4xf32>
// CHECK:         moex.rowwise ins(%[[IMAGE]] : memref<?x16xf32>) outs(%[[WIDE]]
// CHECK:           row.constant dense<{{\[}}[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]>
// CHECK:         %[[VIEW:.*]] = moex.view %[[WIDE]] : memref<?x4x4xf32> to memref<?x4xf32>
func.func @patches(%i: tensor<?x16xf32> {moe.input = "raw", moe.modality = 2 : i64}) attributes {moe.function = {}} {
  %p = nn.patches %i height = 4 width = 4 channels = 1 size = 2 order = hwc : tensor<?x16xf32> -> tensor<?x4xf32>
  return
}

// -----

// CHECK-LABEL: func.func @operands()
// CHECK:         %[[KINDS:.*]] = moex.input kinds
// CHECK:         %[[IDS:.*]] = moex.alloc #{{.*}} : memref<?x2xi32>
// CHECK:         moex.routing_operand "ids" router = 3 outs(%[[IDS]] : memref<?x2xi32>)
// CHECK:         %[[MASK:.*]] = moex.alloc #{{.*}} : memref<8xi32>
// CHECK:         moex.routing_operand "mask" router = 3 outs(%[[MASK]] : memref<8xi32>)
func.func @operands(%kinds: tensor<?xi8> {moe.input = "kinds"}) attributes {moe.function = {}} {
  %ids = moe.routing_operand "ids" router = 3 rows %kinds : tensor<?xi8> -> tensor<?x2xi32>
  %mask = moe.routing_operand "mask" router = 3 -> tensor<8xi32>
  return
}

// -----

// CHECK-LABEL: func.func @export()
// CHECK:         %[[KINDS:.*]] = moex.input kinds
// CHECK:         moex.export_routing ins(%{{.*}}, %{{.*}} : memref<?x2xi32>, memref<?x2xf32>) kinds(%[[KINDS]] : memref<?xi8>) router = 3 {kind = 1 : i64}
func.func @export(%kinds: tensor<?xi8> {moe.input = "kinds"}) attributes {moe.function = {}} {
  %ids, %w = row.apply %kinds : (tensor<?xi8>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  ^bb0(%k: i8):
    %i = row.iota : tensor<2xi32>
    %f = row.constant dense<0.5> : tensor<2xf32>
    row.yield %i, %f : tensor<2xi32>, tensor<2xf32>
  }
  moe.export_routing %ids, %w kinds %kinds {kind = 1 : i64, router = 3 : i64} : tensor<?x2xi32>, tensor<?x2xf32>
  return
}
