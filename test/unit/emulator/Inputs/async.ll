; Asynchronous copies, mbarriers and proxies.
target triple = "nvptx64-nvidia-cuda"

@stages = internal addrspace(3) global [2 x [32 x <4 x float>]] undef, align 128
@full = internal addrspace(3) global [2 x i64] undef, align 8
@empty = internal addrspace(3) global [2 x i64] undef, align 8

declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare void @llvm.nvvm.bar.warp.sync(i32)
declare void @llvm.nvvm.barrier.cta.sync.aligned.all(i32)
declare void @llvm.nvvm.cp.async.cg.shared.global.16(ptr addrspace(3), ptr addrspace(1))
declare void @llvm.nvvm.cp.async.ca.shared.global.4.s(ptr addrspace(3), ptr addrspace(1), i32)
declare void @llvm.nvvm.cp.async.commit.group()
declare void @llvm.nvvm.cp.async.wait.group(i32)
declare void @llvm.nvvm.cp.async.wait.all()
declare void @llvm.nvvm.cp.async.mbarrier.arrive.noinc.shared(ptr addrspace(3))
declare void @llvm.nvvm.mbarrier.init.shared(ptr addrspace(3), i32)
declare i64 @llvm.nvvm.mbarrier.arrive.shared(ptr addrspace(3))
declare i64 @llvm.nvvm.mbarrier.arrive.expect.tx.scope.cta.space.cta(ptr addrspace(3), i32)
declare i1 @llvm.nvvm.mbarrier.try.wait.parity.scope.cta.space.cta(ptr addrspace(3), i32)
declare i1 @llvm.nvvm.mbarrier.test.wait.shared(ptr addrspace(3), i64)
declare void @llvm.nvvm.fence.mbarrier_init.release.cluster()
declare void @llvm.nvvm.fence.proxy.async.shared_cta()
declare void @llvm.nvvm.cp.async.bulk.global.to.shared.cluster(ptr addrspace(7), ptr addrspace(3), ptr addrspace(1), i32, i16, i64, i1, i1)
declare void @llvm.nvvm.cp.async.bulk.shared.cta.to.global(ptr addrspace(1), ptr addrspace(3), i32, i64, i1)
declare void @llvm.nvvm.cp.async.bulk.commit.group()
declare void @llvm.nvvm.cp.async.bulk.wait.group(i32)

; out[t, l] = 2 in[t, 31 - l] for `tiles` tiles of 32 x 4 floats, two stages
define ptx_kernel void @pipeline(ptr addrspace(1) %in, ptr addrspace(1) %out, i64 %tiles) {
entry:
  %lane = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %far = sub i32 31, %lane
  %from0 = getelementptr <4 x float>, ptr addrspace(1) %in, i32 %lane
  %to0 = getelementptr [2 x [32 x <4 x float>]], ptr addrspace(3) @stages, i32 0, i32 0, i32 %lane
  call void @llvm.nvvm.cp.async.cg.shared.global.16(ptr addrspace(3) %to0, ptr addrspace(1) %from0)
  call void @llvm.nvvm.cp.async.commit.group()
  br label %loop
loop:
  %t = phi i64 [0, %entry], [%next, %ready]
  %next = add i64 %t, 1
  %has_next = icmp ult i64 %next, %tiles
  br i1 %has_next, label %fetch, label %ready
fetch:
  %next_stage = and i64 %next, 1
  %to = getelementptr [2 x [32 x <4 x float>]], ptr addrspace(3) @stages, i64 0, i64 %next_stage, i32 %lane
  %from = getelementptr [32 x <4 x float>], ptr addrspace(1) %in, i64 %next, i32 %lane
  call void @llvm.nvvm.cp.async.cg.shared.global.16(ptr addrspace(3) %to, ptr addrspace(1) %from)
  br label %ready
ready:
  call void @llvm.nvvm.cp.async.commit.group()
  call void @llvm.nvvm.cp.async.wait.group(i32 1) ; <wait>
  call void @llvm.nvvm.bar.warp.sync(i32 -1) ; <filled>
  %stage = and i64 %t, 1
  %at = getelementptr [2 x [32 x <4 x float>]], ptr addrspace(3) @stages, i64 0, i64 %stage, i32 %far
  %x = load <4 x float>, ptr addrspace(3) %at, align 16
  %y = fmul <4 x float> %x, <float 2.0, float 2.0, float 2.0, float 2.0>
  %o = getelementptr [32 x <4 x float>], ptr addrspace(1) %out, i64 %t, i32 %lane
  store <4 x float> %y, ptr addrspace(1) %o, align 16
  call void @llvm.nvvm.bar.warp.sync(i32 -1) ; <read>
  br i1 %has_next, label %loop, label %end
end:
  ret void
}

