//===- DeviceTest.cpp - Steps on a device, with a driver of our own -------===//

#include "test/unit/runtime/DeviceTestSupport.h"

#include <thread>

using namespace moe;
using namespace moe::test;

namespace {

class DeviceStep : public DeviceTest {
protected:
  static std::vector<float> expected(const ReferenceSequence &reference) {
    return negated(reference.lastLogits());
  }

  /// Decodes one letter and compares; `i` chooses it.
  static void decode(Session &session, Sequence &sequence,
                     ReferenceSequence &reference, int i) {
    const std::string next(1, static_cast<char>('a' + i % 26));
    reference.addText(next);
    const Logits row = session.step("decode", sequence, {input("text", next)});
    ASSERT_EQ(asVector(row.last()), expected(reference)) << i;
    // Variant, threads of a block, errors that the kernels saw, blocks.
    ASSERT_EQ(asVector(session.output(1)[0]),
              (std::vector<float>{FAKE_DECODER_SM90A, 128, 0, 1}));
  }
};

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
  EXPECT_EQ(asVector(first.last()), expected(reference));
  EXPECT_EQ(session.stats().last_variant, unsigned{FAKE_DECODER_SM90A});
  // Past two borders of pages.
  for (int i = 0; i < 140; ++i)
    decode(session, sequence, reference, i);
  EXPECT_EQ(sequence.length(), text.size() + 140);
  // Prefill, and two steps for each of three widths of the page table.
  EXPECT_EQ(driver.calls("cuStreamBeginCapture_v2"), 3);
  EXPECT_EQ(driver.calls("cuLaunchKernel"), 2 * 7);
  EXPECT_EQ(driver.calls("cuGraphLaunch"), 141 - 4);
}

TEST_F(DeviceStep, WithoutGraphs) {
  const ScopedEnvironment environment("MOE_CUDA_GRAPHS", "0");
  OnDevice on = start();
  ReferenceSequence reference;
  for (int i = 0; i < 10; ++i)
    decode(on.session, on.sequence, reference, i);
  EXPECT_EQ(driver.calls("cuGraphLaunch"), 0);
  EXPECT_EQ(driver.calls("cuLaunchKernel"), 20);
}

TEST_F(DeviceStep, GraphsThatTheDriverRefuses) {
  for (const char *function : {"cuStreamBeginCapture_v2", "cuStreamEndCapture",
                               "cuGraphInstantiateWithFlags"}) {
    driver.set(9, 0);
    OnDevice on = start();
    ReferenceSequence reference;
    driver.fail(function, 900);
    for (int i = 0; i < 5; ++i)
      decode(on.session, on.sequence, reference, i);
    EXPECT_EQ(driver.calls("cuStreamBeginCapture_v2"), 1) << function;
    EXPECT_EQ(driver.calls("cuGraphLaunch"), 0) << function;
  }
}

TEST_F(DeviceStep, GraphsGoWhenMemoryMoves) {
  OnDevice on = start();
  ReferenceSequence reference;
  for (int i = 0; i < 4; ++i)
    decode(on.session, on.sequence, reference, i);
  EXPECT_EQ(driver.calls("cuGraphLaunch"), 3);
  // Five sequences of full length need more pages than one does.
  std::vector<Sequence> more;
  for (int i = 0; i < 5; ++i) {
    more.push_back(on.session.create_sequence());
    on.session.step("prefill", more.back(),
                    {input("text", std::string(150, 'x'))});
  }
  const int before = driver.calls("cuLaunchKernel");
  for (int i = 4; i < 8; ++i)
    decode(on.session, on.sequence, reference, i);
  // Anew: once by hand, once to be captured.
  EXPECT_EQ(driver.calls("cuLaunchKernel"), before + 4);
}

TEST_F(DeviceStep, ManySizesKeepTheGraphsBounded) {
  const Model model = Model::load(engine, artifact.path());
  Session session(model, 0, 0, MOE_DEVICE_CUDA);
  for (int round = 0; round < 3; ++round)
    for (int tokens = 1; tokens <= 100; ++tokens) {
      Sequence sequence = session.create_sequence();
      const std::string text(static_cast<size_t>(tokens), 'q');
      ReferenceSequence reference;
      reference.addText(text);
      const Logits row =
          session.step("prefill", sequence, {input("text", text)});
      ASSERT_EQ(asVector(row.last()), expected(reference));
    }
  // All 100 sizes come again only after 99 others, when they are forgotten.
  EXPECT_EQ(driver.calls("cuGraphLaunch"), 0);
  EXPECT_LT(driver.alive(), 100);
}

