"""Reads and writes safetensors files with numpy alone.

The format: a little-endian u64 with the length of a JSON header, the header, the data. The
header maps a tensor name to dtype, shape and the range of its bytes in the data; under
``__metadata__`` it may hold strings. Tensors are float32, int32 or uint8 arrays; float32
arrays are stored as BF16 when asked for, and BF16 tensors are read back as float32.
"""

import json
import struct
from pathlib import Path

import numpy as np

DTYPES = {"F32": np.dtype("<f4"), "I32": np.dtype("<i4"), "U8": np.dtype("u1"),
          "BF16": np.dtype("<u2")}


def to_bf16(array):
    """Rounds finite float32 to the nearest bfloat16, ties to even; returns its bits as u16."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def from_bf16(bits):
    """Widens bfloat16 bits to float32, exactly."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def write(path, tensors, metadata, bf16=False):
    """Writes name -> array, wide types first so that every tensor is aligned in the file."""
    stored = []
    for name, array in tensors.items():
        if bf16 and array.dtype == np.float32:
            stored.append((name, "BF16", to_bf16(array)))
        else:
            kind = next(k for k, d in DTYPES.items() if d == array.dtype and k != "BF16")
            stored.append((name, kind, np.ascontiguousarray(array)))
    stored.sort(key=lambda item: -item[2].itemsize)
    header, offset = {"__metadata__": {k: str(v) for k, v in metadata.items()}}, 0
    for name, kind, array in stored:
        header[name] = {"dtype": kind, "shape": list(array.shape),
                        "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data begins at a multiple of eight bytes
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, array in stored:
            file.write(array.tobytes())


def read(path):
    """Returns (name -> array, metadata)."""
    raw = Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + length])
    metadata, tensors = header.pop("__metadata__", {}), {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        array = np.frombuffer(raw[8 + length + begin : 8 + length + end], DTYPES[entry["dtype"]])
        if entry["dtype"] == "BF16":
            array = from_bf16(array)
        tensors[name] = array.reshape(entry["shape"])
    return tensors, metadata
