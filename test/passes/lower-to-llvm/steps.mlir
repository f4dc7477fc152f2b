// RUN: moe-opt --lower-to-llvm=levels=avx2,generic %s | FileCheck %s

// Variants, best first, with the formula of their scratch; declarations stay.

#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
#at = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T * 256)>
#zero = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (0)>
#size = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T * 512 + ((R + 63) floordiv 64) * 4096)>

// CHECK: module attributes {moex.variants = [
// CHECK-SAME: {features = ["+avx2", "+bmi2", "+f16c", "+fma"], function = "step", intervals = 2 : i64, isa = "avx2", kernels = [
// CHECK-SAME: ], scratch = "T * 512 + ((R + 63) floordiv 64) * 4096", weights = array<i64: 0, 1>}
// CHECK-SAME: {features = ["+sse2"], function = "step", intervals = 2 : i64, isa = "generic",
// CHECK: moe.weight @g0
moe.weight @g0 : tensor<64xbf16> from [#moe.tensor<"g0">]
moe.weight @g1 : tensor<64xbf16> from [#moe.tensor<"g1">] layout = #moeq.row_major
// CHECK: moe.entry @prefill
moe.entry @prefill function = @step layout = []
// CHECK: llvm.func @step() attributes {moe.function = {cache_tokens = 0 : i64}
func.func @step() attributes {moe.function = {cache_tokens = 0 : i64}, moex.scratch = #size} {
  // CHECK: llvm.func internal @step_body__avx2(%[[STEP:.*]]: !llvm.ptr, %[[WORKER:.*]]: !llvm.ptr)
  // CHECK-SAME: target_features = #llvm.target_features<["+avx2", "+bmi2", "+f16c", "+fma"]>
  moex.parallel {
    %a = moex.arena_slice #zero rows #T : memref<?x64xf32>
    %b = moex.arena_slice #at rows #T : memref<?x64xf32>
    %g0 = moex.weight @g0 : memref<64xbf16>
    %g1 = moex.weight @g1 : memref<64xbf16>
    // Equal operations share a function, whichever weight they read.
    // CHECK: llvm.call @moe_rowwise_f32_f32_64__avx2(%[[STEP]], %[[WORKER]],
    moex.rowwise ins(%a, %g0 : memref<?x64xf32>, memref<64xbf16>) outs(%b : memref<?x64xf32>)
      rows #T period = [0, 0] body {
    ^bb0(%r: tensor<64xf32>, %g: tensor<64xbf16>):
      %y = row.map %r, %g : (tensor<64xf32>, tensor<64xbf16>) -> tensor<64xf32> {
      ^bb0(%e: f32, %w: bf16):
        %v = arith.extf %w : bf16 to f32
        %p = arith.mulf %e, %v : f32
        row.yield %p : f32
      }
      row.yield %y : tensor<64xf32>
    }
    // The barrier is the host's.
    // CHECK: llvm.call %{{[0-9]+}}(%[[WORKER]]) : !llvm.ptr, (!llvm.ptr) -> ()
    moex.barrier
    // CHECK: llvm.call @moe_rowwise_f32_f32_64__avx2(%[[STEP]], %[[WORKER]],
    moex.rowwise ins(%b, %g1 : memref<?x64xf32>, memref<64xbf16>) outs(%a : memref<?x64xf32>)
      rows #T period = [0, 0] body {
    ^bb0(%r: tensor<64xf32>, %g: tensor<64xbf16>):
      %y = row.map %r, %g : (tensor<64xf32>, tensor<64xbf16>) -> tensor<64xf32> {
      ^bb0(%e: f32, %w: bf16):
        %v = arith.extf %w : bf16 to f32
        %p = arith.mulf %e, %v : f32
        row.yield %p : f32
      }
      row.yield %y : tensor<64xf32>
    }
    // Another body under the same name gets a hash; in place it is another
    // kernel again.
    // CHECK: llvm.call @moe_rowwise_f32_f32_64_[[HASH:[0-9a-f]+]]__avx2(
    moex.rowwise ins(%a, %g0 : memref<?x64xf32>, memref<64xbf16>) outs(%b : memref<?x64xf32>)
      rows #T period = [0, 0] body {
    ^bb0(%r: tensor<64xf32>, %g: tensor<64xbf16>):
      row.yield %r : tensor<64xf32>
    }
    // CHECK: llvm.call @moe_rowwise_f32_f32_64_
    // CHECK-NOT: [[HASH]]
    // CHECK-SAME: __avx2(
    moex.rowwise ins(%a, %g0 : memref<?x64xf32>, memref<64xbf16>) outs(%a : memref<?x64xf32>)
      rows #T period = [0, 0] body {
    ^bb0(%r: tensor<64xf32>, %g: tensor<64xbf16>):
      row.yield %r : tensor<64xf32>
    }
  }
  // CHECK: llvm.return
  return
}

// CHECK: llvm.func internal @moe_rowwise_f32_f32_64__avx2(
// CHECK-NOT: llvm.func internal @moe_rowwise_f32_f32_64__avx2(

// CHECK: llvm.func @step_step__avx2(%[[S:.*]]: !llvm.ptr) -> i32
// CHECK: %[[FN:.*]] = llvm.mlir.addressof @step_body__avx2
// CHECK: %[[STATUS:.*]] = llvm.call %{{.*}}(%{{.*}}, %[[FN]], %[[S]]) : !llvm.ptr, (!llvm.ptr, !llvm.ptr, !llvm.ptr) -> i32
// CHECK: llvm.icmp "ne" %[[STATUS]]
// CHECK: llvm.func @step_scratch__avx2(%{{.*}}: !llvm.ptr) -> i64

// CHECK: llvm.func internal @step_body__generic(
// CHECK-SAME: target_features = #llvm.target_features<["+sse2"]>
// CHECK: llvm.func @step_step__generic(%{{.*}}: !llvm.ptr) -> i32
// CHECK: llvm.func @step_scratch__generic(%{{.*}}: !llvm.ptr) -> i64
// CHECK-NOT: {{^ *}}(scf|arith|math|vector|cf|func|moex|row)\.
