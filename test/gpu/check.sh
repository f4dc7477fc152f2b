#!/bin/bash
# Checks and measures on a machine with a device; runs in the folder that pack.sh
# has made, and needs nothing else but Python with NumPy and, for --bench and parts of
# --correct, PyTorch and Triton.
#
#     bash check.sh --correct [--out=FOLDER] [--budget=SECONDS]
#     bash check.sh --bench=bf16|fp16 [--out=FOLDER] [--budget=SECONDS]
#     bash check.sh --self-test EMULATOR [--interpret] [--out=FOLDER]
#     bash check.sh --dry-run=bf16|fp16 EMULATOR [--shapes=NAME,..] [--tokens=N,..]
#
# --correct takes under 5 minutes, --bench under 9: what is left undone by then is done
# by the next call with the same FOLDER. What tells most comes first, and results are
# written as they come. --self-test is --correct in the emulator (libmoe-cuda-emu.so),
# without a device and without PyTorch; with --interpret what needs PyTorch and Triton
# runs, too, on the processor. --dry-run is --bench there, whose times mean nothing. The
# last line sums up; FOLDER gets tables as JSON and Markdown. Non-zero exit: something
# failed.
set -euo pipefail

pack=$(cd "$(dirname "$0")" && pwd)
usage() {
  sed -n 's/^#     //p' "$0" >&2
  exit 2
}
mode=${1-}
[ $# -gt 0 ] && shift
dtype='' emulator=''
case $mode in
--correct) script=correct.py ;;
--bench=*) script=bench.py dtype=${mode#--bench=} ;;
--bench)
  [ $# -gt 0 ] || usage
  script=bench.py dtype=$1
  shift
  ;;
--self-test)
  [ $# -gt 0 ] || usage
  script=correct.py
  emulator=$1
  shift
  ;;
--dry-run=*)
  [ $# -gt 0 ] || usage
  script=bench.py dtype=${mode#--dry-run=} emulator=$1
  shift
  set -- --dry-run "$@"
  ;;
*) usage ;;
esac
if [ -n "$emulator" ]; then
  MOE_CUDA_DRIVER=$(realpath "$emulator")
  export MOE_CUDA_DRIVER
fi
if ! [ -x "$pack/bin/moe-run" ]; then
  echo "check.sh: expected the folder that pack.sh makes, found no bin/moe-run in it" >&2
  exit 2
fi
out=$PWD/check-results
rest=()
for word in "$@"; do
  case $word in
  --out=*) out=${word#--out=} ;;
  *) rest+=("$word") ;;
  esac
done
[ -z "$dtype" ] || rest+=("--dtype=$dtype")
python=${PYTHON:-python3}
# Nothing of the caller's may choose another device, level or way of launching.
unset MOE_DEVICE MOE_ISA MOE_GPU_ARCH MOE_CUDA_SYNC MOE_CUDA_GRAPHS
mkdir -p "$out"
"$python" "$pack/unpack.py" "$pack"
exec "$python" "$pack/$script" --pack="$pack" --out="$(cd "$out" && pwd)" ${rest+"${rest[@]}"}
