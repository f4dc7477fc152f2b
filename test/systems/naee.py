"""NAEE ("Not all experts are equal"): skipping the second expert."""

import harness as h

LAYERS, EXPERTS, HIDDEN, FFN = 2, 8, 32, 16


def shapes():
    result = h.decoder_shapes(LAYERS)
    for layer in range(LAYERS):
        result[f"layers.{layer}.router.weight"] = (EXPERTS, HIDDEN)
        for e in range(EXPERTS):
            result.update(h.glu_shapes(f"layers.{layer}.experts.{e}.", HIDDEN, FFN))
    return result


def forward(w, tokens, k=2, share=0.5, renormalise=True, absolute=False):
    def feed(p, f):
        weights = []
        for s in h.softmax(h.linear(f, w[p + "router.weight"])):
            chosen = h.top_k(s, k)
            limit = share if absolute else share * s[chosen[0]]
            h.margins.append(h.np.abs(s[chosen] - limit).min())
            chosen = [e for e in chosen if s[e] >= limit]
            total = sum(s[e] for e in chosen) if renormalise else 1.0
            weights.append({e: s[e] / total for e in chosen})
        return h.mix(f, weights, [h.glu_of(w, f"{p}experts.{e}.") for e in range(EXPERTS)])

    return h.decoder(w, tokens, LAYERS,
                     lambda p, n: h.attention(w, p + "attn.", n, 4, 2), feed)


SYSTEM = h.System(
    "naee", "NAEE: Mixtral with experts skipped at run time", "arXiv:2402.14800",
    "the second expert is left out where its probability is below a share of the first one's; "
    "the rest is divided by its sum",
    shapes(), forward,
    [h.Knob("share", "ratio(0.5,", "ratio(0.8,", {"share": 0.8}),
     h.Knob("renorm", "renorm = sum)", "renorm = none)", {"renormalise": False}),
     h.Knob("three experts", "top_k(2)", "top_k(3)", {"k": 3}),
     h.Knob("fixed limit", "ratio(0.5, renorm = sum)", "below(0.25, renorm = sum)",
            {"share": 0.25, "absolute": True})])

if __name__ == "__main__":
    h.main(SYSTEM)
