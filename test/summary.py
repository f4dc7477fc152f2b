#!/usr/bin/python3
"""Adds up the results of test/run.sh: the slowest tests, the failures, the sum.

A folder holds steps.tsv (status, seconds, name) and JUnit files of ctest and
lit. The last line is `N passed, N failed, N skipped`; status 0: nothing failed
and something passed.
"""

import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def read_steps(path):
    for line in path.read_text().splitlines():
        status, seconds, name = line.split("\t")
        yield status, float(seconds), name


def read_junit(path):
    """The test cases of a JUnit file; a broken one counts as a failure."""
    try:
        cases = list(ElementTree.parse(path).iter("testcase"))
    except ElementTree.ParseError as error:
        yield "failed", 0.0, f"{path.stem}: {error}"
        return
    for case in cases:
        skipped = case.find("skipped")
        if skipped is not None and "not selected" in skipped.get("message",
                                                                 ""):
            continue  # lit lists what --filter leaves out.
        status = "passed"
        if skipped is not None or case.get("status") in (
                "notrun", "disabled"):
            status = "skipped"
        if case.find("failure") is not None or case.find(
                "error") is not None or case.get("status") == "fail":
            status = "failed"
        # lit: classname is "suite.folder", name the file. ctest repeats name.
        group, name = case.get("classname", ""), case.get("name", "")
        label = name if group in ("", name) else f"{group}/{name}"
        yield status, float(case.get("time") or 0), f"{path.stem}: {label}"


def read(folder):
    results = []
    for path in sorted(folder.iterdir()):
        if path.suffix == ".tsv":
            results += read_steps(path)
        elif path.suffix == ".xml":
            results += read_junit(path)
    return results


def main():
    results = read(pathlib.Path(sys.argv[1]))
    count = {status: sum(1 for result in results if result[0] == status)
             for status in ("passed", "failed", "skipped")}
    print("\nSlowest:")
    for _, seconds, name in sorted(results, key=lambda r: -r[1])[:10]:
        print(f"  {seconds:8.1f} s  {name}")
    if count["failed"]:
        print("\nFailed:")
        for status, _, name in results:
            if status == "failed":
                print(f"  {name}")
    print(f"\n{count['passed']} passed, {count['failed']} failed, "
          f"{count['skipped']} skipped")
    sys.exit(1 if count["failed"] or not count["passed"] else 0)


main()