TEST_F(DeviceStep, SteadyStepsAllocateNothing) {
  OnDevice on = start();
  ReferenceSequence reference;
  decode(on.session, on.sequence, reference, 0);
  const int device = driver.calls("cuMemAlloc_v2");
  const int host = driver.calls("cuMemAllocHost_v2");
  for (int i = 1; i < 130; ++i)
    decode(on.session, on.sequence, reference, i);
  EXPECT_EQ(driver.calls("cuMemAlloc_v2"), device);
  EXPECT_EQ(driver.calls("cuMemAllocHost_v2"), host);
}

TEST_F(DeviceStep, BatchesForksAndTrims) {
  const Model model = Model::load(engine, artifact.path());
  Session session(model, 0, 0, MOE_DEVICE_CUDA);
  Sequence first = session.create_sequence();
  Sequence second = session.create_sequence();
  ReferenceSequence a, b;
  a.addText("hello");
  b.addText("a longer one");
  const Logits both =
      session.step("prefill", {item(first, {input("text", "hello")}),
                               item(second, {input("text", "a longer one")})});
  EXPECT_EQ(asVector(both.last(0)), expected(a));
  EXPECT_EQ(asVector(both.last(1)), expected(b));
  // The page that both hold is copied when one writes.
  Sequence fork = first.fork();
  ReferenceSequence c = a;
  a.addText("x");
  c.addText("y");
  EXPECT_EQ(asVector(session.step("decode", first, {input("text", "x")})[0]),
            expected(a));
  EXPECT_EQ(driver.calls("cuMemcpyDtoDAsync_v2"), 2); // one for each state
  EXPECT_EQ(asVector(session.step("decode", fork, {input("text", "y")})[0]),
            expected(c));
  fork.trim(2);
  c.trim(2);
  c.addText("z");
  EXPECT_EQ(asVector(session.step("decode", fork, {input("text", "z")})[0]),
            expected(c));
}

TEST_F(DeviceStep, RawInputsRowsAndBuffersOfTheCaller) {
  OnDevice on = start();
  const std::vector<uint8_t> pixels = {1, 2, 3, 40, 50, 60};
  ReferenceSequence reference;
  reference.addImages(pixels);
  reference.addText("ab");
  const Input inputs[] = {input("image", pixels), input("text", "ab")};
  const uint32_t rows[] = {3, 0};
  Item wanted = item(on.sequence, {});
  wanted.inputs = inputs;
  wanted.num_inputs = 2;
  wanted.rows = rows;
  wanted.num_rows = 2;
  std::vector<float> buffer(2 * FAKE_LOGITS);
  auto batch = detail::sized<moe_batch>();
  batch.items = &wanted;
  batch.num_items = 1;
  auto output = detail::sized<moe_output>();
  output.data = buffer.data();
  output.capacity = buffer.size();
  check(moe_step(on.session.get(), "prefill", &batch, &output, 1));
  EXPECT_EQ(output.data, buffer.data());
  EXPECT_EQ(output.rows, 2u);
  EXPECT_EQ(asVector(Row(buffer.data(), FAKE_LOGITS)), expected(reference));
  EXPECT_EQ(asVector(Row(buffer.data() + FAKE_LOGITS, FAKE_LOGITS)),
            negated(reference.logits(0)));
  // No rows at all: one launch less.
  const int before = driver.calls("cuLaunchKernel");
  wanted.inputs = &inputs[1];
  wanted.num_inputs = 1;
  wanted.num_rows = 0;
  EXPECT_EQ(on.session.step("prefill", &wanted, 1).rows(), 0u);
  EXPECT_EQ(driver.calls("cuLaunchKernel"), before + 1);
}

TEST_F(DeviceStep, WithoutACache) {
  const Model model = Model::load(engine, artifact.path());
  Session session(model, 0, 0, MOE_DEVICE_CUDA);
  const Logits scores = session.step("score", {input("wide", {3, 999})});
  for (int j = 0; j < FAKE_SCORES; ++j)
    EXPECT_EQ(scores[1][static_cast<size_t>(j)],
              fake_score(999, FAKE_WIDE, 1, j));
  EXPECT_EQ(session.output(1)[1][2], 0.0f);
}

