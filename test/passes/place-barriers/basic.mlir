// RUN: moe-opt %s --place-barriers | FileCheck %s

#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
#R = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (R)>
nn.state @k per_token : tensor<64xf32> cache_tokens = 64
nn.state @v per_token : tensor<64xf32> cache_tokens = 64
moe.weight @w : tensor<64x64xbf16> from [#moe.tensor<"w">]

// Row-wise operations over the same rows need no barrier: each participant
// owns the same rows in both.
// CHECK-LABEL: func.func @same_rows()
// CHECK-NEXT:    moex.parallel
// CHECK-NOT:     moex.barrier
// CHECK:         return
func.func @same_rows() attributes {moe.function = {}} {
  %a = moex.alloc #T : memref<?x64xf32>
  %b = moex.alloc #T : memref<?x64xf32>
  %c = moex.alloc #T : memref<?x64xf32>
  moex.rowwise ins(%a : memref<?x64xf32>) outs(%b : memref<?x64xf32>) rows #T period = [0] body {
  ^bb0(%r: tensor<64xf32>):
    row.yield %r : tensor<64xf32>
  }
  moex.rowwise ins(%b : memref<?x64xf32>) outs(%c : memref<?x64xf32>) rows #T period = [0] body {
  ^bb0(%r: tensor<64xf32>):
    row.yield %r : tensor<64xf32>
  }
  return
}

// Other rows, other owners.
// CHECK-LABEL: func.func @other_rows()
// CHECK:         moex.rowwise
// CHECK:         moex.barrier
// CHECK-NEXT:    moex.rowwise
func.func @other_rows() attributes {moe.function = {}} {
  %a = moex.alloc #T : memref<?x64xf32>
  %b = moex.alloc #T : memref<?x64xf32>
  %c = moex.alloc #R : memref<?x64xf32>
  moex.rowwise ins(%a : memref<?x64xf32>) outs(%b : memref<?x64xf32>) rows #T period = [0] body {
  ^bb0(%r: tensor<64xf32>):
    row.yield %r : tensor<64xf32>
  }
  moex.rowwise ins(%b : memref<?x64xf32>) outs(%c : memref<?x64xf32>) rows #R period = [0] body {
  ^bb0(%r: tensor<64xf32>):
    row.yield %r : tensor<64xf32>
  }
  return
}

// A matmul reads whole rows that it divides by columns; independent ones share
// an interval. Memory operations come first.
// CHECK-LABEL: func.func @matmuls()
// CHECK:         moex.weight
// CHECK:         moex.rowwise
// CHECK:         moex.barrier
// CHECK-NEXT:    moex.grouped_gemm
// CHECK-NEXT:    moex.grouped_gemm
// CHECK-NEXT:    moex.barrier
// CHECK-NEXT:    moex.grouped_gemm
func.func @matmuls() attributes {moe.function = {}} {
  %a = moex.alloc #T : memref<?x64xf32>
  %b = moex.alloc #T : memref<?x64xf32>
  moex.rowwise ins(%a : memref<?x64xf32>) outs(%b : memref<?x64xf32>) rows #T period = [0] body {
  ^bb0(%r: tensor<64xf32>):
    row.yield %r : tensor<64xf32>
  }
  %w = moex.weight @w : memref<64x64xbf16>
  %c = moex.alloc #T : memref<?x64xf32>
  %d = moex.alloc #T : memref<?x64xf32>
  %e = moex.alloc #T : memref<?x64xf32>
  moex.grouped_gemm ins(%b : memref<?x64xf32>) weights(%w : memref<64x64xbf16>) outs(%c : memref<?x64xf32>) rows #T compute = f32
  moex.grouped_gemm ins(%b : memref<?x64xf32>) weights(%w : memref<64x64xbf16>) outs(%d : memref<?x64xf32>) rows #T compute = f32
  moex.grouped_gemm ins(%c : memref<?x64xf32>) weights(%w : memref<64x64xbf16>) outs(%e : memref<?x64xf32>) rows #T compute = f32
  return
}

// A state is memory as well.
// CHECK-LABEL: func.func @states()
// CHECK:         moex.state_append @k
// CHECK-NEXT:    moex.state_append @v
// CHECK-NEXT:    moex.barrier
// CHECK-NEXT:    moex.attention
func.func @states() attributes {moe.function = {}} {
  %a = moex.alloc #T : memref<?x64xf32>
  %b = moex.alloc #T : memref<?x64xf32>
  moex.state_append @k ins(%a : memref<?x64xf32>)
  moex.state_append @v ins(%a : memref<?x64xf32>)
  moex.attention ins(%a : memref<?x64xf32>) state(@k, @v) outs(%b : memref<?x64xf32>) heads = 1 kv_heads = 1 scale = 1.0 compute = f32
  return
}

