"""Doge: scores of a key get a number that its value says; stored vectors in the residuals."""

import attend as a
import harness as h

np = h.np
LAYERS = 2


def shapes():
    result = a.dense_shapes(LAYERS, lambda p: a.qkv_shapes(p, 4, 2, 8, extra=[
        ("dt.weight", (2, 16)), ("dt.bias", (2,)), ("a", (2,)), ("q_norm.weight", (8,)),
        ("k_norm.weight", (8,))]))
    for layer in range(LAYERS):
        p = f"layers.{layer}."
        result.update({p + "residual1": (32,), p + "residual2": (32,), p + "number": (1,),
                       p + "divisor": (32,)})
    return result


def forward(w, tokens, theta=1e2, biased=True, factors=True, number=True, softplus=True):
    def attention(p, n):
        q, k, v = (a.project(w, p, c, n, g) for c, g in zip("qkv", (4, 2, 2)))
        q, k = a.normed(q, w[p + "q_norm.weight"]), a.normed(k, w[p + "k_norm.weight"])
        f = a.frequencies(theta, 8)
        d = h.linear(v.reshape(len(n), -1), w[p + "dt.weight"], w[p + "dt.bias"])
        d = np.exp(w[p + "a"] * (np.log1p(np.exp(d)) if softplus else np.maximum(d, 0.0)))
        return a.output(w, p, a.mix(a.turn(q, f), a.turn(k, f), v, 8 ** -0.5,
                                    key_bias=d if biased else None))

    x = w["embed.weight"][tokens]
    for layer in range(LAYERS):
        p = f"layers.{layer}."
        y = attention(p + "attn.", h.rms_norm(x, w[p + "norm1.weight"]))
        x = (w[p + "residual1"] if factors else 1.0) * x + y
        g = h.glu_of(w, p)(h.rms_norm(x, w[p + "norm2.weight"]))
        x = (x - w[p + "residual2"]) * (w[p + "number"] if number else 1.0) \
            + g / (2.0 + w[p + "divisor"])
    return h.linear(h.rms_norm(x, w["norm.weight"]), w["head.weight"])


SYSTEM = h.System(
    "doge_attention", "Doge's attention (all keys kept)", "arXiv:2412.11834; transformers, models/doge",
    "exp(a softplus(W v)) of each key is added to its scores; q and k normed by head; stored "
    "vectors multiply residuals",
    shapes(), forward,
    [h.Knob("theta", "theta = 1e2", "theta = 1e1", {"theta": 1e1}),
     h.Knob("key bias", None, None, {"biased": False}),
     h.Knob("softplus", "softplus(d)", "relu(d)", {"softplus": False}),
     h.Knob("factors", None, None, {"factors": False}),
     h.Knob("number", None, None, {"number": False})],
    steps=(4, 4, 1, 7, 1))

if __name__ == "__main__":
    h.main(SYSTEM)
