"""Decoders of which transformers has no class, written from publications and from the formulas
of their own code: what they compute, not how their authors wrote it. In float64.

InternLM2 (arXiv:2403.17297) is Llama with one matrix for queries, keys and values. Its decoder in
Mono-InternVL (arXiv:2410.08202) has a second feed-forward network, for the tokens of images.
"""

import json

import torch
from safetensors.torch import save_file


def rms(x, weight, eps):
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + eps) * weight


class InternLM2:
    """`visual` are the positions of images' tokens, if there are such."""

    def __init__(self, config, visual):
        self.config, self.visual = config, visual
        self.prefix = "language_model." if visual else ""

    def shapes(self):
        c, p = self.config, self.prefix
        d, f, v = c["hidden_size"], c["intermediate_size"], c["vocab_size"]
        head = d // c["num_attention_heads"]
        rows = (c["num_attention_heads"] + 2 * c["num_key_value_heads"]) * head
        result = {p + "model.tok_embeddings.weight": (v, d), p + "model.norm.weight": (d,),
                  p + "output.weight": (v, d)}
        for layer in range(c["num_hidden_layers"]):
            at = f"{p}model.layers.{layer}."
            result.update({at + "attention_norm.weight": (d,), at + "ffn_norm.weight": (d,),
                           at + "attention.wqkv.weight": (rows, d),
                           at + "attention.wo.weight": (d, d)})
            if c["bias"]:
                result.update({at + "attention.wqkv.bias": (rows,), at + "attention.wo.bias": (d,)})
            for network in ["feed_forward"] + ["feed_forward_ve"] * bool(self.visual):
                result.update({f"{at}{network}.w1.weight": (f, d), f"{at}{network}.w2.weight": (d, f),
                               f"{at}{network}.w3.weight": (f, d)})
        if self.visual:  # what is not of the decoder
            result["vision_model.embeddings.patch_embedding.bias"] = (8,)
            result["mlp1.0.weight"] = (8,)
        return result

    def attention(self, w, at, n):
        c, tokens = self.config, len(n)
        groups = c["num_key_value_heads"]
        size = c["num_attention_heads"] // groups
        head = c["hidden_size"] // c["num_attention_heads"]
        rows = n @ w[at + "wqkv.weight"].T + w.get(at + "wqkv.bias", 0.0)
        rows = rows.reshape(tokens, groups, size + 2, head)
        scaling = c["rope_scaling"]
        positions = torch.arange(tokens, dtype=torch.float64)
        if scaling["type"] == "linear":
            positions = positions / scaling["factor"]
        # Dynamic scaling begins behind the longest sequence.
        steps = torch.arange(0, head, 2, dtype=torch.float64) / head
        angles = torch.outer(positions, c["rope_theta"] ** -steps)[:, None]
        mask = torch.full((tokens, tokens), float("-inf"), dtype=torch.float64).triu(1)

        def turn(x):
            a, b = x.chunk(2, dim=-1)
            return torch.cat([a * angles.cos() - b * angles.sin(),
                              b * angles.cos() + a * angles.sin()], dim=-1)

        out = []
        for g in range(groups):
            key, value = turn(rows[:, g, size : size + 1])[:, 0], rows[:, g, size + 1]
            for query in turn(rows[:, g, :size]).unbind(1):
                scores = query @ key.T / head**0.5 + mask
                out.append(scores.softmax(-1) @ value)
        return torch.cat(out, dim=-1) @ w[at + "wo.weight"].T + w.get(at + "wo.bias", 0.0)

    def logits(self, weights, tokens, features):
        w = {name: tensor.double() for name, tensor in weights.items()}
        c, p = self.config, self.prefix
        x = w[p + "model.tok_embeddings.weight"][tokens.clamp(min=0)]
        if self.visual:
            x = x.index_copy(0, torch.tensor(self.visual), features.double())
        for layer in range(c["num_hidden_layers"]):
            at = f"{p}model.layers.{layer}."
            n = rms(x, w[at + "attention_norm.weight"], c["rms_norm_eps"])
            x = x + self.attention(w, at + "attention.", n)
            f = rms(x, w[at + "ffn_norm.weight"], c["rms_norm_eps"])

            def network(name, f=f, at=at):
                g = f @ w[f"{at}{name}.w1.weight"].T
                return (g * g.sigmoid() * (f @ w[f"{at}{name}.w3.weight"].T)) \
                    @ w[f"{at}{name}.w2.weight"].T

            y = network("feed_forward")
            if self.visual:
                seen = torch.zeros(len(tokens), 1, dtype=torch.float64)
                seen[self.visual] = 1.0
                y = y * (1.0 - seen) + network("feed_forward_ve") * seen
            x = x + y
        return rms(x, w[p + "model.norm.weight"], c["rms_norm_eps"]) @ w[p + "output.weight"].T

    def save_config(self, folder, dtype):
        own = {"model_type": "internlm2", "torch_dtype": dtype, **self.config}
        if self.visual:
            own["architectures"] = ["InternLM2VEForCausalLM"]
            own = {"model_type": "internvl_chat", "downsample_ratio": 0.5, "ps_version": "v2",
                   "llm_config": own, "vision_config": {"model_type": "intern_vit_patch"}}
        (folder / "config.json").write_text(json.dumps(own, indent=2) + "\n")


class BuiltFormula:
    """As reference.Built, for the class `formula`."""

    def __init__(self, formula, config, visual, dtype, tools):
        self.model = formula(config, visual)
        self.dtype, self.tools, self.visual = dtype, tools, visual
        self.weights = {name: torch.ones(shape) if "norm" in name else torch.zeros(shape)
                        for name, shape in self.model.shapes().items()}
        self.starts = [(name, tensor, float("norm" in name))
                       for name, tensor in sorted(self.weights.items())]
        self.margin = 1.0

    def draw(self, seed):
        self.seed = seed
        self.tools.randomise(self.starts, seed, self.dtype)
        generator = torch.Generator().manual_seed(seed + 1)
        count = self.tools.PREFILL + self.tools.STEPS
        self.tokens = torch.randint(0, self.model.config["vocab_size"], (count,),
                                    generator=generator)
        self.tokens[self.visual] = -1
        self.features = torch.randn((len(self.visual), self.model.config["hidden_size"]),
                                    generator=generator)
        self.logits = self.model.logits(self.weights, self.tokens, self.features)
        best = self.logits.topk(2, dim=-1).values
        self.argmax_margin = (best[:, 0] - best[:, 1]).min().item()

    def clear(self):
        return self.argmax_margin >= self.tools.CLEAR

    def save(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        save_file({name: tensor.to(self.dtype).contiguous()
                   for name, tensor in self.weights.items()}, folder / "model.safetensors")
        self.model.save_config(folder, str(self.dtype).removeprefix("torch."))
        stored = {"tokens": self.tokens.to(torch.int32).contiguous(),
                  "logits": self.logits.float().contiguous()}
        if self.visual:
            stored["features"] = self.features.contiguous()
        save_file(stored, folder / "logits.safetensors")


FORMULAS = {"internlm2": InternLM2}
