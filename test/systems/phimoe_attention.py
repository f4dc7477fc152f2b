"""Phi-3.5-MoE: LongRoPE (arXiv:2402.13753) by the length of the sequence in each step."""

import attend as a
import harness as h

LAYERS = 2


def shapes():
    return a.dense_shapes(LAYERS, lambda p: a.qkv_shapes(p, 4, 2, 8, bias="qkvo"))


def forward(w, tokens, steps=None, long=(1, 2, 4.5, 8), original=8, magnitude=1.1,
            long_magnitude=1.3):
    def attention(p, n):
        q, k, v = (a.project(w, p + "attn.", c, n, g) for c, g in zip("qkv", (4, 2, 2)))
        is_long = [length > original for length in a.lengths_by_token(len(n), steps)]
        f = [a.frequencies(1e2, 8) / h.np.array(long if x else (1.0, 1.1, 1.3, 1.5))
             for x in is_long]
        m = [long_magnitude if x else magnitude for x in is_long]
        y = a.mix(a.turn(q, f, "half", m), a.turn(k, f, "half", m), v, 8 ** -0.5)
        return a.output(w, p + "attn.", y)

    return h.decoder(w, tokens, LAYERS, attention,
                     lambda p, f: h.glu_of(w, p)(f))


SYSTEM = h.System(
    "phimoe_attention", "Phi-3.5-MoE's attention",
    "arXiv:2402.13753",
    "frequencies over short or long factors, cosines and sines times a magnitude, by the length",
    shapes(), forward,
    [h.Knob("long", "[1, 2, 4.5, 8]", "[1, 2, 2, 2]", {"long": (1, 2, 2, 2)}),
     h.Knob("original", "original = 8", "original = 17", {"original": 17}),
     h.Knob("long magnitude", ", long_magnitude = 1.3", "", {"long_magnitude": 1.1})],
    steps=(4, 4, 1, 7, 1), by_step=True)

if __name__ == "__main__":
    h.main(SYSTEM)
