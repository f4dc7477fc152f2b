"""Mixtral of Experts: the two largest logits, softmax over them."""

import harness as h

LAYERS, EXPERTS, HIDDEN, FFN = 2, 8, 32, 16


def shapes():
    result = h.decoder_shapes(LAYERS)
    for layer in range(LAYERS):
        result[f"layers.{layer}.router.weight"] = (EXPERTS, HIDDEN)
        for e in range(EXPERTS):
            result.update(h.glu_shapes(f"layers.{layer}.experts.{e}.", HIDDEN, FFN))
    return result


def forward(w, tokens, k=2, renormalise=True, scale=1.0, kv_heads=2, theta=1e4):
    def feed(p, f):
        weights = []
        for z in h.linear(f, w[p + "router.weight"]):
            chosen = h.top_k(z, k)
            # Order A of the literature: softmax of the selected logits. Without
            # renormalisation it would be a softmax of all of them.
            g = h.softmax(z[chosen]) if renormalise else h.softmax(z)[chosen]
            weights.append(dict(zip(chosen, scale * g)))
        return h.mix(f, weights, [h.glu_of(w, f"{p}experts.{e}.") for e in range(EXPERTS)])

    return h.decoder(w, tokens, LAYERS,
                     lambda p, n: h.attention(w, p + "attn.", n, 4, kv_heads, theta), feed)


SYSTEM = h.System(
    "mixtral", "Mixtral 8x7B", "arXiv:2401.04088",
    "softmax of the two largest logits; SwiGLU experts", shapes(), forward,
    [h.Knob("k", "top_k(2)", "top_k(3)", {"k": 3}),
     h.Knob("renorm", "renorm = sum", "renorm = none", {"renormalise": False}),
     h.Knob("scale", "scale = 1", "scale = 1.5", {"scale": 1.5}),
     h.Knob("theta", "theta = 1e4", "theta = 1e2", {"theta": 1e2})])

if __name__ == "__main__":
    h.main(SYSTEM)
