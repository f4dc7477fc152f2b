"""Writes docs/systems.md from the systems of this folder.

    generate.py --build=BUILD    runs every system and writes the page
    generate.py --check          fails where the page is not what the systems say; the
                                 figures are left to the tests of the systems themselves
"""

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import harness

HERE = Path(__file__).resolve().parent
PAGE = harness.ROOT / "docs" / "systems.md"

TEXT = """\
# Systems

Published Mixture-of-Experts systems that moec is compared with on every test run: each is a
small model of the same structure in `test/systems` (NAME.moe) and the formula, written from the
source, in float64 NumPy beside it (NAME.py). Weights are random, biases far from their
defaults, inputs of 1 and 17 tokens. A *knob* is a detail that a reading could get wrong:
changed in the reference, it must change the output; changed in the model's text as well, the
two must agree again. (Knobs in brackets are changed in the reference only.) The last column is
the decade of the largest relative error of the logits, in norm, of the compiled model in f32 on
the generic level of instructions.

Made by `python3 test/systems/generate.py --build=build`; do not edit.

| system | published as | what is special | source | knobs | error |
| --- | --- | --- | --- | --- | --- |
"""

END = """
Not modelled here: training-only parts (noise, losses), LongCat's second attention and shortcut,
capacity in Switch (nothing is dropped; GShard has one). Systems named for their attention have a
dense SwiGLU, those named for their experts attention like Llama's.
"""


def systems():
    names = sorted(path.stem for path in HERE.glob("*.moe"))
    return [importlib.import_module(name).SYSTEM for name in names]


def row(system, figure):
    knobs = ", ".join(k.name if k.old else f"({k.name})" for k in system.knobs)
    return (f"| `{system.name}` | {system.title} | {system.formula} | {system.source} | "
            f"{knobs} | below {figure} |\n")


def measure(name, build):
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        subprocess.run([sys.executable, HERE / f"{name}.py", f"--build={build}",
                        f"--work={folder}", f"--report={report}"], check=True)
        return json.loads(report.read_text())["error"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if arguments.check == bool(arguments.build):
        parser.error("expected --build or --check")
    rows = [row(system, harness.documented(system.name) if arguments.check
                else measure(system.name, arguments.build)) for system in systems()]
    page = TEXT + "".join(rows) + END
    if not arguments.check:
        PAGE.write_text(page)
    elif not PAGE.exists() or PAGE.read_text() != page:
        sys.exit(f"{PAGE} is not what the systems say; run the command that it names")


if __name__ == "__main__":
    main()
