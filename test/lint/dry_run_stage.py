#!/usr/bin/python3
"""Adds a routing stage to a copy of the tree: docs/guides/add-a-router.md.

  dry_run_stage.py --build=FOLDER [--keep]

A definition, a source, a test: nothing else may be needed. The copy is compiled
against an existing build: TableGen runs again, the new source and the one that
holds the generated list are compiled, and libmoec is linked anew. Then the tools
of the build, given that library, must know the stage: parse and print it, lower
it, find that lowering and reference agree, and take it in a .moe file.
"""

import argparse
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile

import lint

STAGES = "dialects/moe/MoeRoutingStages.td"
SOURCE = "dialects/moe/routing/DryRun.cpp"
TEST = "test/passes/check-routers/dry-run.mlir"
REGISTRATION = "dialects/moe/MoeDialect.cpp"

DEFINITION = """\
def Moe_DryRunStage : Moe_Stage<"DryRunStage", "dry_run"> {
  let summary = "scores are the squared logits plus one";
  let description = [{Example: `score(#moe.dry_run)`}];
}

"""
IMPLEMENTATION = """\
//===- DryRun.cpp - Scores are the squared logits plus one ----------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowBuilder.h"

using namespace mlir;
using namespace moec;
using namespace moec::moe;

StringRef DryRunStageAttr::getSpelling() { return "dry_run"; }
StageKind DryRunStageAttr::getStageKind() { return StageKind::Score; }
Signature DryRunStageAttr::getSignature() { return {}; }
Attribute DryRunStageAttr::build(MLIRContext *context, ArrayRef<NamedStatic>,
                                 function_ref<InFlightDiagnostic()>) {
  return get(context);
}
void DryRunStageAttr::lowerToken(OpBuilder &b, Location loc,
                                 StageState &state) const {
  row::RowBuilder rows(b, loc);
  state.scores = rows.add(rows.mul(state.logits, state.logits), rows.f32(1.0));
}
void DryRunStageAttr::evaluate(StageValues &state) const {
  for (float z : state.logits)
    state.scores.push_back(z * z + 1.0f);
}
"""
MODULE = """\
func.func @f(%z: tensor<?x8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  %ids, %w = moe.route %z score(#moe.dry_run) rank(#moe.by_score)
    select(#moe.top_k<2>) weigh(#moe.by_score_weight)
    renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>)
    : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %ids, %w : tensor<?x2xi32>, tensor<?x2xf32>
}
"""
MODEL = """\
moe 1
model dry_run
weights "x.safetensors"
dtype f32
modality text(ids: token[16]) = embed(ids, "embed.weight", to = 8)
block decoder(x) {
  r = route(linear(x, "router.weight", to = 4),
            score = dry_run, rank = score, select = top_k(2),
            weigh = score, renorm = sum, scale = 1)
  return linear(x + experts(x, r, for e in 0..4: mlp(act = silu, width = 8,
                            up = "{e}.up", down = "{e}.down")),
                "embed.weight", to = 16)
}
entry score(s: seq(text[1..8])) = decoder(s)
"""


def fail(message):
    sys.exit(f"dry run of a routing stage: {message}")


def run(command, **options):
    result = subprocess.run(command, capture_output=True, text=True,
                            check=False, **options)
    if result.returncode:
        shown = command if isinstance(command, str) else shlex.join(
            map(str, command))
        fail(f"{shown}\n{result.stdout}{result.stderr}")
    return result.stdout


def contents(root):
    return {path.relative_to(root).as_posix(): path.read_bytes()
            for path in pathlib.Path(root).rglob("*") if path.is_file()}


def copy_tree(copy):
    """The part of the tree that a newcomer touches."""
    for folder in ("dialects", "test/passes"):
        if (lint.ROOT / folder).exists():
            shutil.copytree(lint.ROOT / folder, copy / folder)


def edit_tree(copy):
    stages = copy / STAGES
    text = stages.read_text()
    end = text.rindex("#endif")
    stages.write_text(text[:end] + DEFINITION + text[end:])
    (copy / SOURCE).write_text(IMPLEMENTATION)
    (copy / TEST).parent.mkdir(parents=True, exist_ok=True)
    (copy / TEST).write_text("// RUN: moe-opt --check-routers %s\n" + MODULE)


