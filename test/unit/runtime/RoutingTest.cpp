//===- RoutingTest.cpp - What routers choose, on its way to the caller ----===//

#include "test/unit/runtime/RuntimeTestSupport.h"

#include <cmath>
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
  const moe_batch batch = {
      offsetof(moe_batch, routing_out), &one, 1, 7, 7, nullptr, 0};
  ASSERT_EQ(moe_step(session.get(), "prefill", &batch, nullptr, 0), MOE_OK)
      << moe_last_error();
  EXPECT_FAILURE(session.routing(0), MOE_ERROR_INVALID_ARGUMENT,
                 "expected a last step with routing_out");
}

class RoutingIn : public RoutingOut {
protected:
  void SetUp() override {
    ids.assign(text.size() * slots, 1);
    for (size_t i = 0; i < ids.size(); ++i)
      ids[i] = static_cast<int>(i % FAKE_EXPERTS);
    weights.assign(ids.size(), 0.25f);
    mask.assign(FAKE_EXPERTS, 1);
    bias.assign(FAKE_EXPERTS, 0.5f);
    given.tokens = text.size();
  }
  void stepWith(const std::vector<RouterInput> &routers,
                const char *entry = "study") {
    const Input bytes = input("text", text);
    Item one = item(sequence, {});
    one.inputs = &bytes;
    one.num_inputs = 1;
    session.step(entry, &one, 1, entry == std::string("study"),
                 /*keepTrace=*/false, routers);
  }
  void refused(const std::string &sentence) {
    EXPECT_FAILURE(stepWith({given}), MOE_ERROR_INVALID_ARGUMENT,
                   sentence.c_str());
    EXPECT_EQ(sequence.length(), 0u);
  }

  const std::string text = "abc";
  const size_t slots = FAKE_SLOTS_PER_TOKEN;
  std::vector<int> ids;
  std::vector<float> weights, bias;
  std::vector<uint8_t> mask;
  RouterInput given = router_input(0);
};

TEST_F(RoutingIn, ReachesTheStep) {
  given.ids = ids.data();
  given.weights = weights.data();
  stepWith({given});
  const Routing routing = session.routing(0);
  for (size_t t = 0; t < text.size(); ++t)
    for (size_t s = 0; s < slots; ++s) {
      EXPECT_EQ(routing.id(t, s), ids[t * slots + s]);
      EXPECT_EQ(routing.weight(t, s), 0.25f);
    }
  // The next step is given nothing.
  stepWith({});
  EXPECT_EQ(session.routing(0).id(0, 0), fake_expert(3, 0));
}

TEST_F(RoutingIn, MaskBiasAndCount) {
  mask[static_cast<size_t>(fake_expert(0, 0))] = 0;
  given.expert_mask = mask.data();
  given.bias = bias.data();
  given.count = slots - 1;
  stepWith({given});
  const Routing routing = session.routing(0);
  EXPECT_EQ(routing.id(0, 0), -1);
  EXPECT_EQ(routing.id(1, 0), fake_expert(1, 0));
  EXPECT_EQ(routing.weight(1, 0), fake_expert_weight(1, 0) + 0.5f);
  EXPECT_EQ(routing.id(1, slots - 1), -1);
}

TEST_F(RoutingIn, ARouterMayBeLeftAlone) {
  // Of another function: nobody looks at it.
  RouterInput other = router_input(1);
  const std::vector<int> otherIds(text.size() * 3, 7);
  const std::vector<float> otherWeights(otherIds.size(), 1.0f);
  other.ids = otherIds.data();
  other.weights = otherWeights.data();
  other.tokens = text.size();
  stepWith({other});
  EXPECT_EQ(session.routing(0).id(0, 0), fake_expert(0, 0));
  EXPECT_EQ(session.routing(1).id(0, 0), -1);
}

TEST_F(RoutingIn, IdsAreChecked) {
  given.ids = ids.data();
  const std::string most = std::to_string(FAKE_EXPERTS - 1);
  ids[1] = FAKE_EXPERTS;
  refused("entry 'study', router 0 ('route'), token 0, slot 1: expected an id "
          "from 0 to " +
          most + ", or -1, found " + std::to_string(FAKE_EXPERTS));
  ids[1] = ids[0];
  refused("router 0 ('route'), token 0, slot 1: expected different experts, "
          "found 0 twice");
  ids[1] = -2;
  refused("token 0, slot 1: expected id -2 in all slots of a token or in none, "
          "found -2 after 0");
  ids[1] = -1;
  given.tokens = text.size() + 1;
  refused("router 0 ('route'): expected ids of the 3 tokens of the batch, "
          "found 4");
  given.tokens = text.size();
  stepWith({given});
}

TEST_F(RoutingIn, NumbersAreChecked) {
  given.weights = weights.data();
  refused("expected ids beside the weights, found NULL");
  given.ids = ids.data();
  weights[slots] = NAN;
  refused("token 1, slot 0: expected a finite weight, found nan");
  given.weights = nullptr;
  given.count = static_cast<uint32_t>(slots) + 1;
  refused("expected a count of at most its " + std::to_string(slots) +
          " slots, found " + std::to_string(slots + 1));
  given.count = 0;
  bias[2] = -INFINITY;
  given.bias = bias.data();
  refused("expert 2: expected a finite bias, found -inf");
  given.bias = nullptr;
  mask.assign(FAKE_EXPERTS, 0);
  given.expert_mask = mask.data();
  refused("expected a mask that leaves an expert, found none");
}

TEST_F(RoutingIn, RoutersAreChecked) {
  given.router = 2;
  refused("entry 'study': expected a router below 2, found 2");
  given.router = 0;
  EXPECT_FAILURE(stepWith({given, given}), MOE_ERROR_INVALID_ARGUMENT,
                 "router 0 ('route'): expected it once in a batch");
  given.router = 1;
  const std::vector<int> none(text.size() * 3, -1);
  given.ids = none.data();
  refused("router 1 ('unused'): expected weights beside the ids, for it gives "
          "weights to its own choice only");
  given = router_input(0);
  given.size = 8;
  refused("routers: expected structs of at least");
}

TEST_F(RoutingIn, EntriesWithoutItRefuse) {
  const auto entry = model.entry(std::string("study"));
  EXPECT_TRUE(entry.routing_in && entry.expert_mask && entry.router_bias &&
              entry.k_override);
  EXPECT_FALSE(model.entry(std::string("prefill")).routing_in);
  EXPECT_TRUE(model.router(0).weighs_any);
  EXPECT_FALSE(model.router(1).weighs_any);
  const auto check = [&](const char *sentence) {
    EXPECT_FAILURE(stepWith({given}, "prefill"), MOE_ERROR_INVALID_ARGUMENT,
                   sentence);
    given = router_input(0);
    given.tokens = text.size();
  };
  given.ids = ids.data();
  check("entry 'prefill', router 0 ('route'): expected no routing_in, which "
        "the entry was compiled without, found ids");
  given.expert_mask = mask.data();
  check("expected no expert_mask, which the entry was compiled without, found "
        "a mask");
  given.bias = bias.data();
  check("expected no router_bias, which the entry was compiled without, found "
        "a bias");
  given.count = 1;
  check("expected no k_override, which the entry was compiled without, found "
        "a count");
  // Nothing is no operand.
  stepWith({given}, "prefill");
}

} // namespace
