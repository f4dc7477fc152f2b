//===- KernelBench.cpp - Speed of the heavy kernels -----------------------===//
//
//   kernel-bench [level] [threads] [gemm | attention]
//
// Prints GFLOP/s and GB/s of weights of dense products, and of attention
// GFLOP/s, their fraction of what instructions of the run reach, and GB/s of
// keys and values: of processor time with one thread, of wall time with
// several. Attention counts the products of visible keys only.
//
//===----------------------------------------------------------------------===//
#include "runtime/tools/BenchLoops.h"
#include "test/lib/KernelJitProgram.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <thread>

using namespace moec::test;

namespace {

/// Query and key heads, elements of a key and of a value. Values shorter than
/// keys are their first elements, as in latent attention.
struct Heads {
  int64_t query, key, size, value;
  bool isLatent() const { return value < size; }
};

struct Bench {
  std::string level;
  unsigned threads;

  /// Seconds of one step; the best of several runs: others use the processor,
  /// too.
  double measure(
      StepProgram &program, double flops,
      const std::function<void()> &prepareRun = [] {}) const {
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
      for (int64_t i = 0; i < repeats; ++i) {
        prepareRun();
        jit->run("f", step, threads);
      }
      best = std::min(best, (now() - start) / static_cast<double>(repeats));
    }
    return best;
  }

  void gemm(int64_t rows, int64_t depth, int64_t width, const std::string &x,
            const std::string &weight,
            const std::string &compute = "f32") const;
  void integers(int64_t rows, int64_t depth, int64_t width, int64_t bits) const;
  void attention(const Heads &heads, int64_t tokens, int64_t cached,
                 const std::string &type, const std::string &compute) const;
  /// Operations per second of one thread; 0 without such an instruction.
  double peak(const std::string &name) const;
  /// Bytes per second that one thread reads.
  double readRate() const;

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
  program.weight("w", n + "x" + k + "x" + weight,
                 weight == "bf16" ? "#moeq.row_blocks<16, 2>"
                                  : "#moeq.row_blocks<16>",
                 numbers((width + 15) / 16 * 16 * depth, weight));
  program.buffer("y", "memref<?x" + n + "xf32>", numbers(rows * width, "f32"));
  program.op("moex.grouped_gemm ins(%x : $x) weights(%w : $w) outs(%y : $y) "
             "rows #T compute = " +
             compute);
  double flops = 2.0 * static_cast<double>(rows * depth * width);
  double bytes = static_cast<double>(depth * width) * (weight == "f32" ? 4 : 2);
  double seconds = measure(program, flops);
  std::printf("%-8s gemm %4ld x %5ld x %5ld  %-4s %-4s %-4s  %7.1f GFLOP/s  "
              "%6.1f GB/s\n",
              level.c_str(), long(rows), long(depth), long(width), x.c_str(),
              weight.c_str(), compute.c_str(), flops / seconds / 1e9,
              bytes / seconds / 1e9);
}

