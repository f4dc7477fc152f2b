"""GShard: two experts per token and a capacity, first choices first."""

import harness as h

np = h.np
LAYERS, EXPERTS, HIDDEN, FFN = 2, 8, 32, 16


def shapes():
    result = h.decoder_shapes(LAYERS)
    for layer in range(LAYERS):
        p = f"layers.{layer}."
        result[p + "router.weight"] = (EXPERTS, HIDDEN)
        for e in range(EXPERTS):
            result.update({f"{p}experts.{e}.up.weight": (FFN, HIDDEN),
                           f"{p}experts.{e}.down.weight": (HIDDEN, FFN)})
    return result


def forward(w, tokens, k=2, factor=0.75, multiple=3, slot_major=True):
    def expert(p, e):
        q = f"{p}experts.{e}."
        return lambda x: h.linear(np.maximum(h.linear(x, w[q + "up.weight"]), 0),
                                  w[q + "down.weight"])

    def feed(p, f):
        scores = h.softmax(h.linear(f, w[p + "router.weight"]))
        chosen = [h.top_k(s, k) for s in scores]
        h.margins += [float(s[c[0]] - s[c[1]]) for s, c in zip(scores, chosen)]
        weights = [{} for _ in chosen]
        capacity = int(np.ceil(len(f) * k * factor / EXPERTS / multiple)) * multiple
        taken = np.zeros(EXPERTS, int)
        pairs = [(s, t) for s in range(k) for t in range(len(f))]
        for s, t in pairs if slot_major else sorted(pairs, key=lambda pair: pair[1]):
            e = chosen[t][s]
            if taken[e] < capacity:
                taken[e] += 1
                weights[t][e] = scores[t][e] / scores[t][chosen[t]].sum()
        return h.mix(f, weights, [expert(p, e) for e in range(EXPERTS)])

    return h.decoder(w, tokens, LAYERS,
                     lambda p, n: h.attention(w, p + "attn.", n, 4, 2), feed)


SYSTEM = h.System(
    "gshard", "GShard (the second choice is not drawn at random)", "arXiv:2006.16668",
    "the two largest probabilities over their sum; an expert takes as many tokens of a "
    "sequence as its capacity, first choices before second ones",
    shapes(), forward,
    [h.Knob("factor", "slots(0.75,", "slots(1.5,", {"factor": 1.5}),
     h.Knob("multiple", "multiple = 3, ", "", {"multiple": 1}),
     h.Knob("no capacity", "capacity = slots(0.75, multiple = 3, order = token, "
            "overflow = drop)", "capacity = none", {"factor": 1e3}),
     h.Knob("order", None, None, {"slot_major": False})])

if __name__ == "__main__":
    h.main(SYSTEM)
