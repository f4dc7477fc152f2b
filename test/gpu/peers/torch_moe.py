"""Mixture-of-Experts layers out of PyTorch and transformers, to compare with.

Each is made for weights and a number of tokens, and called with the operand of the
experts and the residual. Routing is part of the call: product, softmax, top-k,
division by the sum.
"""

import torch
from torch.nn import functional


def route(f, router, slots):
    score = torch.softmax(functional.linear(f, router).float(), -1)
    weights, ids = torch.topk(score, slots)
    return ids, weights / weights.sum(-1, keepdim=True)


class Peer:
    graph = False  # may be captured
    slow = False  # measured a few times only

    def __init__(self, weights, tokens):
        self.router, self.w13, self.w2, self.slots = weights
        self.experts, self.width = self.w2.shape[0], self.w2.shape[2]
        self.tokens = tokens


class Loop(Peer):
    """P0: an expert after the other."""
    slow = True

    def __call__(self, f, residual):
        ids, weights = route(f, self.router, self.slots)
        out = residual.clone()
        for e in ids.unique().tolist():
            token, slot = torch.where(ids == e)
            gate, up = functional.linear(f[token], self.w13[e]).chunk(2, -1)
            y = functional.linear(functional.silu(gate) * up, self.w2[e])
            out.index_add_(0, token, (y * weights[token, slot, None]).to(out.dtype))
        return out


class KnownLoop(Peer):
    """P3: the same products for a routing that is known beforehand, in a graph: what
    cuBLAS would do if sizes cost nothing."""
    graph = True

    def plan(self, f):
        ids, weights = route(f, self.router, self.slots)
        self.parts = []
        for e in ids.unique().tolist():
            token, slot = torch.where(ids == e)
            self.parts.append((e, token, weights[token, slot, None].contiguous()))

    def __call__(self, f, residual):
        out = residual.clone()
        for e, token, weight in self.parts:
            gate, up = functional.linear(f[token], self.w13[e]).chunk(2, -1)
            y = functional.linear(functional.silu(gate) * up, self.w2[e])
            out.index_add_(0, token, (y * weight).to(out.dtype))
        return out


def grouped_mm(a, b, ends):
    call = getattr(functional, "grouped_mm", None) or torch._grouped_mm
    return call(a, b, offs=ends)


def grouped(f, residual, router, w13, w2, slots):
    ids, weights = route(f, router, slots)
    flat = ids.reshape(-1)
    order = flat.argsort(stable=True)
    experts = torch.arange(w2.shape[0], device=f.device)
    ends = torch.searchsorted(flat[order], experts, right=True).to(torch.int32)
    gate, up = grouped_mm(f[order // slots], w13.transpose(1, 2), ends).chunk(2, -1)
    y = grouped_mm(functional.silu(gate) * up, w2.transpose(1, 2), ends)
    back = torch.empty_like(y)
    back[order] = y
    parts = back.view(f.shape[0], slots, -1) * weights[..., None].to(y.dtype)
    return residual + parts.sum(1)


class Grouped(Peer):
    """P2: sort, gather, grouped products, combine in the order of the slots."""
    graph = True

    def __call__(self, f, residual):
        return grouped(f, residual, self.router, self.w13, self.w2, self.slots)


class CompiledGrouped(Peer):
    """P2 through torch.compile, which looks for the best configurations itself."""
    graph = True

    def __init__(self, weights, tokens):
        super().__init__(weights, tokens)
        # Otherwise the ninth shape would run uncompiled.
        torch._dynamo.reset()
        self.call = torch.compile(grouped, dynamic=False,
                                  mode="max-autotune-no-cudagraphs")

    def __call__(self, f, residual):
        return self.call(f, residual, self.router, self.w13, self.w2, self.slots)


class Transformers(Peer):
    """P1: the experts of transformers."""
    implementation = "eager"
    slow = True

    def __init__(self, weights, tokens):
        super().__init__(weights, tokens)
        from transformers.models.qwen3_moe import configuration_qwen3_moe, modeling_qwen3_moe
        hidden = self.w2.shape[1]
        config = configuration_qwen3_moe.Qwen3MoeConfig(
            hidden_size=hidden, moe_intermediate_size=self.width, num_experts=self.experts,
            num_experts_per_tok=self.slots, hidden_act="silu")
        config._experts_implementation = self.implementation
        with torch.device("meta"):
            self.module = modeling_qwen3_moe.Qwen3MoeExperts(config)
        self.module.gate_up_proj = torch.nn.Parameter(self.w13, requires_grad=False)
        self.module.down_proj = torch.nn.Parameter(self.w2, requires_grad=False)

    def __call__(self, f, residual):
        ids, weights = route(f, self.router, self.slots)
        return residual + self.module(f, ids, weights.to(f.dtype))


class TransformersGrouped(Transformers):
    implementation = "grouped_mm"
    slow = False


class TransformersBatched(Transformers):
    """Copies the weights of every row."""
    implementation = "batched_mm"
    slow = False
    LIMIT = 20 << 30

    def __init__(self, weights, tokens):
        super().__init__(weights, tokens)
        hidden = self.w2.shape[1]
        if tokens * self.slots * 3 * hidden * self.width * 2 > self.LIMIT:
            raise MemoryError("copies of the weights of every row would not fit")


PEERS = {
    "grouped_mm": Grouped,
    "cublas, routing known": KnownLoop,
    "loop": Loop,
    "transformers eager": Transformers,
    "transformers grouped": TransformersGrouped,
    "transformers batched": TransformersBatched,
    "grouped_mm compiled": CompiledGrouped,
}
