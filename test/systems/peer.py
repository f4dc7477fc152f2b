"""PEER: experts of one neuron each, found by pairs of keys (layer normalisation of queries is
left out)."""

import math

import harness as h

np = h.np
LAYERS, HIDDEN, ROWS, COLUMNS, QUERY, HEADS = 2, 32, 6, 7, 8, 2


def shapes():
    result = h.decoder_shapes(LAYERS)
    for layer in range(LAYERS):
        p = f"layers.{layer}."
        result[p + "query.weight"] = (HEADS * 2 * QUERY, HIDDEN)
        result[p + "router.rows"] = (ROWS, QUERY)
        result[p + "router.columns"] = (COLUMNS, QUERY)
        result[p + "down.weight"] = (ROWS * COLUMNS, HIDDEN)
        result[p + "up.weight"] = (ROWS * COLUMNS, HIDDEN)
    return result


def gelu(x):
    return 0.5 * x * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0)))


def forward(w, tokens, k=5, weigh=h.softmax, act=gelu, columns=True):
    def feed(p, f):
        y = np.zeros_like(f)
        down, up = w[p + "down.weight"], w[p + "up.weight"]
        queries = h.linear(f, w[p + "query.weight"]).reshape(len(f), HEADS, 2, QUERY)
        for t in range(len(f)):
            for head in range(HEADS):
                first, second = queries[t, head]
                scores = (w[p + "router.rows"] @ first)[:, None] \
                    + columns * (w[p + "router.columns"] @ second)[None, :]
                scores = scores.reshape(-1)  # of all pairs
                chosen = h.top_k(scores, k)
                for e, g in zip(chosen, weigh(scores[chosen])):
                    y[t] += g * act(down[e] @ f[t]) * up[e]
        return y

    return h.decoder(w, tokens, LAYERS,
                     lambda p, n: h.attention(w, p + "attn.", n, 4, 2), feed)


SYSTEM = h.System(
    "peer", "PEER: mixture of a million experts (42 here)", "arXiv:2407.04153",
    "experts of one neuron each in a table; the score of one is the sum of a row's key and a "
    "column's key times the halves of a query; two heads with 5 each; softmax of the selected",
    shapes(), forward,
    [h.Knob("k", "k = 5", "k = 3", {"k": 3}),
     h.Knob("weigh", "weigh = softmax", "weigh = sigmoid", {"weigh": h.sigmoid}),
     h.Knob("activation", "act = gelu", "act = relu", {"act": lambda x: np.maximum(x, 0.0)}),
     h.Knob("columns", None, None, {"columns": False})])

if __name__ == "__main__":
    h.main(SYSTEM)
