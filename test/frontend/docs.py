#!/usr/bin/env python3
"""Compiles the .moe files shown in documents.

    docs.py MOEC FILE...

A FILE is a .moe file or a Markdown document, of which every block fenced as
```moe is taken, and must be a whole file. Each is printed by MOEC --emit=ast,
and the output once more, which must not change it. A block fenced as ```moe
compile must also pass semantic analysis (--emit=moe), which the compiler may
do without weights (--weights=synthetic:SEED).
"""

import os
import re
import subprocess
import sys
import tempfile

FENCE = re.compile(r"^```moe( compile)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def texts(path):
    """Yields (name for messages, text, whether it must compile)."""
    with open(path, encoding="utf-8") as file:
        content = file.read()
    if path.endswith(".moe"):
        yield path, content, False
        return
    found = list(FENCE.finditer(content))
    if not found:
        sys.exit(f"{path}: expected blocks fenced as ```moe, found none")
    for match in found:
        # Messages of the compiler then name the line of the document.
        line = content.count("\n", 0, match.start(2)) + 1
        padding = "\n" * (line - 1)
        yield f"{path}:{line}", padding + match.group(2), bool(match.group(1))


def run(moec, options, text, folder):
    """Returns the output, or ends with the compiler's messages."""
    path = os.path.join(folder, "block.moe")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    done = subprocess.run([moec, *options, path], capture_output=True,
                          text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    moec, paths = sys.argv[1], sys.argv[2:]
    failures = count = 0
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            for name, text, compiles in texts(path):
                count += 1
                code, once, errors = run(moec, ["--emit=ast"], text, folder)
                if code == 0:
                    code, twice, errors = run(moec, ["--emit=ast"], once,
                                              folder)
                    if code == 0 and once != twice:
                        code, errors = 1, "the printed text changes\n"
                if code == 0 and compiles:
                    code, _, errors = run(
                        moec, ["--emit=moe", "--weights=synthetic:1"], text,
                        folder)
                if code != 0:
                    failures += 1
                    print(f"{name}: exit status {code}\n{errors}")
    print(f"{count} files, {failures} failed")
    sys.exit(failures != 0)


if __name__ == "__main__":
    main()
