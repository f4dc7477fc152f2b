//===- Sampler.cpp - The next token from a row of logits ------------------===//

#include "runtime/lib/sample/Sampler.h"

#include "runtime/lib/base/StructSize.h"
#include "runtime/lib/sample/Philox.h"
#include "runtime/lib/sample/Weight.h"

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstddef>
#include <functional>
#include <numeric>

using namespace moe::rt;

absl::StatusOr<moe_sampling_options>
moe::rt::readSamplingOptions(const moe_sampling_options *given) {
  moe_sampling_options options;
  moe_sampling_default_options(&options);
  if (given) {
    if (given->size < sizeof(given->size))
      return invalidArgument("options: expected size to be set, found ",
                             given->size);
    std::memcpy(&options, given,
                std::min<uint64_t>(given->size, sizeof(options)));
  }
  // Written so that NaN is out of every range.
  if (!(options.temperature >= 0 && std::isfinite(options.temperature)))
    return invalidArgument("temperature: expected a finite number of at least ",
                           "0, found ", options.temperature);
  if (!(options.top_p > 0 && options.top_p <= 1))
    return invalidArgument("top_p: expected a number above 0, up to 1, found ",
                           options.top_p);
  if (!(options.min_p >= 0 && options.min_p <= 1))
    return invalidArgument("min_p: expected a number from 0 to 1, found ",
                           options.min_p);
  if (!(options.repetition_penalty > 0 &&
        std::isfinite(options.repetition_penalty)))
    return invalidArgument("repetition_penalty: expected a finite number above "
                           "0, found ",
                           options.repetition_penalty);
  return options;
}

class Sampler::Entered {
public:
  explicit Entered(Sampler &sampler)
      : sampler(sampler),
        inside(!sampler.occupied.test_and_set(std::memory_order_acquire)) {}
  ~Entered() {
    if (inside)
      sampler.occupied.clear(std::memory_order_release);
  }
  explicit operator bool() const { return inside; }

private:
  Sampler &sampler;
  const bool inside;
};

static absl::Status busySampler() {
  return absl::AbortedError("expected one thread at a time in a sampler, found "
                            "another one inside");
}

/// Copies the logits; `ids` become the tokens that are possible at all.
absl::Status Sampler::readRow(const moe_sampler_row &row) {
  if (!row.logits)
    return invalidArgument("logits: expected a pointer, found NULL");
  if (row.width == 0 || row.width > INT32_MAX)
    return invalidArgument("width: expected 1 to ", INT32_MAX, ", found ",
                           row.width);
  if (row.num_history && !row.history)
    return invalidArgument("history: expected ", row.num_history,
                           " tokens, found NULL");
  // Room for all, so that later rows of this width allocate nothing.
  probabilities.reserve(row.width);
  values.reserve(row.width);
  weights.reserve(row.width);
  ids.clear();
  ids.reserve(row.width);
  scores.resize(row.width);
  for (uint64_t i = 0; i < row.width; ++i) {
    const float logit = row.logits[i];
    scores[i] = logit;
    if (std::isnan(logit) || logit == HUGE_VALF)
      return invalidArgument(
          "logits[", i, "]: expected a number or -infinity, ", "found ", logit);
    if (std::isfinite(logit))
      ids.push_back(static_cast<int32_t>(i));
  }
  if (ids.empty())
    return invalidArgument("expected a finite logit among ", row.width,
                           ", found none");
  return absl::OkStatus();
}

absl::Status Sampler::penalize(const moe_sampler_row &row) {
  for (uint64_t i = 0; i < row.num_history; ++i) {
    const int32_t id = row.history[i];
    if (id < 0 || static_cast<uint64_t>(id) >= row.width)
      return invalidArgument("history[", i, "]: expected a token below ",
                             row.width, ", found ", id);
    // From the logit, so that a token that occurs twice is penalised once.
    const double logit = row.logits[id];
    const auto penalized =
        static_cast<float>(logit > 0 ? logit / options.repetition_penalty
                                     : logit * options.repetition_penalty);
    if (std::isfinite(logit) && !std::isfinite(penalized))
      return invalidArgument("history[", i, "]: expected a finite logit after ",
                             "the penalty ", options.repetition_penalty,
                             ", found ", penalized);
    scores[static_cast<size_t>(id)] = penalized;
  }
  return absl::OkStatus();
}

void Sampler::keepLargest() {
  const auto score = [this](int32_t id) {
    return scores[static_cast<size_t>(id)];
  };
  int32_t best = ids.front();
  for (const int32_t id : ids)
    if (score(id) > score(best))
      best = id;
  ids.assign(1, best);
}

