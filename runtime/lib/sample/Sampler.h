//===- Sampler.h - The next token from a row of logits --------------------===//
#ifndef MOEC_RUNTIME_LIB_SAMPLE_SAMPLER_H
#define MOEC_RUNTIME_LIB_SAMPLE_SAMPLER_H

#include "runtime/include/moe/sampling.h"
#include "runtime/lib/base/Error.h"

#include <atomic>
#include <memory>
#include <vector>

namespace moe::rt {

/// Reads options that may be shorter than ours, or NULL, and checks them.
absl::StatusOr<moe_sampling_options>
readSamplingOptions(const moe_sampling_options *given);

class Sampler {
public:
  explicit Sampler(const moe_sampling_options &options) : options(options) {}
  Sampler(const Sampler &) = delete;

  /// Those that readSamplingOptions has accepted. One thread at a time.
  void setOptions(const moe_sampling_options &wanted) { options = wanted; }

  absl::Status choose(const moe_sampler_row &row, int32_t *token);
  absl::Status distribution(const moe_sampler_row &row, moe_distribution *into);

private:
  /// Holds the sampler for one call; false when another thread has it.
  class Entered;

  // The filters, in order. Tokens that are out have left `ids`.
  absl::Status readRow(const moe_sampler_row &row);
  absl::Status penalize(const moe_sampler_row &row);
  void keepLargest();
  void applyTopK();
  void weigh();
  uint64_t weightOfToken(int32_t id) const;
  void applyTopP();
  void applyMinP();
  void normalize();
  absl::Status filter(const moe_sampler_row &row, moe_sampler_row &read);

  moe_sampling_options options;
  std::vector<double> scores;        // [width] logits after the penalty
  std::vector<double> values;        // of top-k; then [width], weights
  std::vector<int32_t> ids;          // kept, ascending
  std::vector<uint64_t> weights;     // beside `ids`: whole numbers,
  std::vector<double> probabilities; // and their parts of the sum
  std::atomic_flag occupied = ATOMIC_FLAG_INIT;
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_SAMPLE_SAMPLER_H
