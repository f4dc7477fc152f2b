"""JetMoE: attention whose queries and last map are those of experts, keys and values common."""

import attend as a
import harness as h

np = h.np
LAYERS, HIDDEN, EXPERTS, MAPS, HEADS, KV, HEAD = 2, 32, 5, 4, 4, 2, 8


def shapes():
    result = {"embed.weight": (64, HIDDEN), "norm.weight": (HIDDEN,), "head.weight": (64, HIDDEN)}
    for layer in range(LAYERS):
        p = f"layers.{layer}."
        result.update({
            p + "norm1.weight": (HIDDEN,), p + "norm2.weight": (HIDDEN,),
            p + "attn.router.weight": (EXPERTS, HIDDEN),
            p + "attn.q": (EXPERTS, HEADS * HEAD, HIDDEN), p + "attn.q_bias": (EXPERTS, HEADS * HEAD),
            p + "attn.q_norm.weight": (HEAD,), p + "attn.k.weight": (KV * HEAD, HIDDEN),
            p + "attn.v.weight": (KV * HEAD, HIDDEN), p + "attn.o": (EXPERTS, HIDDEN, HEADS * HEAD),
            p + "router.weight": (MAPS, HIDDEN), p + "maps": (MAPS, HIDDEN, HIDDEN),
            p + "bias": (2, HIDDEN)})
    return result


def forward(w, tokens, k=3, theta=1e2, equal=False, biased=True, maps=2):
    def attention(p, n):
        f = a.frequencies(theta, HEAD)
        key = a.turn(a.project(w, p, "k", n, KV), f)
        value = a.project(w, p, "v", n, KV)
        # What every expert would give, and the shares of the chosen ones.
        given = []
        for e in range(EXPERTS):
            q = h.linear(n, w[p + "q"][e], w[p + "q_bias"][e] if biased else None)
            q = a.normed(q.reshape(len(n), HEADS, HEAD), w[p + "q_norm.weight"])
            given.append(h.linear(a.mix(a.turn(q, f), key, value, HEAD ** -0.5), w[p + "o"][e]))
        y = np.zeros_like(n)
        for t, z in enumerate(h.linear(n, w[p + "router.weight"])):
            chosen = h.top_k(z, k)
            shares = np.full(k, 1.0 / k) if equal else h.softmax(z[chosen])
            for e, g in zip(chosen, shares):
                y[t] += g * given[e][t]
        return y

    def feed(p, f):
        y = np.zeros_like(f)
        for t, s in enumerate(h.softmax(h.linear(f, w[p + "router.weight"]))):
            for e in h.top_k(s, maps):
                y[t] += s[e] * (w[p + "maps"][e] @ f[t] + (w[p + "bias"][e] if e < 2 else 0.0))
        return h.silu(y)

    return h.decoder(w, tokens, LAYERS, lambda p, n: attention(p + "attn.", n), feed)


SYSTEM = h.System(
    "jetmoe", "JetMoE's attention (its experts are linear maps here)",
    "arXiv:2404.07413; transformers, models/jetmoe",
    "a token has the queries of each of its three experts, which meet the same keys and values; "
    "each result goes through the expert's last map; softmax of the chosen logits",
    shapes(), forward,
    [h.Knob("k", "top_k(3)", "top_k(1)", {"k": 1}),
     h.Knob("theta", "theta = 1e2", "theta = 1e1", {"theta": 1e1}),
     h.Knob("weights", "softmax(logits), renorm = none", "1, renorm = sum", {"equal": True}),
     h.Knob("maps", "top_k(2)", "top_k(3)", {"maps": 3}),
     h.Knob("query bias", None, None, {"biased": False})],
    steps=(4, 4, 1, 7, 1))

if __name__ == "__main__":
    h.main(SYSTEM)
