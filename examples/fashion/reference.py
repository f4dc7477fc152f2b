"""Evaluates fashion.safetensors in plain float32 and writes the files in reference/.

This is the model as fashion.moe states it, written a second time without train.py or
model.py: attention as explicit softmax(q k^T) v, experts as a weighted sum over all four
of a group with zeros for those not chosen. The weights are the stored bf16 numbers
widened to float32; all arithmetic is float32 on the CPU. README.md describes the files.
"""

import argparse
import json
import math
import os
import platform
import re
from pathlib import Path

import numpy as np
import torch

import data
import safetensors_io

FOLDER = Path(__file__).parent
HIDDEN, DEPTH, HEADS, KV_HEADS, HEAD, GROUP, TOP_K, PATCHES = 256, 3, 4, 2, 64, 4, 2, 49
EPS, THETA = 1e-6, 1e4
CONTINUATION = 64
MIN_MARGIN = 1e-3  # between the two best logits at every step of a committed continuation
MIN_GAP = 1e-4  # between the second and the third expert at every token of committed logits
# Test images with committed logits. Image 0 is left out: at one of its patches two experts
# are within rounding of each other, and a comparison would depend on the order of sums.
IMAGES = [1, 2, 9, 8]
# A request of fashion.moe has at least one byte of text, so "a" is the shortest prompt.
IMAGE_PROMPTS = [(8, "a photo of"), (1, "a")]
TEXT_PROMPTS = [
    "And it came to pass in the morning, that the king",
    "The heart of the wise man",
    "And Jesus answered and said unto them,",
    "These are the names of the sons of",
]


def norm(x, weight):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * weight


class Reference:
    """The model; `trace`, when a list, collects (layer, modality, ids, gap) of every routing.

    gap is the distance from the last chosen router logit to the first that was not.
    """

    def __init__(self, path):
        arrays, self.metadata = safetensors_io.read(path)
        self.w = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        self.trace = None

    def linear(self, x, name):
        return x @ self.w[name].T

    def glu(self, x, at):
        gate = torch.nn.functional.silu(self.linear(x, at + "gate.weight"))
        return self.linear(gate * self.linear(x, at + "up.weight"), at + "down.weight")

    def group(self, x, layer, modality):
        """The routed experts of one modality for x [..., HIDDEN], all of that modality."""
        at = f"layers.{layer}.moe.{modality}."
        logits = self.linear(x, at + "router.weight")
        # A stable sort keeps equal scores in order: ties go to the lower expert.
        score, order = logits.softmax(-1).sort(dim=-1, descending=True, stable=True)
        ids, chosen = order[..., :TOP_K], score[..., :TOP_K]
        chosen = chosen / chosen.sum(-1, keepdim=True)
        if self.trace is not None:
            ranked = logits.gather(-1, order)
            self.trace.append((layer, modality, ids, ranked[..., TOP_K - 1] - ranked[..., TOP_K]))
        gates = torch.zeros_like(logits).scatter(-1, ids, chosen)
        return sum(gates[..., e : e + 1] * self.glu(x, f"{at}experts.{e}.") for e in range(GROUP))

    @staticmethod
    def rotate(x, first):
        """Rotary positions first, first + 1, ... for x [batch, heads, length, HEAD]."""
        frequency = THETA ** (-torch.arange(0, HEAD, 2, dtype=torch.float64) / HEAD)
        position = torch.arange(first, first + x.shape[2], dtype=torch.float64)
        angle = position[:, None] * frequency
        cos, sin = angle.cos().float(), angle.sin().float()
        a, b = x[..., : HEAD // 2], x[..., HEAD // 2 :]
        return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)

    def attention(self, x, layer, past):
        """Causal attention; returns the output and the keys and values so far."""
        at = f"layers.{layer}.attn."
        batch, length, _ = x.shape
        q, k, v = (self.linear(x, f"{at}{p}.weight").view(batch, length, -1, HEAD).transpose(1, 2)
                   for p in "qkv")
        first = past[0].shape[2] if past else 0
        q, k = self.rotate(q, first), self.rotate(k, first)
        if past:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        share = HEADS // KV_HEADS  # query head h reads key head h // share
        scores = q @ k.repeat_interleave(share, dim=1).transpose(2, 3) / math.sqrt(HEAD)
        future = torch.ones(length, k.shape[2], dtype=torch.bool).triu(first + 1)
        out = scores.masked_fill(future, -math.inf).softmax(-1) @ v.repeat_interleave(share, dim=1)
        return self.linear(out.transpose(1, 2).reshape(batch, length, -1), at + "o.weight"), (k, v)

    def forward(self, patches=None, text=None, past=None):
        """Logits of all positions of [image] + text, and the cache for what may follow.

        patches: u8 [batch, 49, 16] or None; text: integers [batch, length] or None.
        """
        parts, images = [], 0
        if patches is not None:
            images = PATCHES
            parts.append(self.linear(patches.float() / 255, "image.patch.weight")
                         + self.w["image.patch.bias"] + self.w["image.position"])
        if text is not None:
            parts.append(self.w["text.embed.weight"][text.long()])
        x, cache = torch.cat(parts, dim=1), []
        for layer in range(DEPTH):
            at = f"layers.{layer}."
            out, kv = self.attention(norm(x, self.w[at + "norm1.weight"]), layer,
                                     past[layer] if past else None)
            cache.append(kv)
            x = x + out
            f = norm(x, self.w[at + "norm2.weight"])
            routed = []
            if images:
                routed.append(self.group(f[:, :images], layer, "image"))
            if text is not None:
                routed.append(self.group(f[:, images:], layer, "text"))
            x = x + torch.cat(routed, dim=1) + self.glu(f, at + "moe.shared.")
        return self.linear(norm(x, self.w["norm.weight"]), "head.weight"), cache


