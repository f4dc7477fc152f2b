"""Phi-3.5-MoE: SparseMixer at inference."""

import harness as h

np = h.np
LAYERS, EXPERTS, HIDDEN, FFN = 2, 6, 32, 16


def shapes():
    result = h.decoder_shapes(LAYERS)
    for layer in range(LAYERS):
        p = f"layers.{layer}."
        result.update({p + "router.weight": (EXPERTS, HIDDEN), p + "router.bias": (EXPERTS,)})
        for e in range(EXPERTS):
            result.update(h.glu_shapes(f"{p}experts.{e}.", HIDDEN, FFN))
    return result


def sparse_mixer(z, k, eps):
    """As the model's own code: thresholds of masked scores, denominators of all scores."""
    chosen, scores = {}, z.copy()
    for _ in range(k):
        best = h.top_k(scores, 1)[0]
        largest = scores[best]
        ratio = (largest - z) / np.maximum(np.abs(z), largest)
        h.margins.append(np.abs(ratio[np.isfinite(scores)] - 2 * eps).min())
        masked = np.where(ratio > 2 * eps, -np.inf, scores)
        chosen[best] = h.softmax(masked)[best]
        scores[best] = -np.inf
    return chosen


def forward(w, tokens, k=2, eps=0.2, renormalise=False):
    def feed(p, f):
        weights = []
        for z in h.linear(f, w[p + "router.weight"], w[p + "router.bias"]) - 1:
            chosen = sparse_mixer(z, k, eps)
            total = sum(chosen.values()) if renormalise else 1.0
            weights.append({e: g / total for e, g in chosen.items()})
        return h.mix(f, weights, [h.glu_of(w, f"{p}experts.{e}.") for e in range(EXPERTS)])

    return h.decoder(w, tokens, LAYERS,
                     lambda p, n: h.attention(w, p + "attn.", n, 4, 2), feed)


SYSTEM = h.System(
    "phimoe", "Phi-3.5-MoE's router (norms and attention are Llama's here)",
    "arXiv:2409.12136; transformers, models/phimoe",
    "twice the largest logit, weighed by a softmax over the logits not far below it; no sum to "
    "one",
    shapes(), forward,
    [h.Knob("k", "sparse_mixer(2,", "sparse_mixer(3,", {"k": 3}),
     h.Knob("eps", "eps = 0.2", "eps = 0.05", {"eps": 0.05}),
     h.Knob("renorm", "renorm = none", "renorm = sum", {"renormalise": True})])

if __name__ == "__main__":
    h.main(SYSTEM)
