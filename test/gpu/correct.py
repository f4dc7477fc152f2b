"""Whether a device computes what it should: see check.sh.

Instructions against NumPy and the emulator; small models against transformers' logits;
layers against a formula in float64; whole models against the processor; the baseline in
Triton; compute-sanitizer. With MOE_CUDA_DRIVER naming the emulator, all but the last two
run there, without PyTorch.
"""

import argparse
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np

import instructions
import layers
import reference
import results
import runtime
import safetensors_io
import weights
from driver import Driver, DriverError

HERE = pathlib.Path(__file__).resolve().parent
PREFILL = 33  # tokens of a golden's prefill
# Errors in norm. A device may sum and take powers in another way than a processor.
GOLDEN = {"f32": 1e-4, "bf16": 2e-2}
PROCESSOR = {"f32": 1e-4, "bf16": 2e-2}
LAYER = 5e-3
GROUPS = ("instructions", "layers", "goldens", "models", "triton", "sanitizer")
TIE = 2.0 ** -7  # scores of bf16 logits that are nearer than this may change places


class Skipped(Exception):
    pass


def command(words, **environment):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False,
                          env={**os.environ, **environment})
    if done.returncode:
        said = (done.stderr + done.stdout).strip()
        raise RuntimeError(f"{pathlib.Path(words[0]).name}: {said[-1500:]}")
    return done.stdout


