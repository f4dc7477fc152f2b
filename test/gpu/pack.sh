#!/bin/bash
# Makes the folder that check.sh needs on a machine with a device but without
# compiler, Abseil and network: tools, artifacts, checks.
#
#     bash test/gpu/pack.sh [--small | --emulated] BUILD FOLDER
#
# BUILD is a finished build. Tools are linked anew, with Abseil and the C++ library
# inside; lib/libmoert.so.0 has its Abseil beside it, for it is loaded into Python.
# Layers carry no weights: weights.py makes them on the machine. --small leaves out
# all but two goldens and the layers of published shapes, for tests. --small and
# --emulated keep the IR of kernels, which --self-test needs and a device does not.
# At most 64 MiB without it, or it fails.
set -euo pipefail

goldens=(dbrx-a deepseek_v2-a deepseek_v3-a ernie4_5_moe-a flex_olmo-a glm4_moe-a
  gpt_oss-a granitemoe-a llama4_text-a longcat_flash-a minimax_m2-a mixtral-a olmoe-a
  phimoe-a qwen2_moe-a qwen3_moe-a)
rounded=(deepseek_v3-a gpt_oss-a mixtral-a olmoe-a qwen3_moe-a) # in bf16 as well
levels=(sm_80 sm_90a)
small=
kernel_ir=()
if [ "${1-}" = --emulated ]; then
  kernel_ir=(-femit-kernel-ir)
  shift
elif [ "${1-}" = --small ]; then
  small=1
  kernel_ir=(-femit-kernel-ir)
  goldens=(mixtral-a deepseek_v3-a)
  levels=(sm_80)
  shift
