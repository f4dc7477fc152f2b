"""Times of a Mixture-of-Experts layer, ours and those of others: see check.sh.

A cell is a shape of layers.py, a number of tokens and a routing. All engines get the
same weights and the same operand, hence the same experts, and what they give is compared
with sums in f32 before it is timed. Each computes a whole layer: norm, router, experts,
sum, residual.

Every sample begins with a cache of level 2 that holds other data: a buffer larger than
it is read before. Samples of all engines alternate, forwards and backwards; the median of
60 counts, after ten that do not, or of as many as fit into a few seconds, at least 12.
Engines that allow it are captured in a graph. A sample of ours is the time between two
events around the graph of a step, which the runtime takes itself, on a device that has
nothing else to do: launching is part of it. Samples of others are taken in the same way;
`behind` is the time when the launch is hidden behind the reading of the buffer, and the
ratio is to the better of the two.

Uniform routing: normal operands. Zipf: the router prefers experts in proportion to
1 / rank, by a column of its own that the operand switches on. Same: all tokens go to the
same experts, by another such column.

The measurements run in a process of their own. Where an engine ends it, loses the device
or does not come back, that is what stands in its cell, and a new process goes on.
"""

import argparse
import json
import math
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import layers
import results

HERE = pathlib.Path(__file__).resolve().parent
TOKENS = (1, 8, 64, 512, 4096, 16384)
# What tells most comes first.
SHAPES = ("qwen3-30b-a3b", "olmoe", "mixtral-8x7b", "gpt-oss-20b", "qwen3-next-80b",
          "deepseek-v3-ep8", "gpt-oss-120b", "longcat-flash-ep8", "kimi-k2-ep8")
WARM_UPS, SAMPLES, FEWEST = 10, 60, 12
SECONDS = 2.0  # for the samples of an engine, beyond the fewest
KNOWN = ("cublas, routing known", "cublas grouped, routing known")
PASSES = (("ours", "triton", "grouped_mm", KNOWN[0]),
          ("transformers grouped", KNOWN[1], "transformers batched", "loop",
           "jax ragged_dot", "transformers eager"),
          ("grouped_mm compiled",))
COMPILED = (64, 4096)  # tokens; a minute of compiling each
COMPARED = 512  # rows
APART = 3e-2  # of the median row, for what computes the same
STALLED, COMPILING = 60, 150  # seconds in which an engine does nothing
LOST = 75  # status of a process whose device is lost
LEAST = 15  # seconds in which something can still be measured


def routings(tokens):
    """One token goes to as many experts whatever the routing."""
    return ("uniform", "zipf", "same") if tokens > 1 else ("uniform",)


class Data:
    """What is known so far, in a file that is written whenever something is added."""

    def __init__(self, options):
        options.out.mkdir(parents=True, exist_ok=True)
        kind = "dry-run" if options.dry_run else "bench"
        self.path = options.out / f"{kind}-{options.dtype}.json"
        self.names = options.shapes.split(",") if options.shapes else list(
            layers.SMALL if options.dry_run else SHAPES)
        self.tokens = [int(t) for t in options.tokens.split(",")]
        self.dry = options.dry_run
        self.value = {"about": None, "limits": [], "cells": {}, "lost": {},
                      "given_up": {}}
        self.read()

    def read(self):
        if self.path.exists():
            self.value = json.loads(self.path.read_text())

    def save(self):
        results.write_json(self.path, self.value)

    def about(self, about):
        if self.value["about"] not in (None, about):
            raise SystemExit(f"bench.py: {self.path} is of {self.value['about']}, this is "
                             f"{about}: give another folder with --out=")
        self.value["about"] = about

    def cell(self, key):
        return self.value["cells"].setdefault(key, {"peers": {}})

    def missing(self, names, shape):
        """Tokens and routings of which some engine has not been measured."""
        tokens = [t for t in self.tokens if "grouped_mm compiled" not in names
                  or t in COMPILED or self.dry]
        compiles = "grouped_mm compiled" in names
        return [(t, r) for t in tokens for r in routings(t)[:1 if compiles else 3]
                if any(n not in self.value["cells"].get(f"{shape}|{t}|{r}", {}).get("peers", {})
                       for n in names if n not in self.value["given_up"])]

    def fail(self, key, name, why):
        """An engine that fails twice in this way is left out from then on."""
        self.cell(key)["peers"][name] = {"unavailable": why}
        lost = self.value["lost"].setdefault(name, [])
        lost.append(key)
        if len(lost) > 1:
            self.value["given_up"][name] = why