class Check:
    def __init__(self, options):
        self.options, self.pack = options, options.pack
        self.rows = []
        self.end = time.monotonic() + options.budget
        self.driver = Driver()
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="moe-check-"))

    def add(self, group, name, work):
        """Runs work(), which gives what was measured and a fault."""
        start = time.monotonic()
        measured, fault, state = "", "", "ok"
        try:
            if start > self.end:
                raise Skipped("no time is left")
            measured, fault = work()
        except Skipped as why:
            measured, state = str(why), "skipped"
        except (RuntimeError, OSError, ValueError, KeyError, AssertionError) as problem:
            fault = f"{type(problem).__name__}: {problem}"
        if fault:
            state = "FAILED"
        row = {"group": group, "check": name, "state": state, "measured": measured,
               "fault": fault, "seconds": round(time.monotonic() - start, 2)}
        self.rows.append(row)
        print(f"{state:8} {group:13} {name:34} {row['seconds']:6.1f} s  {measured} {fault}",
              file=sys.stderr, flush=True)

    def parallel(self, group, jobs):
        """add() for processes of their own."""
        workers = 1 if self.driver.is_emulator else 4
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda job: self.add(group, *job), jobs))

    # ---- instructions ------------------------------------------------------

    def instructions(self):
        recorded = np.load(self.pack / "instructions.npz")

        def told(fault):
            if fault.startswith("skipped: "):
                raise Skipped(fault.removeprefix("skipped: "))
            return "", fault
        try:
            for name, _, fault in instructions.run(self.driver, self.pack, recorded):
                self.add("instructions", name, lambda fault=fault: told(fault))
        except DriverError as problem:
            self.add("instructions", "modules", lambda problem=problem: ("", str(problem)))

    # ---- whole models ------------------------------------------------------

    def golden(self, artifact):
        name, compute = artifact.stem.rsplit("-", 1)
        expected, _ = safetensors_io.read(artifact.with_name(f"{name}.safetensors"))
        tokens, logits = expected["tokens"], expected["logits"].astype(np.float64)
        output = self.scratch / f"{artifact.stem}.f32"
        command([self.pack / "bin" / "golden-steps", artifact, PREFILL,
                 ",".join(map(str, tokens)), output], MOE_DEVICE="cuda")
        found = np.fromfile(output, np.float32).astype(np.float64).reshape(-1, logits.shape[1])
        wanted = np.concatenate([logits[PREFILL - 1:], logits])
        errors = np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
        # Rounding to bf16 changes the experts of some tokens, and all behind them.
        error = errors.max() if compute == "f32" else np.quantile(errors, 0.25)
        fault = "" if error <= GOLDEN[compute] else f"at most {GOLDEN[compute]:.0e}"
        if compute == "f32" and (found.argmax(1) != wanted.argmax(1)).any():
            fault = "a row has another largest logit"
        return f"error {error:.1e}", fault

    def goldens(self):
        self.parallel("transformers", [
            (artifact.stem, lambda artifact=artifact: self.golden(artifact))
            for artifact in sorted((self.pack / "goldens").glob("*.so"))])

    def model(self, artifact):
        """What the processor gave where the folder was made, or gives here."""
        words = [self.pack / "bin" / "moe-run", artifact, "--print", "none"]
        if artifact.stem == "fashion":
            words += ["--entry", "prefill", "--text", "The king"]
        else:
            words += ["--ids", "1,2,3,4,5,6,7,8,9,10,11,12"]
        values = []
        given = artifact.with_suffix(".npy")
        if given.exists():
            values.append(np.load(given).astype(np.float64))
        for device in ("cpu", "cuda")[len(values):]:
            output = self.scratch / f"{artifact.stem}-{device}.npy"
            command([*words, "--output", output], MOE_DEVICE=device)
            values.append(np.load(output).astype(np.float64))
        error = np.linalg.norm(values[1] - values[0]) / np.linalg.norm(values[0])
        limit = PROCESSOR["f32" if artifact.stem == "fashion" else "bf16"]
        return f"error {error:.1e}", "" if error <= limit else f"at most {limit:.0e}"

    def models(self):
        self.parallel("processor", [
            (artifact.stem, lambda artifact=artifact: self.model(artifact))
            for artifact in sorted((self.pack / "models").glob("*.so"))])

    # ---- layers ------------------------------------------------------------

    def layer(self, library, name, counts):
        shape = {**layers.LAYERS, **layers.SMALL}[name]
        artifact = self.pack / "layers" / f"{name}.so"
        make = weights.maker("cpu" if self.driver.is_emulator else "cuda")
        numbers = weights.Weights(1, make)
        math = reference.NumpyMath
        if isinstance(make, weights.TorchMaker):
            math = reference.TorchMath(weights.torch, "cuda")
        # Side files lie beside the artifact.
        copy = self.scratch / artifact.name
        shutil.copy(artifact, copy)
        files = weights.write(copy, weights.manifest_of(self.pack / "bin" / "moe-inspect", copy),
                              numbers)
        layer = runtime.Layer(library, copy)
        try:
            worst, changed = 0.0, 0
            for tokens in counts:
                x = np.random.default_rng(tokens).standard_normal((tokens, shape[0]))
                x = x.astype(np.float32)
                found = layer.step(x, routing=True)
                ids, shares = layer.routing()
                # Launched again, as a graph, and the graph once more.
                for _ in range(3):
                    if not np.array_equal(layer.step(x, routing=True), found):
                        return "", f"{tokens} tokens: another run gives other bits"
                expected = reference.layer(x, numbers, shape, ids, math)
                score = reference.scores(x, numbers, shape, math)[2]
                if math is not reference.NumpyMath:
                    expected, score = expected.cpu().numpy(), score.cpu().numpy()
                count, gap = reference.flips(score, ids)
                if gap > TIE or not np.allclose(shares.sum(1), 1, atol=1e-5):
                    return "", (f"{tokens} tokens: {count} have other experts, one by {gap:.1e} "
                                f"of a score, or weights that do not add up to 1")
                worst, changed = max(worst, reference.error(found, expected)), changed + count
        finally:
            layer.close()
            for file in files:
                file.unlink()
        fault = "" if worst <= LAYER else f"at most {LAYER:.0e}"
        return f"error {worst:.1e}, {changed} ties broken otherwise", fault

    def layers(self):
        library = runtime.Library(self.pack / "lib" / "libmoert.so.0")
        for name in layers.SMALL:
            counts = (1, 37) if self.driver.is_emulator else (1, 37, 700)
            if self.driver.is_emulator and name == "middle":
                continue
            self.add("float64", f"layer {name}", lambda n=name, c=counts:
                     self.layer(library, n, c))
        if not self.driver.is_emulator:
            for name in ("olmoe", "qwen3-30b-a3b", "gpt-oss-20b"):
                self.add("float64", f"layer {name}", lambda n=name: self.layer(
                    library, n, (1, 8, 130, 1024)))

    # ---- others ------------------------------------------------------------

    def triton(self):
        sys.path.insert(0, str(self.pack / "peers"))

        def work(*arguments):
            if weights.torch is None or not weights.torch.cuda.is_available():
                raise Skipped("no PyTorch with a device")
            import triton_moe
            error, flips = triton_moe.check(*arguments, "cuda", weights.torch.bfloat16)
            return f"error {error:.1e}, {flips} ties", "" if error <= 2e-2 else "at most 2e-02"
        if self.driver.is_emulator:
            return
        try:
            import triton_moe
        except ImportError as problem:
            why = str(problem)

            def skip():
                raise Skipped(why)
            self.add("triton", "baseline", skip)
            return
        for shape in ((1, 512, 256, 16, 4), (65, 512, 192, 16, 4), (700, 256, 384, 64, 8)):
            for config in triton_moe.configs(shape[0] * shape[4], shape[3])[:2]:
                self.add("triton", f"baseline {shape}, BM {config.bm}",
                         lambda s=shape, c=config: work(*s, c))

    def sanitizer(self):
        tool = shutil.which("compute-sanitizer") or shutil.which(
            "compute-sanitizer", path="/usr/local/cuda/bin")

        def work(kind):
            if self.driver.is_emulator:
                raise Skipped("the emulator checks accesses itself")
            if not tool:
                raise Skipped("compute-sanitizer is not installed")
            artifact = self.pack / "goldens" / "mixtral-a-bf16.so"
            command([tool, "--tool", kind, "--error-exitcode", "9", self.pack / "bin" /
                     "golden-steps", artifact, "3", "1,2,3,4,5", self.scratch / f"{kind}.f32"],
                    MOE_DEVICE="cuda", MOE_CUDA_GRAPHS="0")
            return "", ""
        for kind in ("memcheck", "racecheck", "synccheck"):
            self.add("sanitizer", kind, lambda kind=kind: work(kind))

    def run(self):
        for name in self.options.only.split(",") if self.options.only else GROUPS:
            getattr(self, name)()
        shutil.rmtree(self.scratch)
        return self.report()

    def report(self):
        counts = {state: sum(row["state"] == state for row in self.rows)
                  for state in ("ok", "FAILED", "skipped")}
        level = (self.pack / "levels").read_text().strip()
        revision = (self.pack / "revision").read_text().strip()
        columns = [("group", lambda r: r["group"]), ("check", lambda r: r["check"]),
                   ("state", lambda r: r["state"]),
                   ("measured", lambda r: f"{r['measured']} {r['fault']}".strip()),
                   ("s", lambda r: f"{r['seconds']:.1f}")]
        head = (f"{self.driver.name}, compute capability "
                f"{'.'.join(map(str, self.driver.capability))}, levels {level}, "
                f"revision {revision}")
        last = (f"{counts['ok']} passed, {counts['FAILED']} failed, "
                f"{counts['skipped']} skipped")
        out = self.options.out
        results.write_json(out / "correct.json", {"device": self.driver.name, "levels": level,
                                                  "revision": revision, "rows": self.rows})
        results.write(out / "correct.md",
                      f"{head}\n\n{results.markdown(self.rows, columns)}\n\n{last}\n")
        print(f"\n{head}\n{results.text(self.rows, columns)}\n{last}")
        return 1 if counts["FAILED"] or not counts["ok"] else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pack", type=pathlib.Path, default=HERE)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--budget", type=float, default=280)
    parser.add_argument("--only", default="", help="of " + ",".join(GROUPS))
    options = parser.parse_args()
    unknown = set(filter(None, options.only.split(","))) - set(GROUPS)
    if unknown:
        parser.error(f"--only: expected of {', '.join(GROUPS)}, found {', '.join(unknown)}")
    try:
        check = Check(options)
    except DriverError as problem:
        sys.exit(f"correct.py: {problem}")
    sys.exit(check.run())


if __name__ == "__main__":
    main()
