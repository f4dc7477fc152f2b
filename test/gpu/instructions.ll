; Kernels of a few instructions each, for instructions.py: what the emulator
; models, on a device. All are of sm_80. Pointers and 64-bit numbers only.
target triple = "nvptx64-nvidia-cuda"

@words = internal addrspace(3) global [128 x i32] undef, align 128
@tile = internal addrspace(3) global [32 x <4 x i32>] undef, align 128
@stages = internal addrspace(3) global [4 x [32 x <4 x i32>]] undef, align 128

declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
declare void @llvm.nvvm.bar.warp.sync(i32)
declare void @llvm.nvvm.barrier.cta.sync.aligned.all(i32)
declare void @llvm.nvvm.barrier.cta.sync.aligned.count(i32, i32)
declare i32 @llvm.nvvm.barrier.cta.red.popc.aligned.all(i32, i1)
declare {i32, i1} @llvm.nvvm.shfl.sync.idx.i32p(i32, i32, i32, i32)
declare {i32, i1} @llvm.nvvm.shfl.sync.up.i32p(i32, i32, i32, i32)
declare {i32, i1} @llvm.nvvm.shfl.sync.down.i32p(i32, i32, i32, i32)
declare {i32, i1} @llvm.nvvm.shfl.sync.bfly.i32p(i32, i32, i32, i32)
declare i32 @llvm.nvvm.vote.ballot.sync(i32, i1)
declare i1 @llvm.nvvm.vote.all.sync(i32, i1)
declare i1 @llvm.nvvm.vote.any.sync(i32, i1)
declare i32 @llvm.nvvm.match.any.sync.i32(i32, i32)
declare i32 @llvm.nvvm.redux.sync.add(i32, i32)
declare i32 @llvm.nvvm.redux.sync.min(i32, i32)
declare i32 @llvm.nvvm.redux.sync.umax(i32, i32)
declare i32 @llvm.nvvm.redux.sync.xor(i32, i32)
declare float @llvm.nvvm.ex2.approx.ftz.f32(float)
declare float @llvm.sqrt.f32(float)
declare float @llvm.fma.f32(float, float, float)
declare {i32, i32, i32, i32} @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.b16.p3(ptr addrspace(3))
declare {i32, i32, i32, i32} @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.trans.b16.p3(ptr addrspace(3))
declare {float, float, float, float} @llvm.nvvm.mma.m16n8k16.row.col.bf16(i32, i32, i32, i32, i32, i32, float, float, float, float)
declare {float, float, float, float} @llvm.nvvm.mma.m16n8k16.row.col.f32.f32(<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float)
declare void @llvm.nvvm.cp.async.cg.shared.global.16.s(ptr addrspace(3), ptr addrspace(1), i32)
declare void @llvm.nvvm.cp.async.commit.group()
declare void @llvm.nvvm.cp.async.wait.group(i32)