class Bench:
    """The process that measures."""

    def __init__(self, options):
        try:
            import torch
        except ImportError as problem:
            raise SystemExit(f"bench.py: {problem}") from None
        if not options.dry_run and not torch.cuda.is_available():
            raise SystemExit("bench.py: PyTorch finds no device")
        import engines
        import runtime
        self.engines, self.torch = engines, torch
        self.pack, self.out, self.dry = options.pack, options.out, options.dry_run
        self.end = time.monotonic() + options.budget
        self.device = "cpu" if self.dry else "cuda"
        self.dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[options.dtype]
        self.suffix = {"bf16": "", "fp16": "-f16"}[options.dtype]
        sys.path.insert(0, str(self.pack / "peers"))
        if self.dry:
            import interpreted  # noqa: F401  (before kernels of Triton are defined)
        self.clock = engines.HostClock() if self.dry else engines.Clock()
        self.library = runtime.Library(self.pack / "lib" / "libmoert.so.0")
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="moe-bench-"))
        self.data = Data(options)
        self.data.about({"revision": (self.pack / "revision").read_text().strip(),
                         "torch": torch.__version__,
                         "device": "none" if self.dry else torch.cuda.get_device_name()})
        self.now = self.data.path.with_suffix(".now")

    def left(self):
        return self.end - time.monotonic()

    def say(self, *what):
        """For the process that watches this one."""
        self.now.write_text(json.dumps(what))

    def cell(self, shape, tokens, routing, x):
        """What does not depend on engines."""
        key = f"{shape.name}|{tokens}|{routing}"
        cell = self.data.cell(key)
        if "hit" not in cell:
            numpy = self.engines.np
            _, width, experts, slots = shape.size
            ids = shape.route(shape.on_device(x))[1].cpu().numpy()
            load = numpy.bincount(ids.ravel(), minlength=experts)
            cell["hit"] = int((load > 0).sum())
            cell["expected"] = round(experts * (1 - (1 - slots / experts) ** tokens), 1)
            cell["largest_share"] = round(float(load.max() / load.sum()), 4)
            folder = self.data.path.with_suffix("") / "ids"
            folder.mkdir(parents=True, exist_ok=True)
            numpy.savez_compressed(folder / f"{key.replace('|', '-')}.npz",
                                   ids.astype(numpy.int16))
        return key, cell

    def measure(self, shape, tokens, routing, names):
        """Those of `names` that the cell does not have."""
        x = self.engines.operand(tokens, shape.size[0], routing)
        self.say("", "", "")
        key, cell = self.cell(shape, tokens, routing, x)
        names = [n for n in names if n not in cell["peers"]
                 and n not in self.data.value["given_up"]]
        expected = shape.exact(x[:COMPARED])
        added = self.engines.np.linalg.norm(expected - x[:COMPARED], axis=1)
        ready = []
        for name in names:
            self.say(key, name, "begins")
            with self.attempt(key, name):
                engine = shape.engine(name, tokens, x)
                found = engine.result(COMPARED)
                row = self.engines.np.linalg.norm(found - expected, axis=1) / added
                engine.apart = float(self.engines.np.median(row))
                if not engine.apart <= APART:
                    raise RuntimeError(f"its results are off by {engine.apart:.1e}")
                engine.wanted = self.warm_up(engine)
                engine.times = {way: [] for way in engine.ways}
                ready.append(engine)
        for turn in range(max((e.wanted for e in ready), default=0)):
            for engine in ready if turn % 2 == 0 else ready[::-1]:
                if turn < engine.wanted:
                    self.say(key, engine.name, "is timed")
                    for way in engine.ways:
                        engine.times[way].append(engine.sample(self.clock, way))
        for engine in ready:
            self.say(key, engine.name, "is timed")
            with self.attempt(key, engine.name):
                cell["peers"][engine.name] = self.entry(engine)
        self.data.save()

    def attempt(self, key, name):
        """A context in which whatever an engine raises is its result."""
        bench = self

        class Attempt:
            def __enter__(self):
                pass

            def __exit__(self, kind, problem, _):
                if problem is None or not isinstance(problem, Exception):
                    return False
                lines = str(problem).splitlines() or [""]
                bench.data.cell(key)["peers"][name] = {
                    "unavailable": f"{kind.__name__}: {lines[0]}"[:200]}
                try:
                    bench.clock.wait()
                except RuntimeError as lost:
                    bench.data.fail(key, name, f"loses the device: {lost}"[:200])
                    bench.data.save()
                    sys.stdout.flush()
                    raise SystemExit(LOST) from None
                return True
        return Attempt()

    def warm_up(self, engine):
        """How many samples of it there can be."""
        if self.dry:
            return 2
        for _ in range(2):
            start = time.monotonic()
            for way in engine.ways:
                engine.sample(self.clock, way)
            each = time.monotonic() - start
        wanted = max(FEWEST, min(SAMPLES, int(SECONDS / each)))
        for _ in range(min(WARM_UPS, wanted // 2)):
            engine.sample(self.clock, engine.ways[-1])
        return wanted

    def entry(self, engine):
        alone, behind = engine.times[False], engine.times.get(True)
        entry = {"us": round(statistics.median(alone), 2), "mode": engine.mode,
                 "samples": len(alone), "apart": round(engine.apart, 5),
                 "spread": round(statistics.pstdev(alone) / statistics.mean(alone), 4)}
        if behind:
            entry["behind_us"] = round(statistics.median(behind), 2)
        if engine.config:
            entry["config"] = engine.config
        return {**entry, **engine.parts(self.clock)}

    def run(self):
        limits = self.data.value["limits"]
        self.say("", "", "")
        limits.append(self.clock.limits(self.dtype))
        self.data.save()
        try:
            for names in PASSES:
                if self.dry and names == PASSES[2]:
                    continue  # needs a compiler of C++
                compiles = names == PASSES[2]
                for name in self.data.names:
                    hidden, width, experts, _ = {**layers.LAYERS, **layers.SMALL}[name]
                    # Making weights, and compiling, take their time.
                    ready = 5 + experts * 6 * hidden * width / 4e8 + 50 * compiles
                    todo = self.data.missing(names, name)
                    if not todo or self.left() < ready + LEAST:
                        continue
                    self.say("", "", "")
                    shape = self.engines.Shape(self, name)
                    try:
                        for tokens, routing in todo:
                            if self.left() > (45 if compiles else 10):
                                self.measure(shape, tokens, routing, names)
                    finally:
                        shape.close()
            if self.left() > 0:
                self.say("", "", "")
                limits.append(self.clock.limits(self.dtype))
            self.data.save()
        finally:
            shutil.rmtree(self.scratch)
        return 0


def watch(options, words):
    """Runs processes that measure until all is done or the time is over."""
    end = time.monotonic() + options.budget
    while end - time.monotonic() > LEAST:
        data = Data(options)
        now = data.path.with_suffix(".now")
        now.unlink(missing_ok=True)
        process = subprocess.Popen([sys.executable, __file__, *words, "--worker",
                                    f"--budget={end - time.monotonic():.0f}"])
        why = ""
        while process.poll() is None:
            time.sleep(0.2)
            since, limit = time.time(), STALLED * (20 if options.dry_run else 1)
            if now.exists():
                since = now.stat().st_mtime
                limit = COMPILING if "compiled" in now.read_text() else limit
            if time.time() - since > limit or time.monotonic() > end + 20:
                why = f"does not come back within {limit} s"
                process.kill()
                process.wait()
        code = process.returncode
        if code == 0 or time.monotonic() > end:
            break
        if code == LOST:
            continue
        if code in (1, 2):
            return code
        # What it had measured of this cell is lost with it.
        data.read()
        key, name, doing = json.loads(now.read_text()) if now.exists() else ("", "", "")
        if not key:
            print(f"bench.py: the process that measures ended with {code}", file=sys.stderr)
            return 1
        data.fail(key, name, why or f"ends the process with {code} when it {doing}")
        data.save()
    return 0


class Report:
    def __init__(self, data):
        self.data, self.cells = data, data.value["cells"]

    def rows(self):
        limits = self.data.value["limits"]
        copy = statistics.median(e["copy_GB_s"] for e in limits) * 1e3
        product = statistics.median(e["product_TFLOP_s"] for e in limits) * 1e6
        for key, cell in self.cells.items():
            name, tokens, routing = key.split("|")
            tokens = int(tokens)
            hidden, width, experts, slots = {**layers.LAYERS, **layers.SMALL}[name]
            read = cell["hit"] * 3 * hidden * width * 2
            moved = read + 4 * tokens * hidden + 4 * tokens * slots * width
            work = 6 * tokens * slots * hidden * width
            roof = max(moved / copy, work / product)  # microseconds
            times = {n: min(p["us"], p.get("behind_us", math.inf))
                     for n, p in cell["peers"].items() if "us" in p}
            entry = cell["peers"].get("ours", {})
            ours = entry.get("us")
            if ours is None:
                continue
            others = {n: t for n, t in times.items() if n != "ours" and n not in KNOWN}
            best = min(others, key=others.get) if others else ""
            kernels = sum(entry["kernels_us"].values())
            yield {"shape": name, "tokens": tokens, "routing": routing, "us": ours,
                   "stream": entry["stream_us"], "kernels": kernels,
                   "route": entry["route_us"] / kernels if kernels else 0.0,
                   "tflops": work / ours / 1e6, "gbs": read / ours / 1e3, "roof": roof / ours,
                   "best": best, "best_us": others.get(best),
                   "ratio": others[best] / ours if best else None,
                   "known": min(times.get(n, math.inf) for n in KNOWN),
                   "hit": cell["hit"], "expected": cell["expected"],
                   "share": cell["largest_share"]}

    def write(self):
        data = self.data
        if not data.value["limits"]:
            print("bench.py: nothing was measured", file=sys.stderr)
            return 1
        rows = sorted(self.rows(), key=lambda r: ((data.names + [r["shape"]]).index(r["shape"]),
                                                  r["tokens"]))
        columns = [
            ("shape", lambda r: r["shape"]), ("tokens", lambda r: str(r["tokens"])),
            ("routing", lambda r: r["routing"]), ("us", lambda r: f"{r['us']:.1f}"),
            ("stream us", lambda r: f"{r['stream']:.1f}"),
            ("kernels us", lambda r: f"{r['kernels']:.1f}"),
            ("router, sort", lambda r: f"{r['route']:.0%}"),
            ("TFLOP/s", lambda r: f"{r['tflops']:.1f}"), ("GB/s", lambda r: f"{r['gbs']:.0f}"),
            ("of roof", lambda r: f"{r['roof']:.0%}"), ("best other", lambda r: r["best"]),
            ("us", lambda r: f"{r['best_us']:.1f}" if r["best"] else ""),
            ("faster by", lambda r: f"{r['ratio']:.2f}" if r["best"] else ""),
            ("cuBLAS, known us", lambda r: f"{r['known']:.1f}" if r["known"] < math.inf else ""),
            ("hit", lambda r: str(r["hit"])), ("expected", lambda r: str(r["expected"])),
            ("largest share", lambda r: f"{r['share']:.1%}")]
        peers = sorted({n for c in self.cells.values() for n in c["peers"]} - {"ours"})
        shown = [("cell", lambda item: item[0].replace("|", ", "))] + [
            (n, lambda item, n=n: describe(item[1]["peers"].get(n))) for n in peers]
        left = sum(len(data.missing(names, name)) for names in PASSES[:2 if data.dry else 3]
                   for name in data.names)
        limits = data.value["limits"]
        head = "%(device)s, torch %(torch)s, revision %(revision)s" % data.value["about"]
        if data.dry:
            head = "DRY RUN without a device: these times mean nothing\n\n" + head
        head += "; copy {} GB/s, 8192 cubed {} TFLOP/s".format(*(
            "/".join(f"{e[k]:.0f}" for e in limits) for k in ("copy_GB_s", "product_TFLOP_s")))
        failed = {k: c["peers"]["ours"]["unavailable"] for k, c in self.cells.items()
                  if "unavailable" in c["peers"].get("ours", {})}
        last = (f"{len(rows)} cells"
                + (f", {left} groups of samples left for the next call" if left else ", all done")
                + (f"; ours failed in {len(failed)}" if failed else ""))
        remarks = [f"{name} was given up: {why}" for name, why in data.value["given_up"].items()]
        remarks += [f"ours, {key.replace('|', ', ')}: {why}" for key, why in failed.items()]
        results.write(data.path.with_suffix(".md"), "\n\n".join([
            head, results.markdown(rows, columns), *remarks, "Microseconds of the others, "
            "alone and behind other work:",
            results.markdown(sorted(self.cells.items()), shown), last]) + "\n")
        print("\n".join([head, results.text(rows, columns), *remarks, last]))
        return 0 if rows and not failed else 1


def describe(peer):
    if peer is None:
        return ""
    if "unavailable" in peer:
        return peer["unavailable"]
    behind = f" / {peer['behind_us']:.1f}" if "behind_us" in peer else ""
    return f"{peer['us']:.1f}{behind} {peer['mode']}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pack", type=pathlib.Path, default=HERE)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--dtype", default="bf16", choices=["bf16", "fp16"])
    parser.add_argument("--budget", type=float, default=510)
    parser.add_argument("--shapes", default="")
    parser.add_argument("--tokens", default=",".join(map(str, TOKENS)))
    parser.add_argument("--dry-run", action="store_true",
                        help="without a device, in the emulator and Triton's interpreter")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        sys.exit(Bench(options).run())
    status = watch(options, sys.argv[1:])
    Data(options).path.with_suffix(".now").unlink(missing_ok=True)
    sys.exit(Report(Data(options)).write() or status)


if __name__ == "__main__":
    main()
