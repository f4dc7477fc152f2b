"""Switch Transformers: one expert, weighted by its probability."""

import harness as h

LAYERS, EXPERTS, HIDDEN, FFN = 2, 8, 32, 32


def shapes():
    result = h.decoder_shapes(LAYERS)
    for layer in range(LAYERS):
        result[f"layers.{layer}.router.weight"] = (EXPERTS, HIDDEN)
        for e in range(EXPERTS):
            p = f"layers.{layer}.experts.{e}."
            result[p + "up.weight"] = (FFN, HIDDEN)
            result[p + "down.weight"] = (HIDDEN, FFN)
    return result


def forward(w, tokens, weighted=True, act=lambda x: h.np.maximum(x, 0.0)):
    def expert(p):
        return lambda x: h.linear(act(h.linear(x, w[p + "up.weight"])), w[p + "down.weight"])

    def feed(p, f):
        weights = []
        for s in h.softmax(h.linear(f, w[p + "router.weight"])):
            (best,) = h.top_k(s, 1)
            weights.append({best: s[best] if weighted else 1.0})
        return h.mix(f, weights, [expert(f"{p}experts.{e}.") for e in range(EXPERTS)])

    return h.decoder(w, tokens, LAYERS,
                     lambda p, n: h.attention(w, p + "attn.", n, 4, 2), feed)


SYSTEM = h.System(
    "switch", "Switch Transformer", "arXiv:2101.03961",
    "the most probable expert, times its probability; no capacity at these sizes",
    shapes(), forward,
    [h.Knob("weight", "weigh = score", "weigh = 1", {"weighted": False}),
     h.Knob("activation", "act = relu", "act = relu2",
            {"act": lambda x: h.np.maximum(x, 0.0) ** 2})])

if __name__ == "__main__":
    h.main(SYSTEM)
