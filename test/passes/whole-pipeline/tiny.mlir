// A model with one layer and two modality groups, through all passes from graph
// to schedule: what the fused structure looks like at the end.
//
// RUN: moe-opt %s --pass-pipeline='builtin.module(canonicalize,specialize-modalities,cse,check-routers,assign-formats,assign-layouts,decompose-routing,share-dispatch-plans,fuse-routing,decompose-experts,blend-modalities,lower-nn,fuse-expert-epilogue,canonicalize,cse,convert-to-moex,partition-tasks,place-barriers,plan-arena)' | FileCheck %s

// One table of both groups; the tables of the groups are gone.
// CHECK-DAG:   #[[R:.*]] = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10) -> (d2)>
// CHECK-NOT:   moe.expert_table @e0 {{.*}}
// CHECK:       moe.expert_table @e0.joined

// CHECK-LABEL: func.func @step_prefill()
// CHECK-SAME:    moex.scratch
// CHECK:       moex.parallel
// CHECK-NOT:   moex.alloc
// CHECK:       moex.state_append @sk
// CHECK:       moex.state_append @sv
// CHECK:       moex.barrier
// CHECK-NEXT:  moex.attention {{.*}} state(@sk, @sv)
//
// Score, selection, weights, both arms, histogram and plan in one kernel.
// CHECK:       moex.route_sort
// CHECK-SAME:    experts = 4
// CHECK:         row.top_k
// CHECK:         row.top_k
// CHECK:         row.select
//
// Gather in the load, activation and product in the epilogue.
// CHECK:       moex.grouped_gemm
// CHECK-SAME:    gather(
// CHECK-SAME:    segments(
// CHECK-SAME:    epilogue
// CHECK:         math.exp
// CHECK:       moex.grouped_gemm
// CHECK-NOT:     gather
// CHECK:       moex.combine_rows
//
// Only the wanted rows go through the head.
// CHECK:       moex.grouped_gemm {{.*}} weights(%{{.*}} : memref<256x64xbf16>) outs(%{{.*}} : memref<?x256xf32>) rows #[[R]] compute

