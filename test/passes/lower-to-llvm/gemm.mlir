// RUN: moe-opt --lower-to-llvm=levels=generic %s | FileCheck %s
// RUN: moe-opt --lower-to-llvm=levels=avx2 %s | FileCheck %s --check-prefix=AVX2

// Gather, experts and epilogue are part of the kernel. Only levels with fused
// instructions fuse.

#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
#zero = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (0)>
#l = #moeq.row_blocks<16, 2>

moe.weight @g0 : tensor<32x64xbf16> from [#moe.tensor<"g0">] layout = #l
moe.weight @d0 : tensor<64x32xbf16> from [#moe.tensor<"d0">] layout = #l
moe.weight @u0 : tensor<32x64xbf16> from [#moe.tensor<"u0">] layout = #l
moe.weight @g1 : tensor<32x64xbf16> from [#moe.tensor<"g1">] layout = #l
moe.weight @d1 : tensor<64x32xbf16> from [#moe.tensor<"d1">] layout = #l
moe.weight @u1 : tensor<32x64xbf16> from [#moe.tensor<"u1">] layout = #l
moe.expert_table @e body = "glu" [
  #moe.expert<width = 32, weights = {down = @d0, gate = @g0, up = @u0}>,
  #moe.expert<width = 32, weights = {down = @d1, gate = @g1, up = @u1}>]

// The experts' numbers among all weights.
// CHECK-DAG: llvm.mlir.global internal constant @[[UP:.*]](dense<[2, 5]>
// CHECK-DAG: llvm.mlir.global internal constant @[[GATE:.*]](dense<[0, 3]>

// CHECK: llvm.func internal @step_body__generic
// CHECK-DAG: %[[G:.*]] = llvm.mlir.addressof @[[GATE]]
// CHECK-DAG: %[[U:.*]] = llvm.mlir.addressof @[[UP]]
// CHECK: llvm.call @moe_grouped_gemm_f32_bf16_k64_n32__generic(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %[[G]], %{{.*}}, %[[U]], %[[GATHER:.*]], %[[SEGMENTS:.*]], %[[OUT:.*]])
// CHECK-NOT: llvm.call
// CHECK: llvm.return
func.func @step() attributes {moex.scratch = #zero} {
  moex.parallel {
    %x = moex.arena_slice #zero rows #T : memref<?x64xf32>
    %h = moex.arena_slice #zero rows #T : memref<?x32xbf16>
    %i = moex.arena_slice #zero rows #T : memref<?xi32>
    %s = moex.arena_slice #zero rows #T : memref<3xi32>
    %g = moex.expert_weights @e role "gate" : memref<2x32x64xbf16>
    %u = moex.expert_weights @e role "up" : memref<2x32x64xbf16>
    moex.grouped_gemm ins(%x : memref<?x64xf32>)
      weights(%g, %u : memref<2x32x64xbf16>, memref<2x32x64xbf16>)
      gather(%i : memref<?xi32>) segments(%s : memref<3xi32>)
      outs(%h : memref<?x32xbf16>) rows #T compute = f32 epilogue {
    ^bb0(%a: f32, %b: f32):
      %n = arith.negf %a : f32
      %e = math.exp %n : f32
      %one = arith.constant 1.0 : f32
      %d = arith.addf %one, %e : f32
      %q = arith.divf %a, %d : f32
      %y = arith.mulf %q, %b : f32
      row.yield %y : f32
    }
  }
  return
}

// CHECK: llvm.func internal @moe_grouped_gemm_f32_bf16_k64_n32__generic(
// CHECK: llvm.call @moe_pack_f32_in_pairs__generic
// CHECK: llvm.call @moe_tile_bf16__generic
// CHECK: llvm.call @moe_tile_bf16__generic
// The epilogue on a block of 16 columns, then rounding to bf16.
// CHECK: llvm.fdiv %{{.*}}, %{{.*}} : vector<16xf32>
// CHECK: llvm.trunc %{{.*}} : vector<16xi32> to vector<16xi16>
// CHECK: llvm.return

// CHECK: llvm.func internal @moe_tile_bf16__generic(
// CHECK: llvm.fmul %{{.*}}, %{{.*}} : vector<4xf32>
// CHECK-NEXT: llvm.fadd
// CHECK-NOT: llvm.intr.fma

// AVX2: llvm.func internal @moe_tile_bf16__avx2(
// AVX2: llvm.intr.fma(%{{.*}}, %{{.*}}, %{{.*}}) : (vector<8xf32>, vector<8xf32>, vector<8xf32>)
