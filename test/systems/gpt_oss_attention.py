"""gpt-oss: sinks, alternating windows and YaRN; the experts are a SwiGLU here."""

import attend as a
import harness as h

LAYERS = 2


def shapes():
    return a.dense_shapes(LAYERS, lambda p: a.qkv_shapes(
        p, 4, 2, 8, bias="qkvo", extra=[("sinks", (4,))]))


def forward(w, tokens, size=5, factor=4, original=16, fast=3.0, slow=0.5, truncate=False,
            magnitude=1.1, sinks=True):
    def attention(p, n):
        q, k, v = (a.project(w, p + "attn.", c, n, g) for c, g in zip("qkv", (4, 2, 2)))
        f = a.yarn(150, 8, factor, original, fast, slow, truncate)
        q, k = (a.turn(x, f, "half", magnitude) for x in (q, k))
        mask = a.window(size) if int(p.split(".")[1]) % 2 == 0 else a.causal
        y = a.mix(q, k, v, 8 ** -0.5, mask, w[p + "attn.sinks"] if sinks else None)
        return a.output(w, p + "attn.", y)

    return h.decoder(w, tokens, LAYERS, attention,
                     lambda p, f: h.glu_of(w, p)(f))


SYSTEM = h.System(
    "gpt_oss_attention", "gpt-oss's attention",
    "model card arXiv:2508.10925; transformers, models/gpt_oss",
    "a learned score per head joins the softmax and has no value; windows on even layers; YaRN without rounding of its ramp",
    shapes(), forward,
    [h.Knob("window", "window(5)", "window(9)", {"size": 9}),
     h.Knob("factor", "factor = 4", "factor = 8", {"factor": 8}),
     h.Knob("original", "original = 16", "original = 64", {"original": 64}),
     h.Knob("fast", "fast = 3.0", "fast = 1.0", {"fast": 1.0}),
     h.Knob("slow", "slow = 0.5", "slow = 0.1", {"slow": 0.1}),
     h.Knob("truncate", "truncate = false", "truncate = true", {"truncate": True}),
     h.Knob("magnitude", "magnitude = 1.1", "magnitude = 1.0", {"magnitude": 1.0}),
     h.Knob("sinks", None, None, {"sinks": False})],
    steps=(4, 1, 7, 1, 4))

if __name__ == "__main__":
    h.main(SYSTEM)
