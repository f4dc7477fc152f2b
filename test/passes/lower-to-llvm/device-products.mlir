// RUN: moe-opt %s --lower-to-llvm="target=nvptx levels=sm_80" 2>&1 | FileCheck %s
// RUN: moe-opt %s --lower-to-llvm="target=nvptx levels=sm_90a" 2>&1 | FileCheck %s --check-prefix=WGMMA

// What reaches tensor cores besides products of plain bf16: weights that become
// bf16 while a tile is filled, products of each head, up to four weights; f16.

#zero = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (0)>
#tokens = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>

moe.weight @nf4 : tensor<40x64xbf16> from [#moe.tensor<"nf4">] format = #moeq.nf4<64> layout = #moeq.group_blocks
moe.weight @int4 : tensor<40x72xbf16> from [#moe.tensor<"int4">] format = #moeq.affine<4, 32, bf16> layout = #moeq.group_blocks
moe.weight @f32 : tensor<40x80xf32> from [#moe.tensor<"f32">] format = #moeq.plain<f32> layout = #moeq.row_blocks<16>
moe.weight @f16 : tensor<40x88xf16> from [#moe.tensor<"f16">] format = #moeq.plain<f16> layout = #moeq.row_blocks<64, 8>
moe.weight @heads : tensor<48x32xbf16> from [#moe.tensor<"heads">] format = #moeq.plain<bf16> layout = #moeq.row_blocks<64, 8>
moe.weight @a : tensor<40x64xbf16> from [#moe.tensor<"a">] format = #moeq.plain<bf16> layout = #moeq.row_blocks<64, 8>

// CHECK: remark: level sm_80 computes this without tensor cores: more than four matrices share an epilogue

// CHECK: module @moe_device__sm_80
// CHECK-SAME: {name = "moe_gemm_bf16_bf16_k64_n40__sm_80_few", shared_bytes = 61504 : i64, threads = 128 : i64}
// CHECK-SAME: {name = "moe_gemm_bf16_bf16_k64_n40__sm_80_many",
// CHECK-SAME: {name = "moe_gemm_f32_bf16_k72_n40__sm_80_many",
// CHECK-SAME: {name = "moe_gemm_bf16_f32_k80_n40__sm_80_many",
// CHECK-SAME: {name = "moe_gemm_bf16_f16_k88_n40__sm_80_many",
// CHECK-SAME: {name = "moe_head_gemm_bf16_bf16_k128_n48__sm_80_many",
// CHECK-SAME: {name = "moe_gemm_bf16_bf16_k64_n40_[[THREE:[0-9a-f]+]]__sm_80_many",
// CHECK-SAME: {name = "moe_gemm_bf16_bf16_k64_n40_{{[0-9a-f]+}}__sm_80",
// CHECK-SAME: {name = "moe_gemm_f16_f16_k88_n40__sm_80_many",
// CHECK-SAME: {name = "moe_gemm_f32_bf16_k72_n40_[[INTEGERS:[0-9a-f]+]]__sm_80_few",
// CHECK-SAME: {name = "moe_gemm_f32_bf16_k72_n40_[[INTEGERS]]__sm_80_many",

// nf4: codes are read before the products of a stage, looked up and stored behind
// them.
// CHECK: llvm.func {{.*}} @moe_gemm_bf16_bf16_k64_n40__sm_80_few(
// CHECK: llvm.call_intrinsic "llvm.nvvm.cp.async.wait.group"
// CHECK: llvm.load %{{.*}} : !llvm.ptr -> i16
// CHECK: llvm.load %{{.*}} : !llvm.ptr -> i32
// CHECK: llvm.call_intrinsic "llvm.nvvm.mma.m16n8k16.row.col.bf16"
// CHECK: llvm.lshr
// CHECK: llvm.load %{{.*}} : !llvm.ptr -> f32
// CHECK: llvm.fmul
// CHECK: llvm.call_intrinsic "llvm.nvvm.ff2bf16x2.rn"
// CHECK: llvm.store %{{.*}} : vector<4xi32>, !llvm.ptr
// CHECK: llvm.func {{.*}} @moe_gemm_bf16_f16_k88_n40__sm_80_few(
// CHECK: llvm.call_intrinsic "llvm.nvvm.mma.m16n8k16.row.col.bf16"
// CHECK: llvm.fpext %{{.*}} : vector<8xf16> to vector<8xf32>
// The third index of the grid is the head.
// CHECK: llvm.func {{.*}} @moe_head_gemm_bf16_bf16_k128_n48__sm_80_few(
// CHECK: llvm.call_intrinsic "llvm.nvvm.read.ptx.sreg.ctaid.z"
// CHECK: llvm.call_intrinsic "llvm.nvvm.mma.m16n8k16.row.col.bf16"
// CHECK: llvm.func {{.*}} @moe_gemm_bf16_bf16_k64_n40_[[THREE]]__sm_80_many(
// CHECK: llvm.call_intrinsic "llvm.nvvm.mma.m16n8k16.row.col.bf16"
// CHECK: llvm.func {{.*}} @moe_gemm_bf16_bf16_k64_n40_{{[0-9a-f]+}}__sm_80(
// CHECK-NOT: llvm.nvvm.mma

// f16 is copied as it lies, like bf16.
// CHECK: llvm.func {{.*}} @moe_gemm_f16_f16_k88_n40__sm_80_few(
// CHECK-NOT: llvm.fpext
// CHECK: llvm.call_intrinsic "llvm.nvvm.cp.async.cg.shared.global.16.s"
// CHECK: llvm.call_intrinsic "llvm.nvvm.mma.m16n8k16.row.col.f32.f32"{{.*}}vector<2xf16>

// Integers: rows are rounded in groups, whose sums the instruction gives exactly.
// CHECK: llvm.func {{.*}} @moe_gemm_f32_bf16_k72_n40_[[INTEGERS]]__sm_80_many(
// CHECK: llvm.call_intrinsic "llvm.nvvm.shfl.sync.bfly.f32"
// CHECK: llvm.fdiv
// CHECK: llvm.call_intrinsic "llvm.nvvm.mma.m16n8k32.row.col.s8"
// CHECK: llvm.intr.fma
// CHECK: llvm.func @f_step__sm_80

// What is not copied as it lies has no warps for copies.
// WGMMA: llvm.func {{.*}} @moe_gemm_bf16_f32_k80_n40__sm_90a_wgmma(
// WGMMA-COUNT-4: llvm.call @moec.nv.wgmma.m64n128k16.f32.bf16.bf16.ss
// WGMMA: llvm.func {{.*}} @moe_gemm_f16_f16_k88_n40__sm_90a_tc128(
// WGMMA: llvm.call @moec.nv.wgmma.m64n64k16.f32.f16.f16.ss
func.func @f() attributes {moex.scratch = #tokens} {
  moex.parallel {
    %x64 = moex.arena_slice #zero rows #tokens : memref<?x64xbf16>
    %x72 = moex.arena_slice #zero rows #tokens : memref<?x72xf32>
    %x80 = moex.arena_slice #zero rows #tokens : memref<?x80xbf16>
    %x88 = moex.arena_slice #zero rows #tokens : memref<?x88xbf16>
    %x128 = moex.arena_slice #zero rows #tokens : memref<?x128xbf16>
    %y = moex.arena_slice #zero rows #tokens : memref<?x40xbf16>
    %z = moex.arena_slice #zero rows #tokens : memref<?x48xbf16>
    %nf4 = moex.weight @nf4 : memref<40x64xbf16>
    %int4 = moex.weight @int4 : memref<40x72xbf16>
    %f32 = moex.weight @f32 : memref<40x80xf32>
    %f16 = moex.weight @f16 : memref<40x88xf16>
    %heads = moex.weight @heads : memref<48x32xbf16>
    %a = moex.weight @a : memref<40x64xbf16>
    moex.grouped_gemm ins(%x64 : memref<?x64xbf16>) weights(%nf4 : memref<40x64xbf16>)
      outs(%y : memref<?x40xbf16>) rows #tokens compute = bf16
    moex.grouped_gemm ins(%x72 : memref<?x72xf32>) weights(%int4 : memref<40x72xbf16>)
      outs(%y : memref<?x40xbf16>) rows #tokens compute = bf16
    moex.grouped_gemm ins(%x80 : memref<?x80xbf16>) weights(%f32 : memref<40x80xf32>)
      outs(%y : memref<?x40xbf16>) rows #tokens compute = bf16
    moex.grouped_gemm ins(%x88 : memref<?x88xbf16>) weights(%f16 : memref<40x88xf16>)
      outs(%y : memref<?x40xbf16>) rows #tokens compute = bf16
    moex.grouped_gemm ins(%x128 : memref<?x128xbf16>) weights(%heads : memref<48x32xbf16>)
      outs(%z : memref<?x48xbf16>) rows #tokens compute = bf16 heads = 4
    moex.grouped_gemm ins(%x64 : memref<?x64xbf16>)
      weights(%a, %a, %a : memref<40x64xbf16>, memref<40x64xbf16>, memref<40x64xbf16>)
      outs(%y : memref<?x40xbf16>) rows #tokens compute = bf16 epilogue {
    ^bb0(%p: f32, %q: f32, %r: f32):
      %s = arith.mulf %p, %q : f32
      %t = arith.mulf %s, %r : f32
      row.yield %t : f32
    }
    moex.grouped_gemm ins(%x64 : memref<?x64xbf16>)
      weights(%a, %a, %a, %a, %a : memref<40x64xbf16>, memref<40x64xbf16>,
              memref<40x64xbf16>, memref<40x64xbf16>, memref<40x64xbf16>)
      outs(%y : memref<?x40xbf16>) rows #tokens compute = bf16 epilogue {
    ^bb0(%p: f32, %q: f32, %r: f32, %s: f32, %t: f32):
      row.yield %t : f32
    }
    %h88 = moex.arena_slice #zero rows #tokens : memref<?x88xf16>
    moex.grouped_gemm ins(%h88 : memref<?x88xf16>) weights(%f16 : memref<40x88xf16>)
      outs(%y : memref<?x40xbf16>) rows #tokens compute = f16
    moex.grouped_gemm ins(%x72 : memref<?x72xf32>) weights(%int4 : memref<40x72xbf16>)
      outs(%y : memref<?x40xbf16>) rows #tokens compute = i8
  }
  return
}
