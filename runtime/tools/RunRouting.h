//===- RunRouting.h - What moe-run gives to the routers ---------*- C++ -*-===//
#ifndef MOEC_RUNTIME_TOOLS_RUNROUTING_H
#define MOEC_RUNTIME_TOOLS_RUNROUTING_H

#include "moe/runtime.hpp"
#include "runtime/tools/ArrayFile.h"
#include "runtime/tools/RunOptions.h"

namespace moe::tools {

/// Arrays of files, laid out for the routers. What is wrong is thrown.
class RunRouting {
public:
  /// For a step of `tokens` tokens.
  RunRouting(const RunOptions &options, const Model &model, uint64_t tokens);

  const std::vector<RouterInput> &views() const { return inputs; }

private:
  /// What lies behind one view.
  struct Arrays {
    std::vector<int32_t> ids;
    std::vector<float> weights;
    std::vector<float> bias;
    std::vector<uint8_t> mask;
  };

  std::vector<Arrays> arrays; // of the routers
  std::vector<RouterInput> inputs;
};

} // namespace moe::tools

#endif // MOEC_RUNTIME_TOOLS_RUNROUTING_H
