"""Compiles golden checkpoints and compares all their logits with transformers'.

    golden.py --build=BUILD --work=FOLDER [--all] [--bf16] [NAME ...]

A golden is a folder of test/importers/golden (made by make.py there) with a checkpoint, the
tokens, and the logits that Hugging Face transformers computes in float32: of a prefill of
33 tokens and of 8 steps behind it (formulas.py computes those of models that it has not).
moec must give the same from its prefill, from its
decode steps, and from score, which has no cache:

- computed in f32, within 2e-5 in norm, with the same largest logit in every row;
- computed in bf16 (--bf16), within 2e-2 in norm. Rounding changes the experts of some tokens,
  and then their rows, and those of later tokens, say nothing about the importer; a mistake of
  the importer is in every row. So the first quartile of the rows of score is compared, and
  prefill and decode with score.

--all also compiles for every level of instructions, and compares the artifact with that of
the text `moec import` prints, byte for byte.
"""

import argparse
import concurrent.futures
import os
import pathlib
import subprocess
import sys
from dataclasses import dataclass

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "examples" / "fashion"))
import safetensors_io  # noqa: E402  (the example's own reader)

PREFILL = 33
TOLERANCE = {"f32": 2e-5, "bf16": 2e-2}


@dataclass
class Result:
    name: str
    compute: str
    prefill: float = np.nan
    decode: float = np.nan
    score: float = np.nan
    fault: str = ""


def command(*words):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{pathlib.Path(words[0]).name}: {done.stderr.strip()}")
    return done.stdout


def relative(found, expected):
    """Errors of the rows, in norm."""
    return np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)


class Goldens:
    def __init__(self, options):
        self.options = options
        self.moec = options.build / "bin" / "moec"
        self.steps = options.build / "test" / "importers" / "golden-steps"
        flags = pathlib.Path("/proc/cpuinfo").read_text()
        self.level = "avx2" if " avx2 " in flags and " fma " in flags else "generic"

    def compile(self, folder, artifact, compute):
        words = [f"--compute={compute}", "-no-remarks"]
        if not self.options.all:
            words.append(f"--levels={self.level}")
        command(self.moec, folder, "-o", artifact, *words)
        if not self.options.all:
            return
        text = artifact.with_suffix("") / "imported.moe"
        text.parent.mkdir(exist_ok=True)
        other = artifact.with_suffix(".again.so")
        command(self.moec, "import", folder, "-o", text)
        command(self.moec, text, "-o", other, *words)
        if artifact.read_bytes() != other.read_bytes():
            raise RuntimeError("the text of moec import gives another artifact")
        other.unlink()

    def compare(self, folder, compute):
        result = Result(folder.name, compute)
        try:
            reference, _ = safetensors_io.read(folder / "logits.safetensors")
            tokens, expected = reference["tokens"], reference["logits"].astype(np.float64)
            artifact = self.options.work / f"{folder.name}-{compute}.so"
            self.compile(folder, artifact, compute)
            output = artifact.with_suffix(".f32")
            words = [artifact, PREFILL, ",".join(map(str, tokens)), output]
            if "features" in reference:
                words.append(artifact.with_suffix(".rows"))
                reference["features"].astype(np.float32).tofile(words[-1])
            command(self.steps, *words)
            rows = np.fromfile(output, np.float32).astype(np.float64)
            rows = rows.reshape(-1, expected.shape[1])
            artifact.unlink()
            output.unlink()
            tail = len(tokens) - PREFILL
            stepped, scored = rows[: tail + 1], rows[tail + 1 :]
            assert scored.shape == expected.shape, f"rows {scored.shape}"
            found = np.concatenate([scored, stepped])
            wanted = np.concatenate([expected, expected[PREFILL - 1 :]])
            errors = relative(found, wanted)
            scores, steps = errors[: len(tokens)], errors[len(tokens) :]
            self.judge(result, scores, steps, found, wanted)
        except (RuntimeError, OSError, ValueError, AssertionError) as error:
            result.fault = str(error)
        return result

    @staticmethod
    def judge(result, scores, steps, found, wanted):
        exact = result.compute == "f32"
        typical = np.max if exact else lambda errors: np.quantile(errors, 0.25)
        result.prefill, result.decode, result.score = (
            steps[0], typical(steps[1:]), typical(scores))
        limit = TOLERANCE[result.compute]
        # The cache against itself: the last rows of score, and those of the steps.
        tokens, rows = len(scores), len(steps)
        apart = relative(found[tokens:], found[tokens - rows : tokens]).max()
        worst = max(result.score, apart)
        if exact:
            worst = max(worst, result.prefill, result.decode)
            wrong = (found.argmax(axis=1) != wanted.argmax(axis=1)).sum()
            if wrong:
                result.fault = f"{wrong} rows have another largest logit"
        if not worst <= limit:
            result.fault = f"error {worst:.1e}, at most {limit:.0e}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--goldens", type=pathlib.Path, default=HERE / "golden")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    folders = sorted(p.parent for p in options.goldens.glob("*/config.json"))
    if options.names:
        folders = [f for f in folders if any(f.name.startswith(n) for n in options.names)]
    assert folders, "no golden has such a name"
    goldens = Goldens(options)
    jobs = [(folder, compute) for folder in folders
            for compute in ("f32", "bf16")[: 1 + options.bf16]]
    failures = 0
    print(f"{'golden':28} {'type':5} {'prefill':>8} {'decode':>8} {'score':>8}")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for r in pool.map(lambda job: goldens.compare(*job), jobs):
            failures += bool(r.fault)
            print(f"{r.name:28} {r.compute:5} {r.prefill:8.1e} {r.decode:8.1e} "
                  f"{r.score:8.1e} {r.fault}", flush=True)
    print(f"{len(jobs)} compared, {failures} failed")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
