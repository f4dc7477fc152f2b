"""A fused Mixture-of-Experts layer in Triton, in the usual style: the baseline.

    python3 test/gpu/peers/triton_moe.py [--interpret]    compares with PyTorch

on a device, or without one in Triton's interpreter. compile_triton.py compiles all
kernels for a device that is not there.

Rows (a token and one of its slots) are sorted by expert into blocks of BM; the first
product gathers its rows of x, has gate and up side by side and ends in SwiGLU; the
second multiplies by the weight of the router; a last kernel adds the slots of a token
in their order, and the residual. No atomics, no reading back: a step may be captured
in a graph. Blocks, warps and stages come from a short list, of which tune() takes the
fastest.
"""

import sys
from dataclasses import dataclass

if __name__ == "__main__" and "--interpret" in sys.argv:
    import interpreted  # noqa: F401  (before kernels are defined)
import torch
import triton
import triton.language as tl

CHUNK = 128  # rows that one program sorts


@triton.jit
def router_kernel(logits, ids, weights, experts, EXPERTS: tl.constexpr, SLOTS: tl.constexpr,
                  WIDE: tl.constexpr):
    """Softmax, the largest scores with ties to the lowest expert, sum 1."""
    token = tl.program_id(0).to(tl.int64)
    e = tl.arange(0, EXPERTS)
    z = tl.load(logits + token * experts + e, e < experts, float("-inf")).to(tl.float32)
    z = tl.exp(z - tl.max(z, 0))
    score = z / tl.sum(z, 0)
    left = tl.where(e < experts, score, -1.0)
    s = tl.arange(0, WIDE)
    chosen = tl.zeros((WIDE,), tl.int32)
    values = tl.zeros((WIDE,), tl.float32)
    for slot in range(SLOTS):
        best = tl.argmax(left, 0, tie_break_left=True)
        chosen = tl.where(s == slot, best, chosen)
        values = tl.where(s == slot, tl.max(left, 0), values)
        left = tl.where(e == best, -1.0, left)
    at = token * SLOTS + s
    tl.store(ids + at, chosen, s < SLOTS)
    tl.store(weights + at, values / tl.sum(values, 0), s < SLOTS)


@triton.jit
def count_kernel(ids, counts, rows, EXPERTS: tl.constexpr, CHUNK: tl.constexpr):
    """counts[chunk, expert]; the last bin takes what is past the end."""
    chunk = tl.program_id(0)
    at = chunk * CHUNK + tl.arange(0, CHUNK)
    e = tl.load(ids + at, at < rows, EXPERTS - 1)
    tl.store(counts + chunk * EXPERTS + tl.arange(0, EXPERTS), tl.histogram(e, EXPERTS))


@triton.jit
def scan_kernel(counts, totals, chunks, EXPERTS: tl.constexpr, CHUNKS: tl.constexpr,
                COLUMNS: tl.constexpr):
    """Of each expert, how many rows are in the chunks before."""
    e = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    c = tl.arange(0, CHUNKS)
    at = c[:, None] * EXPERTS + e[None, :]
    n = tl.load(counts + at, (c < chunks)[:, None], 0)
    up_to = tl.cumsum(n, 0)
    tl.store(counts + at, up_to - n, (c < chunks)[:, None])
    tl.store(totals + e, tl.sum(n, 0))


@triton.jit
def block_kernel(totals, starts, block_expert, experts, EXPERTS: tl.constexpr,
                 BM: tl.constexpr, BLOCKS: tl.constexpr):
    """Where the blocks of each expert begin, and of which expert each block is."""
    e = tl.arange(0, EXPERTS)
    n = tl.load(totals + e, e < experts, 0)
    blocks = (n + BM - 1) // BM
    ends = tl.cumsum(blocks, 0)
    b = tl.program_id(0) * BLOCKS + tl.arange(0, BLOCKS)
    before = tl.sum((ends[None, :] <= b[:, None]).to(tl.int32), 1)
    tl.store(block_expert + b, tl.where(before < experts, before, -1))
    if tl.program_id(0) == 0:
        tl.store(starts + e, (ends - blocks) * BM)


