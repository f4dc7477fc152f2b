"""Mixture-of-Transformers: parameters by modality, attention over all tokens."""

import attend as a
import harness as h

LAYERS, HIDDEN, FFN, ROWS = 2, 32, 24, 6


def shapes():
    result = {"embed.weight": (64, HIDDEN), "image.weight": (HIDDEN, 10),
              "norm.weight": (HIDDEN,)}
    widths = {"q": (32, HIDDEN), "k": (16, HIDDEN), "v": (16, HIDDEN), "o": (HIDDEN, 32)}
    for m in ("text", "image"):
        result[f"head.{m}.weight"] = (64, HIDDEN)
        for layer in range(LAYERS):
            p = f"layers.{layer}."
            result.update({f"{p}norm{i}.{m}.weight": (HIDDEN,) for i in (1, 2)})
            result.update({f"{p}attn.{c}.{m}.weight": s for c, s in widths.items()})
            result[f"{p}attn.q.{m}.bias"] = (32,)
            result.update(h.glu_shapes(f"{p}ffn.{m}.", HIDDEN, FFN))
    return result


def draw(rng, length):
    """Text, and where there is room for it six rows of an image inside it."""
    tokens = rng.integers(0, 64, length)
    if length < 2 * ROWS:
        return [("--ids", "text", tokens)]
    rows = rng.standard_normal((ROWS, 10)).astype(h.np.float32)
    return [("--ids", "text", tokens[:3]), ("--raw", "image", rows),
            ("--ids", "text", tokens[3 + ROWS:])]


def forward(w, parts, apart=False, theta=1e2):
    x, kinds = [], []
    for _, m, data in parts:
        x.append(w["embed.weight"][data] if m == "text"
                 else h.linear(data.astype(h.np.float64), w["image.weight"]))
        kinds += [m] * len(x[-1])
    x, kinds = h.np.concatenate(x), h.np.array(kinds)

    def each(function):
        """function(m) of all rows, and of each row that of its modality."""
        return h.np.where((kinds == "image")[:, None], function("image"), function("text"))

    def mask(q, k):
        # Not the model: towers that see only their own modality.
        return (k <= q) & ((kinds[q] == kinds[k]) | (not apart))

    for layer in range(LAYERS):
        p = f"layers.{layer}."
        n = each(lambda m: h.rms_norm(x, w[f"{p}norm1.{m}.weight"]))
        q, k, v = (each(lambda m: h.linear(n, w[f"{p}attn.{c}.{m}.weight"],
                                           w.get(f"{p}attn.{c}.{m}.bias"))) for c in "qkv")
        q, k = (a.turn(y.reshape(len(x), -1, 8), a.frequencies(theta, 8)) for y in (q, k))
        y = a.mix(q, k, v.reshape(len(x), -1, 8), 8 ** -0.5, mask)
        x = x + each(lambda m: h.linear(y, w[f"{p}attn.o.{m}.weight"]))
        f = each(lambda m: h.rms_norm(x, w[f"{p}norm2.{m}.weight"]))
        x = x + each(lambda m: h.glu_of(w, f"{p}ffn.{m}.")(f))
    n = h.rms_norm(x, w["norm.weight"])
    return each(lambda m: h.linear(n, w[f"head.{m}.weight"]))


SYSTEM = h.System(
    "mot", "Mixture-of-Transformers", "arXiv:2411.04996",
    "every map and norm is that of the token's modality; attention joins all tokens",
    shapes(), forward,
    [h.Knob("theta", "theta = 1e2", "theta = 1e1", {"theta": 1e1}),
     h.Knob("joint attention", None, None, {"apart": True})],
    draw=draw)

if __name__ == "__main__":
    h.main(SYSTEM)