moe.modality @text id = 0 token vocab = 256
moe.modality @image id = 1 raw tensor<28x28x1xui8> tokens = 49
moe.weight @emb : tensor<256x64xbf16> from [#moe.tensor<"emb">]
moe.weight @patch : tensor<64x16xbf16> from [#moe.tensor<"patch">]
moe.weight @pb : tensor<64xbf16> from [#moe.tensor<"pb">]
moe.weight @pos : tensor<49x64xbf16> from [#moe.tensor<"pos">]
moe.weight @n : tensor<64xbf16> from [#moe.tensor<"n">]
moe.weight @q : tensor<64x64xbf16> from [#moe.tensor<"q">]
moe.weight @k : tensor<32x64xbf16> from [#moe.tensor<"k">]
moe.weight @r0 : tensor<2x64xbf16> from [#moe.tensor<"r0">]
moe.weight @r1 : tensor<2x64xbf16> from [#moe.tensor<"r1">]
moe.weight @g : tensor<32x64xbf16> from [#moe.tensor<"g">]
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.expert_table @e0 body = "glu" [#moe.expert<width = 32, weights = {down = @d, gate = @g, up = @u}>, #moe.expert<width = 32, weights = {down = @d, gate = @g, up = @u}>]
moe.expert_table @e1 body = "glu" [#moe.expert<width = 32, weights = {down = @d, gate = @g, up = @u}>, #moe.expert<width = 32, weights = {down = @d, gate = @g, up = @u}>]
nn.state @sk per_token : tensor<32xf32> cache_tokens = 64
nn.state @sv per_token : tensor<32xf32> cache_tokens = 64
moe.entry @prefill function = @step_prefill last layout = [#moe.segment<modalities = [1], min = 0, max = 1>, #moe.segment<modalities = [0], min = 1, max = 10>]

func.func @step_prefill(%tokens: tensor<?xi32> {moe.input = "tokens"}, %kinds: tensor<?xi8> {moe.input = "kinds"}, %pos: tensor<?xi32> {moe.input = "positions"}, %cu: tensor<?xi32> {moe.input = "cu_seqlens"}, %lr: tensor<?xi32> {moe.input = "logits_rows"}, %raw: tensor<?x784xi8> {moe.input = "raw", moe.modality = 1 : i64}) -> (tensor<?x256xf32> {moe.output = "logits"}) attributes {moe.function = {cache_tokens = 64 : i64, max_sequence = 64 : i64, modalities = array<i64: 0, 1>}} {
  %emb = moe.weight_ref @emb : tensor<256x64xbf16>
  %t = nn.embed %tokens, %emb where %kinds is 0 : tensor<256x64xbf16> -> tensor<?x64xf32>
  %px = nn.map %raw : (tensor<?x784xi8>) -> tensor<?x784xf32> {
  ^bb0(%a: i8):
    %f = arith.uitofp %a : i8 to f32
    %c = arith.constant 255.0 : f32
    %r = arith.divf %f, %c : f32
    nn.yield %r : f32
  }
  %pt = nn.patches %px height = 28 width = 28 channels = 1 size = 4 order = hwc : tensor<?x784xf32> -> tensor<?x16xf32>
  %patch = moe.weight_ref @patch : tensor<64x16xbf16>
  %pb = moe.weight_ref @pb : tensor<64xbf16>
  %pl = nn.linear %pt, %patch bias %pb : tensor<64xbf16> compute = f32 : tensor<?x16xf32>, tensor<64x16xbf16> -> tensor<?x64xf32>
  %posw = moe.weight_ref @pos : tensor<49x64xbf16>
  %im = nn.add_positions %pl, %posw : tensor<?x64xf32>, tensor<49x64xbf16>
  %x = moe.merge_modalities %tokens, %kinds (%t, %im) ids = [0, 1] indexed = [false, true] : tensor<?x64xf32>, tensor<?x64xf32> -> tensor<?x64xf32>
  %nw = moe.weight_ref @n : tensor<64xbf16>
  %n = nn.norm rms %x, %nw eps = 1.0e-6 : tensor<?x64xf32>, tensor<64xbf16> -> tensor<?x64xf32>
  %qw = moe.weight_ref @q : tensor<64x64xbf16>
  %kw = moe.weight_ref @k : tensor<32x64xbf16>
  %rt = nn.rotary_table %pos frequencies = dense<[1.0, 0.316, 0.1, 0.0316, 0.01, 0.00316, 0.001, 0.000316]> : tensor<8xf32> magnitude = 1.0 : tensor<?x16xf32>
  %q = nn.linear %n, %qw compute = f32 : tensor<?x64xf32>, tensor<64x64xbf16> -> tensor<?x64xf32>
  %k = nn.linear %n, %kw compute = f32 : tensor<?x64xf32>, tensor<32x64xbf16> -> tensor<?x32xf32>
  %v = nn.linear %n, %kw compute = f32 : tensor<?x64xf32>, tensor<32x64xbf16> -> tensor<?x32xf32>
  %qr = nn.rope half %q, %rt : tensor<?x64xf32>, tensor<?x16xf32>
  %kr = nn.rope half %k, %rt : tensor<?x32xf32>, tensor<?x16xf32>
  nn.state_append @sk, %kr at %pos of %cu : tensor<?x32xf32>
  nn.state_append @sv, %v at %pos of %cu : tensor<?x32xf32>
  %a = nn.attention %qr state(@sk, @sv) at %pos of %cu heads = 4 kv_heads = 2 scale = 2.5e-1 compute = f32 : tensor<?x64xf32> -> tensor<?x64xf32>
  %f = nn.map %x, %a : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32> {
  ^bb0(%i: f32, %j: f32):
    %s = arith.addf %i, %j : f32
    nn.yield %s : f32
  }
  %y = moe.by_modality %kinds ids = [0, 1] : tensor<?x64xf32> {
    %w = moe.weight_ref @r0 : tensor<2x64xbf16>
    %z = nn.linear %f, %w compute = f32 : tensor<?x64xf32>, tensor<2x64xbf16> -> tensor<?x2xf32>
    %ids, %ws = moe.route %z score(#moe.softmax) rank(#moe.by_score) select(#moe.top_k<2>) weigh(#moe.by_score_weight) renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>) : tensor<?x2xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
    %e = moe.experts @e0 %f routed(%ids, %ws) act = silu compute = f32 : tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x64xf32>
    moe.yield %e : tensor<?x64xf32>
  }, {
    %w = moe.weight_ref @r1 : tensor<2x64xbf16>
    %z = nn.linear %f, %w compute = f32 : tensor<?x64xf32>, tensor<2x64xbf16> -> tensor<?x2xf32>
    %ids, %ws = moe.route %z score(#moe.softmax) rank(#moe.by_score) select(#moe.top_k<2>) weigh(#moe.by_score_weight) renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>) : tensor<?x2xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
    %e = moe.experts @e1 %f routed(%ids, %ws) act = silu compute = f32 : tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x64xf32>
    moe.yield %e : tensor<?x64xf32>
  }
  %gw = moe.weight_ref @g : tensor<32x64xbf16>
  %uw = moe.weight_ref @u : tensor<32x64xbf16>
  %dw = moe.weight_ref @d : tensor<64x32xbf16>
  %sh = nn.glu %f gate %gw up %uw down %dw act = silu compute = f32 : tensor<?x64xf32>, tensor<32x64xbf16>, tensor<32x64xbf16>, tensor<64x32xbf16> -> tensor<?x64xf32>
  %o = nn.map %f, %y, %sh : (tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32> {
  ^bb0(%i: f32, %j: f32, %l: f32):
    %s = arith.addf %i, %j : f32
    %s2 = arith.addf %s, %l : f32
    nn.yield %s2 : f32
  }
  %n2 = nn.norm rms %o, %nw eps = 1.0e-6 : tensor<?x64xf32>, tensor<64xbf16> -> tensor<?x64xf32>
  %lg = nn.linear %n2, %emb compute = f32 : tensor<?x64xf32>, tensor<256x64xbf16> -> tensor<?x256xf32>
  %res = nn.take_rows %lg[%lr] : tensor<?x256xf32>
  return %res : tensor<?x256xf32>
}
