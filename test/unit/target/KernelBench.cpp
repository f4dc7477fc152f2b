//===- KernelBench.cpp - Speed of the heavy kernels -----------------------===//
//
//   kernel-bench [level] [threads]
//
// Prints GFLOP/s and GB/s of weights of dense products, and GFLOP/s of
// attention: of processor time with one thread, of wall time with several.
//
//===----------------------------------------------------------------------===//
#include "test/lib/KernelJitProgram.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>

using namespace moec::test;

namespace {

struct Bench {
  std::string level;
  unsigned threads;

  /// Seconds of one step; the best of several runs: others use the processor,
  /// too.
  double measure(StepProgram &program, double flops) const {
    std::string error;
    KernelJit *jit = program.compile(level, error);
    if (!jit) {
      std::fprintf(stderr, "%s\n", error.c_str());
      std::exit(1);
    }
    moe_step_v1 step = program.prepare();
    jit->run("f", step, threads);
    auto repeats = static_cast<int64_t>(std::max(1.0, 4e7 / flops));
    double best = 1e9;
    for (int run = 0; run < 7; ++run) {
      double start = now();
      for (int64_t i = 0; i < repeats; ++i)
        jit->run("f", step, threads);
      best = std::min(best, (now() - start) / static_cast<double>(repeats));
    }
    return best;
  }

  void gemm(int64_t rows, int64_t depth, int64_t width, const std::string &x,
            const std::string &weight,
            const std::string &compute = "f32") const;
  void integers(int64_t rows, int64_t depth, int64_t width, int64_t bits) const;
  void attention(int64_t tokens, int64_t cached, const std::string &type) const;

private:
  double now() const {
    timespec time;
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC,
                  &time);
    return static_cast<double>(time.tv_sec) +
           static_cast<double>(time.tv_nsec) * 1e-9;
  }
};

/// Small numbers of any type: no denormals, no infinities.
std::vector<char> numbers(int64_t count, const std::string &type) {
  if (type == "f32")
    return StepProgram::bytesOf(std::vector<float>(count, 0.5f));
  return StepProgram::bytesOf(std::vector<uint16_t>(count, 0x3f00));
}

std::string text(int64_t value) { return std::to_string(value); }

void Bench::gemm(int64_t rows, int64_t depth, int64_t width,
                 const std::string &x, const std::string &weight,
                 const std::string &compute) const {
  StepProgram program;
  program.tokens = rows;
  std::string k = text(depth), n = text(width);
  program.buffer("x", "memref<?x" + k + "x" + x + ">",
                 numbers(rows * depth, x));
  program.weight("w", n + "x" + k + "x" + weight, weight == "bf16" ? "#moeq.row_blocks<16, 2>" : "#moeq.row_blocks<16>",
                 numbers((width + 15) / 16 * 16 * depth, weight));
  program.buffer("y", "memref<?x" + n + "xf32>", numbers(rows * width, "f32"));
  program.op("moex.grouped_gemm ins(%x : $x) weights(%w : $w) outs(%y : $y) "
             "rows #T compute = " + compute);
  double flops = 2.0 * static_cast<double>(rows * depth * width);
  double bytes = static_cast<double>(depth * width) * (weight == "f32" ? 4 : 2);
  double seconds = measure(program, flops);
  std::printf("%-8s gemm %4ld x %5ld x %5ld  %-4s %-4s %-4s  %7.1f GFLOP/s  "
              "%6.1f GB/s\n",
              level.c_str(), long(rows), long(depth), long(width), x.c_str(),
              weight.c_str(), compute.c_str(), flops / seconds / 1e9, bytes / seconds / 1e9);
}

