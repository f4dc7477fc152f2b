// Every operation of moe: printed, parsed and printed again, and through bytecode.
//
// RUN: moe-opt %s --split-input-file | moe-opt --split-input-file | FileCheck %s
// RUN: moe-opt %s --split-input-file --verify-roundtrip -o %t

// CHECK: moe.modality
moe.modality @text id = 0 token vocab = 256
moe.modality @image id = 1 raw tensor<28x28x1xui8> tokens = 49

// -----

// CHECK: moe.entry
func.func private @step()
moe.entry @prefill function = @step last layout = [#moe.segment<modalities = [0], min = 1, max = 512>]
// CHECK: moe.entry @study function = @step routing_out layout
moe.entry @study function = @step routing_out layout = [#moe.segment<modalities = [0], min = 1, max = 512>]
// CHECK: moe.entry @replay function = @step routing_out routing_in expert_mask router_bias k_override layout
moe.entry @replay function = @step routing_out routing_in expert_mask router_bias k_override layout = [#moe.segment<modalities = [0], min = 1, max = 512>]

// -----

// CHECK: moe.export_routing %{{.*}}, %{{.*}} {router = 0 : i64}
// CHECK: moe.export_routing %{{.*}}, %{{.*}} kinds %{{.*}} {kind = 1 : i64, router = 2 : i64}
func.func @export(%i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %k: tensor<?xi8>) {
  moe.export_routing %i, %w {router = 0 : i64} : tensor<?x2xi32>, tensor<?x2xf32>
  moe.export_routing %i, %w kinds %k {kind = 1 : i64, router = 2 : i64} : tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

// CHECK: moe.routing_operand "ids" router = 0 rows %{{.*}} : tensor<?x8xf32> -> tensor<?x2xi32>
// CHECK: moe.routing_operand "weights" router = 0 rows %{{.*}} : tensor<?x8xf32> -> tensor<?x2xf32>
// CHECK: moe.routing_operand "bias" router = 0 -> tensor<8xf32>
// CHECK: moe.routing_operand "mask" router = 0 -> tensor<8xi32>
// CHECK: moe.routing_operand "count" router = 0 -> tensor<1xi32>
// CHECK: moe.route %{{.*}} operands(%{{.*}}, %{{.*}} : tensor<8xf32>, tensor<?x2xi32>) {{.*}} run_time = ["bias", "ids"]
func.func @operands(%z: tensor<?x8xf32>) {
  %i = moe.routing_operand "ids" router = 0 rows %z : tensor<?x8xf32> -> tensor<?x2xi32>
  %w = moe.routing_operand "weights" router = 0 rows %z : tensor<?x8xf32> -> tensor<?x2xf32>
  %b = moe.routing_operand "bias" router = 0 -> tensor<8xf32>
  %m = moe.routing_operand "mask" router = 0 -> tensor<8xi32>
  %n = moe.routing_operand "count" router = 0 -> tensor<1xi32>
  %ids, %weights = moe.route %z operands(%b, %i : tensor<8xf32>, tensor<?x2xi32>) score(#moe.softmax) rank(#moe.by_score)
    select(#moe.top_k<2>) weigh(#moe.by_score_weight) renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>)
    run_time = ["bias", "ids"] : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

// CHECK: moe.weight
moe.weight @layers.0.q : tensor<256x256xbf16> from [#moe.tensor<"layers.0.q.weight">] layer = 0 role = "q"

// -----

// CHECK: moe.weight_ref
moe.weight @w : tensor<8xbf16> from [#moe.tensor<"w">]
func.func @f() -> tensor<8xbf16> {
  %w = moe.weight_ref @w : tensor<8xbf16>
  return %w : tensor<8xbf16>
}

// -----

// CHECK: moe.expert_table
moe.weight @g : tensor<32x64xbf16> from [#moe.tensor<"g">]
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.expert_table @experts body = "glu" [#moe.expert<width = 32, weights = {down = @d, gate = @g, up = @u}>]

// -----

// CHECK: moe.merge_modalities
func.func @f(%t: tensor<?xi32>, %k: tensor<?xi8>, %a: tensor<?x64xf32>, %b: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %x = moe.merge_modalities %t, %k (%a, %b) ids = [0, 1] indexed = [false, true] : tensor<?x64xf32>, tensor<?x64xf32> -> tensor<?x64xf32>
  return %x : tensor<?x64xf32>
}

// -----

// CHECK: moe.by_modality
func.func @f(%k: tensor<?xi8>, %a: tensor<?x64xf32>, %b: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %x = moe.by_modality %k ids = [0, 1] : tensor<?x64xf32> {
    moe.yield %a : tensor<?x64xf32>
  }, {
    moe.yield %b : tensor<?x64xf32>
  }
  return %x : tensor<?x64xf32>
}

// -----

// CHECK: moe.experts
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u}>]
func.func @f(%x: tensor<?x64xf32>, %i: tensor<?x1xi32>, %w: tensor<?x1xf32>) -> tensor<?x64xf32> {
  %y = moe.experts @e %x routed(%i, %w) act = relu2 compute = f32
    : tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// CHECK: moe.plan
func.func @f(%i: tensor<?x2xi32>) -> tensor<9xi32> {
  %rows, %offsets, %slots = moe.plan %i experts = 8 : tensor<?x2xi32> -> tensor<9xi32>
  return %offsets : tensor<9xi32>
}

// -----

// CHECK: moe.route_plan
func.func @f(%z: tensor<?x8xf32>) -> tensor<9xi32> {
  %ids, %w, %rows, %offsets, %slots = moe.route_plan %z experts = 8
    : (tensor<?x8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?xi32>, tensor<9xi32>, tensor<?x2xi32>) {
  ^bb0(%r: tensor<8xf32>):
    %v, %i = row.top_k %r : tensor<8xf32> -> tensor<2xf32>, tensor<2xi32>
    row.yield %i, %v : tensor<2xi32>, tensor<2xf32>
  }
  return %offsets : tensor<9xi32>
}

// -----

// CHECK: moe.dispatch
func.func @f(%x: tensor<?x64xf32>, %i: tensor<?x2xi32>) -> tensor<?x64xf32> {
  %rows, %offsets, %slots = moe.plan %i experts = 8 : tensor<?x2xi32> -> tensor<9xi32>
  %g = moe.dispatch %x[%rows] until %offsets : tensor<?x64xf32>, tensor<9xi32>
  return %g : tensor<?x64xf32>
}

// -----

// CHECK: moe.grouped_matmul
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u}>]
func.func @f(%x: tensor<?x64xf32>, %i: tensor<?x1xi32>) -> tensor<?x32xf32> {
  %rows, %offsets, %slots = moe.plan %i experts = 1 : tensor<?x1xi32> -> tensor<2xi32>
  %h = moe.grouped_matmul @e ["up"] %x gather(%rows) segments(%offsets) compute = f32
    : tensor<?x64xf32>, tensor<2xi32> -> tensor<?x32xf32> {
  ^bb0(%a: f32):
    %zero = arith.constant 0.0 : f32
    %r = arith.maximumf %a, %zero : f32
    moe.yield %r : f32
  }
  return %h : tensor<?x32xf32>
}

// -----

// CHECK: moe.combine
func.func @f(%d: tensor<?x64xf32>, %s: tensor<?x2xi32>, %w: tensor<?x2xf32>) -> tensor<?x64xf32> {
  %y = moe.combine %d[%s] scale(%w) : tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// CHECK: moe.route
func.func @f(%z: tensor<?x8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  %ids, %w = moe.route %z score(#moe.softmax) rank(#moe.by_score)
    select(#moe.top_k<2>) weigh(#moe.by_score_weight) renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>)
    : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %ids, %w : tensor<?x2xi32>, tensor<?x2xf32>
}

// -----

// CHECK: moe.product_keys
func.func @f(%z: tensor<?x8xf32>, %c: tensor<?x4xf32>) -> tensor<?x3xi32> {
  %ids, %w = moe.product_keys %z, %c k = 3 weigh = "softmax" : tensor<?x8xf32>, tensor<?x4xf32>
  return %ids : tensor<?x3xi32>
}

// -----

// CHECK: moe.select_routing
func.func @f(%k: tensor<?xi8>, %i0: tensor<?x2xi32>, %w0: tensor<?x2xf32>,
             %i1: tensor<?x2xi32>, %w1: tensor<?x2xf32>) -> tensor<?x2xi32> {
  %i, %w = moe.select_routing %k ids(%i0, %i1) weights(%w0, %w1)
    modalities = [0, 1] offsets = [0, 4] experts = 8
    : tensor<?xi8>, (tensor<?x2xi32>, tensor<?x2xi32>), (tensor<?x2xf32>, tensor<?x2xf32>)
    -> tensor<?x2xi32>, tensor<?x2xf32>
  return %i : tensor<?x2xi32>
}

// -----

// A stage that need not be written, and slots that may stay unused.
// CHECK: moe.route %{{.*}} rank(#moe.by_score) groups(#moe.groups<4, keep = 2, by = "top2_sum", outside = "-inf">) select(#moe.top_k<2>)
// CHECK: moe.route %{{.*}} select(#moe.top_p<5.000000e-01, until = "count_below">)
func.func @f(%z: tensor<?x8xf32>) -> tensor<?x8xi32> {
  %i, %w = moe.route %z score(#moe.softmax) rank(#moe.by_score) groups(#moe.groups<4, keep = 2, by = "top2_sum", outside = "-inf">) select(#moe.top_k<2>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %j, %v = moe.route %z score(#moe.softmax) rank(#moe.by_score) select(#moe.top_p<0.5, until = "count_below">) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x8xi32>, tensor<?x8xf32>
  return %j : tensor<?x8xi32>
}

// -----

// CHECK: moe.expert_table @experts body = "mlp" [{{.*}}<width = 32, {{.*}}<width = 16, {{.*}} #moe.virtual<"null">, #moe.virtual<"identity">, #moe.virtual<"constant", weight = @c>]
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.weight @v : tensor<16x64xbf16> from [#moe.tensor<"v">]
moe.weight @e : tensor<64x16xbf16> from [#moe.tensor<"e">]
moe.weight @b : tensor<16xf32> from [#moe.tensor<"b">]
moe.weight @c : tensor<64xf32> from [#moe.tensor<"c">]
moe.expert_table @experts body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u}>, #moe.expert<width = 16, weights = {down = @e, up = @v, up_bias = @b}>, #moe.virtual<"null">, #moe.virtual<"identity">, #moe.virtual<"constant", weight = @c>]

// -----

// CHECK: moe.experts @gated {{.*}} act = silu compute = f32 {apply_input, clamp_before = 7.000000e+00 : f64, slope = 1.702000e+00 : f64, up_offset = 1.000000e+00 : f64}
// CHECK: moe.grouped_matmul @gated ["gate", "up"] biases ["gate_bias", "up_bias"] %{{.*}} segments(%{{.*}})
moe.weight @g : tensor<32x64xbf16> from [#moe.tensor<"g">]
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.weight @b : tensor<32xbf16> from [#moe.tensor<"b">]
moe.weight @c : tensor<64xbf16> from [#moe.tensor<"c">]
moe.expert_table @gated body = "glu" [#moe.expert<width = 32, weights = {down = @d, down_bias = @c, gate = @g, gate_bias = @b, up = @u, up_bias = @b}>]
func.func @f(%x: tensor<?x64xf32>, %i: tensor<?x1xi32>, %w: tensor<?x1xf32>, %o: tensor<2xi32>) -> tensor<?x32xf32> {
  %y = moe.experts @gated %x routed(%i, %w) act = silu compute = f32 {apply_input, clamp_before = 7.0, slope = 1.702, up_offset = 1.0} : tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x64xf32>
  %h = moe.grouped_matmul @gated ["gate", "up"] biases ["gate_bias", "up_bias"] %y segments(%o) compute = f32 : tensor<?x64xf32>, tensor<2xi32> -> tensor<?x32xf32> {
  ^bb0(%a: f32, %c: f32):
    %p = arith.mulf %a, %c : f32
    moe.yield %p : f32
  }
  return %h : tensor<?x32xf32>
}

// -----

// CHECK: moe.route %{{.*}} operands(%{{.*}}, %{{.*}} : tensor<6xf32>, tensor<1xf32>) score(#moe.sqrt_softplus) rank(#moe.by_value) select(#moe.threshold<5.000000e-01, at_least = 1>) weigh(#moe.by_score_weight) renorm(#moe.at_least_renorm<{{.*}}>) scale(#moe.factors) skip(#moe.ratio_skip<4.000000e-01, renorm = "sum">) always = [6, 8]
func.func @g(%z: tensor<?x8xf32>, %b: tensor<6xf32>, %s: tensor<1xf32>) -> tensor<?x8xi32> {
  %i, %w = moe.route %z operands(%b, %s : tensor<6xf32>, tensor<1xf32>) score(#moe.sqrt_softplus) rank(#moe.by_value) select(#moe.threshold<0.5, at_least = 1>) weigh(#moe.by_score_weight) renorm(#moe.at_least_renorm<1.0e-12>) scale(#moe.factors) skip(#moe.ratio_skip<0.4, renorm = "sum">) always = [6, 8] : tensor<?x8xf32> -> tensor<?x8xi32>, tensor<?x8xf32>
  %j, %v = moe.route %z score(#moe.identity) rank(#moe.by_score) select(#moe.sparse_mixer<2, eps = 0.01>) weigh(#moe.sparse_mixer_weight) renorm(#moe.norm_renorm<2.0>) scale(#moe.factor<1.0>) skip(#moe.below_skip<0.1, renorm = "none">) : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %k, %u = moe.route %z score(#moe.identity) rank(#moe.by_score) select(#moe.fixed<3>) weigh(#moe.one) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  return %i : tensor<?x8xi32>
}

// -----

// CHECK: moe.limit_slots %{{.*}}, %{{.*}} of %{{.*}} experts = 8 millionths = 1250000 multiple = 4 : tensor<?x2xi32>, tensor<?x2xf32>
// CHECK: moe.share %{{.*}}, %{{.*}} expert = 3 : tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x1xf32>
func.func @h(%i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %c: tensor<?xi32>) -> tensor<?x1xf32> {
  %j, %v = moe.limit_slots %i, %w of %c experts = 8 millionths = 1250000 multiple = 4 : tensor<?x2xi32>, tensor<?x2xf32>
  %y = moe.share %j, %v expert = 3 : tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

// CHECK: moe.table_rows %{{.*}} of %{{.*}} : tensor<16x2xi32> -> tensor<?x2xi32>
// CHECK: moe.route %{{.*}} operands(%{{.*}} : tensor<?x2xi32>) score(#moe.softmax) rank(#moe.by_score) select(#moe.hash<2>)
func.func @k(%z: tensor<?x8xf32>, %t: tensor<?xi32>, %h: tensor<16x2xi32>) -> tensor<?x2xi32> {
  %r = moe.table_rows %t of %h : tensor<16x2xi32> -> tensor<?x2xi32>
  %i, %w = moe.route %z operands(%r : tensor<?x2xi32>) score(#moe.softmax) rank(#moe.by_score) select(#moe.hash<2>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %i : tensor<?x2xi32>
}