// Two predicated lookups fill one buffer, each row by its owner.
// CHECK-LABEL: func.func @merge()
// CHECK:         moex.lookup
// CHECK-NEXT:    moex.lookup
func.func @merge() attributes {moe.function = {}} {
  %k = moex.input kinds : memref<?xi8>
  %a = moex.alloc #T : memref<?x64xf32>
  %b = moex.alloc #T : memref<?x64xf32>
  %c = moex.alloc #T : memref<?x64xf32>
  moex.lookup ins(%a : memref<?x64xf32>) where(%k : memref<?xi8>) is 0 outs(%c : memref<?x64xf32>) rows #T
  moex.lookup ins(%b : memref<?x64xf32>) where(%k : memref<?xi8>) is 1 outs(%c : memref<?x64xf32>) rows #T
  return
}

// An export owns the tokens' rows, as a row-wise operation does; what a sort has
// written is another matter, but its reader needs that barrier anyway.
// CHECK-LABEL: func.func @export()
// CHECK:         moex.rowwise
// CHECK-NOT:     moex.barrier
// CHECK:         moex.export_routing
// CHECK:         moex.route_sort
// CHECK:         moex.barrier
// CHECK-NEXT:    moex.export_routing
// CHECK-NOT:     moex.barrier
// CHECK:         return
func.func @export() attributes {moe.function = {}} {
  %z = moex.alloc #T : memref<?x8xf32>
  %i = moex.alloc #T : memref<?x2xi32>
  %w = moex.alloc #T : memref<?x2xf32>
  %j = moex.alloc #T : memref<?x2xi32>
  %v = moex.alloc #T : memref<?x2xf32>
  %rows = moex.alloc #T : memref<?xi32>
  %offsets = moex.alloc #T : memref<9xi32>
  %slots = moex.alloc #T : memref<?x2xi32>
  %y = moex.alloc #T : memref<?x64xf32>
  %d = moex.alloc #T : memref<?x64xf32>
  moex.rowwise ins(%z : memref<?x8xf32>) outs(%i, %w : memref<?x2xi32>, memref<?x2xf32>) rows #T period = [0] body {
  ^bb0(%r: tensor<8xf32>):
    %f, %e = row.top_k %r : tensor<8xf32> -> tensor<2xf32>, tensor<2xi32>
    row.yield %e, %f : tensor<2xi32>, tensor<2xf32>
  }
  moex.export_routing ins(%i, %w : memref<?x2xi32>, memref<?x2xf32>) router = 0
  moex.route_sort ins(%z : memref<?x8xf32>) ids(%j : memref<?x2xi32>) weights(%v : memref<?x2xf32>) plan(%rows, %offsets, %slots : memref<?xi32>, memref<9xi32>, memref<?x2xi32>) experts = 8 body {
  ^bb0(%r: tensor<8xf32>):
    %f, %e = row.top_k %r : tensor<8xf32> -> tensor<2xf32>, tensor<2xi32>
    row.yield %e, %f : tensor<2xi32>, tensor<2xf32>
  }
  moex.export_routing ins(%j, %v : memref<?x2xi32>, memref<?x2xf32>) router = 1
  moex.combine_rows ins(%d, %slots, %v : memref<?x64xf32>, memref<?x2xi32>, memref<?x2xf32>) outs(%y : memref<?x64xf32>)
  return
}

// Each participant copies its own rows of what the caller gives for each token; what
// is given for all is one participant's.
// CHECK-LABEL: func.func @operands()
// CHECK:         moex.routing_operand "ids"
// CHECK-NEXT:    moex.rowwise
// CHECK:         moex.routing_operand "bias"
// CHECK-NEXT:    moex.barrier
// CHECK-NEXT:    moex.rowwise
func.func @operands() attributes {moe.function = {}} {
  %i = moex.alloc #T : memref<?x2xi32>
  %j = moex.alloc #T : memref<?x2xi32>
  %z = moex.alloc #T : memref<?x8xf32>
  %y = moex.alloc #T : memref<?x8xf32>
  %b = moex.alloc #T : memref<8xf32>
  moex.routing_operand "ids" router = 0 outs(%i : memref<?x2xi32>)
  moex.rowwise ins(%i : memref<?x2xi32>) outs(%j : memref<?x2xi32>) rows #T period = [0] body {
  ^bb0(%r: tensor<2xi32>):
    row.yield %r : tensor<2xi32>
  }
  moex.routing_operand "bias" router = 0 outs(%b : memref<8xf32>)
  moex.rowwise ins(%z, %b : memref<?x8xf32>, memref<8xf32>) outs(%y : memref<?x8xf32>) rows #T period = [0, 0] body {
  ^bb0(%r: tensor<8xf32>, %c: tensor<8xf32>):
    row.yield %r : tensor<8xf32>
  }
  return
}
