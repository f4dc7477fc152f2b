"""Qwen1.5-MoE: a shared expert behind a sigmoid gate."""

import harness as h

LAYERS, EXPERTS, HIDDEN, FFN, SHARED = 2, 12, 32, 8, 24


def shapes():
    result = h.decoder_shapes(LAYERS, bias=True)
    for layer in range(LAYERS):
        p = f"layers.{layer}."
        result[p + "router.weight"] = (EXPERTS, HIDDEN)
        result[p + "shared.switch.weight"] = (1, HIDDEN)
        result.update(h.glu_shapes(p + "shared.", HIDDEN, SHARED))
        for e in range(EXPERTS):
            result.update(h.glu_shapes(f"{p}experts.{e}.", HIDDEN, FFN))
    return result


def forward(w, tokens, k=4, renormalise=False, gate=h.sigmoid, bias=True):
    def feed(p, f):
        weights = []
        for s in h.softmax(h.linear(f, w[p + "router.weight"])):
            chosen = h.top_k(s, k)
            g = s[chosen]
            weights.append(dict(zip(chosen, g / g.sum() if renormalise else g)))
        routed = h.mix(f, weights,
                       [h.glu_of(w, f"{p}experts.{e}.") for e in range(EXPERTS)])
        share = gate(h.linear(f, w[p + "shared.switch.weight"]))
        return routed + share * h.glu_of(w, p + "shared.")(f)

    return h.decoder(w, tokens, LAYERS,
                     lambda p, n: h.attention(w, p + "attn.", n, 4, 2, bias=bias), feed)


SYSTEM = h.System(
    "qwen15_moe", "Qwen1.5-MoE-A2.7B", "transformers, models/qwen2_moe",
    "softmax of all logits, the k largest as they are, plus sigmoid(w x) times a shared expert",
    shapes(), forward,
    [h.Knob("k", "top_k(4)", "top_k(2)", {"k": 2}),
     h.Knob("renorm", "renorm = none", "renorm = sum", {"renormalise": True}),
     h.Knob("shared gate", "sigmoid(linear", "tanh(linear", {"gate": h.np.tanh}),
     h.Knob("attention biases", None, None, {"bias": False})])

if __name__ == "__main__":
    h.main(SYSTEM)
