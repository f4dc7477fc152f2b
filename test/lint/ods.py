"""Operations and attributes of a tree as TableGen sees them."""

import json
import os
import pathlib
import re
import subprocess

import lint

LLVM = pathlib.Path(os.environ.get("MOEC_LLVM_ROOT", "/usr/lib/llvm-22"))
FOLDERS = ("dialects", "passes", "examples")


class Record:
    """A def: an operation, an attribute or a pass."""

    def __init__(self, path, line, kind, fields):
        self.path = path
        self.line = line
        self.kind = kind  # "Op", "AttrDef" or "PassBase"
        self.summary = (fields.get("summary") or "").strip()
        self.description = fields.get("description") or ""
        self.has_verifier = bool(fields.get("hasVerifier")
                                 or fields.get("genVerifyDecl"))
        name = fields["!name"]
        if kind == "Op":
            # As in mlir-tblgen: what stands before the first underscore is the
            # prefix of the dialect.
            self.cpp_class = name.partition("_")[2] or name
            self.name = fields["opName"]
        else:
            self.cpp_class = fields.get("cppClassName") or name
            self.name = (fields.get("mnemonic") or fields.get("argument")
                         or name)


def records(root, folders=FOLDERS):
    """The records of every .td file, each once, in the file that defines it."""
    root = pathlib.Path(root)
    for path in lint.files(root, folders, suffixes={".td"}):
        result = subprocess.run(
            [LLVM / "bin/llvm-tblgen", "--dump-json", "-I", root, "-I",
             LLVM / "include", "-I", path.parent, path],
            capture_output=True, text=True, check=False)
        if result.returncode:
            raise SystemExit(f"{path}: {result.stderr}")
        data = json.loads(result.stdout)
        for kind in ("Op", "AttrDef", "PassBase"):
            for name in data["!instanceof"].get(kind, []):
                file, _, line = data[name]["!locs"][0].rpartition(":")
                if file and os.path.basename(file) == path.name:
                    yield Record(path, int(line), kind, data[name])


def examples(description):
    """The fenced mlir blocks of a description, without their indentation."""
    for block in re.findall(r"```mlir\n(.*?)```", description, re.DOTALL):
        indents = [len(line) - len(line.lstrip())
                   for line in block.splitlines() if line.strip()]
        yield "\n".join(line[min(indents):] for line in block.splitlines())
