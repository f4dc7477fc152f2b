//===- BenchReport.h - Results of moe-bench in the layout of llama-bench --===//
#ifndef MOEC_RUNTIME_TOOLS_BENCHREPORT_H
#define MOEC_RUNTIME_TOOLS_BENCHREPORT_H

#include "runtime/tools/BenchBreakdown.h"
#include "runtime/tools/BenchMachine.h"
#include "runtime/tools/BenchOptions.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace moe::tools {

/// What does not change from test to test.
struct BenchModel {
  std::string file;
  std::string name;
  std::string format; // of most weights
  std::string compute;
  uint64_t bytes = 0; // of weights
  uint64_t parameters = 0;
  std::string processor;
};

/// One test: a line of the report.
struct BenchResult {
  std::string backend; // "CPU avx2", "CUDA sm_90a"
  unsigned threads = 0;
  uint64_t prompt = 0;    // tokens of prefill; 0: a test of decode
  uint64_t generated = 0; // tokens of decode, per sequence
  uint64_t batch = 0;
  uint64_t depth = 0;
  std::vector<double> seconds; // by repetition

  uint64_t tokens = 0;    // of all sequences, per repetition
  uint64_t steps = 0;     // per repetition
  double weightBytes = 0; // touched, per step
  double cacheBytes = 0;  // read, per step
  double operations = 0;  // per step
  double expectedHits = 0;
  std::optional<double> hits; // experts per layer and step; absent: not known
  ResidentMemory memory;
  std::optional<Breakdown> breakdown; // the lists that were asked for

  // Around the test, per second; absent where it was not measured.
  std::optional<double> readBefore, readAfter; // bytes
  std::optional<double> peakBefore, peakAfter; // operations of the compute type
};

struct ProcessorRates {
  std::vector<Rate> reads, peaks;
};

/// What the processor could do in the run, for one number of threads.
struct BenchLimits {
  unsigned threads = 0;
  ProcessorRates before, after; // the tests
};

/// Writes a report to standard output, line by line where the format can.
class BenchReport {
public:
  static std::unique_ptr<BenchReport> create(BenchOptions::Format format,
                                             const BenchModel &model);
  virtual ~BenchReport();
  /// The first one also writes what stands above it.
  virtual void add(const BenchResult &result) = 0;
  /// `limits` is empty where they were not asked for.
  virtual void end(const std::vector<BenchLimits> &limits) = 0;
};

} // namespace moe::tools

#endif // MOEC_RUNTIME_TOOLS_BENCHREPORT_H
