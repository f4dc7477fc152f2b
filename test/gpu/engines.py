"""What bench.py times: layers of ours and of others, their weights, and clocks."""

import math
import shutil
import statistics
import time

import numpy as np
import torch

import layers
import runtime
import weights

FLUSH = 256 << 20  # bytes; the caches of devices have 50 MB
ROUTINGS = ("uniform", "zipf", "same")
GUMBEL = math.pi / math.sqrt(6)  # deviation of the noise that makes scores a choice
SURE = 16.0  # a logit that no other comes near


class SkewedWeights(weights.Weights):
    """The first column of the router is the logarithm of Zipf's law; the second
    prefers some experts, as many as a token chooses."""

    def __init__(self, seed, make, shape):
        super().__init__(seed, make)
        self.experts, self.slots = shape[2:]

    def tensor(self, name, size):
        made = super().tensor(name, size)
        if name == "router.weight":
            rank = np.random.default_rng(self.seed).permutation(self.experts)
            columns = np.stack([-np.log(rank + 1) / GUMBEL, SURE * (rank < self.slots)], 1)
            made[:, :2] = torch.as_tensor(columns).to(made.dtype).to(made.device)
        return made


def operand(tokens, hidden, routing):
    """f32 on the host; two columns of it switch the router's on."""
    x = np.random.default_rng(tokens).standard_normal((tokens, hidden), np.float32)
    x[:, 0] = routing == "zipf"
    x[:, 1] = routing == "same"
    return x


