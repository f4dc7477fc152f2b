// RUN: split-file %s %t
// RUN: moe-opt --record-model %t/good.mlir | FileCheck %t/good.mlir
// RUN: moe-opt --record-model %t/export.mlir | FileCheck %t/export.mlir
// RUN: moe-opt --record-model %t/operands.mlir | FileCheck %t/operands.mlir
// RUN: not moe-opt --record-model %t/no-function.mlir 2>&1 | FileCheck %t/no-function.mlir
// RUN: not moe-opt --record-model %t/no-output.mlir 2>&1 | FileCheck %t/no-output.mlir

//--- good.mlir
// Two step functions that share a router, and one without: one record of it,
// called after the weight of its logits. The join of routings is no router.
// CHECK: moe.functions = [
// CHECK-SAME: {cache_tokens = 0 : i64, max_sequence = 8 : i64, modalities = array<i64: 0, 1>, name = "step_a", outputs = {{\[\[}}"logits", 8]]}
// CHECK-SAME: {cache_tokens = 0 : i64, max_sequence = 8 : i64, modalities = array<i64: 0>, name = "step_b", outputs = {{\[\[}}"logits", 64], ["logits1", 8]]}
// CHECK: moe.routers = [
// CHECK-SAME: {experts = 8 : i64, guarantees = ["distinct", "normalized", "token_local", "drop_free"], layer = 3 : i64, name = "layers.3.router", slots = 2 : i64, weighs_any}]
moe.weight @"layers.3.router.weight" : tensor<8x64xbf16> from [#moe.tensor<"layers.3.router.weight">] layer = 3
func.func @step_a(%x: tensor<?x64xf32>, %k: tensor<?xi8>) -> (tensor<?x8xf32> {moe.output = "logits"})
    attributes {moe.function = {cache_tokens = 0 : i64, max_sequence = 8 : i64, modalities = array<i64: 0, 1>}} {
  %w = moe.weight_ref @"layers.3.router.weight" : tensor<8x64xbf16>
  %z = nn.linear %x, %w compute = f32 : tensor<?x64xf32>, tensor<8x64xbf16> -> tensor<?x8xf32>
  %ids, %weights = moe.route %z score(#moe.softmax) rank(#moe.by_score)
    select(#moe.top_k<2>) weigh(#moe.by_score_weight)
    renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>)
    : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %i, %v = moe.select_routing %k ids(%ids) weights(%weights)
    modalities = [0] offsets = [0] experts = 8
    : tensor<?xi8>, (tensor<?x2xi32>), (tensor<?x2xf32>)
    -> tensor<?x2xi32>, tensor<?x2xf32>
  return %z : tensor<?x8xf32>
}
func.func @step_b(%x: tensor<?x64xf32>) -> (tensor<?x64xf32> {moe.output = "logits"}, tensor<?x8xf32> {moe.output = "logits1"})
    attributes {moe.function = {cache_tokens = 0 : i64, max_sequence = 8 : i64, modalities = array<i64: 0>}} {
  %w = moe.weight_ref @"layers.3.router.weight" : tensor<8x64xbf16>
  %z = nn.linear %x, %w compute = f32 : tensor<?x64xf32>, tensor<8x64xbf16> -> tensor<?x8xf32>
  %ids, %weights = moe.route %z score(#moe.softmax) rank(#moe.by_score)
    select(#moe.top_k<2>) weigh(#moe.by_score_weight)
    renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>)
    : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %x, %z : tensor<?x64xf32>, tensor<?x8xf32>
}

//--- export.mlir
// One weight routes twice: two records, so that each has a place of its own for
// what it chooses. The second router decides for one modality. The function that
// does not export shares the records and has no export.
// CHECK: moe.routers = [
// CHECK-SAME: name = "router", slots = 2 : i64, weighs_any}, {{{.*}}name = "router", slots = 2 : i64, weighs_any}]
// CHECK-LABEL: func.func @step_a
// CHECK: %[[I0:.*]], %[[W0:.*]] = moe.route
// CHECK-NEXT: moe.export_routing %[[I0]], %[[W0]] {router = 0 : i64}
// CHECK: %[[I1:.*]], %[[W1:.*]] = moe.route
// CHECK-NEXT: moe.export_routing %[[I1]], %[[W1]] kinds %{{.*}} {kind = 2 : i64, router = 1 : i64}
// CHECK-LABEL: func.func @step_b
// CHECK-NOT: moe.export_routing
moe.weight @router.weight : tensor<8x64xbf16> from [#moe.tensor<"router.weight">]
func.func @step_a(%x: tensor<?x64xf32>, %k: tensor<?xi8>) -> (tensor<?x8xf32> {moe.output = "logits"})
    attributes {moe.function = {cache_tokens = 0 : i64, max_sequence = 8 : i64, modalities = array<i64: 0, 2>, routing_out}} {
  %w = moe.weight_ref @router.weight : tensor<8x64xbf16>
  %z = nn.linear %x, %w compute = f32 : tensor<?x64xf32>, tensor<8x64xbf16> -> tensor<?x8xf32>
  %i0, %w0 = moe.route %z score(#moe.softmax) rank(#moe.by_score)
    select(#moe.top_k<2>) weigh(#moe.by_score_weight)
    renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>)
    : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %i1, %w1 = moe.route %z score(#moe.softmax) rank(#moe.by_score)
    select(#moe.top_k<2>) weigh(#moe.by_score_weight)
    renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>)
    : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %i, %v = moe.select_routing %k ids(%i1) weights(%w1)
    modalities = [2] offsets = [0] experts = 8
    : tensor<?xi8>, (tensor<?x2xi32>), (tensor<?x2xf32>)
    -> tensor<?x2xi32>, tensor<?x2xf32>
  return %z : tensor<?x8xf32>
}
func.func @step_b(%x: tensor<?x64xf32>) -> (tensor<?x8xf32> {moe.output = "logits"})
    attributes {moe.function = {cache_tokens = 0 : i64, max_sequence = 8 : i64, modalities = array<i64: 0>}} {
  %w = moe.weight_ref @router.weight : tensor<8x64xbf16>
  %z = nn.linear %x, %w compute = f32 : tensor<?x64xf32>, tensor<8x64xbf16> -> tensor<?x8xf32>
  %i0, %w0 = moe.route %z score(#moe.softmax) rank(#moe.by_score)
    select(#moe.top_k<2>) weigh(#moe.by_score_weight)
    renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>)
    : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %z : tensor<?x8xf32>
}

//--- operands.mlir
// What is given for all tokens comes at the beginning, what is given for each at the
// router, which weighs the experts that are forced on it. They also take the place of
// what a capacity leaves, and that is exported. A router that weighs its own choice
// only does not see them.
// CHECK-LABEL: func.func @step
// CHECK-DAG: %[[BIAS:.*]] = moe.routing_operand "bias" router = 0 -> tensor<8xf32>
// CHECK-DAG: %[[MASK:.*]] = moe.routing_operand "mask" router = 0 -> tensor<8xi32>
// CHECK-DAG: %[[MOST:.*]] = moe.routing_operand "count" router = 0 -> tensor<1xi32>
// CHECK: moe.weight_ref
// CHECK: %[[GI:.*]] = moe.routing_operand "ids" router = 0 rows %[[Z:.*]] : tensor<?x8xf32> -> tensor<?x2xi32>
// CHECK: %[[GW:.*]] = moe.routing_operand "weights" router = 0 rows %[[Z]] : tensor<?x8xf32> -> tensor<?x2xf32>
// CHECK: %[[I:.*]], %[[W:.*]] = moe.route %[[Z]] operands(%[[BIAS]], %[[MASK]], %[[MOST]], %[[GI]] : {{.*}} run_time = ["bias", "mask", "count", "ids"]
// CHECK: %[[J:.*]], %[[V:.*]] = moe.limit_slots %[[I]], %[[W]]
// CHECK: %[[F:.*]]:2 = row.apply %[[J]], %[[V]], %[[W]], %[[GI]], %[[GW]]
// CHECK: moe.export_routing %[[F]]#0, %[[F]]#1 {router = 0 : i64}
// CHECK: moe.plan %[[F]]#0
// CHECK: moe.route %{{.*}} select(#moe.sparse_mixer<1, eps = 1.000000e-01>) {{.*}} run_time = ["bias", "mask", "count"]
moe.weight @router.weight : tensor<8x64xbf16> from [#moe.tensor<"router.weight">]
func.func @step(%x: tensor<?x64xf32>, %s: tensor<?xi32>) -> (tensor<?x8xf32> {moe.output = "logits"})
    attributes {moe.function = {cache_tokens = 0 : i64, max_sequence = 8 : i64, modalities = array<i64: 0>,
                                expert_mask, k_override, router_bias, routing_in, routing_out}} {
  %w = moe.weight_ref @router.weight : tensor<8x64xbf16>
  %z = nn.linear %x, %w compute = f32 : tensor<?x64xf32>, tensor<8x64xbf16> -> tensor<?x8xf32>
  %i0, %w0 = moe.route %z score(#moe.softmax) rank(#moe.by_score)
    select(#moe.top_k<2>) weigh(#moe.by_score_weight)
    renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>)
    : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %j, %v = moe.limit_slots %i0, %w0 of %s experts = 8 millionths = 1250000 multiple = 4 : tensor<?x2xi32>, tensor<?x2xf32>
  %rows, %offsets, %slot_rows = moe.plan %j experts = 8 : tensor<?x2xi32> -> tensor<9xi32>
  %i1, %w1 = moe.route %z score(#moe.identity) rank(#moe.by_score)
    select(#moe.sparse_mixer<1, eps = 0.1>) weigh(#moe.sparse_mixer_weight)
    renorm(#moe.no_renorm) scale(#moe.factor<1.0>)
    : tensor<?x8xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  return %z : tensor<?x8xf32>
}

//--- no-function.mlir
// CHECK: error: expected a step function with 'moe.function'
func.func @step(%x: tensor<?x64xf32>) -> (tensor<?x64xf32> {moe.output = "logits"}) {
  return %x : tensor<?x64xf32>
}

//--- no-output.mlir
// CHECK: error: expected result 0 to be a tensor<?xWxf32> with 'moe.output'
func.func @step(%x: tensor<?x64xf32>) -> tensor<?x64xf32>
    attributes {moe.function = {cache_tokens = 0 : i64, max_sequence = 8 : i64, modalities = array<i64: 0>}} {
  return %x : tensor<?x64xf32>
}