@triton.jit
def place_kernel(ids, counts, starts, sorted_rows, rows, EXPERTS: tl.constexpr,
                 CHUNK: tl.constexpr):
    """sorted_rows[start of the expert + rank] = row."""
    chunk = tl.program_id(0)
    at = chunk * CHUNK + tl.arange(0, CHUNK)
    e = tl.load(ids + at, at < rows, EXPERTS - 1)
    i = tl.arange(0, CHUNK)
    earlier = (e[:, None] == e[None, :]) & (i[None, :] < i[:, None])
    rank = tl.sum(earlier.to(tl.int32), 1)
    base = tl.load(starts + e, at < rows, 0) + tl.load(counts + chunk * EXPERTS + e, at < rows, 0)
    tl.store(sorted_rows + base + rank, at, at < rows)


@triton.jit
def sort_kernel(ids, sorted_rows, block_expert, rows, experts, blocks, EXPERTS: tl.constexpr,
                CHUNK: tl.constexpr, BM: tl.constexpr, BLOCKS: tl.constexpr):
    """All of the above in one program, for few rows."""
    i = tl.arange(0, CHUNK)
    e = tl.load(ids + i, i < rows, EXPERTS - 1)
    bins = tl.arange(0, EXPERTS)
    n = tl.where(bins < experts, tl.histogram(e, EXPERTS), 0)
    own = (n + BM - 1) // BM
    ends = tl.cumsum(own, 0)
    for first in range(0, blocks, BLOCKS):
        b = first + tl.arange(0, BLOCKS)
        before = tl.sum((ends[None, :] <= b[:, None]).to(tl.int32), 1)
        tl.store(block_expert + b, tl.where(before < experts, before, -1), b < blocks)
    start = tl.gather((ends - own) * BM, e, 0)
    earlier = (e[:, None] == e[None, :]) & (i[None, :] < i[:, None])
    rank = tl.sum(earlier.to(tl.int32), 1)
    tl.store(sorted_rows + start + rank, i, i < rows)


@triton.jit
def tile_of(columns, blocks, BN: tl.constexpr, GROUP: tl.constexpr):
    """Blocks of rows and columns, in groups of GROUP blocks of rows."""
    program = tl.program_id(0)
    wide = tl.cdiv(columns, BN)
    group = program // (GROUP * wide)
    first = group * GROUP
    high = tl.minimum(blocks - first, GROUP)
    inside = program % (GROUP * wide)
    return first + inside % high, inside // high


