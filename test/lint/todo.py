#!/usr/bin/python3
"""No unfinished marks: what is missing is an issue, not a comment."""

import re

import lint

MARK = re.compile(r"\b(TODO|FIXME|XXX|HACK|WIP|TBD|not yet implemented)\b")


def check(root):
    for path in lint.files(root, suffixes=lint.TEXT):
        if path.name == "todo.py":
            continue
        for number, line in lint.lines(path):
            match = MARK.search(line)
            if match and "test/lint/todo.py" not in line:
                yield path, number, (f"expected finished work, found "
                                     f"'{match.group(1)}'")


lint.main(check, good={"a.cpp": "// method to do it\n"},
          bad=[{"a.cpp": "// TODO: more\n"}, {"docs/a.md": "TBD\n"},
               {"dialects/a.td": "WIP\n"}])
