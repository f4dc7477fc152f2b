// RUN: moe-opt %s --lower-to-llvm="target=nvptx levels=sm_80" | FileCheck %s
// RUN: moe-opt %s --lower-to-llvm="target=nvptx levels=sm_90a" | FileCheck %s --check-prefix=ROLES

// Products of bf16 go to tensor cores: three kernels, of which a step starts the one
// that suits its number of rows. Attention has one for sequences of few tokens, whose
// keys are divided among blocks, one that adds what these leave, and one for all other
// sequences. What does not fit has the plain kernel.

#zero = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (0)>
#tokens = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>

moe.weight @w : tensor<40x64xbf16> from [#moe.tensor<"w">] format = #moeq.plain<bf16> layout = #moeq.row_blocks<64, 8>
moe.weight @odd : tensor<40x60xbf16> from [#moe.tensor<"odd">] format = #moeq.plain<bf16> layout = #moeq.row_blocks<64, 8>
nn.state @k per_token : tensor<128xbf16> cache_tokens = 64
nn.state @v per_token : tensor<128xbf16> cache_tokens = 64
nn.state @latent per_token : tensor<576xbf16> cache_tokens = 64
nn.state @other per_token : tensor<576xbf16> cache_tokens = 64

// Behind the buffers lies what kernels of one operation leave for the next: of 264 blocks
// 16 rows of 512 columns, their maxima and sums.
// CHECK: moex.variants = [{device = "cuda"
// CHECK-SAME: scratch = "(T ceildiv 64) * 64 + 8684544"
// CHECK: module @moe_device__sm_80
// CHECK-SAME: {name = "moe_gemm_bf16_bf16_k64_n40__sm_80_few", shared_bytes = {{[0-9]+}} : i64, threads = 128 : i64}
// CHECK-SAME: {name = "moe_gemm_bf16_bf16_k64_n40__sm_80_some", shared_bytes = {{[0-9]+}} : i64, threads = 256 : i64}
// CHECK-SAME: {name = "moe_gemm_bf16_bf16_k64_n40__sm_80_many", shared_bytes = {{[0-9]+}} : i64, threads = 256 : i64}
// Rows that are no multiple of 16 bytes, another type of computation.
// CHECK-SAME: {name = "moe_gemm_bf16_bf16_k60_n40__sm_80",
// CHECK-SAME: {name = "moe_gemm_bf16_bf16_k64_n40_{{[0-9a-f]+}}__sm_80",
// CHECK-SAME: {name = "moe_attention_paged_bf16_bf16_h4_kv2_d64__sm_80_few",
// CHECK-SAME: {name = "moe_attention_paged_bf16_bf16_h4_kv2_d64__sm_80_merge",
// CHECK-SAME: {name = "moe_attention_paged_bf16_bf16_h4_kv2_d64__sm_80_many",
// Latent attention is wider than a tile of many tokens can be. Keys that are the values
// as well are another kernel than keys and values of the same widths.
// CHECK-SAME: {name = "moe_attention_paged_bf16_bf16_h16_kv1_d576__sm_80_few",
// CHECK-SAME: {name = "moe_attention_paged_bf16_bf16_h16_kv1_d576__sm_80_merge",
// CHECK-NOT: h16_kv1_d576{{[_0-9a-f]*}}__sm_80_many
// CHECK-SAME: {name = "moe_attention_paged_bf16_bf16_h16_kv1_d576_{{[0-9a-f]+}}__sm_80", shared_bytes = {{[0-9]+}} : i64, threads = 64 : i64}
// CHECK-SAME: {name = "moe_attention_paged_bf16_bf16_h4_kv2_d64_{{[0-9a-f]+}}__sm_80", shared_bytes = {{[0-9]+}} : i64, threads = 64 : i64}

// CHECK: llvm.func {{.*}} @moe_gemm_bf16_bf16_k64_n40__sm_80_few(
// CHECK: llvm.call_intrinsic "llvm.nvvm.cp.async.cg.shared.global.16.s"
// CHECK: llvm.call_intrinsic "llvm.nvvm.cp.async.wait.group"
// CHECK: llvm.call_intrinsic "llvm.nvvm.barrier.cta.sync.aligned.all"
// CHECK: llvm.call_intrinsic "llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.b16"
// CHECK: llvm.call_intrinsic "llvm.nvvm.mma.m16n8k16.row.col.bf16"
// CHECK: llvm.func {{.*}} @moe_gemm_bf16_bf16_k60_n40__sm_80(
// CHECK-NOT: llvm.nvvm.mma
// CHECK: llvm.func {{.*}} @moe_attention_paged_bf16_bf16_h4_kv2_d64__sm_80_few(
// CHECK: llvm.call_intrinsic "llvm.nvvm.mma.m16n8k16.row.col.bf16"
// CHECK: llvm.call_intrinsic "llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.trans.b16"
// Step, rows, query, out, keys, values, and scratch of its own.
// CHECK: llvm.func {{.*}} @moe_attention_paged_bf16_bf16_h4_kv2_d64__sm_80_merge(%{{[^:]*}}: !llvm.ptr, %{{[^:]*}}: i64, %{{[^:]*}}: !llvm.ptr, %{{[^:]*}}: !llvm.ptr, %{{[^:]*}}: !llvm.ptr, %{{[^:]*}}: !llvm.ptr, %{{[^:]*}}: !llvm.ptr)
// CHECK-NOT: llvm.nvvm.mma
// CHECK: llvm.func {{.*}} @moe_attention_paged_bf16_bf16_h4_kv2_d64__sm_80_many(
// CHECK: llvm.func {{.*}} @moe_attention_paged_bf16_bf16_h4_kv2_d64_{{[0-9a-f]+}}__sm_80(
// CHECK-NOT: llvm.nvvm.mma
// CHECK: llvm.func @f_step__sm_80

// On sm_90a more than a few rows go to warps with roles: one that copies, others
// that multiply. Halves of 64 rows, 32 columns each; or 64 rows of 128.
// ROLES: module @moe_device__sm_90a
// ROLES-SAME: {name = "moe_gemm_bf16_bf16_k64_n40__sm_90a_few",
// ROLES-SAME: {name = "moe_gemm_bf16_bf16_k64_n40__sm_90a_tc64", shared_bytes = 131200 : i64, threads = 384 : i64}
// ROLES-SAME: {name = "moe_gemm_bf16_bf16_k64_n40__sm_90a_tc128", shared_bytes = 196736 : i64, threads = 384 : i64}
// ROLES: llvm.func {{.*}} @moe_gemm_bf16_bf16_k64_n40__sm_90a_tc64(
// ROLES-SAME: passthrough = {{.*}}["nvvm.maxntid", "384"], ["nvvm.minctasm", "1"]
// ROLES: llvm.call_intrinsic "llvm.nvvm.mbarrier.init.shared"
// ROLES: llvm.call_intrinsic "llvm.nvvm.fence.mbarrier_init.release.cluster"
// ROLES: llvm.call_intrinsic "llvm.nvvm.barrier.cta.sync.aligned.all"
// ROLES: llvm.call_intrinsic "llvm.nvvm.setmaxnreg.dec.sync.aligned.u32"
// ROLES: llvm.call_intrinsic "llvm.nvvm.mbarrier.try.wait.parity.scope.cta.space.cta"
// ROLES: llvm.call_intrinsic "llvm.nvvm.mbarrier.expect.tx.scope.cta.space.cta"
// ROLES: llvm.call_intrinsic "llvm.nvvm.cp.async.bulk.global.to.shared.cluster"
// ROLES-COUNT-4: llvm.call_intrinsic "llvm.nvvm.cp.async.cg.shared.global.16.s"
// ROLES: llvm.call_intrinsic "llvm.nvvm.cp.async.commit.group"
// ROLES: llvm.call_intrinsic "llvm.nvvm.cp.async.wait.group"
// ROLES-NEXT: llvm.call_intrinsic "llvm.nvvm.fence.proxy.async.shared_cta"
// ROLES: llvm.call_intrinsic "llvm.nvvm.mbarrier.arrive.shared"
// ROLES: llvm.call_intrinsic "llvm.nvvm.setmaxnreg.inc.sync.aligned.u32"
// ROLES: llvm.call_intrinsic "llvm.nvvm.mbarrier.try.wait.parity.scope.cta.space.cta"
// ROLES: llvm.call_intrinsic "llvm.nvvm.wgmma.fence.sync.aligned"
// ROLES-COUNT-4: llvm.call @moec.nv.wgmma.m64n32k16.f32.bf16.bf16.ss
// ROLES: llvm.call_intrinsic "llvm.nvvm.wgmma.commit_group.sync.aligned"
// ROLES: llvm.call_intrinsic "llvm.nvvm.wgmma.wait_group.sync.aligned"
// ROLES: llvm.call_intrinsic "llvm.nvvm.mbarrier.arrive.shared"
// ROLES: llvm.call @moec.nv.wgmma.wait.16xf32
// ROLES: llvm.func {{.*}} @moe_gemm_bf16_bf16_k64_n40__sm_90a_tc128(
// ROLES-COUNT-4: llvm.call @moec.nv.wgmma.m64n64k16.f32.bf16.bf16.ss
// ROLES: llvm.call @moec.nv.wgmma.wait.32xf32
func.func @f() attributes {moex.scratch = #tokens} {
  moex.parallel {
    %x = moex.arena_slice #zero rows #tokens : memref<?x64xbf16>
    %z = moex.arena_slice #zero rows #tokens : memref<?x60xbf16>
    %y = moex.arena_slice #zero rows #tokens : memref<?x40xbf16>
    %w = moex.weight @w : memref<40x64xbf16>
    %odd = moex.weight @odd : memref<40x60xbf16>
    moex.grouped_gemm ins(%x : memref<?x64xbf16>) weights(%w : memref<40x64xbf16>)
      outs(%y : memref<?x40xbf16>) rows #tokens compute = bf16
    moex.grouped_gemm ins(%z : memref<?x60xbf16>) weights(%odd : memref<40x60xbf16>)
      outs(%y : memref<?x40xbf16>) rows #tokens compute = bf16
    moex.grouped_gemm ins(%x : memref<?x64xbf16>) weights(%w : memref<40x64xbf16>)
      outs(%y : memref<?x40xbf16>) rows #tokens compute = f32
    %q = moex.arena_slice #zero rows #tokens : memref<?x256xbf16>
    %a = moex.arena_slice #zero rows #tokens : memref<?x256xbf16>
    moex.attention ins(%q : memref<?x256xbf16>) state(@k, @v)
        outs(%a : memref<?x256xbf16>) heads = 4 kv_heads = 2 scale = 1.25e-1
        compute = bf16
    %lq = moex.arena_slice #zero rows #tokens : memref<?x9216xbf16>
    %la = moex.arena_slice #zero rows #tokens : memref<?x8192xbf16>
    moex.attention ins(%lq : memref<?x9216xbf16>) state(@latent, @latent)
        outs(%la : memref<?x8192xbf16>) heads = 16 kv_heads = 1 scale = 1.25e-1
        compute = bf16
    moex.attention ins(%lq : memref<?x9216xbf16>) state(@latent, @other)
        outs(%la : memref<?x8192xbf16>) heads = 16 kv_heads = 1 scale = 1.25e-1
        compute = bf16
    moex.attention ins(%q : memref<?x256xbf16>) state(@k, @v)
        outs(%a : memref<?x256xbf16>) heads = 4 kv_heads = 2 scale = 1.25e-1
        compute = f32
  }
  return
}
