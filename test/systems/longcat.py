"""LongCat-Flash: identity ("zero-computation") experts."""

import attend as a
import harness as h

LAYERS, REAL, IDLE, HIDDEN, FFN = 2, 8, 4, 32, 16


def shapes():
    result = h.decoder_shapes(LAYERS)
    result = {name: shape for name, shape in result.items() if ".attn." not in name}
    for layer in range(LAYERS):
        p = f"layers.{layer}."
        result.update(a.mla_shapes(p + "attn.", HIDDEN, 4, 4, 6, 6, 24, q_rank=12))
        result[p + "router.weight"] = (REAL + IDLE, HIDDEN)
        result[p + "router.bias"] = (REAL + IDLE,)
        for e in range(REAL):
            result.update(h.glu_shapes(f"{p}experts.{e}.", HIDDEN, FFN))
    return result


def forward(w, tokens, k=4, scale=6.0, idle=lambda x: x, renormalise=False, use_bias=True,
            q_scale=1.5, kv_scale=0.7):
    def feed(p, f):
        weights = []
        for s in h.softmax(h.linear(f, w[p + "router.weight"])):
            # The bias is of the size of a probability.
            chosen = h.top_k(s + w[p + "router.bias"] if use_bias else s, k)
            g = s[chosen]
            weights.append(dict(zip(chosen, scale * (g / g.sum() if renormalise else g))))
        experts = [h.glu_of(w, f"{p}experts.{e}.") for e in range(REAL)] + [idle] * IDLE
        return h.mix(f, weights, experts)

    def attention(p, n):
        return a.mla(w, p + "attn.", n, 4, 4, 24,
                     lambda x: a.turn(x, a.frequencies(1e2, 6), "pairs"), 10 ** -0.5,
                     q_scale=q_scale, kv_scale=kv_scale)

    return h.decoder(w, tokens, LAYERS, attention, feed)


SYSTEM = h.System(
    "longcat", "LongCat-Flash (one attention per layer)",
    "arXiv:2509.01322; transformers, models/longcat_flash",
    "softmax over real and identity experts, rank = score + bias, weights are 6 times the "
    "scores; an identity adds its weight times x; latent attention with factors on q and latent",
    shapes(), forward,
    [h.Knob("k", "top_k(4)", "top_k(2)", {"k": 2}),
     h.Knob("scale", "scale = 6", "scale = 1", {"scale": 1.0}),
     h.Knob("renorm", "renorm = none", "renorm = sum", {"renormalise": True}),
     h.Knob("zero experts", "identity()", "null()", {"idle": lambda x: 0.0 * x}),
     h.Knob("query scale", "q_scale = 1.5", "q_scale = 1", {"q_scale": 1.0}),
     h.Knob("latent scale", "kv_scale = 0.7", "kv_scale = 1", {"kv_scale": 1.0}),
     h.Knob("bias", None, None, {"use_bias": False})])

if __name__ == "__main__":
    h.main(SYSTEM)
