"""Times of a Mixture-of-Experts layer, ours and those of others: see check.sh.

A cell is a shape of layers.py, a number of tokens and a routing. All engines get the
same weights and the same operand, hence the same experts, and what they give is compared
before it is timed. Each computes a whole layer: norm, router, experts, sum, residual.

Every sample begins with a cache of level 2 that holds other data: a buffer larger than
it is written before. Samples of all engines alternate, forwards and backwards; their
median counts, after ten that do not. Engines that allow it are captured in a graph. A
sample of ours is the time between two events around the graph of a step, which the
runtime takes itself, on a device that has nothing else to do: launching is part of it.
Samples of others are taken in the same way; `behind` is the time when the launch is
hidden behind the writing of the buffer, and the ratio is to the better of the two.

Uniform routing: normal operands. Zipf: the router prefers experts in proportion to
1 / rank, by a column of its own that the operand switches on.
"""

import argparse
import json
import math
import pathlib
import shutil
import statistics
import sys
import tempfile
import time

import numpy as np
import torch

import layers
import results
import runtime
import weights

HERE = pathlib.Path(__file__).resolve().parent
TOKENS = (1, 8, 64, 512, 4096, 16384)
WARM_UPS, SAMPLES, SLOW_SAMPLES = 10, 60, 5
FLUSH = 256 << 20  # bytes; the caches of devices have 50 MB
ROUTINGS = ("uniform", "zipf")
PASSES = (("ours", "triton", "grouped_mm", "cublas, routing known"),
          ("transformers grouped", "transformers batched", "loop", "transformers eager"),
          ("grouped_mm compiled",))
COMPARED = 512  # rows
APART = 3e-2  # of the median row, for what computes the same
GUMBEL = math.pi / math.sqrt(6)  # deviation of the noise that makes scores a choice


class SkewedWeights(weights.Weights):
    """The first column of the router is the logarithm of Zipf's law."""

    def __init__(self, seed, make, shape):
        super().__init__(seed, make)
        self.experts = shape[2]

    def tensor(self, name, size):
        made = super().tensor(name, size)
        if name == "router.weight":
            rank = np.random.default_rng(self.seed).permutation(self.experts) + 1
            column = torch.as_tensor(-np.log(rank) / GUMBEL)
            made[:, 0] = column.to(made.dtype).to(made.device)
        return made


def operand(tokens, hidden, routing):
    """f32 on the host."""
    x = np.random.default_rng(tokens).standard_normal((tokens, hidden), np.float32)
    x[:, 0] = routing == "zipf"
    return x


class Clock:
    """Times of functions on a device."""

    def __init__(self):
        self.buffer = torch.empty(FLUSH, dtype=torch.uint8, device="cuda")

    def flush(self):
        self.buffer.fill_(1)

    def sample(self, call, behind):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.flush()
        if not behind:
            torch.cuda.synchronize()
        begin.record()
        call()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) * 1e3

    def capture(self, call):
        """The function as a graph."""
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(3):
                call()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            result = call()
        return graph, result

    def limits(self):
        """Bytes per second of a copy, operations per second of a product of bf16."""
        source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
        target = torch.empty_like(source)
        copy = statistics.median(self.sample(lambda: target.copy_(source), True)
                                 for _ in range(20))
        del source, target
        size = 8192
        a, b = (torch.randn(size, size, device="cuda").to(torch.bfloat16) for _ in range(2))
        product = statistics.median(self.sample(lambda: a @ b, True) for _ in range(30))
        return {"copy_GB_s": 2 * (1 << 30) / copy / 1e3,
                "product_TFLOP_s": 2 * size ** 3 / product / 1e6}


class HostClock(Clock):
    """For a run without a device: the same calls, times that mean nothing."""

    def __init__(self):
        pass

    def flush(self):
        pass

    def sample(self, call, behind):
        start = time.perf_counter()
        call()
        return (time.perf_counter() - start) * 1e6

    def limits(self):
        return {"copy_GB_s": 1.0, "product_TFLOP_s": 1.0}


