"""Runs models whole on the emulated device, and compares them with the processor.

    python3 test/gpu/emulator.py --build=build --work=W [--compute=f32,bf16,f16]
        [--arch=sm_80] [--seeds=1] [--quantize=FORMAT] [--activations=float]
        [--tokens=12,..] [--decode=N] [--length=N] [--stored] [--exact]
        [--plugin=FILE] [MODEL..]

A MODEL is a .moe source, IR in the form of phase `experts`, or the folder of a golden
checkpoint (test/importers/golden).
Each is compiled once for both, with the IR of its kernels, and runs through the same
runtime: on the processor, at level avx2, and on the device that libmoe-cuda-emu.so
emulates. Sources with random weights score sequences of the lengths of --tokens, of
every modality that they have, or, with --decode, take a prefill of N tokens, 3 decode
steps and a scoring of all; goldens take a prefill of 33 tokens, 8 decode steps and a
scoring of all. In bf16 the weights of a golden are rounded to bf16 first, for both,
so that its products run on tensor cores (--stored leaves them as they are). `plain`
counts the kernels that do without ("rows are not a multiple of 8 elements", say).
--length=N repeats a golden's tokens to as many, with as wide a context, so that it takes
larger tiles.

Kernels for the plain arithmetic of both do the same operations in the same order, so
that gives equal bits; tensor cores sum in another order. What is judged is the error in
norm over all results: 2e-5 in f32, 1e-3 in bf16, 1.5e-3 in f16; `row` is that of the worst
row. A sum in another order may send a token to other experts: in bf16 both replay the experts that
the processor chose, and tokens for which the device alone would have chosen others are
counted (`flips`). --seeds=N runs N schedules of threads and asks for the same bits from
each.

--exact has all scored in bf16 by moe-interp as well, which adds products in double, so
that it has no order: `device` and `cpu` are the distances of both from it. A model that
is off by more than 1e-3 then passes if both are within 1e-2 of it: one number that falls
to the other side of a rounding to bf16 changes what follows as much as if that were
rounded independently, 2^-9 * sqrt(2 / 3) for each rounding of the stream, of which models
here have up to 40. Of 16 models or more, the device may not be further from it in the
mean square than twice what the processor is, or 1e-3 if that is more.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
from dataclasses import dataclass

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "examples" / "fashion"))
import safetensors_io  # noqa: E402  (the example's own reader)

TOLERANCE = {"f32": 2e-5, "bf16": 1e-3, "f16": 1.5e-3}
ROUNDED = 1e-2  # of bf16, beside exact sums
FEW = 16  # models; the mean of fewer is a matter of luck
DECODED = 8  # the last tokens of a golden
CONTEXTS = ("max_position_embeddings", "max_seq_len")


def command(words, **environment):
    """What the program says on both."""
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True,
                          check=False, env={**os.environ, **environment})
    if done.returncode:
        raise RuntimeError(f"{pathlib.Path(words[0]).name}: {done.stderr.strip()[:2000]}")
    return done.stdout + done.stderr


@dataclass
class Result:
    name: str
    compute: str
    error: float = np.nan
    row: float = np.nan
    equal: float = np.nan
    flips: str = ""
    plain: int = 0
    device: float = np.nan
    cpu: float = np.nan
    fault: str = ""

    def line(self, exact):
        distances = f" {self.device:8.1e} {self.cpu:8.1e}" if exact else ""
        return (f"{self.name:28} {self.compute:5} {self.error:8.1e} {self.row:8.1e} "
                f"{self.equal:7.2%} {self.flips:>7} {self.plain:5}{distances} {self.fault}")


def relative(found, expected):
    """Errors in norm, of all and of the worst row."""
    norms = np.linalg.norm(expected, axis=1)
    apart = np.linalg.norm(found - expected, axis=1)
    return np.linalg.norm(apart) / np.linalg.norm(norms), (apart / norms).max()


class Golden:
    """A checkpoint with tokens, in the form in which it is compared."""

    def __init__(self, folder, compute, options):
        self.original = self.model = folder
        self.options = options
        reference, _ = safetensors_io.read(folder / "logits.safetensors")
        self.shape = -1, reference["logits"].shape[1]
        self.decoded = DECODED
        self.tokens, self.features = reference["tokens"], reference.get("features")
        self.counts = [options.length or len(self.tokens)]  # rows of each sequence
        if options.length:
            times = -(-options.length // len(self.tokens))
            self.tokens = np.resize(self.tokens, options.length)
            if self.features is not None:  # of tokens that are images
                images = (self.tokens < 0).sum()
                self.features = np.tile(self.features, (times, 1))[:images]
        rounds = compute == "bf16" and not options.stored
        if rounds or options.length:
            self.copy(rounds)

    def copy(self, rounds):
        self.model = self.options.work / self.original.name
        shutil.rmtree(self.model, ignore_errors=True)
        self.model.mkdir()
        config = json.loads((self.original / "config.json").read_text())
        self.widen(config)
        (self.model / "config.json").write_text(json.dumps(config))
        tensors, metadata = safetensors_io.read(self.original / "model.safetensors")
        safetensors_io.write(self.model / "model.safetensors", tensors, metadata, bf16=rounds)

    def widen(self, config):
        for key, value in config.items():
            if isinstance(value, dict):
                self.widen(value)
            elif key in CONTEXTS:
                config[key] = max(value, len(self.tokens))

    def close(self):
        if self.model != self.original:
            shutil.rmtree(self.model)

    def run(self, artifact, choices="", of="", weights=False, **environment):
        """Rows of the last token of prefill, of the steps, and of the scoring.
        `choices` are to be exported to, or replayed from, files of `of`; golden-steps
        looks itself for routers that need their weights."""
        output = artifact.with_suffix(".f32")
        words = [self.options.build / "test" / "importers" / "golden-steps", artifact,
                 len(self.tokens) - self.decoded, ",".join(map(str, self.tokens)), output]
        if choices:
            words.append(f"--{choices}={artifact.with_suffix(of)}")
        if self.features is not None:
            rows = artifact.with_suffix(".rows")
            self.features.astype(np.float32).tofile(rows)
            words.append(f"--rows={rows}")
        command(words, **environment)
        return np.fromfile(output, np.float32).reshape(self.shape)

    def routing(self, artifact, of, slots):
        """Of each sequence, of each router ids and weights [tokens, slots]."""
        words, at, choices = np.fromfile(artifact.with_suffix(of), np.int32), 0, []
        for count in slots:
            size = 2 * len(self.tokens) * count
            ids, weights = words[at:at + size].reshape(2, len(self.tokens), count)
            choices.append((ids, weights.view(np.float32)))
            at += size
        return [choices]

    def scored(self, rows):
        return rows[-len(self.tokens):]

    def inputs(self, artifact):
        """Of each sequence, for moe-interp, runs of one modality each."""
        words, at, ids = [], 0, self.tokens
        for end in range(1, len(ids) + 1):
            if end < len(ids) and (ids[end] < 0) == (ids[at] < 0):
                continue
            if ids[at] < 0:
                path = artifact.with_suffix(f".{at}.npy")
                first = (ids[:at] < 0).sum()
                np.save(path, self.features[first:first + end - at].astype(np.float32))
                words.append(f"--raw=image={path}")
            else:
                words.append("--ids=" + ",".join(map(str, ids[at:end])))
            at = end
        return [words]


class Steps(Golden):
    """A .moe file with random weights that is run in steps, and scored."""

    def __init__(self, path, options):
        self.original = self.model = path
        self.options, self.features, self.decoded = options, None, 3
        count = options.decode + self.decoded
        self.tokens = [1 + i * 7 % 60 for i in range(count)]
        self.counts, self.shape = [count], (1 + self.decoded + count, -1)


class Source:
    """A .moe file with random weights, or with its own; some sequences to score."""

    def __init__(self, path, options):
        self.model, self.options = path, options
        self.own = path.stem == "fashion"
        self.sequences = ["84,104,101,32,107,105,110,103"] if self.own else [
            ",".join(str(1 + i * 7 % 60) for i in range(count)) for count in options.tokens]

    def close(self):
        pass

    def run(self, artifact, choices="", of="", weights=False, **environment):
        """`weights`: replays those, too, for routers that weigh their own ids only."""
        results = []
        for number, words in enumerate(self.inputs(artifact)):
            if choices:
                kind = "routing" if choices == "export" else "replay"
                for name in (("ids", "weights") if choices == "export" or weights
                             else ("ids",)):
                    words.append(f"--{kind}-{name}={self.file(artifact, of, number, name)}")
            if self.own:
                words.append("--entry=score")
            output = artifact.with_suffix(".npy")
            command([self.options.build / "runtime" / "tools" / "moe-run", artifact, *words,
                     "--print=none", f"--output={output}"], **environment)
            rows = np.load(output)
            results.append(rows.reshape(-1, rows.shape[-1]))
        self.counts = [len(rows) for rows in results]
        return np.concatenate(results)

    def scored(self, rows):
        return rows

    @staticmethod
    def file(artifact, of, number, name):
        return artifact.with_suffix(f"{of}.{number}.{name}.npy")

    def routing(self, artifact, of, slots):
        found = []
        for number in range(len(self.sequences)):
            files = [np.load(self.file(artifact, of, number, name))
                     for name in ("ids", "weights")]
            found.append([tuple(file[router, :, :count] for file in files)
                          for router, count in enumerate(slots)])
        return found

    def inputs(self, artifact):
        """One random input of each raw modality, in front of the tokens."""
        words = []
        for modality in inspect(self.options, artifact)["modalities"]:
            if modality["input"] != "raw":
                continue
            shape = [1, *modality["raw_shape"]]
            numbers = np.random.default_rng(1)
            rows = (numbers.integers(0, 256, shape).astype(np.uint8)
                    if modality["raw_dtype"] == "u8"
                    else numbers.standard_normal(shape).astype(np.float32))
            path = artifact.with_suffix(f".{modality['name']}.npy")
            np.save(path, rows)
            words.append(f"--raw={modality['name']}={path}")
        return [[*words, f"--ids={ids}"] for ids in self.sequences]


def inspect(options, artifact):
    return json.loads(command([options.build / "runtime" / "tools" / "moe-inspect", "--json",
                               artifact]))


class Runner:
    def __init__(self, options):
        self.options = options
        self.emulator = next((options.build / "lib").glob("libmoe-cuda-emu.so*"))

    def compiler(self, case, compute):
        words = [self.options.build / "bin" / "moec", case.model]
        words.append("--compile-from=buffers" if case.model.suffix == ".mlir"
                     else f"--compute={compute}")
        if self.options.quantize:
            words.append(f"--quantize={self.options.quantize}")
        if self.options.activations:
            words.append(f"--activations={self.options.activations}")
        if self.options.plugin:
            words.insert(1, f"--load-plugin={self.options.plugin}")
        if compute == "bf16" and case.model.suffix != ".mlir":  # which has its entries
            words.append("--with=routing_in,routing_out")
        return words + self.weights(case)

    @staticmethod
    def weights(case):
        is_random = isinstance(case, Steps) or isinstance(case, Source) and not case.own
        return ["--weights=synthetic:1"] if is_random else []

    def compile(self, words, artifact):
        """How many kernels compute in bf16 without tensor cores."""
        said = command([*words, "-o", artifact, "--target=x86_64,nvptx", "--levels=avx2",
                        f"--gpu-arch={self.options.arch}", "-femit-kernel-ir"])
        return said.count("computes this without tensor cores")

    def device(self, seed=1):
        return {"MOE_DEVICE": "cuda", "MOE_CUDA_DRIVER": str(self.emulator),
                "MOE_CUDA_EMU_SEED": str(seed)}

    def compare(self, model, compute):
        result = Result(model.stem, compute)
        try:
            case = (Golden(model, compute, self.options) if model.is_dir()
                    else (Steps if self.options.decode else Source)(model, self.options))
            try:
                self.judge(case, result)
            finally:
                case.close()
        except (RuntimeError, OSError, ValueError) as problem:
            result.fault = str(problem)
        return result

    def judge(self, case, result):
        artifact = self.options.work / f"{result.name}-{result.compute}.so"
        words = self.compiler(case, result.compute)
        result.plain = self.compile(words, artifact)
        routers = inspect(self.options, artifact)["routers"]
        slots = [router["slots"] for router in routers]
        weights = not all(router["weighs_any"] for router in routers)
        replay = ()
        if result.compute == "bf16" and slots and case.model.suffix != ".mlir":
            case.run(artifact, "export", ".cpu", MOE_DEVICE="cpu")
            case.run(artifact, "export", ".cuda", **self.device())
            result.flips = count_flips(*(case.routing(artifact, of, slots)
                                         for of in (".cpu", ".cuda")))
            replay = ("replay", ".cpu", weights)
        expected = case.run(artifact, *replay, MOE_DEVICE="cpu").astype(np.float64)
        runs = [case.run(artifact, *replay, **self.device(seed))
                for seed in range(1, self.options.seeds + 1)]
        for other in runs[1:]:
            if not np.array_equal(runs[0], other):
                raise RuntimeError("another schedule of threads gives other bits")
        result.equal = (runs[0] == expected).mean()
        found = runs[0].astype(np.float64)
        result.error, result.row = relative(found, expected)
        limit = TOLERANCE[result.compute]
        if self.options.exact and result.compute == "bf16":
            exact = self.evaluate(case, words, artifact, slots, weights)
            result.device, result.cpu = (relative(case.scored(rows), exact)[0]
                                         for rows in (found, expected))
            if result.error > limit and max(result.device, result.cpu) <= ROUNDED:
                limit = ROUNDED
        if not result.error <= limit:
            result.fault = f"at most {limit:.0e}"
        artifact.unlink()

    def evaluate(self, case, words, artifact, slots, weights):
        """The rows of the scoring by the reference semantics."""
        source, output = artifact.with_suffix(".mlir"), artifact.with_suffix(".exact.npy")
        command([*words, "--compile-to=experts", "-no-remarks", "-o", source])
        routing = case.routing(artifact, ".cpu", slots) if slots else None
        rows = []
        for number, inputs in enumerate(case.inputs(artifact)):
            replay = []
            if slots:
                shape = (len(slots), len(routing[number][0][0]), max(slots))
                files = {"ids": np.full(shape, -1, np.int32)}
                if weights:
                    files["weights"] = np.zeros(shape, np.float32)
                for router, choice in enumerate(routing[number]):
                    for file, values in zip(files.values(), choice):
                        file[router, :, :values.shape[1]] = values
                for name, file in files.items():
                    path = artifact.with_suffix(f".replay-{name}.npy")
                    np.save(path, file)
                    replay.append(f"--replay-{name}={path}")
            command([self.options.build / "bin" / "moe-interp", source, "--entry=score", "--exact-sums",
                     *self.weights(case), *inputs, *replay, f"--output={output}"])
            found = np.load(output).astype(np.float64)
            rows.append(found.reshape(-1, found.shape[-1])[-case.counts[number]:])
        return np.concatenate(rows)


def count_flips(ours, theirs):
    """Tokens for which some router has another set of experts."""
    tokens = flips = 0
    for one, other in zip(ours, theirs):
        changed = np.zeros(len(one[0][0]), bool)
        for (mine, _), (theirs_, _) in zip(one, other):
            changed |= (np.sort(mine) != np.sort(theirs_)).any(axis=1)
        tokens, flips = tokens + len(changed), flips + changed.sum()
    return f"{flips}/{tokens}"


def summary(results):
    """What the distances from exact sums say of all models; a fault or nothing."""
    near = [r for r in results if not np.isnan(r.device)]
    if not near:
        return ""
    rms = [np.sqrt(np.mean([getattr(r, side) ** 2 for r in near])) for side in ("device", "cpu")]
    beyond = sum(r.error > TOLERANCE["bf16"] for r in near)
    other = [sum(getattr(r, side) > 0 for r in near) for side in ("device", "cpu")]
    print(f"{len(near)} beside exact sums: the device has other bits in {other[0]}, the "
          f"processor in {other[1]}; root mean square {rms[0]:.1e} and {rms[1]:.1e}; "
          f"{beyond} differ by more than {TOLERANCE['bf16']:.0e}")
    if len(near) >= FEW and rms[0] > max(2 * rms[1], TOLERANCE["bf16"]):
        return "the device is further from exact sums than the processor"
    return ""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--compute", default="f32,bf16")
    parser.add_argument("--arch", default="sm_80")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--quantize")
    parser.add_argument("--activations")
    parser.add_argument("--tokens", default=[12],
                        type=lambda text: [int(word) for word in text.split(",")])
    parser.add_argument("--decode", type=int)
    parser.add_argument("--length", type=int)
    parser.add_argument("--stored", action="store_true")
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--plugin")
    parser.add_argument("models", nargs="*", type=pathlib.Path)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    models = options.models or sorted((ROOT / "test" / "systems").glob("*.moe")) + sorted(
        p.parent for p in (ROOT / "test" / "importers" / "golden").glob("*/config.json"))
    runner = Runner(options)
    results = []
    print(f"{'model':28} {'type':5} {'error':>8} {'row':>8} {'equal':>7} {'flips':>7} "
          f"{'plain':>5}" + (f" {'device':>8} {'cpu':>8}" if options.exact else ""))
    for model in models:
        for compute in options.compute.split(","):
            results.append(runner.compare(model, compute))
            print(results[-1].line(options.exact), flush=True)
    faults = [r.fault for r in results if r.fault]
    if said := summary(results):
        print(said)
        faults.append(said)
    print(f"{len(models)} models, {len(faults)} failed")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