; One warp. in[lane] goes through a shuffle of each mode with in[32 + lane] as
; lane and `clamp` as segment; out[mode] has 32 words, out[4 + mode] whether
; the source was in range.
define ptx_kernel void @shuffle(ptr addrspace(1) %in, ptr addrspace(1) %out, i64 %clamp) {
  %lane = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %c = trunc i64 %clamp to i32
  %pv = getelementptr i32, ptr addrspace(1) %in, i32 %lane
  %v = load i32, ptr addrspace(1) %pv
  %l2 = add i32 %lane, 32
  %pb = getelementptr i32, ptr addrspace(1) %in, i32 %l2
  %b = load i32, ptr addrspace(1) %pb
  %r0 = call {i32, i1} @llvm.nvvm.shfl.sync.idx.i32p(i32 -1, i32 %v, i32 %b, i32 %c)
  %r1 = call {i32, i1} @llvm.nvvm.shfl.sync.up.i32p(i32 -1, i32 %v, i32 %b, i32 %c)
  %r2 = call {i32, i1} @llvm.nvvm.shfl.sync.down.i32p(i32 -1, i32 %v, i32 %b, i32 %c)
  %r3 = call {i32, i1} @llvm.nvvm.shfl.sync.bfly.i32p(i32 -1, i32 %v, i32 %b, i32 %c)
  %v0 = extractvalue {i32, i1} %r0, 0
  %v1 = extractvalue {i32, i1} %r1, 0
  %v2 = extractvalue {i32, i1} %r2, 0
  %v3 = extractvalue {i32, i1} %r3, 0
  %p0 = extractvalue {i32, i1} %r0, 1
  %p1 = extractvalue {i32, i1} %r1, 1
  %p2 = extractvalue {i32, i1} %r2, 1
  %p3 = extractvalue {i32, i1} %r3, 1
  %w0 = zext i1 %p0 to i32
  %w1 = zext i1 %p1 to i32
  %w2 = zext i1 %p2 to i32
  %w3 = zext i1 %p3 to i32
  %o0 = getelementptr [8 x [32 x i32]], ptr addrspace(1) %out, i32 0, i32 0, i32 %lane
  %o1 = getelementptr [8 x [32 x i32]], ptr addrspace(1) %out, i32 0, i32 1, i32 %lane
  %o2 = getelementptr [8 x [32 x i32]], ptr addrspace(1) %out, i32 0, i32 2, i32 %lane
  %o3 = getelementptr [8 x [32 x i32]], ptr addrspace(1) %out, i32 0, i32 3, i32 %lane
  %o4 = getelementptr [8 x [32 x i32]], ptr addrspace(1) %out, i32 0, i32 4, i32 %lane
  %o5 = getelementptr [8 x [32 x i32]], ptr addrspace(1) %out, i32 0, i32 5, i32 %lane
  %o6 = getelementptr [8 x [32 x i32]], ptr addrspace(1) %out, i32 0, i32 6, i32 %lane
  %o7 = getelementptr [8 x [32 x i32]], ptr addrspace(1) %out, i32 0, i32 7, i32 %lane
  store i32 %v0, ptr addrspace(1) %o0
  store i32 %v1, ptr addrspace(1) %o1
  store i32 %v2, ptr addrspace(1) %o2
  store i32 %v3, ptr addrspace(1) %o3
  store i32 %w0, ptr addrspace(1) %o4
  store i32 %w1, ptr addrspace(1) %o5
  store i32 %w2, ptr addrspace(1) %o6
  store i32 %w3, ptr addrspace(1) %o7
  ret void
}

; One warp: votes on the lowest bit, matches of the two lowest, reductions.
define ptx_kernel void @votes(ptr addrspace(1) %in, ptr addrspace(1) %out) {
  %lane = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %pv = getelementptr i32, ptr addrspace(1) %in, i32 %lane
  %v = load i32, ptr addrspace(1) %pv
  %bit = trunc i32 %v to i1
  %two = and i32 %v, 3
  %r0 = call i32 @llvm.nvvm.vote.ballot.sync(i32 -1, i1 %bit)
  %b1 = call i1 @llvm.nvvm.vote.all.sync(i32 -1, i1 %bit)
  %b2 = call i1 @llvm.nvvm.vote.any.sync(i32 -1, i1 %bit)
  %r1 = zext i1 %b1 to i32
  %r2 = zext i1 %b2 to i32
  %r3 = call i32 @llvm.nvvm.match.any.sync.i32(i32 -1, i32 %two)
  %r4 = call i32 @llvm.nvvm.redux.sync.add(i32 %v, i32 -1)
  %r5 = call i32 @llvm.nvvm.redux.sync.min(i32 %v, i32 -1)
  %r6 = call i32 @llvm.nvvm.redux.sync.umax(i32 %v, i32 -1)
  %r7 = call i32 @llvm.nvvm.redux.sync.xor(i32 %v, i32 -1)
  %o0 = getelementptr [8 x [32 x i32]], ptr addrspace(1) %out, i32 0, i32 0, i32 %lane
  %o1 = getelementptr [8 x [32 x i32]], ptr addrspace(1) %out, i32 0, i32 1, i32 %lane
  %o2 = getelementptr [8 x [32 x i32]], ptr addrspace(1) %out, i32 0, i32 2, i32 %lane
  %o3 = getelementptr [8 x [32 x i32]], ptr addrspace(1) %out, i32 0, i32 3, i32 %lane
  %o4 = getelementptr [8 x [32 x i32]], ptr addrspace(1) %out, i32 0, i32 4, i32 %lane
  %o5 = getelementptr [8 x [32 x i32]], ptr addrspace(1) %out, i32 0, i32 5, i32 %lane
  %o6 = getelementptr [8 x [32 x i32]], ptr addrspace(1) %out, i32 0, i32 6, i32 %lane
  %o7 = getelementptr [8 x [32 x i32]], ptr addrspace(1) %out, i32 0, i32 7, i32 %lane
  store i32 %r0, ptr addrspace(1) %o0
  store i32 %r1, ptr addrspace(1) %o1
  store i32 %r2, ptr addrspace(1) %o2
  store i32 %r3, ptr addrspace(1) %o3
  store i32 %r4, ptr addrspace(1) %o4
  store i32 %r5, ptr addrspace(1) %o5
  store i32 %r6, ptr addrspace(1) %o6
  store i32 %r7, ptr addrspace(1) %o7
  ret void
}

