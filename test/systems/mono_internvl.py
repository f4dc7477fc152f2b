"""Mono-InternVL: one of two feed-forward networks, by modality."""

import harness as h

LAYERS, HIDDEN, FFN, VISUAL, PATCHES = 2, 32, 24, 40, 6


def shapes():
    result = h.decoder_shapes(LAYERS)
    result.update({"image.patch.weight": (HIDDEN, 12), "image.patch.bias": (HIDDEN,),
                   "image.position": (PATCHES, HIDDEN)})
    for layer in range(LAYERS):
        result.update(h.glu_shapes(f"layers.{layer}.text.", HIDDEN, FFN))
        result.update(h.glu_shapes(f"layers.{layer}.image.", HIDDEN, VISUAL))
    return result


def draw(rng, length):
    """Text, and where there is room for it an image of six patches inside it."""
    tokens = rng.integers(0, 64, length)
    if length < 2 * PATCHES:
        return [("--ids", "text", tokens)]
    pixels = rng.standard_normal((4, 6, 3)).astype(h.np.float32)
    return [("--ids", "text", tokens[:3]), ("--raw", "image", pixels),
            ("--ids", "text", tokens[3 + PATCHES :])]


def patches_chw(pixels):
    """[6, 12]: patches of 2 x 2 in row-major order, channels outermost."""
    return h.np.array([pixels[y : y + 2, x : x + 2].transpose(2, 0, 1).ravel()
                       for y in (0, 2) for x in (0, 2, 4)])


def patches_hwc(pixels):
    return h.np.array([pixels[y : y + 2, x : x + 2].ravel()
                       for y in (0, 2) for x in (0, 2, 4)])


def forward(w, parts, patches=patches_chw, text_only=False, positions=True):
    rows, is_image = [], []
    for _, modality, data in parts:
        if modality == "text":
            rows.append(w["embed.weight"][data])
        else:
            rows.append(h.linear(patches(data.astype(h.np.float64)), w["image.patch.weight"],
                                 w["image.patch.bias"]))
            if positions:
                rows[-1] = rows[-1] + w["image.position"]
        is_image += [modality == "image"] * len(rows[-1])
    mask = h.np.array(is_image)[:, None] & (not text_only)

    def feed(p, f):
        # What the release executes: both networks, blended by the mask.
        return (h.glu_of(w, p + "text.")(f) * (1 - mask)
                + h.glu_of(w, p + "image.")(f) * mask)

    return h.decode_rows(w, h.np.concatenate(rows), LAYERS,
                         lambda p, n: h.attention(w, p + "attn.", n, 4, 2), feed)


SYSTEM = h.System(
    "mono_internvl", "Mono-InternVL (two-way static routing)",
    "arXiv:2410.08202; the masked blend of its release",
    "feed-forward network by modality, common attention; patches with learned positions",
    shapes(), forward,
    [h.Knob("patch order", "order = chw", "order = hwc", {"patches": patches_hwc}),
     h.Knob("visual experts", None, None, {"text_only": True}),
     h.Knob("positions", None, None, {"positions": False})],
    draw=draw)

if __name__ == "__main__":
    h.main(SYSTEM)