/// int8 or int4: codes and scales of zero take as long as any.
void Bench::integers(int64_t rows, int64_t depth, int64_t width,
                     int64_t bits) const {
  StepProgram program;
  program.tokens = rows;
  std::string k = text(depth), n = text(width);
  program.buffer("x", "memref<?x" + k + "xbf16>",
                 numbers(rows * depth, "bf16"));
  int64_t bytes = bits == 8 ? depth * width / 128 * 132 : depth * width / 32 * 18;
  program.weight("w", n + "x" + k + "xbf16", "#moeq.group_blocks",
                 std::vector<char>(bytes),
                 bits == 8 ? "#moeq.affine<8, 128, f32>"
                           : "#moeq.affine<4, 32, bf16>");
  program.buffer("y", "memref<?x" + n + "xf32>", numbers(rows * width, "f32"));
  program.op("moex.grouped_gemm ins(%x : $x) weights(%w : $w) outs(%y : $y) "
             "rows #T compute = i8");
  double operations = 2.0 * static_cast<double>(rows * depth * width);
  double seconds = measure(program, operations);
  std::printf("%-8s gemm %4ld x %5ld x %5ld  bf16 int%ld i8    %7.1f GOP/s    "
              "%6.1f GB/s\n",
              level.c_str(), long(rows), long(depth), long(width), long(bits),
              operations / seconds / 1e9,
              static_cast<double>(bytes) / seconds / 1e9);
}

/// 8 heads of 64 on 2 key heads, new tokens after cached ones.
void Bench::attention(int64_t tokens, int64_t cached,
                      const std::string &type) const {
  constexpr int64_t heads = 8, kvHeads = 2, size = 64;
  StepProgram program;
  program.tokens = tokens;
  int64_t pages = (tokens + cached + 63) / 64;
  program.pagesPerSequence = pages;
  for (int64_t page = 0; page < pages; ++page)
    program.pageTable.push_back(static_cast<int32_t>(page));
  double keys = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    program.positions.push_back(static_cast<int32_t>(cached + t));
    keys += static_cast<double>(cached + t + 1);
  }
  std::string row = text(heads * size), kvRow = text(kvHeads * size);
  for (const char *state : {"k", "v"})
    program.state(state, kvRow + "x" + type,
                  numbers(pages * 64 * kvHeads * size, type));
  program.buffer("q", "memref<?x" + row + "x" + type + ">",
                 numbers(tokens * heads * size, type));
  program.buffer("y", "memref<?x" + row + "x" + type + ">",
                 numbers(tokens * heads * size, type));
  program.op("moex.attention ins(%q : $q) state(@k, @v) outs(%y : $y) "
             "heads = 8 kv_heads = 2 scale = 0.125 compute = f32");
  double flops = keys * heads * size * 4;
  double seconds = measure(program, flops);
  std::printf("%-8s attention %4ld tokens after %4ld  %-4s  %7.1f GFLOP/s\n",
              level.c_str(), long(tokens), long(cached), type.c_str(),
              flops / seconds / 1e9);
}

} // namespace

int main(int argc, char **argv) {
  Bench bench{argc > 1 ? argv[1] : "avx2",
              argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 1};
  if (!canRunLevel(bench.level)) {
    std::fprintf(stderr, "this processor cannot run %s\n",
                 bench.level.c_str());
    return 1;
  }
  for (int64_t depth : {256, 512, 1024, 2048})
    for (int64_t rows : {1, 2, 6, 128})
      bench.gemm(rows, depth, 512, "f32", "bf16");
  for (int64_t rows : {1, 2, 4, 6, 16, 64, 512})
    bench.gemm(rows, 2048, 4096, "bf16", "bf16", "bf16");
  bench.gemm(64, 2048, 4096, "f32", "bf16", "bf16");
  for (int64_t bits : {8, 4})
    for (int64_t rows : {1, 2, 6, 64, 512})
      for (int64_t width : {512, 8192})
        bench.integers(rows, 2048, width, bits);
  bench.gemm(128, 1024, 1024, "f32", "f32");
  bench.gemm(128, 1024, 1024, "bf16", "bf16");
  bench.gemm(128, 1024, 1024, "f32", "f16");
  for (const char *type : {"f32", "bf16"}) {
    bench.attention(1, 1000, type);
    bench.attention(128, 0, type);
    bench.attention(512, 0, type);
  }
  return 0;
}
