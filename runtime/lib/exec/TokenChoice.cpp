//===- TokenChoice.cpp - Tokens that a step is asked to choose ------------===//

#include "runtime/lib/exec/TokenChoice.h"

#include "runtime/lib/base/StructSize.h"
#include "runtime/lib/sample/Philox.h"
#include "runtime/lib/sample/Weight.h"

#include <climits>

using namespace moe::rt;

static moe_sampling_row_v1 describe(const moe_sampling_options &options,
                                    const moe_token_request &request,
                                    uint32_t unitBits) {
  moe_sampling_row_v1 row = {};
  row.size = sizeof(row);
  row.penalty = options.repetition_penalty;
  if (options.temperature == 0)
    return row;
  row.scale = weightScale(options.temperature);
  row.top_p = options.top_p;
  row.min_weight = std::ldexp(options.min_p, static_cast<int>(unitBits));
  row.random = randomAt(options.seed, request.stream, request.position);
  row.top_k = options.top_k;
  return row;
}

/// Tokens are checked before the step runs, wherever it does.
absl::Status TokenChoice::addHistory(const moe_token_request &request,
                                     moe_sampling_row_v1 &row) {
  if (row.penalty == 1)
    return absl::OkStatus();
  if (request.num_history && !request.history)
    return invalidArgument("history: expected ", request.num_history,
                           " tokens, found NULL");
  for (uint64_t i = 0; i < request.num_history; ++i) {
    const int32_t id = request.history[i];
    if (id < 0 || static_cast<uint64_t>(id) >= width)
      return invalidArgument("history[", i, "]: expected a token below ", width,
                             ", found ", id);
  }
  row.history_begin = deviceHistory.size();
  row.history_count = request.num_history;
  deviceHistory.insert(deviceHistory.end(), request.history,
                       request.history + request.num_history);
  return absl::OkStatus();
}

uint64_t TokenChoice::unitBits() const { return weightUnitBits(width); }

absl::Status TokenChoice::take(const Request &request, uint64_t rows,
                               uint64_t wide) {
  const StructArray<const moe_token_request> given(request.rows, request.count);
  MOE_RETURN_IF_ERROR(given.check("requests"));
  if (request.count != rows)
    return invalidArgument("requests: expected one for each of ", rows,
                           " rows of results, found ", request.count);
  if (!request.tokens)
    return invalidArgument("tokens: expected room for ", rows, ", found NULL");
  if (wide > INT32_MAX)
    return invalidArgument("expected results of at most ", INT32_MAX,
                           " columns to choose from, found ", wide);
  wanted = request;
  width = wide;
  requests.clear();
  deviceRows.clear();
  deviceHistory.clear();
  const uint32_t bits = weightUnitBits(width);
  for (uint64_t i = 0; i < rows; ++i) {
    Row row;
    MOE_RETURN_IF_ERROR(readOptions(&given[i], row.request));
    const auto options = readSamplingOptions(row.request.options);
    if (!options.ok())
      return invalidArgument("request ", i, ": ", options.status().message());
    row.options = *options;
    requests.push_back(row);
    deviceRows.push_back(describe(*options, row.request, bits));
    const absl::Status added = addHistory(row.request, deviceRows.back());
    if (!added.ok())
      return invalidArgument("request ", i, ": ", added.message());
  }
  return absl::OkStatus();
}

void TokenChoice::assign(const int32_t *tokens) const {
  std::copy_n(tokens, requests.size(), wanted.tokens);
}

absl::Status TokenChoice::choose(const float *logits) {
  for (uint64_t i = 0; i < requests.size(); ++i)
    MOE_RETURN_IF_ERROR(chooseRow(i, logits + i * width));
  return absl::OkStatus();
}

absl::Status TokenChoice::chooseRow(uint64_t index, const float *logits) {
  const Row &from = requests[index];
  moe_sampler_row row = {};
  row.size = sizeof(row);
  row.logits = logits;
  row.width = width;
  row.stream = from.request.stream;
  row.position = from.request.position;
  row.history = from.request.history;
  row.num_history = from.request.num_history;
  sampler.setOptions(from.options);
  const absl::Status status = sampler.choose(row, &wanted.tokens[index]);
  return status.ok() ? status
                     : invalidArgument("row ", index, ": ", status.message());
}
