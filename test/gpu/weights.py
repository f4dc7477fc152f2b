"""Random weights for artifacts that were compiled with --weights=none.

    python3 test/gpu/weights.py --inspect=moe-inspect --seed=1 ARTIFACT..

Writes the side file beside each artifact: normal numbers of deviation one over the
root of the row length, norms of one, in the layout in which the artifact stores them,
padding zero. A tensor depends on the seed and on its name alone, so that a copy in
another layout, and every engine that is compared, has the same numbers. With PyTorch
and a device they are made there.
"""

import argparse
import json
import pathlib
import re
import subprocess
import zlib

import numpy as np

try:
    import torch
except ImportError:
    torch = None

LAYOUT = re.compile(r"row_blocks<(\d+)(?:, (\d+))?>")


def manifest_of(inspect, artifact):
    done = subprocess.run([str(inspect), "--json", str(artifact)], capture_output=True,
                          text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout)


class NumpyMaker:
    """bf16 or f16 as 16-bit codes."""

    def __init__(self, dtype="bf16"):
        self.dtype = dtype

    def normal(self, name, seed, shape, deviation):
        random = np.random.default_rng([seed, zlib.crc32(name.encode())])
        values = random.standard_normal(shape, np.float32) * np.float32(deviation)
        if self.dtype == "f16":
            return values.astype(np.float16).view(np.uint16)
        bits = values.view(np.uint32)
        return ((bits + 0x7fff + (bits >> 16 & 1)) >> 16).astype(np.uint16)

    def ones(self, shape):
        return np.full(shape, 0x3c00 if self.dtype == "f16" else 0x3f80, np.uint16)

    def block(self, codes, rows, pack):
        """Blocks of rows, padded, as #moeq.row_blocks says."""
        height, width = codes.shape
        padded = np.zeros((-(-height // rows) * rows, -(-width // pack) * pack), codes.dtype)
        padded[:height, :width] = codes
        blocked = padded.reshape(padded.shape[0] // rows, rows, padded.shape[1] // pack, pack)
        return np.ascontiguousarray(blocked.transpose(0, 2, 1, 3))

    def bytes(self, codes):
        return memoryview(np.ascontiguousarray(codes)).cast("B")


class TorchMaker:
    """The same rules on a device; other numbers than NumPy's for a seed."""

    def __init__(self, device, dtype=None):
        self.device, self.type = device, dtype or torch.bfloat16
        self.dtype = {torch.bfloat16: "bf16", torch.float16: "f16"}[self.type]

    def normal(self, name, seed, shape, deviation):
        generator = torch.Generator(self.device).manual_seed(seed << 32 | zlib.crc32(name.encode()))
        values = torch.randn(shape, generator=generator, device=self.device)
        return (values * deviation).to(self.type)

    def ones(self, shape):
        return torch.ones(shape, dtype=self.type, device=self.device)

    def block(self, codes, rows, pack):
        height, width = codes.shape
        padded = torch.nn.functional.pad(codes, (0, -width % pack, 0, -height % rows))
        blocked = padded.view(padded.shape[0] // rows, rows, padded.shape[1] // pack, pack)
        return blocked.permute(0, 2, 1, 3).contiguous()

    def bytes(self, codes):
        return memoryview(codes.contiguous().view(torch.int16).cpu().numpy()).cast("B")


def maker(device="cuda", dtype="bf16"):
    if torch is not None and device == "cuda" and torch.cuda.is_available():
        return TorchMaker("cuda", {"bf16": torch.bfloat16, "f16": torch.float16}[dtype])
    return NumpyMaker(dtype)


class Weights:
    """The logical tensors of a layer, by name. `group`: of what rows are rounded to
    8-bit integers in, or 0."""

    group = 0

    def __init__(self, seed, make):
        self.seed, self.make = seed, make

    def tensor(self, name, shape):
        if len(shape) == 1:
            return self.make.ones(tuple(shape))
        if len(shape) != 2:
            raise RuntimeError(f"weight '{name}': expected a matrix or a vector, found {shape}")
        return self.make.normal(name, self.seed, tuple(shape), shape[1] ** -0.5)

    def stored(self, weight):
        """The bytes of a weight of a manifest."""
        name = weight["name"]
        if weight["dtype"] != self.make.dtype or weight["format"] != "plain":
            raise RuntimeError(f"weight '{name}': expected plain {self.make.dtype}, found "
                               f"{weight['format']} {weight['dtype']}")
        # Copies for a target in another layout are named after both.
        codes = self.tensor(name.removesuffix(".nvptx"), weight["shape"])
        if weight["layout"] != "row_major":
            found = LAYOUT.fullmatch(weight["layout"])
            if not found:
                raise RuntimeError(f"weight '{name}': layout {weight['layout']} is not known")
            codes = self.make.block(codes, int(found[1]), int(found[2] or 1))
        data = self.make.bytes(codes)
        if data.nbytes != weight["bytes"]:
            raise RuntimeError(f"weight '{name}': expected {weight['bytes']} bytes, "
                               f"found {data.nbytes}")
        return data


def write(artifact, manifest, weights, device=None):
    """The side file; bytes of weights that no variant (of `device`) reads stay holes."""
    artifact = pathlib.Path(artifact)
    used = set()
    for variant in manifest["variants"]:
        if device in (None, variant["device"]):
            used.update(variant["weights"])
    files = []
    for ordinal, segment in enumerate(manifest["segments"]):
        if not segment["file"]:
            continue
        path = artifact.with_name(segment["file"])
        with open(path, "wb") as file:
            file.truncate(segment["bytes"])
            for index in sorted(used):
                weight = manifest["weights"][index]
                if weight["segment"] == ordinal:
                    file.seek(weight["offset"])
                    file.write(weights.stored(weight))
        files.append(path)
    if not files:
        raise RuntimeError(f"{artifact} has its weights inside")
    return files


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--inspect", default="moe-inspect")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dtype", default="bf16", choices=["bf16", "f16"])
    parser.add_argument("artifacts", nargs="+", type=pathlib.Path)
    options = parser.parse_args()
    for artifact in options.artifacts:
        manifest = manifest_of(options.inspect, artifact)
        for path in write(artifact, manifest, Weights(options.seed, maker(dtype=options.dtype))):
            print(path)


if __name__ == "__main__":
    main()
