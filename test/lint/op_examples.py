#!/usr/bin/python3
"""Runs every mlir example of the descriptions through moe-opt.

  op_examples.py --moe-opt=TOOL [--load-plugin=FILE] FOLDER...

An example is a whole module: it is parsed, verified and printed, and what was
printed is read again.
"""

import argparse
import concurrent.futures
import os
import subprocess
import sys

import lint
import ods


def run(tool, plugins, text):
    """The messages of moe-opt for `text`, empty when it is accepted."""
    result = subprocess.run([tool, "--verify-roundtrip", "-o", os.devnull, "-"]
                            + plugins, input=text, capture_output=True,
                            text=True, check=False)
    if result.returncode == 0:
        return ""
    return result.stderr or f"moe-opt ends with status {result.returncode}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--moe-opt", required=True)
    parser.add_argument("--load-plugin", action="append", default=[])
    parser.add_argument("folders", nargs="+")
    arguments = parser.parse_args()
    plugins = [f"--load-plugin={path}" for path in arguments.load_plugin]

    if not run(arguments.moe_opt, plugins, '%x = "no.such"() : () -> i1'):
        sys.exit("self-test: moe-opt accepts an unknown operation")
    todo = [(record, text)
            for record in ods.records(lint.ROOT, arguments.folders)
            for text in ods.examples(record.description)]
    if not todo:
        sys.exit("no examples: expected at least one")
    failures = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(
            lambda item: run(arguments.moe_opt, plugins, item[1]), todo)
        for (record, text), errors in zip(todo, results):
            if errors:
                failures += 1
                print(f"{os.path.relpath(record.path, lint.ROOT)}:{record.line}"
                      f": example of {record.name}:\n{text}\n{errors}")
    print(f"{len(todo)} examples, {failures} failed")
    sys.exit(1 if failures else 0)


main()
