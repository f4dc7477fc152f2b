"""DBRX: clipped queries, keys and values of one matrix."""

import attend as a
import harness as h

LAYERS = 2


def shapes():
    return a.dense_shapes(LAYERS, lambda p: {
        p + "qkv.weight": (64, 32), p + "o.weight": (32, 32)})


def forward(w, tokens, clip=0.5, theta=1e2):
    def attention(p, n):
        qkv = h.np.clip(h.linear(n, w[p + "attn.qkv.weight"]), -clip, clip)
        q, k, v = (x.reshape(len(n), -1, 8) for x in h.np.split(qkv, [32, 48], axis=1))
        f = a.frequencies(theta, 8)
        return a.output(w, p + "attn.", a.mix(a.turn(q, f), a.turn(k, f), v, 8 ** -0.5))

    return h.decoder(w, tokens, LAYERS, attention,
                     lambda p, f: h.glu_of(w, p)(f))


SYSTEM = h.System(
    "dbrx_attention", "DBRX's attention",
    "transformers, models/dbrx",
    "queries, keys and values are clipped to +-0.5 before they are rotated",
    shapes(), forward,
    [h.Knob("clip", "clip = 0.5", "clip = 0.8", {"clip": 0.8}),
     h.Knob("theta", "theta = 1e2", "theta = 1e1", {"theta": 1e1})])

if __name__ == "__main__":
    h.main(SYSTEM)
