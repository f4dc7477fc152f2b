"""What a layer of layers.py computes, by the formula in float64.

Operands are rounded to the type of the model, bf16 or f16, where it stores them;
everything else is exact, so the difference to an engine is what it rounds otherwise.
NumPy, or PyTorch where tensors are on a device.
"""

import numpy as np

from instructions import from_bf16, to_bf16
from layers import EPSILON


class NumpyMath:
    """The few functions that NumPy and PyTorch spell in two ways."""

    def __init__(self, dtype="bf16"):
        self.is_half = dtype == "f16"

    def wide(self, codes):
        if codes.dtype == np.float64:  # numbers already
            return codes
        values = codes.view(np.float16) if self.is_half else from_bf16(codes)
        return values.astype(np.float64)

    def round(self, values):
        if self.is_half:
            return values.astype(np.float16).astype(np.float64)
        return from_bf16(to_bf16(values)).astype(np.float64)

    def integers(self, values, group):
        """The largest magnitude of each group of columns becomes 127, in f32."""
        result = np.zeros_like(values)
        for first in range(0, values.shape[1], group):
            part = values[:, first:first + group].astype(np.float32)
            largest = np.abs(part).max(1, keepdims=True)
            inverse = np.float32(127) / np.where(largest == 0, np.float32(1), largest)
            result[:, first:first + group] = (
                np.rint(part * inverse) * (largest / np.float32(127)).astype(np.float64))
        return result

    exp = staticmethod(np.exp)
    sqrt = staticmethod(np.sqrt)

    @staticmethod
    def zeros_like(values):
        return np.zeros_like(values)

    @staticmethod
    def number(array):
        return np.asarray(array, np.float64)

    @staticmethod
    def where(mask):
        return np.nonzero(mask)


class TorchMath:
    def __init__(self, torch, device, dtype="bf16"):
        self.torch, self.device = torch, device
        self.dtype = {"bf16": torch.bfloat16, "f16": torch.float16}[dtype]
        self.exp, self.sqrt = torch.exp, torch.sqrt
        self.zeros_like = torch.zeros_like

    def wide(self, values):
        if isinstance(values, np.ndarray):  # numbers already
            return self.number(values)
        return values.to(self.torch.float64)

    def round(self, values):
        return values.to(self.dtype).to(self.torch.float64)

    def integers(self, values, group):
        result = self.torch.zeros_like(values)
        for first in range(0, values.shape[1], group):
            part = values[:, first:first + group].to(self.torch.float32)
            largest = part.abs().amax(1, keepdim=True)
            inverse = 127 / self.torch.where(largest == 0, 1, largest)
            result[:, first:first + group] = (
                (part * inverse).round() * (largest / 127).to(self.torch.float64))
        return result

    def number(self, array):
        return self.torch.as_tensor(np.asarray(array)).to(self.device, self.torch.float64)

    def where(self, mask):
        return self.torch.nonzero(self.torch.as_tensor(mask).to(self.device), as_tuple=True)


def scores(x, weights, shape, math):
    """The operand of the layer, of its experts, and the scores of all experts."""
    hidden, _, experts, _ = shape
    x = math.round(math.number(x))
    spread = (x * x).mean(-1, keepdims=True) if isinstance(x, np.ndarray) else (
        (x * x).mean(-1, keepdim=True))
    f = math.round(x / math.sqrt(spread + EPSILON))
    router = math.wide(weights.tensor("router.weight", (experts, hidden)))
    logits = math.round(f @ router.T)
    e = math.exp(logits)
    return x, f, e / (e.sum(-1)[:, None])


def layer(x, weights, shape, ids, math):
    """Results f64 [tokens, hidden] for the experts `ids` [tokens, slots]."""
    hidden, width, experts, _ = shape
    x, f, score = scores(x, weights, shape, math)
    result = math.zeros_like(x)

    def operand(rows):
        return math.integers(rows, weights.group) if weights.group else rows

    chosen = np.zeros((len(ids), experts), bool)
    np.put_along_axis(chosen, ids.astype(np.int64), True, 1)
    total = (score * math.number(chosen)).sum(-1)
    for e in range(experts):
        if not chosen[:, e].any():
            continue
        tokens = math.where(chosen[:, e])[0]
        gate, up, down = (
            math.wide(weights.tensor(f"experts.{e}.{name}.weight", size))
            for name, size in (("gate", (width, hidden)), ("up", (width, hidden)),
                               ("down", (hidden, width))))
        g = math.round(operand(f[tokens]) @ gate.T)
        u = math.round(operand(f[tokens]) @ up.T)
        h = math.round(g / (1 + math.exp(-g)) * u)
        result[tokens] += (score[tokens, e] / total[tokens])[:, None] * (operand(h) @ down.T)
    return x + result


def error(found, expected):
    """In norm, relative to what the experts add."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def flips(score, ids):
    """Tokens for which the largest scores are others' than `ids`, and how far the
    nearest of them are from a tie."""
    slots = ids.shape[1]
    order = np.argsort(-score, axis=1, kind="stable")[:, :slots]
    other = [t for t in range(len(ids)) if set(order[t]) != set(ids[t])]
    gaps = [1 - score[t, ids[t]].min() / score[t, order[t]].min() for t in other]
    return len(other), max(gaps, default=0.0)
