"""Runs models whole on the emulated device, and compares them with the processor.

    python3 test/gpu/emulator.py --build=build --work=W [--compute=f32,bf16]
        [--arch=sm_80] [--seeds=1] [--quantize=FORMAT] [--tokens=12,..]
        [--decode=N] [--plugin=FILE] [MODEL..]

A MODEL is a .moe source or the folder of a golden checkpoint (test/importers/golden).
Each is compiled once for both, with the IR of its kernels, and runs through the same
runtime: on the processor, at level avx2, and on the device that libmoe-cuda-emu.so
emulates. Sources with random weights score sequences of the lengths of --tokens, of
every modality that they have, or, with --decode, take a prefill of N tokens, 3 decode
steps and a scoring of all; goldens take a prefill of 33 tokens, 8 decode steps and a
scoring of all.

Kernels for the plain arithmetic of both do the same operations in the same order, so
most models give equal bits; tensor cores sum in another order. What is judged is the
error in norm over all results: 2e-5 in f32, 1e-2 in bf16. A sum in another order may
send a token to other experts: in bf16 goldens replay the experts that the processor's
scoring chose, on both, and tokens for which the device alone would have chosen others
are counted (`flips`). --seeds=N runs N schedules of threads and asks for the same bits
from each.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "examples" / "fashion"))
import safetensors_io  # noqa: E402  (the example's own reader)

# In bf16 one number that falls to the other side of a rounding changes what follows as
# much as if it were rounded independently: 2^-9 * sqrt(2 / 3) for each rounding of the
# stream, of which models here have up to 40.
TOLERANCE = {"f32": 2e-5, "bf16": 1e-2}
PREFILL = 33


def command(words, **environment):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True,
                          check=False, env={**os.environ, **environment})
    if done.returncode:
        raise RuntimeError(f"{pathlib.Path(words[0]).name}: {done.stderr.strip()[:2000]}")
    return done.stdout


class Runner:
    def __init__(self, options):
        self.options = options
        self.tools = options.build / "runtime" / "tools"
        self.steps = options.build / "test" / "importers" / "golden-steps"
        self.emulator = next((options.build / "lib").glob("libmoe-cuda-emu.so*"))

    def compile(self, model, compute, artifact):
        words = [self.options.build / "bin" / "moec", model, "-o", artifact, "-no-remarks",
                 f"--compute={compute}", "--target=x86_64,nvptx", "--levels=avx2",
                 f"--gpu-arch={self.options.arch}", "-femit-kernel-ir"]
        if self.options.quantize:
            words.append(f"--quantize={self.options.quantize}")
        if self.options.plugin:
            words.insert(1, f"--load-plugin={self.options.plugin}")
        if self.replays(model, compute):
            words.append("--with=routing_in,routing_out")
        if model.is_file() and model.parent.name != "fashion":
            words.append("--weights=synthetic:1")
        command(words)

    @staticmethod
    def replays(model, compute):
        return model.is_dir() and compute == "bf16"

    def run(self, model, artifact, output, routing=(), **environment):
        if model.is_dir():
            reference, _ = safetensors_io.read(model / "logits.safetensors")
            tokens = ",".join(map(str, reference["tokens"]))
            words = [self.steps, artifact, PREFILL, tokens, output, *routing]
            if "features" in reference:  # of tokens that are images
                rows = output.with_suffix(".rows")
                reference["features"].astype(np.float32).tofile(rows)
                words.append(f"--rows={rows}")
            command(words, **environment)
            return np.fromfile(output, np.float32)
        if self.options.decode:
            ids = ",".join(str(1 + i * 7 % 60) for i in range(self.options.decode + 3))
            command([self.steps, artifact, self.options.decode, ids, output],
                    **environment)
            return np.fromfile(output, np.float32)
        sources = [["--ids", ",".join(str(1 + i * 7 % 60) for i in range(count))]
                   for count in self.options.tokens]
        if model.stem == "fashion":
            sources = [["--entry", "score", "--text", "The king"]]
        raw, results = self.raw_inputs(artifact), []
        for source in sources:
            command([self.tools / "moe-run", artifact, *raw, *source, "--print", "none",
                     "--output", output.with_suffix(".npy")], **environment)
            results.append(np.load(output.with_suffix(".npy")).ravel())
        return np.concatenate(results)

    def raw_inputs(self, artifact):
        """One random input of each raw modality, in front of the tokens."""
        words = []
        facts = json.loads(command([self.tools / "moe-inspect", "--json", artifact]))
        for modality in facts["modalities"]:
            if modality["input"] != "raw":
                continue
            shape = [1, *modality["raw_shape"]]
            numbers = np.random.default_rng(1)
            rows = (numbers.integers(0, 256, shape).astype(np.uint8)
                    if modality["raw_dtype"] == "u8"
                    else numbers.standard_normal(shape).astype(np.float32))
            path = self.options.work / f"{artifact.stem}-{modality['name']}.npy"
            np.save(path, rows)
            words += ["--raw", f"{modality['name']}={path}"]
        return words

    def compare(self, model, compute):
        name = f"{model.stem}-{compute}"
        artifact = self.options.work / f"{name}.so"
        output = self.options.work / f"{name}.f32"
        self.compile(model, compute, artifact)
        device = {"MOE_DEVICE": "cuda", "MOE_CUDA_DRIVER": str(self.emulator)}
        replay, flips = (), ""
        if self.replays(model, compute):
            chosen, other = (output.with_suffix(f".{name}") for name in ("cpu", "cuda"))
            self.run(model, artifact, output, [f"--export={chosen}"], MOE_DEVICE="cpu")
            self.run(model, artifact, output, [f"--export={other}"], **device)
            flips = self.count_flips(artifact, chosen, other)
            replay = [f"--replay={chosen}"]
        expected = self.run(model, artifact, output, replay, MOE_DEVICE="cpu")
        expected = expected.astype(np.float64)
        found = [self.run(model, artifact, output, replay, **device,
                          MOE_CUDA_EMU_SEED=str(seed))
                 for seed in range(1, self.options.seeds + 1)]
        artifact.unlink()
        for other in found[1:]:
            if not np.array_equal(found[0], other):
                raise RuntimeError("another schedule of threads gives other bits")
        error = np.linalg.norm(found[0] - expected) / np.linalg.norm(expected)
        equal = (found[0] == expected).mean()
        fault = "" if error <= TOLERANCE[compute] else f"at most {TOLERANCE[compute]:.0e}"
        return error, equal, flips, fault

    def count_flips(self, artifact, chosen, other):
        """Tokens for which some router of two exports has another set of experts."""
        facts = json.loads(command([self.tools / "moe-inspect", "--json", artifact]))
        ours, theirs = (np.fromfile(path, np.int32) for path in (chosen, other))
        slots = [router["slots"] for router in facts["routers"]]
        if not slots:
            return ""
        tokens = len(ours) // (2 * sum(slots))
        flips, at = np.zeros(tokens, bool), 0
        for count in slots:
            sets = [np.sort(ids[at:at + tokens * count].reshape(tokens, count))
                    for ids in (ours, theirs)]
            flips |= (sets[0] != sets[1]).any(axis=1)
            at += 2 * tokens * count
        return f"{flips.sum()}/{tokens}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--compute", default="f32,bf16")
    parser.add_argument("--arch", default="sm_80")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--quantize")
    parser.add_argument("--tokens", default=[12],
                        type=lambda text: [int(word) for word in text.split(",")])
    parser.add_argument("--decode", type=int, default=0)
    parser.add_argument("--plugin")
    parser.add_argument("models", nargs="*", type=pathlib.Path)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    models = options.models or sorted((ROOT / "test" / "systems").glob("*.moe")) + sorted(
        p.parent for p in (ROOT / "test" / "importers" / "golden").glob("*/config.json"))
    runner = Runner(options)
    failures = 0
    print(f"{'model':32} {'type':5} {'error':>8} {'equal':>7} {'flips':>7}")
    for model in models:
        for compute in options.compute.split(","):
            error, equal, flips, fault = np.nan, np.nan, "", ""
            try:
                error, equal, flips, fault = runner.compare(model, compute)
            except (RuntimeError, OSError, ValueError) as problem:
                fault = str(problem)
            failures += bool(fault)
            print(f"{model.stem:32} {compute:5} {error:8.1e} {equal:7.2%} {flips:>7} {fault}",
                  flush=True)
    print(f"{len(models)} models, {failures} failed")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
