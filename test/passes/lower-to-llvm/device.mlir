// RUN: moe-opt %s --lower-to-llvm="target=nvptx levels=sm_80" | FileCheck %s
// RUN: moe-opt %s --lower-to-llvm="target=nvptx,x86_64 levels=sm_80" | FileCheck %s --check-prefix=BOTH
// RUN: not moe-opt %s --lower-to-llvm="target=nvptx levels=sm_10" 2>&1 | FileCheck %s --check-prefix=LEVEL

// LEVEL: target 'nvptx' has no level 'sm_10'

// Devices come before processors: the first variant that fits runs.
// BOTH: moex.variants = [{device = "cuda"
// BOTH-SAME: isa = "sm_80"
// BOTH-SAME: isa = "avx512"
// BOTH: module @moe_device__sm_80
// BOTH: llvm.func @f_step__sm_80
// BOTH: llvm.func @f_step__avx512

#zero = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (0)>
#tokens = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>

moe.weight @u0 : tensor<32x64xf32> from [#moe.tensor<"u0">] format = #moeq.plain<f32> layout = #moeq.row_blocks<16>
moe.weight @u1 : tensor<32x64xf32> from [#moe.tensor<"u1">] format = #moeq.plain<f32> layout = #moeq.row_blocks<16>
moe.weight @d0 : tensor<64x32xf32> from [#moe.tensor<"d0">] format = #moeq.plain<f32> layout = #moeq.row_blocks<16>
moe.weight @d1 : tensor<64x32xf32> from [#moe.tensor<"d1">] format = #moeq.plain<f32> layout = #moeq.row_blocks<16>
moe.expert_table @e body = "mlp" [
  #moe.expert<width = 32, weights = {down = @d0, up = @u0}>,
  #moe.expert<width = 32, weights = {down = @d1, up = @u1}>]

// Both products are one kernel: kernels are shared by structure. Experts are found
// through ordinals among the level's constants.
// CHECK: module @moe_device__sm_80 attributes {moex.constants = array<i32: 0, 1, {{.*}}>
// CHECK-SAME: moex.kernels = [
// CHECK-SAME: {name = "moe_rowwise_f32_f32_64__sm_80", shared_bytes = 0 : i64, threads = 128 : i64}
// CHECK-SAME: {name = "moe_grouped_gemm_f32_f32_k64_n32__sm_80"
// CHECK-SAME: threads = 256 : i64}, {name = "moe_sampling__sm_80"
// CHECK-SAME: moex.level = {exact = false, features = ["+ptx80"], major = 8 : i64, minor = 0 : i64, name = "sm_80"}, moex.sample = "moe_sample__sm_80"}
// CHECK: llvm.func ptx_kernelcc @moe_rowwise_f32_f32_64__sm_80(%{{.*}}: !llvm.ptr, %{{.*}}: i64, %{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr)
// CHECK-SAME: ["nvvm.maxntid", "128"]

// The step is host code: it fills in a launch and lets the host start it.
// CHECK: llvm.func @f_step__sm_80(%[[STEP:.*]]: !llvm.ptr) -> i32
// CHECK: llvm.call %{{.*}}(%[[STEP]], %{{.*}}) : !llvm.ptr, (!llvm.ptr, !llvm.ptr) -> i32
// CHECK: llvm.call
// CHECK-SAME: (!llvm.ptr, !llvm.ptr) -> i32
// CHECK: llvm.call
// CHECK-SAME: (!llvm.ptr, !llvm.ptr) -> i32
// CHECK-NOT: llvm.call
// CHECK: llvm.return
func.func @f() attributes {moex.scratch = #tokens} {
  moex.parallel {
    %x = moex.arena_slice #zero rows #tokens : memref<?x64xf32>
    %y = moex.output 0 : memref<?x32xf32>
    %o = moex.arena_slice #zero rows #zero : memref<3xi32>
    %w = moex.expert_weights @e role "up" : memref<2x32x64xf32>
    moex.rowwise ins(%x : memref<?x64xf32>) outs(%x : memref<?x64xf32>)
        rows #tokens period = [0] body {
    ^bb0(%r: tensor<64xf32>):
      row.yield %r : tensor<64xf32>
    }
    moex.barrier
    moex.grouped_gemm ins(%x : memref<?x64xf32>) weights(%w : memref<2x32x64xf32>)
      segments(%o : memref<3xi32>) outs(%y : memref<?x32xf32>) rows #tokens
      compute = f32
    moex.barrier
    moex.grouped_gemm ins(%x : memref<?x64xf32>) weights(%w : memref<2x32x64xf32>)
      segments(%o : memref<3xi32>) outs(%y : memref<?x32xf32>) rows #tokens
      compute = f32
  }
  return
}
