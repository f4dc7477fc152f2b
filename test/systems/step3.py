"""Step-3.5: gates per head, (1 + w) norms; with the mask of an encoder."""

import attend as a
import harness as h

LAYERS = 2


def shapes():
    return a.dense_shapes(LAYERS, lambda p: a.qkv_shapes(p, 4, 2, 8, extra=[
        ("q_norm.weight", (8,)), ("k_norm.weight", (16,)), ("gate.weight", (4, 32)),
        ("gate.bias", (4,))]))


def forward(w, tokens, mask=a.full, offsets=(1.0, 1.0), gate=True):
    def attention(p, n):
        q, k, v = (a.project(w, p + "attn.", c, n, g) for c, g in zip("qkv", (4, 2, 2)))
        q = a.normed(q, w[p + "attn.q_norm.weight"] + offsets[0])
        k = k.reshape(len(n), -1)
        k = h.rms_norm(k, w[p + "attn.k_norm.weight"] + offsets[1]).reshape(len(n), 2, 8)
        q, k = (a.turn(x, a.frequencies(1e2, 8)) for x in (q, k))
        y = a.mix(q, k, v, 8 ** -0.5, mask)
        if gate:
            y = a.gated(y, h.linear(n, w[p + "attn.gate.weight"], w[p + "attn.gate.bias"]))
        return a.output(w, p + "attn.", y)

    # The norms of the layers store their weights less one, too.
    w = {name: x + 1.0 if name.split(".")[-2] in ("norm", "norm1", "norm2") else x
         for name, x in w.items()}
    return h.decoder(w, tokens, LAYERS, attention,
                     lambda p, f: h.glu_of(w, p)(f))


SYSTEM = h.System(
    "step3", "Step-3.5's attention, bidirectional",
    "transformers, models/step3p7",
    "a sigmoid per head; norms times 1 + w; every token sees every other",
    shapes(), forward,
    [h.Knob("mask", "mask = full", "mask = causal", {"mask": a.causal}),
     h.Knob("offset", '1 + "attn.k_norm', '"attn.k_norm', {"offsets": (1.0, 0.0)}),
     h.Knob("gate", None, None, {"gate": False})])

if __name__ == "__main__":
    h.main(SYSTEM)
