; Kernels without tensor instructions.
target triple = "nvptx64-nvidia-cuda"

@partial = internal addrspace(3) global [128 x float] undef, align 16
@dynamic = external addrspace(3) global [0 x float], align 16
@table = internal addrspace(4) constant [4 x i32] [i32 2, i32 3, i32 5, i32 7]

declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
declare void @llvm.nvvm.barrier.cta.sync.aligned.all(i32)
declare i32 @llvm.nvvm.shfl.sync.bfly.i32(i32, i32, i32, i32)
declare float @llvm.nvvm.ex2.approx.ftz.f32(float)

; c[i] = a[i] + b[i] for i < n
define ptx_kernel void @add(ptr addrspace(1) %a, ptr addrspace(1) %b,
                            ptr addrspace(1) %c, i64 %n) {
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %block = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %size = call i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
  %first = mul i32 %block, %size
  %index = add i32 %first, %tid
  %i = zext i32 %index to i64
  %in = icmp ult i64 %i, %n
  br i1 %in, label %work, label %end
work:
  %pa = getelementptr float, ptr addrspace(1) %a, i64 %i
  %pb = getelementptr float, ptr addrspace(1) %b, i64 %i
  %pc = getelementptr float, ptr addrspace(1) %c, i64 %i
  %x = load float, ptr addrspace(1) %pa
  %y = load float, ptr addrspace(1) %pb
  %s = fadd float %x, %y
  store float %s, ptr addrspace(1) %pc
  br label %end
end:
  ret void
}

; out[block] = sum of a[128 block ..], by halves in shared memory
define ptx_kernel void @reduce(ptr addrspace(1) %a, ptr addrspace(1) %out) {
entry:
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %block = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %first = mul i32 %block, 128
  %index = add i32 %first, %tid
  %pa = getelementptr float, ptr addrspace(1) %a, i32 %index
  %x = load float, ptr addrspace(1) %pa
  %mine = getelementptr [128 x float], ptr addrspace(3) @partial, i32 0, i32 %tid
  store float %x, ptr addrspace(3) %mine
  br label %loop
loop:
  %half = phi i32 [64, %entry], [%next, %joined]
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0) ; <barrier>
  %active = icmp ult i32 %tid, %half
  br i1 %active, label %sum, label %joined
sum:
  %far = add i32 %tid, %half
  %other = getelementptr [128 x float], ptr addrspace(3) @partial, i32 0, i32 %far
  %u = load float, ptr addrspace(3) %mine
  %v = load float, ptr addrspace(3) %other
  %s = fadd float %u, %v
  store float %s, ptr addrspace(3) %mine
  br label %joined
joined:
  %next = lshr i32 %half, 1
  %more = icmp ne i32 %next, 0
  br i1 %more, label %loop, label %last
last:
  %is0 = icmp eq i32 %tid, 0
  br i1 %is0, label %write, label %end
write:
  %total = load float, ptr addrspace(3) %mine
  %po = getelementptr float, ptr addrspace(1) %out, i32 %block
  store float %total, ptr addrspace(1) %po
  br label %end
end:
  ret void
}

; out[tid] = sum of in over the warp + table[tid % 4]
define ptx_kernel void @warp_sum(ptr addrspace(1) %in, ptr addrspace(1) %out) {
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %p = getelementptr i32, ptr addrspace(1) %in, i32 %tid
  %x0 = load i32, ptr addrspace(1) %p
  %y0 = call i32 @llvm.nvvm.shfl.sync.bfly.i32(i32 -1, i32 %x0, i32 16, i32 31)
  %x1 = add i32 %x0, %y0
  %y1 = call i32 @llvm.nvvm.shfl.sync.bfly.i32(i32 -1, i32 %x1, i32 8, i32 31)
  %x2 = add i32 %x1, %y1
  %y2 = call i32 @llvm.nvvm.shfl.sync.bfly.i32(i32 -1, i32 %x2, i32 4, i32 31)
  %x3 = add i32 %x2, %y2
  %y3 = call i32 @llvm.nvvm.shfl.sync.bfly.i32(i32 -1, i32 %x3, i32 2, i32 31)
  %x4 = add i32 %x3, %y3
  %y4 = call i32 @llvm.nvvm.shfl.sync.bfly.i32(i32 -1, i32 %x4, i32 1, i32 31)
  %x5 = add i32 %x4, %y4
  %low = and i32 %tid, 3
  %pt = getelementptr [4 x i32], ptr addrspace(4) @table, i32 0, i32 %low
  %t = load i32, ptr addrspace(4) %pt
  %sum = add i32 %x5, %t
  %po = getelementptr i32, ptr addrspace(1) %out, i32 %tid
  store i32 %sum, ptr addrspace(1) %po
  ret void
}

; out[tid] = in[n - 1 - tid], through dynamic shared memory
define ptx_kernel void @reverse(ptr addrspace(1) %in, ptr addrspace(1) %out) {
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %n = call i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
  %p = getelementptr float, ptr addrspace(1) %in, i32 %tid
  %x = load float, ptr addrspace(1) %p
  %s = getelementptr [0 x float], ptr addrspace(3) @dynamic, i32 0, i32 %tid
  store float %x, ptr addrspace(3) %s
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %last = sub i32 %n, 1
  %far = sub i32 %last, %tid
  %r = getelementptr [0 x float], ptr addrspace(3) @dynamic, i32 0, i32 %far
  %y = load float, ptr addrspace(3) %r
  %q = getelementptr float, ptr addrspace(1) %out, i32 %tid
  store float %y, ptr addrspace(1) %q
  ret void
}

; Threads 0 to 63 meet at a barrier of all 128.
define ptx_kernel void @divergent(ptr addrspace(1) %out) {
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %low = icmp ult i32 %tid, 64
  br i1 %low, label %meet, label %end
meet:
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  br label %end
end:
  ret void
}

; The lanes of each warp meet at two different barriers.
define ptx_kernel void @split(ptr addrspace(1) %out) {
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %bit = and i32 %tid, 1
  %odd = icmp ne i32 %bit, 0
  br i1 %odd, label %left, label %right
left:
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  br label %end
right:
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %p = getelementptr i32, ptr addrspace(1) %out, i32 %tid
  store i32 1, ptr addrspace(1) %p
  br label %end
end:
  ret void
}

; x[tid] = 2 ** x[tid] in bf16
define ptx_kernel void @exp2_bf16(ptr addrspace(1) %x) {
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %p = getelementptr bfloat, ptr addrspace(1) %x, i32 %tid
  %a = load bfloat, ptr addrspace(1) %p
  %b = fpext bfloat %a to float
  %c = call float @llvm.nvvm.ex2.approx.ftz.f32(float %b)
  %d = fptrunc float %c to bfloat
  store bfloat %d, ptr addrspace(1) %p
  ret void
}
