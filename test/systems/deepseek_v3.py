"""DeepSeek-V3: the gate "noaux_tc", group-limited with a selection bias."""

import attend as a
import harness as h

LAYERS, EXPERTS, HIDDEN, FFN, SHARED = 2, 16, 32, 8, 8


def shapes():
    result = h.decoder_shapes(LAYERS)
    result = {name: shape for name, shape in result.items() if ".attn." not in name}
    for layer in range(LAYERS):
        p = f"layers.{layer}."
        result.update(a.mla_shapes(p + "attn.", HIDDEN, 4, 8, 8, 16, 16, q_rank=12))
        result[p + "router.weight"] = (EXPERTS, HIDDEN)
        result[p + "router.bias"] = (EXPERTS,)
        result.update(h.glu_shapes(p + "shared.", HIDDEN, SHARED))
        for e in range(EXPERTS):
            result.update(h.glu_shapes(f"{p}experts.{e}.", HIDDEN, FFN))
    return result


def forward(w, tokens, k=4, groups=4, keep=2, by="top2_sum", outside=-h.np.inf,
            renormalise=True, scale=2.5, use_bias=True, score_scale=0.3,
            magnitude=1.2):
    def gate(z, bias):
        s = h.sigmoid(z)
        q = s + bias if use_bias else s
        members = q.reshape(groups, -1)
        statistic = (h.np.sort(members, axis=1)[:, -2:].sum(axis=1) if by == "top2_sum"
                     else members.max(axis=1))
        limited = h.np.full_like(members, outside)
        for g in h.top_k(statistic, keep):
            limited[g] = members[g]
        chosen = h.top_k(limited.ravel(), k)
        g = s[chosen]  # never the bias
        if renormalise:
            g = g / (g.sum() + 1e-20)
        return dict(zip(chosen, scale * g))

    def feed(p, f):
        weights = [gate(z, w[p + "router.bias"]) for z in h.linear(f, w[p + "router.weight"])]
        routed = h.mix(f, weights,
                       [h.glu_of(w, f"{p}experts.{e}.") for e in range(EXPERTS)])
        return routed + h.glu_of(w, p + "shared.")(f)

    def attention(p, n):
        f = a.yarn(1e2, 8, 4, 16, 3, 1)
        return a.mla(w, p + "attn.", n, 4, 8, 16,
                     lambda x: a.turn(x, f, "pairs", magnitude), score_scale)

    return h.decoder(w, tokens, LAYERS, attention, feed)


SYSTEM = h.System(
    "deepseek_v3", "DeepSeek-V3",
    "arXiv:2412.19437; transformers, models/deepseek_v3",
    "sigmoid; rank = score + bias within the groups of the largest two-sums; weights are the "
    "scores over their sum, times 2.5; plus a shared expert; latent attention with YaRN",
    shapes(), forward,
    [h.Knob("k", "top_k(4)", "top_k(3)", {"k": 3}),
     h.Knob("groups", "groups(4, keep", "groups(8, keep", {"groups": 8}),
     h.Knob("kept groups", "keep = 2", "keep = 3", {"keep": 3}),
     h.Knob("group statistic", "by = top2_sum", "by = max", {"by": "max"}),
     h.Knob("outside", "outside = -inf", "outside = 0", {"outside": 0.0}),
     h.Knob("renorm", "renorm = sum(eps = 1e-20)", "renorm = none", {"renormalise": False}),
     h.Knob("scale", "scale = 2.5", "scale = 1", {"scale": 1.0}),
     h.Knob("score scale", "scale = 0.3", "scale = 0.2", {"score_scale": 0.2}),
     h.Knob("magnitude", "magnitude = 1.2", "magnitude = 1.0", {"magnitude": 1.0}),
     h.Knob("bias", None, None, {"use_bias": False})],
    steps=(4, 1, 7, 1, 4))

if __name__ == "__main__":
    h.main(SYSTEM)
