//===- SamplerTest.cpp - The next token from a row of logits --------------===//
//
// What the filters keep is compared with NumPy in test/e2e/sampling.py; here
// are refusals, ties, random numbers and how often a token is drawn.
//
//===----------------------------------------------------------------------===//

#include "moe/generate.hpp"
#include "runtime/lib/sample/Philox.h"
#include "runtime/lib/sample/Weight.h"
#include "test/unit/runtime/RuntimeTestSupport.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <set>

using namespace moe;
using namespace moe::test;

extern "C" moe_status sample_from_c(const float *logits, uint64_t width,
                                    double temperature, int32_t *token);

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

Row rowOf(const std::vector<float> &logits) {
  return Row(logits.data(), logits.size());
}

std::map<int, double> distributionOf(const moe_sampling_options &options,
                                     const std::vector<float> &logits,
                                     const std::vector<int32_t> &history = {}) {
  Sampler sampler(options);
  const Distribution found = sampler.distribution(rowOf(logits), history);
  std::map<int, double> result;
  for (size_t i = 0; i < found.size(); ++i) {
    if (i) {
      EXPECT_LT(found.id(i - 1), found.id(i));
    }
    result[found.id(i)] = found.probability(i);
  }
  return result;
}

/// Known answers of Random123, the reference implementation.
TEST(Philox, KnownAnswers) {
  using rt::philox;
  EXPECT_EQ(
      philox({0, 0, 0, 0}, {0, 0}),
      (rt::PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t ones = 0xffffffff;
  EXPECT_EQ(
      philox({ones, ones, ones, ones}, {ones, ones}),
      (rt::PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(
      philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
             {0xa4093822, 0x299f31d0}),
      (rt::PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, UniformNumbers) {
  std::set<double> seen;
  double sum = 0;
  for (uint64_t seed : {0ull, 1ull, ~0ull})
    for (uint64_t stream : {0ull, 1ull, 1ull << 40})
      for (uint64_t position = 0; position < 1000; ++position) {
        const uint64_t bits = rt::randomAt(seed, stream, position);
        EXPECT_EQ(bits & 0x7ff, 0u);
        const double number = static_cast<double>(bits) * 0x1p-64;
        seen.insert(number);
        sum += number;
      }
  EXPECT_EQ(seen.size(), 9000u);
  EXPECT_NEAR(sum / 9000, 0.5, 0.01);
}

TEST(Weight, TwoToTheExponent) {
  EXPECT_EQ(rt::weightUnitBits(1), 62u);
  EXPECT_EQ(rt::weightUnitBits(1 << 18), 44u);
  EXPECT_EQ(rt::weightUnitBits((1 << 18) + 1), 43u);
  EXPECT_EQ(rt::weightUnitBits(INT32_MAX), 31u);
  for (int i = 0; i < 100000; ++i) {
    const double distance = -i * 3.1e-4;
    const double expected = std::exp(distance / 0.7);
    const double found =
        std::ldexp(rt::weightOf(distance, rt::weightScale(0.7), 44), -44);
    ASSERT_NEAR(found, expected, expected * 2e-14) << distance;
  }
  EXPECT_EQ(rt::weightOf(0, rt::weightScale(1e-320), 44), 0x1p44);
  EXPECT_EQ(rt::weightOf(-1e-45, rt::weightScale(1e-320), 44), 0.0);
  EXPECT_EQ(rt::weightOf(-double{kInfinity}, rt::weightScale(1), 44), 0.0);
  EXPECT_EQ(rt::weightOf(-1, rt::weightScale(1.7e308), 44), 0x1p44);
}

TEST(Weight, Draws) {
  EXPECT_EQ(rt::drawBelow(0, ~0ull), 0u);
  EXPECT_EQ(rt::drawBelow(~0ull, ~0ull), ~0ull - 1);
  EXPECT_EQ(rt::drawBelow(1ull << 63, 12345678901234567), 6172839450617283u);
  EXPECT_EQ(rt::drawBelow(0xfedcba9876543210, 0x123456789abcdef0),
            0x121fa00ad77d7422u);
  EXPECT_EQ(rt::weightToReach(0.5, 10), 5u);
  EXPECT_EQ(rt::weightToReach(1e-300, 10), 1u);
}

TEST(SamplerOptions, Defaults) {
  const moe_sampling_options options = sampling_options();
  EXPECT_EQ(options.size, sizeof(options));
  EXPECT_EQ(options.temperature, 0);
  EXPECT_EQ(options.top_p, 1);
  EXPECT_EQ(options.min_p, 0);
  EXPECT_EQ(options.repetition_penalty, 1);
  EXPECT_EQ(options.top_k, 0u);
  moe_sampling_default_options(nullptr);
  // An older caller's struct ends before the penalty.
  moe_sampling_options older = options;
  older.size = offsetof(moe_sampling_options, repetition_penalty);
  older.repetition_penalty = -5;
  EXPECT_EQ(Sampler(older).choose(rowOf({1, 2}), 0, 0), 1);
}

TEST(SamplerOptions, OutOfRange) {
  const auto refused = [](auto change, const char *sentence) {
    moe_sampling_options options = sampling_options();
    change(options);
    EXPECT_FAILURE(Sampler{options}, MOE_ERROR_INVALID_ARGUMENT, sentence);
  };
  using Options = moe_sampling_options;
  for (const double bad : {-0.1, double{kNan}, double{kInfinity}})
    refused([&](Options &o) { o.temperature = bad; },
            "temperature: expected a finite number of at least 0, found ");
  for (const double bad : {0.0, 1.01, -1.0, double{kNan}})
    refused([&](Options &o) { o.top_p = bad; },
            "top_p: expected a number above 0, up to 1, found ");
  for (const double bad : {-0.01, 1.01, double{kNan}})
    refused([&](Options &o) { o.min_p = bad; },
            "min_p: expected a number from 0 to 1, found ");
  for (const double bad : {0.0, -2.0, double{kNan}, double{kInfinity}})
    refused([&](Options &o) { o.repetition_penalty = bad; },
            "repetition_penalty: expected a finite number above 0, found ");
  refused([](Options &o) { o.size = 0; }, "expected size to be set, found 0");
}

TEST(SamplerRow, Refusals) {
  for (const double temperature : {0.0, 1.0}) {
    moe_sampling_options options = sampling_options();
    options.temperature = temperature;
    options.repetition_penalty = 1.5;
    Sampler sampler(options);
    const auto refused = [&](const std::vector<float> &logits,
                             const std::vector<int32_t> &history,
                             const char *sentence) {
      EXPECT_FAILURE(sampler.choose(rowOf(logits), 0, 0, history),
                     MOE_ERROR_INVALID_ARGUMENT, sentence);
      EXPECT_FAILURE(sampler.distribution(rowOf(logits), history),
                     MOE_ERROR_INVALID_ARGUMENT, sentence);
    };
    refused({1, kNan, 3}, {},
            "logits[1]: expected a number or -infinity, found nan");
    refused({1, 2, kInfinity}, {}, "logits[2]: expected a number");
    refused({-kInfinity, -kInfinity}, {},
            "expected a finite logit among 2, found none");
    refused({}, {}, "expected");
    refused({1, 2}, {0, 2}, "history[1]: expected a token below 2, found 2");
    refused({1, 2}, {-1}, "history[0]: expected a token below 2, found -1");
    // It is as good as before.
    EXPECT_EQ(sampler.choose(rowOf({1, 100}), 0, 0, {0}), 1);
  }
}

TEST(SamplerRow, FromC) {
  const float logits[] = {1, 3, 2};
  int32_t token = -1;
  EXPECT_EQ(sample_from_c(logits, 3, 0, &token), MOE_OK);
  EXPECT_EQ(token, 1);
  EXPECT_EQ(sample_from_c(logits, 3, 1e-3, &token), MOE_OK);
  EXPECT_EQ(token, 1);
  EXPECT_EQ(sample_from_c(logits, 3, -1, &token), MOE_ERROR_INVALID_ARGUMENT);
}

TEST(SamplerRow, CallsOfC) {
  moe_sampler *sampler = nullptr;
  EXPECT_EQ(moe_sampler_create(nullptr, nullptr), MOE_ERROR_INVALID_ARGUMENT);
  ASSERT_EQ(moe_sampler_create(nullptr, &sampler), MOE_OK);
  const float logits[] = {1, 3, 2};
  moe_sampler_row row = {};
  row.size = offsetof(moe_sampler_row, stream); // of an older caller
  row.logits = logits;
  row.width = 3;
  row.num_history = 9; // behind what it knows
  int32_t token = -1;
  EXPECT_EQ(moe_sampler_choose(sampler, &row, &token), MOE_OK);
  EXPECT_EQ(token, 1);
  EXPECT_EQ(moe_sampler_choose(nullptr, &row, &token),
            MOE_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(moe_sampler_choose(sampler, nullptr, &token),
            MOE_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(moe_sampler_choose(sampler, &row, nullptr),
            MOE_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(moe_sampler_get_distribution(sampler, &row, nullptr),
            MOE_ERROR_INVALID_ARGUMENT);
  row.size = sizeof(row); // now the history counts
  EXPECT_EQ(moe_sampler_choose(sampler, &row, &token),
            MOE_ERROR_INVALID_ARGUMENT);
  row.num_history = 0;
  row.width = uint64_t{1} << 31;
  EXPECT_EQ(moe_sampler_choose(sampler, &row, &token),
            MOE_ERROR_INVALID_ARGUMENT);
  row.size = 8;
  EXPECT_EQ(moe_sampler_choose(sampler, &row, &token),
            MOE_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(token, 1);
  moe_sampler_destroy(sampler);
  moe_sampler_destroy(nullptr);
}

TEST(SamplerRow, GreedyAndTies) {
  Sampler greedy;
  EXPECT_EQ(greedy.choose(rowOf({1, 5, 5, 2}), 7, 9), 1);
  EXPECT_EQ(greedy.choose(rowOf({-kInfinity, -3, -2}), 0, 0), 2);
  EXPECT_EQ(greedy.distribution(rowOf({1, 5, 5, 2})).size(), 1u);

  moe_sampling_options options = sampling_options();
  options.temperature = 1;
  // All that equal the k-th.
  options.top_k = 2;
  const auto tied = distributionOf(options, {3, 1, 2, 2, 2});
  EXPECT_EQ(tied.size(), 4u);
  EXPECT_EQ(tied.count(1), 0u);
  // Half of four equal ones: the lower ids.
  options.top_k = 0;
  options.top_p = 0.5;
  EXPECT_EQ(distributionOf(options, {1, 1, 1, 1}),
            (std::map<int, double>{{0, 0.5}, {1, 0.5}}));
  // However small, one stays.
  options.top_p = 1e-9;
  EXPECT_EQ(distributionOf(options, {1, 1, 1, 1}),
            (std::map<int, double>{{0, 1.0}}));
  options.top_p = 1;
  options.min_p = 1;
  EXPECT_EQ(distributionOf(options, {2, 1, 2}),
            (std::map<int, double>{{0, 0.5}, {2, 0.5}}));
}

/// A penalty changes the sign's side and counts once.
TEST(SamplerRow, Penalty) {
  moe_sampling_options options = sampling_options();
  options.repetition_penalty = 2;
  Sampler sampler(options);
  EXPECT_EQ(sampler.choose(rowOf({4, 3}), 0, 0), 0);
  EXPECT_EQ(sampler.choose(rowOf({4, 3}), 0, 0, {0}), 1);
  EXPECT_EQ(sampler.choose(rowOf({5, 1}), 0, 0, {0, 0, 0}), 0); // 2.5, not 0.6
  EXPECT_EQ(sampler.choose(rowOf({-2, -3}), 0, 0, {0}), 1);     // -4
}

/// Temperatures near 0 are the greedy choice and nothing overflows.
TEST(SamplerRow, Extremes) {
  moe_sampling_options options = sampling_options();
  options.temperature = std::numeric_limits<double>::denorm_min();
  EXPECT_EQ(distributionOf(options, {1, 3e38f, -3e38f}),
            (std::map<int, double>{{1, 1.0}}));
  options.temperature = 1e300;
  for (const auto &[id, probability] : distributionOf(options, {1, 2, 3, 4}))
    EXPECT_NEAR(probability, 0.25, 1e-12) << id;
  options.top_k = 3;
  options.top_p = 0.9;
  options.min_p = 0.1;
  EXPECT_EQ(distributionOf(options, {1}), (std::map<int, double>{{0, 1.0}}));
}

TEST(SamplerRow, DrawsDependOnStreamAndPositionOnly) {
  std::vector<float> logits(50, 0.0f);
  moe_sampling_options options = sampling_options();
  options.temperature = 1;
  options.seed = 42;
  Sampler one(options), other(options);
  std::vector<int32_t> forwards, backwards;
  for (uint64_t position = 0; position < 40; ++position)
    forwards.push_back(one.choose(rowOf(logits), 3, position));
  for (uint64_t position = 40; position-- > 0;) {
    other.choose(rowOf(logits), 4, position); // somebody else's
    backwards.push_back(other.choose(rowOf(logits), 3, position));
  }
  std::reverse(backwards.begin(), backwards.end());
  EXPECT_EQ(forwards, backwards);
  const auto drawn = [&](uint64_t seed, uint64_t stream) {
    options.seed = seed;
    Sampler sampler(options);
    std::vector<int32_t> tokens;
    for (uint64_t position = 0; position < 40; ++position)
      tokens.push_back(sampler.choose(rowOf(logits), stream, position));
    return tokens;
  };
  EXPECT_EQ(drawn(42, 3), forwards);
  EXPECT_NE(drawn(42, 2), forwards);
  EXPECT_NE(drawn(43, 3), forwards);
  EXPECT_NE(drawn(42 + (uint64_t{1} << 32), 3), forwards);
}

/// Pearson's test against the distribution that the sampler says it has: the
/// seed is fixed, so it passes always or never.
TEST(SamplerRow, FrequenciesOfDraws) {
  const std::vector<float> logits = {2, -1, 0.5f, 1.5f, -kInfinity, 1, -6, 2};
  for (const uint64_t seed : {1, 2, 3}) {
    moe_sampling_options options = sampling_options();
    options.temperature = 1.3;
    options.top_k = 6;
    options.top_p = 0.97;
    options.min_p = 0.02;
    options.seed = seed;
    const auto expected = distributionOf(options, logits);
    ASSERT_GE(expected.size(), 5u);
    Sampler sampler(options);
    constexpr int kDraws = 20000;
    std::map<int, int> counts;
    for (int i = 0; i < kDraws; ++i)
      ++counts[sampler.choose(rowOf(logits), static_cast<uint64_t>(i % 7),
                              static_cast<uint64_t>(i / 7))];
    double chiSquare = 0;
    int seen = 0;
    for (const auto &[id, probability] : expected) {
      const double difference = counts[id] - probability * kDraws;
      chiSquare += difference * difference / (probability * kDraws);
      seen += counts[id];
    }
    EXPECT_EQ(seen, kDraws); // nothing else was drawn
    // 99.9 % of chi-square with at most 6 degrees of freedom.
    EXPECT_LT(chiSquare, 22.5) << "seed " << seed;
    EXPECT_GT(chiSquare, 0.1) << "too even to be random";
  }
}

} // namespace
