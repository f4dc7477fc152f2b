// Every operation of moex: printed, parsed and printed again, and through bytecode.
//
// RUN: moe-opt %s --split-input-file | moe-opt --split-input-file | FileCheck %s
// RUN: moe-opt %s --split-input-file --verify-roundtrip -o %t

// CHECK: moex.input
func.func @f() {
  %t = moex.input tokens : memref<?xi32>
  return
}

// -----

// CHECK: moex.output
func.func @f() {
  %o = moex.output 0 : memref<?x256xf32>
  return
}

// -----

// CHECK: moex.weight
moe.weight @w : tensor<8xbf16> from [#moe.tensor<"w">]
func.func @f() {
  %w = moex.weight @w : memref<8xbf16>
  return
}

// -----

// CHECK: moex.expert_weights
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u}>]
func.func @f() {
  %w = moex.expert_weights @e role "up" : memref<1x32x64xbf16>
  return
}

// -----

// CHECK: moex.alloc
func.func @f() {
  %b = moex.alloc affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T * 2)> : memref<?x64xf32>
  return
}

// -----

// CHECK: moex.arena_slice
func.func @f() {
  %b = moex.arena_slice affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T * 512)>
    rows affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)> : memref<?x64xf32>
  return
}

// -----

// CHECK: moex.view
func.func @f() {
  %b = moex.alloc affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (M1)> : memref<?x49x16xf32>
  %v = moex.view %b : memref<?x49x16xf32> to memref<?x16xf32>
  return
}

// -----

// CHECK: moex.parallel
func.func @f() {
  moex.parallel {
    moex.barrier
  }
  return
}

// -----

// CHECK: moex.rowwise
func.func @f(%a: memref<?x64xf32>, %b: memref<?x64xf32>) {
  moex.rowwise ins(%a : memref<?x64xf32>) outs(%b : memref<?x64xf32>)
    rows affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)> period = [0] body {
  ^bb0(%r: tensor<64xf32>):
    row.yield %r : tensor<64xf32>
  }
  return
}

// -----

// CHECK: moex.grouped_gemm
func.func @f(%x: memref<?x64xf32>, %w: memref<32x64xbf16>, %y: memref<?x32xf32>) {
  moex.grouped_gemm ins(%x : memref<?x64xf32>) weights(%w : memref<32x64xbf16>)
    outs(%y : memref<?x32xf32>)
    rows affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)> compute = f32
  return
}

// -----

// CHECK: moex.route_sort
func.func @f(%z: memref<?x8xf32>, %ids: memref<?x2xi32>, %w: memref<?x2xf32>,
             %rows: memref<?xi32>, %offsets: memref<9xi32>, %slots: memref<?x2xi32>) {
  moex.route_sort ins(%z : memref<?x8xf32>) ids(%ids : memref<?x2xi32>)
    weights(%w : memref<?x2xf32>) plan(%rows, %offsets, %slots : memref<?xi32>, memref<9xi32>, memref<?x2xi32>)
    experts = 8 body {
  ^bb0(%r: tensor<8xf32>):
    %v, %i = row.top_k %r : tensor<8xf32> -> tensor<2xf32>, tensor<2xi32>
    row.yield %i, %v : tensor<2xi32>, tensor<2xf32>
  }
  return
}

// -----

// CHECK: moex.plan
func.func @f(%ids: memref<?x2xi32>, %rows: memref<?xi32>, %offsets: memref<9xi32>, %slots: memref<?x2xi32>) {
  moex.plan ins(%ids : memref<?x2xi32>) outs(%rows, %offsets, %slots : memref<?xi32>, memref<9xi32>, memref<?x2xi32>)
    experts = 8
  return
}

// -----

// CHECK: moex.combine_rows
func.func @f(%d: memref<?x64xf32>, %s: memref<?x2xi32>, %w: memref<?x2xf32>, %y: memref<?x64xf32>) {
  moex.combine_rows ins(%d, %s, %w : memref<?x64xf32>, memref<?x2xi32>, memref<?x2xf32>)
    outs(%y : memref<?x64xf32>)
  return
}

// -----

// CHECK: moex.lookup
func.func @f(%w: memref<256x64xbf16>, %i: memref<?xi32>, %y: memref<?x64xf32>) {
  moex.lookup ins(%w : memref<256x64xbf16>) indices(%i : memref<?xi32>)
    outs(%y : memref<?x64xf32>)
    rows affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
  return
}

