"""ERNIE 4.5: a selection bias on a softmax, a least divisor, biases in all networks."""

import harness as h

LAYERS, EXPERTS, HIDDEN, FFN = 2, 8, 32, 16


def biased_shapes(prefix, width):
    return {**h.glu_shapes(prefix, HIDDEN, width), f"{prefix}gate.bias": (width,),
            f"{prefix}up.bias": (width,), f"{prefix}down.bias": (HIDDEN,)}


def shapes():
    result = h.decoder_shapes(LAYERS)
    for layer in range(LAYERS):
        p = f"layers.{layer}."
        result.update({p + "router.weight": (EXPERTS, HIDDEN), p + "statics.bias": (1, EXPERTS)})
        result.update(biased_shapes(p + "shared.", 2 * FFN))
        for e in range(EXPERTS):
            result.update(biased_shapes(f"{p}experts.{e}.", FFN))
    return result


def forward(w, tokens, k=3, least=0.45, select_bias=True, biases=("gate", "up", "down"),
            shared=True):
    def glu(prefix):
        def part(x, name):
            return h.linear(x, w[f"{prefix}{name}.weight"],
                            w[f"{prefix}{name}.bias"] if name in biases else None)
        return lambda x: part(h.silu(part(x, "gate")) * part(x, "up"), "down")

    def feed(p, f):
        weights = []
        for s in h.softmax(h.linear(f, w[p + "router.weight"])):
            chosen = h.top_k(s + w[p + "statics.bias"][0] if select_bias else s, k)
            g = s[chosen]
            weights.append(dict(zip(chosen, g / max(g.sum(), least))))
        y = h.mix(f, weights, [glu(f"{p}experts.{e}.") for e in range(EXPERTS)])
        return y + glu(p + "shared.")(f) if shared else y

    return h.decoder(w, tokens, LAYERS,
                     lambda p, n: h.attention(w, p + "attn.", n, 4, 2), feed)


SYSTEM = h.System(
    "ernie45", "ERNIE 4.5's networks (rotary style of Llama here)",
    "transformers, models/ernie4_5_moe",
    "softmax; rank = score + bias; weights are the scores over their sum, at least a number; "
    "biases in the experts and in the shared one",
    shapes(), forward,
    [h.Knob("k", "top_k(3)", "top_k(2)", {"k": 2}),
     h.Knob("least divisor", "at_least(0.45)", "at_least(1e-12)", {"least": 1e-12}),
     h.Knob("selection bias", None, None, {"select_bias": False}),
     h.Knob("gate bias", None, None, {"biases": ("up", "down")}),
     h.Knob("up bias", None, None, {"biases": ("gate", "down")}),
     h.Knob("down bias", None, None, {"biases": ("gate", "up")}),
     h.Knob("shared", None, None, {"shared": False})])

if __name__ == "__main__":
    h.main(SYSTEM)
