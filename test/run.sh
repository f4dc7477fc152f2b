#!/usr/bin/env bash
# Builds moec and runs its tests, on Debian 12. Needs neither GPU nor terminal.
#
#   bash test/run.sh [--slow] [--no-install] [--build=FOLDER]
#
#   --slow        also: g++-12, the whole tree under sanitizers, slow tests,
#                 fuzzing
#   --no-install  never call apt-get; missing packages are an error
#   --build       where to build (default: build/ in the repository)
#
# Logs are in FOLDER/logs. The last line is `N passed, N failed, N skipped`; the
# status is 0 only when nothing failed.
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 2
slow= check_only= build=$root/build
for argument in "$@"; do
  case $argument in
  --slow) slow=1 ;;
  --no-install) check_only=--check ;;
  --build=*) build=$(realpath -m "${argument#--build=}") ;;
  -h | --help)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
    exit 0
    ;;
  *) echo "test/run.sh: unknown option $argument; see --help" >&2; exit 2 ;;
  esac
done

export LC_ALL=C.UTF-8 MOEC_BUILD=$build
llvm=/usr/lib/llvm-22
jobs=$(nproc)
logs=$build/logs
results=$logs/results
rm -rf "$results"
mkdir -p "$results"
prefix=$build/prefix

# The summary is printed whatever happens, also after an interruption.
finished=
finish() {
  [ -n "$finished" ] || record failed 0 "test/run.sh ran to its end"
  if [ -x /usr/bin/python3 ]; then
    /usr/bin/python3 "$root/test/summary.py" "$results"
    exit $?
  fi
  echo "0 passed, 1 failed, 0 skipped"
  exit 1
}
trap finish EXIT
trap 'exit 130' INT TERM

now() { date +%s.%N; }

