"""Experts of several kinds in one set, with ids that do not begin at 0."""

import harness as h

np = h.np
LAYERS, FIRST, EXPERTS, HIDDEN, FFN = 2, 2, 9, 32, 16
PLAIN, GATED, LAST, BLOCK = (3, 4), (6, 7), 9, 10


def shapes():
    result = h.decoder_shapes(LAYERS)
    for layer in range(LAYERS):
        p = f"layers.{layer}."
        result.update({p + "router.weight": (EXPERTS, HIDDEN), p + "router.rank": (EXPERTS, HIDDEN),
                       p + "router.gain": (1, HIDDEN), p + "experts.2.vector": (HIDDEN,)})
        for e in PLAIN:
            result.update({f"{p}experts.{e}.up.weight": (FFN, HIDDEN),
                           f"{p}experts.{e}.up.bias": (FFN,),
                           f"{p}experts.{e}.down.weight": (HIDDEN, FFN),
                           f"{p}experts.{e}.down.bias": (HIDDEN,)})
        for e in GATED:
            result.update(h.glu_shapes(f"{p}experts.{e}.", HIDDEN, 2 * e))
        result.update({f"{p}experts.{LAST}.up.weight": (8, HIDDEN),
                       f"{p}experts.{LAST}.down.weight": (HIDDEN, 8),
                       f"{p}experts.{BLOCK}.norm.weight": (HIDDEN,),
                       f"{p}experts.{BLOCK}.a.weight": (8, HIDDEN),
                       f"{p}experts.{BLOCK}.b.weight": (HIDDEN, 8)})
    return result


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(h.math.erf)(x / np.sqrt(2.0)))


def forward(w, tokens, limit=0.75, least=1, clamp=0.5, copies=True, constants=True, bias=True,
            nothing=True, block=True):
    def experts(p):
        def plain(e):
            def run(x):
                q = f"{p}experts.{e}."
                up = h.linear(x, w[q + "up.weight"], w[q + "up.bias"] if bias else None)
                return h.linear(np.maximum(up, 0) ** 2, w[q + "down.weight"],
                                w[q + "down.bias"] if bias else None)
            return run

        def gated(e):
            def run(x):
                gate, up, down = (w[f"{p}experts.{e}.{n}.weight"] for n in ("gate", "up", "down"))
                g = np.minimum(h.silu(h.linear(x, gate)), clamp)
                return h.linear(g * np.clip(h.linear(x, up), -clamp, clamp), down)
            return run

        def narrow(x):
            q = f"{p}experts.{BLOCK}."
            n = h.rms_norm(x, w[q + "norm.weight"])
            return h.linear(h.sigmoid(h.linear(n, w[q + "a.weight"])), w[q + "b.weight"])

        last = f"{p}experts.{LAST}."
        kinds = {2: lambda x: w[p + "experts.2.vector"][None, :] * constants,
                 5: lambda x: x * copies, 8: lambda x: 0 * x if nothing else x,
                 9: lambda x: h.linear(gelu(h.linear(x, w[last + "up.weight"])),
                                       w[last + "down.weight"]),
                 BLOCK: narrow if block else lambda x: 0 * x}
        kinds.update({e: plain(e) for e in PLAIN})
        kinds.update({e: gated(e) for e in GATED})
        return kinds

    def feed(p, f):
        weights = []
        for s, q, gain in zip(h.sigmoid(h.linear(f, w[p + "router.weight"])),
                              h.sigmoid(h.linear(f, w[p + "router.rank"])),
                              h.linear(f, w[p + "router.gain"])):
            h.margins.append(np.abs(q - limit).min())
            order = np.argsort(-q, kind="stable")
            chosen = [e for i, e in enumerate(order) if i < least or q[e] > limit]
            weights.append({FIRST + e: s[e] * gain[0] for e in chosen})
        return h.mix(f, weights, experts(p))

    return h.decoder(w, tokens, LAYERS,
                     lambda p, n: h.attention(w, p + "attn.", n, 4, 2), feed)


SYSTEM = h.System(
    "mixed_experts", "no one system: experts of several kinds", "docs/language.md",
    "experts with and without gate, biases, clamps and matrices (constant, identity, null), one "
    "made of other operations, in one set, of ids from 2 on, selected by a threshold on a value of its own, weighed by "
    "sigmoid times a number per token",
    shapes(), forward,
    [h.Knob("threshold", "threshold(0.75,", "threshold(0.6,", {"limit": 0.6}),
     h.Knob("at least", "at_least = 1", "at_least = 0", {"least": 0}),
     h.Knob("clamp", "after(0.5)", "after(0.25)", {"clamp": 0.25}),
     h.Knob("null", "null()", "identity()", {"nothing": False}),
     h.Knob("identity", "identity()", "null()", {"copies": False}),
     h.Knob("constant", None, None, {"constants": False}),
     h.Knob("block", None, None, {"block": False}),
     h.Knob("biases", None, None, {"bias": False})])

if __name__ == "__main__":
    h.main(SYSTEM)
