"""DBRX: weights divided by their norm; experts stacked along rows."""

import harness as h

np = h.np
LAYERS, EXPERTS, HIDDEN, FFN = 2, 8, 32, 16


def shapes():
    result = h.decoder_shapes(LAYERS)
    for layer in range(LAYERS):
        p = f"layers.{layer}."
        result[p + "router.weight"] = (EXPERTS, HIDDEN)
        for name in ("w1", "v1", "w2"):
            result[f"{p}experts.{name}"] = (EXPERTS * FFN, HIDDEN)
    return result


def forward(w, tokens, k=3, order=2.0, swapped=False):
    def expert(p, e):
        gate, up, down = (w[f"{p}experts.{name}"][e * FFN : (e + 1) * FFN]
                          for name in ("w1", "v1", "w2"))
        if swapped:
            gate, up = up, gate
        return lambda x: (h.silu(x @ gate.T) * (x @ up.T)) @ down

    def feed(p, f):
        weights = []
        for s in h.softmax(h.linear(f, w[p + "router.weight"])):
            chosen = h.top_k(s, k)
            g = s[chosen]
            if order:
                g = g / (np.abs(g) ** order).sum() ** (1 / order)
            weights.append(dict(zip(chosen, g)))
        return h.mix(f, weights, [expert(p, e) for e in range(EXPERTS)])

    return h.decoder(w, tokens, LAYERS,
                     lambda p, n: h.attention(w, p + "attn.", n, 4, 2), feed)


SYSTEM = h.System(
    "dbrx", "DBRX's experts (norms and attention are Llama's here)",
    "transformers, models/dbrx",
    "softmax of all logits, the k largest over their norm of order p; all experts' rows in one "
    "matrix, the last one not transposed",
    shapes(), forward,
    [h.Knob("order 1", "norm(2)", "norm(1)", {"order": 1.0}),
     h.Knob("order 3", "norm(2)", "norm(3)", {"order": 3.0}),
     h.Knob("renorm", "norm(2)", "none", {"order": None}),
     h.Knob("gate and up", None, None, {"swapped": True})])

if __name__ == "__main__":
    h.main(SYSTEM)
