; Matrix instructions of a warp.
target triple = "nvptx64-nvidia-cuda"

@tile_a = internal addrspace(3) global [16 x [16 x bfloat]] undef, align 16
@tile_b = internal addrspace(3) global [16 x [8 x bfloat]] undef, align 16

declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
declare void @llvm.nvvm.bar.warp.sync(i32)
declare {i32, i32, i32, i32} @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.b16.p3(ptr addrspace(3))
declare {i32, i32} @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x2.trans.b16.p3(ptr addrspace(3))
declare {float, float, float, float} @llvm.nvvm.mma.m16n8k16.row.col.bf16(i32, i32, i32, i32, i32, i32, float, float, float, float)
declare {i32, i32, i32, i32} @llvm.nvvm.mma.m16n8k32.row.col.s8(i32, i32, i32, i32, i32, i32, i32, i32, i32, i32)
declare {float, float, float, float} @llvm.nvvm.mma.m16n8k8.row.col.tf32(i32, i32, i32, i32, i32, i32, float, float, float, float)
declare {float, float, float, float} @llvm.nvvm.mma.m16n8k16.row.col.f32.f32(<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float)
declare {float, float, float, float} @llvm.nvvm.mma.m16n8k32.row.col.f32.e4m3.e4m3.f32(i32, i32, i32, i32, i32, i32, float, float, float, float)
declare void @llvm.nvvm.stmatrix.sync.aligned.m8n8.x4.b16.p3(ptr addrspace(3), i32, i32, i32, i32)
declare void @llvm.nvvm.stmatrix.sync.aligned.m8n8.x2.trans.b16.p3(ptr addrspace(3), i32, i32)

; Rows 16 block .. of c[m, 8] = a[m, k] b[k, 8]; a and b are bf16, c is f32.
define ptx_kernel void @gemm(ptr addrspace(1) %a, ptr addrspace(1) %b,
                             ptr addrspace(1) %c, i64 %depth) {
entry:
  %lane = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %block = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %first = mul i32 %block, 16
  ; Lane l copies half a row of a, lanes below 16 a row of b.
  %row = lshr i32 %lane, 1
  %bit = and i32 %lane, 1
  %half = mul i32 %bit, 8
  %m = add i32 %first, %row
  %m64 = zext i32 %m to i64
  %row_start = mul i64 %m64, %depth
  %half64 = zext i32 %half to i64
  %a_start = add i64 %row_start, %half64
  %to_a = getelementptr [16 x [16 x bfloat]], ptr addrspace(3) @tile_a, i32 0, i32 %row, i32 %half
  %to_b = getelementptr [16 x [8 x bfloat]], ptr addrspace(3) @tile_b, i32 0, i32 %lane
  %has_b = icmp ult i32 %lane, 16
  %lane64 = zext i32 %lane to i64
  %b_start = mul i64 %lane64, 8
  ; Rows of the matrices that ldmatrix reads.
  %r = and i32 %lane, 15
  %q = lshr i32 %lane, 4
  %q8 = mul i32 %q, 8
  %from_a = getelementptr [16 x [16 x bfloat]], ptr addrspace(3) @tile_a, i32 0, i32 %r, i32 %q8
  %from_b = getelementptr [16 x [8 x bfloat]], ptr addrspace(3) @tile_b, i32 0, i32 %r
  br label %loop
loop:
  %k = phi i64 [0, %entry], [%k2, %copied]
  %c0 = phi float [0.0, %entry], [%d0, %copied]
  %c1 = phi float [0.0, %entry], [%d1, %copied]
  %c2 = phi float [0.0, %entry], [%d2, %copied]
  %c3 = phi float [0.0, %entry], [%d3, %copied]
  %ia = add i64 %a_start, %k
  %pa = getelementptr bfloat, ptr addrspace(1) %a, i64 %ia
  %va = load <4 x i32>, ptr addrspace(1) %pa, align 16
  store <4 x i32> %va, ptr addrspace(3) %to_a, align 16
  br i1 %has_b, label %copy_b, label %copied
copy_b:
  %k8 = mul i64 %k, 8
  %ib = add i64 %b_start, %k8
  %pb = getelementptr bfloat, ptr addrspace(1) %b, i64 %ib
  %vb = load <4 x i32>, ptr addrspace(1) %pb, align 16
  store <4 x i32> %vb, ptr addrspace(3) %to_b, align 16
  br label %copied
copied:
  call void @llvm.nvvm.bar.warp.sync(i32 -1) ; <before>
  %fa = call {i32, i32, i32, i32} @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.b16.p3(ptr addrspace(3) %from_a)
  %fb = call {i32, i32} @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x2.trans.b16.p3(ptr addrspace(3) %from_b)
  call void @llvm.nvvm.bar.warp.sync(i32 -1) ; <after>
  %a0 = extractvalue {i32, i32, i32, i32} %fa, 0
  %a1 = extractvalue {i32, i32, i32, i32} %fa, 1
  %a2 = extractvalue {i32, i32, i32, i32} %fa, 2
  %a3 = extractvalue {i32, i32, i32, i32} %fa, 3
  %b0 = extractvalue {i32, i32} %fb, 0
  %b1 = extractvalue {i32, i32} %fb, 1
  %d = call {float, float, float, float} @llvm.nvvm.mma.m16n8k16.row.col.bf16(i32 %a0, i32 %a1, i32 %a2, i32 %a3, i32 %b0, i32 %b1, float %c0, float %c1, float %c2, float %c3)
  %d0 = extractvalue {float, float, float, float} %d, 0
  %d1 = extractvalue {float, float, float, float} %d, 1
  %d2 = extractvalue {float, float, float, float} %d, 2
  %d3 = extractvalue {float, float, float, float} %d, 3
  %k2 = add i64 %k, 16
  %more = icmp ult i64 %k2, %depth
  br i1 %more, label %loop, label %done
done:
  ; c[first + lane / 4 (+ 8), 2 (lane % 4) ..]
  %g = lshr i32 %lane, 2
  %t = and i32 %lane, 3
  %t2 = mul i32 %t, 2
  %cm = add i32 %first, %g
  %cm8 = mul i32 %cm, 8
  %ic = add i32 %cm8, %t2
  %pc = getelementptr float, ptr addrspace(1) %c, i32 %ic
  %v0 = insertelement <2 x float> poison, float %d0, i32 0
  %v1 = insertelement <2 x float> %v0, float %d1, i32 1
  store <2 x float> %v1, ptr addrspace(1) %pc, align 8
  %ic2 = add i32 %ic, 64
  %pc2 = getelementptr float, ptr addrspace(1) %c, i32 %ic2
  %w0 = insertelement <2 x float> poison, float %d2, i32 0
  %w1 = insertelement <2 x float> %w0, float %d3, i32 1
  store <2 x float> %w1, ptr addrspace(1) %pc2, align 8
  ret void
}

