// RUN: moe-opt --lower-to-llvm=levels=generic %s -o - | FileCheck %s

// What runs between two barriers, for the manifest. Kernels that wait inside
// stand in both intervals; what they read and compute is counted once.

#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
#TK = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T * 2)>
#R = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (R)>
#E1 = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (3)>
#zero = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (0)>

// CHECK: moex.variants = [{
// CHECK-SAME: intervals = 6 : i64
// CHECK-SAME: kernels = [
// A table is not read whole.
// CHECK-SAME: {experts = 0 : i64, interval = 0 : i64, kind = "lookup", layer = -1 : i64, weights = array<i64>}
// CHECK-SAME: experts = 0 : i64, interval = 1 : i64, kind = "norm", layer = 4 : i64, weights = array<i64: 1>}
// CHECK-SAME: elements = 32 : i64, experts = 0 : i64, interval = 2 : i64, kind = "router", layer = 4 : i64, result_rows = 0 : i64, token_rows = 1 : i64, weights = array<i64: 2>}
// CHECK-SAME: interval = 3 : i64, kind = "router", layer = 4 : i64
// CHECK-SAME: interval = 4 : i64, kind = "router", layer = 4 : i64
// CHECK-SAME: elements = 512 : i64, experts = 2 : i64, interval = 5 : i64, kind = "experts up", layer = 4 : i64, result_rows = 0 : i64, token_rows = 2 : i64, weights = array<i64: 3, 4>}
// CHECK-SAME: elements = 1600 : i64, experts = 0 : i64, interval = 5 : i64, kind = "head", layer = -1 : i64, result_rows = 1 : i64, token_rows = 0 : i64, weights = array<i64: 5>}]
moe.weight @embed : tensor<50x16xf32> from [#moe.tensor<"embed">] role = "embed"
moe.weight @norm : tensor<16xf32> from [#moe.tensor<"norm">] layer = 4 role = "norm"
moe.weight @gate : tensor<2x16xf32> from [#moe.tensor<"gate">] layout = #moeq.row_blocks<16> layer = 4 role = "linear"
moe.weight @up0 : tensor<16x16xf32> from [#moe.tensor<"up0">] layout = #moeq.row_blocks<16> layer = 4 expert = 0 role = "up"
moe.weight @up1 : tensor<16x16xf32> from [#moe.tensor<"up1">] layout = #moeq.row_blocks<16> layer = 4 expert = 1 role = "up"
moe.weight @out : tensor<100x16xf32> from [#moe.tensor<"out">] layout = #moeq.row_blocks<16> role = "linear"
moe.expert_table @experts body = "mlp" [
  #moe.expert<width = 16, weights = {down = @up1, up = @up0}>,
  #moe.expert<width = 16, weights = {down = @up0, up = @up1}>]

func.func @step() attributes {moe.function = {}, moex.scratch = #zero} {
  moex.parallel {
    %ids = moex.input tokens : memref<?xi32>
    %table = moex.weight @embed : memref<50x16xf32>
    %x = moex.arena_slice #zero rows #T : memref<?x16xf32>
    %n = moex.arena_slice #zero rows #T : memref<?x16xf32>
    %g = moex.weight @norm : memref<16xf32>
    %w = moex.weight @gate : memref<2x16xf32>
    %z = moex.arena_slice #zero rows #T : memref<?x2xf32>
    %chosen = moex.arena_slice #zero rows #T : memref<?x2xi32>
    %weights = moex.arena_slice #zero rows #T : memref<?x2xf32>
    %rows = moex.arena_slice #zero rows #TK : memref<?xi32>
    %offsets = moex.arena_slice #zero rows #E1 : memref<3xi32>
    %slots = moex.arena_slice #zero rows #T : memref<?x2xi32>
    %up = moex.expert_weights @experts role "up" : memref<2x16x16xf32>
    %h = moex.arena_slice #zero rows #TK : memref<?x16xf32>
    %head = moex.weight @out : memref<100x16xf32>
    %y = moex.output 0 : memref<?x100xf32>
    moex.lookup ins(%table : memref<50x16xf32>) indices(%ids : memref<?xi32>)
      outs(%x : memref<?x16xf32>) rows #T
    moex.barrier
    moex.rowwise ins(%x, %g : memref<?x16xf32>, memref<16xf32>) outs(%n : memref<?x16xf32>)
      rows #T period = [0, 0] body {
    ^bb0(%r: tensor<16xf32>, %s: tensor<16xf32>):
      %sum = row.reduce sum %r : tensor<16xf32> -> f32
      %v = row.map %s, %sum : (tensor<16xf32>, f32) -> tensor<16xf32> {
      ^bb0(%e: f32, %f: f32):
        %p = arith.mulf %e, %f : f32
        row.yield %p : f32
      }
      row.yield %v : tensor<16xf32>
    }
    moex.barrier
    moex.grouped_gemm ins(%n : memref<?x16xf32>) weights(%w : memref<2x16xf32>)
      outs(%z : memref<?x2xf32>) rows #T compute = f32
    moex.barrier
    moex.route_sort ins(%z : memref<?x2xf32>) ids(%chosen : memref<?x2xi32>)
      weights(%weights : memref<?x2xf32>)
      plan(%rows, %offsets, %slots : memref<?xi32>, memref<3xi32>, memref<?x2xi32>) experts = 2 body {
    ^bb0(%r: tensor<2xf32>):
      %v, %i = row.top_k %r : tensor<2xf32> -> tensor<2xf32>, tensor<2xi32>
      row.yield %i, %v : tensor<2xi32>, tensor<2xf32>
    }
    moex.barrier
    moex.grouped_gemm ins(%n : memref<?x16xf32>) weights(%up : memref<2x16x16xf32>)
      gather(%rows : memref<?xi32>) segments(%offsets : memref<3xi32>)
      outs(%h : memref<?x16xf32>) rows #TK compute = f32
    moex.grouped_gemm ins(%h : memref<?x16xf32>) weights(%head : memref<100x16xf32>)
      outs(%y : memref<?x100xf32>) rows #R compute = f32
  }
  return
}
