// RUN: moe-opt %s --split-input-file -verify-diagnostics
//
// One test per labelled constraint.

// moex.input C1
func.func @f() {
  // expected-error@+1 {{expected a modality exactly for 'raw'}}
  %a = moex.input tokens of 1 : memref<?xi32>
  return
}

// -----

// moex.input C2
func.func @f() {
  // expected-error@+1 {{expected the array of 'kinds', found 'memref<?xi32>'}}
  %a = moex.input kinds : memref<?xi32>
  return
}

// -----

// moex.output C1
func.func @f() {
  // expected-error@+1 {{expected f32 elements, found 'memref<?x8xbf16>'}}
  %a = moex.output 0 : memref<?x8xbf16>
  return
}

// -----

// moex.weight C1
func.func @f() {
  // expected-error@+1 {{expected a symbol @w, found none}}
  %a = moex.weight @w : memref<8xf32>
  return
}

// -----

// moex.expert_weights C1
func.func @f() {
  // expected-error@+1 {{expected a symbol @e, found none}}
  %a = moex.expert_weights @e role "up" : memref<1x8x8xf32>
  return
}

// -----

// moex.alloc C1
func.func @f() {
  // expected-error@+1 {{expected 'rows' to map 11 extents to one number}}
  %a = moex.alloc affine_map<(T) -> (T)> : memref<?x8xf32>
  return
}

// -----

// moex.alloc C2
#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
func.func @f() {
  // expected-error@+1 {{expected static dimensions but for the first, found 'memref<?x?xf32>'}}
  %a = moex.alloc #T : memref<?x?xf32>
  return
}

// -----

// moex.arena_slice C1
#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
func.func @f() {
  // expected-error@+1 {{expected 'offset' to map 11 extents to one number}}
  %a = moex.arena_slice affine_map<(T) -> (T)> rows #T : memref<?x8xf32>
  return
}

// -----

// moex.view C1
func.func @f(%x: memref<?x6xf32>) {
  // expected-error@+1 {{expected rows that split or join}}
  %a = moex.view %x : memref<?x6xf32> to memref<?x4xf32>
  return
}

// -----

// moex.parallel C1
func.func @f() {
  moex.parallel {
    // expected-error@+1 {{is not allowed in moex.parallel: expected a moex operation}}
    %c = arith.constant 0 : i32
  }
  return
}

// -----

// moex.rowwise C1
#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
func.func @f(%a: memref<?x8xf32>, %p: memref<4x8xf32>, %o: memref<?x8xf32>) {
  // expected-error@+1 {{expected the body's arguments to be ('tensor<8xf32>'), found ('tensor<8xf64>')}}
  moex.rowwise ins(%a : memref<?x8xf32>) outs(%o : memref<?x8xf32>) rows #T period = [0] body {
  ^bb0(%r: tensor<8xf64>):
    %c = row.constant dense<0.0> : tensor<8xf32>
    row.yield %c : tensor<8xf32>
  }
  return
}

// -----

// moex.rowwise C2
#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
func.func @f(%a: memref<?x8xf32>, %p: memref<4x8xf32>, %o: memref<?x8xf32>) {
  // expected-error@+3 {{is not allowed in a row body}}
  moex.rowwise ins(%a : memref<?x8xf32>) outs(%o : memref<?x8xf32>) rows #T period = [0] body {
  ^bb0(%r: tensor<8xf32>):
    %z = arith.addf %r, %r : tensor<8xf32>
    row.yield %r : tensor<8xf32>
  }
  return
}

// -----

// moex.rowwise C3: number
#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
func.func @f(%a: memref<?x8xf32>, %p: memref<4x8xf32>, %o: memref<?x8xf32>) {
  // expected-error@+1 {{expected one period per in: 1, found 2}}
  moex.rowwise ins(%a : memref<?x8xf32>) outs(%o : memref<?x8xf32>) rows #T period = [0, 0] body {
  ^bb0(%r: tensor<8xf32>):
    row.yield %r : tensor<8xf32>
  }
  return
}

// -----

// moex.rowwise C3: rows
#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
func.func @f(%a: memref<?x8xf32>, %p: memref<4x8xf32>, %o: memref<?x8xf32>) {
  // expected-error@+1 {{expected an in of 3 rows, found 'memref<4x8xf32>'}}
  moex.rowwise ins(%p : memref<4x8xf32>) outs(%o : memref<?x8xf32>) rows #T period = [3] body {
  ^bb0(%r: tensor<8xf32>):
    row.yield %r : tensor<8xf32>
  }
  return
}

