"""Writes the safetensors file that a test describes in comments.

    python3 make_tensors.py MODEL.moe OUT.safetensors

Each line `// tensor NAME DTYPE SIZExSIZE...` of the model gives a tensor; `{a..b}`
in a name stands for a, a+1, ..., b-1, as in the language. Numbers are small,
pseudo-random and always the same. Plain Python, no NumPy.
"""

import itertools
import json
import random
import re
import struct
import sys

CODES = {"f32": "F32", "bf16": "BF16", "f16": "F16", "i32": "I32", "u8": "U8"}
BYTES = {"f32": 4, "bf16": 2, "f16": 2, "i32": 4, "u8": 1}


def expand(name):
    """The names that NAME stands for."""
    parts = re.split(r"\{(\d+)\.\.(\d+)\}", name)
    choices = [range(int(a), int(b)) for a, b in zip(parts[1::3], parts[2::3])]
    for numbers in itertools.product(*choices):
        text = parts[0]
        for number, literal in zip(numbers, parts[3::3]):
            text += str(number) + literal
        yield text


def encode(dtype, count, rng):
    """COUNT numbers as bytes."""
    if dtype in ("i32", "u8"):
        values = [rng.randrange(4) for _ in range(count)]
        return struct.pack(f"<{count}{'i' if dtype == 'i32' else 'B'}", *values)
    floats = [rng.gauss(0, 0.05) for _ in range(count)]
    if dtype == "bf16":  # the upper half of an f32
        return b"".join(struct.pack("<f", x)[2:] for x in floats)
    return struct.pack(f"<{count}{'e' if dtype == 'f16' else 'f'}", *floats)


def main():
    model, out = sys.argv[1:]
    rng = random.Random(1)
    header, data = {}, b""
    with open(model, encoding="utf-8") as source:
        lines = re.findall(r"^// tensor (\S+) (\w+) ([\dx]+)", source.read(),
                           re.MULTILINE)
    for pattern, dtype, sizes in lines:
        shape = [int(size) for size in sizes.split("x")]
        count = 1
        for size in shape:
            count *= size
        for name in expand(pattern):
            begin = len(data)
            data += encode(dtype, count, rng)
            header[name] = {"dtype": CODES[dtype], "shape": shape,
                            "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    with open(out, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


if __name__ == "__main__":
    main()
