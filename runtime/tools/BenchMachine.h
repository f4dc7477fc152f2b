//===- BenchMachine.h - What this processor can do at best ----------------===//
//
// The two limits that a model meets: how fast memory can be read, and how fast
// products can be summed in registers. Both are measured with the same number
// of threads as the model, each thread pinned to a processor of its own.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_RUNTIME_TOOLS_BENCHMACHINE_H
#define MOEC_RUNTIME_TOOLS_BENCHMACHINE_H

#include <cstdint>
#include <string>
#include <vector>

namespace moe::tools {

/// Of repeated measurements of one thing.
struct Summary {
  double best = 0; // the largest; for rates
  double median = 0;
  double mean = 0;
  double deviation = 0; // of the sample
};

/// Empty values give zeros.
Summary summarize(std::vector<double> values);

/// One way to read memory, or one instruction that multiplies and adds.
struct Rate {
  std::string name;
  Summary perSecond; // bytes, or operations (a multiply-add is two)
};

/// Reads `bytes` of fresh anonymous memory, shared out to the threads, in
/// several patterns. The memory is gone when the call returns. Throws
/// moe::Error when it cannot be had.
std::vector<Rate> measureReads(unsigned threads, uint64_t bytes,
                               unsigned passes);

/// The pattern with the largest median.
const Rate &fastest(const std::vector<Rate> &rates);

/// Peak operations per second in registers: "f32", "bf16", "int8", those for
/// which this processor has an instruction.
std::vector<Rate> measurePeaks(unsigned threads, unsigned passes);

/// Kilobytes of this process now, as the kernel counts them.
struct ResidentMemory {
  uint64_t anonymous = 0; // scratch, caches, heap
  uint64_t file = 0;      // mapped weights and code
};
ResidentMemory residentMemory();

/// Name of the processor; "unknown" where the system does not say.
std::string processorName();

} // namespace moe::tools

#endif // MOEC_RUNTIME_TOOLS_BENCHMACHINE_H
