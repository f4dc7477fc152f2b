"""Whether a device computes what it should: see check.sh.

Instructions against NumPy and the emulator; choices of tokens against the runtime's; small models against transformers' logits;
layers against a formula in float64; whole models against the processor; the baseline in
Triton; compute-sanitizer. With MOE_CUDA_DRIVER naming the emulator, all but the last two
run there, without PyTorch; with --interpret the baseline runs as well, in Triton's
interpreter, and PyTorch on the processor computes the formulas.

Each group of checks runs in a process of its own, and what it finds is written as it
comes. A check that ends its process, loses the device or does not come back has failed;
those behind it run in a new process.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

import instructions
import layers
import reference
import results
import runtime
import safetensors_io
import sampler
from driver import Driver, DriverError
from instructions import Skipped

HERE = pathlib.Path(__file__).resolve().parent
PREFILL = 33  # tokens of a golden's prefill
# Errors in norm. A device may sum and take powers in another way than a processor.
GOLDEN = {"f32": 1e-4, "bf16": 2e-2}
PROCESSOR = {"f32": 1e-4, "bf16": 2e-2}
LAYER = {"bf16": 5e-3, "f16": 1e-3, "nf4": 5e-3, "int4": 5e-3}
FORMATS = ("nf4", "int4")  # of weights, of a layer in bf16
LONG = {"bf16": "bfloat16", "f16": "float16"}  # in PyTorch
GROUPS = ("instructions", "sampling", "layers", "goldens", "models", "triton", "sanitizer")
STALLED = 60  # seconds in which no check begins or ends
SLOW = 20  # times as many in the emulator
LOST = 75  # status of a process that lost the device
SMALL_TRITON = ((1, 128, 96, 16, 4), (33, 72, 40, 12, 3))
TIE = 2.0 ** -7  # scores of rounded logits that are nearer than this may change places


def command(words, timeout=None, **environment):
    try:
        done = subprocess.run([str(w) for w in words], capture_output=True, text=True,
                              check=False, env={**os.environ, **environment}, timeout=timeout)
    except subprocess.TimeoutExpired:
        name = pathlib.Path(words[0]).name
        raise RuntimeError(f"{name} does not come back within {timeout} s") from None
    if done.returncode:
        said = (done.stderr + done.stdout).strip()
        raise RuntimeError(f"{pathlib.Path(words[0]).name}: {said[-1500:]}")
    return done.stdout


class Check:
    """The process that checks."""

    def __init__(self, options):
        self.options, self.pack = options, options.pack
        self.end = time.monotonic() + options.budget
        self.done = set(json.loads(options.done))
        self.driver = Driver()
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="moe-check-"))
        self.lock = threading.Lock()
        self.say(device=self.driver.name, capability=self.driver.capability)

    def say(self, **what):
        """For the process that watches this one."""
        with self.lock:
            sys.stdout.write(json.dumps(what) + "\n")
            sys.stdout.flush()

    def add(self, group, name, work):
        """Runs work(), which gives what was measured and a fault."""
        if f"{group} {name}" in self.done:
            return
        self.say(begins=name, group=group)
        start = time.monotonic()
        measured, fault, state = "", "", "ok"
        try:
            if start > self.end:
                raise Skipped("no time is left")
            measured, fault = work()
        except Skipped as why:
            measured, state = str(why), "skipped"
        except Exception as problem:  # whatever a library raises
            fault = f"{type(problem).__name__}: {problem}"
        if fault:
            state = "FAILED"
        self.say(group=group, check=name, state=state, measured=measured, fault=fault,
                 seconds=round(time.monotonic() - start, 2))
        # Others' threads have no context, and what they run is a process.
        is_main = threading.current_thread() is threading.main_thread()
        if state == "FAILED" and is_main and self.is_lost():
            sys.exit(LOST)

    def patience(self):
        """Seconds that a program may take."""
        if self.driver.is_emulator:
            return None
        return max(10, min(STALLED - 10, round(self.end - time.monotonic()) + 10))

    def is_lost(self):
        """Whether nothing can run behind what failed."""
        try:
            self.driver.call("cuCtxSynchronize")
        except DriverError:
            return True
        return False

    def parallel(self, group, jobs):
        """add() for processes of their own."""
        workers = 1 if self.driver.is_emulator else 4
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda job: self.add(group, *job), jobs))

    # ---- instructions ------------------------------------------------------

    def instructions(self):
        recorded = np.load(self.pack / "instructions.npz")

        found = {}

        def keep(name, work):
            found[name], fault = work()
            return "", fault
        for name, work in instructions.run(self.driver, self.pack, recorded):
            self.add("instructions", name, lambda name=name, work=work: keep(name, work))
        # What hardware gave, for instructions.py --against.
        if found and not self.driver.is_emulator:
            np.savez_compressed(self.options.out / "instructions.npz", **found)

    # ---- whole models ------------------------------------------------------

    def golden(self, artifact):
        name, compute = artifact.stem.rsplit("-", 1)
        expected, _ = safetensors_io.read(artifact.with_name(f"{name}.safetensors"))
        tokens, logits = expected["tokens"], expected["logits"].astype(np.float64)
        output = self.scratch / f"{artifact.stem}.f32"
        command([self.pack / "bin" / "golden-steps", artifact, PREFILL,
                 ",".join(map(str, tokens)), output], self.patience(), MOE_DEVICE="cuda")
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

    def long(self, artifact):
        """Steps behind so many tokens that their keys are divided among blocks."""
        values = []
        for device in ("cpu", "cuda"):
            output = self.scratch / f"{artifact.stem}-{device}.f32"
            command([self.pack / "bin" / "golden-steps", artifact, 470,
                     ",".join(str(1 + i * 7 % 60) for i in range(480)), output],
                    self.patience, MOE_DEVICE=device)
            values.append(np.fromfile(output, np.float32).astype(np.float64))
        error = np.linalg.norm(values[1] - values[0]) / np.linalg.norm(values[0])
        limit = PROCESSOR["bf16"]
        return f"error {error:.1e}", "" if error <= limit else f"at most {limit:.0e}"

    def model(self, artifact):
        """What the processor gave where the folder was made, or gives here."""
        if artifact.stem == "attention":
            return self.long(artifact)
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
            command([*words, "--output", output], self.patience(), MOE_DEVICE=device)
            values.append(np.load(output).astype(np.float64))
        error = np.linalg.norm(values[1] - values[0]) / np.linalg.norm(values[0])
        limit = PROCESSOR["f32" if artifact.stem == "fashion" else "bf16"]
        return f"error {error:.1e}", "" if error <= limit else f"at most {limit:.0e}"

    def models(self):
        self.parallel("processor", [
            (artifact.stem, lambda artifact=artifact: self.model(artifact))
            for artifact in sorted((self.pack / "models").glob("*.so"))])

    # ---- sampling ----------------------------------------------------------

    def sampling(self):
        """The kernel that chooses tokens, of every level that the device runs."""
        library = runtime.Library(self.pack / "lib" / "libmoert.so.0")
        artifact = self.pack / "goldens" / "mixtral-a-f32.so"
        widths = (31, 257) if self.driver.is_emulator else (1, 31, 257, 4099, 50257, 151936)
        for level in sampler.DeviceSampler.levels(self.driver, library, artifact):
            device = sampler.DeviceSampler(self.driver, library, artifact, level)
            for width in widths:
                self.add("sampling", f"{device.name}, {width} tokens", lambda d=device, w=width: (
                    f"{sampler.compare(d, library, [w], 1)} tokens are the host's", ""))

    # ---- layers ------------------------------------------------------------

    def layer(self, library, name, counts, kind):
        shape = layers.ALL[name]
        import coded  # here, for PyTorch takes seconds to load
        import weights
        suffix = "" if kind == "bf16" else f"-{kind}"
        dtype = "bf16" if kind in FORMATS else kind
        artifact = self.pack / "layers" / f"{name}{suffix}.so"
        make = weights.maker("cpu" if self.driver.is_emulator else "cuda", dtype)
        if self.options.interpret:
            make = weights.TorchMaker("cpu", getattr(weights.torch, LONG[dtype]))
        math = reference.NumpyMath(dtype)
        if isinstance(make, weights.TorchMaker):
            math = reference.TorchMath(weights.torch, make.device, dtype)
        # Side files lie beside the artifact.
        copy = self.scratch / artifact.name
        shutil.copy(artifact, copy)
        manifest = weights.manifest_of(self.pack / "bin" / "moe-inspect", copy)
        numbers = weights.Weights(1, make)
        if kind in FORMATS:
            numbers = coded.Weights(1, make, manifest)
        files = weights.write(copy, manifest, numbers, "cuda")
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
                if isinstance(math, reference.TorchMath):
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
        limit = LAYER[kind]
        fault = "" if worst <= limit else f"at most {limit:.0e}"
        return f"error {worst:.1e}, {changed} ties broken otherwise", fault

    def layers(self):
        library = runtime.Library(self.pack / "lib" / "libmoert.so.0")
        small, counts = ("small", "odd"), (1, 37)
        if not self.driver.is_emulator:
            small, counts = tuple(layers.SMALL), (1, 37, 700)
        plan = [(name, dtype, counts) for name in small for dtype in LONG]
        plan += [("coded", kind, counts) for kind in FORMATS]
        if not self.driver.is_emulator:
            plan += [(name, dtype, (1, 8, 130, 1024)) for name, dtype in (
                ("qwen3-30b-a3b", "bf16"), ("olmoe", "f16"), ("gpt-oss-20b", "bf16"))]
        for name, kind, counts in plan:
            self.add("float64", f"layer {name}, {kind}", lambda n=name, c=counts, k=kind:
                     self.layer(library, n, c, k))

    # ---- others ------------------------------------------------------------

    def triton(self):
        sys.path.insert(0, str(self.pack / "peers"))
        interprets = self.options.interpret
        if self.driver.is_emulator and not interprets:
            return
        try:
            if interprets:
                import interpreted  # noqa: F401  (before kernels are defined)
            import triton_moe
        except ImportError as problem:
            why = str(problem)

            def skip():
                raise Skipped(why)
            self.add("triton", "baseline", skip)
            return
        import torch

        def work(shape, config, dtype):
            if not interprets and not torch.cuda.is_available():
                raise Skipped("no PyTorch with a device")
            error, flips = triton_moe.check(*shape, config, "cpu" if interprets else "cuda", dtype)
            limit = triton_moe.LIMITS[dtype]
            return (f"error {error:.1e}, {flips} ties",
                    "" if error <= limit else f"at most {limit:.0e}")
        shapes = SMALL_TRITON if interprets else (
            (1, 512, 256, 16, 4), (65, 512, 192, 16, 4), (700, 256, 384, 64, 8))
        for dtype in (torch.bfloat16, torch.float16):
            for shape in shapes:
                for config in triton_moe.configs(shape[0] * shape[4], shape[3])[:2]:
                    self.add("triton", f"{str(dtype)[6:]} {shape}, BM {config.bm} BN {config.bn}",
                             lambda s=shape, c=config, d=dtype: work(s, c, d))

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
                    self.patience(), MOE_DEVICE="cuda", MOE_CUDA_GRAPHS="0")
            return "", ""
        for kind in ("memcheck", "racecheck", "synccheck"):
            self.add("sanitizer", kind, lambda kind=kind: work(kind))

    def run(self):
        try:
            getattr(self, self.options.only)()
        finally:
            shutil.rmtree(self.scratch)


class Watch:
    """Runs groups of checks in processes, and writes what they find."""

    def __init__(self, options):
        self.options, self.rows, self.about = options, [], {}
        self.end = time.monotonic() + options.budget
        self.patience = STALLED * (SLOW if os.environ.get("MOE_CUDA_DRIVER") else 1)

    def process(self, group, done):
        """Whether another process has to take what is left of the group."""
        words = [sys.executable, __file__, f"--pack={self.options.pack}",
                 f"--out={self.options.out}", f"--only={group}", f"--done={json.dumps(done)}",
                 f"--budget={max(self.end - time.monotonic(), 0):.0f}", "--worker"]
        if self.options.interpret:
            words.append("--interpret")
        begun, why = {}, []
        with (tempfile.TemporaryFile("w+") as errors,
              subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, text=True) as process):
            def stall():
                why.append(f"does not come back within {self.patience} s")
                process.kill()
            alarm = threading.Timer(self.patience, stall)
            alarm.start()
            for line in process.stdout:
                alarm.cancel()
                self.take(json.loads(line), begun, done)
                alarm = threading.Timer(self.patience, stall)
                alarm.start()
            code = process.wait()
            alarm.cancel()
            errors.seek(0)
            why += errors.read().strip().splitlines()[-1:]
        if code in (0, LOST):
            return code == LOST
        why = why or [f"ends the process with {code}"]
        for name, of in begun.items() or [("start", group)]:
            self.take({"group": of, "check": name, "state": "FAILED", "measured": "",
                       "fault": "; ".join(why), "seconds": 0.0}, {}, done)
        return bool(begun)

    def take(self, said, begun, done):
        if "device" in said:
            self.about = said
        elif "begins" in said:
            begun[said["begins"]] = said["group"]
        else:
            begun.pop(said["check"], None)
            done.append(f"{said['group']} {said['check']}")
            self.rows.append(said)
            print(f"{said['state']:8} {said['group']:13} {said['check']:34} "
                  f"{said['seconds']:6.1f} s  {said['measured']} {said['fault']}",
                  file=sys.stderr, flush=True)
            self.write()

    def run(self):
        for group in self.options.only.split(",") if self.options.only else GROUPS:
            done = []
            while self.process(group, done):
                pass
        head, table, last = self.write()
        print(f"\n{head}\n{table}\n{last}")
        counts = self.counts()
        return 1 if counts["FAILED"] or not counts["ok"] else 0

    def counts(self):
        return {state: sum(row["state"] == state for row in self.rows)
                for state in ("ok", "FAILED", "skipped")}

    def write(self):
        counts, out = self.counts(), self.options.out
        level = (self.options.pack / "levels").read_text().strip()
        revision = (self.options.pack / "revision").read_text().strip()
        columns = [("group", lambda r: r["group"]), ("check", lambda r: r["check"]),
                   ("state", lambda r: r["state"]),
                   ("measured", lambda r: f"{r['measured']} {r['fault']}".strip()),
                   ("s", lambda r: f"{r['seconds']:.1f}")]
        device = self.about.get("device", "no device")
        head = (f"{device}, compute capability "
                f"{'.'.join(map(str, self.about.get('capability', [])))}, levels {level}, "
                f"revision {revision}")
        last = (f"{counts['ok']} passed, {counts['FAILED']} failed, "
                f"{counts['skipped']} skipped")
        results.write_json(out / "correct.json", {"device": device, "levels": level,
                                                  "revision": revision, "rows": self.rows})
        results.write(out / "correct.md",
                      f"{head}\n\n{results.markdown(self.rows, columns)}\n\n{last}\n")
        return head, results.text(self.rows, columns), last


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pack", type=pathlib.Path, default=HERE)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--budget", type=float, default=280)
    parser.add_argument("--only", default="", help="of " + ",".join(GROUPS))
    parser.add_argument("--interpret", action="store_true",
                        help="in the emulator: PyTorch and Triton as well, on the processor")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--done", default="[]", help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = set(filter(None, options.only.split(","))) - set(GROUPS)
    if unknown:
        parser.error(f"--only: expected of {', '.join(GROUPS)}, found {', '.join(unknown)}")
    if not options.worker:
        sys.exit(Watch(options).run())
    try:
        check = Check(options)
    except DriverError as problem:
        sys.exit(f"correct.py: {problem}")
    check.run()


if __name__ == "__main__":
    main()
