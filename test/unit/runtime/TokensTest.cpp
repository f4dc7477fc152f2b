//===- TokensTest.cpp - Steps that choose tokens --------------------------===//
//
// Against steps whose results go through a sampler of their own. What kernels
// choose is compared in test/gpu/sampler.py; the fake device shows what goes to
// a device and comes back.
//
//===----------------------------------------------------------------------===//

#include "moe/generate.hpp"
#include "runtime/lib/sample/Philox.h"
#include "test/unit/runtime/DeviceTestSupport.h"

#include <cstddef>

using namespace moe;
using namespace moe::test;

namespace {

moe_sampling_options warm() {
  moe_sampling_options options = sampling_options();
  options.temperature = 4000;
  options.top_p = 0.9;
  options.seed = 11;
  return options;
}

int32_t argmaxOf(const std::vector<float> &logits) {
  return Row(logits.data(), logits.size()).argmax();
}

/// Two sequences, of which one has run.
struct Pair {
  explicit Pair(Session &session)
      : first(session.create_sequence()), second(session.create_sequence()) {
    session.step("prefill", first, {input("text", "hello")});
    items = {itemOf(first, next), itemOf(second, prompt)};
    rows[0] = 0;
    rows[1] = 3;
    for (size_t i = 0; i < 2; ++i) {
      items[i].rows = &rows[i];
      items[i].num_rows = 1;
    }
  }