// -----

// moex.rowwise C4
#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
func.func @f(%a: memref<?x8xf32>, %p: memref<4x8xf32>, %o: memref<?x8xf32>) {
  // expected-error@+1 {{expected 'rows' to map 11 extents to one number}}
  moex.rowwise ins(%a : memref<?x8xf32>) outs(%o : memref<?x8xf32>) rows affine_map<(T) -> (T)> period = [0] body {
  ^bb0(%r: tensor<8xf32>):
    row.yield %r : tensor<8xf32>
  }
  return
}

// -----

// moex.grouped_gemm C1
#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
func.func @f(%x: memref<?x64xf32>, %w: memref<64x32xbf16>, %y: memref<?x32xf32>, %b: memref<16xf32>, %s: memref<3xi32>) {
  // expected-error@+1 {{expected weights from 64 to 32 of rank 2, found 'memref<64x32xbf16>'}}
  moex.grouped_gemm ins(%x : memref<?x64xf32>) weights(%w : memref<64x32xbf16>) outs(%y : memref<?x32xf32>) rows #T compute = f32
  return
}

// -----

// moex.grouped_gemm C2: width
#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
func.func @f(%x: memref<?x64xf32>, %w: memref<32x64xbf16>, %y: memref<?x32xf32>, %b: memref<16xf32>, %s: memref<3xi32>) {
  // expected-error@+1 {{expected biases of width 32}}
  moex.grouped_gemm ins(%x : memref<?x64xf32>) weights(%w : memref<32x64xbf16>) biases(%b : memref<16xf32>) outs(%y : memref<?x32xf32>) rows #T compute = f32
  return
}

// -----

// moex.grouped_gemm C2: segments
#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
func.func @f(%x: memref<?x64xf32>, %w: memref<2x32x64xbf16>, %y: memref<?x32xf32>, %b: memref<16xf32>, %s: memref<3xi32>) {
  // expected-error@+1 {{expected biases of width 32 for every expert, found 'memref<16xf32>'}}
  moex.grouped_gemm ins(%x : memref<?x64xf32>) weights(%w : memref<2x32x64xbf16>) biases(%b : memref<16xf32>) segments(%s : memref<3xi32>) outs(%y : memref<?x32xf32>) rows #T compute = f32
  return
}

// -----

// moex.grouped_gemm C5
#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
func.func @f(%x: memref<?x64xf32>, %w: memref<30x16xbf16>, %y: memref<?x30xf32>) {
  // expected-error@+1 {{expected one weight and widths that 4 heads divide}}
  moex.grouped_gemm ins(%x : memref<?x64xf32>) weights(%w : memref<30x16xbf16>) outs(%y : memref<?x30xf32>) rows #T compute = f32 heads = 4
  return
}

// -----

// moex.grouped_gemm C5: bias
#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
func.func @f(%x: memref<?x64xf32>, %w: memref<32x16xbf16>, %b: memref<32xf32>, %y: memref<?x32xf32>) {
  // expected-error@+1 {{expected one weight and widths that 4 heads divide}}
  moex.grouped_gemm ins(%x : memref<?x64xf32>) weights(%w : memref<32x16xbf16>) biases(%b : memref<32xf32>) outs(%y : memref<?x32xf32>) rows #T compute = f32 heads = 4
  return
}

// -----

// moex.grouped_gemm C3: several weights
#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
func.func @f(%x: memref<?x64xf32>, %w: memref<32x64xbf16>, %y: memref<?x32xf32>, %b: memref<16xf32>, %s: memref<3xi32>) {
  // expected-error@+1 {{expected an epilogue for 2 weights}}
  moex.grouped_gemm ins(%x : memref<?x64xf32>) weights(%w, %w : memref<32x64xbf16>, memref<32x64xbf16>) outs(%y : memref<?x32xf32>) rows #T compute = f32
  return
}

// -----

// moex.grouped_gemm C3: body
#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
func.func @f(%x: memref<?x64xf32>, %w: memref<32x64xbf16>, %y: memref<?x32xf32>) {
  // expected-error@+1 {{expected an epilogue from 1 f32 to f32}}
  moex.grouped_gemm ins(%x : memref<?x64xf32>) weights(%w : memref<32x64xbf16>) outs(%y : memref<?x32xf32>) rows #T compute = f32 epilogue {
  ^bb0(%a: f32, %b: f32):
    row.yield %a : f32
  }
  return
}