class Shares:
    """Counts expert slots: (layer, source) -> slots of each expert."""

    def __init__(self):
        self.slots = {}

    def add(self, layer, source, ids):
        counts = torch.bincount(ids.flatten(), minlength=GROUP)
        self.slots[layer, source] = self.slots.get((layer, source), 0) + counts

    def table(self):
        """Returns rows (layer, group, what was routed, share of each expert)."""
        rows = []
        for layer in range(DEPTH):
            captions, prose = self.slots[layer, "captions"], self.slots[layer, "prose"]
            for group, source, slots in [("image", "images", self.slots[layer, "images"]),
                                         ("text", "prose", prose),
                                         ("text", "captions", captions),
                                         ("text", "prose and captions", prose + captions)]:
                share = [round(s, 4) for s in (slots / slots.sum()).tolist()]
                rows.append({"layer": layer, "group": group, "tokens": source, "share": share})
        return rows


def caption_scores(model, pixels, labels, shares):
    """log p(caption, terminator | image) for every image and caption: float32 [n, 10].

    The image and the bytes common to all captions run once; the ten captions continue from
    their keys and values.
    """
    captions = data.captions()
    common = os.path.commonprefix(captions)
    rests = [torch.tensor(list(c[len(common):])) for c in captions]
    longest = max(map(len, rests))
    inputs = torch.zeros((10, longest - 1), dtype=torch.long)  # padding is never read
    targets = torch.zeros((10, longest), dtype=torch.long)
    for row, rest in enumerate(rests):
        inputs[row, : len(rest) - 1], targets[row, : len(rest)] = rest[:-1], rest
    counted = torch.arange(longest) < torch.tensor([len(r) for r in rests])[:, None]
    common = torch.tensor(list(common))

    def log_p(logits, codes):
        return logits.log_softmax(-1).gather(-1, codes.unsqueeze(-1)).squeeze(-1)

    scores, step = [], 100
    for begin in range(0, len(pixels), step):
        part = torch.from_numpy(data.patches(pixels[begin : begin + step]))
        n = len(part)
        truth = torch.from_numpy(labels[begin : begin + step].astype(np.int64))
        model.trace = []
        first, cache = model.forward(part, common.expand(n, -1))
        for layer, modality, ids, _ in model.trace:
            shares.add(layer, "images" if modality == "image" else "captions", ids)
        past = [tuple(t.repeat_interleave(10, dim=0) for t in kv) for kv in cache]
        model.trace = []
        rest, _ = model.forward(text=inputs.repeat(n, 1), past=past)
        for layer, _, ids, _ in model.trace:
            own = ids.view(n, 10, -1, TOP_K)[torch.arange(n), truth]  # the true captions
            shares.add(layer, "captions", own[counted[truth][:, 1:]])
        model.trace = None
        shared = log_p(first[:, PATCHES - 1 : -1], common.expand(n, -1)).sum(-1)
        # The last common byte predicts the first of the rest, the same for all ten.
        logits = torch.cat([first[:, -1:].repeat_interleave(10, dim=0), rest], dim=1)
        own = log_p(logits.view(n, 10, longest, 256), targets.expand(n, -1, -1))
        scores.append(shared[:, None] + (own * counted).sum(-1))
    return torch.cat(scores)