  Sequence first, second;
  const Input next = input("text", "x");
  const Input prompt = input("text", "abcd");
  uint32_t rows[2];
  std::vector<Item> items;
};

class Tokens : public testing::Test {
protected:
  FakeArtifact artifact;
  Engine engine{2};
  Model model = Model::load(engine, artifact.path());
  Session session{model};
};

TEST_F(Tokens, AreThoseOfASampler) {
  Pair pair(session);
  moe_sampling_options options = warm();
  options.repetition_penalty = 1.5;
  const std::vector<int32_t> history = {1, 2, 3};
  std::vector<TokenRequest> requests = {token_request(options, 7, 6),
                                        token_request(options, 8, 4)};
  requests[0].history = history.data();
  requests[0].num_history = history.size();
  const std::vector<int32_t> tokens =
      step_tokens(session, "prefill", pair.items.data(), 2, requests);
  EXPECT_EQ(pair.first.length(), 6u);
  EXPECT_FAILURE(session.output(0), MOE_ERROR_INVALID_ARGUMENT,
                 "expected a last step that was asked for outputs");

  pair.first.trim(5);
  pair.second.trim(0);
  const Logits logits = session.step("prefill", pair.items.data(), 2);
  Sampler sampler(options);
  EXPECT_EQ(tokens[0], sampler.choose(logits[0], 7, 6, history));
  EXPECT_EQ(tokens[1], sampler.choose(logits[1], 8, 4));
  EXPECT_EQ(sampling_info(session).on_device, 0u);
  EXPECT_STREQ(sampling_info(session).remark, "");
}

TEST_F(Tokens, BesideOutputs) {
  Pair pair(session);
  const moe_sampling_options greedy = sampling_options();
  const std::vector<TokenRequest> requests(2, token_request(greedy, 0, 0));
  auto batch = detail::sized<moe_batch>();
  batch.items = pair.items.data();
  batch.num_items = 2;
  auto output = detail::sized<moe_output>();
  int32_t tokens[2] = {-7, -7};
  check(moe_step_tokens(session.get(), "prefill", &batch, requests.data(), 2,
                        tokens, &output, 1));
  EXPECT_EQ(output.rows, 2u);
  for (size_t i = 0; i < 2; ++i)
    EXPECT_EQ(tokens[i], Logits(output).argmax(i));
  EXPECT_EQ(session.output(1).rows(), 2u);
}

TEST_F(Tokens, Refusals) {
  Pair pair(session);
  moe_sampling_options options = sampling_options();
  std::vector<TokenRequest> requests(2, token_request(options, 0, 0));
  const auto refused = [&](const char *sentence) {
    EXPECT_FAILURE(
        step_tokens(session, "prefill", pair.items.data(), 2, requests),
        MOE_ERROR_INVALID_ARGUMENT, sentence);
    EXPECT_EQ(pair.first.length(), 5u);
    EXPECT_EQ(pair.second.length(), 0u);
  };
  requests.pop_back();
  refused("requests: expected one for each of 2 rows of results, found 1");
  requests.clear();
  refused("found 0");
  requests.assign(2, token_request(options, 0, 0));
  requests[1].size = 8;
  refused("requests 1: expected size 48 as of the first, found 8");
  moe_sampling_options bad = warm();
  bad.top_p = 0;
  requests[1] = token_request(bad, 0, 0);
  refused("request 1: top_p: expected a number above 0");
  bad = warm();
  bad.repetition_penalty = 2;
  const int32_t history = 100000;
  requests[1] = token_request(bad, 0, 0);
  requests[1].history = &history;
  requests[1].num_history = 1;
  refused("request 1: history[0]: expected a token below");
  int32_t token = 0;
  EXPECT_EQ(moe_step_tokens(session.get(), "prefill", nullptr, requests.data(),
                            2, &token, nullptr, 0),
            MOE_ERROR_INVALID_ARGUMENT);
  auto batch = detail::sized<moe_batch>();
  EXPECT_EQ(moe_step_tokens(session.get(), "prefill", &batch, requests.data(),
                            2, nullptr, nullptr, 0),
            MOE_ERROR_INVALID_ARGUMENT);
  requests.assign(2, token_request(options, 0, 0));
  EXPECT_EQ(
      step_tokens(session, "prefill", pair.items.data(), 2, requests).size(),
      2u);
}

//===----------------------------------------------------------------------===//
// On a device
//===----------------------------------------------------------------------===//

class DeviceTokens : public DeviceTest {};

TEST_F(DeviceTokens, ComeBackAlone) {
  OnDevice on = start();
  ReferenceSequence reference;
  const moe_sampling_options greedy = sampling_options();
  const moe_sampling_options drawn = warm();
  EXPECT_EQ(sampling_info(on.session).on_device, 1u);
  for (int i = 0; i < 12; ++i) {
    const std::string next(1, static_cast<char>('a' + i));
    const Input text = input("text", next);
    Item one = itemOf(on.sequence, text);
    reference.addText(next);
    const auto position = static_cast<uint64_t>(i + 1);
    const bool isGreedy = i % 3 != 0;
    const uint64_t bytes = driver.bytesToHost();
    const int32_t token =
        step_tokens(on.session, "decode", &one, 1,
                    {token_request(isGreedy ? greedy : drawn, 5, position)})[0];
    // Nothing but the token, as aligned as all, in one copy.
    EXPECT_EQ(driver.bytesToHost() - bytes, 256u);
    EXPECT_EQ(driver.calls("cuMemcpyDtoHAsync_v2"), i + 1);
    if (isGreedy) {
      EXPECT_EQ(token, argmaxOf(negated(reference.lastLogits()))) << i;
    } else {
      EXPECT_EQ(static_cast<uint64_t>(token),
                (rt::randomAt(11, 5, position) >> 32) % FAKE_LOGITS)
          << i;
    }
  }
  // Twice by hand, three kernels each, then as a graph, whatever the options.
  EXPECT_EQ(driver.calls("cuLaunchKernel"), 6);
  EXPECT_EQ(driver.calls("cuGraphLaunch"), 11);
  EXPECT_FAILURE(on.session.output(0), MOE_ERROR_INVALID_ARGUMENT,
                 "found one for tokens alone");
}

TEST_F(DeviceTokens, WithAndWithoutTakeTurns) {
  const Model model = Model::load(engine, artifact.path());
  Session session(model, 0, 0, MOE_DEVICE_CUDA);
  Pair pair(session);
  const moe_sampling_options greedy = sampling_options();
  const std::vector<TokenRequest> requests(2, token_request(greedy, 0, 0));
  for (int i = 0; i < 4; ++i) {
    pair.first.trim(5);
    pair.second.trim(0);
    const auto tokens =
        step_tokens(session, "prefill", pair.items.data(), 2, requests);
    pair.first.trim(5);
    pair.second.trim(0);
    const Logits logits = session.step("prefill", pair.items.data(), 2);
    for (size_t row = 0; row < 2; ++row)
      EXPECT_EQ(tokens[row], logits.argmax(row)) << i;
  }
}

/// They are as long as they are: the step still comes as a graph.
TEST_F(DeviceTokens, Histories) {
  const Model model = Model::load(engine, artifact.path());
  Session session(model, 0, 0, MOE_DEVICE_CUDA);
  Pair pair(session);
  moe_sampling_options options = warm();
  options.repetition_penalty = 2;
  const moe_sampling_options without = warm();
  std::vector<int32_t> first, second;
  for (int32_t i = 0; i < 6; ++i) {
    first.push_back(10 + i);
    second.insert(second.end(), 3, 20 + i);
    std::vector<TokenRequest> requests(2, token_request(options, 3, 9));
    requests[0].history = first.data();
    requests[0].num_history = first.size();
    requests[1].history = second.data();
    requests[1].num_history = second.size();
    pair.first.trim(5);
    pair.second.trim(0);
    EXPECT_EQ(step_tokens(session, "prefill", pair.items.data(), 2, requests),
              (std::vector<int32_t>{10 + i, 20 + i}));
    // Not read without a penalty.
    requests[0].options = &without;
    requests[0].history = nullptr;
    pair.first.trim(5);
    pair.second.trim(0);
    EXPECT_EQ(
        step_tokens(session, "prefill", pair.items.data(), 2, requests)[1],
        20 + i);
  }
  EXPECT_EQ(driver.calls("cuGraphLaunch"), 11);
}

/// Artifacts without the kernel.
TEST_F(DeviceTokens, OnTheHost) {
  const ScopedEnvironment environment("FAKE_DAMAGE", "old");
  const Model model = Model::load(engine, artifact.path());
  Session session(model, 0, 0, MOE_DEVICE_CUDA);
  EXPECT_EQ(sampling_info(session).on_device, 0u);
  EXPECT_STREQ(sampling_info(session).remark,
               "the artifact is older than the kernel that chooses tokens");
  moe_sampling_options options = warm();
  options.repetition_penalty = 2;
  const std::vector<int32_t> history = {5};
  Pair pair(session);
  std::vector<TokenRequest> requests(2, token_request(options, 3, 9));
  requests[1].history = history.data();
  requests[1].num_history = 1;
  const auto tokens =
      step_tokens(session, "prefill", pair.items.data(), 2, requests);
  pair.first.trim(5);
  pair.second.trim(0);
  const Logits logits = session.step("prefill", pair.items.data(), 2);
  Sampler sampler(options);
  EXPECT_EQ(tokens[0], sampler.choose(logits[0], 3, 9));
  EXPECT_EQ(tokens[1], sampler.choose(logits[1], 3, 9, history));
}

TEST_F(DeviceTokens, RowsWithoutAChoice) {
  const Model model = Model::load(engine, artifact.path());
  Session session(model, 0, 0, MOE_DEVICE_CUDA);
  Pair pair(session);
  const moe_sampling_options good = warm();
  moe_sampling_options bad = warm();
  const auto step = [&] {
    return step_tokens(session, "prefill", pair.items.data(), 2,
                       {token_request(good, 0, 0), token_request(bad, 0, 0)});
  };
  bad.top_k = FAKE_NAN;
  EXPECT_FAILURE(step(), MOE_ERROR_INVALID_ARGUMENT,
                 "row 1: logits[1]: expected a number or -infinity, found nan");
  bad.top_k = FAKE_NO_TOKEN;
  EXPECT_FAILURE(step(), MOE_ERROR_INTERNAL,
                 "row 1: the device found no token, the host found one");
  EXPECT_EQ(pair.first.length(), 5u);
  EXPECT_EQ(pair.second.length(), 0u);
  bad.top_k = 0;
  EXPECT_EQ(step().size(), 2u);
  EXPECT_EQ(pair.second.length(), 4u);
}

} // namespace
