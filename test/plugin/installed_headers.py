#!/usr/bin/python3
"""Every header that an installed header includes is installed, too.

  installed_headers.py PREFIX

Headers of the system, of MLIR and of LLVM are not ours to install.
"""

import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#?\s*include\s+"([^"]+)"', re.MULTILINE)
FOREIGN = ("mlir/", "llvm/", "lld/", "absl/", "flatbuffers/")


def main():
    include = pathlib.Path(sys.argv[1], "include", "moec")
    folders = [include, include / "runtime" / "include"]
    headers = [path for path in sorted(include.rglob("*")) if path.is_file()]
    missing = 0
    for path in headers:
        for name in INCLUDE.findall(path.read_text(errors="replace")):
            if name.startswith(FOREIGN):
                continue
            if not any((folder / name).exists()
                       for folder in folders + [path.parent]):
                missing += 1
                print(f"{path.relative_to(include)}: {name} is not installed")
    print(f"{len(headers)} headers, {missing} missing")
    sys.exit(1 if missing or len(headers) < 20 else 0)


main()
