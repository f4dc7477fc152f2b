"""HMoE: experts of different widths."""

import harness as h

from dynamic_moe import top_p

LAYERS, HIDDEN = 2, 32
WIDTHS = [8, 8, 12, 16, 16, 20, 24, 40]


def shapes():
    result = h.decoder_shapes(LAYERS)
    for layer in range(LAYERS):
        result[f"layers.{layer}.router.weight"] = (len(WIDTHS), HIDDEN)
        for e, width in enumerate(WIDTHS):
            result.update(h.glu_shapes(f"layers.{layer}.experts.{e}.", HIDDEN, width))
    return result


def forward(w, tokens, p=0.6, k=None, act=h.silu):
    def expert(prefix):
        def run(x):
            hidden = act(h.linear(x, w[prefix + "gate.weight"]))
            return h.linear(hidden * h.linear(x, w[prefix + "up.weight"]),
                            w[prefix + "down.weight"])
        return run

    def feed(prefix, f):
        weights = []
        for s in h.softmax(h.linear(f, w[prefix + "router.weight"])):
            chosen = top_p(s, p) if k is None else h.top_k(s, k)
            weights.append(dict(zip(chosen, s[chosen])))
        return h.mix(f, weights,
                     [expert(f"{prefix}experts.{e}.") for e in range(len(WIDTHS))])

    return h.decoder(w, tokens, LAYERS,
                     lambda prefix, n: h.attention(w, prefix + "attn.", n, 4, 2), feed)


SYSTEM = h.System(
    "hmoe", "HMoE (heterogeneous experts)", "arXiv:2408.10681",
    "experts of eight widths (six different ones), chosen by top-p", shapes(), forward,
    [h.Knob("p", "top_p(0.6", "top_p(0.3", {"p": 0.3}),
     h.Knob("top-k instead", "top_p(0.6, until = crossing)", "top_k(2)", {"k": 2}),
     h.Knob("activation", "act = silu", "act = tanh", {"act": h.np.tanh})])

if __name__ == "__main__":
    h.main(SYSTEM)
