#!/usr/bin/env bash
# From a bare Debian 12 machine to a compiled model that runs.
#
#   bash examples/quickstart.sh [--images N] [--build=FOLDER]
#
# Installs what is missing (as root), builds moec, compiles examples/fashion to
# one artifact, captions test images with it and continues a prompt. A second run
# only compiles and runs.
set -eu
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build
images=1000
while [ $# -gt 0 ]; do
  case $1 in
  --images) images=$2; shift ;;
  --build=*) build=$(realpath -m "${1#--build=}") ;;
  -h | --help) sed -n '2,9{s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
  *) echo "quickstart.sh: unknown option $1; see --help" >&2; exit 2 ;;
  esac
  shift
done
export LC_ALL=C.UTF-8
say() { printf '\n\033[1m%s\033[0m\n' "$1"; }
[ -t 1 ] || say() { printf '\n%s\n' "$1"; }

bash "$root/test/install-packages.sh"

[ -x "$build/bin/fashion-classify" ] ||
  say "Building moec (about ten minutes on two cores, once)"
[ -f "$build/CMakeCache.txt" ] ||
  cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_C_COMPILER=clang-22 -DCMAKE_CXX_COMPILER=clang++-22 >/dev/null
cmake --build "$build" -j "$(nproc)" --target moec moe-run moe-inspect \
  fashion-classify

artifact=$build/fashion.so
say "moec examples/fashion/fashion.moe -o $artifact"
time "$build/bin/moec" "$root/examples/fashion/fashion.moe" --compute=f32 \
  -o "$artifact"

say "Captions for $images test images of Fashion-MNIST"
"$build/bin/fashion-classify" "$artifact" \
  "$root/examples/fashion/reference/captions.txt" --images "$images" --show 4 \
  --prompt "And it came to pass in the morning, that the king"

say "The artifact: $artifact"
ls -l "$artifact" | awk '{print $5 " bytes, no Python, no framework, one symbol:"}'
"$(command -v llvm-nm-22 || echo nm)" -D --defined-only "$artifact"
