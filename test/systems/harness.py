"""What the systems of this folder share: NumPy pieces of a decoder and the comparison.

A system is NAME.moe and NAME.py. NAME.py holds a `System` with the formula in float64
NumPy, written from the publication (see `source`), and ends in `harness.main(SYSTEM)`:

    NAME.py --build=BUILD --work=FOLDER

compiles NAME.moe for f32, runs it, and moe-interp on its IR, on random weights with biases
far from their defaults, for 1 and 17 tokens, and compares the logits of all positions. A
system with `steps` is run with a cache too, a few tokens at a time. Then
each knob is changed: the reference must change by much more than the tolerance, and the
model with the same change in its text must follow it. Needs Debian's python3-numpy.

Tolerance, relative in norm: an element of a product is a sum of at most n terms with a
relative error of n u, u = 2^-24, and the errors of m products one after the other add up:
n m u. Where a rounding could change what a router selects nothing is compared: weights
come from the first seed for which every selection is clear by CLEAR.
"""

import argparse
import json
import math
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples" / "fashion"))
sys.path.insert(0, str(ROOT / "test" / "e2e"))
import safetensors_io  # noqa: E402  (the example's own writer)
import sequences  # noqa: E402  (the C library)

LENGTHS = (1, 17)
CLEAR = 2e-4  # smallest distance of what is selected from what is not


@dataclass
class Knob:
    """A change of the model: `old` in its text becomes `new` (no text: the reference alone
    is checked), and the reference is called with `values`."""
    name: str
    old: str | None
    new: str | None
    values: dict


@dataclass
class System:
    name: str            # of the two files
    title: str           # as published
    source: str          # where the formula stands
    formula: str         # one line
    shapes: dict         # tensor name -> shape
    forward: Callable    # (weights, tokens, **knobs) -> logits [T, V]
    knobs: list
    # (rng, T) -> parts of the sequence: ("--ids" or "--raw", modality, array). The forward
    # function of a system with a draw of its own is called with the parts.
    draw: Callable | None = None
    # A model with an entry `prefill` that has a cache is also run in steps of these lengths.
    # by_step: the reference wants to know them.
    steps: tuple = ()
    by_step: bool = False
    longest: int = 64    # terms of the longest sum
    products: int = 17   # products one after the other
    vocab: int = 64


# Distances of selected from unselected since the last reset.
margins = []


# --------------------------------------------------------------------------------------
# Pieces of a decoder. x is [T, width]; W is [to, from].
# --------------------------------------------------------------------------------------

def linear(x, w, bias=None):
    y = x @ w.T
    return y if bias is None else y + bias