; out[l] = l < n ? in[l] : 0, by copies whose source ends early
define ptx_kernel void @zero_fill(ptr addrspace(1) %in, ptr addrspace(1) %out, i64 %n) {
  %lane = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %l = zext i32 %lane to i64
  %is_in = icmp ult i64 %l, %n
  %size = select i1 %is_in, i32 4, i32 0
  %from = getelementptr float, ptr addrspace(1) %in, i32 %lane
  %to = getelementptr float, ptr addrspace(3) @stages, i32 %lane
  call void @llvm.nvvm.cp.async.ca.shared.global.4.s(ptr addrspace(3) %to, ptr addrspace(1) %from, i32 %size)
  call void @llvm.nvvm.cp.async.wait.all()
  %x = load float, ptr addrspace(3) %to
  %o = getelementptr float, ptr addrspace(1) %out, i32 %lane
  store float %x, ptr addrspace(1) %o
  ret void
}

; out[l] = in[31 - l]: each lane copies, the mbarrier counts the copies' ends
define ptx_kernel void @copy_arrive(ptr addrspace(1) %in, ptr addrspace(1) %out) {
entry:
  %lane = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %is0 = icmp eq i32 %lane, 0
  br i1 %is0, label %init, label %begin
init:
  call void @llvm.nvvm.mbarrier.init.shared(ptr addrspace(3) @full, i32 32)
  br label %begin
begin:
  call void @llvm.nvvm.bar.warp.sync(i32 -1)
  %from = getelementptr <4 x float>, ptr addrspace(1) %in, i32 %lane
  %to = getelementptr <4 x float>, ptr addrspace(3) @stages, i32 %lane
  call void @llvm.nvvm.cp.async.cg.shared.global.16(ptr addrspace(3) %to, ptr addrspace(1) %from)
  call void @llvm.nvvm.cp.async.mbarrier.arrive.noinc.shared(ptr addrspace(3) @full)
  br label %wait
wait:
  %done = call i1 @llvm.nvvm.mbarrier.try.wait.parity.scope.cta.space.cta(ptr addrspace(3) @full, i32 0)
  br i1 %done, label %read, label %wait
read:
  %far = sub i32 31, %lane
  %at = getelementptr <4 x float>, ptr addrspace(3) @stages, i32 %far
  %x = load <4 x float>, ptr addrspace(3) %at, align 16
  %o = getelementptr <4 x float>, ptr addrspace(1) %out, i32 %lane
  store <4 x float> %x, ptr addrspace(1) %o, align 16
  ret void
}