class Rebuild:
    """What a build would do with the edited copy, with the build's commands."""

    def __init__(self, build, copy, scratch):
        self.build, self.copy, self.scratch = build, copy, scratch
        self.environment = dict(os.environ, CCACHE_DISABLE="1")

    def generate(self):
        """Every generated file whose command reads the stages."""
        commands = run(["ninja", "-C", self.build, "-t", "commands",
                        "MoecTableGen"]).splitlines()
        found = 0
        for command in commands:
            words = shlex.split(command.replace("&&", " && "))
            inputs = [w for w in words if w.startswith(str(lint.ROOT))
                      and w.endswith(".td")]
            if "-o" not in words or not inputs:
                continue
            source = pathlib.Path(inputs[0]).read_text()
            if "MoeRoutingStages" not in source + inputs[0]:
                continue
            # "cd FOLDER && mlir-tblgen ..": the output is relative to FOLDER.
            output = os.path.join(words[words.index("cd") + 1],
                                  words[words.index("-o") + 1])
            target = self.scratch / os.path.relpath(output, self.build)
            target.parent.mkdir(parents=True, exist_ok=True)
            tool = next(w for w in words if w.endswith("mlir-tblgen"))
            generator = [w for w in words if w.startswith(("-gen", "-attrdefs",
                                                           "-dialect"))]
            name = pathlib.Path(inputs[0]).relative_to(lint.ROOT)
            llvm = pathlib.Path(tool).parents[1]
            # TableGen looks in the working directory before -I.
            run([tool, *generator, "-I", self.copy, "-I", llvm / "include",
                 self.copy / name, "-o", target], cwd=self.copy)
            found += 1
        if not found:
            fail("no command of the build reads the stages")

    def compile(self, source, like):
        """The object of `source` of the copy, compiled as `like` of the tree."""
        database = json.loads(
            (self.build / "compile_commands.json").read_text())
        entry = next((e for e in database
                      if e["file"] == str(lint.ROOT / like)), None)
        if not entry:
            fail(f"the build does not compile {like}")
        words = shlex.split(entry["command"])
        output = words[words.index("-o") + 1]
        target = self.scratch / (pathlib.Path(source).name + ".o")
        words[words.index("-o") + 1] = str(target)
        words[words.index(str(lint.ROOT / like))] = str(self.copy / source)
        compiler = next(i for i, w in enumerate(words)
                        if "clang" in w or "g++" in w)
        words[compiler + 1:compiler + 1] = [f"-I{self.scratch}",
                                            f"-I{self.copy}"]
        run(words, cwd=entry["directory"], env=self.environment)
        return output, target

    def link(self, replaced, added):
        """libmoec with one object replaced and another added."""
        libraries = [line.split(":")[0] for line in run(
            ["ninja", "-C", self.build, "-t", "targets", "all"]).splitlines()
            if "libmoec.so." in line and "SHARED_LIBRARY_LINKER" in line]
        if not libraries:
            fail("the build has no rule for libmoec")
        library = libraries[0]
        command = run(["ninja", "-C", self.build, "-t", "commands", "-s",
                       library]).strip()
        old, new = replaced
        if f" {old} " not in command:
            fail(f"libmoec is not linked from {old}")
        target = self.scratch / "libmoec.so.0"
        command = command.replace(f" {old} ", f" {new} {added} ")
        command = command.replace(f"-o {library}", f"-o {target}")
        run(command, shell=True, cwd=self.build)
        return target


def check(build, scratch):
    copy, generated = scratch / "tree", scratch / "generated"
    copy_tree(copy)
    before = contents(copy)
    edit_tree(copy)
    after = contents(copy)
    touched = [name for name in after if before.get(name) != after[name]]
    if len(touched) > 3:
        fail(f"expected at most 3 files, found {touched}")

    rebuild = Rebuild(build, copy, generated)
    rebuild.generate()
    replaced = rebuild.compile(REGISTRATION, REGISTRATION)
    _, added = rebuild.compile(SOURCE, REGISTRATION)
    library = rebuild.link(replaced, added)

    environment = dict(os.environ, LD_LIBRARY_PATH=str(library.parent))
    tool = build / "bin/moe-opt"
    test = copy / TEST
    printed = run([tool, "--verify-roundtrip", test], env=environment)
    if "#moe.dry_run" not in printed:
        fail(f"expected the stage in the output, found\n{printed}")
    run([tool, "--check-routers", test], env=environment)
    lowered = run([tool, "--decompose-routing", test], env=environment)
    if "moe.route" in lowered or "row.apply" not in lowered:
        fail(f"expected a row body, found\n{lowered}")
    model = scratch / "dry_run.moe"
    model.write_text(MODEL)
    imported = run([build / "bin/moec", "--emit=mlir", "--weights=synthetic:1",
                    "--compile-to=import", model, "-o", "-"], env=environment)
    if "#moe.dry_run" not in imported:
        fail(f"expected the stage in the model, found\n{imported}")
    print(f"a routing stage from {len(touched)} files: {' '.join(touched)}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="moec-dry-run-"))
    try:
        check(arguments.build.resolve(), scratch)
    finally:
        if arguments.keep:
            print(f"kept {scratch}")
        else:
            shutil.rmtree(scratch)


main()