TEST_F(DeviceStep, Routing) {
  OnDevice on = start();
  const Input text = input("text", "abc");
  Item one = itemOf(on.sequence, text);
  // The third and later times as a graph.
  for (int round = 0; round < 4; ++round) {
    on.sequence.trim(0);
    on.session.step("study", &one, 1, /*keepRouting=*/true);
    const Routing routing = on.session.routing(0);
    for (int t = 0; t < 3; ++t)
      for (int s = 0; s < FAKE_SLOTS_PER_TOKEN; ++s) {
        const auto token = static_cast<size_t>(t);
        const auto slot = static_cast<size_t>(s);
        EXPECT_EQ(routing.id(token, slot), fake_expert(t, s));
        EXPECT_EQ(routing.weight(token, slot), fake_expert_weight(t, s));
      }
    // The router of another function has chosen nothing.
    EXPECT_EQ(on.session.routing(1).id(2, 2), -1);
    EXPECT_EQ(on.session.routing(1).weight(2, 2), 0.0f);
  }
  EXPECT_EQ(driver.calls("cuGraphLaunch"), 3);
}

TEST_F(DeviceStep, WhatRoutersAreGiven) {
  const Model model = Model::load(engine, artifact.path());
  Session here(model, 0, 0, MOE_DEVICE_CPU);
  Session there(model, 0, 0, MOE_DEVICE_CUDA);
  Sequence one = here.create_sequence();
  Sequence other = there.create_sequence();
  const Input text = input("text", "abcde");
  std::vector<int32_t> ids = {3, 0, -2, -2, 1, -1, -2, -2, 0, 2};
  std::vector<float> weights = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  std::vector<uint8_t> mask = {1, 1, 0, 1};
  std::vector<float> bias = {0.5f, 100, 1000, 0.25f};
  const auto routed = [&](Session &session, Sequence &sequence, int kind) {
    RouterInput given = router_input(0);
    if (kind & 1) {
      given.ids = ids.data();
      given.tokens = 5;
    }
    if (kind & 2)
      given.weights = weights.data();
    if (kind & 4)
      given.expert_mask = mask.data();
    if (kind & 8)
      given.bias = bias.data();
    if (kind & 16)
      given.count = 1;
    Item each = itemOf(sequence, text);
    sequence.trim(0);
    session.step("study", &each, 1, /*keepRouting=*/true, false, {given});
    const Routing routing = session.routing(0);
    std::vector<float> result(routing.ids(), routing.ids() + 10);
    result.insert(result.end(), routing.weights(), routing.weights() + 10);
    return result;
  };
  std::vector<std::vector<float>> seen;
  for (const int kind : {0, 1, 3, 4, 8, 16, 31, 0}) {
    seen.push_back(routed(there, other, kind));
    EXPECT_EQ(seen.back(), routed(here, one, kind)) << kind;
  }
  EXPECT_EQ(seen.back(), seen.front());
  EXPECT_NE(seen[1], seen.front());
  EXPECT_NE(seen[6], seen[1]);
  // They come as graphs; what is in the arrays changes, which there are does
  // not.
  for (int round = 0; round < 3; ++round) {
    const int graphs = driver.calls("cuGraphLaunch");
    for (const int kind : {1, 3, 4, 8, 16, 31}) {
      std::rotate(ids.begin(), ids.begin() + 2, ids.end());
      std::rotate(mask.begin(), mask.begin() + 1, mask.end());
      for (float &number : weights)
        number += 2;
      for (float &number : bias)
        number *= 3;
      EXPECT_EQ(routed(there, other, kind), routed(here, one, kind)) << kind;
    }
    EXPECT_EQ(driver.calls("cuGraphLaunch"), graphs + 6);
  }
}

TEST_F(DeviceStep, Trace) {
  OnDevice on = start();
  const Input text = input("text", "abc");
  Item one = itemOf(on.sequence, text);
  for (int i = 0; i < 3; ++i) {
    on.session.step("prefill", &one, 1, false, /*keepTrace=*/true);
    const Trace trace = on.session.trace();
    EXPECT_EQ(trace.variant(), unsigned{FAKE_DECODER_SM90A});
    EXPECT_EQ(trace.threads(), 1u);
    ASSERT_EQ(trace.intervals(), size_t{FAKE_DEVICE_INTERVALS});
    for (size_t interval = 0; interval < trace.intervals(); ++interval) {
      // A launch of the fake driver takes a millisecond.
      EXPECT_EQ(trace.begin(0, interval), interval * 1000000);
      EXPECT_EQ(trace.end(0, interval), (interval + 1) * 1000000);
    }
  }
  EXPECT_EQ(driver.calls("cuEventCreate"), 3);
}

