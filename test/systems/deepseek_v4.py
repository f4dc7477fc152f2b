"""DeepSeek-V4: scores are roots of softplus; the gates of all networks are clamped."""

import harness as h

np = h.np
LAYERS, EXPERTS, HIDDEN, FFN = 2, 8, 32, 16


def shapes():
    result = h.decoder_shapes(LAYERS)
    for layer in range(LAYERS):
        p = f"layers.{layer}."
        result[p + "router.weight"] = (EXPERTS, HIDDEN)
        # The first layer has a table instead of a selection bias.
        if layer == 0:
            result[p + "router.table"] = (64, 3)
        else:
            result[p + "router.bias"] = (EXPERTS,)
        result.update(h.glu_shapes(p + "shared.", HIDDEN, FFN))
        for e in range(EXPERTS):
            result.update(h.glu_shapes(f"{p}experts.{e}.", HIDDEN, FFN))
    return result


def forward(w, tokens, k=3, score="root", scale=1.5, limit=0.75, side="before", use_bias=True,
            use_table=True):
    def glu(prefix):
        gate, up, down = (w[f"{prefix}{name}.weight"] for name in ("gate", "up", "down"))

        def run(x):
            g, u = h.linear(x, gate), h.linear(x, up)
            if limit:
                g = np.minimum(h.silu(g), limit) if side == "after" else h.silu(
                    np.minimum(g, limit))
                return h.linear(g * np.clip(u, -limit, limit), down)
            return h.linear(h.silu(g) * u, down)
        return run

    def feed(p, f):
        weights = []
        for token, z in zip(tokens, h.linear(f, w[p + "router.weight"])):
            s = np.sqrt(np.log1p(np.exp(z))) if score == "root" else h.sigmoid(z)
            if p + "router.table" in w:
                chosen = (w[p + "router.table"][token].astype(int) if use_table
                          else np.arange(3))
            else:
                chosen = h.top_k(s + w[p + "router.bias"] if use_bias else s, k)
            g = s[chosen]
            weights.append(dict(zip(chosen, scale * g / (g.sum() + 1e-20))))
        routed = h.mix(f, weights, [glu(f"{p}experts.{e}.") for e in range(EXPERTS)])
        return routed + glu(p + "shared.")(f)

    return h.decoder(w, tokens, LAYERS,
                     lambda p, n: h.attention(w, p + "attn.", n, 4, 2), feed)


SYSTEM = h.System(
    "deepseek_v4", "DeepSeek-V4's gates and experts (attention is Llama's here)",
    "transformers, models/deepseek_v4",
    "the root of softplus; rank = score + bias; weights are the scores over their sum, times "
    "1.5; gates clamped from above, up values on both sides, in the shared expert as well; the "
    "first layer's experts stand in a table by token id",
    shapes(), forward,
    [h.Knob("k", "top_k(3)", "top_k(2)", {"k": 2}),
     h.Knob("score", "score = sqrt_softplus", "score = sigmoid", {"score": "sigmoid"}),
     h.Knob("side of the clamp", "before(0.75)", "after(0.75)", {"side": "after"}),
     h.Knob("clamp", "before(0.75)", "none", {"limit": None}),
     h.Knob("table", None, None, {"use_table": False}),
     h.Knob("bias", None, None, {"use_bias": False})])

if __name__ == "__main__":
    h.main(SYSTEM)
