"""Gemma-4: k = v, normed values, proportional rotary positions; a soft cap."""

import attend as a
import harness as h

LAYERS = 2


def shapes():
    return a.dense_shapes(LAYERS, lambda p: {
        name: shape for name, shape in a.qkv_shapes(p, 4, 2, 8, extra=[
            ("q_norm.weight", (8,)), ("k_norm.weight", (8,))]).items()
        if not name.endswith("v.weight")})


def forward(w, tokens, scale=1.0, softcap=2.0, turned=4, eps=1e-6):
    def attention(p, n):
        q, k = (a.project(w, p + "attn.", c, n, g) for c, g in zip("qk", (4, 2)))
        v = a.normed(k, eps=eps)
        q, k = (a.normed(x, w[f"{p}attn.{c}_norm.weight"]) for x, c in ((q, "q"), (k, "k")))
        f = a.proportional(1e2, 8, turned)
        y = a.mix(a.turn(q, f), a.turn(k, f), v, scale, softcap=softcap)
        return a.output(w, p + "attn.", y)

    return h.decoder(w, tokens, LAYERS, attention,
                     lambda p, f: h.glu_of(w, p)(f))


SYSTEM = h.System(
    "gemma4_attention", "Gemma-4's attention, with a soft cap",
    "transformers, models/gemma4; arXiv:2408.00118",
    "values are unit-norm keys; scores are not scaled and bend at 2; 2 of 4 pairs rotate",
    shapes(), forward,
    [h.Knob("scale", "scale = 1", "scale = 0.5", {"scale": 0.5}),
     h.Knob("cap", "softcap = 2.0", "softcap = 8.0", {"softcap": 8.0}),
     h.Knob("pairs", "proportional(dims = 4)", "proportional(dims = 6)", {"turned": 6}),
     h.Knob("value norm", "v_norm = rms_norm(eps = eps", "v_norm = rms_norm(eps = 1", {"eps": 1.0})])

if __name__ == "__main__":
    h.main(SYSTEM)
