; wgmma over tiles in the 128-byte swizzle.
target triple = "nvptx64-nvidia-cuda"

@tile_a = internal addrspace(3) global [64 x [64 x bfloat]] undef, align 1024
@tile_b = internal addrspace(3) global [16 x [64 x bfloat]] undef, align 1024

declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare void @llvm.nvvm.barrier.cta.sync.aligned.all(i32)
declare void @llvm.nvvm.fence.proxy.async.shared_cta()
declare void @llvm.nvvm.wgmma.fence.sync.aligned()
declare void @llvm.nvvm.wgmma.commit_group.sync.aligned()
declare [8 x float] @moec.nv.wgmma.m64n16k16.f32.bf16.bf16.ss([8 x float], i64, i64, i1) #0
declare [8 x float] @moec.nv.wgmma.m64n16k16.f32.bf16.bf16.rs.tb([8 x float], i32, i32, i32, i32, i64, i1) #0
declare [8 x float] @moec.nv.wgmma.wait.8xf32([8 x float], i32) #0

; Copies 16 bytes of row `row` to their place in a tile of rows of 128 bytes.
define internal void @put(ptr addrspace(3) %tile, ptr addrspace(1) %from, i32 %chunk) {
  %row = lshr i32 %chunk, 3
  %c = and i32 %chunk, 7
  %r = and i32 %row, 7
  %x = xor i32 %c, %r
  %i = shl i32 %row, 3
  %place = or i32 %i, %x
  %p = getelementptr <4 x i32>, ptr addrspace(1) %from, i32 %chunk
  %v = load <4 x i32>, ptr addrspace(1) %p, align 16
  %q = getelementptr <4 x i32>, ptr addrspace(3) %tile, i32 %place
  store <4 x i32> %v, ptr addrspace(3) %q, align 16
  ret void
}

; Rows of 128 bytes, groups of 8 rows 1024 bytes apart, 128-byte swizzle.
define internal i64 @describe(ptr addrspace(3) %tile) {
  %address = ptrtoint ptr addrspace(3) %tile to i64
  %low = and i64 %address, 262143
  %start = lshr i64 %low, 4
  %d = or i64 %start, 4611686293305360384 ; 1 << 62 | 64 << 32 | 1 << 16
  ret i64 %d
}

; out[8 tid ..] = accumulators of a[64, 64] b[16, 64]^T; `early` writes to a
; before the wait.
define ptx_kernel void @product(ptr addrspace(1) %a, ptr addrspace(1) %b, ptr addrspace(1) %out, i64 %early) {
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %t1 = add i32 %tid, 128
  %t2 = add i32 %tid, 256
  %t3 = add i32 %tid, 384
  call void @put(ptr addrspace(3) @tile_a, ptr addrspace(1) %a, i32 %tid)
  call void @put(ptr addrspace(3) @tile_a, ptr addrspace(1) %a, i32 %t1)
  call void @put(ptr addrspace(3) @tile_a, ptr addrspace(1) %a, i32 %t2)
  call void @put(ptr addrspace(3) @tile_a, ptr addrspace(1) %a, i32 %t3)
  call void @put(ptr addrspace(3) @tile_b, ptr addrspace(1) %b, i32 %tid)
  call void @llvm.nvvm.fence.proxy.async.shared_cta() ; <proxy-fence>
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0) ; <barrier>
  %da0 = call i64 @describe(ptr addrspace(3) @tile_a)
  %db0 = call i64 @describe(ptr addrspace(3) @tile_b)
  call void @llvm.nvvm.wgmma.fence.sync.aligned() ; <fence>
  %c0 = call [8 x float] @moec.nv.wgmma.m64n16k16.f32.bf16.bf16.ss([8 x float] zeroinitializer, i64 %da0, i64 %db0, i1 false)
  %da1 = add i64 %da0, 2
  %db1 = add i64 %db0, 2
  %c1 = call [8 x float] @moec.nv.wgmma.m64n16k16.f32.bf16.bf16.ss([8 x float] %c0, i64 %da1, i64 %db1, i1 true)
  %da2 = add i64 %da1, 2
  %db2 = add i64 %db1, 2
  %c2 = call [8 x float] @moec.nv.wgmma.m64n16k16.f32.bf16.bf16.ss([8 x float] %c1, i64 %da2, i64 %db2, i1 true)
  %da3 = add i64 %da2, 2
  %db3 = add i64 %db2, 2
  %c3 = call [8 x float] @moec.nv.wgmma.m64n16k16.f32.bf16.bf16.ss([8 x float] %c2, i64 %da3, i64 %db3, i1 true)
  call void @llvm.nvvm.wgmma.commit_group.sync.aligned()
  %is_early = icmp ne i64 %early, 0
  br i1 %is_early, label %disturb, label %wait
