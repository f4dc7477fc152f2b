"""Gemma 4's MoE block: a router on the residual itself, factors of experts, two branches."""

import harness as h

np = h.np
LAYERS, EXPERTS, HIDDEN, FFN, WIDE = 2, 8, 32, 16, 24


def shapes():
    result = h.decoder_shapes(LAYERS)
    for layer in range(LAYERS):
        p = f"layers.{layer}."
        result.update({p + "router.weight": (EXPERTS, HIDDEN), p + "router.norm.weight": (HIDDEN,),
                       p + "router.per_expert_scale": (EXPERTS,),
                       p + "experts.gate_up": (EXPERTS, 2 * FFN, HIDDEN),
                       p + "experts.down": (EXPERTS, HIDDEN, FFN)})
        result.update({f"{p}norm{i}.weight": (HIDDEN,) for i in range(3, 7)})
        result.update(h.glu_shapes(p + "dense.", HIDDEN, WIDE))
    return result


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def forward(w, tokens, k=3, factors=True, act=gelu, dense=True):
    def glu(x, gate, up, down):
        return h.linear(act(h.linear(x, gate)) * h.linear(x, up), down)

    def block(p, x):
        def norm(i, v):
            return h.rms_norm(v, w[f"{p}norm{i}.weight"])

        # The norm has no weight; then come a vector and one over the root of the width.
        z = h.linear(h.rms_norm(x, 1.0) * w[p + "router.norm.weight"] * HIDDEN**-0.5,
                     w[p + "router.weight"])
        weights = []
        for s in h.softmax(z):
            chosen = h.top_k(s, k)
            # The norm after the experts hides this division, but for its eps.
            g = s[chosen] / s[chosen].sum()
            weights.append(dict(zip(chosen, g * w[p + "router.per_expert_scale"][chosen]
                                    if factors else g)))
        experts = [lambda v, both=w[p + "experts.gate_up"][e], down=w[p + "experts.down"][e]:
                   glu(v, both[:FFN], both[FFN:], down) for e in range(EXPERTS)]
        y = norm(5, h.mix(norm(3, x), weights, experts))
        if dense:
            d = norm(2, x)
            y = y + norm(4, glu(d, *(w[f"{p}dense.{name}.weight"]
                                     for name in ("gate", "up", "down"))))
        return norm(6, y)

    x = w["embed.weight"][tokens]
    for layer in range(LAYERS):
        p = f"layers.{layer}."
        x = x + h.attention(w, p + "attn.", h.rms_norm(x, w[p + "norm1.weight"]), 4, 2)
        x = x + block(p, x)
    return h.linear(h.rms_norm(x, w["norm.weight"]), w["head.weight"])


SYSTEM = h.System(
    "gemma4", "Gemma 4's MoE block (attention is Llama's here)", "transformers, models/gemma4",
    "a router on the normed residual; softmax, the k largest over their sum, times a factor of "
    "each expert; a dense network beside the experts, each with norms of its own; gelu(tanh)",
    shapes(), forward,
    [h.Knob("k", "top_k(3)", "top_k(2)", {"k": 2}),
     h.Knob("factors", None, None, {"factors": False}),
     h.Knob("activation", "gelu(tanh)", "silu", {"act": h.silu}),
     h.Knob("dense branch", None, None, {"dense": False})], products=26)

if __name__ == "__main__":
    h.main(SYSTEM)
