"""Texts of moe-run, several in a batch, against a loop that knows no cache.

Each next token comes from the logits of the whole prompt so far, run alone in a process
of its own, and is chosen by the reference of sampling.py.
"""

import argparse
import pathlib
import subprocess

import numpy as np
import sampling

PROMPTS = [[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8], [15],
           [2, 7, 1, 8, 2, 8]]
TOKENS = 7


class Model:
    def __init__(self, options, artifact, *words):
        self.command = [options.run, artifact, *words]
        self.output = options.work / "logits.npy"

    def run(self, *arguments):
        done = subprocess.run([*self.command, *map(str, arguments)], check=True, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return done.stdout

    def logits(self, ids):
        self.run("--ids=" + join(ids), "--print=none", f"--output={self.output}")
        return np.load(self.output)[-1]

    def texts(self, *arguments, prompts=PROMPTS):
        """By prompt; moe-run writes them in the order in which they end."""
        lines = self.run(*(f"--prompt-ids={join(p)}" for p in prompts), *arguments).splitlines()
        assert len(lines) == len(prompts), lines
        if len(prompts) == 1:
            return [split(lines[0])]
        found = dict(line.split("\t") for line in lines)
        return [split(found[str(i)]) for i in range(len(prompts))]


def join(ids):
    return ",".join(map(str, ids))


def split(text):
    return [int(part) for part in text.split(",")]


def expected(model, prompt, stream, seed, **filters):
    ids = list(prompt)
    for position in range(len(prompt), len(prompt) + TOKENS):
        probabilities = sampling.reference(model.logits(ids), ids, **filters)
        ids.append(sampling.draw(probabilities, seed, stream, position))
    return ids[len(prompt):]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--steered", help="with expert_mask, router_bias, k_override")
    parser.add_argument("artifact")
    options = parser.parse_args()
    model = Model(options, options.artifact)
    limit = f"--max-tokens={TOKENS}"

    greedy = [expected(model, p, i, 0, temperature=0) for i, p in enumerate(PROMPTS)]
    assert model.texts(limit) == greedy

    draws = ["--temperature=1.5", "--top-k=12", "--top-p=0.98", "--min-p=0.01",
             "--repetition-penalty=1.2", "--seed=12345678901234567890"]
    drawn = [expected(model, p, i, 12345678901234567890, temperature=1.5, top_k=12,
                      top_p=0.98, min_p=0.01, repetition_penalty=1.2)
             for i, p in enumerate(PROMPTS)]
    assert drawn != greedy
    assert model.texts(limit, *draws) == drawn
    # Not what else is in the batch counts, nor the number of threads.
    assert model.texts(limit, *draws, "--stream=2", prompts=PROMPTS[2:]) == drawn[2:]
    assert model.texts(limit, *draws, "--threads=3") == drawn

    # A text ends behind its first stop token; the others go on.
    stop = drawn[0][2]
    ended = [text[: text.index(stop) + 1] if stop in text else text for text in drawn]
    assert ended != drawn
    assert model.texts(limit, *draws, f"--stop-ids={stop}") == ended

    # What is given to routers holds for every step.
    for name, numbers in (("expert-mask", np.array([[0, 1, 1, 0]], np.uint8)),
                          ("router-bias", np.array([[9, 0, 0, 5]], np.float32))):
        np.save(options.work / name, numbers)
        steered = Model(options, options.steered, f"--{name}={options.work / name}.npy",
                        "--experts-per-token=1")
        texts = [expected(steered, p, i, 0, temperature=0) for i, p in enumerate(PROMPTS)]
        assert texts != greedy
        assert steered.texts(limit) == texts
    print("texts agree")


if __name__ == "__main__":
    main()
