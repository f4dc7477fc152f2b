"""What a step gives to its routers against NumPy, and replay against the step it repeats.

    operands.py --root=ROOT --build=BUILD --work=FOLDER

routed.moe: a router of each of two modalities, right behind the embeddings, so that a mask,
a bias, a count, forced ids and the logits that follow from them are a few lines of NumPy.

replayed.moe: routers of every kind, one behind the other. Replaying what a step exported
gives its logits bit for bit, also for other tokens and in every build; replaying what other
tokens chose is exported again as it was given.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np

import routing
from routing import HIDDEN, POOL, RUNS, SLOTS, VOCABULARY

ALL = "routing_out,routing_in,expert_mask,router_bias"
LAYERS, FFN, WIDE = 6, 16, 8


class Tools:
    def __init__(self, options):
        self.options = options

    def compile(self, model, name, *words):
        artifact = self.options.work / name
        subprocess.run([f"{self.options.build}/bin/moec", self.options.work / f"{model}.moe",
                        "-o", artifact, *words], check=True)
        return artifact

    def run(self, artifact, inputs, *words, export=True, variables=None, **arrays):
        """logits, ids and weights, or the message of a failure. `arrays` become files."""
        work = self.options.work
        files = [work / f"{n}.npy" for n in ("logits", "ids", "weights")]
        for file in files:
            file.unlink(missing_ok=True)
        command = [f"{self.options.build}/runtime/tools/moe-run", artifact,
                   f"--output={files[0]}", "--entry=score", *words, *inputs]
        if export:
            command += [f"--routing-ids={files[1]}", f"--routing-weights={files[2]}"]
        for option, array in arrays.items():
            if not isinstance(array, np.ndarray):
                command.append(f"--{option.replace('_', '-')}={array}")
                continue
            path = work / f"given-{option}.npy"
            np.save(path, array)
            command.append(f"--{option.replace('_', '-')}={path}")
        done = subprocess.run(command, capture_output=True, check=False, text=True,
                              env={**os.environ, **(variables or {})})
        if done.returncode:
            return done.stderr
        return [np.load(f) for f in files if f.exists()]


def same(found, wanted):
    for mine, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(mine, theirs)


# routed.moe ---------------------------------------------------------------------------


def tokens():
    return [(name, token) for name, run in RUNS for token in run]


def choose(tensors, bias=None, mask=None, count=SLOTS, ids=None):
    """ids and weights [routers, tokens, slots], and the least gap of a choice."""
    found = np.full((2, len(tokens()), SLOTS), -1, np.int32)
    weights = np.zeros(found.shape)
    gap = np.inf
    for t, (name, token) in enumerate(tokens()):
        r = list(VOCABULARY).index(name)
        z = tensors[f"{name}.router"].astype(float) @ tensors[f"{name}.embed"][token]
        if bias is not None:
            z = z + bias[r]
        if mask is not None:
            z = np.where(mask[r], z, -np.inf)
        p = np.exp(z - z.max())
        p /= p.sum()
        order = np.argsort(-p, kind="stable")
        gap = min(gap, p[order[count - 1]] - p[order[count]])
        chosen = order[:count]
        if ids is not None and ids[r, t, 0] != -2:
            chosen = ids[r, t]
        chosen = [e for e in chosen if e < 0 or p[e] > 0]
        found[r, t, :len(chosen)] = chosen
        used = found[r, t] >= 0
        weights[r, t, used] = p[found[r, t, used]] / p[found[r, t, used]].sum()
    return found, weights, gap


def logits(tensors, ids, weights):
    rows = []
    for t, (name, token) in enumerate(tokens()):
        r = list(VOCABULARY).index(name)
        x = tensors[f"{name}.embed"][token].astype(float)
        y = x.copy()
        for e, w in zip(ids[r, t], weights[r, t]):
            if e >= 0:
                u = tensors[f"{name}.{e}.up"].astype(float) @ x
                y += w * (tensors[f"{name}.{e}.down"] @ (u / (1 + np.exp(-u))))
        rows.append(tensors["head"] @ y)
    return np.array(rows)


def check_values(tools, tensors):
    inputs = [f"--ids={name}=" + ",".join(map(str, ids)) for name, ids in RUNS]
    plain = tools.compile("routed", "plain.so")
    full = tools.compile("routed", "full.so", f"--with={ALL},k_override={SLOTS}")
    unfused = tools.compile("routed", "unfused.so", "--no-fuse",
                            f"--with={ALL},k_override={SLOTS}")
    rng = np.random.default_rng(3)
    same(tools.run(full, inputs), tools.run(plain, inputs))
    free = choose(tensors)[0]

    mask = np.ones((2, POOL), np.uint8)
    mask[0, free[0, 0, 0]] = mask[1, free[1, 3, 0]] = 0
    bias = rng.standard_normal((2, POOL)).astype(np.float32)
    # Other experts than the routers', some slots unused, the third token left alone.
    forced = np.where(free < 0, -1, (free + 1 + np.arange(SLOTS)) % POOL).astype(np.int32)
    forced[0, 0, 1] = -1
    forced[:, 2] = -2
    cases = {
        "mask": dict(mask=mask), "bias": dict(bias=bias), "both": dict(mask=mask, bias=bias),
        "count": dict(count=1), "ids": dict(ids=forced), "all": dict(ids=forced, bias=bias)}
    for name, case in cases.items():
        ids, weights, gap = choose(tensors, **case)
        assert gap > 1e-4, f"{name}: two experts of these weights are too near: {gap}"
        assert (ids != free).any() or name == "bias", f"{name} changes nothing"
        given = {option: case[key] for key, option in
                 (("mask", "expert_mask"), ("bias", "router_bias"), ("ids", "replay_ids"))
                 if key in case}
        words = [f"--experts-per-token={case['count']}"] if "count" in case else []
        found = tools.run(full, inputs, *words, **given)
        assert not isinstance(found, str), f"{name}: {found}"
        np.testing.assert_array_equal(found[1], ids, name)
        # f32 sums of 32 products of order one, then a softmax.
        np.testing.assert_allclose(found[2], weights, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(found[0], logits(tensors, ids, weights), atol=1e-4)
        for threads in (1, 2, 5):
            same(tools.run(full, inputs, *words, f"--threads={threads}", **given), found)
        same(tools.run(unfused, inputs, *words, **given), found)
        generic = tools.run(full, inputs, *words, variables={"MOE_ISA": "generic"}, **given)
        np.testing.assert_array_equal(generic[1], ids, name)

    # Weights that no router would give.
    weights = rng.standard_normal(forced.shape).astype(np.float32)
    found = tools.run(full, inputs, replay_ids=forced, replay_weights=weights)
    own = choose(tensors)[1]
    weights = np.where(forced == -2, own, np.where(forced < 0, 0, weights))
    ids = np.where(forced == -2, free, forced)
    np.testing.assert_array_equal(found[1], ids)
    np.testing.assert_allclose(found[2], weights, atol=1e-5)
    np.testing.assert_allclose(found[0], logits(tensors, ids, weights), atol=1e-4)
    check_refusals(tools, plain, full, inputs, free)


def check_refusals(tools, plain, full, inputs, ids):
    def refused(message, artifact=full, **given):
        found = tools.run(artifact, inputs, **given)
        assert isinstance(found, str) and message in found, (message, found)

    def changed(place, value):
        result = ids.copy()
        result[place] = value
        return result

    router = "entry 'score', router 0 ('text.router')"
    refused(f"{router}, token 1, slot 1: expected an id from 0 to {POOL - 1}, or -1, found 6",
            replay_ids=changed((0, 1, 1), 6))
    refused(f"{router}, token 1, slot 0: expected an id from 0 to {POOL - 1}, or -1, found -3",
            replay_ids=changed((0, 1, 0), -3))
    refused(f"{router}, token 1, slot 1: expected different experts",
            replay_ids=changed((0, 1), 2))
    refused(f"{router}, token 2, slot 1: expected id -2 in all slots of a token or in none",
            replay_ids=changed((0, 2, 0), -2))
    refused("expected i32 [2, 9, 2], found i32 [2, 8, 2]", replay_ids=ids[:, 1:])
    nan = np.full(ids.shape, np.nan, np.float32)
    refused(f"{router}, token 0, slot 0: expected a finite weight, found nan",
            replay_ids=ids, replay_weights=nan)
    refused(f"{router}: expected a mask that leaves an expert, found none",
            expert_mask=np.zeros((2, POOL), np.uint8))
    refused(f"{router}, expert 0: expected a finite bias, found inf",
            router_bias=np.full((2, POOL), np.inf, np.float32))
    refused(f"{router}: expected a count of at most its 2 slots, found 3",
            experts_per_token=3)
    for word, option, given in (
            ("ids", "routing_in", dict(replay_ids=ids)),
            ("a mask", "expert_mask", dict(expert_mask=np.ones((2, POOL), np.uint8))),
            ("a bias", "router_bias", dict(router_bias=np.zeros((2, POOL), np.float32))),
            ("a count", "k_override", dict(experts_per_token=1))):
        refused(f"{router}: expected no {option}, which the entry was compiled without, "
                f"found {word}", artifact=plain, **given)
    weights = np.zeros(ids.shape, np.float32)
    refused("--replay-weights needs --replay-ids", replay_weights=weights)


# replayed.moe -------------------------------------------------------------------------


def invent():
    rng = np.random.default_rng(11)
    shapes = {"embed": (32, HIDDEN), "head": (32, HIDDEN)}
    for layer in range(LAYERS):
        shapes[f"{layer}.router"] = (WIDE, HIDDEN)
        for e in range(WIDE):
            shapes[f"{layer}.{e}.up"] = (FFN, HIDDEN)
            shapes[f"{layer}.{e}.down"] = (HIDDEN, FFN)
    tensors = {name: (rng.standard_normal(shape) * 2 / shape[1] ** 0.5).astype(np.float32)
               for name, shape in shapes.items()}
    tensors["1.bias"] = rng.standard_normal(WIDE).astype(np.float32)
    # Some entries of the table name no expert.
    tensors["4.table"] = rng.integers(-1, WIDE, (32, 2)).astype(np.int32)
    return tensors


def check_replay(tools):
    rng = np.random.default_rng(12)
    mine, theirs = ([f"--ids=text={','.join(map(str, rng.integers(0, 32, 23)))}"]
                    for _ in range(2))
    plain = tools.compile("replayed", "plain.so", "--with=routing_out")
    full = tools.compile("replayed", "full.so", f"--with={ALL}")
    unfused = tools.compile("replayed", "unfused.so", "--no-fuse", f"--with={ALL}")
    first, other = tools.run(plain, mine), tools.run(plain, theirs)
    same(tools.run(full, mine), first)
    for r in range(LAYERS):
        assert (first[1][r] != other[1][r]).any(), f"router {r} always chooses the same"
    assert (first[1][0] == -1)[:, :3].any(), "the capacity drops nothing"
    builds = [(full, {}), (full, {"MOE_ISA": "generic"}), (unfused, {})]
    for artifact, variables in builds:
        # What a step exported leads to the same step.
        exported = tools.run(artifact, mine, variables=variables)
        given = dict(replay_ids=exported[1], replay_weights=exported[2])
        same(tools.run(artifact, mine, variables=variables, **given), exported)
        # Other tokens on the same ways.
        moved = tools.run(artifact, mine, variables=variables,
                          replay_ids=other[1], replay_weights=other[2])
        same(moved[1:], other[1:])
        assert (moved[0] != exported[0]).any()
    moved = tools.run(full, mine, replay_ids=other[1], replay_weights=other[2])
    for threads in (1, 5):
        same(tools.run(full, mine, f"--threads={threads}", replay_ids=other[1],
                       replay_weights=other[2]), moved)

    message = tools.run(full, mine, replay_ids=first[1])
    wanted = "router 5 ('5.router'): expected weights beside the ids"
    assert isinstance(message, str) and wanted in message, message


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True, type=pathlib.Path)
    parser.add_argument("--build", required=True)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    options = parser.parse_args()
    sys.path.insert(0, str(options.root / "examples" / "fashion"))
    import safetensors_io
    for model in ("routed", "replayed"):
        shutil.copy(options.root / "test" / "e2e" / "Inputs" / f"{model}.moe", options.work)
    tensors = routing.invent()
    safetensors_io.write(options.work / "routed.safetensors", tensors, {})
    safetensors_io.write(options.work / "replayed.safetensors", invent(), {})
    tools = Tools(options)
    check_values(tools, tensors)
    check_replay(tools)


if __name__ == "__main__":
    main()
