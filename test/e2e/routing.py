"""What `routing_out` exports against NumPy.

    routing.py --root=ROOT --build=BUILD --work=FOLDER

The router of each modality sees embeddings only, so its choice is a product, a
softmax and a sort. Every build of the model (fused or not, each level of
instructions) and any number of threads must export the same.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np

HIDDEN, POOL, FFN, SLOTS = 32, 6, 16, 2
VOCABULARY = {"text": 16, "tag": 8}
# In runs of one modality, as the command line gives them.
RUNS = [("text", [3, 15, 0]), ("tag", [7, 7, 1, 0]), ("text", [9]), ("tag", [2])]


def invent():
    rng = np.random.default_rng(5)
    tensors = {"head": (16, HIDDEN)}
    for name, size in VOCABULARY.items():
        tensors[f"{name}.embed"] = (size, HIDDEN)
        tensors[f"{name}.router"] = (POOL, HIDDEN)
        for e in range(POOL):
            tensors[f"{name}.{e}.up"] = (FFN, HIDDEN)
            tensors[f"{name}.{e}.down"] = (HIDDEN, FFN)
    # Deviation 1/sqrt(fan-in), so that no expert has it all.
    return {name: (rng.standard_normal(shape) / shape[1] ** 0.5).astype(np.float32)
            for name, shape in tensors.items()}


def expected(tensors):
    """ids and weights [routers, tokens, slots], and the least gap of a choice."""
    tokens = sum(len(ids) for _, ids in RUNS)
    ids = np.full((2, tokens, SLOTS), -1, np.int32)
    weights = np.zeros((2, tokens, SLOTS))
    gap, t = np.inf, 0
    for name, run in RUNS:
        router = list(VOCABULARY).index(name)
        for token in run:
            z = (tensors[f"{name}.router"].astype(np.float64)
                 @ tensors[f"{name}.embed"][token].astype(np.float64))
            p = np.exp(z - z.max())
            p /= p.sum()
            order = np.argsort(-p, kind="stable")
            gap = min(gap, p[order[1]] - p[order[2]])
            ids[router, t] = order[:SLOTS]
            weights[router, t] = p[order[:SLOTS]] / p[order[:SLOTS]].sum()
            t += 1
    return ids, weights, gap


class Run:
    def __init__(self, options):
        self.options = options
        self.tool = f"{options.build}/runtime/tools/moe-run"

    def compile(self, name, *words):
        artifact = self.options.work / name
        subprocess.run([f"{self.options.build}/bin/moec", self.options.work / "routed.moe",
                        "-o", artifact, *words], check=True)
        return artifact

    def __call__(self, artifact, *words, entry="score", export=True, **variables):
        files = [self.options.work / f"{n}.npy" for n in ("logits", "ids", "weights")]
        for file in files:
            file.unlink(missing_ok=True)
        command = [self.tool, artifact, f"--entry={entry}", f"--output={files[0]}", *words]
        command += [f"--ids={name}=" + ",".join(map(str, ids)) for name, ids in RUNS]
        if export:
            command += [f"--routing-ids={files[1]}", f"--routing-weights={files[2]}"]
        result = subprocess.run(command, capture_output=True, check=False, text=True,
                                env={**os.environ, **variables})
        if result.returncode:
            return result.stderr
        return [np.load(f) for f in files if f.exists()]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True, type=pathlib.Path)
    parser.add_argument("--build", required=True)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    options = parser.parse_args()
    sys.path.insert(0, str(options.root / "examples" / "fashion"))
    import safetensors_io
    tensors = invent()
    shutil.copy(options.root / "test" / "e2e" / "Inputs" / "routed.moe", options.work)
    safetensors_io.write(options.work / "routed.safetensors", tensors, {})

    ids, weights, gap = expected(tensors)
    assert gap > 1e-4, f"two experts of these weights are too near: {gap}"
    run = Run(options)
    fused = run.compile("routed.so")
    plain = run(fused, export=False)[0]
    first = run(fused)
    np.testing.assert_array_equal(first[1], ids)
    # f32 sums of 32 products of order one, then a softmax.
    np.testing.assert_allclose(first[2], weights, atol=1e-5)
    np.testing.assert_array_equal(first[0], plain)
    assert first[1].dtype == np.int32 and first[2].dtype == np.float32

    for threads in (1, 2, 5):
        for mine, theirs in zip(run(fused, f"--threads={threads}"), first):
            np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(run(fused, MOE_ISA="generic")[1], ids)
    for mine, theirs in zip(run(run.compile("unfused.so", "--no-fuse")), first):
        np.testing.assert_array_equal(mine, theirs)

    refused = run(fused, entry="plain")
    assert "was compiled without" in refused and "'plain'" in refused, refused


if __name__ == "__main__":
    main()
