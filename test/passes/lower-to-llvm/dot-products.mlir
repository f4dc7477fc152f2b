// RUN: moe-opt --lower-to-llvm=levels=avx512 %s | FileCheck %s
// RUN: moe-opt --lower-to-llvm=levels=avx2 %s | FileCheck %s --check-prefix=AVX2

// Products in bf16 use the dot-product instruction where the level has it:
// six rows by four blocks of weights, pairs of columns. So do scores.

#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
#zero = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (0)>
moe.weight @w : tensor<64x64xbf16> from [#moe.tensor<"w">] layout = #moeq.row_blocks<16, 2>

nn.state @k per_token : tensor<64xf32> cache_tokens = 64
nn.state @v per_token : tensor<64xf32> cache_tokens = 64

func.func @step() attributes {moex.scratch = #zero} {
  moex.parallel {
    %x = moex.arena_slice #zero rows #T : memref<?x64xf32>
    %y = moex.arena_slice #zero rows #T : memref<?x64xf32>
    %w = moex.weight @w : memref<64x64xbf16>
    moex.grouped_gemm ins(%x : memref<?x64xf32>) weights(%w : memref<64x64xbf16>)
      outs(%y : memref<?x64xf32>) rows #T compute = bf16
    moex.attention ins(%y : memref<?x64xf32>) state(@k, @v)
      outs(%x : memref<?x64xf32>) heads = 1 kv_heads = 1 scale = 1.0 compute = bf16
  }
  return
}

// CHECK: llvm.func internal @moe_tile_dot_bf16__avx512(
// CHECK-SAME: target_features = #llvm.target_features<[{{.*}}"+avx512bf16"
// One row: a pair of x for four blocks.
// CHECK: llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%{{.*}}, %[[X:[0-9]+]], %{{.*}})
// CHECK: llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%{{.*}}, %[[X]], %{{.*}})
// CHECK: llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%{{.*}}, %[[X]], %{{.*}})
// CHECK: llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%{{.*}}, %[[X]], %{{.*}})
// CHECK-NOT: llvm.call_intrinsic {{.*}}(%{{.*}}, %[[X]], %{{.*}})

// CHECK: llvm.func internal @moe_attention_scores_dot_bf16_d64__avx512(
// CHECK: llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"

// AVX2: llvm.func internal @moe_tile_bf16__avx2(
// AVX2-NOT: call_intrinsic
// AVX2: llvm.intr.fma

// AVX2: llvm.func internal @moe_attention_scores_bf16_d64__avx2(
// AVX2-NOT: call_intrinsic
// AVX2: llvm.intr.fma
