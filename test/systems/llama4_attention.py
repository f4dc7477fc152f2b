"""Llama-4: chunks, NoPE layers with temperature, unweighted norms after rotary positions."""

import attend as a
import harness as h

LAYERS = 2


def shapes():
    return a.dense_shapes(LAYERS, lambda p: a.qkv_shapes(p, 4, 2, 8))


def forward(w, tokens, chunk=6, factor=4, low=0.25, high=2, floor=4, scale=0.5, eps=1e-2):
    def attention(p, n):
        q, k, v = (a.project(w, p + "attn.", c, n, g) for c, g in zip("qkv", (4, 2, 2)))
        if int(p.split(".")[1]) % 2:
            position = h.np.arange(len(n))[:, None, None]
            q = q * (h.np.log(h.np.floor((position + 1) / floor) + 1) * scale + 1)
            return a.output(w, p + "attn.", a.mix(q, k, v, 8 ** -0.5))
        f = a.llama3(50, 8, factor, low, high, 16)

        def prepare(x):
            return a.normed(a.turn(x, f, "pairs"), eps=eps)

        y = a.mix(prepare(q), prepare(k), v, 8 ** -0.5, a.chunked(chunk))
        return a.output(w, p + "attn.", y)

    return h.decoder(w, tokens, LAYERS, attention,
                     lambda p, f: h.glu_of(w, p)(f))


SYSTEM = h.System(
    "llama4_attention", "Llama-4's attention",
    "transformers, models/llama4; arXiv:2501.19399",
    "chunks of 6 tokens; q and k over their root mean square after rotation; else q times ln(floor((p + 1) / 4) + 1) / 2 + 1",
    shapes(), forward,
    [h.Knob("chunk", "chunked(6)", "chunked(4)", {"chunk": 4}),
     h.Knob("factor", "factor = 4", "factor = 2", {"factor": 2}),
     h.Knob("low", "low = 0.25", "low = 0.9", {"low": 0.9}),
     h.Knob("high", "high = 2", "high = 8", {"high": 8}),
     h.Knob("floor", "floor = 4", "floor = 2", {"floor": 2}),
     h.Knob("temperature", "scale = 0.5", "scale = 0.1", {"scale": 0.1}),
     h.Knob("norm", "eps = 1e-2", "eps = 1e0", {"eps": 1.0})],
    steps=(4, 1, 7, 1, 4))

if __name__ == "__main__":
    h.main(SYSTEM)
