"""DeepSeek-V2-Lite's latent attention; heads whose sizes are no multiples of 16."""

import attend as a
import harness as h

LAYERS = 2


def shapes():
    return a.dense_shapes(LAYERS, lambda p: a.mla_shapes(p, 32, 4, 6, 4, 5, 16, bias=True))


def forward(w, tokens, theta=1e3, style="pairs", scale=10 ** -0.5, eps=1e-6):
    def attention(p, n):
        return a.mla(w, p + "attn.", n, 4, 6, 16,
                     lambda x: a.turn(x, a.frequencies(theta, 4), style), scale,
                     q_rank=False, eps=eps)

    return h.decoder(w, tokens, LAYERS, attention,
                     lambda p, f: h.glu_of(w, p)(f))


SYSTEM = h.System(
    "deepseek_v2", "DeepSeek-V2-Lite's attention",
    "arXiv:2405.04434",
    "keys and values are maps of a normed latent, plus one rotated key for all heads",
    shapes(), forward,
    [h.Knob("theta", "theta = 1e3", "theta = 1e1", {"theta": 1e1}),
     h.Knob("style", "style = pairs", "style = half", {"style": "half"}),
     h.Knob("scale", "mask = causal", "mask = causal, scale = 1", {"scale": 1.0}),
     h.Knob("norm", 'kv_norm.weight", eps = eps', 'kv_norm.weight", eps = 1', {"eps": 1.0})],
    steps=(4, 1, 7, 1, 4))

if __name__ == "__main__":
    h.main(SYSTEM)
