"""Compiles the kernels of triton_moe.py for a device that is not there.

    python3 test/gpu/peers/compile_triton.py [--arch=90] [--ptxas=ptxas]

All configurations of all shapes of layers.py, in bf16 and f16, for the version of
Triton that Python finds; the registers and the stack are what ptxas says of them. Fails
where a kernel does not compile. The interpreter forgives types that the compiler refuses.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

import torch
import triton
import triton_moe
from triton.backends.compiler import GPUTarget
from triton.runtime import jit

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import layers  # noqa: E402

USED = re.compile(r"Used (\d+) registers")
STACK = re.compile(r"(\d+) bytes stack frame")


class Absent:
    """What compiling asks a driver for."""

    def __init__(self, arch):
        self.arch = arch

    def get_current_target(self):
        return GPUTarget("cuda", self.arch, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, _):
        return 0


def registers(kernel, options):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "kernel.ptx"
        path.write_text(kernel.asm["ptx"])
        suffix = "a" if options.arch == 90 else ""
        said = subprocess.run([options.ptxas, f"-arch=sm_{options.arch}{suffix}", "-v", path,
                               "-o", path.with_suffix(".cubin")],
                              capture_output=True, text=True, check=True).stderr
    return int(USED.search(said)[1]), int(STACK.search(said)[1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--arch", type=int, default=90)
    parser.add_argument("--ptxas", default="ptxas")
    options = parser.parse_args()
    triton.runtime.driver.set_active(Absent(options.arch))
    launch, seen = jit.JITFunction.run, {}

    def compile_only(self, *values, grid, warmup, **named):
        kernel = launch(self, *values, grid=grid, warmup=True, **named)
        if id(kernel) not in seen:
            seen[id(kernel)] = kernel
            used, stack = registers(kernel, options)
            sizes = " ".join(f"{key}={value}" for key, value in named.items())
            print(f"{self.__name__:14} {used:3} registers, {stack:4} bytes of stack, "
                  f"{kernel.metadata.shared:6} of shared memory  {sizes}", flush=True)
        return kernel
    jit.JITFunction.run = compile_only
    for dtype in (torch.bfloat16, torch.float16):
        any_ = torch.empty(1, dtype=dtype, device="meta")
        torch.nn.functional.linear = lambda *_: any_
        for hidden, width, experts, slots in layers.LAYERS.values():
            for tokens in (1, 8, 64, 512, 4096, 16384):
                layer = triton_moe.TritonMoe(tokens, hidden, width, experts, slots, dtype,
                                             "meta")
                layer.route(any_, any_)
                for config in triton_moe.configs(layer.rows, experts):
                    layer.use(config, config)
                    layer.sort()
                    layer.multiply(any_, any_, any_, any_)
    print(f"Triton {triton.__version__}: {len(seen)} kernels")


if __name__ == "__main__":
    main()
