"""MiMo-V2-Flash: widths of values, partial rotary positions (linear scaling added)."""

import attend as a
import harness as h

LAYERS = 2


def shapes():
    result = a.dense_shapes(LAYERS, lambda p: a.qkv_shapes(p, 4, 2, 12, value=5))
    return {**result, "layers.0.attn.sinks": (4,)}


def forward(w, tokens, dims=4, factor=2, style="half"):
    def attention(p, n):
        q, k, v = (a.project(w, p + "attn.", c, n, g) for c, g in zip("qkv", (4, 2, 2)))
        f = a.frequencies(1e2, dims) / factor
        local = int(p.split(".")[1]) % 2 == 0
        y = a.mix(a.turn(q, f, style), a.turn(k, f, style), v, 12 ** -0.5,
                  a.window(7) if local else a.causal, w[p + "attn.sinks"] if local else None)
        return a.output(w, p + "attn.", y)

    return h.decoder(w, tokens, LAYERS, attention,
                     lambda p, f: h.glu_of(w, p)(f))


SYSTEM = h.System(
    "mimo", "MiMo-V2-Flash's attention",
    "transformers, models/mimo_v2_flash",
    "heads of 12 elements of which 4 rotate, values of 5; positions over a factor",
    shapes(), forward,
    [h.Knob("dims", "dims = 4", "dims = 8", {"dims": 8}),
     h.Knob("style", "style = half", "style = pairs", {"style": "pairs"}),
     h.Knob("factor", "factor = 2", "factor = 4", {"factor": 4})])

if __name__ == "__main__":
    h.main(SYSTEM)