/// int8 or int4: codes and scales of zero take as long as any.
void Bench::integers(int64_t rows, int64_t depth, int64_t width,
                     int64_t bits) const {
  StepProgram program;
  program.tokens = rows;
  std::string k = text(depth), n = text(width);
  program.buffer("x", "memref<?x" + k + "xbf16>",
                 numbers(rows * depth, "bf16"));
  int64_t bytes =
      bits == 8 ? depth * width / 128 * 132 : depth * width / 32 * 18;
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

double Bench::peak(const std::string &name) const {
  double best = 0;
  auto measureLoop = [&](const moe::tools::PeakLoop &loop) {
    constexpr uint64_t rounds = 300000;
    for (int run = 0; run < 7; ++run) {
      double start = now();
      loop.run(rounds);
      best =
          std::max(best, static_cast<double>(loop.operationsPerRound * rounds) /
                             (now() - start));
    }
  };
  // In a thread of its own: the loop leaves registers in a state that slows
  // down instructions of the lowest level.
  for (const moe::tools::PeakLoop &loop : moe::tools::peakLoops())
    if (loop.name == name)
      std::thread([&] { measureLoop(loop); }).join();
  return best;
}

double Bench::readRate() const {
  constexpr size_t bytes = 64 << 20;
  std::vector<char> memory(bytes + 64, 1);
  const char *start = memory.data();
  start += -reinterpret_cast<uintptr_t>(start) & 63;
  double best = 0;
  for (const moe::tools::ReadLoop &loop : moe::tools::readLoops())
    for (int run = 0; run < 5; ++run) {
      double before = now();
      loop.read(start, bytes);
      best = std::max(best, static_cast<double>(bytes) / (now() - before));
    }
  return best;
}

/// New tokens after cached ones. Every run has pages of its own out of a pool
/// that no cache holds.
void Bench::attention(const Heads &heads, int64_t tokens, int64_t cached,
                      const std::string &type,
                      const std::string &compute) const {
  StepProgram program;
  program.tokens = tokens;
  int64_t pages = (tokens + cached + 63) / 64;
  int64_t kvWidth = heads.key * heads.size;
  int64_t elementBytes = type == "f32" ? 4 : 2;
  int64_t copies =
      std::max<int64_t>(1, (64 << 20) / (pages * 64 * kvWidth * elementBytes));
  if (tokens > 1)
    copies = 1;
  program.pagesPerSequence = pages;
  program.pageTable.resize(pages);
  int64_t first = 0;
  auto turn = [&] {
    for (int64_t page = 0; page < pages; ++page)
      program.pageTable[page] = static_cast<int32_t>(first + page);
    first = (first + pages) % (pages * copies);
  };
  turn();
  double keys = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    program.positions.push_back(static_cast<int32_t>(cached + t));
    keys += static_cast<double>(cached + t + 1);
  }
  for (const char *state : {"k", "v"})
    if (*state == 'k' || !heads.isLatent())
      program.state(state, text(kvWidth) + "x" + type,
                    numbers(copies * pages * 64 * kvWidth, type));
  auto buffer = [&](const char *name, int64_t width) {
    program.buffer(name, "memref<?x" + text(width) + "x" + type + ">",
                   numbers(tokens * width, type));
  };
  buffer("q", heads.query * heads.size);
  buffer("y", heads.query * heads.value);
  program.op(std::string("moex.attention ins(%q : $q) state(@k, ") +
             (heads.isLatent() ? "@k" : "@v") + ") outs(%y : $y) heads = " +
             text(heads.query) + " kv_heads = " + text(heads.key) +
             " scale = 0.125 compute = " + compute);
  // Scores and weighted values.
  double scores = keys * static_cast<double>(heads.query * heads.size) * 2;
  double values = keys * static_cast<double>(heads.query * heads.value) * 2;
  double seconds = measure(program, scores + values, turn);
  double ideal = values / peak("f32");
  ideal += scores / (compute == "bf16" && level == "avx512" ? peak("bf16")
                                                            : peak("f32"));
  double bytes = static_cast<double>((tokens + cached) * kvWidth *
                                     (heads.isLatent() ? 1 : 2) * elementBytes);
  std::printf(
      "%-8s attention %4ld tokens after %4ld  heads %2ld/%-2ld of %3ld  "
      "%-4s %-4s  %6.1f GFLOP/s  %3.0f %%  %5.1f GB/s\n",
      level.c_str(), long(tokens), long(cached), long(heads.query),
      long(heads.key), long(heads.size), type.c_str(), compute.c_str(),
      (scores + values) / seconds / 1e9, 100 * ideal / seconds / threads,
      bytes / seconds / 1e9);
}

void runGemm(const Bench &bench) {
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
}

void runAttention(const Bench &bench) {
  std::printf("one thread: f32 %.1f GFLOP/s, bf16 %.1f GFLOP/s, reads %.1f "
              "GB/s\n",
              bench.peak("f32") / 1e9, bench.peak("bf16") / 1e9,
              bench.readRate() / 1e9);
  for (Heads heads :
       {Heads{16, 16, 64, 64}, Heads{16, 16, 128, 128}, Heads{32, 4, 64, 64},
        Heads{32, 4, 128, 128}, Heads{16, 1, 576, 512}})
    for (auto [type, compute] :
         {std::pair<const char *, const char *>{"f32", "f32"},
          {"bf16", "f32"},
          {"bf16", "bf16"}})
      for (auto [tokens, cached] :
           {std::pair<int64_t, int64_t>{512, 0}, {2048, 0}, {1, 2047}})
        bench.attention(heads, tokens, cached, type, compute);
}

} // namespace

int main(int argc, char **argv) {
  Bench bench{argc > 1 ? argv[1] : "avx2",
              argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 1};
  if (!canRunLevel(bench.level)) {
    std::fprintf(stderr, "this processor cannot run %s\n", bench.level.c_str());
    return 1;
  }
  std::string which = argc > 3 ? argv[3] : "";
  if (which != "attention")
    runGemm(bench);
  if (which != "gemm")
    runAttention(bench);
  return 0;
}