; 128 threads. out[0] is in reversed by the whole block, out[1] by each half,
; out[2] how many words are odd.
define ptx_kernel void @barriers(ptr addrspace(1) %in, ptr addrspace(1) %out) {
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %pv = getelementptr i32, ptr addrspace(1) %in, i32 %tid
  %v = load i32, ptr addrspace(1) %pv
  %mine = getelementptr [128 x i32], ptr addrspace(3) @words, i32 0, i32 %tid
  store i32 %v, ptr addrspace(3) %mine
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %far = sub i32 127, %tid
  %other = getelementptr [128 x i32], ptr addrspace(3) @words, i32 0, i32 %far
  %u = load i32, ptr addrspace(3) %other
  %o0 = getelementptr [3 x [128 x i32]], ptr addrspace(1) %out, i32 0, i32 0, i32 %tid
  store i32 %u, ptr addrspace(1) %o0
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  store i32 %u, ptr addrspace(3) %mine
  %half = lshr i32 %tid, 6
  %id = add i32 %half, 1
  call void @llvm.nvvm.barrier.cta.sync.aligned.count(i32 %id, i32 64)
  %swap = xor i32 %tid, 63
  %near = getelementptr [128 x i32], ptr addrspace(3) @words, i32 0, i32 %swap
  %w = load i32, ptr addrspace(3) %near
  %o1 = getelementptr [3 x [128 x i32]], ptr addrspace(1) %out, i32 0, i32 1, i32 %tid
  store i32 %w, ptr addrspace(1) %o1
  %odd = trunc i32 %v to i1
  %n = call i32 @llvm.nvvm.barrier.cta.red.popc.aligned.all(i32 0, i1 %odd)
  %o2 = getelementptr [3 x [128 x i32]], ptr addrspace(1) %out, i32 0, i32 2, i32 %tid
  store i32 %n, ptr addrspace(1) %o2
  ret void
}

; One warp: 16 bytes of each lane are a row of one of four 8 x 8 matrices; out
; has the registers of ldmatrix and of its transposing form.
define ptx_kernel void @ldmatrix(ptr addrspace(1) %in, ptr addrspace(1) %out) {
  %lane = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %pv = getelementptr <4 x i32>, ptr addrspace(1) %in, i32 %lane
  %v = load <4 x i32>, ptr addrspace(1) %pv, align 16
  %row = getelementptr [32 x <4 x i32>], ptr addrspace(3) @tile, i32 0, i32 %lane
  store <4 x i32> %v, ptr addrspace(3) %row, align 16
  call void @llvm.nvvm.bar.warp.sync(i32 -1)
  %a = call {i32, i32, i32, i32} @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.b16.p3(ptr addrspace(3) %row)
  %b = call {i32, i32, i32, i32} @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.trans.b16.p3(ptr addrspace(3) %row)
  %oa = getelementptr [2 x [32 x [4 x i32]]], ptr addrspace(1) %out, i32 0, i32 0, i32 %lane
  %ob = getelementptr [2 x [32 x [4 x i32]]], ptr addrspace(1) %out, i32 0, i32 1, i32 %lane
  store {i32, i32, i32, i32} %a, ptr addrspace(1) %oa
  store {i32, i32, i32, i32} %b, ptr addrspace(1) %ob
  ret void
}

; One warp, a block per product: registers a, b and c of a lane are ten words
; of in, those of d four of out.
define ptx_kernel void @mma_bf16(ptr addrspace(1) %in, ptr addrspace(1) %out) {
  %lane = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %block = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %p = getelementptr [32 x {i32, i32, i32, i32, i32, i32, float, float, float, float}], ptr addrspace(1) %in, i32 %block, i32 %lane
  %v = load {i32, i32, i32, i32, i32, i32, float, float, float, float}, ptr addrspace(1) %p
  %a0 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 0
  %a1 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 1
  %a2 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 2
  %a3 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 3
  %b0 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 4
  %b1 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 5
  %c0 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 6
  %c1 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 7
  %c2 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 8
  %c3 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 9
  %d = call {float, float, float, float} @llvm.nvvm.mma.m16n8k16.row.col.bf16(i32 %a0, i32 %a1, i32 %a2, i32 %a3, i32 %b0, i32 %b1, float %c0, float %c1, float %c2, float %c3)
  %o = getelementptr [32 x [4 x float]], ptr addrspace(1) %out, i32 %block, i32 %lane
  store {float, float, float, float} %d, ptr addrspace(1) %o
  ret void
}

