//===- ThreadTest.cpp - Teams, barriers and who may call what -------------===//

#include "test/unit/runtime/RuntimeTestSupport.h"

#include <atomic>
#include <cfenv>
#include <optional>
#include <sched.h>
#include <thread>

using namespace moe;
using namespace moe::test;

namespace {

class Threads : public testing::TestWithParam<unsigned> {};

/// Each step passes 21 barriers and counts the participants that it saw in
/// another round than its own.
TEST_P(Threads, Barriers) {
  const FakeArtifact artifact;
  Engine engine(GetParam());
  ASSERT_EQ(engine.threads(), GetParam());
  const Model model = Model::load(engine, artifact.path());
  Session session(model);
  Sequence sequence = session.create_sequence();
  ReferenceSequence reference;
  for (int step = 0; step < 190; ++step) {
    const std::string text(1, static_cast<char>('a' + step % 26));
    const Logits logits =
        session.step("decode", sequence, {input("text", text)});
    reference.addText(text);
    ASSERT_EQ(asVector(logits[0]), reference.lastLogits());
    const Row trace = session.output(1)[0];
    ASSERT_EQ(trace[1], static_cast<float>(GetParam()));
    ASSERT_EQ(trace[2], 0.0f) << "errors of the barrier";
    ASSERT_EQ(trace[3], static_cast<float>(FAKE_BARRIER_ROUNDS));
  }
}

INSTANTIATE_TEST_SUITE_P(Counts, Threads, testing::Values(1u, 2u, 5u),
                         testing::PrintToStringParamName());

TEST(Engine, ThreadsFromTheEnvironment) {
  {
    const ScopedEnvironment environment("MOE_THREADS", "3");
    EXPECT_EQ(Engine().threads(), 3u);
    EXPECT_EQ(Engine(2).threads(), 2u);
  }
  for (const char *bad : {"0", "-1", "many", "", "2x", "1025"}) {
    const ScopedEnvironment environment("MOE_THREADS", bad);
    EXPECT_FAILURE(Engine(), MOE_ERROR_INVALID_ARGUMENT,
                   "MOE_THREADS: expected 1 to 1024, found '" +
                       std::string(bad) + "'");
  }
  EXPECT_FAILURE(Engine(1025), MOE_ERROR_INVALID_ARGUMENT,
                 "expected 1 to 1024, found 1025");
}

TEST(Engine, ThreadsFollowTheAffinity) {
  const ScopedEnvironment environment("MOE_THREADS", nullptr);
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  EXPECT_EQ(Engine().threads(), static_cast<unsigned>(CPU_COUNT(&before)));
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  const unsigned threads = Engine().threads();
  ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
  EXPECT_EQ(threads, 1u);
}

TEST(Engine, SessionsTakeTurns) {
  const FakeArtifact artifact;
  Engine engine(2);
  const Model model = Model::load(engine, artifact.path());
  std::atomic<int> wrong{0};
  const auto use = [&](char letter) {
    Session session(model);
    Sequence sequence = session.create_sequence();
    ReferenceSequence reference;
    for (int step = 0; step < 150; ++step) {
      const std::string text(1, static_cast<char>(letter + step % 5));
      const Logits logits =
          session.step("decode", sequence, {input("text", text)});
      reference.addText(text);
      wrong += asVector(logits[0]) != reference.lastLogits();
      wrong += session.output(1)[0][2] != 0.0f;
    }
  };
  std::vector<std::thread> users;
  for (const char letter : {'a', 'h', 'o'})
    users.emplace_back(use, letter);
  for (std::thread &user : users)
    user.join();
  EXPECT_EQ(wrong, 0);
}

/// One thread is in a step of a third of a second; the other one tries.
TEST(SessionThreads, SecondThreadGetsAStatus) {
  const FakeArtifact artifact;
  Engine engine(1);
  const Model model = Model::load(engine, artifact.path());
  Session session(model);
  Sequence slow = session.create_sequence();
  std::optional<Sequence> other(session.create_sequence());
  std::optional<Sequence> freed(session.create_sequence());
  std::atomic<bool> done{false};
  std::thread first([&] {
    // The other thread may be inside just now, asking whether we are.
    const auto step = [&] {
      session.step("prefill", slow, {input("text", {int32_t{FAKE_ID_SLOW}})});
    };
    while (failureOf(step).status == MOE_ERROR_BUSY)
      std::this_thread::yield();
    done = true;
  });
  // From the moment that we find it inside, it stays there for long.
  Failure failure;
  while (failure.status != MOE_ERROR_BUSY && !done)
    failure = failureOf([&] { session.stats(); });
  EXPECT_EQ(failure.status, MOE_ERROR_BUSY);
  EXPECT_NE(failure.message.find("one thread at a time"), std::string::npos);
  EXPECT_FAILURE(session.step("decode", *other, {input("text", "a")}),
                 MOE_ERROR_BUSY, "found another one inside");
  EXPECT_FAILURE(session.create_sequence(), MOE_ERROR_BUSY, "");
  EXPECT_FAILURE(other->fork(), MOE_ERROR_BUSY, "");
  EXPECT_FAILURE(other->trim(0), MOE_ERROR_BUSY, "");
  EXPECT_EQ(slow.length(), 0u);
  freed.reset();
  EXPECT_FALSE(done) << "the slow step ended too early for this test";
  first.join();
  EXPECT_EQ(session.stats().sequences, 2u);
  EXPECT_EQ(slow.length(), 1u);
  EXPECT_EQ(session.step("decode", *other, {input("text", "a")}).rows(), 1u);
}

TEST(SessionThreads, LastErrorIsPerThread) {
  EXPECT_EQ(moe_model_find_entry(nullptr, "x", nullptr),
            MOE_ERROR_INVALID_ARGUMENT);
  EXPECT_STREQ(moe_last_error(), "model: expected a pointer, found NULL");
  std::string seen = "unset";
  std::thread([&] { seen = moe_last_error(); }).join();
  EXPECT_EQ(seen, "");
}

TEST(SessionThreads, CallersRoundingModeIsKept) {
  const FakeArtifact artifact;
  Engine engine(2);
  const Model model = Model::load(engine, artifact.path());
  Session session(model);
  Sequence sequence = session.create_sequence();
  std::fesetround(FE_UPWARD);
  session.step("prefill", sequence, {input("text", "abc")});
  const int after = std::fegetround();
  std::fesetround(FE_TONEAREST);
  EXPECT_EQ(after, FE_UPWARD);
}

} // namespace
