//===- RunOptions.h - What moe-run was asked to do ------------------------===//
#ifndef MOEC_RUNTIME_TOOLS_RUNOPTIONS_H
#define MOEC_RUNTIME_TOOLS_RUNOPTIONS_H

#include "moe/runtime.h"
#include "moe/sampling.h"

#include "absl/status/statusor.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace moe::tools {

/// One input option, as written.
struct InputOption {
  enum Kind { Text, Ids, Raw };
  Kind kind;
  std::string value;
};

struct RunOptions {
  enum Print { Default, Nothing, Top, Logits };

  std::string artifact;
  std::string entry; // empty: "prefill", or the only entry
  std::vector<std::vector<InputOption>> prompts = {{}}; // inputs of each
  uint64_t threads = 0;
  moe_device device = MOE_DEVICE_AUTO;
  bool printMemory = false;
  bool verify = false;

  uint64_t maxTokens = 0;          // to generate, of each prompt
  std::string decodeEntry;         // empty: "decode"
  std::optional<std::string> stop; // ids, or "none"; nothing: the model's
  moe_sampling_options sampling;
  uint64_t stream = 0; // of the first prompt

  std::string choices;
  std::string choiceEnd = "\n";

  Print print = Default;
  std::string output;
  std::string routingIds;
  std::string routingWeights;
  // For the routers: what they choose, and how.
  std::string replayIds;
  std::string replayWeights;
  std::string expertMask;
  std::string routerBias;
  uint64_t expertsPerToken = 0;
  bool givesRouting() const {
    return !replayIds.empty() || !expertMask.empty() || !routerBias.empty() ||
           expertsPerToken;
  }
  std::string check;
  double tolerance = 1e-4;
};

/// Parses the command line; `done` becomes true when there is nothing to run.
absl::StatusOr<RunOptions> parseRunOptions(int argc, char **argv, bool &done);

} // namespace moe::tools

#endif // MOEC_RUNTIME_TOOLS_RUNOPTIONS_H
