"""A kernel with four wgmma, as LLVM IR, for instructions.py.

    python3 test/gpu/wgmma.py ptx > wgmma.ll       with inline PTX, for llc
    python3 test/gpu/wgmma.py emulator             with the calls that stand for it

The image of shared memory and the descriptors come from the host, so one kernel tries
any layout of operands: numbers are the descriptors of A and B without addresses, and
by how many bytes those move per 16 columns. A lies at 0, B at 8192; the image has 10240
bytes. One warpgroup; out has eight accumulators of each thread.
"""

import sys

COUNT = 8  # accumulators: 64 x 16 of 128 threads
STEPS = 4
SHAPE = "m64n16k16.f32.bf16.bf16"


def registers(first):
    return ", ".join(f"${first + i}" for i in range(COUNT))


def constraints(inputs):
    tied = ",".join(["=f"] * COUNT + [str(i) for i in range(COUNT)])
    return tied + "".join(f",{each}" for each in inputs)


def inline(result, operation, before, inputs, arguments):
    """An assembly statement with the accumulators `before` tied through it."""
    lines, floats = [], []
    for i in range(COUNT):
        value = "0.0"
        if before:
            value = f"%{result}.in{i}"
            lines.append(f"  {value} = extractvalue {TYPES['ptx']} %{before}, {i}")
        floats.append(f"float {value}")
    text = operation.replace('"', "")
    lines.append(f'  %{result} = call {TYPES["ptx"]} asm sideeffect "{text}", '
                 f'"{constraints(inputs)}"({", ".join(floats + arguments)}) #0')
    return lines


TYPES = {"ptx": "{" + ", ".join(["float"] * COUNT) + "}", "emulator": f"[{COUNT} x float]"}


def multiply(kind, step, before):
    name, scale = f"c{step}", int(step > 0)
    if kind == "ptx":
        operation = (f"{{ .reg .pred p; setp.ne.b32 p, ${2 * COUNT + 2}, 0; "
                     f"wgmma.mma_async.sync.aligned.{SHAPE} {{{registers(0)}}}, "
                     f"${2 * COUNT}, ${2 * COUNT + 1}, p, 1, 1, 0, 0; }}")
        return inline(name, operation, before, "llr",
                      [f"i64 %a{step}", f"i64 %b{step}", f"i32 {scale}"])
    acc = f"%{before}" if before else "zeroinitializer"
    return [f"  %{name} = call {TYPES[kind]} @moec.nv.wgmma.{SHAPE}.ss({TYPES[kind]} {acc}, "
            f"i64 %a{step}, i64 %b{step}, i1 {scale})"]


def wait(kind, before):
    if kind == "ptx":
        return inline("done", "wgmma.wait_group.sync.aligned 0;", before, "", [])
    return [f"  %done = call {TYPES[kind]} @moec.nv.wgmma.wait.{COUNT}xf32({TYPES[kind]} "
            f"%{before}, i32 0)"]


def module(kind):
    text = ["""target triple = "nvptx64-nvidia-cuda"

@image = internal addrspace(3) global [640 x <4 x i32>] undef, align 1024

declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare void @llvm.nvvm.barrier.cta.sync.aligned.all(i32)
declare void @llvm.nvvm.fence.proxy.async.shared_cta()
declare void @llvm.nvvm.wgmma.fence.sync.aligned()
declare void @llvm.nvvm.wgmma.commit_group.sync.aligned()"""]
    if kind == "emulator":
        of = TYPES[kind]
        text.append(f"declare {of} @moec.nv.wgmma.{SHAPE}.ss({of}, i64, i64, i1) #0\n"
                    f"declare {of} @moec.nv.wgmma.wait.{COUNT}xf32({of}, i32) #0")
    text.append("""
define ptx_kernel void @wgmma(ptr addrspace(1) %in, ptr addrspace(1) %out, i64 %desc_a,
                              i64 %desc_b, i64 %step_a, i64 %step_b) #1 {
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()""")
    for i in range(5):
        text.append(f"""  %i{i} = add i32 %tid, {128 * i}
  %from{i} = getelementptr <4 x i32>, ptr addrspace(1) %in, i32 %i{i}
  %v{i} = load <4 x i32>, ptr addrspace(1) %from{i}, align 16
  %to{i} = getelementptr <4 x i32>, ptr addrspace(3) @image, i32 %i{i}
  store <4 x i32> %v{i}, ptr addrspace(3) %to{i}, align 16""")
    text.append("""  call void @llvm.nvvm.fence.proxy.async.shared_cta()
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %base = ptrtoint ptr addrspace(3) @image to i32
  %wide = zext i32 %base to i64
  %low = and i64 %wide, 262143
  %place_a = lshr i64 %low, 4
  %place_b = add i64 %place_a, 512
  %a0 = or i64 %desc_a, %place_a
  %b0 = or i64 %desc_b, %place_b
  %move_a = lshr i64 %step_a, 4
  %move_b = lshr i64 %step_b, 4""")
    for step in range(1, STEPS):
        text.append(f"  %a{step} = add i64 %a{step - 1}, %move_a\n"
                    f"  %b{step} = add i64 %b{step - 1}, %move_b")
    text.append("  call void @llvm.nvvm.wgmma.fence.sync.aligned()")
    for step in range(STEPS):
        text += multiply(kind, step, f"c{step - 1}" if step else "")
    text.append("  call void @llvm.nvvm.wgmma.commit_group.sync.aligned()")
    text += wait(kind, f"c{STEPS - 1}")
    for i in range(COUNT):
        text.append(f"""  %d{i} = extractvalue {TYPES[kind]} %done, {i}
  %o{i} = getelementptr [{COUNT} x float], ptr addrspace(1) %out, i32 %tid, i32 {i}
  store float %d{i}, ptr addrspace(1) %o{i}""")
    text.append("""  ret void
}

attributes #0 = { convergent nounwind }
attributes #1 = { "nvvm.maxntid"="128" }
""")
    return "\n".join(text)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in TYPES:
        sys.exit("usage: wgmma.py ptx|emulator")
    print(module(sys.argv[1]), end="")