disturb:
  store i32 0, ptr addrspace(3) @tile_a
  br label %wait
wait:
  %done = call [8 x float] @moec.nv.wgmma.wait.8xf32([8 x float] %c3, i32 0)
  %o = getelementptr [8 x float], ptr addrspace(1) %out, i32 %tid
  store [8 x float] %done, ptr addrspace(1) %o
  ret void
}

; The same over 16 of k, with A from registers: in[4 tid ..] holds them. B is
; b[k, n], N-major: rows of 32 bytes without swizzle are two core matrices.
define ptx_kernel void @from_registers(ptr addrspace(1) %a, ptr addrspace(1) %b, ptr addrspace(1) %out) {
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %is_b = icmp ult i32 %tid, 32
  br i1 %is_b, label %copy, label %copied
copy:
  ; 16 bytes of row k = tid / 2, half tid % 2: core matrix (k / 8, half), 128
  ; bytes each, the halves 128 apart, the groups of 8 rows 256.
  %k = lshr i32 %tid, 1
  %half = and i32 %tid, 1
  %group = lshr i32 %k, 3
  %row = and i32 %k, 7
  %g16 = mul i32 %group, 16
  %h8 = mul i32 %half, 8
  %gh = add i32 %g16, %h8
  %place = add i32 %gh, %row
  %p = getelementptr <4 x i32>, ptr addrspace(1) %b, i32 %tid
  %v = load <4 x i32>, ptr addrspace(1) %p, align 16
  %q = getelementptr <4 x i32>, ptr addrspace(3) @tile_b, i32 %place
  store <4 x i32> %v, ptr addrspace(3) %q, align 16
  call void @llvm.nvvm.fence.proxy.async.shared_cta()
  br label %copied
copied:
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %pa = getelementptr [4 x i32], ptr addrspace(1) %a, i32 %tid
  %r = load [4 x i32], ptr addrspace(1) %pa
  %r0 = extractvalue [4 x i32] %r, 0
  %r1 = extractvalue [4 x i32] %r, 1
  %r2 = extractvalue [4 x i32] %r, 2
  %r3 = extractvalue [4 x i32] %r, 3
  %address = ptrtoint ptr addrspace(3) @tile_b to i64
  %low = and i64 %address, 262143
  %start = lshr i64 %low, 4
  %d = or i64 %start, 34360786944 ; stride 128: 8 << 32, leading 256: 16 << 16
  call void @llvm.nvvm.wgmma.fence.sync.aligned()
  %c = call [8 x float] @moec.nv.wgmma.m64n16k16.f32.bf16.bf16.rs.tb([8 x float] zeroinitializer, i32 %r0, i32 %r1, i32 %r2, i32 %r3, i64 %d, i1 true)
  call void @llvm.nvvm.wgmma.commit_group.sync.aligned()
  %done = call [8 x float] @moec.nv.wgmma.wait.8xf32([8 x float] %c, i32 0)
  %o = getelementptr [8 x float], ptr addrspace(1) %out, i32 %tid
  store [8 x float] %done, ptr addrspace(1) %o
  ret void
}

attributes #0 = { convergent nounwind }
