"""Mixture-of-experts layers of published models, as .moe sources.

    python3 test/gpu/layers.py NAME > layer.moe     (NAME: one of LAYERS)

One routed layer each: norm, router, SwiGLU experts, residual, in bf16. The shapes
are those for which figures of other engines are public; EP8 is what one of eight
devices holds.
"""

import sys

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


def source(name):
    hidden, width, experts, chosen = LAYERS[name]
    return f"""moe 1
model layer

weights "layer.safetensors"
dtype bf16
dim vocab = 256, hidden = {hidden}, experts = {experts}, ffn = {width}

modality text(ids: token[vocab]) = embed(ids, "embed.weight", to = hidden)

block layer(x) {{
  f = rms_norm(x, "norm.weight", eps = 1e-6)
  r = route(linear(f, "router.weight", to = experts),
            score = softmax, rank = score, select = top_k({chosen}),
            weigh = score, renorm = sum, scale = 1)
  y = x + experts(f, r, for e in 0..experts: glu(act = silu, width = ffn,
                  gate = "experts.{{e}}.gate.weight",
                  up = "experts.{{e}}.up.weight",
                  down = "experts.{{e}}.down.weight"))
  return linear(y, "head.weight", to = vocab)
}}

entry score(s: seq(text[1..16384])) = layer(s)
"""


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in LAYERS:
        sys.exit(f"usage: layers.py {'|'.join(LAYERS)}")
    sys.stdout.write(source(sys.argv[1]))
