//===- TokenChoice.h - Tokens that a step is asked to choose ----*- C++ -*-===//
#ifndef MOEC_RUNTIME_LIB_EXEC_TOKENCHOICE_H
#define MOEC_RUNTIME_LIB_EXEC_TOKENCHOICE_H

#include "runtime/abi/moe_abi.h"
#include "runtime/lib/sample/Sampler.h"

namespace moe::rt {

/// Requests for the tokens behind the rows of a step's first output. The memory
/// is kept from step to step.
class TokenChoice {
public:
  /// What moe_step_tokens was given.
  struct Request {
    const moe_token_request *rows;
    uint64_t count;
    int32_t *tokens;
  };

  /// Takes the requests of a step with so many rows, each `width` wide; their
  /// histories are read until the step has ended.
  absl::Status take(const Request &request, uint64_t rows, uint64_t width);
  /// The next step wants no tokens.
  void clear() { wanted = {}; }
  bool isWanted() const { return wanted.tokens != nullptr; }

  // For a device.
  const std::vector<moe_sampling_row_v1> &rows() const { return deviceRows; }
  /// Of all rows that have a penalty.
  const std::vector<int32_t> &history() const { return deviceHistory; }
  uint64_t unitBits() const;

  /// Gives the caller what a device has chosen, all of it valid.
  void assign(const int32_t *tokens) const;
  /// Chooses from rows of logits in the memory of the host.
  absl::Status choose(const float *logits);
  /// The same for one row; where there is no choice, that is the error.
  absl::Status chooseRow(uint64_t row, const float *logits);

private:
  absl::Status addHistory(const moe_token_request &request,
                          moe_sampling_row_v1 &row);

  struct Row {
    moe_token_request request;
    moe_sampling_options options;
  };

  Request wanted = {};
  uint64_t width = 0;
  std::vector<Row> requests;
  std::vector<moe_sampling_row_v1> deviceRows;
  std::vector<int32_t> deviceHistory;
  Sampler sampler{moe_sampling_options{}};
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_EXEC_TOKENCHOICE_H
