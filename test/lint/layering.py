#!/usr/bin/python3
"""Which folder may include what (docs/style.md, "Layers")."""

import re

import lint

# Folder: what its files may include, beside standard and system headers and
# themselves. The first entry that is a prefix of a file's path counts.
MLIR = ["mlir/", "llvm/ADT/", "llvm/Support/", "llvm/Config/"]
LLVM = ["mlir/", "llvm/"]
MANIFEST = ["runtime/abi/manifest_generated.h", "flatbuffers/"]
TABLE = [
    ("runtime/abi/", []),
    ("runtime/include/", ["moe/", "runtime/abi/"]),
    ("runtime/lib/", ["moe/", "runtime/include/", "runtime/abi/", "absl/",
                      "xxhash.h"] + MANIFEST),
    ("runtime/tools/", ["moe/", "runtime/include/", "runtime/abi/", "absl/",
                        "png.h", "jpeglib.h"] + MANIFEST),
    ("dialects/interfaces/", MLIR),
    ("dialects/row/", ["dialects/interfaces/"] + MLIR),
    ("dialects/nn/", ["dialects/interfaces/", "dialects/row/"] + MLIR),
    ("dialects/moex/", ["dialects/interfaces/", "dialects/row/",
                        "dialects/moeq/", "dialects/nn/"] + MLIR),
    ("dialects/moeq/", ["dialects/interfaces/"] + MLIR),
    ("dialects/moe/", ["dialects/"] + MLIR),
    ("passes/target/", ["passes/", "dialects/", "runtime/abi/"] + MLIR),
    ("passes/", ["dialects/"] + MLIR),
    ("frontend/", ["dialects/"] + MLIR),
    ("compiler/", ["passes/", "frontend/", "dialects/", "runtime/abi/", "lld/",
                   "xxhash.h"] + MANIFEST + LLVM),
    ("examples/", ["dialects/", "passes/", "compiler/", "moe/"] + LLVM),
]
THIRD_PARTY = ("mlir/", "mlir-c/", "llvm/", "llvm-c/", "lld/", "clang/",
               "absl/", "flatbuffers/", "png.h", "jpeglib.h", "xxhash.h")
INCLUDE = re.compile(r'^\s*#?\s*include\s+(["<])([^">]+)[">]')


def check(root):
    ours = [folder for folder, _ in TABLE]
    for path in lint.files(root, {folder.split("/")[0] for folder in ours}):
        name = path.relative_to(root).as_posix()
        folder, allowed = next(
            ((f, a) for f, a in TABLE if name.startswith(f)), (None, None))
        if folder is None:
            continue
        for number, line in lint.lines(path):
            match = INCLUDE.match(line)
            if not match:
                continue
            header = match.group(2)
            # Generated files lie beside their source; those without a folder
            # are neighbours (examples) or of the system.
            is_ours = any(header.startswith(f.split("/")[0] + "/")
                          for f in ours) or header.startswith("moe/")
            if not is_ours and not header.startswith(THIRD_PARTY):
                continue
            if header.startswith(folder):
                continue
            if any(header.startswith(prefix) for prefix in allowed):
                continue
            yield path, number, (f"{folder} may not include {header}; it may "
                                 f"include {' '.join(allowed) or 'nothing'}")


lint.main(
    check,
    good={
        "runtime/lib/load/Model.cpp": '#include "runtime/lib/load/Model.h"\n'
                                      '#include "absl/status/status.h"\n'
                                      '#include <sys/mman.h>\n',
        "dialects/moe/MoeOps.td": 'include "dialects/interfaces/A.td"\n',
        "passes/route/X.cpp": '#include "dialects/moe/MoeDialect.h"\n',
    },
    bad=[
        {"runtime/lib/A.cpp": '#include "llvm/ADT/StringRef.h"\n'},
        {"runtime/abi/a.h": '#include "moe/runtime.h"\n'},
        {"runtime/include/moe/a.h": '#include "absl/types/span.h"\n'},
        {"dialects/moex/A.td": 'include "dialects/moe/MoeBase.td"\n'},
        {"dialects/moe/A.cpp": '#include "passes/route/Passes.h"\n'},
        {"passes/route/A.cpp": '#include "frontend/Ast.h"\n'},
        {"frontend/A.cpp": '#include "compiler/driver/Driver.h"\n'},
        {"compiler/A.cpp": '#include "runtime/lib/load/Model.h"\n'},
        {"examples/x/A.cpp": '#include "frontend/Ast.h"\n'},
    ])
