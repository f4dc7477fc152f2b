#!/usr/bin/env python3
"""Runs the fuzz targets of a build (ninja -C build fuzzers).

    fuzz.py replay --build=build [TARGET...]
        every seed and every former finding, once
    fuzz.py run --build=build [--seconds=30] [TARGET...]
        fuzzes each target for so long, from the corpus in BUILD/fuzz/TARGET

Seeds are made from files of the tree; test/fuzz/findings/TARGET holds inputs
that once failed. A finding of `run` is left in BUILD/fuzz/TARGET-findings: mend
the fault, and put the smallest input into test/fuzz/findings with a name that
says what it was. The status is 0 if nothing failed.
"""

import argparse
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parent.parent
TARGETS = ("frontend", "checkpoint", "safetensors", "manifest", "artifact")


def frontend_seeds(_):
    """Models of the tests and examples, whole."""
    for folder in ("test", "examples", "docs"):
        for path in sorted((TREE / folder).rglob("*.moe")):
            yield path.read_bytes()


def checkpoint_seeds(_):
    """Configurations of the golden checkpoints with the headers of their tensors,
    of one also with an index and with what generate() takes."""
    for folder in sorted((TREE / "test" / "importers" / "golden").glob("*/")):
        if not (folder / "config.json").exists():
            continue
        config = (folder / "config.json").read_bytes()
        raw = (folder / "model.safetensors").read_bytes()
        header = raw[8:8 + int.from_bytes(raw[:8], "little")].rstrip()
        yield config + b"\0" + header
        if folder.name == "mixtral-b":
            names = [name for name in json.loads(header) if name != "__metadata__"]
            index = {"metadata": {}, "weight_map": dict.fromkeys(names, "model-1.safetensors")}
            yield b"\0".join([config, header, json.dumps(index).encode(),
                              b'{"eos_token_id": [2, 5]}'])


def checkpoint_words():
    """Keys and words of the configurations."""
    words = set()
    for path in (TREE / "test" / "importers" / "golden").glob("*/config.json"):
        words.update(re.findall(r'"([\w.-]+)"', path.read_text()))
    return sorted(words)


def safetensors_seeds(_):
    """Headers, which the target makes into files, and one whole file."""
    def tensor(dtype, shape, begin, end):
        return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}

    headers = [
        {},
        {"a": tensor("F32", [4, 4], 0, 64)},
        {"a": tensor("BF16", [2, 4], 0, 16), "b": tensor("I8", [48], 16, 64),
         "__metadata__": {"format": "pt"}},
        {"a": tensor("F4", [32], 0, 16), "\u00e9\"": tensor("U8", [0], 16, 16),
         "c": tensor("C64", [], 16, 24), "d": tensor("F64", [5], 24, 64)},
    ]
    for header in headers:
        yield json.dumps(header).encode()
    text = json.dumps(headers[1]).encode().ljust(80)
    yield struct.pack("<Q", len(text)) + text + bytes(range(64))


def manifest_seeds(build):
    """The manifests of the runtime's fake artifacts, without their padding."""
    tool = build / "test" / "unit" / "runtime" / "make-fake-manifest"
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([tool, folder], check=True)
        for path in sorted(pathlib.Path(folder).glob("*.moem")):
            yield path.read_bytes().rstrip(b"\0") + b"\0\0\0\0"


def artifact_seeds(build):
    """The smallest libraries that hold a manifest and export a symbol."""
    for manifest in manifest_seeds(build):
        yield small_library(manifest)


def small_library(manifest):
    names = b"\0.shstrtab\0.moe.manifest\0.dynsym\0.dynstr\0"
    symbols = bytes(24) + struct.pack("<IBBHQQ", 1, 0x12, 0, 1, 0, 0)
    strings = b"\0moe_model_query_v1\0"
    parts = [(b".shstrtab", 3, names, 0), (b".moe.manifest", 1, manifest, 0),
             (b".dynsym", 11, symbols, 4), (b".dynstr", 3, strings, 0)]
    body, table = b"", struct.pack("<IIQQQQIIQQ", *[0] * 10)
    for name, kind, bytes_, link in parts:
        body += bytes(-len(body) % 8)
        table += struct.pack("<IIQQQQIIQQ", names.index(name), kind, 0, 0,
                             64 + 56 + len(body), len(bytes_), link, 0, 8, 0)
        body += bytes_
    body += bytes(-len(body) % 8)
    header = b"\x7fELF\2\1\1" + bytes(9) + struct.pack(
        "<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 64 + 56 + len(body), 0, 64, 56, 1,
        64, len(parts) + 1, 1)
    load = struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, 120, 120, 4096)
    return header + load + body + table


def write_seeds(target, build, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(globals()[f"{target}_seeds"](build)):
        (folder / f"seed-{number:03}").write_bytes(seed)


def command(target, build):
    words = [str(build / "test" / "fuzz" / f"fuzz-{target}"),
             # A hang is a finding; so is taking gigabytes.
             "-timeout=30", "-rss_limit_mb=2048", "-print_final_stats=1"]
    if target == "frontend":
        words.append(f"-dict={HERE / 'moe.dict'}")
    if target == "checkpoint":
        path = build / "fuzz" / "checkpoint.dict"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f'"{word}"\n' for word in checkpoint_words()))
        words.append(f"-dict={path}")
    return words


def replay(target, build, _):
    with tempfile.TemporaryDirectory() as folder:
        seeds = pathlib.Path(folder) / "seeds"
        write_seeds(target, build, seeds)
        folders = [seeds, HERE / "findings" / target]
        files = [str(p) for f in folders if f.is_dir()
                 for p in sorted(f.iterdir())]
        return subprocess.run(command(target, build) + files,
                              cwd=folder).returncode


def run(target, build, seconds):
    folder = build / "fuzz"
    findings = folder / f"{target}-findings"
    findings.mkdir(parents=True, exist_ok=True)
    corpus = folder / target
    write_seeds(target, build, corpus)
    limit = {"frontend": 5000, "checkpoint": 40000, "artifact": 8192, "manifest": 8192,
             "safetensors": 2000}[target]
    return subprocess.run(
        command(target, build) +
        [f"-max_total_time={seconds}", f"-max_len={limit}",
         f"-artifact_prefix={findings}/", str(corpus),
         *(str(f) for f in [HERE / "findings" / target] if f.is_dir())],
        cwd=folder).returncode


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("replay", "run"))
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--build", default=TREE / "build", type=pathlib.Path)
    parser.add_argument("--seconds", default=30, type=int)
    options = parser.parse_intermixed_args()
    unknown = set(options.targets) - set(TARGETS)
    if unknown:
        parser.error(f"expected targets of {', '.join(TARGETS)}, found "
                     f"{', '.join(sorted(unknown))}")
    work = replay if options.what == "replay" else run
    failed = [target for target in options.targets or TARGETS
              if work(target, options.build.resolve(), options.seconds)]
    if failed:
        print("fuzz.py: failed: " + ", ".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
