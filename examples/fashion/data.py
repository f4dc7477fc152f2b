"""The two data sources of the fashion model and how they are split.

Images: Fashion-MNIST as the Debian package ``dataset-fashion-mnist`` installs it. The
last 2,000 training images are the validation split; the 10,000 test images are only
ever read by ``reference.py``.

Prose: the King James Bible as the ``bible`` program of the Debian package ``bible-kjv``
prints it, one verse to a line, references removed. The split is by chapter, so that no
held-out line has its neighbours in the training text: of every twenty chapters one is
held out for the final measurement, one is for validation, eighteen are for training.
"""

import gzip
import subprocess
from pathlib import Path

import numpy as np

DATA_DIR = "/usr/share/datasets/fashion-mnist"
VALIDATION_IMAGES = 2000
CONTEXT = 512  # text bytes the model accepts after an optional image

# One caption per class, in the order of the labels. Scoring and training add TERMINATOR,
# so that "shirt" is not a prefix of anything and a greedy continuation knows when to end.
CAPTIONS = [
    "a photo of a t-shirt",
    "a photo of trousers",
    "a photo of a pullover",
    "a photo of a dress",
    "a photo of a coat",
    "a photo of a sandal",
    "a photo of a shirt",
    "a photo of a sneaker",
    "a photo of a bag",
    "a photo of an ankle boot",
]
TERMINATOR = b"\n"


def _idx(path):
    """Reads one gzipped IDX file of unsigned bytes."""
    raw = gzip.decompress(Path(path).read_bytes())
    rank = raw[3]
    shape = np.frombuffer(raw, ">i4", rank, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def images(split, directory=DATA_DIR):
    """Returns (pixels u8 [n, 28, 28], labels u8 [n]) of 'train', 'validation' or 'test'."""
    prefix = "t10k" if split == "test" else "train"
    pixels = _idx(Path(directory) / f"{prefix}-images-idx3-ubyte.gz")
    labels = _idx(Path(directory) / f"{prefix}-labels-idx1-ubyte.gz")
    if split == "train":
        return pixels[:-VALIDATION_IMAGES], labels[:-VALIDATION_IMAGES]
    if split == "validation":
        return pixels[-VALIDATION_IMAGES:], labels[-VALIDATION_IMAGES:]
    return pixels, labels


def patches(pixels):
    """Cuts u8 [n, 28, 28] into the 49 patches of 4x4 pixels: u8 [n, 49, 16].

    Patches run row by row, and so do the pixels of a patch ("hwc"; there is one channel).
    """
    n = pixels.shape[0]
    grid = pixels.reshape(n, 7, 4, 7, 4).transpose(0, 1, 3, 2, 4)
    return np.ascontiguousarray(grid.reshape(n, 49, 16))


def chapters():
    """Returns the chapters as byte strings, every verse ending with a newline."""
    printed = subprocess.run(["bible", "-f", "gen1:1-rev22:21"], check=True,
                             capture_output=True, stdin=subprocess.DEVNULL).stdout
    result, current = [], None
    for line in printed.splitlines():
        reference, verse = line.split(b" ", 1)
        chapter = reference.split(b":")[0]
        if chapter != current:
            result.append(b"")
            current = chapter
        result[-1] += verse.strip() + b"\n"
    return result


def prose(split):
    """Returns the text of 'train', 'validation' or 'held-out' as one u8 array."""
    keep = {"held-out": lambda i: i % 20 == 19, "validation": lambda i: i % 20 == 9,
            "train": lambda i: i % 20 not in (9, 19)}[split]
    text = b"".join(c for i, c in enumerate(chapters()) if keep(i))
    return np.frombuffer(text, np.uint8)


def captions():
    """Returns the captions with their terminator as byte strings, in class order."""
    return [c.encode() + TERMINATOR for c in CAPTIONS]
