"""Random weights in formats with scales, made without the compiler.

The codes are random, not numbers that were rounded: a matrix is what its codes stand
for. dialects/moeq/MoeqAttrs.td says how formats count and where #moeq.group_blocks has
them.
"""

import re
import zlib

import numpy as np

import weights
from instructions import from_bf16, to_bf16

# NormalFloat-4 (arXiv 2305.14314, appendix E).
NF4 = (-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
       -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
       0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
       0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0)
FORMAT = re.compile(r"(nf4|affine)<(?:(\d+), )?(\d+)(?:, (f32|bf16))?>")


class Format:
    def __init__(self, text):
        found = FORMAT.fullmatch(text)
        if not found:
            raise RuntimeError(f"format {text} is not known")
        self.is_integer = found[1] == "affine"
        self.bits, self.group = int(found[2] or 4), int(found[3])
        self.scale = np.float32 if found[4] == "f32" else np.uint16
        half = 1 << self.bits - 1
        self.table = (np.arange(-half, half, dtype=np.float32) if self.is_integer
                      else np.array(NF4, np.float32))

    def random(self, name, seed, shape):
        """Codes [rows, groups, group] and scales [rows, groups]; behind the last
        column codes of zero."""
        rows, columns = shape
        groups = -(-columns // self.group)
        random = np.random.default_rng([seed, zlib.crc32(name.encode())])
        codes = random.integers(0, len(self.table), (rows, groups * self.group), np.uint8)
        codes[:, columns:] = np.abs(self.table).argmin()
        size = columns ** -0.5 / np.sqrt((self.table.astype(np.float64) ** 2).mean())
        scales = (random.uniform(0.5, 1.5, (rows, groups)) * size).astype(np.float32)
        if self.scale == np.uint16:
            scales = from_bf16(to_bf16(scales)).astype(np.float32)
        return codes.reshape(rows, groups, self.group), scales

    def numbers(self, codes, scales, columns):
        """In float64: what products of integers take as it is, others round to bf16."""
        numbers = self.table[codes] * scales[:, :, None]
        numbers = numbers.reshape(len(codes), -1)[:, :columns]
        if self.is_integer:
            return numbers.astype(np.float64)
        return from_bf16(to_bf16(numbers)).astype(np.float64)

    def group_blocks(self, codes, scales):
        rows, groups, group = codes.shape
        scales = scales if self.scale == np.float32 else to_bf16(scales)
        together = 4 // scales.itemsize
        high, wide = -rows % 16, -groups % together
        codes = np.pad(codes, ((0, high), (0, wide), (0, 0)))
        scales = np.pad(scales, ((0, high), (0, wide)))
        blocks, units = len(codes) // 16, codes.shape[1] // together
        if self.bits == 4:  # four columns in the low, four in the high halves
            halves = codes.reshape(*codes.shape[:2], group // 8, 2, 4)
            lines = halves[..., 0, :] | halves[..., 1, :] << 4
        else:
            lines = codes.reshape(*codes.shape[:2], group // 4, 4)
        lines = lines.reshape(blocks, 16, units, together * lines.shape[2], 4)
        lines = lines.transpose(0, 2, 3, 1, 4).reshape(blocks, units, -1)
        scales = scales.reshape(blocks, 16, units, together).transpose(0, 2, 1, 3)
        scales = np.ascontiguousarray(scales).view(np.uint8).reshape(blocks, units, 64)
        return np.concatenate([scales, lines], axis=2).tobytes()


class Weights(weights.Weights):
    """Those of an artifact, some of them in formats with scales. `group` is that of
    products in 8-bit integers, or 0."""

    def __init__(self, seed, make, manifest):
        super().__init__(seed, make)
        self.formats = {weight["name"]: Format(weight["format"])
                        for weight in manifest["weights"] if weight["format"] != "plain"}
        if not self.formats:
            raise RuntimeError("no weight has a format with scales")
        self.group = max(f.group if f.is_integer else 0 for f in self.formats.values())

    def tensor(self, name, shape):
        if name not in self.formats:
            return super().tensor(name, shape)
        coded = self.formats[name]
        return coded.numbers(*coded.random(name, self.seed, shape), shape[1])

    def stored(self, weight):
        name = weight["name"]
        if name not in self.formats:
            return super().stored(weight)
        coded = self.formats[name]
        if weight["layout"] != "group_blocks":
            raise RuntimeError(f"weight '{name}': expected group_blocks, found "
                               f"{weight['layout']}")
        data = coded.group_blocks(*coded.random(name, self.seed, weight["shape"]))
        if len(data) != weight["bytes"]:
            raise RuntimeError(f"weight '{name}': expected {weight['bytes']} bytes, "
                               f"found {len(data)}")
        return data
