// RUN: moe-opt %s --lower-to-llvm="target=nvptx,x86_64 levels=sm_80" | FileCheck %s

// Two kernels between which a processor does not wait are one interval there; on a
// device each launch is one.
// CHECK: moex.variants = [{device = "cuda"
// CHECK-SAME: intervals = 2 : i64, isa = "sm_80", kernels = [{experts = 0 : i64, interval = 0 : i64,
// CHECK-SAME: {experts = 0 : i64, interval = 1 : i64,
// CHECK-SAME: intervals = 1 : i64, isa = "avx512", kernels = [{experts = 0 : i64, interval = 0 : i64,
// CHECK-SAME: {experts = 0 : i64, interval = 0 : i64,

#zero = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (0)>
#behind = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T * 256)>
#both = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T * 512)>
#tokens = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>

func.func @f() attributes {moex.scratch = #both} {
  moex.parallel {
    %x = moex.arena_slice #zero rows #tokens : memref<?x64xf32>
    %y = moex.arena_slice #behind rows #tokens : memref<?x64xf32>
    moex.rowwise ins(%x : memref<?x64xf32>) outs(%x : memref<?x64xf32>)
        rows #tokens period = [0] body {
    ^bb0(%r: tensor<64xf32>):
      row.yield %r : tensor<64xf32>
    }
    moex.rowwise ins(%y : memref<?x64xf32>) outs(%y : memref<?x64xf32>)
        rows #tokens period = [0] body {
    ^bb0(%r: tensor<64xf32>):
      row.yield %r : tensor<64xf32>
    }
  }
  return
}
