"""Llama 4: one expert, whose input is multiplied by the sigmoid of its logit."""

import harness as h

LAYERS, EXPERTS, HIDDEN, FFN = 2, 8, 32, 16


def shapes():
    result = h.decoder_shapes(LAYERS)
    for layer in range(LAYERS):
        p = f"layers.{layer}."
        result.update({p + "router.weight": (EXPERTS, HIDDEN),
                       p + "experts.gate_up": (EXPERTS, HIDDEN, 2 * FFN),
                       p + "experts.down": (EXPERTS, FFN, HIDDEN)})
        result.update(h.glu_shapes(p + "shared.", HIDDEN, FFN))
    return result


def forward(w, tokens, k=1, at="input", weigh="sigmoid", scale=1.0, shared=True):
    def feed(p, f):
        y = h.glu_of(w, p + "shared.")(f) if shared else h.np.zeros_like(f)
        for t, z in enumerate(h.linear(f, w[p + "router.weight"])):
            chosen = h.top_k(z, k)
            g = h.sigmoid(z[chosen]) if weigh == "sigmoid" else h.softmax(z[chosen])
            for e, weight in zip(chosen, scale * g):
                both = (weight if at == "input" else 1.0) * f[t] @ w[p + "experts.gate_up"][e]
                out = h.silu(both[:FFN]) * both[FFN:] @ w[p + "experts.down"][e]
                y[t] += out if at == "input" else weight * out
        return y

    return h.decoder(w, tokens, LAYERS,
                     lambda p, n: h.attention(w, p + "attn.", n, 4, 2), feed)


SYSTEM = h.System(
    "llama4", "Llama 4's experts (full attention here)", "transformers, models/llama4",
    "the largest logit; the expert reads sigmoid(logit) times its input; plus a shared expert",
    shapes(), forward,
    [h.Knob("k", "top_k(1)", "top_k(2)", {"k": 2}),
     h.Knob("where the weight acts", "apply = input", "apply = output", {"at": "output"}),
     h.Knob("weight", "sigmoid(logits)", "softmax(logits)", {"weigh": "softmax"}),
     h.Knob("scale", "scale = 1", "scale = 1.5", {"scale": 1.5}),
     h.Knob("shared", None, None, {"shared": False})])

if __name__ == "__main__":
    h.main(SYSTEM)