; One instruction, registers of lane l at in[l * 10 ..] and out[l * 4 ..].
define ptx_kernel void @mma_s8(ptr addrspace(1) %in, ptr addrspace(1) %out) {
  %lane = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %i = mul i32 %lane, 10
  %p = getelementptr i32, ptr addrspace(1) %in, i32 %i
  %v = load [10 x i32], ptr addrspace(1) %p
  %x0 = extractvalue [10 x i32] %v, 0
  %x1 = extractvalue [10 x i32] %v, 1
  %x2 = extractvalue [10 x i32] %v, 2
  %x3 = extractvalue [10 x i32] %v, 3
  %x4 = extractvalue [10 x i32] %v, 4
  %x5 = extractvalue [10 x i32] %v, 5
  %x6 = extractvalue [10 x i32] %v, 6
  %x7 = extractvalue [10 x i32] %v, 7
  %x8 = extractvalue [10 x i32] %v, 8
  %x9 = extractvalue [10 x i32] %v, 9
  %d = call {i32, i32, i32, i32} @llvm.nvvm.mma.m16n8k32.row.col.s8(i32 %x0, i32 %x1, i32 %x2, i32 %x3, i32 %x4, i32 %x5, i32 %x6, i32 %x7, i32 %x8, i32 %x9)
  %o = mul i32 %lane, 4
  %q = getelementptr i32, ptr addrspace(1) %out, i32 %o
  store {i32, i32, i32, i32} %d, ptr addrspace(1) %q
  ret void
}

define ptx_kernel void @mma_tf32(ptr addrspace(1) %in, ptr addrspace(1) %out) {
  %lane = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %i = mul i32 %lane, 10
  %p = getelementptr i32, ptr addrspace(1) %in, i32 %i
  %v = load {i32, i32, i32, i32, i32, i32, float, float, float, float}, ptr addrspace(1) %p
  %x0 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 0
  %x1 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 1
  %x2 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 2
  %x3 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 3
  %x4 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 4
  %x5 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 5
  %x6 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 6
  %x7 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 7
  %x8 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 8
  %x9 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 9
  %d = call {float, float, float, float} @llvm.nvvm.mma.m16n8k8.row.col.tf32(i32 %x0, i32 %x1, i32 %x2, i32 %x3, i32 %x4, i32 %x5, float %x6, float %x7, float %x8, float %x9)
  %o = mul i32 %lane, 4
  %q = getelementptr i32, ptr addrspace(1) %out, i32 %o
  store {float, float, float, float} %d, ptr addrspace(1) %q
  ret void
}