class Engine:
    """What is timed: call() runs it, result() is what it gave, f32 on the host."""
    samples = SAMPLES

    def __init__(self, name):
        self.name, self.mode = name, "stream"


class Ours(Engine):
    def __init__(self, layer, x):
        super().__init__("ours")
        self.layer, self.x, self.mode = layer, x, "graph"
        # The operand comes from the host each time.
        if len(x) >= 4096:
            self.samples = 24 if len(x) < 16384 else 12

    def result(self):
        return self.layer.step(self.x)[:COMPARED]

    def sample(self, clock, behind):
        clock.flush()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        stamps = self.layer.time(self.x, runtime.TRACE_STEP)
        return (stamps[-1, 1] - stamps[0, 0]) / 1e3

    def parts(self, clock, kinds):
        """Medians in microseconds by kind of kernel, launched one by one."""
        passes = []
        for _ in range(7):
            clock.flush()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            stamps = self.layer.time(self.x, runtime.TRACE_BARRIERS)
            passes.append((stamps[:, 1] - stamps[:, 0]) / 1e3)
        medians = np.median(passes, 0)
        found = {}
        for interval, value in enumerate(medians):
            kind = kinds.get(interval, "rows")
            found[kind] = round(found.get(kind, 0.0) + float(value), 2)
        return found


class Other(Engine):
    """A layer of PyTorch: `body` takes the operand of the experts and the residual."""

    def __init__(self, name, body, x, clock):
        super().__init__(name)
        self.x = x
        self.call = lambda: body(self.norm(), self.x)
        self.output = None
        if getattr(body, "slow", False):
            self.samples = SLOW_SAMPLES
        if hasattr(body, "plan"):
            body.plan(self.norm())
        if getattr(body, "graph", False) and x.is_cuda:
            try:
                graph, self.output = clock.capture(self.call)
                self.call, self.mode = graph.replay, "graph"
            except RuntimeError as problem:
                torch.cuda.synchronize()
                self.mode = f"stream ({str(problem).splitlines()[0][:60]})"

    def norm(self):
        return torch.nn.functional.rms_norm(self.x, self.x.shape[1:], eps=layers.EPSILON)

    def result(self):
        made = self.call()
        return (self.output if made is None else made)[:COMPARED].float().cpu().numpy()

    def sample(self, clock, behind):
        return clock.sample(self.call, behind)


