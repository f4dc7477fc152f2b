"""Assembles the kernels of models with ptxas, and checks what it says of them.

    python3 test/gpu/ptxas.py --build=build --work=W [--table] [--options=WORDS] [MODEL..]

Without models: every source of test/systems and examples, and the layers of
layers.py. A kernel that needs a stack, spills registers, or for which ptxas gives
a notice of the C75xx family (waits it had to add, settings it ignores) fails the
gate. --options are more words for moec. --table prints registers and shared memory of every kernel.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import layers

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ENTRY = re.compile(r"Compiling entry function '([^']+)'")
MEMORY = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, "
                    r"(\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")
NOTICE = re.compile(r"C(75\d\d|7602)")


def find_ptxas():
    found = shutil.which("ptxas")
    if not found and os.path.exists("/usr/local/cuda/bin/ptxas"):
        found = "/usr/local/cuda/bin/ptxas"
    return found


def default_models(work):
    models = []
    for folder in ("test/systems", "examples/fashion", "examples/shapes"):
        full = os.path.join(ROOT, folder)
        models += [os.path.join(full, name) for name in sorted(os.listdir(full))
                   if name.endswith(".moe")]
    for name in layers.LAYERS:
        path = os.path.join(work, f"layer-{name}.moe")
        with open(path, "w", encoding="utf-8") as file:
            file.write(layers.source(name))
        models.append(path)
    return models


def check(arch, text, name):
    """The kernels that ptxas told of, and what is wrong with them."""
    kernels, faults, entry = [], [], None
    for line in text.splitlines():
        if found := ENTRY.search(line):
            entry = found[1]
        elif found := MEMORY.search(line):
            if any(int(number) for number in found.groups()):
                faults.append(f"{name}, {arch}, {entry}: {line.strip()}")
        elif found := USED.search(line):
            kernels.append((entry, int(found[1])))
        if NOTICE.search(line):
            faults.append(f"{name}, {arch}: {line.strip()}")
    return kernels, faults


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--work", required=True)
    parser.add_argument("--arch", default="sm_80,sm_90a")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--options", default="")
    parser.add_argument("models", nargs="*")
    options = parser.parse_args()
    ptxas = find_ptxas()
    if not ptxas:
        sys.exit("ptxas.py: found no ptxas on the PATH or in /usr/local/cuda")
    os.makedirs(options.work, exist_ok=True)
    moec = os.path.join(options.build, "bin", "moec")
    count, faults = 0, []
    for model in options.models or default_models(options.work):
        name = os.path.splitext(os.path.basename(model))[0]
        for arch in options.arch.split(","):
            path = os.path.join(options.work, f"{name}.{arch}.ptx")
            start = time.monotonic()
            subprocess.run([moec, model, "--target=nvptx", f"--gpu-arch={arch}",
                            "--weights=synthetic:1", "--emit=ptx", "-o", path,
                            *(["--compile-from=buffers"] if model.endswith(".mlir") else []),
                            "--no-remarks", *options.options.split()], check=True)
            compiled = time.monotonic()
            run = subprocess.run([ptxas, f"-arch={arch}", "-v", path, "-o",
                                  path + ".cubin"], capture_output=True,
                                 text=True, check=False)
            assembled = time.monotonic()
            if run.returncode != 0:
                faults.append(f"{name}, {arch}: {run.stderr.strip()[:2000]}")
                continue
            kernels, wrong = check(arch, run.stdout + run.stderr, name)
            if not kernels:
                faults.append(f"{name}, {arch}: ptxas told of no kernel")
            count += len(kernels)
            faults += wrong
            print(f"{name}, {arch}: {len(kernels)} kernels, at most "
                  f"{max((r for _, r in kernels), default=0)} registers, "
                  f"{compiled - start:.1f} s to compile, "
                  f"{assembled - compiled:.1f} s to assemble")
            if options.table:
                for kernel, registers in kernels:
                    print(f"    {registers:4d}  {kernel}")
    for fault in faults:
        print("FAULT", fault)
    print(f"{count} kernels, {len(faults)} faults")
    sys.exit(1 if faults or not count else 0)


main()
