"""P3: a layer out of cublasGemmGroupedBatchedEx, through ctypes.

One call multiplies the rows of all experts; it wants their numbers on the host, so the
routing is known beforehand: a bound for products, not an engine.
"""

import ctypes

import torch
from torch.nn import functional
from torch_moe import Peer, route

OP_N, OP_T = 0, 1
COMPUTE_32F = 68
TYPES = {torch.bfloat16: 14, torch.float16: 2}
WORKSPACE = 32 << 20


def library():
    for name in ("libcublas.so.13", "libcublas.so.12"):
        try:
            return ctypes.CDLL(name)
        except OSError as problem:
            fault = problem
    raise RuntimeError(f"no cuBLAS: {fault}")


class Grouped:
    """out[rows of e] = x[rows of e] w[e]', for experts with `counts` rows each."""

    def __init__(self, blas, x, w, out, experts, counts):
        self.blas, groups = blas, len(experts)
        depth, width = w.shape[2], w.shape[1]

        def all_of(value):
            return (ctypes.c_int * groups)(*[value] * groups)
        starts = [sum(counts[:i]) for i in range(groups)]
        size = x.element_size()

        def addresses(values):
            return torch.tensor(values, dtype=torch.int64, device=x.device)
        # By columns: out' = w x'.
        self.tables = [
            addresses([w[e].data_ptr() for e in experts]),
            addresses([x.data_ptr() + at * depth * size for at in starts]),
            addresses([out.data_ptr() + at * width * size for at in starts])]
        kind = ctypes.c_int(TYPES[x.dtype])

        def pointers(table):
            return ctypes.c_void_p(table.data_ptr())
        ones, zeros = ((ctypes.c_float * groups)(*[value] * groups) for value in (1.0, 0.0))
        self.arguments = (
            all_of(OP_T), all_of(OP_N), all_of(width), (ctypes.c_int * groups)(*counts),
            all_of(depth), ones, pointers(self.tables[0]), kind, all_of(depth),
            pointers(self.tables[1]), kind, all_of(depth), zeros, pointers(self.tables[2]),
            kind, all_of(width), ctypes.c_int(groups), all_of(1), ctypes.c_int(COMPUTE_32F))

    def __call__(self):
        self.blas.call("cublasGemmGroupedBatchedEx", *self.arguments)


class Blas:
    def __init__(self, device):
        self.c, self.handle = library(), ctypes.c_void_p()
        if self.c.cublasCreate_v2(ctypes.byref(self.handle)):
            raise RuntimeError("cublasCreate fails")
        # Its own cannot be had while a graph is captured.
        self.workspace = torch.empty(WORKSPACE, dtype=torch.uint8, device=device)

    def start(self):
        """Work goes to the current stream, that of a capture, too."""
        self.call("cublasSetStream_v2", ctypes.c_void_p(torch.cuda.current_stream().cuda_stream))
        self.call("cublasSetWorkspace_v2", ctypes.c_void_p(self.workspace.data_ptr()),
                  ctypes.c_size_t(WORKSPACE))

    def call(self, name, *arguments):
        if status := getattr(self.c, name)(self.handle, *arguments):
            raise RuntimeError(f"{name} fails with {status}")


class GroupedBatched(Peer):
    graph = True

    def plan(self, f):
        ids, self.weights = route(f, self.router, self.slots)
        flat = ids.reshape(-1)
        order = flat.argsort(stable=True)
        self.token, self.back = order // self.slots, order.argsort()
        experts, counts = flat.unique(return_counts=True)
        experts, counts = experts.tolist(), counts.tolist()
        rows, hidden = len(flat), f.shape[1]
        self.x = f.new_empty(rows, hidden)
        both, self.act = f.new_empty(rows, 2 * self.width), f.new_empty(rows, self.width)
        self.both, self.y = both, f.new_empty(rows, hidden)
        self.blas = Blas(f.device)
        self.up = Grouped(self.blas, self.x, self.w13, both, experts, counts)
        self.down = Grouped(self.blas, self.act, self.w2, self.y, experts, counts)

    def __call__(self, f, residual):
        self.blas.start()
        torch.index_select(f, 0, self.token, out=self.x)
        self.up()
        gate, up = self.both.chunk(2, -1)
        torch.mul(functional.silu(gate), up, out=self.act)
        self.down()
        parts = self.y[self.back].view(f.shape[0], self.slots, -1)
        return residual + (parts * self.weights[..., None].to(f.dtype)).sum(1)