// -----

// moex.grouped_gemm C4
#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
func.func @f(%x: memref<?x64xf32>, %w: memref<4x32x64xbf16>, %y: memref<?x32xf32>, %b: memref<16xf32>, %s: memref<3xi32>) {
  // expected-error@+1 {{expected 5 segment offsets}}
  moex.grouped_gemm ins(%x : memref<?x64xf32>) weights(%w : memref<4x32x64xbf16>) segments(%s : memref<3xi32>) outs(%y : memref<?x32xf32>) rows #T compute = f32
  return
}

// -----

// moex.route_sort C1
func.func @f(%z: memref<?x8xf32>, %ids: memref<?x2xi32>, %w: memref<?x2xf32>, %rows: memref<?xi32>, %offsets: memref<9xi32>, %slots: memref<?x2xi32>) {
  // expected-error@+1 {{expected the body's results to be}}
  moex.route_sort ins(%z : memref<?x8xf32>) ids(%ids : memref<?x2xi32>) weights(%w : memref<?x2xf32>) plan(%rows, %offsets, %slots : memref<?xi32>, memref<9xi32>, memref<?x2xi32>) experts = 8 body {
  ^bb0(%r: tensor<8xf32>):
    %v, %i = row.top_k %r : tensor<8xf32> -> tensor<2xf32>, tensor<2xi32>
    row.yield %v, %i : tensor<2xf32>, tensor<2xi32>
  }
  return
}

// -----

// moex.route_sort C2: offsets
func.func @f(%z: memref<?x8xf32>, %ids: memref<?x2xi32>, %w: memref<?x2xf32>, %rows: memref<?xi32>, %offsets: memref<8xi32>, %slots: memref<?x2xi32>) {
  // expected-error@+1 {{expected 9 offsets, found 'memref<8xi32>'}}
  moex.route_sort ins(%z : memref<?x8xf32>) ids(%ids : memref<?x2xi32>) weights(%w : memref<?x2xf32>) plan(%rows, %offsets, %slots : memref<?xi32>, memref<8xi32>, memref<?x2xi32>) experts = 8 body {
  ^bb0(%r: tensor<8xf32>):
    %v, %i = row.top_k %r : tensor<8xf32> -> tensor<2xf32>, tensor<2xi32>
    row.yield %i, %v : tensor<2xi32>, tensor<2xf32>
  }
  return
}

// -----

// moex.route_sort C2: weights
func.func @f(%z: memref<?x8xf32>, %ids: memref<?x2xi32>, %w: memref<?x3xf32>, %rows: memref<?xi32>, %offsets: memref<9xi32>, %slots: memref<?x2xi32>) {
  // expected-error@+1 {{expected as many weights as ids}}
  moex.route_sort ins(%z : memref<?x8xf32>) ids(%ids : memref<?x2xi32>) weights(%w : memref<?x3xf32>) plan(%rows, %offsets, %slots : memref<?xi32>, memref<9xi32>, memref<?x2xi32>) experts = 8 body {
  ^bb0(%r: tensor<8xf32>):
    %v, %i = row.top_k %r : tensor<8xf32> -> tensor<2xf32>, tensor<2xi32>
    %c = row.constant dense<0.0> : tensor<3xf32>
    row.yield %i, %c : tensor<2xi32>, tensor<3xf32>
  }
  return
}

// -----

// moex.route_sort C3
func.func @f(%z: memref<?x8xf32>, %ids: memref<?x2xi32>, %w: memref<?x2xf32>, %rows: memref<?xi32>, %offsets: memref<9xi32>, %slots: memref<?x2xi32>) {
  // expected-error@+4 {{is not allowed in a row body}}
  moex.route_sort ins(%z : memref<?x8xf32>) ids(%ids : memref<?x2xi32>) weights(%w : memref<?x2xf32>) plan(%rows, %offsets, %slots : memref<?xi32>, memref<9xi32>, memref<?x2xi32>) experts = 8 body {
  ^bb0(%r: tensor<8xf32>):
    %v, %i = row.top_k %r : tensor<8xf32> -> tensor<2xf32>, tensor<2xi32>
    %q = arith.addf %v, %v : tensor<2xf32>
    row.yield %i, %v : tensor<2xi32>, tensor<2xf32>
  }
  return
}

// -----

