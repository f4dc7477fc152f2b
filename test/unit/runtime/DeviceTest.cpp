//===- DeviceTest.cpp - Sessions on a device, with a driver of our own ----===//

#include "test/unit/runtime/DeviceTestSupport.h"

using namespace moe;
using namespace moe::test;

namespace {

/// What the device's head makes of it.
std::vector<float> negated(std::vector<float> values) {
  for (float &value : values)
    value = -value;
  return values;
}

class DeviceStep : public DeviceTest {};

TEST_F(DeviceStep, DecodesLikeTheReference) {
  const Model model = Model::load(engine, artifact.path());
  Session session(model, 0, 0, MOE_DEVICE_CUDA);
  EXPECT_EQ(session.device().device, unsigned{MOE_DEVICE_CUDA});
  EXPECT_STREQ(session.device().name, "Fake GPU");
  EXPECT_STREQ(session.device().level, "sm_90a");
  Sequence sequence = session.create_sequence();
  ReferenceSequence reference;
  const std::string text = "a prompt";
  reference.addText(text);
  const Logits first = session.step("prefill", sequence, {input("text", text)});
  EXPECT_EQ(asVector(first.last()), negated(reference.lastLogits()));
  EXPECT_EQ(session.stats().last_variant, unsigned{FAKE_DECODER_SM90A});
  // Past two borders of pages, hence through several sizes of the pool.
  for (int i = 0; i < 140; ++i) {
    const std::string next(1, static_cast<char>('a' + i % 26));
    reference.addText(next);
    const Logits row = session.step("decode", sequence, {input("text", next)});
    ASSERT_EQ(asVector(row.last()), negated(reference.lastLogits())) << i;
    const Logits trace = session.output(1);
    ASSERT_EQ(asVector(trace[0]),
              (std::vector<float>{FAKE_DECODER_SM90A, 128, 0, 1}));
  }
  EXPECT_EQ(sequence.length(), text.size() + 140);
}

/// The events stand around the launch of the graph, none inside.
TEST_F(DeviceStep, TimesWholeGraphs) {
  const Model model = Model::load(engine, artifact.path());
  Session session(model, 0, 0, MOE_DEVICE_CUDA);
  Sequence sequence = session.create_sequence();
  const Input next = input("text", {65});
  Item one = item(sequence, {});
  one.inputs = &next;
  one.num_inputs = 1;
  for (int i = 0; i < 4; ++i)
    session.step("decode", &one, 1);
  const int graphs = driver.calls("cuGraphLaunch");
  const int events = driver.calls("cuEventRecord");
  session.step("decode", &one, 1, /*keepRouting=*/false, MOE_TRACE_STEP);
  EXPECT_EQ(driver.calls("cuGraphLaunch"), graphs + 1);
  EXPECT_EQ(driver.calls("cuEventRecord"), events + 2);
  EXPECT_EQ(session.trace().intervals(), 1u);
  EXPECT_LT(session.trace().begin(0, 0), session.trace().end(0, 0));
  session.step("decode", &one, 1, /*keepRouting=*/false, MOE_TRACE_BARRIERS);
  EXPECT_EQ(driver.calls("cuGraphLaunch"), graphs + 1);
}

} // namespace
