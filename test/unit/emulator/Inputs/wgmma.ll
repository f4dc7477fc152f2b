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

; A ring of two stages between a producer, thread 0, and a consumer, warps 4 to
; 7. A stage is a[64, 16] and b[8, 16] as core matrices of 8 x 8, each 128 bytes:
; a's m before k, so strides of 128 and 1024 bytes, b's two 128 bytes apart.
; out[4 (tid - 128) ..] = accumulators of the sum of a b^T over `tiles`.
@stages = internal addrspace(3) global [2 x [2304 x i8]] undef, align 128
@full = internal addrspace(3) global [2 x i64] undef, align 8
@empty = internal addrspace(3) global [2 x i64] undef, align 8

declare void @llvm.nvvm.mbarrier.init.shared(ptr addrspace(3), i32)
declare i64 @llvm.nvvm.mbarrier.arrive.shared(ptr addrspace(3))
declare i64 @llvm.nvvm.mbarrier.arrive.expect.tx.scope.cta.space.cta(ptr addrspace(3), i32)
declare i1 @llvm.nvvm.mbarrier.try.wait.parity.scope.cta.space.cta(ptr addrspace(3), i32)
declare void @llvm.nvvm.fence.mbarrier_init.release.cluster()
declare void @llvm.nvvm.cp.async.bulk.global.to.shared.cluster(ptr addrspace(7), ptr addrspace(3), ptr addrspace(1), i32, i16, i64, i1, i1)
declare [4 x float] @moec.nv.wgmma.m64n8k16.f32.bf16.bf16.ss([4 x float], i64, i64, i1) #0
declare [4 x float] @moec.nv.wgmma.wait.4xf32([4 x float], i32) #0

define ptx_kernel void @ring(ptr addrspace(1) %in, ptr addrspace(1) %out, i64 %tiles) {
entry:
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %is0 = icmp eq i32 %tid, 0
  br i1 %is0, label %init, label %begin
init:
  call void @llvm.nvvm.mbarrier.init.shared(ptr addrspace(3) @full, i32 1)
  call void @llvm.nvvm.mbarrier.init.shared(ptr addrspace(3) getelementptr (i64, ptr addrspace(3) @full, i32 1), i32 1)
  call void @llvm.nvvm.mbarrier.init.shared(ptr addrspace(3) @empty, i32 1)
  call void @llvm.nvvm.mbarrier.init.shared(ptr addrspace(3) getelementptr (i64, ptr addrspace(3) @empty, i32 1), i32 1)
  call void @llvm.nvvm.fence.mbarrier_init.release.cluster()
  br label %begin
begin:
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %is_consumer = icmp uge i32 %tid, 128
  br i1 %is_consumer, label %consume, label %role
role:
  br i1 %is0, label %produce, label %end

produce:
  %pt = phi i64 [0, %role], [%pnext, %filled]
  %ps = and i64 %pt, 1
  %pround = lshr i64 %pt, 1
  %pround32 = trunc i64 %pround to i32
  %pbit = and i32 %pround32, 1
  %pparity = xor i32 %pbit, 1
  %pempty = getelementptr [2 x i64], ptr addrspace(3) @empty, i64 0, i64 %ps
  %pfull = getelementptr [2 x i64], ptr addrspace(3) @full, i64 0, i64 %ps
  br label %pwait
pwait:
  %pdone = call i1 @llvm.nvvm.mbarrier.try.wait.parity.scope.cta.space.cta(ptr addrspace(3) %pempty, i32 %pparity)
  br i1 %pdone, label %filled, label %pwait
filled:
  call i64 @llvm.nvvm.mbarrier.arrive.expect.tx.scope.cta.space.cta(ptr addrspace(3) %pfull, i32 2304)
  %to = getelementptr [2 x [2304 x i8]], ptr addrspace(3) @stages, i64 0, i64 %ps
  %to7 = addrspacecast ptr addrspace(3) %to to ptr addrspace(7)
  %from = getelementptr [2304 x i8], ptr addrspace(1) %in, i64 %pt
  call void @llvm.nvvm.cp.async.bulk.global.to.shared.cluster(ptr addrspace(7) %to7, ptr addrspace(3) %pfull, ptr addrspace(1) %from, i32 2304, i16 0, i64 0, i1 false, i1 false)
  %pnext = add i64 %pt, 1
  %pmore = icmp ult i64 %pnext, %tiles
  br i1 %pmore, label %produce, label %end

consume:
  %t = phi i64 [0, %begin], [%next, %released]
  %acc = phi [4 x float] [zeroinitializer, %begin], [%done, %released]
  %s = and i64 %t, 1
  %round = lshr i64 %t, 1
  %round32 = trunc i64 %round to i32
  %parity = and i32 %round32, 1
  %cfull = getelementptr [2 x i64], ptr addrspace(3) @full, i64 0, i64 %s
  %cempty = getelementptr [2 x i64], ptr addrspace(3) @empty, i64 0, i64 %s
  br label %cwait
cwait:
  %cdone = call i1 @llvm.nvvm.mbarrier.try.wait.parity.scope.cta.space.cta(ptr addrspace(3) %cfull, i32 %parity)
  br i1 %cdone, label %multiply, label %cwait
multiply:
  %stage = getelementptr [2 x [2304 x i8]], ptr addrspace(3) @stages, i64 0, i64 %s
  %address = ptrtoint ptr addrspace(3) %stage to i64
  %low = and i64 %address, 262143
  %start = lshr i64 %low, 4
  %da = or i64 %start, 34363932672 ; stride 128: 8 << 32, leading 1024: 64 << 16
  %startb = add i64 %start, 128
  %db = or i64 %startb, 524288 ; leading 128: 8 << 16
  call void @llvm.nvvm.wgmma.fence.sync.aligned()
  %c = call [4 x float] @moec.nv.wgmma.m64n8k16.f32.bf16.bf16.ss([4 x float] %acc, i64 %da, i64 %db, i1 true)
  call void @llvm.nvvm.wgmma.commit_group.sync.aligned()
  %done = call [4 x float] @moec.nv.wgmma.wait.4xf32([4 x float] %c, i32 0)
  %first = icmp eq i32 %tid, 160
  br i1 %first, label %release, label %released
release:
  call i64 @llvm.nvvm.mbarrier.arrive.shared(ptr addrspace(3) %cempty)
  br label %released
released:
  %next = add i64 %t, 1
  %more = icmp ult i64 %next, %tiles
  br i1 %more, label %consume, label %write
write:
  %i = sub i32 %tid, 128
  %o = getelementptr [4 x float], ptr addrspace(1) %out, i32 %i
  store [4 x float] %done, ptr addrspace(1) %o
  br label %end
end:
  ret void
}

declare void @llvm.nvvm.setmaxnreg.inc.sync.aligned.u32(i32)
declare void @llvm.nvvm.setmaxnreg.dec.sync.aligned.u32(i32)

; The first warpgroup gives registers, the others take them.
define ptx_kernel void @registers() {
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %is_copier = icmp ult i32 %tid, 128
  br i1 %is_copier, label %give, label %take

give:
  call void @llvm.nvvm.setmaxnreg.dec.sync.aligned.u32(i32 40)
  ret void

take:
  call void @llvm.nvvm.setmaxnreg.inc.sync.aligned.u32(i32 232)
  ret void
}
