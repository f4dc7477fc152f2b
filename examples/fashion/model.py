"""The fashion model for training: the forward pass and the losses.

Same function as fashion.moe, arranged for throughput on a CPU. Which rows are image
patches and which are text is known from the layout of the batch, so the rows of a batch
stand in one matrix

    [ patches of all images | caption bytes of all images | bytes of all prose windows ]

and "the tokens of a modality" is a slice, never a mask. Norms, projections and the shared
expert run over all rows at once; attention sees the two kinds of sequence apart.

reference.py computes the same model a second time, plainly and without this file.
"""

import torch
import torch.nn.functional as F

BYTES, HIDDEN, DEPTH, HEADS, KV_HEADS, HEAD = 256, 256, 3, 4, 2, 64
GROUP, TOP_K, FFN, PATCHES, PATCH = 4, 2, 256, 49, 16
EPS, THETA, MAX_POSITIONS = 1e-6, 1e4, 561


def tensor_shapes():
    """Returns name -> shape of every tensor, under the names that fashion.moe uses."""
    shapes = {"text.embed.weight": (BYTES, HIDDEN), "image.patch.weight": (HIDDEN, PATCH),
              "image.patch.bias": (HIDDEN,), "image.position": (PATCHES, HIDDEN)}

    def glu(prefix):
        shapes[prefix + "gate.weight"] = (FFN, HIDDEN)
        shapes[prefix + "up.weight"] = (FFN, HIDDEN)
        shapes[prefix + "down.weight"] = (HIDDEN, FFN)

    for layer in range(DEPTH):
        at = f"layers.{layer}."
        shapes[at + "norm1.weight"] = shapes[at + "norm2.weight"] = (HIDDEN,)
        shapes[at + "attn.q.weight"] = (HEADS * HEAD, HIDDEN)
        shapes[at + "attn.k.weight"] = (KV_HEADS * HEAD, HIDDEN)
        shapes[at + "attn.v.weight"] = (KV_HEADS * HEAD, HIDDEN)
        shapes[at + "attn.o.weight"] = (HIDDEN, HEADS * HEAD)
        for modality in ("text", "image"):
            shapes[at + f"moe.{modality}.router.weight"] = (GROUP, HIDDEN)
            for expert in range(GROUP):
                glu(at + f"moe.{modality}.experts.{expert}.")
        glu(at + "moe.shared.")
    shapes["norm.weight"] = (HIDDEN,)
    shapes["head.weight"] = (BYTES, HIDDEN)
    return shapes


