; Several blocks, scalar instructions, loops.
target triple = "nvptx64-nvidia-cuda"

@last = internal addrspace(3) global i32 undef, align 4

declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.nctaid.x()
declare void @llvm.nvvm.barrier.cta.sync.aligned.all(i32)
declare i32 @llvm.nvvm.prmt(i32, i32, i32)
declare <2 x bfloat> @llvm.nvvm.ff2bf16x2.rn(float, float)
declare i16 @llvm.nvvm.ff.to.e4m3x2.rn(float, float)
declare <2 x half> @llvm.nvvm.e4m3x2.to.f16x2.rn(i16)
declare float @llvm.nvvm.rcp.approx.ftz.f(float)
declare i32 @llvm.nvvm.vote.ballot.sync(i32, i1)
declare i32 @llvm.nvvm.redux.sync.umin(i32, i32)
declare i32 @llvm.nvvm.match.any.sync.i32(i32, i32)
declare {i32, i1} @llvm.nvvm.elect.sync(i32)
declare {i32, i1} @llvm.nvvm.shfl.sync.up.i32p(i32, i32, i32, i32)
declare i32 @llvm.nvvm.barrier.cta.red.popc.aligned.all(i32, i1)

; Each block writes its number; the block that counts itself last sums them up.
define ptx_kernel void @last_block(ptr addrspace(1) %parts, ptr addrspace(1) %count, ptr addrspace(1) %sum) {
entry:
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %block = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %blocks = call i32 @llvm.nvvm.read.ptx.sreg.nctaid.x()
  %is0 = icmp eq i32 %tid, 0
  br i1 %is0, label %write, label %end
write:
  %p = getelementptr i32, ptr addrspace(1) %parts, i32 %block
  store i32 %block, ptr addrspace(1) %p
  fence syncscope("device") acq_rel ; <fence>
  %old = atomicrmw add ptr addrspace(1) %count, i32 1 syncscope("device") monotonic
  %most = sub i32 %blocks, 1
  %is_last = icmp eq i32 %old, %most
  br i1 %is_last, label %loop, label %end
loop:
  %i = phi i32 [0, %write], [%next, %loop]
  %s = phi i32 [0, %write], [%t, %loop]
  %q = getelementptr i32, ptr addrspace(1) %parts, i32 %i
  %x = load i32, ptr addrspace(1) %q
  %t = add i32 %s, %x
  %next = add i32 %i, 1
  %more = icmp ult i32 %next, %blocks
  br i1 %more, label %loop, label %done
done:
  store i32 %t, ptr addrspace(1) %sum
  br label %end
end:
  ret void
}

; All blocks write one word.
define ptx_kernel void @clash(ptr addrspace(1) %to) {
  %block = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  store i32 %block, ptr addrspace(1) %to
  ret void
}

; Threads 1.. wait in shared memory for thread 0, which never comes.
define ptx_kernel void @spin(ptr addrspace(1) %to) {
entry:
  store i32 0, ptr addrspace(3) @last
  br label %loop
loop:
  %x = load atomic i32, ptr addrspace(3) @last syncscope("block") monotonic, align 4
  %go = icmp eq i32 %x, 0
  br i1 %go, label %loop, label %end
end:
  ret void
}

; Runs on for ever, accessing memory.
define ptx_kernel void @endless(ptr addrspace(1) %to) {
entry:
  br label %loop
loop:
  %x = load volatile i32, ptr addrspace(1) %to
  store volatile i32 %x, ptr addrspace(1) %to
  br label %loop
}

; Writes past a variable in local memory where n is too large.
define ptx_kernel void @local(ptr addrspace(1) %to, i64 %n) {
  %v = alloca [4 x i32], align 4
  %p = getelementptr [4 x i32], ptr %v, i64 0, i64 %n
  store i32 7, ptr %p
  %x = load i32, ptr %v
  store i32 %x, ptr addrspace(1) %to
  ret void
}

; out: what some scalar instructions give
define ptx_kernel void @scalars(ptr addrspace(1) %out) {
  %a = call i32 @llvm.nvvm.prmt(i32 287454020, i32 2289526357, i32 38704) ; 0x11223344, 0x88776655, 0x9730
  store i32 %a, ptr addrspace(1) %out
  %b = call <2 x bfloat> @llvm.nvvm.ff2bf16x2.rn(float 1.0, float 2.0)
  %p1 = getelementptr i32, ptr addrspace(1) %out, i32 1
  store <2 x bfloat> %b, ptr addrspace(1) %p1
  %c = call i16 @llvm.nvvm.ff.to.e4m3x2.rn(float -1.5, float 1000.0)
  %c32 = zext i16 %c to i32
  %p2 = getelementptr i32, ptr addrspace(1) %out, i32 2
  store i32 %c32, ptr addrspace(1) %p2
  %d = call <2 x half> @llvm.nvvm.e4m3x2.to.f16x2.rn(i16 %c)
  %p3 = getelementptr i32, ptr addrspace(1) %out, i32 3
  store <2 x half> %d, ptr addrspace(1) %p3
  %e = call float @llvm.nvvm.rcp.approx.ftz.f(float 4.0)
  %p4 = getelementptr i32, ptr addrspace(1) %out, i32 4
  store float %e, ptr addrspace(1) %p4
  ret void
}

; out[8 tid ..]: what operations of a warp and of a block give
define ptx_kernel void @warps(ptr addrspace(1) %out) {
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %lane = and i32 %tid, 31
  %o = getelementptr [8 x i32], ptr addrspace(1) %out, i32 %tid
  %high = icmp uge i32 %lane, 20
  %a = call i32 @llvm.nvvm.vote.ballot.sync(i32 -1, i1 %high)
  store i32 %a, ptr addrspace(1) %o
  %mixed = xor i32 %lane, 21
  %b = call i32 @llvm.nvvm.redux.sync.umin(i32 %mixed, i32 -1)
  %p1 = getelementptr i32, ptr addrspace(1) %o, i32 1
  store i32 %b, ptr addrspace(1) %p1
  %third = udiv i32 %lane, 3
  %c = call i32 @llvm.nvvm.match.any.sync.i32(i32 -1, i32 %third)
  %p2 = getelementptr i32, ptr addrspace(1) %o, i32 2
  store i32 %c, ptr addrspace(1) %p2
  %d = call {i32, i1} @llvm.nvvm.elect.sync(i32 -1)
  %d1 = extractvalue {i32, i1} %d, 1
  %d32 = zext i1 %d1 to i32
  %p3 = getelementptr i32, ptr addrspace(1) %o, i32 3
  store i32 %d32, ptr addrspace(1) %p3
  %e = call {i32, i1} @llvm.nvvm.shfl.sync.up.i32p(i32 -1, i32 %tid, i32 3, i32 0)
  %e0 = extractvalue {i32, i1} %e, 0
  %e1 = extractvalue {i32, i1} %e, 1
  %e32 = zext i1 %e1 to i32
  %p4 = getelementptr i32, ptr addrspace(1) %o, i32 4
  store i32 %e0, ptr addrspace(1) %p4
  %p5 = getelementptr i32, ptr addrspace(1) %o, i32 5
  store i32 %e32, ptr addrspace(1) %p5
  %f = call i32 @llvm.nvvm.barrier.cta.red.popc.aligned.all(i32 0, i1 %high)
  %p6 = getelementptr i32, ptr addrspace(1) %o, i32 6
  store i32 %f, ptr addrspace(1) %p6
  ret void
}