// -----

// CHECK: moex.state_append
nn.state @k per_token : tensor<128xf32> cache_tokens = 64
func.func @f(%k: memref<?x128xf32>) {
  moex.state_append @k ins(%k : memref<?x128xf32>)
  return
}

// -----

// CHECK: moex.sequence_lengths
// CHECK: moex.grouped_gemm {{.*}} heads = 4
#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
func.func @f(%n: memref<?xi32>, %x: memref<?x64xf32>, %w: memref<32x16xbf16>, %y: memref<?x32xf32>) {
  moex.sequence_lengths outs(%n : memref<?xi32>)
  moex.grouped_gemm ins(%x : memref<?x64xf32>) weights(%w : memref<32x16xbf16>) outs(%y : memref<?x32xf32>) rows #T compute = f32 heads = 4
  return
}

// -----

// CHECK: moex.attention {{.*}} sinks(%{{.*}} : memref<4xf32>) outs({{.*}}) heads = 4 kv_heads = 1 scale = 1.000000e+00 softcap = 3.000000e+01 chunk = 8 compute
// CHECK: moex.attention {{.*}} full compute
func.func @f(%q: memref<?x64xf32>, %k: memref<?x16xf32>, %s: memref<4xf32>, %y: memref<?x48xf32>, %z: memref<?x64xf32>) {
  moex.attention ins(%q : memref<?x64xf32>) keys(%k, %k : memref<?x16xf32>, memref<?x16xf32>) sinks(%s : memref<4xf32>)
    outs(%y : memref<?x48xf32>) heads = 4 kv_heads = 1 scale = 1.0 softcap = 30.0 chunk = 8 compute = f32
  moex.attention ins(%q : memref<?x64xf32>) keys(%k, %k : memref<?x16xf32>, memref<?x16xf32>) outs(%z : memref<?x64xf32>)
    heads = 4 kv_heads = 1 scale = 1.0 full compute = f32
  return
}

// -----

// CHECK: moex.attention
nn.state @k per_token : tensor<128xf32> cache_tokens = 64
nn.state @v per_token : tensor<128xf32> cache_tokens = 64
func.func @f(%q: memref<?x256xf32>, %y: memref<?x256xf32>) {
  moex.attention ins(%q : memref<?x256xf32>) state(@k, @v)
    outs(%y : memref<?x256xf32>) heads = 4 kv_heads = 2 scale = 1.25e-1
    compute = f32
  return
}

// -----

// CHECK: moex.export_routing ins(%{{.*}}, %{{.*}} : memref<?x2xi32>, memref<?x2xf32>) kinds(%{{.*}} : memref<?xi8>) router = 3 {kind = 1 : i64}
func.func @export_routing(%i: memref<?x2xi32>, %w: memref<?x2xf32>, %k: memref<?xi8>) {
  moex.export_routing ins(%i, %w : memref<?x2xi32>, memref<?x2xf32>) kinds(%k : memref<?xi8>) router = 3 {kind = 1 : i64}
  return
}

// CHECK: moex.routing_operand "ids" router = 3 outs(%{{.*}} : memref<?x2xi32>)
// CHECK: moex.routing_operand "bias" router = 3 outs(%{{.*}} : memref<8xf32>)
func.func @routing_operand(%i: memref<?x2xi32>, %b: memref<8xf32>) {
  moex.routing_operand "ids" router = 3 outs(%i : memref<?x2xi32>)
  moex.routing_operand "bias" router = 3 outs(%b : memref<8xf32>)
  return
}

// CHECK-LABEL: func.func @limit_slots
// CHECK: moex.limit_slots ins(%{{.*}}, %{{.*}}, %{{.*}} : memref<?x2xi32>, memref<?x2xf32>, memref<?xi32>) outs(%{{.*}}, %{{.*}} : memref<?x2xi32>, memref<?x2xf32>) experts = 8 millionths = 1250000 multiple = 4
func.func @limit_slots(%i: memref<?x2xi32>, %w: memref<?x2xf32>, %c: memref<?xi32>, %j: memref<?x2xi32>, %v: memref<?x2xf32>) {
  moex.limit_slots ins(%i, %w, %c : memref<?x2xi32>, memref<?x2xf32>, memref<?xi32>) outs(%j, %v : memref<?x2xi32>, memref<?x2xf32>) experts = 8 millionths = 1250000 multiple = 4
  return
}