// moex.plan C1
func.func @f(%i: memref<?x2xi32>, %r: memref<?xi32>, %o: memref<9xi32>) {
  // expected-error@+1 {{expected 5 offsets, found 'memref<9xi32>'}}
  moex.plan ins(%i : memref<?x2xi32>) outs(%r, %o, %i : memref<?xi32>, memref<9xi32>, memref<?x2xi32>) experts = 4
  return
}

// -----

// moex.combine_rows C1
func.func @f(%d: memref<?x64xf32>, %s: memref<?x2xi32>, %w: memref<?x1xf32>) {
  // expected-error@+1 {{expected slot rows and weights [?, K] and rows as wide as the out}}
  moex.combine_rows ins(%d, %s, %w : memref<?x64xf32>, memref<?x2xi32>, memref<?x1xf32>) outs(%d : memref<?x64xf32>)
  return
}

// -----

// moex.lookup C1
#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
func.func @f(%w: memref<8x32xf32>, %y: memref<?x64xf32>) {
  // expected-error@+1 {{expected table and out of one width}}
  moex.lookup ins(%w : memref<8x32xf32>) outs(%y : memref<?x64xf32>) rows #T
  return
}

// -----

// moex.lookup C2
#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
func.func @f(%y: memref<?x64xf32>) {
  // expected-error@+1 {{expected 'kind' exactly when there are kinds}}
  moex.lookup ins(%y : memref<?x64xf32>) outs(%y : memref<?x64xf32>) rows #T {kind = 1 : i64}
  return
}

// -----

// moex.state_append C1
func.func @f(%y: memref<?x64xf32>) {
  // expected-error@+1 {{expected a symbol @k, found none}}
  moex.state_append @k ins(%y : memref<?x64xf32>)
  return
}

// -----

// moex.attention C1
func.func @f(%y: memref<?x64xf32>) {
  // expected-error@+1 {{expected keys and values as buffers or as states}}
  moex.attention ins(%y : memref<?x64xf32>) outs(%y : memref<?x64xf32>) heads = 1 kv_heads = 1 scale = 1.0 compute = f32
  return
}

// -----

// moex.attention C2
func.func @f(%y: memref<?x64xf32>, %s: memref<2xf32>) {
  // expected-error@+1 {{expected 4 sinks, found 'memref<2xf32>'}}
  moex.attention ins(%y : memref<?x64xf32>) keys(%y, %y : memref<?x64xf32>, memref<?x64xf32>) sinks(%s : memref<2xf32>) outs(%y : memref<?x64xf32>) heads = 4 kv_heads = 4 scale = 1.0 compute = f32
  return
}

// -----

// moex.sequence_lengths C1
func.func @f(%n: memref<?x2xi32>) {
  // expected-error@+1 {{expected an out memref<?xi32>, found 'memref<?x2xi32>'}}
  moex.sequence_lengths outs(%n : memref<?x2xi32>)
  return
}

// -----

// moex.export_routing C1
func.func @f(%i: memref<?x2xi32>, %w: memref<?x3xf32>) {
  // expected-error@+1 {{expected ids and weights [?, K], found 'memref<?x2xi32>' and 'memref<?x3xf32>'}}
  moex.export_routing ins(%i, %w : memref<?x2xi32>, memref<?x3xf32>) router = 0
  return
}

// -----

// moex.export_routing C2
func.func @f(%i: memref<?x2xi32>, %w: memref<?x2xf32>) {
  // expected-error@+1 {{expected 'kind' exactly when there are kinds}}
  moex.export_routing ins(%i, %w : memref<?x2xi32>, memref<?x2xf32>) router = 0 {kind = 1 : i64}
  return
}

// -----

// moex.routing_operand C1
func.func @f(%b: memref<8xf32>) {
  // expected-error@+1 {{expected one of ids, weights, bias, mask and count, and its type, found "count" and 'memref<8xf32>'}}
  moex.routing_operand "count" router = 0 outs(%b : memref<8xf32>)
  return
}

// -----

// moex.limit_slots C1
func.func @f(%i: memref<?x2xi32>, %w: memref<?x2xf32>, %c: memref<?xi32>, %j: memref<?x3xi32>, %v: memref<?x2xf32>) {
  // expected-error@+1 {{expected ids and weights of one shape [?, K], found 'memref<?x2xi32>' and 'memref<?x3xi32>'}}
  moex.limit_slots ins(%i, %w, %c : memref<?x2xi32>, memref<?x2xf32>, memref<?xi32>) outs(%j, %v : memref<?x3xi32>, memref<?x2xf32>) experts = 8 millionths = 1250000 multiple = 4
  return
}
