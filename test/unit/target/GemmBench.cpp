//===- GemmBench.cpp - Speed of matrix products ---------------------------===//
//
//   gemm-bench [level] [threads]
//
// Prints GFLOP/s and GB/s of weights of dense products: of processor time with
// one thread, of wall time with several.
//
//===----------------------------------------------------------------------===//
#include "test/lib/KernelJitProgram.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>

using namespace moec::test;

static void measure(const std::string &level, unsigned threads, int64_t rows,
                    int64_t depth, int64_t width, const std::string &x,
                    const std::string &weight) {
  auto bytes = [](int64_t count, const std::string &type) {
    // Small numbers of any type: no denormals, no infinities.
    if (type == "f32")
      return StepProgram::bytesOf(std::vector<float>(count, 0.5f));
    return StepProgram::bytesOf(std::vector<uint16_t>(count, 0x3f00));
  };
  StepProgram program;
  program.tokens = rows;
  std::string k = std::to_string(depth), n = std::to_string(width);
  program.buffer("x", "memref<?x" + k + "x" + x + ">", bytes(rows * depth, x));
  program.weight("w", n + "x" + k + "x" + weight, "#moeq.row_blocks<16>",
                 bytes((width + 15) / 16 * 16 * depth, weight));
  program.buffer("y", "memref<?x" + n + "xf32>", bytes(rows * width, "f32"));
  program.op("moex.grouped_gemm ins(%x : $x) weights(%w : $w) outs(%y : $y) "
             "rows #T compute = f32");
  std::string error;
  KernelJit *jit = program.compile(level, error);
  if (!jit) {
    std::fprintf(stderr, "%s\n", error.c_str());
    std::exit(1);
  }
  moe_step_v1 step = program.prepare();
  jit->run("f", step, threads);
  // One thread is measured by its own time, and the best of several runs
  // counts: others use the processor, too.
  auto now = [&]() -> double {
    timespec time;
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC,
                  &time);
    return static_cast<double>(time.tv_sec) +
           static_cast<double>(time.tv_nsec) * 1e-9;
  };
  double best = 1e9;
  int64_t repeats = std::max<int64_t>(1, 20000000 / (rows * depth * width));
  for (int run = 0; run < 7; ++run) {
    double start = now();
    for (int64_t i = 0; i < repeats; ++i)
      jit->run("f", step, threads);
    best = std::min(best, (now() - start) / static_cast<double>(repeats));
  }
  double flops = 2.0 * static_cast<double>(rows * depth * width);
  double weights = static_cast<double>(depth * width) * (weight == "f32" ? 4 : 2);
  std::printf("%-8s %u threads  %4ld x %5ld x %5ld  %-4s %-4s  %7.1f GFLOP/s  "
              "%6.1f GB/s\n",
              level.c_str(), threads, long(rows), long(depth), long(width),
              x.c_str(), weight.c_str(), flops / best / 1e9,
              weights / best / 1e9);
}

int main(int argc, char **argv) {
  std::string level = argc > 1 ? argv[1] : "avx2";
  unsigned threads = argc > 2 ? std::atoi(argv[2]) : 1;
  if (!canRunLevel(level)) {
    std::fprintf(stderr, "this processor cannot run %s\n", level.c_str());
    return 1;
  }
  for (int64_t depth : {256, 512, 1024, 2048})
    for (int64_t rows : {1, 2, 6, 128})
      measure(level, threads, rows, depth, 512, "f32", "bf16");
  measure(level, threads, 128, 1024, 1024, "f32", "f32");
  measure(level, threads, 128, 1024, 1024, "bf16", "bf16");
  measure(level, threads, 128, 1024, 1024, "f32", "f16");
  return 0;
}
