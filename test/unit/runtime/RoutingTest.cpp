//===- RoutingTest.cpp - What routers choose, on its way to the caller ----===//

#include "test/unit/runtime/RuntimeTestSupport.h"

#include <cstddef>

using namespace moe;
using namespace moe::test;

namespace {

class RoutingOut : public testing::Test {
protected:
  /// Steps `text` through an entry, with or without keeping the routing.
  void step(const char *entry, Sequence &sequence, const std::string &text,
            bool keep) {
    const Input bytes = input("text", text);
    Item one = item(sequence, {});
    one.inputs = &bytes;
    one.num_inputs = 1;
    session.step(entry, &one, 1, keep);
  }

  FakeArtifact artifact;
  Engine engine{2};
  Model model = Model::load(engine, artifact.path());
  Session session{model};
  Sequence sequence = session.create_sequence();
};

TEST_F(RoutingOut, Description) {
  EXPECT_EQ(model.info().num_routers, 2u);
  const moe_router_info router = model.router(0);
  EXPECT_STREQ(router.name, "route");
  EXPECT_EQ(router.layer, 0);
  EXPECT_EQ(router.experts, unsigned{FAKE_EXPERTS});
  EXPECT_EQ(router.slots, unsigned{FAKE_SLOTS_PER_TOKEN});
  EXPECT_FAILURE(model.router(2), MOE_ERROR_INVALID_ARGUMENT,
                 "expected a router below 2, found 2");
  EXPECT_TRUE(model.entry(std::string("study")).routing_out);
  EXPECT_FALSE(model.entry(std::string("prefill")).routing_out);
}

TEST_F(RoutingOut, EveryStepHasItsOwn) {
  uint64_t held = 0;
  for (const std::string text : {"abc", "a longer one", "d"}) {
    step("study", sequence, text, true);
    const Routing routing = session.routing(0);
    ASSERT_EQ(routing.tokens(), text.size());
    ASSERT_EQ(routing.slots(), size_t{FAKE_SLOTS_PER_TOKEN});
    for (size_t t = 0; t < text.size(); ++t)
      for (int s = 0; s < FAKE_SLOTS_PER_TOKEN; ++s) {
        const int position = static_cast<int>(held + t);
        const auto slot = static_cast<size_t>(s);
        EXPECT_EQ(routing.id(t, slot), fake_expert(position, s));
        EXPECT_EQ(routing.weight(t, slot), fake_expert_weight(position, s));
      }
    held += text.size();
  }
}

TEST_F(RoutingOut, ARouterThatDoesNotRunChoosesNothing) {
  step("study", sequence, "abc", true);
  const Routing routing = session.routing(1);
  ASSERT_EQ(routing.slots(), 3u);
  for (size_t t = 0; t < 3; ++t)
    for (size_t s = 0; s < 3; ++s) {
      EXPECT_EQ(routing.id(t, s), -1);
      EXPECT_EQ(routing.weight(t, s), 0.0f);
    }
}

TEST_F(RoutingOut, OnlyWhenAskedFor) {
  EXPECT_FAILURE(session.routing(0), MOE_ERROR_INVALID_ARGUMENT,
                 "expected a last step with routing_out");
  step("study", sequence, "abc", true);
  session.routing(0);
  EXPECT_FAILURE(session.routing(2), MOE_ERROR_INVALID_ARGUMENT,
                 "expected a router below 2, found 2");
  step("study", sequence, "abc", false);
  EXPECT_FAILURE(session.routing(0), MOE_ERROR_INVALID_ARGUMENT,
                 "expected a last step with routing_out");
}

TEST_F(RoutingOut, EntriesWithoutItRefuse) {
  EXPECT_FAILURE(step("prefill", sequence, "abc", true),
                 MOE_ERROR_INVALID_ARGUMENT,
                 "entry 'prefill': expected a batch without routing_out");
  EXPECT_EQ(sequence.length(), 0u);
}

/// A caller compiled against the first version of the header.
TEST_F(RoutingOut, ShorterBatchesAskForNothing) {
  const Input text = input("text", "abc");
  const moe_item one = {sizeof(moe_item), sequence.get(), &text, 1, nullptr, 0};
  const moe_batch batch = {offsetof(moe_batch, routing_out), &one, 1, 7, 7};
  ASSERT_EQ(moe_step(session.get(), "prefill", &batch, nullptr, 0), MOE_OK)
      << moe_last_error();
  EXPECT_FAILURE(session.routing(0), MOE_ERROR_INVALID_ARGUMENT,
                 "expected a last step with routing_out");
}

} // namespace