define ptx_kernel void @mma_e4m3(ptr addrspace(1) %in, ptr addrspace(1) %out) {
  %lane = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %i = mul i32 %lane, 10
  %p = getelementptr i32, ptr addrspace(1) %in, i32 %i
  %v = load {i32, i32, i32, i32, i32, i32, float, float, float, float}, ptr addrspace(1) %p
  %x0 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 0
  %x1 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 1
  %x2 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 2
  %x3 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 3
  %x4 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 4
  %x5 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 5
  %x6 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 6
  %x7 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 7
  %x8 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 8
  %x9 = extractvalue {i32, i32, i32, i32, i32, i32, float, float, float, float} %v, 9
  %d = call {float, float, float, float} @llvm.nvvm.mma.m16n8k32.row.col.f32.e4m3.e4m3.f32(i32 %x0, i32 %x1, i32 %x2, i32 %x3, i32 %x4, i32 %x5, float %x6, float %x7, float %x8, float %x9)
  %o = mul i32 %lane, 4
  %q = getelementptr i32, ptr addrspace(1) %out, i32 %o
  store {float, float, float, float} %d, ptr addrspace(1) %q
  ret void
}

define ptx_kernel void @mma_f16(ptr addrspace(1) %in, ptr addrspace(1) %out) {
  %lane = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %i = mul i32 %lane, 10
  %p = getelementptr i32, ptr addrspace(1) %in, i32 %i
  %v = load {<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float}, ptr addrspace(1) %p
  %x0 = extractvalue {<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float} %v, 0
  %x1 = extractvalue {<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float} %v, 1
  %x2 = extractvalue {<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float} %v, 2
  %x3 = extractvalue {<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float} %v, 3
  %x4 = extractvalue {<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float} %v, 4
  %x5 = extractvalue {<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float} %v, 5
  %x6 = extractvalue {<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float} %v, 6
  %x7 = extractvalue {<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float} %v, 7
  %x8 = extractvalue {<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float} %v, 8
  %x9 = extractvalue {<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float} %v, 9
  %d = call {float, float, float, float} @llvm.nvvm.mma.m16n8k16.row.col.f32.f32(<2 x half> %x0, <2 x half> %x1, <2 x half> %x2, <2 x half> %x3, <2 x half> %x4, <2 x half> %x5, float %x6, float %x7, float %x8, float %x9)
  %o = mul i32 %lane, 4
  %q = getelementptr i32, ptr addrspace(1) %out, i32 %o
  store {float, float, float, float} %d, ptr addrspace(1) %q
  ret void
}

; Four 8 x 8 matrices from registers to out, the rows one behind the other;
; then two of them transposed.
define ptx_kernel void @store_matrix(ptr addrspace(1) %in, ptr addrspace(1) %out) {
  %lane = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %i = mul i32 %lane, 4
  %p = getelementptr i32, ptr addrspace(1) %in, i32 %i
  %v = load {i32, i32, i32, i32}, ptr addrspace(1) %p
  %x0 = extractvalue {i32, i32, i32, i32} %v, 0
  %x1 = extractvalue {i32, i32, i32, i32} %v, 1
  %x2 = extractvalue {i32, i32, i32, i32} %v, 2
  %x3 = extractvalue {i32, i32, i32, i32} %v, 3
  %row = getelementptr [16 x [8 x bfloat]], ptr addrspace(3) @tile_a, i32 0, i32 %lane
  call void @llvm.nvvm.stmatrix.sync.aligned.m8n8.x4.b16.p3(ptr addrspace(3) %row, i32 %x0, i32 %x1, i32 %x2, i32 %x3)
  call void @llvm.nvvm.bar.warp.sync(i32 -1)
  %r = load <4 x i32>, ptr addrspace(3) %row, align 16
  %q = getelementptr <4 x i32>, ptr addrspace(1) %out, i32 %lane
  store <4 x i32> %r, ptr addrspace(1) %q, align 16
  call void @llvm.nvvm.bar.warp.sync(i32 -1)
  call void @llvm.nvvm.stmatrix.sync.aligned.m8n8.x2.trans.b16.p3(ptr addrspace(3) %row, i32 %x0, i32 %x1)
  call void @llvm.nvvm.bar.warp.sync(i32 -1)
  %t = load <4 x i32>, ptr addrspace(3) %row, align 16
  %lane2 = add i32 %lane, 32
  %q2 = getelementptr <4 x i32>, ptr addrspace(1) %out, i32 %lane2
  store <4 x i32> %t, ptr addrspace(1) %q2, align 16
  ret void
}
