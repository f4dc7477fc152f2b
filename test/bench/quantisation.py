"""What quantisation costs the fashion model, as a table.

    quantisation.py --build=BUILD --work=FOLDER [--images=10000] [--windows=394]

Compiles examples/fashion with each format and measures the accuracy on the test images and
the bits per byte of the held-out prose, as examples/fashion/reference.py does: ten captions
per image; windows of 512 bytes, each byte predicting the next. Rounding is to nearest, from
the stored weights alone: no data is seen before the measurement.

Needs what setup-training.sh of the example installs as Debian packages, and python3-numpy.
"""

import argparse
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "fashion"
sys.path.insert(0, str(EXAMPLE))
import data  # noqa: E402  (the example's own split)

VARIANTS = [("bf16", []), ("int8", ["--quantize=int8"]), ("int4", ["--quantize=int4"]),
            ("nf4", ["--quantize=nf4"]),
            ("int8, float activations", ["--quantize=int8", "--activations=float"]),
            ("int4, float activations", ["--quantize=int4", "--activations=float"])]


def run(*words):
    result = subprocess.run([str(w) for w in words], capture_output=True, check=False)
    if result.returncode:
        raise SystemExit(f"{' '.join(map(str, words))[:200]}\n"
                         + result.stderr.decode(errors="replace"))
    return result.stdout.decode(errors="replace")


def accuracy(arguments, artifact):
    text = run(arguments.build / "bin" / "fashion-classify", artifact,
               EXAMPLE / "reference" / "captions.txt", "--images", arguments.images)
    found = re.search(r"(\d+) of (\d+) test images", text)
    return int(found[1]), int(found[2])


def bits_per_byte(arguments, artifact):
    text = data.prose("held-out")
    window = data.CONTEXT
    windows = min(arguments.windows, (len(text) - 1) // window)
    output = arguments.work / "logits.npy"
    tool = arguments.build / "runtime" / "tools" / "moe-run"
    total = 0.0
    for start in range(0, windows * window, window):
        ids = ",".join(map(str, text[start : start + window]))
        run(tool, artifact, "--entry", "score", "--ids", f"text={ids}", "--print", "none",
            "--output", output)
        logits = np.load(output).astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        total -= log_p[np.arange(window), text[start + 1 : start + window + 1]].sum()
    return total / (windows * window) / math.log(2), windows * window


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=int, default=10000)
    parser.add_argument("--windows", type=int, default=394)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    first = None
    for name, options in VARIANTS:
        artifact = arguments.work / "quantised.so"
        run(arguments.build / "bin" / "moec", EXAMPLE / "fashion.moe", *options, "-o", artifact)
        right, images = accuracy(arguments, artifact)
        bits, count = bits_per_byte(arguments, artifact)
        if first is None:
            print("| format | bytes of artifact | accuracy | points | bits per byte | more |\n"
                  f"| --- | --- | --- | --- | --- | --- |\n<!-- {images} images, {count} bytes -->")
            first = (right / images, bits)
        print(f"| {name} | {artifact.stat().st_size:,} | {100 * right / images:.2f} % | "
              f"{100 * (right / images - first[0]):+.2f} | {bits:.4f} | {bits - first[1]:+.4f} |",
              flush=True)


if __name__ == "__main__":
    main()
