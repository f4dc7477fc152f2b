#!/usr/bin/python3
"""A source file has at most 800 lines, so that a reader can hold it."""

import lint

LIMIT = 800


def check(root):
    for path in lint.files(root, suffixes=lint.CODE | lint.SCRIPTS):
        count = sum(1 for _ in lint.lines(path))
        if count > LIMIT:
            yield path, LIMIT, f"expected at most {LIMIT} lines, found {count}"


lint.main(check, good={"a.cpp": "\n" * LIMIT},
          bad=[{"dialects/a.td": "\n" * (LIMIT + 1)}])
