#!/usr/bin/python3
"""Every diagnostic of frontend/DiagnosticIds.def is reported and tested.

- An id is reported somewhere in the compiler, or it is reserved: then nothing
  reports it.
- A test expects each reported id: a lit test has it, in brackets as users see
  it, behind a FileCheck prefix; a unit test names it in an expectation.
"""

import re

import lint

ENTRY = re.compile(r"^MOEC_(RESERVED_)?DIAGNOSTIC\((E\d{3}),", re.MULTILINE)
# `// CHECK-DAG: ... [E402]`; also in a .test, without the slashes.
EXPECTED = re.compile(r"^\s*(?://|#)?\s*[A-Z][A-Z0-9_-]*:.*\[(E\d{3})\]")
USED = re.compile(r"\bDiagId::(E\d{3})\b")
# What the unit tests of the texts report themselves.
MACHINERY = "DiagnosticsTest.cpp"


def uses(root):
    return {name
            for path in lint.files(root, ("frontend", "compiler"), {".cpp"})
            for name in USED.findall(path.read_text())}


def expectations(root):
    found = set()
    for path in lint.files(root, ("test", "examples"), {".moe", ".test"}):
        for _, line in lint.lines(path):
            match = EXPECTED.match(line)
            if match:
                found.add(match.group(1))
    for path in lint.files(root, ("test",), {".cpp"}):
        if path.name != MACHINERY:
            found.update(re.findall(r"(?:DiagId::|\"|\[)(E\d{3})\b",
                                    path.read_text()))
    return found


def check(root):
    path = root / "frontend" / "DiagnosticIds.def"
    text = path.read_text()
    used, tested = uses(root), expectations(root)
    for match in ENTRY.finditer(text):
        reserved, name = match.groups()
        line = text.count("\n", 0, match.start()) + 1
        if reserved and name in used:
            yield path, line, f"{name} is reported, so it is not reserved"
        elif not reserved and name not in used:
            yield path, line, f"{name} is reported nowhere"
        elif not reserved and name not in tested:
            yield path, line, f"{name} is expected by no test"


def tree(test, reserved=""):
    return {"frontend/DiagnosticIds.def":
                f'MOEC_{reserved}DIAGNOSTIC(E101, "title",\n  "text")\n',
            "frontend/Lexer.cpp": "diagnostics.error(DiagId::E101, place,",
            **test}


GOOD = {"test/a.moe": "// CHECK-DAG: :1:1: error: no [E101]\n"}
lint.main(
    check, good=tree(GOOD),
    bad=[tree({"test/a.moe": "// E101 is something else\n"}),
         tree({"test/DiagnosticsTest.cpp": "error(DiagId::E101)"}),
         tree(GOOD, reserved="RESERVED_"),
         {**tree(GOOD), "frontend/Lexer.cpp": "// E101"}])
