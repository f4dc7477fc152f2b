#!/usr/bin/python3
"""No file depends on where it lies: no path of somebody's machine."""

import re

import lint

# /usr and /etc are the same on every Debian. Scratch is asked for when it is needed.
PATH = re.compile(r"""(?<![\w.:/}*%$])/(work|home|root|mnt|opt|srv|data|tmp)"""
                  r"""(/|(?=["'\s]))""")

# The samples below are put together, so that this file has no such path either.
SEPARATOR = "/"


def check(root):
    for path in lint.files(root, suffixes=lint.TEXT):
        if path.parent.name == "lint":
            continue  # These scripts name what they forbid.
        for number, line in lint.lines(path):
            match = PATH.search(line)
            if match:
                yield path, number, (f"expected no absolute path, found "
                                     f"{match.group(0)}")


lint.main(
    check,
    good={"a.sh": "cd \"$root/work\"\nls /usr/lib/llvm-22 /etc/apt\n",
          "b.md": "see docs/home/x and https://a.org/home/b\n"},
    bad=[{"a.sh": f"cd {SEPARATOR}work{SEPARATOR}tree\n"},
         {"a.cpp": f'open("{SEPARATOR}data{SEPARATOR}x");\n'},
         {"a.md": f"--work={SEPARATOR}tmp{SEPARATOR}x\n"},
         {"docs/a.md": f"in `{SEPARATOR}home{SEPARATOR}me`\n"}])