@triton.jit(do_not_specialize=["rows", "blocks", "slots"])
def up_kernel(x, w, out, sorted_rows, block_expert, rows, blocks, slots, width, depth,
              BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
              GROUP: tl.constexpr, EVEN: tl.constexpr):
    """out[row] = silu(gate x[row / slots]) * up x; w is [expert, gate then up, depth]."""
    m, n = tile_of(width, blocks, BN, GROUP)
    expert = tl.load(block_expert + m).to(tl.int64)
    if expert < 0:
        return
    row = tl.load(sorted_rows + m * BM + tl.arange(0, BM))
    is_row = row < rows
    column = n * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    a_at = x + (row // slots).to(tl.int64)[:, None] * depth + k[None, :]
    safe = tl.where(column < width, column, 0)
    g_at = w + expert * 2 * width * depth + safe[None, :].to(tl.int64) * depth + k[:, None]
    u_at = g_at + width.to(tl.int64) * depth
    gate = tl.zeros((BM, BN), tl.float32)
    up = tl.zeros((BM, BN), tl.float32)
    for start in range(0, depth, BK):
        if EVEN:
            a = tl.load(a_at, is_row[:, None], 0.0)
            g = tl.load(g_at)
            u = tl.load(u_at)
        else:
            inside = k < depth - start
            a = tl.load(a_at, is_row[:, None] & inside[None, :], 0.0)
            g = tl.load(g_at, inside[:, None], 0.0)
            u = tl.load(u_at, inside[:, None], 0.0)
        gate = tl.dot(a, g, gate)
        up = tl.dot(a, u, up)
        a_at += BK
        g_at += BK
        u_at += BK
    act = (gate / (1 + tl.exp(-gate)) * up).to(out.dtype.element_ty)
    tl.store(out + row.to(tl.int64)[:, None] * width + column[None, :], act,
             is_row[:, None] & (column < width)[None, :])


@triton.jit(do_not_specialize=["rows", "blocks"])
def down_kernel(act, w, out, weights, sorted_rows, block_expert, rows, blocks, width, depth,
                BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr,
                EVEN: tl.constexpr):
    """out[row] = weight of the row * down act[row]; w is [expert, width, depth]."""
    m, n = tile_of(width, blocks, BN, GROUP)
    expert = tl.load(block_expert + m).to(tl.int64)
    if expert < 0:
        return
    row = tl.load(sorted_rows + m * BM + tl.arange(0, BM))
    is_row = row < rows
    column = n * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    a_at = act + row.to(tl.int64)[:, None] * depth + k[None, :]
    safe = tl.where(column < width, column, 0)
    b_at = w + expert * width * depth + safe[None, :].to(tl.int64) * depth + k[:, None]
    total = tl.zeros((BM, BN), tl.float32)
    for start in range(0, depth, BK):
        if EVEN:
            a = tl.load(a_at, is_row[:, None], 0.0)
            b = tl.load(b_at)
        else:
            inside = k < depth - start
            a = tl.load(a_at, is_row[:, None] & inside[None, :], 0.0)
            b = tl.load(b_at, inside[:, None], 0.0)
        total = tl.dot(a, b, total)
        a_at += BK
        b_at += BK
    weight = tl.load(weights + row, is_row, 0.0)
    total *= weight[:, None]
    tl.store(out + row.to(tl.int64)[:, None] * width + column[None, :],
             total.to(out.dtype.element_ty), is_row[:, None] & (column < width)[None, :])


@triton.jit
def combine_kernel(rows, residual, out, width, SLOTS: tl.constexpr, BN: tl.constexpr):
    """out = residual + the rows of a token, slot after slot."""
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BN + tl.arange(0, BN)
    inside = column < width
    total = tl.zeros((BN,), tl.float32)
    for slot in range(SLOTS):
        at = rows + (token * SLOTS + slot) * width + column
        total += tl.load(at, inside, 0.0).to(tl.float32)
    total += tl.load(residual + token * width + column, inside, 0.0).to(tl.float32)
    tl.store(out + token * width + column, total.to(out.dtype.element_ty), inside)


@dataclass(frozen=True)
class Config:
    bm: int
    bn: int
    bk: int
    group: int
    warps: int
    stages: int


# By rows per expert that is hit; both products take the same BM.
FEW = [Config(16, 64, 128, 1, 4, 4), Config(16, 128, 64, 1, 4, 4), Config(16, 64, 256, 1, 4, 3),
       Config(16, 32, 128, 1, 4, 5)]
SOME = [Config(32, 128, 64, 4, 4, 4), Config(64, 64, 64, 4, 4, 4), Config(64, 128, 64, 8, 4, 3),
        Config(32, 64, 128, 4, 4, 4)]
MANY = [Config(128, 128, 64, 8, 8, 3), Config(64, 128, 64, 8, 4, 4), Config(128, 64, 64, 8, 4, 4),
        Config(128, 256, 64, 8, 8, 3)]


def configs(rows, experts):
    """Worth a try for so many rows of so many experts."""
    each = rows / max(min(experts, rows), 1)
    if each <= 8:
        return FEW
    return FEW[:1] + SOME if each <= 48 else SOME[2:] + MANY


class TritonMoe:
    """Buffers for one number of tokens; weights are given at each call."""

    def __init__(self, tokens, hidden, width, experts, slots, dtype, device):
        self.tokens, self.hidden, self.width = tokens, hidden, width
        self.experts, self.slots, self.device = experts, slots, device
        self.bins = triton.next_power_of_2(experts + 1)
        self.rows = tokens * slots
        self.chunks = triton.cdiv(self.rows, CHUNK)

        def empty(*shape, of=dtype):
            return torch.empty(shape, dtype=of, device=device)
        self.ids = empty(tokens, slots, of=torch.int32)
        self.weights = empty(tokens, slots, of=torch.float32)
        self.counts = empty(self.chunks, self.bins, of=torch.int32)
        self.totals = empty(self.bins, of=torch.int32)
        self.starts = empty(self.bins, of=torch.int32)
        self.act = empty(self.rows, width)
        self.parts = empty(self.rows, hidden)
        self.out = empty(tokens, hidden)
        self.use(*(configs(self.rows, experts)[:1] * 2))

    def use(self, up, down):
        if up.bm != down.bm:
            raise ValueError("both products work on the same blocks of rows")
        self.up, self.down = up, down
        # No more blocks than rows, and none but the last of an expert is not full.
        self.blocks = min(self.rows, triton.cdiv(self.rows, up.bm) + self.experts)
        room = triton.cdiv(self.blocks, CHUNK) * CHUNK
        self.sorted_rows = torch.empty(room * up.bm, dtype=torch.int32, device=self.device)
        self.block_expert = torch.empty(room, dtype=torch.int32, device=self.device)

    def route(self, f, router):
        """Fills ids and weights."""
        logits = torch.nn.functional.linear(f, router)
        router_kernel[(self.tokens,)](logits, self.ids, self.weights, self.experts,
                                      EXPERTS=triton.next_power_of_2(self.experts),
                                      SLOTS=self.slots,
                                      WIDE=triton.next_power_of_2(self.slots))

    def sort(self):
        bm = self.up.bm
        # What no row is written to lies past the last one.
        self.sorted_rows.fill_(self.rows)
        if self.chunks == 1:
            sort_kernel[(1,)](self.ids, self.sorted_rows, self.block_expert, self.rows,
                              self.experts, self.blocks, EXPERTS=self.bins, CHUNK=CHUNK, BM=bm,
                              BLOCKS=16)
            return
        count_kernel[(self.chunks,)](self.ids, self.counts, self.rows, EXPERTS=self.bins,
                                     CHUNK=CHUNK)
        chunks = triton.next_power_of_2(self.chunks)
        columns = min(16, self.bins, max(1, 4096 // chunks))  # what registers hold
        scan_kernel[(self.bins // columns,)](
            self.counts, self.totals, self.chunks, EXPERTS=self.bins,
            CHUNKS=chunks, COLUMNS=columns)
        blocks = 64
        block_kernel[(triton.cdiv(self.blocks, blocks),)](
            self.totals, self.starts, self.block_expert, self.experts, EXPERTS=self.bins, BM=bm,
            BLOCKS=blocks)
        place_kernel[(self.chunks,)](self.ids, self.counts, self.starts, self.sorted_rows,
                                     self.rows, EXPERTS=self.bins, CHUNK=CHUNK)

    def multiply(self, f, w13, w2, residual):
        up, down = self.up, self.down
        up_kernel[(self.blocks * triton.cdiv(self.width, up.bn),)](
            f, w13, self.act, self.sorted_rows, self.block_expert, self.rows, self.blocks,
            self.slots, self.width, self.hidden, BM=up.bm, BN=up.bn, BK=up.bk, GROUP=up.group,
            EVEN=self.hidden % up.bk == 0, num_warps=up.warps, num_stages=up.stages)
        down_kernel[(self.blocks * triton.cdiv(self.hidden, down.bn),)](
            self.act, w2, self.parts, self.weights, self.sorted_rows, self.block_expert,
            self.rows, self.blocks, self.hidden, self.width, BM=down.bm, BN=down.bn, BK=down.bk,
            GROUP=down.group, EVEN=self.width % down.bk == 0, num_warps=down.warps,
            num_stages=down.stages)
        combine_kernel[(self.tokens, triton.cdiv(self.hidden, 1024))](
            self.parts, residual, self.out, self.hidden, SLOTS=self.slots, BN=1024)
        return self.out

    def __call__(self, f, residual, router, w13, w2):
        self.route(f, router)
        self.sort()
        return self.multiply(f, w13, w2, residual)

    def tune(self, seconds, *arguments):
        """Takes the configurations for which `seconds(function)` is least: first that of
        the first product, which has two sums and therefore no wide tiles, then that of
        the second."""
        def time(up, down):
            try:
                self.use(up, down)
                return seconds(lambda: self(*arguments))
            except triton.runtime.errors.OutOfResources:
                return float("inf")
        choices = configs(self.rows, self.experts)
        best = min((c for c in choices if c.bn < 256), key=lambda c: time(c, c))
        second = min((c for c in choices if c.bm == best.bm), key=lambda c: time(best, c))
        self.use(best, second)


def check(tokens, hidden, width, experts, slots, config, device, dtype, seed=1):
    """Largest errors of the layer, and whether the sort is right."""
    generator = torch.Generator(device).manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, device=device)
    f = normal(tokens, hidden).to(dtype)
    residual = normal(tokens, hidden).to(dtype)
    router = (normal(experts, hidden) * hidden ** -0.5).to(dtype)
    w13 = (normal(experts, 2 * width, hidden) * hidden ** -0.5).to(dtype)
    w2 = (normal(experts, hidden, width) * width ** -0.5).to(dtype)
    layer = TritonMoe(tokens, hidden, width, experts, slots, dtype, device)
    layer.use(config, config)
    found = layer(f, residual, router, w13, w2).double()
    logits = torch.nn.functional.linear(f, router).double()
    score, ids = torch.topk(torch.softmax(logits, -1), slots)
    kept = layer.ids.long().sort(1).values == ids.sort(1).values
    expected = residual.double()
    weights = torch.softmax(logits, -1).gather(1, layer.ids.long())
    weights = weights / weights.sum(1, keepdim=True)
    for token in range(tokens):
        for slot in range(slots):
            e = layer.ids[token, slot]
            both = w13[e].double() @ f[token].double()
            h = torch.nn.functional.silu(both[:width]) * both[width:]
            expected[token] += weights[token, slot] * (w2[e].double() @ h)
    error = ((found - expected).norm() / (expected - residual.double()).norm()).item()
    return error, (~kept).any(1).sum().item()


SHAPES = (
    # tokens, hidden, width, experts, slots; blocks
    ((1, 64, 48, 8, 2), Config(16, 32, 32, 1, 4, 2)),
    ((7, 72, 40, 12, 3), Config(16, 16, 16, 2, 4, 2)),
    ((40, 64, 48, 8, 2), Config(32, 32, 64, 4, 4, 2)),
    ((19, 40, 24, 40, 10), Config(16, 32, 16, 3, 4, 2)),
    ((33, 56, 72, 3, 1), Config(32, 16, 32, 2, 4, 2)),
    ((150, 32, 32, 16, 4), Config(64, 32, 16, 8, 4, 2)),
    ((90, 32, 16, 5, 5), Config(16, 16, 32, 3, 4, 2)),
)
LIMITS = {torch.bfloat16: 1e-2, torch.float16: 2e-3, torch.float32: 1e-5}


def main():
    interprets = "--interpret" in sys.argv
    device = "cpu" if interprets else "cuda"
    failures = 0
    for dtype, limit in LIMITS.items():
        for shape, config in SHAPES:
            if dtype == torch.float32 and not interprets:
                continue  # tensor cores would round it
            error, flips = check(*shape, config, device, dtype)
            wrong = not error <= limit or flips > (0 if interprets else shape[0] // 20)
            failures += wrong
            print(f"{str(dtype)[6:]:8} tokens, hidden, width, experts, slots {shape}: error "
                  f"{error:.1e}, {flips} tokens with other experts{' WRONG' * wrong}",
                  flush=True)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
