"""Trinity (afmoe): gated outputs; the experts are a SwiGLU here."""

import attend as a
import harness as h

LAYERS = 2


def shapes():
    return a.dense_shapes(LAYERS, lambda p: a.qkv_shapes(p, 4, 2, 8, extra=[
        ("q_norm.weight", (8,)), ("k_norm.weight", (8,)), ("gate.weight", (32, 32))]))


def forward(w, tokens, size=6, theta=1e2, gate=True):
    def attention(p, n):
        q, k, v = (a.project(w, p + "attn.", c, n, g) for c, g in zip("qkv", (4, 2, 2)))
        q, k = (a.normed(x, w[f"{p}attn.{c}_norm.weight"]) for x, c in ((q, "q"), (k, "k")))
        local = int(p.split(".")[1]) % 2 == 0
        if local:
            q, k = (a.turn(x, a.frequencies(theta, 8)) for x in (q, k))
        y = a.mix(q, k, v, 8 ** -0.5, a.window(size) if local else a.causal)
        if gate:
            y = a.gated(y, h.linear(n, w[p + "attn.gate.weight"]))
        return a.output(w, p + "attn.", y)

    return h.decoder(w, tokens, LAYERS, attention,
                     lambda p, f: h.glu_of(w, p)(f))


SYSTEM = h.System(
    "trinity", "Trinity's attention (afmoe)",
    "transformers, models/afmoe",
    "the result of every head times the sigmoid of a map of the input",
    shapes(), forward,
    [h.Knob("window", "window(6)", "window(3)", {"size": 3}),
     h.Knob("theta", "theta = 1e2", "theta = 1e1", {"theta": 1e1}),
     h.Knob("gate", None, None, {"gate": False})])

if __name__ == "__main__":
    h.main(SYSTEM)
