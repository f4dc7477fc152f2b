//===- BenchLoops.cpp - Loops that do nothing but read, or multiply-add ---===//
//
// The read loops are one template over the pattern, compiled for three widths
// of register; which pattern is fastest differs between machines and moments.
// The multiply-add loops are assembly, so that no compiler finds out that their
// results are known, and their accumulators stay in registers: as many
// independent chains as the latency of the instruction asks for.
//
//===----------------------------------------------------------------------===//

#include "runtime/tools/BenchLoops.h"

#include <cstddef>

using namespace moe::tools;

namespace {

constexpr size_t kLine = 64;
using Line = uint64_t __attribute__((vector_size(64)));

/// Where sums go, so that the loads are needed.
volatile uint64_t sink;

/// `Streams` places of the memory are read by turns, `Lines` cache lines at a
/// time; `Ahead` bytes before they are read, lines are prefetched (0: not).
template <size_t Streams, size_t Lines, size_t Ahead>
inline __attribute__((always_inline)) void readInto(const char *data,
                                                    uint64_t bytes) {
  const size_t share = bytes / Streams / kLine * kLine;
  constexpr size_t kAccumulators = Streams * Lines < 8 ? Streams * Lines : 8;
  Line sums[kAccumulators] = {};
  for (size_t at = 0; at + Lines * kLine <= share; at += Lines * kLine) {
#pragma GCC unroll 16
    for (size_t stream = 0; stream < Streams; ++stream)
#pragma GCC unroll 16
      for (size_t line = 0; line < Lines; ++line) {
        const char *from = data + stream * share + at + line * kLine;
        if (Ahead)
          __builtin_prefetch(from + Ahead, 0, 3);
        sums[(stream * Lines + line) % kAccumulators] ^=
            *reinterpret_cast<const Line *>(from);
      }
  }
  uint64_t total = 0;
  for (size_t i = 0; i < kAccumulators; ++i)
    for (size_t j = 0; j < kLine / sizeof(uint64_t); ++j)
      total ^= sums[i][j];
  sink = total;
}

constexpr size_t kAhead = 4096;

#define MOEC_READ_LOOPS(suffix, attributes)                                    \
  attributes void sequential##suffix(const char *data, uint64_t bytes) {       \
    readInto<1, 8, 0>(data, bytes);                                            \
  }                                                                            \
  attributes void prefetched##suffix(const char *data, uint64_t bytes) {       \
    readInto<1, 8, kAhead>(data, bytes);                                       \
  }                                                                            \
  attributes void four##suffix(const char *data, uint64_t bytes) {             \
    readInto<4, 2, 0>(data, bytes);                                            \
  }                                                                            \
  attributes void sixteen##suffix(const char *data, uint64_t bytes) {          \
    readInto<16, 1, 0>(data, bytes);                                           \
  }                                                                            \
  std::vector<ReadLoop> loops##suffix() {                                      \
    return {{"sequential", sequential##suffix},                                \
            {"prefetched", prefetched##suffix},                                \
            {"4 streams", four##suffix},                                       \
            {"16 streams", sixteen##suffix}};                                  \
  }

MOEC_READ_LOOPS(Plain, )
#if defined(__x86_64__)
MOEC_READ_LOOPS(Avx2, __attribute__((target("avx2"))))
MOEC_READ_LOOPS(Avx512, __attribute__((target("avx512f"))))

// Registers 14 and 15 hold the factors, 0 to 11 the sums: twelve chains hide a
// latency of up to six cycles at two instructions a cycle. The sums start as
// the factors: ordinary numbers, which grow slowly.
#define MOEC_CHAINS ".irp i,0,1,2,3,4,5,6,7,8,9,10,11\n"
constexpr uint64_t kChains = 12;

#define MOEC_PEAK_LOOP(name, features, op, r)                                  \
  __attribute__((target(features))) void name(uint64_t rounds) {               \
    __asm__ volatile(                                                          \
        "vbroadcastss %[factor], %%" r "14\n"                                  \
        "vbroadcastss %[factor], %%" r "15\n" MOEC_CHAINS "vmovaps %%" r       \
        "14, %%" r "\\i\n.endr\n"                                              \
        "1:\n" MOEC_CHAINS op " %%" r "14, %%" r "15, %%" r "\\i\n.endr\n"     \
        "dec %[rounds]\n"                                                      \
        "jnz 1b\n"                                                             \
        : [rounds] "+r"(rounds)                                                \
        : [factor] "m"(kFactor)                                                \
        : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",        \
          "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm14", "xmm15");         \
  }

/// As f32 and as two bf16 a small normal number, as int8 small integers.
const uint32_t kFactor = 0x3c013c01;

MOEC_PEAK_LOOP(f32Avx512, "avx512f", "vfmadd231ps", "zmm")
MOEC_PEAK_LOOP(bf16Avx512, "avx512bf16", "vdpbf16ps", "zmm")
MOEC_PEAK_LOOP(int8Avx512, "avx512vnni", "vpdpbusd", "zmm")
MOEC_PEAK_LOOP(f32Avx2, "avx2,fma", "vfmadd231ps", "ymm")
#endif

} // namespace

std::vector<ReadLoop> moe::tools::readLoops() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f"))
    return loopsAvx512();
  if (__builtin_cpu_supports("avx2"))
    return loopsAvx2();
#endif
  return loopsPlain();
}

std::vector<PeakLoop> moe::tools::peakLoops() {
  std::vector<PeakLoop> loops;
#if defined(__x86_64__)
  // Lanes of 32 bits times products per lane, a multiply-add being two.
  constexpr uint64_t kWide = kChains * 16 * 2;
  if (__builtin_cpu_supports("avx512f"))
    loops.push_back({"f32", kWide, f32Avx512});
  else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    loops.push_back({"f32", kWide / 2, f32Avx2});
  if (__builtin_cpu_supports("avx512bf16"))
    loops.push_back({"bf16", kWide * 2, bf16Avx512});
  if (__builtin_cpu_supports("avx512vnni"))
    loops.push_back({"int8", kWide * 4, int8Avx512});
#endif
  return loops;
}
