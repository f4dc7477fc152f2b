"""OLMoE: softmax over all experts, top-k without renormalisation, q and k normed."""

import harness as h

LAYERS, EXPERTS, HIDDEN, FFN = 2, 16, 32, 8


def shapes():
    result = h.decoder_shapes(LAYERS, qk_norm=True)
    for layer in range(LAYERS):
        result[f"layers.{layer}.router.weight"] = (EXPERTS, HIDDEN)
        for e in range(EXPERTS):
            result.update(h.glu_shapes(f"layers.{layer}.experts.{e}.", HIDDEN, FFN))
    return result


def forward(w, tokens, k=4, renormalise=False, qk_eps=(1e-6, 1e-6)):
    def feed(p, f):
        weights = []
        for s in h.softmax(h.linear(f, w[p + "router.weight"])):
            chosen = h.top_k(s, k)
            g = s[chosen]
            weights.append(dict(zip(chosen, g / g.sum() if renormalise else g)))
        return h.mix(f, weights, [h.glu_of(w, f"{p}experts.{e}.") for e in range(EXPERTS)])

    return h.decoder(w, tokens, LAYERS,
                     lambda p, n: h.attention(w, p + "attn.", n, 4, 2, qk_norm=qk_eps), feed)


SYSTEM = h.System(
    "olmoe", "OLMoE-1B-7B", "arXiv:2409.02060",
    "softmax of all logits, the k largest as they are; q and k normed over their width",
    shapes(), forward,
    [h.Knob("k", "top_k(4)", "top_k(2)", {"k": 2}),
     h.Knob("renorm", "renorm = none", "renorm = sum", {"renormalise": True}),
     h.Knob("k norm", 'attn.k_norm.weight", eps = eps', 'attn.k_norm.weight", eps = 1e0',
            {"qk_eps": (1e-6, 1.0)})])

if __name__ == "__main__":
    h.main(SYSTEM)