def held_out_bits(model, text, shares, window=data.CONTEXT):
    """Bits per byte over consecutive windows; each predicts the byte after every byte it holds."""
    windows = (len(text) - 1) // window
    inputs = torch.from_numpy(text[: windows * window].astype(np.int64)).view(-1, window)
    targets = torch.from_numpy(text[1 : windows * window + 1].astype(np.int64)).view(-1, window)
    total = 0.0
    for x, y in zip(inputs.split(8), targets.split(8)):
        model.trace = []
        logits, _ = model.forward(text=x)
        for layer, _, ids, _ in model.trace:
            shares.add(layer, "prose", ids)
        model.trace = None
        total -= logits.log_softmax(-1).gather(-1, y.unsqueeze(-1)).double().sum().item()
    return total / (windows * window) / math.log(2), windows * window


def golden_logits(model, pixels, best, text):
    """Returns (tensors, notes) of the sequences whose logits are committed."""
    captions = data.captions()
    sequences = {f"caption{i}": (index, captions[best[index]]) for i, index in enumerate(IMAGES)}
    sequences["prose0"] = (None, bytes(text[:200]))
    sequences["prose1"] = (None, bytes(text[50000 : 50000 + data.CONTEXT]))
    sequences["long"] = (IMAGES[-1], bytes(text[100000 : 100000 + data.CONTEXT]))
    tensors, notes = {}, {}
    for name, (index, content) in sequences.items():
        codes = np.frombuffer(content, np.uint8)
        patches = None
        if index is not None:
            tensors[f"{name}.image"] = np.array([index], np.int32)
            tensors[f"{name}.pixels"] = pixels[index][:, :, None]
            patches = torch.from_numpy(data.patches(pixels[index : index + 1]))
        model.trace = []
        logits, _ = model.forward(patches, torch.from_numpy(codes.astype(np.int64))[None])
        gap = min(g.min().item() for _, _, _, g in model.trace)
        model.trace = None
        tensors[f"{name}.text"] = codes
        tensors[f"{name}.logits"] = logits[0].numpy()
        assert gap > MIN_GAP, f"{name} is too close to a tie in routing: take another input"
        notes[f"{name}.smallest_router_gap"] = f"{gap:.2e}"
    return tensors, notes


def continuation(model, pixels, index, prompt):
    """Greedy continuation, one whole forward pass per byte; ties go to the lower byte."""
    patches = None
    if index is not None:
        patches = torch.from_numpy(data.patches(pixels[index : index + 1]))
    codes, margin = list(prompt.encode()), math.inf
    for _ in range(CONTINUATION):
        text = torch.tensor([codes]) if codes else None
        logits = model.forward(patches, text)[0][0, -1]
        top, order = logits.sort(descending=True, stable=True)
        margin = min(margin, (top[0] - top[1]).item())
        codes.append(order[0].item())
    made = codes[len(prompt.encode()):]
    result = {"prompt": prompt, "continuation_bytes": made,
              "continuation_text": bytes(made).decode("latin-1"),
              "smallest_margin": round(margin, 5)}
    if index is not None:
        result["image"] = index
        result["pixels"] = f"caption{IMAGES.index(index)}.pixels in logits.safetensors"
    return result