void Sampler::applyTopK() {
  if (options.top_k == 0 || options.top_k >= ids.size())
    return;
  values.clear();
  for (const int32_t id : ids)
    values.push_back(scores[static_cast<size_t>(id)]);
  const auto last = values.begin() + (options.top_k - 1);
  std::nth_element(values.begin(), last, values.end(), std::greater<double>());
  const double least = *last;
  ids.erase(std::remove_if(ids.begin(), ids.end(),
                           [&](int32_t id) {
                             return scores[static_cast<size_t>(id)] < least;
                           }),
            ids.end());
}

/// Beside `values`, which are of all tokens from here on. The largest logit is
/// not among those that top-k drops.
void Sampler::weigh() {
  const uint32_t unitBits = weightUnitBits(scores.size());
  const double scale = weightScale(options.temperature);
  double largest = -HUGE_VAL;
  for (const int32_t id : ids)
    largest = std::max(largest, scores[static_cast<size_t>(id)]);
  values.assign(scores.size(), 0.0);
  for (const int32_t id : ids) {
    const auto at = static_cast<size_t>(id);
    values[at] = weightOf(scores[at] - largest, scale, unitBits);
  }
}

uint64_t Sampler::weightOfToken(int32_t id) const {
  return roundWeight(values[static_cast<size_t>(id)]);
}

void Sampler::applyTopP() {
  if (options.top_p >= 1)
    return;
  uint64_t total = 0;
  for (const int32_t id : ids)
    total += weightOfToken(id);
  const uint64_t wanted = weightToReach(options.top_p, total);
  // The most probable one is on top. A heap, for few are taken from it.
  const auto isBelow = [this](int32_t a, int32_t b) {
    const double scoreA = scores[static_cast<size_t>(a)];
    const double scoreB = scores[static_cast<size_t>(b)];
    return scoreA != scoreB ? scoreA < scoreB : a > b;
  };
  std::make_heap(ids.begin(), ids.end(), isBelow);
  auto kept = ids.end(); // the taken ones lie behind it
  for (uint64_t sum = 0; kept != ids.begin() && sum < wanted; --kept) {
    sum += weightOfToken(ids.front());
    std::pop_heap(ids.begin(), kept, isBelow);
  }
  ids.erase(ids.begin(), kept);
  std::sort(ids.begin(), ids.end());
}

void Sampler::applyMinP() {
  const double least = std::ldexp(
      options.min_p, static_cast<int>(weightUnitBits(scores.size())));
  ids.erase(std::remove_if(ids.begin(), ids.end(),
                           [&](int32_t id) {
                             return values[static_cast<size_t>(id)] < least ||
                                    weightOfToken(id) == 0;
                           }),
            ids.end());
}

void Sampler::normalize() {
  weights.clear();
  probabilities.clear();
  uint64_t total = 0;
  for (const int32_t id : ids) {
    weights.push_back(weightOfToken(id));
    total += weights.back();
  }
  for (const uint64_t weight : weights)
    probabilities.push_back(static_cast<double>(weight) /
                            static_cast<double>(total));
}

absl::Status Sampler::filter(const moe_sampler_row &given,
                             moe_sampler_row &row) {
  if (given.size < offsetof(moe_sampler_row, stream))
    return invalidArgument("row: expected size ", sizeof(row), ", found ",
                           given.size);
  MOE_RETURN_IF_ERROR(readOptions(&given, row));
  MOE_RETURN_IF_ERROR(readRow(row));
  if (options.repetition_penalty != 1)
    MOE_RETURN_IF_ERROR(penalize(row));
  if (options.temperature == 0) {
    keepLargest();
    probabilities.assign(1, 1.0);
    weights.assign(1, 1);
    return absl::OkStatus();
  }
  applyTopK();
  weigh();
  applyTopP();
  applyMinP();
  normalize();
  return absl::OkStatus();
}

absl::Status Sampler::choose(const moe_sampler_row &given, int32_t *token) {
  const Entered entered(*this);
  if (!entered)
    return busySampler();
  moe_sampler_row row;
  MOE_RETURN_IF_ERROR(filter(given, row));
  const uint64_t wanted =
      drawBelow(randomAt(options.seed, row.stream, row.position),
                std::accumulate(weights.begin(), weights.end(), uint64_t{0}));
  size_t at = 0;
  for (uint64_t sum = weights[0]; sum <= wanted; sum += weights[at])
    ++at;
  *token = ids[at];
  return absl::OkStatus();
}

absl::Status Sampler::distribution(const moe_sampler_row &given,
                                   moe_distribution *into) {
  const Entered entered(*this);
  if (!entered)
    return busySampler();
  moe_sampler_row row;
  MOE_RETURN_IF_ERROR(filter(given, row));
  moe_distribution described = {};
  described.size = sizeof(described);
  described.ids = ids.data();
  described.probabilities = probabilities.data();
  described.count = ids.size();
  return writeInfo(described, into);
}
