"""What the lint scripts share: walking the tree, reporting, self-tests.

A script defines check(root), a generator of (path, line, message), and ends in
  lint.main(check, good={path: text}, bad=[{path: text}, ...])
`good` and each tree of `bad` are written to a temporary folder by --self-test:
the first must pass, every other one must be reported. So no script can rot into
one that accepts everything.
"""

import os
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Folders that are not source: build trees, environments, data, other people's.
SKIPPED = {".git", ".venv", "__pycache__", "shared", ".checkpoints"}
CODE = {".c", ".cpp", ".def", ".fbs", ".h", ".hpp", ".td"}
SCRIPTS = {".py", ".sh", ".cmake"}
TEXT = CODE | SCRIPTS | {".in", ".md", ".mlir", ".moe", ".test", ".txt"}


def files(root, folders=("",), suffixes=CODE):
    """Paths under `folders` of `root` with one of `suffixes`, sorted."""
    root = pathlib.Path(root)
    found = set()
    for folder in folders:
        for here, subfolders, names in os.walk(root / folder):
            subfolders[:] = [
                name
                for name in subfolders
                if name not in SKIPPED
                and not (name.startswith("build") and here == str(root))
                and not os.path.exists(os.path.join(here, name,
                                                    "CMakeCache.txt"))
            ]
            for name in names:
                path = pathlib.Path(here, name)
                if path.suffix in suffixes and path.is_file():
                    found.add(path)
    return sorted(found)


def lines(path):
    """(number, text) of the lines of a file."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return enumerate(text.splitlines(), start=1)


def write_tree(root, tree):
    for name, text in tree.items():
        path = pathlib.Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def self_test(check, good, bad):
    failures = 0
    for number, tree in enumerate([good] + bad):
        with tempfile.TemporaryDirectory() as folder:
            write_tree(folder, tree)
            found = list(check(pathlib.Path(folder)))
        if bool(found) != (number > 0):
            failures += 1
            print(f"self-test: tree {number} {sorted(tree)}: "
                  f"expected {'a' if number else 'no'} report, found {found}")
    return failures


def report(root, found):
    count = 0
    for path, line, message in found:
        count += 1
        print(f"{os.path.relpath(path, root)}:{line}: {message}")
    return count


def main(check, good, bad):
    """Checks the tree given by the first argument, by default this one."""
    arguments = sys.argv[1:]
    if arguments == ["--self-test"]:
        sys.exit(1 if self_test(check, good, bad) else 0)
    root = pathlib.Path(arguments[0]) if arguments else ROOT
    sys.exit(1 if report(root, check(root)) else 0)
