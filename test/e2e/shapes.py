"""Compiles and runs the models of examples/shapes at a tiny depth.

Widths of heads and of the stream stay; layers, experts, their widths and the
vocabulary shrink, so that invented weights take seconds.
"""

import argparse
import pathlib
import re
import subprocess
import sys

import numpy as np

SMALL = {"depth": 2, "experts": 8, "ffn": 64, "shared_ffn": 96, "vocab": 300,
         "context": 256}


def shrink(source):
    for name, size in SMALL.items():
        source = re.sub(rf"\b{name} = \d+", f"{name} = {size}", source)
    return source


def logits(tool, artifact, ids, output, *options):
    subprocess.run([tool, artifact, "--ids=" + ",".join(map(str, ids)),
                    "--print=none", f"--output={output}", *options],
                   check=True, stderr=subprocess.DEVNULL)
    return np.load(output)


def check(source, options, work):
    text = shrink(source.read_text(encoding="utf-8"))
    assert text != source.read_text(encoding="utf-8"), "nothing to shrink"
    small = work / source.name
    small.write_text(text, encoding="utf-8")
    artifact = work / (source.stem + ".so")
    subprocess.run([f"{options.build}/bin/moec", small, "-o", artifact,
                    "--weights=synthetic:7"], check=True)
    run = f"{options.build}/runtime/tools/moe-run"
    ids = [7, 299, 0, 31, 31, 150, 8]
    first = logits(run, artifact, ids, work / "first.npy")
    assert first.shape == (1, SMALL["vocab"]), first.shape
    assert np.isfinite(first).all() and np.ptp(first) > 0, source.name
    # Another token in front must matter: the layers see each other.
    second = logits(run, artifact, [8] + ids[1:], work / "second.npy")
    assert (first != second).any(), source.name
    # As many threads as one likes.
    third = logits(run, artifact, ids, work / "third.npy", "--threads=3")
    assert (first == third).all(), source.name


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True, type=pathlib.Path)
    parser.add_argument("--build", required=True)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    options = parser.parse_args()
    sources = sorted((options.root / "examples" / "shapes").glob("*.moe"))
    if len(sources) < 4:
        sys.exit(f"expected at least 4 shapes, found {len(sources)}")
    for source in sources:
        check(source, options, options.work)


if __name__ == "__main__":
    main()
