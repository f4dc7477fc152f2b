"""Configuration of the lit suite.

Run it from a build tree (`lit build/test`, `ninja -C build check-lit`) or from
the sources (`lit test/passes`), which takes the build in $MOEC_BUILD or build/.

Words in RUN lines, besides those of lit: the tools moec, moe-*, FileCheck, not,
count, split-file; %python (Debian's, with NumPy), %root (the repository), %llvm,
%build, %bad_plugins, %faults, %unprivileged, %ptxas. Features: slow (MOEC_SLOW=1), numpy,
avx2, avx512, sanitized, mounts, unprivileged, ptxas (of the CUDA toolkit), emulator.

MOEC_ROUND_TRIP=1 gives every moe-opt --verify-roundtrip: each input must
survive printing, parsing and bytecode.
"""

import os
import re
import subprocess

import lit.formats
import lit.util

config.name = "moec"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".moe", ".test"]
# Inputs/ holds what tests read; the others have runners of their own.
config.excludes = ["Inputs", "unit", "property", "lib", "fuzz"]
config.test_source_root = os.path.dirname(os.path.realpath(__file__))

root = os.path.dirname(config.test_source_root)
build = getattr(config, "moec_build", None) or os.environ.get(
    "MOEC_BUILD", os.path.join(root, "build"))
llvm = getattr(config, "moec_llvm", "/usr/lib/llvm-22")
config.test_exec_root = os.path.join(build, "test")
python = "/usr/bin/python3"

if not os.path.exists(os.path.join(build, "CMakeCache.txt")):
    lit_config.fatal(f"no build in {build}: run test/run.sh, or set MOEC_BUILD")

tool_folders = [os.path.join(build, "bin"),
                os.path.join(build, "runtime", "tools"),
                os.path.join(llvm, "bin")]
config.environment["PATH"] = os.pathsep.join(
    tool_folders + [config.environment.get("PATH", "")])
for name in ("MOE_ISA", "MOE_THREADS", "MOEC_PLUGIN_PATH", "ASAN_OPTIONS",
             "UBSAN_OPTIONS", "LSAN_OPTIONS"):
    if name in os.environ:
        config.environment[name] = os.environ[name]
# Diagnostics are compared as text.
config.environment["NO_COLOR"] = "1"

tools = ["FileCheck", "not", "count", "split-file"]
for folder in tool_folders[:2]:
    if os.path.isdir(folder):
        tools += sorted(n for n in os.listdir(folder) if n.startswith("moe"))
for tool in tools:
    path = lit.util.which(tool, os.pathsep.join(tool_folders))
    if not path:
        continue
    if tool == "moe-opt" and os.environ.get("MOEC_ROUND_TRIP"):
        path += " --verify-roundtrip"
    # A word of its own: neither part of a path nor of a longer name.
    config.substitutions.append(
        (rf"(?<![\w./%=-]){re.escape(tool)}(?![\w./=-])", path))

config.substitutions += [
    ("%python", python),
    ("%root", root),
    ("%llvm", llvm),
    ("%build", build),
    ("%bad_plugins", os.path.join(build, "test", "plugin")),
    ("%faults", os.path.join(build, "test", "e2e")),
]

def works(*command):
    return subprocess.run(command, capture_output=True,
                          check=False).returncode == 0


features = config.available_features
ptxas = lit.util.which("ptxas") or "/usr/local/cuda/bin/ptxas"
if os.path.exists(ptxas):
    features.add("ptxas")
    config.substitutions.append(("%ptxas", ptxas))
else:
    lit_config.note("no ptxas: kernels of devices are not assembled")
if os.path.exists(os.path.join(build, "lib", "libmoe-cuda-emu.so")):
    features.add("emulator")
# Mounting in a namespace of one's own.
if works("unshare", "-rm", "mount", "-t", "tmpfs", "none", build):
    features.add("mounts")
# Somebody whom permissions bind, and who can reach the build.
unprivileged = "env"
if os.geteuid() == 0:
    unprivileged = "setpriv --reuid=65534 --regid=65534 --clear-groups"
if works(*unprivileged.split(), os.path.join(build, "bin", "moec"),
         "--version"):
    features.add("unprivileged")
config.substitutions.append(("%unprivileged", unprivileged))
if os.environ.get("MOEC_SLOW"):
    features.add("slow")
if getattr(config, "moec_sanitize", ""):
    features.add("sanitized")
if works(python, "-c", "import numpy"):
    features.add("numpy")
with open("/proc/cpuinfo", encoding="utf-8") as info:
    flags = set(re.findall(r"\w+", info.read()))
if {"avx2", "fma", "f16c", "bmi2"} <= flags:
    features.add("avx2")
if {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512_bf16"} <= flags:
    features.add("avx512")
