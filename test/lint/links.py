#!/usr/bin/python3
"""Links between our pages lead somewhere, and so do paths in backticks.

A path in backticks counts when it starts at a top-level folder of the tree.
"""

import re

import lint

FOLDERS = "compiler|dialects|docs|examples|frontend|passes|runtime|test"
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
QUOTED = re.compile(rf"`((?:{FOLDERS})/[\w./-]*)`")


def check(root):
    for path in lint.files(root, suffixes={".md"}):
        fenced = False
        for number, line in lint.lines(path):
            if line.lstrip().startswith("```"):
                fenced = not fenced
            if fenced:
                continue
            for target in LINK.findall(line):
                if "://" in target or target.startswith("mailto:"):
                    continue
                if not (path.parent / target).exists():
                    yield path, number, f"link to {target}, which is missing"
            for target in QUOTED.findall(line):
                if not (root / target).exists():
                    yield path, number, f"names {target}, which is missing"


lint.main(
    check,
    good={"docs/a.md": "[b](b.md) [c](../c.md#d) `docs/b.md` `docs/<x>`\n"
                       "```\n[x](y)\n```\n[w](https://a.org)\n",
          "docs/b.md": "", "c.md": ""},
    bad=[{"docs/a.md": "[b](b.md)\n"}, {"a.md": "`docs/gone.md`\n"}])
