"""Compares the compiled fashion model with its PyTorch reference.

    fashion.py --build=BUILD --work=FOLDER [--images=N]

The reference files in examples/fashion/reference were written by reference.py (PyTorch, f32
arithmetic on the stored weights). Checked, each with its figure printed:

  * captions: the predicted class of N test images equals PyTorch's on at least 99.95 %
  * logits of all positions within 1e-4 relative (norm), on every level of instructions
  * greedy continuations of the committed prompts, token by token
  * --no-fuse gives the same logits, bit for bit
  * one thread and three threads give the same logits, bit for bit
  * the artifact exports one symbol and needs no library of ours

Needs Debian's python3-numpy and dataset-fashion-mnist, nothing else.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "fashion"
sys.path.insert(0, str(EXAMPLE))
import safetensors_io  # noqa: E402  (the example's own reader)

LOGITS_TOLERANCE = 1e-4  # relative, in norm
AGREEMENT = 0.9995


class Checker:
    def __init__(self, build, work):
        self.build, self.work, self.failures = build, work, 0
        self.run_tool = build / "runtime" / "tools" / "moe-run"
        if not self.run_tool.exists():
            self.run_tool = build / "bin" / "moe-run"

    def report(self, good, text):
        print(("ok    " if good else "FAIL  ") + text, flush=True)
        self.failures += not good

    def command(self, *words, **variables):
        result = subprocess.run([str(w) for w in words], capture_output=True,
                                env={**os.environ, **variables}, check=False)
        if result.returncode:
            raise SystemExit(f"{' '.join(map(str, words))[:200]}\n"
                             + result.stderr.decode(errors="replace"))
        return result.stdout

    def compile(self, name, *options):
        artifact = self.work / name
        start = time.monotonic()
        self.command(self.build / "bin" / "moec", EXAMPLE / "fashion.moe", "--compute=f32",
                     "-o", artifact, *options)
        print(f"      {name}: compiled in {time.monotonic() - start:.1f} s, "
              f"{artifact.stat().st_size} bytes", flush=True)
        return artifact

    def inputs(self, tensors, name):
        """Options of moe-run for the inputs of a golden sequence."""
        words = []
        if f"{name}.pixels" in tensors:
            image = self.work / f"{name}.raw"
            image.write_bytes(tensors[f"{name}.pixels"].tobytes())
            words += ["--raw", f"image={image}"]
        codes = tensors[f"{name}.text"]
        return words + ["--ids", "text=" + ",".join(map(str, codes))]

    def logits(self, artifact, tensors, name, *options, **variables):
        output = self.work / "out.npy"
        self.command(self.run_tool, artifact, "--entry", "score", *self.inputs(tensors, name),
                     "--print", "none", "--output", output, *options, **variables)
        return np.load(output)


def check_logits(checker, artifact, unfused):
    tensors, _ = safetensors_io.read(EXAMPLE / "reference" / "logits.safetensors")
    names = sorted({key.split(".")[0] for key in tensors})
    flags = Path("/proc/cpuinfo").read_text()
    levels = ["generic"] + [level for level, flag in
                            (("avx2", "avx2"), ("avx512", "avx512_bf16")) if flag in flags]
    for level in levels:
        for name in names:
            expected = tensors[f"{name}.logits"]
            found = checker.logits(artifact, tensors, name, MOE_ISA=level)
            if found.shape != expected.shape:
                checker.report(False, f"{name} on {level}: shape {found.shape}, "
                                      f"expected {expected.shape}")
                continue
            error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
            checker.report(error <= LOGITS_TOLERANCE,
                           f"logits of {name} on {level}: relative error {error:.2e}")
    for name in ("caption0", "prose0"):
        whole = checker.logits(artifact, tensors, name)
        same = np.array_equal(whole, checker.logits(unfused, tensors, name))
        checker.report(same, f"logits of {name} with --no-fuse: same bits")
        counts = [checker.logits(artifact, tensors, name, "--threads", n) for n in (1, 3)]
        checker.report(all(np.array_equal(whole, c) for c in counts),
                       f"logits of {name} with 1 and 3 threads: same bits")


def check_continuations(checker, artifact):
    tensors, _ = safetensors_io.read(EXAMPLE / "reference" / "logits.safetensors")
    for entry in json.loads((EXAMPLE / "reference" / "continuations.json").read_text()):
        words = []
        if "image" in entry:
            image = checker.work / "prompt.raw"
            image.write_bytes(tensors[entry["pixels"].split(" ")[0]].tobytes())
            words = ["--raw", f"image={image}"]
        expected = bytes(entry["continuation_bytes"])
        found = checker.command(checker.run_tool, artifact, *words, "--text", entry["prompt"],
                                "--max-tokens", len(expected))
        checker.report(found.startswith(expected),
                       f"continuation of {entry['prompt']!r}: {found[:len(expected)]!r}")


def check_captions(checker, artifact, images):
    scores_file = checker.work / "scores.bin"
    print("      " + checker.command(
        checker.build / "bin" / "fashion-classify", artifact,
        EXAMPLE / "reference" / "captions.txt", "--images", images,
        "--scores", scores_file).decode().strip().replace("\n", "\n      "))
    tensors, _ = safetensors_io.read(EXAMPLE / "reference" / "predictions.safetensors")
    found = np.fromfile(scores_file, np.float32).reshape(-1, 10)
    count = len(found)
    agree = (found.argmax(axis=1) == tensors["predicted"][:count]).mean()
    difference = np.abs(found - tensors["scores"][:count])
    # A router whose second and third choice are a rounding apart may choose the other one.
    flips = (difference > 1e-2).sum()
    checker.report(count == images and agree >= AGREEMENT,
                   f"captions of {count} images: {100 * agree:.3f} % as PyTorch, scores differ "
                   f"by {np.quantile(difference, 0.999):.1e} (99.9 % of them), {flips} of "
                   f"{difference.size} by more than 1e-2")


def check_artifact(checker, artifact):
    dynamic = checker.command("/usr/lib/llvm-22/bin/llvm-readelf", "--dyn-syms", "-d",
                              artifact).decode()
    exported = [line.split()[-1] for line in dynamic.splitlines()
                if " GLOBAL " in line and " UND " not in line]
    checker.report(exported == ["moe_model_query_v1"], f"exports {exported}")
    needed = [line for line in dynamic.splitlines() if "(NEEDED)" in line]
    checker.report(not any("moe" in line for line in needed), f"needs {needed}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1000)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    checker = Checker(arguments.build, arguments.work)
    artifact = checker.compile("fashion.so")
    check_artifact(checker, artifact)
    check_logits(checker, artifact, checker.compile("unfused.so", "--no-fuse"))
    check_continuations(checker, artifact)
    check_captions(checker, artifact, arguments.images)
    return 1 if checker.failures else 0


if __name__ == "__main__":
    sys.exit(main())
