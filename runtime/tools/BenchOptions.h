//===- BenchOptions.h - What moe-bench was asked to measure ---------------===//
#ifndef MOEC_RUNTIME_TOOLS_BENCHOPTIONS_H
#define MOEC_RUNTIME_TOOLS_BENCHOPTIONS_H

#include "moe/runtime.h"

#include "absl/status/statusor.h"

#include <cstdint>
#include <string>
#include <vector>

namespace moe::tools {

struct BenchOptions {
  enum Format { Markdown, Csv, Json };

  std::string artifact;
  std::vector<uint64_t> prompts = {512};  // tokens of prefill; 0: no such test
  std::vector<uint64_t> generated = {64}; // tokens of decode; 0: no such test
  std::vector<uint64_t> batches = {1};    // sequences decoded at once
  std::vector<uint64_t> depths = {0};     // tokens already in the cache
  std::vector<uint64_t> threads = {0};    // 0: as the engine chooses
  moe_device device = MOE_DEVICE_AUTO;
  uint64_t repetitions = 5;
  Format format = Markdown;
  std::string prefillEntry = "prefill";
  std::string decodeEntry = "decode";
  std::string modality; // empty: the only token modality
  uint64_t seed = 1;
  uint64_t bufferMiB = 1024; // of the bandwidth measurement
  bool limits = true;
  bool printMemory = false;
  bool verify = true; // compare the checksums of the weights
  // Parts of a step to list the times of.
  bool kinds = false, layers = false, kernels = false;
  bool breakdown() const { return kinds || layers || kernels; }
};

/// Parses the command line; `done` becomes true when there is nothing to run.
absl::StatusOr<BenchOptions> parseBenchOptions(int argc, char **argv,
                                               bool &done);

} // namespace moe::tools

#endif // MOEC_RUNTIME_TOOLS_BENCHOPTIONS_H