def dump(path, value):
    """Writes JSON with lists of numbers on one line, so that a difference can be read."""
    text = json.dumps(value, indent=1)
    text = re.sub(r"\[[-\d.,\s]+\]", lambda m: "[" + " ".join(m[0][1:-1].split()) + "]", text)
    path.write_text(text + "\n")


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=FOLDER / "fashion.safetensors")
    parser.add_argument("--output", type=Path, default=FOLDER / "reference")
    parser.add_argument("--data", default=data.DATA_DIR, help="folder of the Fashion-MNIST files")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    torch.set_float32_matmul_precision("highest")  # no bf16 or TF32 inside float32 products
    arguments.output.mkdir(exist_ok=True)

    model, shares = Reference(arguments.weights), Shares()
    pixels, labels = data.images("test", arguments.data)
    text = data.prose("held-out")

    scores = caption_scores(model, pixels, labels, shares)
    best = scores.argmax(dim=1)
    accuracy = (best.numpy() == labels).mean().item()
    print(f"accuracy {accuracy:.4f} on {len(labels)} test images", flush=True)
    safetensors_io.write(arguments.output / "predictions.safetensors", {
        "predicted": best.numpy().astype(np.uint8), "scores": scores.numpy()},
        {"content": "captions scored by log-probability, terminator included"})

    bits, count = held_out_bits(model, text, shares)
    print(f"{bits:.4f} bits per byte on {count} held-out bytes")

    tensors, notes = golden_logits(model, pixels, best.tolist(), text)
    safetensors_io.write(arguments.output / "logits.safetensors", tensors, notes)
    # The cached pass that scored the captions and the plain pass over all positions must agree.
    for i, index in enumerate(IMAGES):
        log_p = torch.from_numpy(tensors[f"caption{i}.logits"]).log_softmax(-1)[PATCHES - 1 : -1]
        codes = torch.from_numpy(tensors[f"caption{i}.text"].astype(np.int64))
        plain = log_p.gather(1, codes[:, None]).sum().item()
        assert abs(plain - scores[index].max().item()) < 1e-3, index

    made = [continuation(model, pixels, None, prompt) for prompt in TEXT_PROMPTS]
    made += [continuation(model, pixels, index, prompt) for index, prompt in IMAGE_PROMPTS]
    for entry in made:
        print(f"margin {entry['smallest_margin']:.4f}  {entry['prompt']!r} -> "
              f"{entry['continuation_text']!r}")
        assert entry["smallest_margin"] > MIN_MARGIN, "too close to a tie: take another prompt"
    dump(arguments.output / "continuations.json", made)

    rows = shares.table()
    print("share of each routed expert in the slots of its group")
    for row in rows:
        print(f"  layer {row['layer']}  {row['group']:5}  {row['tokens']:18}",
              "  ".join(f"{100 * s:5.1f} %" for s in row["share"]))
    dump(arguments.output / "metrics.json", {
        "test_images": len(labels), "test_accuracy": accuracy,
        "accuracy_by_class": {c: round((best.numpy()[labels == i] == i).mean().item(), 4)
                              for i, c in enumerate(data.CAPTIONS)},
        "held_out_bytes": count, "held_out_bits_per_byte": round(bits, 5),
        "parameters": sum(w.numel() for w in model.w.values()),
        "smallest_routed_expert_share": min(min(r["share"]) for r in rows),
        "expert_shares": rows,
        "training": {k: v for k, v in model.metadata.items() if k.startswith("training")},
        "reference_torch": torch.__version__, "reference_machine": platform.machine()})
    (arguments.output / "captions.txt").write_text("\n".join(data.CAPTIONS) + "\n")


if __name__ == "__main__":
    main()
