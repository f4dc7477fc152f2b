"""Compiles and runs the models of examples/shapes at a tiny depth.

Widths of heads and of the stream stay; layers, experts, their widths and the
vocabulary shrink, so that invented weights take seconds.
"""

import argparse
import json
import math
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
    count(artifact, options)
    # As many threads as one likes.
    third = logits(run, artifact, ids, work / "third.npy", "--threads=3")
    assert (first == third).all(), source.name


def count(artifact, options):
    """Bytes and operations of a step as moe-bench has them, against sums over the
    manifest; its breakdown has the same in parts."""
    tools = f"{options.build}/runtime/tools"
    inspected = json.loads(subprocess.run([f"{tools}/moe-inspect", "--json", artifact],
                                          check=True, capture_output=True).stdout)
    tests = json.loads(subprocess.run(
        [f"{tools}/moe-bench", artifact, "-p", "9", "-n", "3", "-b", "1,4", "-r", "1", "-o",
         "json", "--no-limits", "--breakdown=kinds,layers,kernels"], check=True, capture_output=True).stdout)["tests"]
    slots = inspected["routers"][0]["slots"]
    experts = inspected["routers"][0]["experts"]
    assert [t["test"] for t in tests] == ["pp9", "tg3", "tg3 b4"]
    for test, tokens, rows, keys in zip(tests, (9, 1, 4), (1, 1, 4), (45, 2, 8)):
        hit = test["experts_hit"]
        assert slots <= hit <= min(experts, slots * tokens), (artifact, hit)
        size = operations = looked_up = 0
        for weight in inspected["weights"]:
            elements = math.prod(weight["shape"])
            matrix = len(weight["shape"]) == 2
            if weight["role"] == "embed":
                looked_up += weight["bytes"] / weight["shape"][0] * tokens
            elif weight["expert"] >= 0:
                size += weight["bytes"] * hit / experts
                operations += 2 * elements * slots / experts * tokens
            else:
                size += weight["bytes"]
                head = weight["layer"] < 0 and matrix
                operations += 2 * elements * (rows if head else tokens) * matrix
            if weight["role"] == "q":  # products with keys and with values
                operations += 2 * 2 * weight["shape"][0] * keys
        check_parts(test, inspected, size, operations)
        size += looked_up
        np.testing.assert_allclose(test["weight_bytes_per_step"], size, rtol=1e-9)
        np.testing.assert_allclose(test["operations_per_step"], operations, rtol=1e-9)
        cache = inspected["states"]
        row = sum(2 * s["width"] for s in cache)
        assert test["cache_bytes_per_step"] == row * keys, (artifact, test)


def check_parts(test, inspected, size, operations):
    """Every list has all bytes, operations and intervals of the step, and says where
    they belong."""
    lists = {}
    for part in test["breakdown"]:
        lists.setdefault(part["list"], []).append(part)
    assert sorted(lists) == ["kernels", "kinds", "layers"], sorted(lists)
    intervals = len(lists["kernels"]) - 1  # and what is outside of them
    assert intervals in {v["intervals"] for v in inspected["variants"]}
    for parts in lists.values():
        assert sum(p["intervals"] for p in parts) == intervals
        assert parts[-1]["part"] == "outside"
        np.testing.assert_allclose(sum(p["weight_bytes_per_step"] for p in parts), size,
                                   rtol=1e-9)
        # A prompt's last layer may leave out rows that nobody wants.
        found = sum(p["operations_per_step"] for p in parts)
        assert found <= operations * (1 + 1e-9), (found, operations)
        np.testing.assert_allclose(found, operations, rtol=0.1 if test["n_prompt"] else 1e-9)
    kinds = {p["part"]: p for p in lists["kinds"]}
    for kind in ("attention", "append", "dense", "head", "router", "experts gate+up",
                 "experts down"):
        assert kind in kinds, (kind, sorted(kinds))
    assert kinds["attention"]["intervals"] == SMALL["depth"]
    assert {p.get("layer") for p in lists["layers"]} == {None, *range(SMALL["depth"])}
    for part in lists["kernels"]:
        assert bool(part["weight"]) == (part["weight_bytes_per_step"] > 0), part


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
