"""gpt-oss: a clamped gated unit with a slope and an offset, biases on every map."""

import harness as h

np = h.np
LAYERS, EXPERTS, HIDDEN, FFN = 2, 8, 32, 16


def shapes():
    result = h.decoder_shapes(LAYERS)
    for layer in range(LAYERS):
        p = f"layers.{layer}."
        result.update({p + "router.weight": (EXPERTS, HIDDEN), p + "router.bias": (EXPERTS,),
                       p + "experts.gate_up": (EXPERTS, HIDDEN, 2 * FFN),
                       p + "experts.gate_up_bias": (EXPERTS, 2 * FFN),
                       p + "experts.down": (EXPERTS, FFN, HIDDEN),
                       p + "experts.down_bias": (EXPERTS, HIDDEN)})
    return result


def forward(w, tokens, k=2, slope=1.702, limit=1.25, offset=1.0, side="before",
            router_bias=True, expert_bias=True, interleaved=True):
    def expert(p, e):
        def run(x):
            both = x @ w[p + "experts.gate_up"][e]
            if expert_bias:
                both = both + w[p + "experts.gate_up_bias"][e]
            if interleaved:
                gate, up = both[:, 0::2], both[:, 1::2]
            else:
                gate, up = both[:, :FFN], both[:, FFN:]
            up = np.clip(up, -limit, limit)
            if side == "before":
                gate = np.minimum(gate, limit)
            gate = gate * h.sigmoid(slope * gate)
            if side == "after":
                gate = np.minimum(gate, limit)
            y = ((up + offset) * gate) @ w[p + "experts.down"][e]
            return y + w[p + "experts.down_bias"][e] if expert_bias else y
        return run

    def feed(p, f):
        weights = []
        logits = h.linear(f, w[p + "router.weight"],
                          w[p + "router.bias"] if router_bias else None)
        for z in logits:
            chosen = h.top_k(z, k)
            weights.append(dict(zip(chosen, h.softmax(z[chosen]))))
        return h.mix(f, weights, [expert(p, e) for e in range(EXPERTS)])

    return h.decoder(w, tokens, LAYERS,
                     lambda p, n: h.attention(w, p + "attn.", n, 4, 2), feed)


SYSTEM = h.System(
    "gpt_oss", "gpt-oss's experts (attention without sinks and windows here)",
    "transformers, models/gpt_oss",
    "softmax of the k largest of logits with a bias; gates clamped from above, up values on "
    "both sides, then (up + 1) times gate times sigmoid(1.702 gate); biases on all maps; gate "
    "and up interleaved in one transposed matrix",
    shapes(), forward,
    [h.Knob("slope", "silu(slope = 1.702)", "silu", {"slope": 1.0}),
     h.Knob("limit", "before(1.25)", "before(0.5)", {"limit": 0.5}),
     h.Knob("side of the clamp", "before(1.25)", "after(1.25)", {"side": "after"}),
     h.Knob("offset", "up_offset = 1, ", "", {"offset": 0.0}),
     h.Knob("router bias", None, None, {"router_bias": False}),
     h.Knob("expert biases", None, None, {"expert_bias": False}),
     h.Knob("interleaving", None, None, {"interleaved": False})])

if __name__ == "__main__":
    h.main(SYSTEM)