fi
if [ $# -ne 2 ]; then
  echo "usage: pack.sh [--small | --emulated] BUILD FOLDER" >&2
  exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(cd "$1" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)
llc=$(command -v llc-22 || echo /usr/lib/llvm-22/bin/llc)
moec=$build/bin/moec
# The one that made the build: a machine with our packages need not have another.
compiler=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$build/CMakeCache.txt")
rm -rf "${out:?}"/{bin,lib,layers,goldens,models,peers,instructions.*,wgmma.*}
mkdir -p "$out"/{bin,lib,layers,goldens,models}

objects() { # of a target, of those in a folder
  ninja -C "$build" -t inputs "$1" | grep "^$2/.*\.o$" | sed "s|^|$build/|"
}

# ---- programs -------------------------------------------------------------
# A list, as -l:NAME needs: archives where the tools have them.
absl=$(pkg-config --static --libs absl_status absl_statusor absl_str_format absl_strings |
  tr ' ' '\n' | sed -n 's/^-l\(absl_.*\)/-l:lib\1.a/p')
runtime=$(objects "$(cd "$build" && echo runtime/libmoert.so.*.*.*)" runtime/CMakeFiles/moert.dir)
static=(-static-libstdc++ -static-libgcc -Wl,--gc-sections -s)
link_tool() { # name, target, folder of objects
  # shellcheck disable=SC2046,SC2086 # lists
  "$compiler" -o "$out/bin/$1" $(objects "$2" "$3") $runtime -Wl,--start-group $absl \
    -Wl,--end-group -l:libz.a "${static[@]}" -lpthread -ldl
}
for tool in moe-run moe-bench moe-inspect; do
  link_tool $tool "runtime/tools/$tool" "runtime/tools/CMakeFiles/$tool.dir"
done
link_tool golden-steps test/importers/golden-steps test/importers/CMakeFiles/golden-steps.dir

# RPATH, not RUNPATH: it holds for what the libraries beside need in turn.
# shellcheck disable=SC2046,SC2086
"$compiler" -shared -o "$out/lib/libmoert.so.0" -Wl,-soname,libmoert.so.0 $runtime \
  $(pkg-config --libs absl_status absl_statusor absl_str_format absl_strings) \
  "-Wl,--version-script=$root/runtime/lib/moert.map" -Wl,-z,nodelete \
  -Wl,--disable-new-dtags '-Wl,-rpath,$ORIGIN' -static-libgcc -s -lpthread -ldl
ldd "$out/lib/libmoert.so.0" | sed -n 's/.*libabsl.* => \([^ ]*\).*/\1/p' |
  while read -r library; do
    cp -L "$library" "$out/lib/"
  done

# ---- checks ---------------------------------------------------------------
mkdir -p "$out/peers"
cp "$here"/{check.sh,unpack.py,instructions.ll} "$out/"
cp "$here"/{bench,coded,correct,driver,engines,instructions,layers,reference,results,runtime}.py \
  "$here"/{sampler,weights,wgmma}.py "$root/test/e2e/sampling.py" "$out/"
cp "$here"/peers/*.py "$out/peers/"
cp "$root/examples/fashion/safetensors_io.py" "$out/"
assemble() { # input, name, level
  "$llc" -mtriple=nvptx64-nvidia-cuda "-mcpu=$3" -mattr=+ptx80 -O3 "$1" -o "$out/$2.ptx"
}
assemble "$here/instructions.ll" instructions sm_80
/usr/bin/python3 "$here/wgmma.py" ptx >"$out/wgmma.ll"
assemble "$out/wgmma.ll" wgmma sm_90a
emulator=$(echo "$build"/lib/libmoe-cuda-emu.so)
MOE_CUDA_DRIVER=$emulator /usr/bin/python3 "$out/instructions.py" \
  "$out" --record="$out/instructions.npz" >"$out/instructions.log" || {
  cat "$out/instructions.log" >&2
  exit 1
}
rm "$out/instructions.log" "$out/wgmma.ll"

# ---- artifacts ------------------------------------------------------------
known=
for level in "${levels[@]}"; do
  if "$moec" "$root/examples/shapes/$(ls "$root/examples/shapes" | grep -m1 'moe$')" \
    --weights=none,synthetic:1 --target=nvptx "--gpu-arch=$level" --emit=ptx -no-remarks \
    -o "$out/level.ptx" 2>"$out/level.log"; then
    known=${known:+$known,}$level
  elif ! grep -q "has no level" "$out/level.log"; then
    cat "$out/level.log" >&2
    exit 1
  fi
done
rm -f "$out"/level.{ptx,log}
compile() { # input, output, options; for a processor, too, unless they say otherwise
  local target=(--target=x86_64,nvptx --levels=generic)
  [[ " ${*:3} " != *" --target="* ]] || target=()
  "$moec" "$1" -o "$2" -no-remarks ${target[@]+"${target[@]}"} \
    "--gpu-arch=$known" ${kernel_ir[@]+"${kernel_ir[@]}"} "${@:3}"
}
for golden in "${goldens[@]}"; do
  folder=$root/test/importers/golden/$golden
  compile "$folder" "$out/goldens/$golden-f32.so" --compute=f32
  [[ " ${rounded[*]} " != *" $golden "* ]] ||
    compile "$folder" "$out/goldens/$golden-bf16.so" --compute=bf16
  cp "$folder/logits.safetensors" "$out/goldens/$golden.safetensors"
done
vectors() { # name: in bf16, and in f16 with a suffix
  local dtype file
  for dtype in bf16 f16; do
    file=$out/layers/$1
    [ $dtype = bf16 ] || file=$file-$dtype
    /usr/bin/python3 "$here/layers.py" --vectors --dtype=$dtype "$1" >"$file.moe"
    compile "$file.moe" "$file.so" --target=nvptx --weights=none,synthetic:1
    rm "$file.moe"
  done
}
for layer in small odd middle; do
  vectors $layer
done
/usr/bin/python3 "$here/layers.py" --vectors coded >"$out/coded.moe"
for format in nf4 int4; do
  compile "$out/coded.moe" "$out/layers/coded-$format.so" --weights=none,synthetic:1 \
    --quantize=$format
done
rm "$out/coded.moe"
if [ -z "$small" ]; then
  for layer in $(/usr/bin/python3 -c "
import sys; sys.path.insert(0, '$here'); import layers; print(*layers.LAYERS)"); do
    vectors "$layer"
  done
  for system in "$root"/test/systems/*.moe "$here/attention.moe"; do
    compile "$system" "$out/models/$(basename "$system" .moe).so" \
      --weights=embed,synthetic:1 --compute=bf16
  done
fi
# The example is large: its weights go once, and what the processor gives beside them.
"$moec" "$root/examples/fashion/fashion.moe" -o "$out/models/fashion.so" -no-remarks \
  --target=x86_64 --levels=generic --compute=f32
MOE_DEVICE=cpu "$out/bin/moe-run" "$out/models/fashion.so" --entry prefill \
  --text "The king" --print none --output "$out/models/fashion.npy"
compile "$root/examples/fashion/fashion.moe" "$out/models/fashion.so" --target=nvptx --compute=f32
# PTX is text: a quarter is left. check.sh unpacks them.
gzip -f "$out"/{goldens,layers,models}/*.so

git -C "$root" rev-parse HEAD >"$out/revision" 2>/dev/null || echo unknown >"$out/revision"
echo "$known" >"$out/levels"
kib=$(du -sk "$out" | cut -f1)
echo "$out: $kib KiB, levels $known"
if [ ${#kernel_ir[@]} -eq 0 ] && [ "$kib" -gt 65536 ]; then
  echo "pack.sh: expected at most 65536 KiB" >&2
  exit 1
fi