def initial_weights(seed):
    """Returns fresh float32 parameters: unit-variance maps, damped where they end in a residual."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in tensor_shapes().items():
        if "norm" in name:
            value = torch.ones(shape)
        elif name.endswith("bias"):
            value = torch.zeros(shape)
        else:
            deviation = shape[-1] ** -0.5
            if name == "text.embed.weight":
                deviation = 0.5
            elif name == "image.position":
                deviation = 0.2
            elif name.endswith(("attn.o.weight", "down.weight")):
                deviation *= (2 * DEPTH) ** -0.5
            elif name.endswith(("router.weight", "head.weight")):
                deviation *= 0.3  # begin near a uniform choice
            value = torch.randn(shape, generator=generator) * deviation
        weights[name] = value.requires_grad_()
    return weights


def rotary_table():
    """Returns (cos, sin), each [positions, HEAD/2], for the "half" style of rotary positions."""
    frequency = THETA ** (-torch.arange(0, HEAD, 2, dtype=torch.float64) / HEAD)
    angle = torch.arange(MAX_POSITIONS, dtype=torch.float64)[:, None] * frequency
    return angle.cos().float(), angle.sin().float()


def glu(x, w, prefix):
    """SwiGLU; gate and up share one product, since wide products run faster."""
    both = torch.cat([w[prefix + "gate.weight"], w[prefix + "up.weight"]])
    gate, up = (x @ both.T).chunk(2, dim=-1)
    return (F.silu(gate) * up) @ w[prefix + "down.weight"].T


def route(x, w, prefix):
    """Returns (probabilities [n, GROUP], chosen ids [n, TOP_K], their weights)."""
    probabilities = (x @ w[prefix + "router.weight"].T).softmax(dim=-1)
    top, ids = probabilities.topk(TOP_K, dim=-1)
    return probabilities, ids, top / top.sum(dim=-1, keepdim=True)


def experts(x, ids, gates, w, prefix):
    """Runs each row through its chosen experts: sort slots by expert, one product per expert."""
    order = ids.flatten().argsort(stable=True)
    counts = torch.bincount(ids.flatten(), minlength=GROUP).tolist()
    parts = x.index_select(0, order // TOP_K).split(counts)
    slots = torch.cat([glu(part, w, f"{prefix}experts.{e}.") for e, part in enumerate(parts)])
    back = torch.empty_like(order)
    back[order] = torch.arange(order.numel())
    slots = slots.index_select(0, back).view(-1, TOP_K, HIDDEN)
    return (gates.unsqueeze(-1) * slots).sum(dim=1)


def imbalance(probabilities, ids):
    """The load-balance loss of a group: 1 when every expert gets the same share."""
    share = torch.bincount(ids.flatten(), minlength=GROUP) / ids.numel()
    return GROUP * (share * probabilities.mean(dim=0)).sum()


class Batch:
    """Inputs of one step. captions and prose are input bytes, without the last target."""

    def __init__(self, patches, captions, prose):
        self.patches, self.captions, self.prose = patches, captions, prose
        self.images, self.caption_length = captions.shape
        self.image_rows = self.images * PATCHES
        self.caption_rows = captions.numel()


class Model:
    """Holds the weights by name and evaluates a Batch."""

    def __init__(self, weights):
        self.w = weights
        self.cos, self.sin = rotary_table()

    def rotate(self, x):
        """Rotates [batch, length, heads, HEAD] by position."""
        cos = self.cos[: x.shape[1], None]
        sin = self.sin[: x.shape[1], None]
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)

    def attend(self, qkv):
        """Causal attention inside each sequence of [batch, length, q|k|v]."""
        batch, length, _ = qkv.shape
        q, k, v = (part.view(batch, length, -1, HEAD)
                   for part in qkv.split([HEADS * HEAD, KV_HEADS * HEAD, KV_HEADS * HEAD], dim=-1))
        out = F.scaled_dot_product_attention(
            self.rotate(q).transpose(1, 2), self.rotate(k).transpose(1, 2), v.transpose(1, 2),
            is_causal=True, enable_gqa=True)
        return out.transpose(1, 2).reshape(batch, length, HEADS * HEAD)

    def attention(self, x, batch, prefix):
        w = self.w
        qkv = x @ torch.cat([w[prefix + f"attn.{p}.weight"] for p in "qkv"]).T
        image, caption, prose = qkv.split(
            [batch.image_rows, batch.caption_rows, batch.prose.numel()])
        parts = []
        if batch.images:
            merged = torch.cat([image.view(batch.images, PATCHES, -1),
                                caption.view(batch.images, batch.caption_length, -1)], dim=1)
            out = self.attend(merged)
            parts += [out[:, :PATCHES].reshape(batch.image_rows, -1),
                      out[:, PATCHES:].reshape(batch.caption_rows, -1)]
        if batch.prose.numel():
            parts.append(self.attend(prose.view(*batch.prose.shape, -1))
                         .view(batch.prose.numel(), -1))
        return torch.cat(parts) @ w[prefix + "attn.o.weight"].T

    def forward(self, batch):
        """Returns (logits at the last patches, at the captions, at the prose; balance loss;
        mean of the patches as the last layer finds them)."""
        w = self.w
        pixels = batch.patches.view(-1, PATCH).float() / 255
        image = pixels @ w["image.patch.weight"].T + w["image.patch.bias"]
        image = image.view(-1, PATCHES, HIDDEN) + w["image.position"]
        text = torch.cat([batch.captions.flatten(), batch.prose.flatten()])
        x = torch.cat([image.view(-1, HIDDEN), F.embedding(text, w["text.embed.weight"])])
        balance = 0.0
        for layer in range(DEPTH):
            at = f"layers.{layer}."
            if layer == DEPTH - 1:
                # What the text can still read of the image; see the "summary" loss in train.py.
                summary = F.rms_norm(x[: batch.image_rows], (HIDDEN,), eps=EPS)
                summary = summary.view(batch.images, PATCHES, HIDDEN).mean(dim=1)
            n = F.rms_norm(x, (HIDDEN,), w[at + "norm1.weight"], EPS)
            x = x + self.attention(n, batch, at)
            f = F.rms_norm(x, (HIDDEN,), w[at + "norm2.weight"], EPS)
            f_image, f_text = f.split([batch.image_rows, text.numel()])
            p_image, i_image, g_image = route(f_image, w, at + "moe.image.")
            p_text, i_text, g_text = route(f_text, w, at + "moe.text.")
            # Prose is what has to be balanced on the text side: captions are few and alike.
            if batch.images:
                balance = balance + imbalance(p_image, i_image)
            if batch.prose.numel():
                balance = balance + imbalance(p_text[batch.caption_rows:],
                                              i_text[batch.caption_rows:])
            if layer == DEPTH - 1:
                # After the last attention an image matters only through its last patch, which
                # predicts the first caption byte. Nothing reads the other rows: leave them out.
                live = slice(PATCHES - 1, batch.image_rows, PATCHES)
                x = torch.cat([x[live], x[batch.image_rows:]])
                f = torch.cat([f[live], f_text])
                f_image, i_image, g_image = f_image[live], i_image[live], g_image[live]
                if batch.images:
                    balance = balance + imbalance(p_image[live], i_image)
            routed = torch.cat([experts(f_image, i_image, g_image, w, at + "moe.image."),
                                experts(f_text, i_text, g_text, w, at + "moe.text.")])
            x = x + routed + glu(f, w, at + "moe.shared.")
        logits = F.rms_norm(x, (HIDDEN,), w["norm.weight"], EPS) @ w["head.weight"].T
        last, caption, prose = logits.split(
            [batch.images, batch.caption_rows, batch.prose.numel()])
        return last, caption, prose, balance, summary
