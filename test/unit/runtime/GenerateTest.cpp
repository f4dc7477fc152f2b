//===- GenerateTest.cpp - Many prompts decoded in one batch ---------------===//

#include "moe/generate.hpp"
#include "test/unit/runtime/RuntimeTestSupport.h"

#include <algorithm>

using namespace moe;
using namespace moe::test;

namespace {

class Generation : public testing::Test {
protected:
  using Tokens = std::vector<int32_t>;
  using Prompts = std::vector<std::vector<Input>>;

  std::vector<Generated> run(const std::vector<std::string> &texts,
                             const GenerateOptions &options) {
    Prompts prompts;
    for (const std::string &text : texts)
      prompts.push_back({input("text", text)});
    return generate(model, session, prompts, options);
  }
  /// The most probable continuation, by the naive decoder.
  static Tokens greedy(const std::string &text, size_t count) {
    ReferenceSequence reference;
    reference.addText(text);
    return continued(reference, count);
  }
  static Tokens continued(ReferenceSequence &reference, size_t count) {
    Tokens tokens;
    for (size_t i = 0; i < count; ++i) {
      const std::vector<float> logits = reference.lastLogits();
      tokens.push_back(static_cast<int32_t>(
          std::max_element(logits.begin(), logits.end()) - logits.begin()));
      reference.addText(std::string(1, static_cast<char>(tokens.back())));
    }
    return tokens;
  }
  /// The fake model's logits are large: a warm draw.
  static GenerateOptions sampling(uint64_t maxTokens) {
    GenerateOptions options;
    options.maxTokens = maxTokens;
    options.sampling.temperature = 4000;
    options.sampling.top_k = 100;
    options.sampling.repetition_penalty = 1.2;
    options.sampling.seed = 5;
    return options;
  }

  const std::vector<std::string> texts = {"once upon", "a",
                                          "the rain it raineth", "bc"};
  FakeArtifact artifact;
  Engine engine{2};
  Model model = Model::load(engine, artifact.path());
  Session session{model};
};

TEST_F(Generation, GreedyForPromptsOfAllLengths) {
  GenerateOptions options;
  options.maxTokens = 9;
  const auto results = run(texts, options);
  ASSERT_EQ(results.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(results[i].tokens, greedy(texts[i], 9)) << texts[i];
    EXPECT_EQ(results[i].end, Generated::Full);
  }
  EXPECT_EQ(session.stats().sequences, 0u);
  EXPECT_EQ(session.stats().cache_pages_used, 0u);
  // One step for all, as many as there are tokens.
  EXPECT_EQ(session.stats().steps, 9u);
}

TEST_F(Generation, OtherModalities) {
  const std::vector<uint8_t> pixels = {1, 2, 3, 50, 60, 70};
  GenerateOptions options;
  options.maxTokens = 4;
  const Tokens ids = {'x', 'y'};
  const auto results = generate(
      model, session,
      {{input("image", pixels), input("text", "ab")}, {input("text", ids)}},
      options);
  ReferenceSequence reference;
  reference.addImages(pixels);
  reference.addText("ab");
  EXPECT_EQ(results[0].tokens, continued(reference, 4));
  EXPECT_EQ(results[1].tokens, greedy("xy", 4));
}

TEST_F(Generation, StopTokens) {
  const Tokens expected = greedy(texts[0], 9);
  GenerateOptions options;
  options.maxTokens = 9;
  options.stop = Tokens{expected[3], 255};
  const size_t length = static_cast<size_t>(
      std::find(expected.begin(), expected.end(), expected[3]) -
      expected.begin() + 1);
  auto result = run({texts[0]}, options).front();
  EXPECT_EQ(result.tokens, Tokens(expected.begin(), expected.begin() + length));
  EXPECT_EQ(result.end, Generated::Stopped);
  // Those of the model, unless the options have others or none.
  manifest::ManifestT manifest = artifact.manifest();
  manifest.stop_tokens = {static_cast<uint32_t>(expected[3])};
  const FakeArtifact other;
  other.setManifest(manifest);
  const Model stopping = Model::load(engine, other.path());
  ASSERT_EQ(stopping.info().num_stop_tokens, 1u);
  EXPECT_EQ(stopping.info().stop_tokens[0], expected[3]);
  Session its(stopping);
  options.stop.reset();
  const Prompts prompts = {{input("text", texts[0])}};
  EXPECT_EQ(generate(stopping, its, prompts, options)[0].tokens.size(), length);
  options.stop = Tokens{};
  EXPECT_EQ(generate(stopping, its, prompts, options)[0].tokens, expected);
}

/// A text that has ended leaves the batch and gives its pages back.
TEST_F(Generation, FinishedSequencesLeave) {
  GenerateOptions options;
  options.maxTokens = 6;
  Generator generator(model, session, options);
  size_t cancelled = 0;
  generator.onToken = [&](size_t prompt, int32_t) {
    const bool goesOn = prompt != 2 || generator[2].tokens.size() < 2;
    cancelled += !goesOn;
    return goesOn;
  };
  for (const std::string &text : texts)
    generator.add({input("text", text)});
  EXPECT_TRUE(generator.step());
  EXPECT_EQ(session.stats().sequences, 4u);
  EXPECT_EQ(session.stats().cache_pages_used, 4u);
  EXPECT_TRUE(generator.step());
  EXPECT_EQ(generator[2].end, Generated::Cancelled);
  EXPECT_EQ(session.stats().sequences, 3u);
  EXPECT_EQ(session.stats().cache_pages_used, 3u);
  while (generator.step())
    ;
  EXPECT_EQ(cancelled, 1u);
  EXPECT_EQ(generator[2].tokens, greedy(texts[2], 2));
  EXPECT_EQ(generator[3].tokens, greedy(texts[3], 6));
  EXPECT_EQ(session.stats().sequences, 0u);
  EXPECT_FALSE(generator.step());
}

/// The same text alone, with others, in turns, in another order, and from a
/// sequence that has run before: what counts is the stream.
TEST_F(Generation, DrawsDoNotDependOnTheBatch) {
  const GenerateOptions options = sampling(12);
  const auto together = run(texts, options);
  EXPECT_NE(together[0].tokens, greedy(texts[0], 12));
  for (size_t i = 0; i < texts.size(); ++i) {
    Generator alone(model, session, options);
    alone.add({input("text", texts[i])}, i);
    while (alone.step())
      ;
    EXPECT_EQ(alone[0].tokens, together[i].tokens) << texts[i];

    Sequence sequence = session.create_sequence();
    const Logits logits =
        session.step("prefill", sequence, {input("text", texts[i])});
    Generator resumed(model, session, options);
    resumed.resume(std::move(sequence), logits.last(),
                   Tokens(texts[i].begin(), texts[i].end()), i);
    while (resumed.step())
      ;
    EXPECT_EQ(resumed[0].tokens, together[i].tokens) << texts[i];
  }
  GenerateOptions inTurns = options;
  inTurns.atOnce = 2;
  const auto few = run(texts, inTurns);
  Generator reversed(model, session, options);
  for (size_t i = texts.size(); i-- > 0;)
    reversed.add({input("text", texts[i])}, i);
  while (reversed.step())
    ;
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(few[i].tokens, together[i].tokens) << texts[i];
    EXPECT_EQ(reversed[texts.size() - 1 - i].tokens, together[i].tokens);
  }
  // Equal prompts are not equal texts.
  const auto twins = run({"a", "a"}, options);
  EXPECT_NE(twins[0].tokens, twins[1].tokens);
}