class Shape:
    """The weights of a shape, for all engines."""

    def __init__(self, bench, name):
        self.bench, self.name = bench, name
        self.size = {**layers.LAYERS, **layers.SMALL}[name]
        hidden, width, experts, slots = self.size
        make = weights.TorchMaker(bench.device)
        numbers = SkewedWeights(1, make, self.size)
        self.artifact = bench.scratch / f"{name}.so"
        shutil.copy(bench.pack / "layers" / self.artifact.name, self.artifact)
        manifest = weights.manifest_of(bench.pack / "bin" / "moe-inspect", self.artifact)
        self.files = weights.write(self.artifact, manifest, numbers)
        self.layer = runtime.Layer(bench.library, self.artifact)
        self.level = self.layer.device().level.decode()
        variant = next(v for v in manifest["variants"]
                       if v["device"] == "cuda" and v["isa"] == self.level)
        self.kinds = {}
        for kernel in variant["kernels"]:
            kind = kernel["kind"]
            # Of kernels between two launches, a product names the interval.
            if kind not in ("rows", "lookup", "norm") or kernel["interval"] not in self.kinds:
                self.kinds[kernel["interval"]] = kind
        w13 = torch.empty(experts, 2 * width, hidden, dtype=bench.dtype, device=bench.device)
        w2 = torch.empty(experts, hidden, width, dtype=bench.dtype, device=bench.device)
        for e in range(experts):
            w13[e, :width] = numbers.tensor(f"experts.{e}.gate.weight", (width, hidden))
            w13[e, width:] = numbers.tensor(f"experts.{e}.up.weight", (width, hidden))
            w2[e] = numbers.tensor(f"experts.{e}.down.weight", (hidden, width))
        router = numbers.tensor("router.weight", (experts, hidden)).to(bench.dtype)
        self.weights = (router, w13, w2, slots)

    def close(self):
        self.layer.close()
        for file in self.files:
            file.unlink()
        self.weights = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def engine(self, name, tokens, x):
        """Raises for what cannot be had here."""
        if name == "ours":
            return Ours(self.layer, x)
        device_x = torch.as_tensor(x).to(self.bench.device, self.bench.dtype)
        if name == "triton":
            import triton_moe
            hidden, width, experts, slots = self.size
            router, w13, w2, _ = self.weights
            layer = triton_moe.TritonMoe(tokens, hidden, width, experts, slots,
                                         self.bench.dtype, self.bench.device)

            class Body:
                graph = True

                def __call__(self, f, residual):
                    return layer(f, residual, router, w13, w2)
            normed = torch.nn.functional.rms_norm(device_x, (hidden,), eps=layers.EPSILON)
            clock = self.bench.clock
            if self.bench.dry:
                small = triton_moe.Config(16, 16, 16, 2, 4, 2)
                layer.use(small, small)
            else:
                def seconds(call):
                    call()
                    return statistics.median(clock.sample(call, True) for _ in range(5))
                layer.tune(seconds, normed, device_x, router, w13, w2)
            made = Other(name, Body(), device_x, clock)
            made.config = f"{layer.up} {layer.down}"
            return made
        import torch_moe
        return Other(name, torch_moe.PEERS[name](self.weights, tokens), device_x,
                     self.bench.clock)