TEST_F(DeviceStep, MemoryThatASessionHas) {
  const Model model = Model::load(engine, artifact.path());
  EXPECT_EQ(driver.bytes(), 0u);
  Session session(model, 0, 0, MOE_DEVICE_CUDA);
  // The embedding, 256 x 3 floats, the head of the device, and the addresses of
  // three weights. The head of the processor stays where it is.
  const uint64_t weights = 2 * 256 * 3 * sizeof(float) + 3 * sizeof(void *);
  EXPECT_EQ(session.device().weight_bytes, weights);
  EXPECT_EQ(session.device().constant_bytes, sizeof(int));
  EXPECT_EQ(session.device().cache_bytes, 0u);
  Sequence sequence = session.create_sequence();
  session.step("prefill", sequence, {input("text", "abc")});
  const moe_device_info info = session.device();
  // A full sequence: 4 pages.
  EXPECT_EQ(info.cache_bytes, 4u * 64 * (3 * sizeof(float) + 4));
  EXPECT_GE(info.scratch_bytes, 512u + 3 * 64);
  EXPECT_EQ(info.total_bytes, uint64_t{1} << 30);
  EXPECT_EQ(info.total_bytes - info.free_bytes,
            info.weight_bytes + info.constant_bytes + info.cache_bytes +
                info.scratch_bytes + info.output_bytes + info.batch_bytes);
  // Another session shares the weights.
  const Session other(model, 0, 0, MOE_DEVICE_CUDA);
  EXPECT_EQ(driver.bytes(), info.total_bytes - info.free_bytes);
}

TEST_F(DeviceStep, SessionsOfSeveralThreads) {
  const Model model = Model::load(engine, artifact.path());
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 3; ++thread)
    threads.emplace_back([&model, thread] {
      Session session(model, 0, 0, MOE_DEVICE_CUDA);
      Sequence sequence = session.create_sequence();
      ReferenceSequence reference;
      for (int i = 0; i < 20; ++i)
        decode(session, sequence, reference, i + thread);
    });
  for (std::thread &thread : threads)
    thread.join();
  // The model went to the device once.
  EXPECT_EQ(driver.calls("cuModuleLoadDataEx"), 1);
}

TEST_F(DeviceStep, ProcessorAndDeviceSideBySide) {
  const Model model = Model::load(engine, artifact.path());
  Session here(model, 0, 0, MOE_DEVICE_CPU);
  Session there(model, 0, 0, MOE_DEVICE_CUDA);
  ReferenceSequence reference;
  reference.addText("both");
  Sequence one = here.create_sequence();
  Sequence other = there.create_sequence();
  EXPECT_EQ(asVector(here.step("prefill", one, {input("text", "both")})[0]),
            reference.lastLogits());
  EXPECT_EQ(asVector(there.step("prefill", other, {input("text", "both")})[0]),
            expected(reference));
}

/// The events stand around the launch of the graph, none inside.
TEST_F(DeviceStep, TimesWholeGraphs) {
  OnDevice on = start();
  const std::vector<int> ids = {65};
  const Input next = input("text", ids);
  Item one = itemOf(on.sequence, next);
  for (int i = 0; i < 4; ++i)
    on.session.step("decode", &one, 1);
  const int graphs = driver.calls("cuGraphLaunch");
  const int events = driver.calls("cuEventRecord");
  on.session.step("decode", &one, 1, /*keepRouting=*/false, MOE_TRACE_STEP);
  EXPECT_EQ(driver.calls("cuGraphLaunch"), graphs + 1);
  EXPECT_EQ(driver.calls("cuEventRecord"), events + 2);
  EXPECT_EQ(on.session.trace().intervals(), 1u);
  EXPECT_LT(on.session.trace().begin(0, 0), on.session.trace().end(0, 0));
  on.session.step("decode", &one, 1, /*keepRouting=*/false, MOE_TRACE_BARRIERS);
  EXPECT_EQ(driver.calls("cuGraphLaunch"), graphs + 1);
}

} // namespace
