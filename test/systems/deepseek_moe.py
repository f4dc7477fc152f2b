"""DeepSeekMoE: fine-grained experts beside shared ones; dense first layer."""

import harness as h

LAYERS, EXPERTS, HIDDEN, FFN, SHARED, DENSE = 2, 16, 32, 8, 16, 48


def shapes():
    result = h.decoder_shapes(LAYERS)
    result.update(h.glu_shapes("layers.0.dense.", HIDDEN, DENSE))
    p = "layers.1."
    result[p + "router.weight"] = (EXPERTS, HIDDEN)
    result.update(h.glu_shapes(p + "shared.", HIDDEN, SHARED))
    for e in range(EXPERTS):
        result.update(h.glu_shapes(f"{p}experts.{e}.", HIDDEN, FFN))
    return result


def forward(w, tokens, k=6, renormalise=False, share=1.0):
    def feed(p, f):
        if p == "layers.0.":
            return h.glu_of(w, p + "dense.")(f)
        weights = []
        for s in h.softmax(h.linear(f, w[p + "router.weight"])):
            chosen = h.top_k(s, k)
            g = s[chosen]
            weights.append(dict(zip(chosen, g / g.sum() if renormalise else g)))
        routed = h.mix(f, weights,
                       [h.glu_of(w, f"{p}experts.{e}.") for e in range(EXPERTS)])
        # Two shared experts of width 8 are one of width 16.
        halves = [h.swiglu(f, w[p + "shared.gate.weight"][part],
                           w[p + "shared.up.weight"][part],
                           w[p + "shared.down.weight"][:, part])
                  for part in (slice(0, 8), slice(8, 16))]
        return routed + share * (halves[0] + halves[1])

    return h.decoder(w, tokens, LAYERS,
                     lambda p, n: h.attention(w, p + "attn.", n, 4, 2), feed)


SYSTEM = h.System(
    "deepseek_moe", "DeepSeekMoE 16B", "arXiv:2401.06066",
    "softmax of all logits, the k largest as they are, plus shared experts; layer 0 dense",
    shapes(), forward,
    [h.Knob("k", "top_k(6)", "top_k(3)", {"k": 3}),
     h.Knob("renorm", "renorm = none", "renorm = sum", {"renormalise": True}),
     h.Knob("shared", "x = x + glu(f, act = silu, width = shared",
            "x = x + 0.5 * glu(f, act = silu, width = shared", {"share": 0.5})])

if __name__ == "__main__":
    h.main(SYSTEM)
