"""Mixture-of-experts layers of published models, as .moe sources.

    python3 test/gpu/layers.py [--vectors] [--dtype=bf16|f16] NAME > layer.moe

One routed layer of LAYERS: norm, router, SwiGLU experts, residual. The shapes
are those for which figures of other engines are public; EP8 is what one of eight
devices holds. Tokens are ids, and the result is a row of logits; with --vectors they
are vectors of f32, and so are the results: nothing is computed but the layer, the
conversion of its operand and of its result, and the choice of the router can be had.
"""

import argparse

# name: hidden, width of an expert, experts, chosen
LAYERS = {
    "mixtral-8x7b": (4096, 14336, 8, 2),
    "olmoe": (2048, 1024, 64, 8),
    "qwen3-30b-a3b": (2048, 768, 128, 8),
    "qwen3-next-80b": (2048, 512, 512, 10),
    "gpt-oss-20b": (2880, 2880, 32, 4),
    "gpt-oss-120b": (2880, 2880, 128, 4),
    "deepseek-v3-ep8": (7168, 2048, 32, 8),
    "kimi-k2-ep8": (7168, 2048, 48, 8),
    "longcat-flash-ep8": (6144, 2048, 64, 12),
}
# For tests: widths that no tile divides, and one that all do.
SMALL = {
    "small": (64, 48, 8, 2),
    "odd": (72, 40, 12, 3),
    "middle": (256, 384, 16, 4),
}
# For formats with scales: groups of columns that are not full.
CODED = {"coded": (136, 104, 12, 3)}
ALL = {**LAYERS, **SMALL, **CODED}
EPSILON = 1e-6


def source(name, vectors=False, dtype="bf16"):
    hidden, width, experts, chosen = ALL[name]
    modality = 'text(ids: token[vocab]) = embed(ids, "embed.weight", to = hidden)'
    result, inputs, options = 'linear(y, "head.weight", to = vocab)', "text", ""
    if vectors:
        modality = ("vector(x: f32[1, 1, hidden]) = patches(x, size = 1, "
                    "order = hwc)")
        result, inputs, options = "y", "vector", " with routing_out"
    return f"""moe 1
model layer

weights "layer.safetensors"
dtype {dtype}
dim vocab = 256, hidden = {hidden}, experts = {experts}, ffn = {width}

modality {modality}

block layer(x) {{
  f = rms_norm(x, "norm.weight", eps = {EPSILON})
  r = route(linear(f, "router.weight", to = experts),
            score = softmax, rank = score, select = top_k({chosen}),
            weigh = score, renorm = sum, scale = 1)
  y = x + experts(f, r, for e in 0..experts: glu(act = silu, width = ffn,
                  gate = "experts.{{e}}.gate.weight",
                  up = "experts.{{e}}.up.weight",
                  down = "experts.{{e}}.down.weight"))
  return {result}
}}

entry score(s: seq({inputs}[1..16384])) = layer(s){options}
"""


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--vectors", action="store_true")
    parser.add_argument("--dtype", default="bf16", choices=["bf16", "f16"])
    parser.add_argument("name", choices=sorted(ALL))
    arguments = parser.parse_args()
    print(source(arguments.name, arguments.vectors, arguments.dtype), end="")
