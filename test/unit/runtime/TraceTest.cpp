//===- TraceTest.cpp - Time stamps of a step ------------------------------===//
//
// Counts and orders only: how long anything takes is nobody's business here.
//
//===----------------------------------------------------------------------===//

#include "test/unit/runtime/RuntimeTestSupport.h"

#include <algorithm>
#include <cstddef>

using namespace moe;
using namespace moe::test;

namespace {

class TraceOfStep : public testing::Test {
protected:
  explicit TraceOfStep(unsigned threads = 3) : engine(threads) {}

  void step(const std::string &text, uint32_t trace) {
    const Input bytes = input("text", text);
    Item one = item(sequence, {});
    one.inputs = &bytes;
    one.num_inputs = 1;
    session.step("prefill", &one, 1, /*keepRouting=*/false, trace);
  }
  void expectOrder(const Trace &trace) {
    for (unsigned thread = 0; thread < trace.threads(); ++thread)
      for (size_t i = 0; i < trace.intervals(); ++i) {
        EXPECT_LE(trace.begin(thread, i), trace.end(thread, i));
        if (i + 1 == trace.intervals())
          continue;
        // Nobody leaves a barrier before the last one has come.
        for (unsigned other = 0; other < trace.threads(); ++other)
          EXPECT_LE(trace.end(other, i), trace.begin(thread, i + 1));
      }
  }

  FakeArtifact artifact;
  Engine engine;
  Model model = Model::load(engine, artifact.path());
  Session session{model};
  Sequence sequence = session.create_sequence();
};

class TraceOfOneThread : public TraceOfStep {
protected:
  TraceOfOneThread() : TraceOfStep(1) {}
};

TEST_F(TraceOfStep, EveryBarrierOfEveryParticipant) {
  for (int i = 0; i < 3; ++i) {
    step("abc", true);
    const Trace trace = session.trace();
    EXPECT_EQ(trace.threads(), 3u);
    EXPECT_EQ(trace.intervals(), size_t{FAKE_INTERVALS});
    EXPECT_EQ(trace.variant(), session.stats().last_variant);
    expectOrder(trace);
  }
}

TEST_F(TraceOfOneThread, EveryBarrier) {
  step("abc", true);
  const Trace trace = session.trace();
  EXPECT_EQ(trace.threads(), 1u);
  EXPECT_EQ(trace.intervals(), size_t{FAKE_INTERVALS});
  expectOrder(trace);
}

/// As many intervals as the manifest has, and each with a kernel.
TEST_F(TraceOfStep, EveryIntervalHasAName) {
  step("abc", true);
  const Trace trace = session.trace();
  const auto manifest = artifact.manifest();
  const auto &variant = *manifest.variants[trace.variant()];
  EXPECT_EQ(variant.intervals, trace.intervals());
  std::vector<bool> named(trace.intervals());
  for (const auto &kernel : variant.kernels) {
    EXPECT_FALSE(kernel->kind.empty());
    named.at(kernel->interval) = true;
  }
  EXPECT_EQ(std::count(named.begin(), named.end(), false), 0);
}

/// It changes no result.
TEST_F(TraceOfStep, SameNumbers) {
  step("abc", false);
  const std::vector<float> without = asVector(session.output(0).last());
  sequence.trim(0);
  step("abc", true);
  EXPECT_EQ(asVector(session.output(0).last()), without);
  EXPECT_EQ(session.output(1)[0][2], 0.0f); // no barrier let anybody through
}

TEST_F(TraceOfStep, WholeStepsAreOneInterval) {
  step("abc", MOE_TRACE_STEP);
  const Trace trace = session.trace();
  EXPECT_EQ(trace.threads(), 1u);
  EXPECT_EQ(trace.intervals(), 1u);
  EXPECT_EQ(trace.variant(), session.stats().last_variant);
  EXPECT_LT(trace.begin(0, 0), trace.end(0, 0));
  // The barriers are those of the engine.
  EXPECT_EQ(session.output(1)[0][2], 0.0f);
  EXPECT_FAILURE(step("abc", MOE_TRACE_STEP + 1), MOE_ERROR_INVALID_ARGUMENT,
                 "expected a batch with trace of at most 2, found 3");
}

TEST_F(TraceOfStep, OnlyWhenAskedFor) {
  EXPECT_FAILURE(session.trace(), MOE_ERROR_INVALID_ARGUMENT,
                 "expected a last step with trace");
  step("a", true);
  session.trace();
  step("b", false);
  EXPECT_FAILURE(session.trace(), MOE_ERROR_INVALID_ARGUMENT,
                 "expected a last step with trace");
  step("c", true);
  EXPECT_FAILURE(
      session.step("decode", sequence, {input("text", {int{FAKE_ID_FAILS}})}),
      MOE_ERROR_SYSTEM, "");
  EXPECT_FAILURE(session.trace(), MOE_ERROR_INVALID_ARGUMENT,
                 "expected a last step with trace");
}

TEST_F(TraceOfStep, OfOlderCallers) {
  step("a", true);
  moe_trace shorter = {};
  shorter.size = offsetof(moe_trace, intervals);
  EXPECT_EQ(moe_session_get_trace(session.get(), &shorter), MOE_OK);
  EXPECT_NE(shorter.stamps, nullptr);
  EXPECT_EQ(shorter.intervals, 0u);
  EXPECT_EQ(moe_session_get_trace(session.get(), nullptr),
            MOE_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(moe_session_get_trace(nullptr, &shorter),
            MOE_ERROR_INVALID_ARGUMENT);
}

} // namespace