class Bench:
    def __init__(self, options):
        self.pack, self.out, self.dry = options.pack, options.out, options.dry_run
        self.end = time.monotonic() + options.budget
        self.device = "cpu" if self.dry else "cuda"
        # Triton's interpreter has no products of bf16.
        self.dtype = torch.float32 if self.dry else torch.bfloat16
        self.clock = HostClock() if self.dry else Clock()
        self.library = runtime.Library(self.pack / "lib" / "libmoert.so.0")
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="moe-bench-"))
        kind = "dry-run" if self.dry else "bench"
        self.path = self.out / f"{kind}-{options.dtype}.json"
        self.names = options.shapes.split(",") if options.shapes else list(
            layers.SMALL if self.dry else layers.LAYERS)
        self.tokens = [int(t) for t in options.tokens.split(",")]
        sys.path.insert(0, str(self.pack / "peers"))
        about = {"revision": (self.pack / "revision").read_text().strip(),
                 "torch": torch.__version__, "device": self.device_name()}
        self.data = {"about": about, "limits": [], "cells": {}}
        if self.path.exists():
            kept = json.loads(self.path.read_text())
            if kept["about"] != about:
                raise SystemExit(f"bench.py: {self.path} is of {kept['about']}, this is {about}: "
                                 f"give another folder with --out=")
            self.data = kept

    def device_name(self):
        return "none" if self.dry else torch.cuda.get_device_name()

    def left(self):
        return self.end - time.monotonic()

    def cell(self, shape, tokens, routing):
        hidden, width, experts, slots = shape.size
        key = f"{shape.name}|{tokens}|{routing}"
        cell = self.data["cells"].setdefault(key, {"peers": {}})
        if "hit" not in cell:
            shape.layer.step(operand(tokens, hidden, routing), routing=True)
            ids, _ = shape.layer.routing()
            load = np.bincount(ids.ravel(), minlength=experts)
            cell["hit"] = int((load > 0).sum())
            cell["expected"] = round(experts * (1 - (1 - slots / experts) ** tokens), 1)
            cell["largest_share"] = round(float(load.max() / load.sum()), 4)
        return cell

    def measure(self, shape, tokens, routing, names):
        """Those of `names` that the cell does not have."""
        cell = self.cell(shape, tokens, routing)
        names = [n for n in names if n not in cell["peers"]]
        if not names:
            return
        x = operand(tokens, shape.size[0], routing)
        engines, reference = [], shape.layer.step(x)[:COMPARED]
        for name in names:
            try:
                engine = shape.engine(name, tokens, x)
                found = engine.result()
                row = np.linalg.norm(found - reference, axis=1) / np.linalg.norm(
                    reference - x[:COMPARED], axis=1)
                apart = float(np.median(row))
                if not apart <= APART:
                    raise RuntimeError(f"its results are off by {apart:.1e}")
                engines.append((engine, apart))
            except Exception as problem:  # whatever others raise is a result
                if name == "ours":
                    raise
                cell["peers"][name] = {"unavailable": f"{type(problem).__name__}: "
                                                      f"{str(problem).splitlines()[:1]}"[:200]}
        times = {engine.name: {True: [], False: []} for engine, _ in engines}
        for engine, _ in engines:
            for _ in range(1 if self.dry else 2 if engine.samples < SAMPLES else WARM_UPS):
                engine.sample(self.clock, True)
        most = max((engine.samples for engine, _ in engines), default=0)
        for turn in range(2 if self.dry else most):
            order = engines if turn % 2 == 0 else engines[::-1]
            for engine, _ in order:
                if turn < engine.samples:
                    for behind in (False,) if engine.name == "ours" else (False, True):
                        times[engine.name][behind].append(engine.sample(self.clock, behind))
        for engine, apart in engines:
            alone, behind = times[engine.name][False], times[engine.name][True]
            entry = {"us": round(statistics.median(alone), 2), "mode": engine.mode,
                     "samples": len(alone), "apart": round(apart, 5),
                     "spread": round(statistics.pstdev(alone) / statistics.mean(alone), 4)}
            if behind:
                entry["behind_us"] = round(statistics.median(behind), 2)
            if engine.name == "ours":
                entry["kernels_us"] = engine.parts(self.clock, shape.kinds)
                entry["level"] = shape.level
            if hasattr(engine, "config"):
                entry["config"] = engine.config
            cell["peers"][engine.name] = entry
        self.save()

    def save(self):
        results.write_json(self.path, self.data)

    def missing(self, names, shape):
        return [(t, r) for t in self.tokens for r in ROUTINGS
                if any(n not in self.data["cells"].get(f"{shape}|{t}|{r}", {}).get("peers", {})
                       for n in names)]

    def run(self):
        self.data["limits"].append(self.clock.limits())
        try:
            for names in PASSES:
                if self.dry and names == PASSES[2]:
                    continue  # needs a compiler of C++
                for name in self.names:
                    todo = self.missing(names, name)
                    # Compiling takes its time.
                    if not todo or self.left() < (60 if names == PASSES[2] else 20):
                        continue
                    shape = Shape(self, name)
                    try:
                        for tokens, routing in todo:
                            if self.left() > (30 if names == PASSES[2] else 10):
                                self.measure(shape, tokens, routing, names)
                    finally:
                        shape.close()
            self.data["limits"].append(self.clock.limits())
            self.save()
        finally:
            shutil.rmtree(self.scratch)
        return self.report()

    # ---- the table ---------------------------------------------------------

    def rows(self):
        copy = statistics.median(e["copy_GB_s"] for e in self.data["limits"]) * 1e3
        product = statistics.median(e["product_TFLOP_s"] for e in self.data["limits"]) * 1e6
        for key, cell in self.data["cells"].items():
            name, tokens, routing = key.split("|")
            tokens = int(tokens)
            hidden, width, experts, slots = {**layers.LAYERS, **layers.SMALL}[name]
            read = cell["hit"] * 3 * hidden * width * 2
            moved = read + 4 * tokens * hidden + 4 * tokens * slots * width
            work = 6 * tokens * slots * hidden * width
            roof = max(moved / copy, work / product)  # microseconds
            others = {n: min(p["us"], p["behind_us"]) for n, p in cell["peers"].items()
                      if "us" in p and n not in ("ours", "cublas, routing known")}
            ours = cell["peers"].get("ours", {}).get("us")
            if ours is None:
                continue
            best = min(others, key=others.get) if others else ""
            yield {"shape": name, "tokens": tokens, "routing": routing, "us": ours,
                   "kernels": sum(cell["peers"]["ours"]["kernels_us"].values()),
                   "tflops": work / ours / 1e6, "gbs": read / ours / 1e3, "roof": roof / ours,
                   "best": best, "best_us": others.get(best),
                   "ratio": others[best] / ours if best else None,
                   "known": min(cell["peers"].get("cublas, routing known", {}).get(k, math.inf)
                                for k in ("us", "behind_us")),
                   "hit": cell["hit"], "expected": cell["expected"],
                   "share": cell["largest_share"]}

    def report(self):
        rows = sorted(self.rows(), key=lambda r: (self.names + [r["shape"]]).index(r["shape"]))
        columns = [
            ("shape", lambda r: r["shape"]), ("tokens", lambda r: str(r["tokens"])),
            ("routing", lambda r: r["routing"]), ("us", lambda r: f"{r['us']:.1f}"),
            ("kernels us", lambda r: f"{r['kernels']:.1f}"),
            ("TFLOP/s", lambda r: f"{r['tflops']:.1f}"), ("GB/s", lambda r: f"{r['gbs']:.0f}"),
            ("of roof", lambda r: f"{r['roof']:.0%}"), ("best other", lambda r: r["best"]),
            ("us", lambda r: f"{r['best_us']:.1f}" if r["best"] else ""),
            ("faster by", lambda r: f"{r['ratio']:.2f}" if r["best"] else ""),
            ("cuBLAS, known us", lambda r: f"{r['known']:.1f}" if r["known"] < math.inf else ""),
            ("hit", lambda r: str(r["hit"])), ("expected", lambda r: str(r["expected"])),
            ("largest share", lambda r: f"{r['share']:.1%}")]
        peers = sorted({n for c in self.data["cells"].values() for n in c["peers"]} - {"ours"})
        shown = [("cell", lambda item: item[0].replace("|", ", "))] + [
            (n, lambda item, n=n: describe(item[1]["peers"].get(n))) for n in peers]
        left = sum(len(self.missing(names, name)) for names in PASSES[:2 if self.dry else 3]
                   for name in self.names)
        limits = self.data["limits"]
        head = ("%(device)s, torch %(torch)s, revision %(revision)s" % self.data["about"])
        if self.dry:
            head = "DRY RUN without a device: these times mean nothing\n\n" + head
        head += "; copy {} GB/s, 8192 cubed {} TFLOP/s".format(*(
            "/".join(f"{e[k]:.0f}" for e in limits) for k in ("copy_GB_s", "product_TFLOP_s")))
        last = (f"{len(rows)} cells"
                + (f", {left} groups of samples left for the next call" if left else ", all done"))
        results.write(self.path.with_suffix(".md"), "\n\n".join([
            head, results.markdown(rows, columns), "Microseconds of the others, alone and "
            "behind other work:", results.markdown(sorted(self.data["cells"].items()), shown),
            last]) + "\n")
        print(f"{head}\n{results.text(rows, columns)}\n{last}")
        return 0 if rows else 1


def describe(peer):
    if peer is None:
        return ""
    if "unavailable" in peer:
        return peer["unavailable"]
    return f"{peer['us']:.1f} / {peer['behind_us']:.1f} {peer['mode']}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pack", type=pathlib.Path, default=HERE)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--dtype", default="bf16", choices=["bf16"])
    parser.add_argument("--budget", type=float, default=510)
    parser.add_argument("--shapes", default="")
    parser.add_argument("--tokens", default=",".join(map(str, TOKENS)))
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    if not options.dry_run and not torch.cuda.is_available():
        sys.exit("bench.py: PyTorch finds no device")
    sys.exit(Bench(options).run())


if __name__ == "__main__":
    main()
