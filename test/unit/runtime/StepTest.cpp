//===- StepTest.cpp - Results of steps, and steps that are refused --------===//

#include "test/unit/runtime/RuntimeTestSupport.h"

#include <algorithm>

extern "C" moe_status fake_step_from_c(const char *path, const char *text,
                                       uint64_t count, float *row,
                                       uint64_t width);

using namespace moe;
using namespace moe::test;

namespace {

class Step : public testing::Test {
protected:
  FakeArtifact artifact;
  Engine engine{2};
  Model model = Model::load(engine, artifact.path());
  Session session{model};
  const std::vector<uint8_t> pixels = {1, 2, 3, 50, 60, 70};
};

TEST_F(Step, LastRowOfAnImageAndText) {
  Sequence sequence = session.create_sequence();
  const Logits logits = session.step(
      "prefill", sequence, {input("image", pixels), input("text", "a photo")});
  ReferenceSequence reference;
  reference.addImages(pixels);
  reference.addText("a photo");
  ASSERT_EQ(logits.rows(), 1u);
  ASSERT_EQ(logits.width(), unsigned{FAKE_LOGITS});
  EXPECT_EQ(asVector(logits[0]), reference.lastLogits());
  EXPECT_EQ(sequence.length(), 9u);
}

TEST_F(Step, AllRows) {
  Sequence sequence = session.create_sequence();
  const Logits logits =
      session.step("study", sequence, {input("text", "photograph")});
  ReferenceSequence reference;
  reference.addText("photograph");
  ASSERT_EQ(logits.rows(), 10u);
  for (size_t i = 0; i < 10; ++i)
    EXPECT_EQ(asVector(logits[i]), reference.logits(i)) << i;
}

TEST_F(Step, ChosenRows) {
  Sequence sequence = session.create_sequence();
  const Input text = input("text", "photograph");
  const uint32_t rows[] = {7, 0, 7};
  Item item = moe::item(sequence, {});
  item.inputs = &text;
  item.num_inputs = 1;
  item.rows = rows;
  item.num_rows = 3;
  const Logits logits = session.step("prefill", &item, 1);
  ReferenceSequence reference;
  reference.addText("photograph");
  ASSERT_EQ(logits.rows(), 3u);
  for (size_t i = 0; i < 3; ++i)
    EXPECT_EQ(asVector(logits[i]), reference.logits(rows[i])) << i;

  // No rows at all: the tokens still go into the cache.
  const Input more = input("text", "!");
  item.inputs = &more;
  item.num_rows = 0;
  EXPECT_EQ(session.step("prefill", &item, 1).rows(), 0u);
  EXPECT_EQ(sequence.length(), 11u);

  const uint32_t beyond[] = {1};
  item.rows = beyond;
  item.num_rows = 1;
  EXPECT_FAILURE(session.step("prefill", &item, 1), MOE_ERROR_INVALID_ARGUMENT,
                 "expected rows below the 1 tokens of the item, found 1");
  EXPECT_EQ(sequence.length(), 11u);
}

TEST_F(Step, PrefillThenDecode) {
  Sequence sequence = session.create_sequence();
  ReferenceSequence reference;
  session.step("prefill", sequence, {input("text", "once upon")});
  reference.addText("once upon");
  for (const char *next : {" ", "a", " ", "t"}) {
    const Logits logits =
        session.step("decode", sequence, {input("text", {int32_t{*next}})});
    reference.addText(next);
    EXPECT_EQ(asVector(logits[0]), reference.lastLogits());
    // The largest column, the first of several equal ones.
    const std::vector<float> expected = reference.lastLogits();
    EXPECT_EQ(logits.argmax(0),
              std::max_element(expected.begin(), expected.end()) -
                  expected.begin());
  }
}

TEST_F(Step, BatchOfSequences) {
  Sequence first = session.create_sequence();
  Sequence second = session.create_sequence();
  ReferenceSequence references[2];
  session.step("prefill", second, {input("text", "xyz")});
  references[1].addText("xyz");

  // Two items with images: their pixels are put side by side.
  const std::vector<uint8_t> others = {9, 8, 7, 6, 5, 4};
  const Logits logits = session.step(
      "mixed", {item(first, {input("text", "ab"), input("image", pixels)}),
                item(second, {input("image", others), input("text", "c"),
                              input("image", pixels)})});
  references[0].addText("ab");
  references[0].addImages(pixels);
  references[1].addImages(others);
  references[1].addText("c");
  references[1].addImages(pixels);
  ASSERT_EQ(logits.rows(), 2u);
  EXPECT_EQ(logits.row_start(1), 1u);
  EXPECT_EQ(asVector(logits.last(0)), references[0].lastLogits());
  EXPECT_EQ(asVector(logits.last(1)), references[1].lastLogits());
  EXPECT_EQ(first.length(), 4u);
  EXPECT_EQ(second.length(), 8u);
}

TEST_F(Step, WithoutACache) {
  const Logits logits = session.step(
      "score", {item({input("text", "AB"), input("wide", {999, 0})}),
                item({input("wide", {7})})});
  ASSERT_EQ(logits.rows(), 5u);
  ASSERT_EQ(logits.width(), unsigned{FAKE_SCORES});
  const int ids[] = {'A', 'B', 999, 0, 7};
  const int kinds[] = {FAKE_TEXT, FAKE_TEXT, FAKE_WIDE, FAKE_WIDE, FAKE_WIDE};
  const int positions[] = {0, 1, 2, 3, 0};
  for (size_t i = 0; i < 5; ++i)
    for (int j = 0; j < FAKE_SCORES; ++j)
      EXPECT_EQ(logits[i][static_cast<size_t>(j)],
                fake_score(ids[i], kinds[i], positions[i], j));
  EXPECT_EQ(session.output(1).width(), unsigned{FAKE_TRACE});
  EXPECT_FAILURE(session.output(2), MOE_ERROR_INVALID_ARGUMENT,
                 "expected an output below 2 of the last step, found 2");
}

TEST_F(Step, UnalignedRawInputIsAccepted) {
  Sequence sequence = session.create_sequence();
  std::vector<uint8_t> shifted = pixels;
  shifted.insert(shifted.begin(), 0);
  const Logits logits = session.step(
      "mixed", sequence, {input("image", MOE_U8, shifted.data() + 1, 6)});
  ReferenceSequence reference;
  reference.addImages(pixels);
  EXPECT_EQ(asVector(logits[0]), reference.lastLogits());
}

TEST_F(Step, ModalityById) {
  Sequence sequence = session.create_sequence();
  Input byId = input(nullptr, MOE_U8, "abc", 3);
  byId.modality_id = FAKE_TEXT;
  ReferenceSequence reference;
  reference.addText("abc");
  EXPECT_EQ(asVector(session.step("prefill", sequence, {byId})[0]),
            reference.lastLogits());
  byId.modality_id = 7;
  EXPECT_FAILURE(session.step("prefill", sequence, {byId}), MOE_ERROR_NOT_FOUND,
                 "(text, image, wide), found id 7");
}

TEST_F(Step, CallersBuffers) {
  Sequence sequence = session.create_sequence();
  const Input text = input("text", "hello");
  const Item item = moe::item(sequence, {});
  Item full = item;
  full.inputs = &text;
  full.num_inputs = 1;
  moe_batch batch = {sizeof(moe_batch), &full, 1, 0, 0, nullptr, 0};
  std::vector<float> buffer(5 * FAKE_LOGITS, -1.0f);
  moe_output outputs[3] = {};
  for (moe_output &output : outputs)
    output.size = sizeof(output);
  outputs[0].data = buffer.data();
  outputs[0].capacity = buffer.size() - 1;
  EXPECT_EQ(moe_step(session.get(), "study", &batch, outputs, 3),
            MOE_ERROR_INVALID_ARGUMENT);
  EXPECT_NE(std::string(moe_last_error())
                .find("expected room for 1280 floats, found 1279"),
            std::string::npos)
      << moe_last_error();
  EXPECT_EQ(sequence.length(), 0u);
  EXPECT_EQ(buffer[0], -1.0f);

  outputs[0].capacity = buffer.size();
  ASSERT_EQ(moe_step(session.get(), "study", &batch, outputs, 3), MOE_OK);
  EXPECT_EQ(outputs[0].data, buffer.data());
  EXPECT_EQ(outputs[0].rows, 5u);
  EXPECT_EQ(outputs[0].row_starts[1], 5u);
  ReferenceSequence reference;
  reference.addText("hello");
  EXPECT_EQ(std::vector<float>(buffer.end() - FAKE_LOGITS, buffer.end()),
            reference.lastLogits());
  EXPECT_NE(outputs[1].data, nullptr);
  EXPECT_EQ(outputs[1].width, unsigned{FAKE_TRACE});
  EXPECT_EQ(outputs[2].data, nullptr);
  EXPECT_EQ(outputs[2].rows, 0u);

  // No outputs asked for at all.
  const Input one = input("text", "x");
  full.inputs = &one;
  EXPECT_EQ(moe_step(session.get(), "decode", &batch, nullptr, 0), MOE_OK);
  EXPECT_EQ(sequence.length(), 6u);
}

TEST_F(Step, FromC) {
  float row[FAKE_LOGITS];
  ASSERT_EQ(
      fake_step_from_c(artifact.path().c_str(), "from C", 6, row, FAKE_LOGITS),
      MOE_OK)
      << moe_last_error();
  ReferenceSequence reference;
  reference.addText("from C");
  EXPECT_EQ(std::vector<float>(row, row + FAKE_LOGITS), reference.lastLogits());
}

//===----------------------------------------------------------------------===//
// Refusals. Each leaves the sequence as it was, which TearDown checks.
//===----------------------------------------------------------------------===//

class Refusal : public Step {
protected:
  void SetUp() override {
    session.step("prefill", sequence, {input("text", "held")});
  }
  void TearDown() override {
    EXPECT_EQ(sequence.length(), 4u);
    EXPECT_EQ(fresh.length(), 0u);
    ReferenceSequence reference;
    reference.addText("held!");
    EXPECT_EQ(
        asVector(session.step("decode", sequence, {input("text", "!")})[0]),
        reference.lastLogits());
  }
  Sequence sequence = session.create_sequence();
  Sequence fresh = session.create_sequence();
};

TEST_F(Refusal, UnknownNames) {
  EXPECT_FAILURE(session.step("encode", sequence, {input("text", "a")}),
                 MOE_ERROR_NOT_FOUND,
                 "(prefill, study, decode, mixed, score), found 'encode'");
  EXPECT_FAILURE(session.step("decode", sequence, {input("sound", "a")}),
                 MOE_ERROR_NOT_FOUND, "(text, image, wide), found 'sound'");
}

TEST_F(Refusal, Ids) {
  EXPECT_FAILURE(session.step("decode", sequence, {input("text", {256})}),
                 MOE_ERROR_INVALID_ARGUMENT,
                 "expected ids of 'text' from 0 to 255, found 256 at 0");
  EXPECT_FAILURE(session.step("decode", sequence, {input("text", {-1})}),
                 MOE_ERROR_INVALID_ARGUMENT, "found -1 at 0");
  EXPECT_FAILURE(session.step("score", {input("wide", {5, 1000})}),
                 MOE_ERROR_INVALID_ARGUMENT, "found 1000 at 1");
}

TEST_F(Refusal, Modalities) {
  EXPECT_FAILURE(session.step("decode", sequence, {input("wide", {1})}),
                 MOE_ERROR_INVALID_ARGUMENT,
                 "modality 'wide' does not occur in this entry");
  EXPECT_FAILURE(session.step("decode", sequence, {input("image", pixels)}),
                 MOE_ERROR_INVALID_ARGUMENT,
                 "expected a part of text[1] after 4 tokens, found image[1]");
}

TEST_F(Refusal, Types) {
  EXPECT_FAILURE(session.step("mixed", fresh,
                              {input("image", std::vector<float>(6, 0.0f))}),
                 MOE_ERROR_INVALID_ARGUMENT,
                 "expected 'image' as u8, found f32");
  EXPECT_FAILURE(session.step("score", {input("wide", "text")}),
                 MOE_ERROR_INVALID_ARGUMENT,
                 "expected 'wide' (1000 ids) as i32, found u8");
  EXPECT_FAILURE(
      session.step("mixed", fresh, {input("image", MOE_U8, pixels.data(), 5)}),
      MOE_ERROR_INVALID_ARGUMENT,
      "expected 'image' in steps of 6 elements, found 5");
  EXPECT_FAILURE(session.step("mixed", fresh, {input("text", "")}),
                 MOE_ERROR_INVALID_ARGUMENT, "found no elements");
  EXPECT_FAILURE(
      session.step("mixed", fresh, {input("image", MOE_U8, nullptr, 6)}),
      MOE_ERROR_INVALID_ARGUMENT, "found NULL");
}

TEST_F(Refusal, Layouts) {
  const std::string longText(151, 'x');
  EXPECT_FAILURE(session.step("prefill", fresh,
                              {input("text", "a"), input("image", pixels)}),
                 MOE_ERROR_INVALID_ARGUMENT,
                 "expected image?, text[1..150], found text[1], image[1]");
  EXPECT_FAILURE(session.step("prefill", fresh, {input("image", pixels)}),
                 MOE_ERROR_INVALID_ARGUMENT, "found image[1]");
  EXPECT_FAILURE(session.step("prefill", fresh, {input("text", longText)}),
                 MOE_ERROR_INVALID_ARGUMENT, "found text[151]");
  EXPECT_FAILURE(session.step("prefill", sequence, {input("text", longText)}),
                 MOE_ERROR_INVALID_ARGUMENT, "after 4 tokens");
  EXPECT_FAILURE(session.step("decode", sequence, {input("text", "ab")}),
                 MOE_ERROR_INVALID_ARGUMENT, "found text[2]");
  std::vector<uint8_t> two = pixels;
  two.insert(two.end(), pixels.begin(), pixels.end());
  EXPECT_FAILURE(
      session.step("prefill", fresh, {input("image", two), input("text", "a")}),
      MOE_ERROR_INVALID_ARGUMENT, "found image[2], text[1]");
  EXPECT_FAILURE(session.step("prefill", fresh, {}), MOE_ERROR_INVALID_ARGUMENT,
                 "found nothing");
}

TEST_F(Refusal, Sequences) {
  Session other(model);
  Sequence foreign = other.create_sequence();
  EXPECT_FAILURE(session.step("decode", foreign, {input("text", "a")}),
                 MOE_ERROR_INVALID_ARGUMENT, "found one of another");
  EXPECT_FAILURE(session.step("decode", {input("text", "a")}),
                 MOE_ERROR_INVALID_ARGUMENT, "expected a sequence, found NULL");
  EXPECT_FAILURE(session.step("score", sequence, {input("text", "a")}),
                 MOE_ERROR_INVALID_ARGUMENT, "expected no sequence");
  EXPECT_FAILURE(session.step("decode", {item(fresh, {input("text", "a")}),
                                         item(fresh, {input("text", "b")})}),
                 MOE_ERROR_INVALID_ARGUMENT, "item 1: expected each sequence");
  EXPECT_FAILURE(session.step("decode", std::vector<Item>()),
                 MOE_ERROR_INVALID_ARGUMENT, "expected at least one item");
}

TEST_F(Refusal, Capacity) {
  session.step("study", fresh, {input("text", std::string(150, 'x'))});
  session.step("mixed", fresh, {input("text", std::string(48, 'y'))});
  const std::vector<int32_t> three = {1, 2, 3};
  EXPECT_FAILURE(session.step("mixed", fresh, {input("text", three)}),
                 MOE_ERROR_CAPACITY,
                 "entry 'mixed', item 0: needs 3 tokens of cache, 2 are "
                 "available (the sequence holds 198 of 200)");
  EXPECT_EQ(fresh.length(), 198u);
  session.step("mixed", fresh, {input("text", "ab")});
  EXPECT_FAILURE(session.step("decode", fresh, {input("text", "c")}),
                 MOE_ERROR_CAPACITY, "needs 1 tokens of cache, 0 are");
  EXPECT_FAILURE(session.step("score", {input("text", std::string(101, 'x'))}),
                 MOE_ERROR_CAPACITY, "expected at most 100 tokens, found 101");
  fresh.trim(0);
}

TEST_F(Refusal, FailingStep) {
  EXPECT_FAILURE(session.step("prefill", fresh,
                              {input("text", {1, 2, int32_t{FAKE_ID_FAILS}})}),
                 MOE_ERROR_SYSTEM, "could not run the step");
  EXPECT_FAILURE(session.step("decode", sequence,
                              {input("text", {int32_t{FAKE_ID_UNKNOWN}})}),
                 MOE_ERROR_INTERNAL, "the step returned status 77");
  EXPECT_FAILURE(session.output(0), MOE_ERROR_INVALID_ARGUMENT,
                 "expected an output below 0 of the last step, found 0");
  EXPECT_EQ(session.stats().cache_pages_used, 1u);
}

TEST_F(Refusal, Structs) {
  const Input text = input("text", "a");
  moe_item item = {sizeof(moe_item), sequence.get(), &text, 1, nullptr, 0};
  moe_batch batch = {sizeof(moe_batch), &item, 1, 0, 0, nullptr, 0};
  const auto step = [&] {
    check(moe_step(session.get(), "decode", &batch, nullptr, 0));
  };
  batch.size = 8;
  EXPECT_FAILURE(step(), MOE_ERROR_INVALID_ARGUMENT, "batch: expected size");
  batch.size = sizeof(batch);
  item.size = 8;
  EXPECT_FAILURE(step(), MOE_ERROR_INVALID_ARGUMENT, "items: expected structs");
  item.size = sizeof(item);
  item.inputs = nullptr;
  EXPECT_FAILURE(step(), MOE_ERROR_INVALID_ARGUMENT,
                 "inputs: expected 1, found NULL");
  item.inputs = &text;
  item.num_rows = 1;
  EXPECT_FAILURE(step(), MOE_ERROR_INVALID_ARGUMENT, "1 rows, found NULL");
  EXPECT_EQ(moe_step(nullptr, "decode", &batch, nullptr, 0),
            MOE_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(moe_step(session.get(), nullptr, &batch, nullptr, 0),
            MOE_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(moe_step(session.get(), "decode", nullptr, nullptr, 0),
            MOE_ERROR_INVALID_ARGUMENT);
  EXPECT_STREQ(moe_status_name(99), "unknown status");
}

/// A caller compiled against a later header has longer structs.
TEST_F(Refusal, LongerStructsAreAccepted) {
  struct LaterInput {
    moe_input now;
    uint64_t later;
  };
  const LaterInput inputs[2] = {
      {{sizeof(LaterInput), "text", 0, MOE_U8, "ab", 2}, 7},
      {{sizeof(LaterInput), "text", 0, MOE_U8, "c", 1}, 7}};
  moe_item item = {
      sizeof(moe_item), fresh.get(), &inputs[0].now, 2, nullptr, 0};
  moe_batch batch = {sizeof(moe_batch), &item, 1, 0, 0, nullptr, 0};
  moe_output output = {sizeof(moe_output), nullptr, 0, 0, 0, nullptr};
  ASSERT_EQ(moe_step(session.get(), "prefill", &batch, &output, 1), MOE_OK)
      << moe_last_error();
  ReferenceSequence reference;
  reference.addText("abc");
  EXPECT_EQ(std::vector<float>(output.data, output.data + FAKE_LOGITS),
            reference.lastLogits());
  fresh.trim(0);
}

} // namespace