define ptx_kernel void @mma_f16(ptr addrspace(1) %in, ptr addrspace(1) %out) {
  %lane = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %block = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %p = getelementptr [32 x {<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float}], ptr addrspace(1) %in, i32 %block, i32 %lane
  %v = load {<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float}, ptr addrspace(1) %p
  %a0 = extractvalue {<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float} %v, 0
  %a1 = extractvalue {<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float} %v, 1
  %a2 = extractvalue {<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float} %v, 2
  %a3 = extractvalue {<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float} %v, 3
  %b0 = extractvalue {<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float} %v, 4
  %b1 = extractvalue {<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float} %v, 5
  %c0 = extractvalue {<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float} %v, 6
  %c1 = extractvalue {<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float} %v, 7
  %c2 = extractvalue {<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float} %v, 8
  %c3 = extractvalue {<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float} %v, 9
  %d = call {float, float, float, float} @llvm.nvvm.mma.m16n8k16.row.col.f32.f32(<2 x half> %a0, <2 x half> %a1, <2 x half> %a2, <2 x half> %a3, <2 x half> %b0, <2 x half> %b1, float %c0, float %c1, float %c2, float %c3)
  %o = getelementptr [32 x [4 x float]], ptr addrspace(1) %out, i32 %block, i32 %lane
  store {float, float, float, float} %d, ptr addrspace(1) %o
  ret void
}

; One warp copies four tiles of 32 x 16 bytes asynchronously, a group each, and
; reads each as soon as it must have come; `bytes` of each copy are of the
; source, the others zero.
define ptx_kernel void @copies(ptr addrspace(1) %in, ptr addrspace(1) %out, i64 %bytes) {
  %lane = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %size = trunc i64 %bytes to i32
  %far = sub i32 31, %lane
  %f0 = getelementptr [32 x <4 x i32>], ptr addrspace(1) %in, i32 0, i32 %lane
  %f1 = getelementptr [32 x <4 x i32>], ptr addrspace(1) %in, i32 1, i32 %lane
  %f2 = getelementptr [32 x <4 x i32>], ptr addrspace(1) %in, i32 2, i32 %lane
  %f3 = getelementptr [32 x <4 x i32>], ptr addrspace(1) %in, i32 3, i32 %lane
  %t0 = getelementptr [4 x [32 x <4 x i32>]], ptr addrspace(3) @stages, i32 0, i32 0, i32 %lane
  %t1 = getelementptr [4 x [32 x <4 x i32>]], ptr addrspace(3) @stages, i32 0, i32 1, i32 %lane
  %t2 = getelementptr [4 x [32 x <4 x i32>]], ptr addrspace(3) @stages, i32 0, i32 2, i32 %lane
  %t3 = getelementptr [4 x [32 x <4 x i32>]], ptr addrspace(3) @stages, i32 0, i32 3, i32 %lane
  %r0 = getelementptr [4 x [32 x <4 x i32>]], ptr addrspace(3) @stages, i32 0, i32 0, i32 %far
  %r1 = getelementptr [4 x [32 x <4 x i32>]], ptr addrspace(3) @stages, i32 0, i32 1, i32 %far
  %r2 = getelementptr [4 x [32 x <4 x i32>]], ptr addrspace(3) @stages, i32 0, i32 2, i32 %far
  %r3 = getelementptr [4 x [32 x <4 x i32>]], ptr addrspace(3) @stages, i32 0, i32 3, i32 %far
  %o0 = getelementptr [32 x <4 x i32>], ptr addrspace(1) %out, i32 0, i32 %lane
  %o1 = getelementptr [32 x <4 x i32>], ptr addrspace(1) %out, i32 1, i32 %lane
  %o2 = getelementptr [32 x <4 x i32>], ptr addrspace(1) %out, i32 2, i32 %lane
  %o3 = getelementptr [32 x <4 x i32>], ptr addrspace(1) %out, i32 3, i32 %lane
  call void @llvm.nvvm.cp.async.cg.shared.global.16.s(ptr addrspace(3) %t0, ptr addrspace(1) %f0, i32 %size)
  call void @llvm.nvvm.cp.async.commit.group()
  call void @llvm.nvvm.cp.async.cg.shared.global.16.s(ptr addrspace(3) %t1, ptr addrspace(1) %f1, i32 %size)
  call void @llvm.nvvm.cp.async.commit.group()
  call void @llvm.nvvm.cp.async.cg.shared.global.16.s(ptr addrspace(3) %t2, ptr addrspace(1) %f2, i32 %size)
  call void @llvm.nvvm.cp.async.commit.group()
  call void @llvm.nvvm.cp.async.cg.shared.global.16.s(ptr addrspace(3) %t3, ptr addrspace(1) %f3, i32 %size)
  call void @llvm.nvvm.cp.async.commit.group()
  call void @llvm.nvvm.cp.async.wait.group(i32 3)
  call void @llvm.nvvm.bar.warp.sync(i32 -1)
  %v0 = load <4 x i32>, ptr addrspace(3) %r0, align 16
  store <4 x i32> %v0, ptr addrspace(1) %o0, align 16
  call void @llvm.nvvm.cp.async.wait.group(i32 2)
  call void @llvm.nvvm.bar.warp.sync(i32 -1)
  %v1 = load <4 x i32>, ptr addrspace(3) %r1, align 16
  store <4 x i32> %v1, ptr addrspace(1) %o1, align 16
  call void @llvm.nvvm.cp.async.wait.group(i32 1)
  call void @llvm.nvvm.bar.warp.sync(i32 -1)
  %v2 = load <4 x i32>, ptr addrspace(3) %r2, align 16
  store <4 x i32> %v2, ptr addrspace(1) %o2, align 16
  call void @llvm.nvvm.cp.async.wait.group(i32 0)
  call void @llvm.nvvm.bar.warp.sync(i32 -1)
  %v3 = load <4 x i32>, ptr addrspace(3) %r3, align 16
  store <4 x i32> %v3, ptr addrspace(1) %o3, align 16
  ret void
}

