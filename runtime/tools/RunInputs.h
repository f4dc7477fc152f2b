//===- RunInputs.h - Inputs of moe-run as inputs of a step ----------------===//
#ifndef MOEC_RUNTIME_TOOLS_RUNINPUTS_H
#define MOEC_RUNTIME_TOOLS_RUNINPUTS_H

#include "moe/runtime.hpp"
#include "runtime/tools/RunOptions.h"

#include <deque>

namespace moe::tools {

/// The data of all inputs, and views of it for a step.
class RunInputs {
public:
  /// Reads the files and resolves names; `entry` says which modalities count.
  static RunInputs load(const Model &model, const moe_entry_info &entry,
                        const std::vector<InputOption> &options);
  RunInputs(RunInputs &&) = default;

  const std::vector<Input> &views() const { return inputs; }

private:
  RunInputs() = default;
  void addText(const Model &model, const moe_entry_info &entry,
               const std::string &text);
  void addIds(const Model &model, const moe_entry_info &entry,
              const std::string &value);
  void addRaw(const Model &model, const std::string &value);

  std::vector<Input> inputs;
  // Deques keep their elements in place.
  std::deque<std::vector<uint8_t>> bytes;
  std::deque<std::vector<int32_t>> ids;
};

/// "1,2,3" as numbers; throws for anything else. `what` names the option.
std::vector<int32_t> parseIds(const std::string &text, const std::string &what);

/// The token modality of 256 ids that an entry takes; throws when there is none
/// or more than one. `what` names who asks.
moe_modality_info byteModality(const Model &model, const moe_entry_info &entry,
                               const std::string &what);

} // namespace moe::tools

#endif // MOEC_RUNTIME_TOOLS_RUNINPUTS_H
