"""Attention in float64 NumPy, with what published models add to it.

Written from publications and from the formulas of the models' own code, one function per
thing. Positions are 0, 1, .. in the order of the rows.
"""

import math

import numpy as np

from harness import linear, rms_norm, sigmoid, softmax


# --------------------------------------------------------------------------------------
# Frequencies of the D/2 pairs of D rotated elements
# --------------------------------------------------------------------------------------

def frequencies(theta, d):
    return theta ** (-np.arange(0, d, 2) / d)


def yarn(theta, d, factor, original, fast, slow, truncate=True):
    """arXiv:2309.00071, section 3.2."""
    f = frequencies(theta, d)

    def pair(turns):  # the pair that turns this often within the original length
        return d * math.log(original / (2 * math.pi * turns)) / (2 * math.log(theta))

    low, high = pair(fast), pair(slow)
    if truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, d - 1)
    stretch = np.clip((np.arange(d // 2) - low) / max(high - low, 0.001), 0, 1)
    return f / factor * stretch + f * (1 - stretch)


def llama3(theta, d, factor, low, high, original):
    f = frequencies(theta, d)
    turns = original * f / (2 * math.pi)
    smooth = np.clip((turns - low) / (high - low), 0, 1)
    return (1 - smooth) * f / factor + smooth * f


def proportional(theta, d, turned, factor=1.0):
    f = frequencies(theta, d) / factor
    f[turned // 2:] = 0
    return f


def ntk(theta, d, factor, original, length):
    """Dynamic: the base grows with the length."""
    if length <= original:
        return frequencies(theta, d)
    grown = theta * (factor * length / original - (factor - 1)) ** (d / (d - 2))
    return frequencies(grown, d)


def lengths_by_token(tokens, steps):
    """The length of the sequence in the step in which each token comes."""
    ends = np.cumsum(steps or [tokens])
    return [int(ends[ends > t].min()) for t in range(tokens)]


def turn(x, f, style="half", magnitude=1.0):
    """Rotates the first elements of each head; x is [T, heads, D]. f and magnitude are for
    all tokens or one per token."""
    tokens = len(x)
    angle = np.arange(tokens)[:, None] * np.broadcast_to(f, (tokens, np.shape(f)[-1]))
    m = np.broadcast_to(np.reshape(magnitude, (-1, 1)), (tokens, 1))
    c, s = (m * np.cos(angle))[:, None], (m * np.sin(angle))[:, None]
    half = angle.shape[1]
    if style == "half":
        a, b = np.arange(half), np.arange(half) + half
    else:
        a, b = 2 * np.arange(half), 2 * np.arange(half) + 1
    y = x.copy()
    y[..., a] = x[..., a] * c - x[..., b] * s
    y[..., b] = x[..., b] * c + x[..., a] * s
    return y


# --------------------------------------------------------------------------------------
# Masks: (position of the query, position of the key) -> seen
# --------------------------------------------------------------------------------------

def causal(q, k):
    return k <= q


def window(size):
    return lambda q, k: (k <= q) & (k > q - size)


def chunked(size):
    return lambda q, k: (k <= q) & (k // size == q // size)


def full(q, k):
    return k == k


# --------------------------------------------------------------------------------------
# Attention
# --------------------------------------------------------------------------------------

def mix(q, k, v, scale, mask=causal, sinks=None, softcap=None, key_bias=None):
    """q [T, H, D], k [T, G, D], v [T, G, V] -> [T, H * V]; key_bias [T, G]."""
    tokens, heads, _ = q.shape
    position = np.arange(tokens)
    seen = mask(position[:, None], position[None, :])
    out = []
    for h in range(heads):
        g = h // (heads // k.shape[1])
        scores = scale * (q[:, h] @ k[:, g].T)
        if softcap:
            scores = softcap * np.tanh(scores / softcap)
        if key_bias is not None:
            scores = scores + key_bias[:, g]
        scores = np.where(seen, scores, -np.inf)
        if sinks is None:
            weights = softmax(scores)
        else:
            column = np.full((tokens, 1), sinks[h])
            weights = softmax(np.concatenate([scores, column], axis=1))[:, :-1]
        out.append(weights @ v[:, g])
    return np.concatenate(out, axis=1)


def project(w, prefix, name, x, heads):
    y = linear(x, w[f"{prefix}{name}.weight"], w.get(f"{prefix}{name}.bias"))
    return y.reshape(len(x), heads, -1)


def normed(x, weight=1.0, eps=1e-6, over="head"):
    if over == "all":
        return rms_norm(x.reshape(len(x), -1), weight, eps).reshape(x.shape)
    return rms_norm(x, weight, eps)


def output(w, prefix, y):
    return linear(y, w[prefix + "o.weight"], w.get(prefix + "o.bias"))


def gated(y, gate):
    """gate: one per element, or one per head."""
    return y * np.repeat(sigmoid(gate), y.shape[1] // gate.shape[1], axis=1)


def mla(w, prefix, x, heads, nope, rank, turned, scale, q_rank=True, q_scale=1.0,
        kv_scale=1.0, eps=1e-6):
    """Multi-head latent attention without the trick: keys and values of every head are
    made from the latent (arXiv:2405.04434, section 2.1). `turned` rotates [T, heads, R]."""
    tokens = len(x)
    if q_rank:
        a = rms_norm(linear(x, w[prefix + "q_a.weight"], w.get(prefix + "q_a.bias")),
                     w[prefix + "q_norm.weight"], eps)
        q = linear(a, w[prefix + "q_b.weight"])
    else:
        q = linear(x, w[prefix + "q.weight"])
    q = q_scale * q.reshape(tokens, heads, -1)
    kv = linear(x, w[prefix + "kv_a.weight"], w.get(prefix + "kv_a.bias"))
    latent = kv_scale * rms_norm(kv[:, :rank], w[prefix + "kv_norm.weight"], eps)
    made = linear(latent, w[prefix + "kv_b.weight"]).reshape(tokens, heads, -1)
    shared = turned(kv[:, None, rank:]).repeat(heads, axis=1)
    q = np.concatenate([q[..., :nope], turned(q[..., nope:])], axis=-1)
    k = np.concatenate([made[..., :nope], shared], axis=-1)
    return output(w, prefix, mix(q, k, made[..., nope:], scale))


def mla_shapes(prefix, hidden, heads, nope, turned, value, rank, q_rank=None, bias=False):
    shapes = {prefix + "kv_a.weight": (rank + turned, hidden),
              prefix + "kv_norm.weight": (rank,),
              prefix + "kv_b.weight": (heads * (nope + value), rank),
              prefix + "o.weight": (hidden, heads * value)}
    if q_rank:
        shapes.update({prefix + "q_a.weight": (q_rank, hidden),
                       prefix + "q_norm.weight": (q_rank,),
                       prefix + "q_b.weight": (heads * (nope + turned), q_rank)})
    else:
        shapes[prefix + "q.weight"] = (heads * (nope + turned), hidden)
    if bias:
        shapes.update({prefix + "kv_a.bias": (rank + turned,), prefix + "o.bias": (hidden,)})
        if q_rank:
            shapes[prefix + "q_a.bias"] = (q_rank,)
    return shapes


# --------------------------------------------------------------------------------------
# A decoder of attention and a SwiGLU
# --------------------------------------------------------------------------------------

VOCAB, HIDDEN, FFN = 64, 32, 24


def dense_shapes(layers, attention):
    """attention(prefix) -> the shapes of one attention."""
    shapes = {"embed.weight": (VOCAB, HIDDEN), "norm.weight": (HIDDEN,),
              "head.weight": (VOCAB, HIDDEN)}
    for layer in range(layers):
        p = f"layers.{layer}."
        shapes.update({p + "norm1.weight": (HIDDEN,), p + "norm2.weight": (HIDDEN,),
                       p + "gate.weight": (FFN, HIDDEN), p + "up.weight": (FFN, HIDDEN),
                       p + "down.weight": (HIDDEN, FFN)})
        shapes.update(attention(p + "attn."))
    return shapes


def qkv_shapes(prefix, heads, kv_heads, head, value=None, bias=(), extra=()):
    """`bias` names maps, `extra` is (name, shape)."""
    widths = {"q": heads * head, "k": kv_heads * head, "v": kv_heads * (value or head)}
    shapes = {f"{prefix}{name}.weight": (width, HIDDEN) for name, width in widths.items()}
    widths["o"] = HIDDEN
    shapes[prefix + "o.weight"] = (HIDDEN, heads * (value or head))
    shapes.update({f"{prefix}{name}.bias": (widths[name],) for name in bias})
    shapes.update({prefix + name: shape for name, shape in extra})
    return shapes