def rms_norm(x, weight, eps=1e-6):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * weight


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def rope(x, theta, style="half"):
    """x is [T, heads, D]; position t is row t."""
    tokens, _, d = x.shape
    angle = np.outer(np.arange(tokens), theta ** (-2.0 * np.arange(d // 2) / d))[:, None, :]
    c, s = np.cos(angle), np.sin(angle)
    if style == "half":
        a, b = x[..., : d // 2], x[..., d // 2 :]
        return np.concatenate([a * c - b * s, b * c + a * s], axis=-1)
    a, b = x[..., 0::2], x[..., 1::2]
    return np.stack([a * c - b * s, b * c + a * s], axis=-1).reshape(x.shape)


def attention(w, prefix, n, heads, kv_heads, theta=1e4, bias=False, window=None,
              qk_norm=None, style="half"):
    """Causal grouped-query attention with tensors PREFIX{q,k,v,o}.weight."""
    tokens = len(n)

    def project(name):
        return linear(n, w[f"{prefix}{name}.weight"],
                      w[f"{prefix}{name}.bias"] if bias else None)

    q, k, v = project("q"), project("k"), project("v")
    if qk_norm:
        q = rms_norm(q, w[f"{prefix}q_norm.weight"], qk_norm[0])
        k = rms_norm(k, w[f"{prefix}k_norm.weight"], qk_norm[1])
    q = rope(q.reshape(tokens, heads, -1), theta, style)
    k = rope(k.reshape(tokens, kv_heads, -1), theta, style)
    v = v.reshape(tokens, kv_heads, -1)
    distance = np.arange(tokens)[:, None] - np.arange(tokens)[None, :]
    seen = (distance >= 0) & (distance < (window or tokens))
    out = np.empty((tokens, heads, v.shape[-1]))
    for h in range(heads):
        kv = h // (heads // kv_heads)
        scores = q[:, h] @ k[:, kv].T / math.sqrt(q.shape[-1])
        out[:, h] = softmax(np.where(seen, scores, -np.inf)) @ v[:, kv]
    return linear(out.reshape(tokens, -1), w[f"{prefix}o.weight"])


def swiglu(x, gate, up, down):
    return linear(silu(linear(x, gate)) * linear(x, up), down)


def glu_of(w, prefix):
    """The SwiGLU with tensors PREFIX{gate,up,down}.weight."""
    return lambda x: swiglu(x, w[f"{prefix}gate.weight"], w[f"{prefix}up.weight"],
                            w[f"{prefix}down.weight"])


def top_k(rank, k):
    """The ids of the k largest of a vector, ties to the lower id."""
    order = np.argsort(-rank, kind="stable")
    if k < len(rank):
        a, b = rank[order[k - 1]], rank[order[k]]
        if np.isfinite(b) and a != b:  # constants tie exactly: the lower id, everywhere
            margins.append(float(a - b))
    return order[:k]


def mix(x, weights, experts):
    """Sum of weights[t][e] * experts[e](x[t]); weights is a list of {e: weight}."""
    y = np.zeros_like(x)
    for t, chosen in enumerate(weights):
        for e, g in chosen.items():
            y[t] += g * experts[e](x[t : t + 1])[0]
    return y


def decoder(w, tokens, layers, attend, feed, head="head.weight"):
    """Pre-norm residual decoder; attend(prefix, n), feed(prefix, f)."""
    return decode_rows(w, w["embed.weight"][tokens], layers, attend, feed, head)


def decode_rows(w, x, layers, attend, feed, head="head.weight"):
    for layer in range(layers):
        p = f"layers.{layer}."
        x = x + attend(p, rms_norm(x, w[p + "norm1.weight"]))
        x = x + feed(p, rms_norm(x, w[p + "norm2.weight"]))
    return linear(rms_norm(x, w["norm.weight"]), w[head])


# --------------------------------------------------------------------------------------
# Tensors
# --------------------------------------------------------------------------------------

def decoder_shapes(layers, vocab=64, hidden=32, heads=4, kv_heads=2, head=8, bias=False,
                   qk_norm=False):
    shapes = {"embed.weight": (vocab, hidden), "norm.weight": (hidden,),
              "head.weight": (vocab, hidden)}
    for layer in range(layers):
        p = f"layers.{layer}."
        shapes.update({p + "norm1.weight": (hidden,), p + "norm2.weight": (hidden,)})
        widths = {"q": heads * head, "k": kv_heads * head, "v": kv_heads * head}
        for name, width in widths.items():
            shapes[f"{p}attn.{name}.weight"] = (width, hidden)
            if bias:
                shapes[f"{p}attn.{name}.bias"] = (width,)
        shapes[f"{p}attn.o.weight"] = (hidden, heads * head)
        if qk_norm:
            shapes[f"{p}attn.q_norm.weight"] = (widths["q"],)
            shapes[f"{p}attn.k_norm.weight"] = (widths["k"],)
    return shapes


def glu_shapes(prefix, hidden, width):
    return {f"{prefix}gate.weight": (width, hidden), f"{prefix}up.weight": (width, hidden),
            f"{prefix}down.weight": (hidden, width)}


def make_weights(shapes, seed):
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in shapes.items():
        draw = rng.standard_normal(shape)
        if name.endswith(".table"):  # of ids, different in a row, of the eight experts
            order = np.argsort(rng.random((shape[0], 8)), axis=1)
            weights[name] = order[:, : shape[1]].astype(np.int32)
            continue
        if "norm" in name:
            draw = 1.0 + 0.3 * draw
        elif name.endswith("router.bias"):  # so that ranks of both signs occur
            draw = 0.3 * draw - 0.6
        elif len(shape) == 1:  # biases, of the size of what they are added to
            draw = 0.3 * draw
        elif "router" in name:
            draw = draw * 1.5 / math.sqrt(shape[-1])
        elif name != "embed.weight":
            draw = draw / math.sqrt(shape[-1])
        weights[name] = draw.astype(np.float32)
    return weights


# --------------------------------------------------------------------------------------
# Comparison
# --------------------------------------------------------------------------------------

class Comparison:
    def __init__(self, system, build, work):
        self.system, self.build, self.work = system, build, work
        self.text = (Path(__file__).parent / f"{system.name}.moe").read_text()
        self.tolerance = system.longest * system.products * 2.0 ** -24
        self.failures, self.error = 0, 0.0
        self.find_weights()

    def report(self, good, text):
        print(("ok    " if good else "FAIL  ") + text, flush=True)
        self.failures += not good

    def draw_inputs(self):
        rng = np.random.default_rng(7)
        if self.system.draw:
            return [self.system.draw(rng, length) for length in LENGTHS]
        return [[("--ids", "text", rng.integers(0, 64, length))] for length in LENGTHS]

    def words(self, parts):
        """Options of moe-run."""
        words = []
        for index, (option, modality, data) in enumerate(parts):
            if option == "--raw":
                path = self.work / f"input{index}.npy"
                np.save(path, data.reshape(1, *data.shape))
                words += [option, f"{modality}={path}"]
            else:
                words += [option, f"{modality}=" + ",".join(map(str, data))]
        return words

    def reference(self, parts, **values):
        argument = parts if self.system.draw else parts[0][2]
        return self.system.forward(self.double, argument, **values)

    def find_weights(self):
        """The first seed whose selections are clear, for the model and every change of it."""
        for seed in range(400):
            self.weights = make_weights(self.system.shapes, seed)
            self.double = {n: a.astype(np.float64) for n, a in self.weights.items()}
            margins.clear()
            for values in [{}] + [knob.values for knob in self.system.knobs]:
                for parts in self.draw_inputs():
                    self.reference(parts, **values)
            if min(margins, default=1.0) > CLEAR:
                break
        else:
            raise SystemExit(f"no seed gives clear selections (last {min(margins):.1e})")
        self.work.mkdir(parents=True, exist_ok=True)
        safetensors_io.write(self.work / f"{self.system.name}.safetensors", self.weights, {})
        print(f"      seed {seed}, smallest distance {min(margins, default=1.0):.1e}, "
              f"tolerance {self.tolerance:.1e}", flush=True)

    def command(self, *words, **variables):
        done = subprocess.run([str(w) for w in words], capture_output=True, text=True,
                              env={**os.environ, **variables}, check=False)
        if done.returncode:
            raise SystemExit(" ".join(map(str, words)) + "\n" + done.stderr)

    def run_model(self, text, inputs, **variables):
        """Logits of the model `text` for each of the inputs."""
        source, artifact = self.work / "model.moe", self.work / "model.so"
        source.write_text(text)
        self.command(self.build / "bin" / "moec", source, "--compute=f32", "-o", artifact,
                     "-Rpass=false", *(["--levels=generic"] if variables else []))
        for parts in inputs:
            output = self.work / "out.npy"
            self.command(self.build / "runtime" / "tools" / "moe-run", artifact, "--entry",
                         "score", *self.words(parts), "--print", "none", "--output", output,
                         **variables)
            yield np.load(output)

    def run_steps(self, inputs):
        """Logits of the longest of the inputs in steps, from the artifact made last."""
        runtime = sequences.Runtime(str(self.build / "runtime" / "libmoert.so"),
                                    str(self.work / "model.so"), 2, self.system.vocab)
        for parts in inputs:
            _, modality, ids = parts[0]
            sequence, at, rows = runtime.create(), 0, []
            for count in self.system.steps:
                step = ids[at:at + count].astype(np.int32)
                rows.append(runtime.step("prefill", (sequence, [(modality, step)]))[0])
                at += count
            yield np.concatenate(rows)

    def interpret(self, phase, inputs):
        """The same by moe-interp, from the IR after a phase."""
        source, module = self.work / "model.moe", self.work / "model.mlir"
        source.write_text(self.text)
        self.command(self.build / "bin" / "moec", source, "--compute=f32", "-o", module,
                     f"--compile-to={phase}", "-Rpass=false")
        for parts in inputs:
            output = self.work / "out.npy"
            self.command(self.build / "bin" / "moe-interp", module, "--entry=score",
                         *self.words(parts), "--output", output)
            yield np.load(output)

    def compare(self, what, text, values, **variables):
        return self.compare_runs(
            what, values, lambda drawn: self.run_model(text, drawn, **variables))

    def compare_steps(self):
        steps = self.system.steps
        values = {"steps": steps} if self.system.by_step else {}
        self.compare_runs(f"cached, steps of {steps} tokens", values, self.run_steps,
                          self.draw_inputs()[-1:])

    def compare_runs(self, what, values, run, drawn=None):
        lengths = LENGTHS[-1:] if drawn else LENGTHS
        drawn = drawn or self.draw_inputs()
        largest = 0.0
        for found, parts in zip(run(drawn), drawn):
            expected = self.reference(parts, **values)
            if found.shape != expected.shape:
                self.report(False, f"{what}: shape {found.shape}, not {expected.shape}")
                return largest
            error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
            largest = max(largest, error)
        self.report(largest <= self.tolerance,
                    f"{what}: relative error {largest:.1e} for {lengths} tokens")
        return largest

    def change(self, knob):
        parts = self.draw_inputs()[-1]
        base, changed = self.reference(parts), self.reference(parts, **knob.values)
        effect = np.linalg.norm(changed - base) / np.linalg.norm(base)
        self.report(effect > 100 * self.tolerance,
                    f"knob {knob.name}: changes the output by {effect:.1e}")
        if knob.old is None:
            return
        if knob.old not in self.text:
            self.report(False, f"knob {knob.name}: '{knob.old}' is not in the model")
            return
        self.compare(f"  {knob.old} -> {knob.new}", self.text.replace(knob.old, knob.new),
                     knob.values, MOE_ISA="generic")

    def run(self):
        for phase in ("import", "experts"):
            self.compare_runs(f"interpreter, phase {phase}", {},
                              lambda drawn, phase=phase: self.interpret(phase, drawn))
        self.compare("best level", self.text, {})
        if self.system.steps:
            self.compare_steps()
        self.error = self.compare("generic", self.text, {}, MOE_ISA="generic")
        for knob in self.system.knobs:
            self.change(knob)


def decade(error):
    """The power of ten above a measured error."""
    return f"1e{math.ceil(math.log10(error)):d}" if error else "0"


def documented(name):
    """The figure for a system in docs/systems.md, or None."""
    page = ROOT / "docs" / "systems.md"
    text = page.read_text() if page.exists() else ""
    found = re.search(rf"^\| `{name}` .* \| below (\S+) \|$", text, re.MULTILINE)
    return found.group(1) if found else None


def main(system):
    parser = argparse.ArgumentParser(description=system.title)
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--report", type=Path, help="write the measured error to this file")
    arguments = parser.parse_args()
    comparison = Comparison(system, arguments.build, arguments.work)
    comparison.run()
    figure = decade(comparison.error)
    if arguments.report:
        arguments.report.write_text(json.dumps({"name": system.name, "error": figure}))
    else:
        page = documented(system.name)
        comparison.report(page == figure, f"docs/systems.md says below {page}, measured "
                                          f"below {figure}")
    sys.exit(1 if comparison.failures else 0)
