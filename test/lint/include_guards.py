#!/usr/bin/python3
"""Include guards are made from the path: MOEC_<PATH>_H, MOEC_<PATH> for .td.

An example is a project of its own: its guards start at its folder and have no
MOEC_. A .td that nothing includes needs no guard.
"""

import re

import lint


def expected(root, path):
    name = path.relative_to(root)
    prefix = "MOEC_"
    if name.parts[0] == "examples":
        name = name.relative_to(*name.parts[:2])
        prefix = ""
    text = re.sub(r"[^A-Za-z0-9]", "_", name.as_posix()).upper()
    return prefix + (text[:-3] if path.suffix == ".td" else text)


def check(root):
    for path in lint.files(root, suffixes={".h", ".hpp", ".td"}):
        guard = None
        for number, line in lint.lines(path):
            if line.startswith("#"):
                guard = re.match(r"#ifndef (\w+)$", line)
                break
        if not guard:
            if path.suffix != ".td":
                yield path, 1, "expected an include guard first"
            continue
        if guard.group(1) != expected(root, path):
            yield path, number, (f"expected the include guard "
                                 f"{expected(root, path)}, found "
                                 f"{guard.group(1)}")


lint.main(
    check,
    good={
        "dialects/row/RowOps.h": "// A\n#ifndef MOEC_DIALECTS_ROW_ROWOPS_H\n",
        "dialects/row/RowOps.td": "#ifndef MOEC_DIALECTS_ROW_ROWOPS\n",
        "dialects/row/Leaf.td": 'include "a.td"\n',
        "examples/x/Acme.h": "#ifndef ACME_H\n",
    },
    bad=[
        {"dialects/row/RowOps.h": "#ifndef MOEC_DIALECTS_ROW_OLD_H\n"},
        {"dialects/row/RowOps.td": "#ifndef MOEC_DIALECTS_ROW_ROWOPS_TD\n"},
        {"passes/A.h": "#pragma once\n"},
    ])
