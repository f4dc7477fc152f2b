"""Hunyuan: norms of queries and keys after their rotation; dynamic NTK."""

import attend as a
import harness as h

LAYERS = 2


def shapes():
    return a.dense_shapes(LAYERS, lambda p: a.qkv_shapes(p, 4, 2, 8, extra=[
        ("q_norm.weight", (8,)), ("k_norm.weight", (8,))]))


def forward(w, tokens, steps=None, factor=2, original=8, late=True):
    def attention(p, n):
        q, k, v = (a.project(w, p + "attn.", c, n, g) for c, g in zip("qkv", (4, 2, 2)))
        f = [a.ntk(1e2, 8, factor, original, length)
             for length in a.lengths_by_token(len(n), steps)]

        def prepare(x, weight):
            if late:
                return a.normed(a.turn(x, f), weight)
            return a.turn(a.normed(x, weight), f)

        y = a.mix(prepare(q, w[p + "attn.q_norm.weight"]),
                  prepare(k, w[p + "attn.k_norm.weight"]), v, 8 ** -0.5)
        return a.output(w, p + "attn.", y)

    return h.decoder(w, tokens, LAYERS, attention,
                     lambda p, f: h.glu_of(w, p)(f))


SYSTEM = h.System(
    "hunyuan", "Hunyuan-A13B's attention",
    "transformers, models/hunyuan_v1_moe",
    "rotated, then normed with a weight; the base of the frequencies grows with the length",
    shapes(), forward,
    [h.Knob("factor", "factor = 2", "factor = 4", {"factor": 4}),
     h.Knob("original", "original = 8", "original = 12", {"original": 12}),
     h.Knob("order", "norm_after_rope = true", "norm_after_rope = false", {"late": False})],
    steps=(4, 4, 1, 7, 1), by_step=True)

if __name__ == "__main__":
    h.main(SYSTEM)
