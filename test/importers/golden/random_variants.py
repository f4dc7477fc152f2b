"""Random configurations of every family against transformers.

    random_variants.py --build=BUILD --work=FOLDER [--count=12] [--seed=1] [FAMILY ...]

Draws `count` configurations from what test/importers/configs lists under "vary" (numbers of
heads, layers and experts, tied or not, kinds of rotary positions, schedules of layers, ...),
makes a checkpoint of each with transformers, and lets golden.py compile and compare it. A
draw that transformers itself refuses is drawn again. Run it in a virtual environment with
requirements.txt; golden.py runs in Debian's Python.
"""

import argparse
import json
import pathlib
import random
import re
import shutil
import subprocess
import sys

import reference

HERE = pathlib.Path(__file__).resolve().parent
SEEDS = 60  # tried for clear selections before the draw is given up


def draw(description, chance):
    values = dict(description["common"])
    for key, choices in description["vary"].items():
        values[key] = chance.choice(choices)
    for key, value in values.items():
        if isinstance(value, str) and value.startswith("="):
            values[key] = values[value[1:]]
    return values


def variants(family, description, count, chance):
    """Configurations with a checkpoint whose selections are clear."""
    seen, refused = set(), 0
    while len(seen) < count and refused < 20 * count:
        values = draw(description, chance)
        text = json.dumps(values, sort_keys=True)
        if text in seen:
            refused += 1
            continue
        try:
            built = reference.build(family, values, range(SEEDS))
        except (SystemExit, Exception):  # pylint: disable=broad-except
            refused += 1
            continue
        seen.add(text)
        yield built, text


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("families", nargs="*")
    options = parser.parse_args()
    total = good = 0
    for family, description in reference.families().items():
        if options.families and family not in options.families:
            continue
        chance = random.Random(f"{family} {options.seed}")
        work = options.work / family
        shutil.rmtree(work, ignore_errors=True)
        texts = {}
        for number, (built, text) in enumerate(
                variants(family, description, options.count, chance)):
            built.save(work / "goldens" / f"{number:02}")
            texts[f"{number:02}"] = text
        done = subprocess.run(
            ["/usr/bin/python3", HERE.parent / "golden.py", f"--build={options.build}",
             f"--work={work}", f"--goldens={work / 'goldens'}"],
            capture_output=True, text=True, check=False)
        match = re.search(r"(\d+) compared, (\d+) failed", done.stdout)
        compared, failed = map(int, match.groups()) if match else (len(texts), len(texts))
        total, good = total + compared, good + compared - failed
        print(f"{family:20} {compared - failed:3} of {compared:3} agree", flush=True)
        if failed:
            print(done.stdout + done.stderr)
            for name, text in texts.items():
                print(f"  {name}: {text}")
    print(f"{good} of {total} variants agree with transformers")
    sys.exit(0 if good == total else 1)


if __name__ == "__main__":
    main()