; out[t, l] = 2 in[t, 31 - l]: thread 0 fills a ring by bulk copies, warp 1 reads
define ptx_kernel void @ring(ptr addrspace(1) %in, ptr addrspace(1) %out, i64 %tiles) {
entry:
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %lane = and i32 %tid, 31
  %is0 = icmp eq i32 %tid, 0
  br i1 %is0, label %init, label %begin
init:
  call void @llvm.nvvm.mbarrier.init.shared(ptr addrspace(3) @full, i32 1)
  call void @llvm.nvvm.mbarrier.init.shared(ptr addrspace(3) getelementptr (i64, ptr addrspace(3) @full, i32 1), i32 1)
  call void @llvm.nvvm.mbarrier.init.shared(ptr addrspace(3) @empty, i32 1)
  call void @llvm.nvvm.mbarrier.init.shared(ptr addrspace(3) getelementptr (i64, ptr addrspace(3) @empty, i32 1), i32 1)
  call void @llvm.nvvm.fence.mbarrier_init.release.cluster() ; <init-fence>
  br label %begin
begin:
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0) ; <init-barrier>
  %is_consumer = icmp uge i32 %tid, 32
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
  call i64 @llvm.nvvm.mbarrier.arrive.expect.tx.scope.cta.space.cta(ptr addrspace(3) %pfull, i32 512)
  %stage = getelementptr [2 x [32 x <4 x float>]], ptr addrspace(3) @stages, i64 0, i64 %ps
  %stage7 = addrspacecast ptr addrspace(3) %stage to ptr addrspace(7)
  %from = getelementptr [32 x <4 x float>], ptr addrspace(1) %in, i64 %pt
  call void @llvm.nvvm.cp.async.bulk.global.to.shared.cluster(ptr addrspace(7) %stage7, ptr addrspace(3) %pfull, ptr addrspace(1) %from, i32 512, i16 0, i64 0, i1 false, i1 false)
  %pnext = add i64 %pt, 1
  %pmore = icmp ult i64 %pnext, %tiles
  br i1 %pmore, label %produce, label %end

consume:
  %t = phi i64 [0, %begin], [%next, %released]
  %s = and i64 %t, 1
  %round = lshr i64 %t, 1
  %round32 = trunc i64 %round to i32
  %parity = and i32 %round32, 1
  %cfull = getelementptr [2 x i64], ptr addrspace(3) @full, i64 0, i64 %s
  %cempty = getelementptr [2 x i64], ptr addrspace(3) @empty, i64 0, i64 %s
  br label %cwait
cwait:
  %try = call i1 @llvm.nvvm.mbarrier.try.wait.parity.scope.cta.space.cta(ptr addrspace(3) %cfull, i32 %parity)
  %cdone = or i1 %try, false
  br i1 %cdone, label %read, label %cwait
read:
  %far = sub i32 31, %lane
  %at = getelementptr [2 x [32 x <4 x float>]], ptr addrspace(3) @stages, i64 0, i64 %s, i32 %far
  %x = load <4 x float>, ptr addrspace(3) %at, align 16
  %y = fmul <4 x float> %x, <float 2.0, float 2.0, float 2.0, float 2.0>
  %o = getelementptr [32 x <4 x float>], ptr addrspace(1) %out, i64 %t, i32 %lane
  store <4 x float> %y, ptr addrspace(1) %o, align 16
  call void @llvm.nvvm.bar.warp.sync(i32 -1) ; <release>
  %first = icmp eq i32 %lane, 0
  br i1 %first, label %release, label %released
release:
  call i64 @llvm.nvvm.mbarrier.arrive.shared(ptr addrspace(3) %cempty)
  br label %released
released:
  %next = add i64 %t, 1
  %more = icmp ult i64 %next, %tiles
  br i1 %more, label %consume, label %end
end:
  ret void
}

; out[l] = 3 in[l], through shared memory and a bulk store
define ptx_kernel void @bulk_store(ptr addrspace(1) %in, ptr addrspace(1) %out) {
entry:
  %lane = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %from = getelementptr float, ptr addrspace(1) %in, i32 %lane
  %x = load float, ptr addrspace(1) %from
  %y = fmul float %x, 3.0
  %to = getelementptr float, ptr addrspace(3) @stages, i32 %lane
  store float %y, ptr addrspace(3) %to
  call void @llvm.nvvm.fence.proxy.async.shared_cta() ; <fence>
  call void @llvm.nvvm.bar.warp.sync(i32 -1)
  %is0 = icmp eq i32 %lane, 0
  br i1 %is0, label %store, label %end
store:
  call void @llvm.nvvm.cp.async.bulk.shared.cta.to.global(ptr addrspace(1) %out, ptr addrspace(3) @stages, i32 128, i64 0, i1 false)
  call void @llvm.nvvm.cp.async.bulk.commit.group()
  call void @llvm.nvvm.cp.async.bulk.wait.group(i32 0) ; <stored>
  br label %end
end:
  ret void
}
