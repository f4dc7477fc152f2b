"""Dynamic MoE ("Harder Tasks Need More Experts"): top-p routing."""

import harness as h

LAYERS, EXPERTS, HIDDEN, FFN = 2, 8, 32, 16


def shapes():
    result = h.decoder_shapes(LAYERS)
    for layer in range(LAYERS):
        result[f"layers.{layer}.router.weight"] = (EXPERTS, HIDDEN)
        for e in range(EXPERTS):
            result.update(h.glu_shapes(f"layers.{layer}.experts.{e}.", HIDDEN, FFN))
    return result


def top_p(s, p):
    """The ids that reach the share p of the scores."""
    order = h.np.argsort(-s, kind="stable")
    sums = h.np.cumsum(s[order])
    h.margins.extend(abs(sums - p))
    above = h.np.nonzero(sums > p)[0]
    kept = above[0] + 1 if len(above) else len(order)
    if kept < len(order):
        h.margins.append(s[order[kept - 1]] - s[order[kept]])
    return order[:kept]


def forward(w, tokens, p=0.4, renormalise=False, weigh=None):
    def feed(prefix, f):
        weights = []
        for z in h.linear(f, w[prefix + "router.weight"]):
            s = h.softmax(z)
            chosen = top_p(s, p)
            g = s[chosen] if weigh is None else weigh(z[chosen])
            weights.append(dict(zip(chosen, g / g.sum() if renormalise else g)))
        return h.mix(f, weights,
                     [h.glu_of(w, f"{prefix}experts.{e}.") for e in range(EXPERTS)])

    return h.decoder(w, tokens, LAYERS,
                     lambda prefix, n: h.attention(w, prefix + "attn.", n, 4, 2), feed)


SYSTEM = h.System(
    "dynamic_moe", "Dynamic MoE (top-p routing)", "arXiv:2403.07652",
    "experts in falling order of probability until their sum exceeds p; weights as they are",
    shapes(), forward,
    [h.Knob("p", "top_p(0.4", "top_p(0.7", {"p": 0.7}),
     h.Knob("renorm", "renorm = none", "renorm = sum", {"renormalise": True}),
     h.Knob("weigh by softmax of the selected", "weigh = score", "weigh = softmax(logits)",
            {"weigh": h.softmax}),
     h.Knob("weigh by sigmoid", "weigh = score", "weigh = sigmoid(logits)",
            {"weigh": h.sigmoid}),
     h.Knob("weigh by 1", "weigh = score", "weigh = 1", {"weigh": h.np.ones_like})])

if __name__ == "__main__":
    h.main(SYSTEM)