# record STATUS SECONDS NAME: one line of results.
record() { printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$results/steps.tsv"; }

# step NAME command...: runs a command with its output in a log; the end of the
# log is shown when it fails.
step() {
  local name=$1 log start status seconds
  shift
  log=$logs/${name//[^A-Za-z0-9.-]/-}.log
  start=$(now)
  echo "[ .... ] $name"
  "$@" >"$log" 2>&1 </dev/null
  status=$?
  seconds=$(echo "$(now) $start" | awk '{printf "%.1f", $1 - $2}')
  if [ $status -eq 0 ]; then
    record passed "$seconds" "$name"
    echo "[  ok  ] $name (${seconds} s)"
  else
    record failed "$seconds" "$name"
    tail -n 80 "$log"
    echo "[ FAIL ] $name (${seconds} s, status $status, log $log)"
  fi
  return $status
}

# suite NAME command...: likewise for a command that writes a JUnit file with
# results of its own; the step counts only when it wrote none.
suite() {
  local name=$1 start status seconds log
  shift
  log=$logs/$name.log
  start=$(now)
  echo "[ .... ] $name"
  "$@" >"$log" 2>&1 </dev/null
  status=$?
  seconds=$(echo "$(now) $start" | awk '{printf "%.1f", $1 - $2}')
  if [ ! -s "$results/$name.xml" ]; then
    record failed "$seconds" "$name (no results)"
    status=1
  fi
  if [ $status -eq 0 ]; then
    echo "[  ok  ] $name (${seconds} s)"
  else
    tail -n 200 "$log"
    echo "[ FAIL ] $name (${seconds} s, log $log)"
  fi
  return $status
}

skip() { record skipped 0 "$1"; echo "[ skip ] $1: $2"; }

install_packages() {
  bash test/install-packages.sh $check_only ${slow:+g++-12}
}

configure() {
  local folder=$1
  shift
  cmake -S "$root" -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DMOEC_LLVM_ROOT=$llvm "$@"
}
with_clang=(-DCMAKE_C_COMPILER=clang-22 -DCMAKE_CXX_COMPILER=clang++-22)

run_lit() {
  local name=$1
  shift
  "$llvm/bin/lit" -v --no-progress-bar -j "$jobs" --time-tests \
    --xunit-xml-output "$results/$name.xml" "$@"
}

# A program of GoogleTest.
run_gtest() {
  local name=$1 program=$2
  "$program" --gtest_brief=1 --gtest_output="xml:$results/$name.xml"
}

run_ctest() {
  local name=$1 folder=$2
  shift 2
  ctest --test-dir "$folder" -j "$jobs" --output-on-failure --no-tests=error \
    --timeout 300 --output-junit "$results/$name.xml" "$@"
}

# Installs, then moves the result: an installation must not know where it is.
install_package() {
  rm -rf "$prefix" "$build/first-prefix" &&
    cmake --install "$build" --prefix "$build/first-prefix" &&
    mv "$build/first-prefix" "$prefix"
}

build_plugin() {
  cmake -S examples/routing-plugin -B "$build/routing-plugin" -G Ninja \
    "${with_clang[@]}" -DCMAKE_PREFIX_PATH="$prefix" \
    -DMOEC_LLVM_ROOT=$llvm &&
    cmake --build "$build/routing-plugin" -j "$jobs"
}

build_consumer() {
  rm -rf "$build/consumer"
  /usr/bin/python3 test/plugin/consumer/make_sources.py "$build/consumer/src" &&
    cmake -S "$build/consumer/src" -B "$build/consumer/build" -G Ninja \
      "${with_clang[@]}" -DCMAKE_PREFIX_PATH="$prefix" &&
    cmake --build "$build/consumer/build" -j "$jobs" &&
    ctest --test-dir "$build/consumer/build" --output-on-failure
}

# One step after another; each needs the ones before it.
main_build() {
  step packages install_packages &&
    step configure configure "$build" "${with_clang[@]}" -DMOEC_FUZZ=ON &&
    step build cmake --build "$build" -j "$jobs"
}

installed_tests() {
  step install install_package || return
  step installed-headers /usr/bin/python3 test/plugin/installed_headers.py \
    "$prefix"
  if step plugin-build build_plugin; then
    suite plugin run_lit plugin -Dmoec="$prefix" -Dllvm="$llvm" \
      -Dplugin="$build/routing-plugin/acme.so" examples/routing-plugin/test
    for subject in router format kernel; do
      step plugin-$subject-conformance \
        "$build/test/bin/$subject-conformance" \
        --load-plugin="$build/routing-plugin/acme.so"
    done
    # A router that the target has never heard of, on the emulated device.
    if grep -qw avx2 /proc/cpuinfo; then
      step plugin-emulator /usr/bin/python3 test/gpu/emulator.py \
        --build="$build" --work="$build/plugin-emulator" \
        --plugin="$build/routing-plugin/acme.so" \
        examples/routing-plugin/demo.moe
    else
      skip plugin-emulator "the processor lacks AVX2, whose level is compared"
    fi
    step plugin-examples /usr/bin/python3 test/lint/op_examples.py \
      --moe-opt="$prefix/bin/moe-opt" \
      --load-plugin="$build/routing-plugin/acme.so" examples/routing-plugin
  fi
  step consumer build_consumer
  step guide-write-a-pass /usr/bin/python3 \
    test/docs/run_page.py --prefix="$prefix" docs/guides/write-a-pass.md \
    "$build/guide-write-a-pass"
}

# The runtime, built without LLVM, under AddressSanitizer and UBSan.
sanitized_runtime() {
  step sanitized-build eval 'configure "$build/sanitized" "${with_clang[@]}" \
      -DMOEC_BUILD_COMPILER=OFF -DMOEC_SANITIZE=address,undefined \
      -DCMAKE_BUILD_TYPE=RelWithDebInfo &&
    cmake --build "$build/sanitized" -j "$jobs"' &&
    suite sanitized-runtime run_ctest sanitized-runtime "$build/sanitized"
}

# The runtime's unit tests under ThreadSanitizer.
thread_sanitized_runtime() {
  local folder=$build/thread-sanitized
  step thread-sanitized-build eval 'configure "$folder" "${with_clang[@]}" \
      -DMOEC_BUILD_COMPILER=OFF -DMOEC_SANITIZE=thread \
      -DCMAKE_BUILD_TYPE=RelWithDebInfo &&
    cmake --build "$folder" -j "$jobs" --target runtime-tests' &&
    suite thread-sanitized-runtime run_gtest thread-sanitized-runtime \
      "$folder/test/unit/runtime/runtime-tests"
}

# The frontend and the readers of files under AddressSanitizer and UBSan: their
# unit tests, and what fuzzing began with and has found so far.
sanitized_frontend() {
  local name
  step fuzzers-build cmake --build "$build" -j "$jobs" --target fuzzers ||
    return
  for name in frontend irgen; do
    suite sanitized-$name run_gtest sanitized-$name \
      "$build/test/fuzz/sanitized-$name-tests"
  done
  step fuzz-replay /usr/bin/python3 test/fuzz/fuzz.py replay --build="$build"
}

slow_tests() {
  step fuzz /usr/bin/python3 test/fuzz/fuzz.py run --build="$build" --seconds=30
  step gcc-build eval 'configure "$build/gcc" -DCMAKE_C_COMPILER=gcc-12 \
      -DCMAKE_CXX_COMPILER=g++-12 -DCMAKE_CXX_FLAGS=-Werror \
      -DCMAKE_C_FLAGS=-Werror && cmake --build "$build/gcc" -j "$jobs"' &&
    suite gcc-unit run_ctest gcc-unit "$build/gcc" &&
    suite gcc-lit run_lit gcc-lit "$build/gcc/test"
  step sanitized-compiler-build eval 'configure "$build/sanitized-all" \
      "${with_clang[@]}" -DMOEC_SANITIZE=address,undefined &&
    cmake --build "$build/sanitized-all" -j "$jobs"' &&
    suite sanitized-unit run_ctest sanitized-unit "$build/sanitized-all" &&
    ASAN_OPTIONS=detect_leaks=0 suite sanitized-lit run_lit sanitized-lit \
      "$build/sanitized-all/test"
}

[ -n "$slow" ] && export MOEC_SLOW=1
if main_build; then
  suite unit run_ctest unit "$build"
  suite lit run_lit lit "$build/test"
  MOEC_ROUND_TRIP=1 suite round-trip run_lit round-trip --filter '\.mlir$' \
    "$build/test"
  installed_tests
  step quickstart bash examples/quickstart.sh --build="$build" --images 100
  sanitized_runtime
  thread_sanitized_runtime
  sanitized_frontend
  [ -n "$slow" ] && slow_tests
else
  skip tests "there is no build to test"
fi
finished=1
