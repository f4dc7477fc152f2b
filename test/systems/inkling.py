"""Inkling: shared experts with weights of their own, normalised with those of the others."""

import harness as h

np = h.np
LAYERS, EXPERTS, SHARED, HIDDEN, FFN = 2, 8, 2, 32, 16


def shapes():
    result = h.decoder_shapes(LAYERS)
    for layer in range(LAYERS):
        p = f"layers.{layer}."
        result.update({p + "router.weight": (EXPERTS + SHARED, HIDDEN),
                       p + "router.bias": (EXPERTS,), p + "router.global_scale": (1,),
                       p + "experts.w13": (EXPERTS + SHARED, 2 * FFN, HIDDEN),
                       p + "experts.w2": (EXPERTS + SHARED, HIDDEN, FFN)})
    return result


def forward(w, tokens, k=2, jointly=True, use_bias=True, use_scale=True, factor=2.5):
    def expert(p, e):
        both, down = w[p + "experts.w13"][e], w[p + "experts.w2"][e]
        return lambda x: h.linear(h.silu(x @ both[0::2].T) * (x @ both[1::2].T), down)

    def feed(p, f):
        weights = []
        for z in h.linear(f, w[p + "router.weight"]):
            s = h.sigmoid(z[:EXPERTS])
            chosen = list(h.top_k(s + w[p + "router.bias"] if use_bias else s, k))
            chosen += range(EXPERTS, EXPERTS + SHARED)
            # A softmax of the logarithms of sigmoids.
            g = h.softmax(-np.log1p(np.exp(-z[chosen]))) if jointly else h.sigmoid(z[chosen])
            if use_scale:
                g = g * w[p + "router.global_scale"][0]
            weights.append(dict(zip(chosen, factor * g)))
        return h.mix(f, weights, [expert(p, e) for e in range(EXPERTS + SHARED)])

    return h.decoder(w, tokens, LAYERS,
                     lambda p, n: h.attention(w, p + "attn.", n, 4, 2), feed)


SYSTEM = h.System(
    "inkling", "Inkling's experts (attention is Llama's here)", "transformers, models/inkling",
    "sigmoid; rank = score + bias; the weights of the selected and of the shared experts, over "
    "their common sum, times a stored and a given number",
    shapes(), forward,
    [h.Knob("k", "top_k(2)", "top_k(3)", {"k": 3}),
     h.Knob("renorm", "renorm = sum", "renorm = none", {"jointly": False}),
     h.Knob("stored scale", None, None, {"use_scale": False}),
     h.Knob("factor", "2.5 * experts", "experts", {"factor": 1.0}),
     h.Knob("bias", None, None, {"use_bias": False})])

if __name__ == "__main__":
    h.main(SYSTEM)
