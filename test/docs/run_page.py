"""Does what a page of the documentation tells its reader to do.

    run_page.py [--path=FOLDER]... [--link=FOLDER]... [--prefix=FOLDER] PAGE.md FOLDER

In the order of the page, in FOLDER, which is made anew:

  ```moe tiny.moe     (any language and a file name) writes that file
  ```sh               runs in bash; must succeed
  ```sh fails         likewise, and must fail
  ```sh not-run       is for the reader alone
  ```text             the output of the commands before it has these lines, in
                      this order; '..' stands for anything within a line

All commands share one shell, so that variables and `cd` last. --path goes before
PATH; --prefix is $PREFIX, an installation of moec; --link puts a link to a folder of the
repository where the commands run.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys

FENCE = re.compile(r"^```(\w+)(?: ([^\n]+))?\n(.*?)^```$",
                   re.MULTILINE | re.DOTALL)
MARK = "@@ block"


def blocks(page):
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        language, more, body = match.groups()
        yield text.count("\n", 0, match.start()) + 1, language, more, body


def script(page):
    """One shell script of all commands; blocks are told apart by MARK."""
    lines = ["exec 2>&1"]
    for line, language, more, body in blocks(page):
        if language == "sh" and more != "not-run":
            # In braces, so that nothing of a failing block goes on.
            lines += [f"echo '{MARK} {line}'",
                      "set -e" if more != "fails" else "set +e", body.rstrip()]
            lines += [f"echo '{MARK} status' $?"]
        elif more and language != "sh":
            name = f"{line}.block"
            pathlib.Path(name).write_text(body, encoding="utf-8")
            lines += [f"mkdir -p \"$(dirname '{more}')\"",
                      f"cp \"$BLOCKS/{name}\" '{more}'"]
    return "\n".join(lines) + f"\necho '{MARK} end'\n"


def outputs(text):
    """Output and status by line of the block."""
    found, current = {}, None
    for line in text.splitlines():
        if line.startswith(MARK + " status"):
            found[current][1] = int(line.split()[-1])
        elif line == MARK + " end":
            found["end"] = True
        elif line.startswith(MARK):
            current = int(line.split()[-1])
            found[current] = [[], None]
        elif current is not None:
            found[current][0].append(line)
    return found


def missing(expected, output):
    """The first expected line that the output lacks."""
    rest = iter(output)
    for line in filter(str.strip, expected.splitlines()):
        pattern = ".*".join(map(re.escape, line.split("..")))
        if not any(re.search(pattern, found) for found in rest):
            return line
    return None


def check(page, found):
    last, failures, commands = None, 0, 0

    def complain(line, message):
        nonlocal failures
        failures += 1
        print(f"{page}:{line}: {message}")

    for line, language, more, body in blocks(page):
        if language == "sh" and more != "not-run":
            commands += 1
            last = line
            if line not in found or found[line][1] is None:
                output = "\n".join(found.get(line, [[]])[0])
                complain(line, f"expected commands that succeed, found\n{output}")
                return failures
            if more == "fails" and found[line][1] == 0:
                complain(line, "expected commands that fail, found success")
        elif language == "text" and not more and last:
            line_missing = missing(body, found[last][0])
            if line_missing is not None:
                output = "\n".join(found[last][0])
                complain(line, f"expected '{line_missing}' in the output of line "
                               f"{last}, found\n{output}")
    if not commands:
        complain(1, "expected commands in ```sh blocks, found none")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", action="append", default=[])
    parser.add_argument("--link", action="append", default=[], type=pathlib.Path)
    parser.add_argument("--prefix", default="")
    parser.add_argument("page", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    options = parser.parse_args()
    page, folder = options.page.resolve(), options.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "blocks").mkdir(parents=True)
    (folder / "work").mkdir()
    for target in options.link:
        (folder / "work" / target.name).symlink_to(target.resolve())
    os.chdir(folder / "blocks")
    commands = script(page)
    environment = {**os.environ, "BLOCKS": str(folder / "blocks"),
                   "PREFIX": options.prefix, "NO_COLOR": "1",
                   "PATH": os.pathsep.join(options.path +
                                           [os.environ["PATH"]])}
    done = subprocess.run(["bash", "-c", commands], cwd=folder / "work",
                          env=environment, stdout=subprocess.PIPE, text=True,
                          check=False)
    sys.exit(1 if check(page, outputs(done.stdout)) else 0)


main()