class Clock:
    """Times of functions on a device."""

    def __init__(self):
        self.buffer = torch.randn(FLUSH // 4, device="cuda")
        self.largest = torch.empty((), device="cuda")

    def flush(self):
        """By reading: what is written would be on its way to memory for a while."""
        torch.amax(self.buffer, 0, out=self.largest)

    def wait(self):
        torch.cuda.synchronize()

    def sample(self, call, behind):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.flush()
        if not behind:
            self.wait()
        begin.record()
        call()
        end.record()
        self.wait()
        return begin.elapsed_time(end) * 1e3

    def host_sample(self, call):
        """Of what runs in a stream of its own; `call` waits."""
        self.flush()
        self.wait()
        start = time.perf_counter()
        call()
        return (time.perf_counter() - start) * 1e6

    def capture(self, call):
        """The function as a graph."""
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(3):
                call()
        self.wait()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            result = call()
        return graph, result

    def limits(self, dtype):
        """Bytes per second of a copy, operations per second of a product."""
        source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
        target = torch.empty_like(source)
        copy = statistics.median(self.sample(lambda: target.copy_(source), True)
                                 for _ in range(20))
        del source, target
        size = 8192
        a, b = (torch.randn(size, size, device="cuda").to(dtype) for _ in range(2))
        product = statistics.median(self.sample(lambda: a @ b, True) for _ in range(30))
        return {"copy_GB_s": 2 * (1 << 30) / copy / 1e3,
                "product_TFLOP_s": 2 * size ** 3 / product / 1e6}


class HostClock(Clock):
    """For a run without a device: the same calls, times that mean nothing."""

    def __init__(self):
        pass

    def flush(self):
        pass

    def wait(self):
        pass

    def sample(self, call, behind):
        return self.host_sample(call)

    def limits(self, dtype):
        return {"copy_GB_s": 1.0, "product_TFLOP_s": 1.0}


class Engine:
    """What is timed: sample() runs it, result() is what it gave, f32 on the host."""
    ways = (False, True)  # alone, and behind other work
    config = None

    def __init__(self, name):
        self.name, self.mode = name, "stream"

    def parts(self, clock):
        """More numbers for its entry in the table."""
        return {}


class Ours(Engine):
    ways = (False,)

    def __init__(self, shape, x):
        super().__init__("ours")
        self.shape, self.layer, self.x, self.mode = shape, shape.layer, x, "graph"

    def result(self, rows):
        return self.layer.step(self.x)[:rows]

    def sample(self, clock, behind):
        clock.flush()
        clock.wait()
        stamps = self.layer.time(self.x, runtime.TRACE_STEP)
        return (stamps[-1, 1] - stamps[0, 0]) / 1e3

    def parts(self, clock):
        """Without a graph, and medians by kind of kernel, launched one by one."""
        passes, whole = [], []
        for _ in range(7):
            clock.flush()
            clock.wait()
            stamps = self.layer.time(self.x, runtime.TRACE_BARRIERS)
            whole.append((stamps[-1, 1] - stamps[0, 0]) / 1e3)
            passes.append((stamps[:, 1] - stamps[:, 0]) / 1e3)
        kernels = {}
        for interval, value in enumerate(np.median(passes, 0)):
            kind = self.shape.kinds.get(interval, "rows")
            kernels[kind] = round(kernels.get(kind, 0.0) + float(value), 2)
        return {"stream_us": round(statistics.median(whole), 2), "kernels_us": kernels,
                "route_us": kernels.get("router", 0.0), "level": self.shape.level}


class Other(Engine):
    """A layer of PyTorch: `body` takes the operand of the experts and the residual."""

    def __init__(self, name, body, x, clock):
        super().__init__(name)
        self.x, self.body = x, body
        self.call = lambda: body(self.norm(), self.x)
        self.output = None
        if hasattr(body, "plan"):
            body.plan(self.norm())
        if getattr(body, "host", False):
            self.mode, self.ways = "host clock", (False,)
        if getattr(body, "graph", False) and x.is_cuda:
            try:
                graph, self.output = clock.capture(self.call)
                self.call, self.mode = graph.replay, "graph"
            except RuntimeError as problem:
                clock.wait()
                self.mode = f"stream ({str(problem).splitlines()[0][:60]})"

    def norm(self):
        return torch.nn.functional.rms_norm(self.x, self.x.shape[1:], eps=layers.EPSILON)

    def result(self, rows):
        made = self.call()
        return (self.output if made is None else made)[:rows].float().cpu().numpy()

    def sample(self, clock, behind):
        if self.mode == "host clock":
            return clock.host_sample(self.call)
        return clock.sample(self.call, behind)

    def parts(self, clock):
        route = getattr(self.body, "route", None)
        if route is None:
            return {}
        f = self.norm()
        route(f)
        return {"route_us": round(statistics.median(
            clock.sample(lambda: route(f), True) for _ in range(20)), 2)}


class TritonBody:
    graph = True

    def __init__(self, layer, weights_):
        self.layer = layer
        self.router, self.w13, self.w2, _ = weights_

    def __call__(self, f, residual):
        return self.layer(f, residual, self.router, self.w13, self.w2)

    def route(self, f):
        self.layer.route(f, self.router)
        self.layer.sort()


class Shape:
    """The weights of a shape, for all engines."""

    def __init__(self, bench, name):
        self.bench, self.name = bench, name
        self.size = {**layers.LAYERS, **layers.SMALL}[name]
        hidden, width, experts, slots = self.size
        make = weights.TorchMaker(bench.device, bench.dtype)
        numbers = SkewedWeights(1, make, self.size)
        w13 = torch.empty(experts, 2 * width, hidden, dtype=bench.dtype, device=bench.device)
        w2 = torch.empty(experts, hidden, width, dtype=bench.dtype, device=bench.device)
        for e in range(experts):
            w13[e, :width] = numbers.tensor(f"experts.{e}.gate.weight", (width, hidden))
            w13[e, width:] = numbers.tensor(f"experts.{e}.up.weight", (width, hidden))
            w2[e] = numbers.tensor(f"experts.{e}.down.weight", (hidden, width))
        router = numbers.tensor("router.weight", (experts, hidden))
        self.weights = (router, w13, w2, slots)
        self.layer, self.files = None, []
        try:
            self.load(numbers)
        except (RuntimeError, OSError, StopIteration) as problem:
            self.fault = f"{type(problem).__name__}: {problem}"

    def load(self, numbers):
        """Ours, from an artifact that gets its weights here."""
        bench = self.bench
        artifact = bench.scratch / f"{self.name}.so"
        shutil.copy(bench.pack / "layers" / f"{self.name}{bench.suffix}.so", artifact)
        manifest = weights.manifest_of(bench.pack / "bin" / "moe-inspect", artifact)
        self.files = weights.write(artifact, manifest, numbers, "cuda")
        self.layer = runtime.Layer(bench.library, artifact)
        self.level = self.layer.device().level.decode()
        variant = next(v for v in manifest["variants"]
                       if v["device"] == "cuda" and v["isa"] == self.level)
        self.kinds = {}
        for kernel in variant["kernels"]:
            kind = kernel["kind"]
            # Of kernels between two launches, a product names the interval.
            if kind not in ("rows", "lookup", "norm") or kernel["interval"] not in self.kinds:
                self.kinds[kernel["interval"]] = kind

    def close(self):
        if self.layer:
            self.layer.close()
        for file in self.files:
            file.unlink()
        self.weights = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def on_device(self, x):
        return torch.as_tensor(x).to(self.bench.device, self.bench.dtype)

    def route(self, x):
        """Of rows on the device, operands of the experts, ids and weights."""
        from torch_moe import route
        f = torch.nn.functional.rms_norm(x, x.shape[1:], eps=layers.EPSILON)
        return f, *route(f, self.weights[0], self.weights[3])

    def exact(self, x):
        """What the layer gives for these rows: an expert after the other, in f32, from
        operands as they are stored."""
        _, w13, w2, _ = self.weights
        x = self.on_device(x)
        f, ids, share = self.route(x)
        out = x.float()
        for e in ids.unique().tolist():
            token, slot = torch.where(ids == e)
            gate, up = (f[token].float() @ w13[e].float().T).chunk(2, -1)
            h = (torch.nn.functional.silu(gate) * up).to(x.dtype).float()
            out.index_add_(0, token, share[token, slot, None] * (h @ w2[e].float().T))
        return out.cpu().numpy()

    def engine(self, name, tokens, x):
        """Raises for what cannot be had here."""
        if name == "ours":
            if not self.layer:
                raise RuntimeError(self.fault)
            return Ours(self, x)
        x, bench = self.on_device(x), self.bench
        if name == "triton":
            import triton_moe
            hidden, width, experts, slots = self.size
            layer = triton_moe.TritonMoe(tokens, hidden, width, experts, slots, bench.dtype,
                                         bench.device)
            body = TritonBody(layer, self.weights)
            if bench.dry:
                small = triton_moe.Config(16, 16, 16, 2, 4, 2)
                layer.use(small, small)
            else:
                def seconds(call):
                    call()  # compiles
                    # As a graph, for launches take longer than few tokens do.
                    graph, _ = bench.clock.capture(call)
                    return statistics.median(bench.clock.sample(graph.replay, True)
                                             for _ in range(5))
                f = torch.nn.functional.rms_norm(x, (hidden,), eps=layers.EPSILON)
                layer.tune(seconds, f, x, body.router, body.w13, body.w2)
            made = Other(name, body, x, bench.clock)
            made.config = f"{layer.up} {layer.down}"
            return made
        if name == "jax ragged_dot":
            import jax_moe
            body = jax_moe.RaggedDot(self.weights, tokens)
        elif name == "cublas grouped, routing known":
            import cublas_grouped
            body = cublas_grouped.GroupedBatched(self.weights, tokens)
        else:
            import torch_moe
            body = torch_moe.PEERS[name](self.weights, tokens)
        return Other(name, body, x, bench.clock)