; x = in[i], y = in[n + i]: 2^x, root of |x|, x / y, x y + x, x as bf16
define ptx_kernel void @scalars(ptr addrspace(1) %in, ptr addrspace(1) %out, i64 %n) {
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %block = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %threads = call i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
  %first = mul i32 %block, %threads
  %index = add i32 %first, %tid
  %i = zext i32 %index to i64
  %is_in = icmp ult i64 %i, %n
  br i1 %is_in, label %work, label %end
work:
  %px = getelementptr float, ptr addrspace(1) %in, i64 %i
  %py = getelementptr float, ptr addrspace(1) %px, i64 %n
  %x = load float, ptr addrspace(1) %px
  %y = load float, ptr addrspace(1) %py
  %p = call float @llvm.nvvm.ex2.approx.ftz.f32(float %x)
  %bits = bitcast float %x to i32
  %magnitude = and i32 %bits, 2147483647
  %ax = bitcast i32 %magnitude to float
  %root = call float @llvm.sqrt.f32(float %ax)
  %ratio = fdiv float %x, %y
  %sum = call float @llvm.fma.f32(float %x, float %y, float %x)
  %short = fptrunc float %x to bfloat
  %back = fpext bfloat %short to float
  %o0 = getelementptr float, ptr addrspace(1) %out, i64 %i
  %o1 = getelementptr float, ptr addrspace(1) %o0, i64 %n
  %o2 = getelementptr float, ptr addrspace(1) %o1, i64 %n
  %o3 = getelementptr float, ptr addrspace(1) %o2, i64 %n
  %o4 = getelementptr float, ptr addrspace(1) %o3, i64 %n
  store float %p, ptr addrspace(1) %o0
  store float %root, ptr addrspace(1) %o1
  store float %ratio, ptr addrspace(1) %o2
  store float %sum, ptr addrspace(1) %o3
  store float %back, ptr addrspace(1) %o4
  br label %end
end:
  ret void
}

; out[in[i]] counts, by atomic additions
define ptx_kernel void @atomics(ptr addrspace(1) %in, ptr addrspace(1) %out) {
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %block = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %threads = call i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
  %first = mul i32 %block, %threads
  %index = add i32 %first, %tid
  %pv = getelementptr i32, ptr addrspace(1) %in, i32 %index
  %v = load i32, ptr addrspace(1) %pv
  %at = getelementptr i32, ptr addrspace(1) %out, i32 %v
  %old = atomicrmw add ptr addrspace(1) %at, i32 1 monotonic
  ret void
}