/// No more than the session has room for, and prompts join while others decode.
TEST_F(Generation, WaitsForRoom) {
  Session small(model, /*maxSequences=*/2, /*cacheTokens=*/128);
  GenerateOptions options;
  options.maxTokens = 3;
  options.atOnce = 2;
  Generator generator(model, small, options);
  size_t most = 0;
  generator.onToken = [&](size_t prompt, int32_t) {
    most = std::max<size_t>(most, small.stats().sequences);
    return prompt != 0; // the first ends at once, so that the second is behind
  };
  for (const std::string &text : texts)
    generator.add({input("text", text)});
  while (generator.step())
    ;
  EXPECT_EQ(most, 2u);
  EXPECT_EQ(generator[0].tokens.size(), 1u);
  for (size_t i = 1; i < texts.size(); ++i)
    EXPECT_EQ(generator[i].tokens, greedy(texts[i], 3)) << texts[i];
}

/// Every step gives them to its entry; that of prompts takes none.
TEST_F(Generation, Routers) {
  GenerateOptions options;
  options.maxTokens = 2;
  options.routers = {router_input(0)};
  options.routers[0].count = 1;
  EXPECT_FAILURE(run({"abc"}, options), MOE_ERROR_INVALID_ARGUMENT,
                 "entry 'prefill', router 0");
  options.prefill = options.decode = "study";
  EXPECT_EQ(run({"abc"}, options)[0].tokens, greedy("abc", 2));
}

TEST_F(Generation, Refusals) {
  GenerateOptions options;
  const auto refused = [&](auto change, const char *sentence) {
    GenerateOptions changed;
    change(changed);
    EXPECT_FAILURE(Generator(model, session, changed),
                   MOE_ERROR_INVALID_ARGUMENT, sentence);
  };
  refused([](GenerateOptions &o) { o.maxTokens = 0; }, "at least 1 token");
  refused([](GenerateOptions &o) { o.decode = "score"; },
          "expected entries with a cache, found 'score' without");
  refused([](GenerateOptions &o) { o.stop = Tokens{256}; },
          "expected stop tokens below 256, found 256");
  refused([](GenerateOptions &o) { o.sampling.top_p = 0; }, "top_p");
  refused(
      [](GenerateOptions &o) {
        static const int32_t id = 0;
        o.routers = {router_input(0)};
        o.routers[0].ids = &id;
      },
      "expected no ids or weights for routers");
  options.decode = "no";
  EXPECT_FAILURE(Generator(model, session, options), MOE_ERROR_NOT_FOUND,
                 "found 'no'");
  options = {};
  options.maxTokens = 100;
  Generator generator(model, session, options);
  EXPECT_FAILURE(generator.add({}), MOE_ERROR_INVALID_ARGUMENT,
                 "a prompt of at least one token");
  EXPECT_FAILURE(generator.add({input("text", "")}), MOE_ERROR_INVALID_ARGUMENT,
                 "a prompt of at least one token");
  EXPECT_FAILURE(generator.add({input("sound", "x")}),
                 MOE_ERROR_INVALID_ARGUMENT, "found 'sound'");
  EXPECT_FAILURE(generator.add({input("text", std::string(102, 'x'))}),
                 MOE_ERROR_INVALID_ARGUMENT,
                 "needs a cache of 102 + 99 tokens, entry 'prefill' has 200");
  EXPECT_EQ(generator.size(), 0u);
  EXPECT_FALSE(generator.step());
  // What a step refuses comes out of step().
  const Tokens failing = {FAKE_ID_FAILS};
  generator.add({input("text", failing)});
  EXPECT_FAILURE(generator.step(), MOE_ERROR_SYSTEM, "");
}

} // namespace
