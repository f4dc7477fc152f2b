//===- BenchLoops.h - Loops that do nothing but read, or multiply-add -----===//
#ifndef MOEC_RUNTIME_TOOLS_BENCHLOOPS_H
#define MOEC_RUNTIME_TOOLS_BENCHLOOPS_H

#include <cstdint>
#include <vector>

namespace moe::tools {

struct ReadLoop {
  const char *name;
  /// Reads `bytes`, a multiple of 4096, at `data`, aligned to 64.
  void (*read)(const char *data, uint64_t bytes);
};
/// With the widest loads of this processor.
std::vector<ReadLoop> readLoops();

struct PeakLoop {
  const char *name;            // "f32", "bf16", "int8"
  uint64_t operationsPerRound; // a multiply-add is two
  void (*run)(uint64_t rounds);
};
/// Those for which this processor has an instruction; none on a processor that
/// is not x86-64.
std::vector<PeakLoop> peakLoops();

} // namespace moe::tools

#endif // MOEC_RUNTIME_TOOLS_BENCHLOOPS_H
