//===- MisuseTest.cpp - Calls that make no sense --------------------------===//
//
// Each ends with a status and a sentence, and changes nothing. What a step
// refuses about its inputs is in StepTest, two threads in one session in
// ThreadTest.
//
//===----------------------------------------------------------------------===//

#include "test/unit/runtime/RuntimeTestSupport.h"

#include <cstring>
#include <optional>
#include <thread>

using namespace moe;
using namespace moe::test;

namespace {

class Misuse : public testing::Test {
protected:
  FakeArtifact artifact;
  Engine engine{2};
  Model model = Model::load(engine, artifact.path());
  Session session{model};

  /// A step of the C API with one item.
  moe_status step(moe_session *on, moe_sequence *sequence,
                  moe_output *outputs = nullptr, uint64_t numOutputs = 0) {
    const Input text = input("text", "a");
    const moe_item item = {sizeof(item), sequence, &text, 1, nullptr, 0};
    const moe_batch batch = {sizeof(batch), &item, 1, 0, 0, nullptr, 0};
    return moe_step(on, "decode", &batch, outputs, numOutputs);
  }
};

/// An invalid argument, and a sentence that holds `text`.
void expectRefused(moe_status status, const char *text) {
  EXPECT_STREQ(moe_status_name(status), "invalid argument");
  EXPECT_NE(std::strstr(moe_last_error(), text), nullptr)
      << "expected '" << text << "' in: " << moe_last_error();
}

TEST_F(Misuse, NullObjects) {
  moe_engine *newEngine = nullptr;
  moe_model *newModel = nullptr;
  moe_session *newSession = nullptr;
  moe_sequence *newSequence = nullptr;
  moe_artifact *newArtifact = nullptr;
  auto info = detail::sized<moe_model_info>();
  auto modality = detail::sized<moe_modality_info>();
  auto function = detail::sized<moe_function_info>();
  auto entry = detail::sized<moe_entry_info>();
  auto output = detail::sized<moe_output_info>();
  auto variant = detail::sized<moe_variant_info>();
  auto stats = detail::sized<moe_session_stats>();
  auto result = detail::sized<moe_output>();
  uint32_t index = 0;
  const char *path = artifact.path().c_str();

  expectRefused(moe_engine_create(nullptr, nullptr), "engine: expected a");
  expectRefused(moe_artifact_open(nullptr, &newArtifact), "path: expected a");
  expectRefused(moe_artifact_open(path, nullptr), "artifact: expected a");
  expectRefused(moe_model_load(nullptr, path, nullptr, &newModel), "engine");
  expectRefused(moe_model_load(engine.get(), nullptr, nullptr, &newModel),
                "path");
  expectRefused(moe_model_load(engine.get(), path, nullptr, nullptr), "model");
  expectRefused(moe_model_get_info(nullptr, &info), "model");
  expectRefused(moe_model_get_modality(nullptr, 0, &modality), "model");
  expectRefused(moe_model_get_function(nullptr, 0, &function), "model");
  expectRefused(moe_model_get_entry(nullptr, 0, &entry), "model");
  expectRefused(moe_model_get_output(nullptr, 0, 0, &output), "model");
  expectRefused(moe_model_get_variant(nullptr, 0, &variant), "model");
  expectRefused(moe_model_find_entry(nullptr, "decode", &index), "model");
  expectRefused(moe_model_find_entry(model.get(), nullptr, &index), "name");
  expectRefused(moe_model_find_entry(model.get(), "decode", nullptr), "index");
  expectRefused(moe_session_create(nullptr, nullptr, &newSession), "model");
  expectRefused(moe_session_create(model.get(), nullptr, nullptr), "session");
  expectRefused(moe_session_get_stats(nullptr, &stats), "session");
  expectRefused(moe_session_get_output(nullptr, 0, &result), "session");
  expectRefused(moe_sequence_create(nullptr, &newSequence), "session");
  expectRefused(moe_sequence_create(session.get(), nullptr), "sequence");
  expectRefused(moe_sequence_fork(nullptr, &newSequence), "sequence");
  expectRefused(moe_sequence_trim(nullptr, 0), "sequence");
  expectRefused(step(nullptr, nullptr), "session");
  expectRefused(step(session.get(), nullptr), "expected a sequence");
  EXPECT_EQ(newEngine, nullptr);
  EXPECT_EQ(newModel, nullptr);
  EXPECT_EQ(newSession, nullptr);
  EXPECT_EQ(newSequence, nullptr);
  EXPECT_EQ(newArtifact, nullptr);

  // What cannot fail accepts it.
  moe_engine_destroy(nullptr);
  moe_artifact_close(nullptr);
  moe_model_destroy(nullptr);
  moe_session_destroy(nullptr);
  moe_sequence_free(nullptr);
  EXPECT_EQ(moe_sequence_length(nullptr), 0u);
  EXPECT_EQ(moe_engine_threads(nullptr), 0u);
  EXPECT_EQ(moe_artifact_bytes(nullptr), 0u);
  EXPECT_EQ(moe_artifact_manifest(nullptr, nullptr), nullptr);
  EXPECT_EQ(moe_artifact_symbol(nullptr, 0), nullptr);
  EXPECT_EQ(moe_artifact_entry_layout(nullptr, 0), nullptr);
}

TEST_F(Misuse, NullResults) {
  expectRefused(moe_model_get_info(model.get(), nullptr), "NULL");
  expectRefused(moe_model_get_modality(model.get(), 0, nullptr), "NULL");
  expectRefused(moe_model_get_function(model.get(), 0, nullptr), "NULL");
  expectRefused(moe_model_get_entry(model.get(), 0, nullptr), "NULL");
  expectRefused(moe_model_get_output(model.get(), 0, 0, nullptr), "NULL");
  expectRefused(moe_model_get_variant(model.get(), 0, nullptr), "NULL");
  expectRefused(moe_session_get_stats(session.get(), nullptr), "NULL");
  Sequence sequence = session.create_sequence();
  ASSERT_EQ(step(session.get(), sequence.get()), MOE_OK);
  expectRefused(moe_session_get_output(session.get(), 0, nullptr), "NULL");
  expectRefused(moe_sequence_fork(sequence.get(), nullptr), "fork");
  expectRefused(step(session.get(), sequence.get(), nullptr, 1), "outputs");
  EXPECT_EQ(sequence.length(), 1u);
}

TEST_F(Misuse, SizesOfStructs) {
  moe_engine_options engineOptions = {4, 1, 0};
  moe_engine *newEngine = nullptr;
  expectRefused(moe_engine_create(&engineOptions, &newEngine), "size");
  moe_session_options sessionOptions = {};
  moe_session *newSession = nullptr;
  expectRefused(moe_session_create(model.get(), &sessionOptions, &newSession),
                "size");
  moe_model_options modelOptions = {1, 0, 0};
  moe_model *newModel = nullptr;
  expectRefused(moe_model_load(engine.get(), artifact.path().c_str(),
                               &modelOptions, &newModel),
                "size");
  moe_model_info info = {};
  expectRefused(moe_model_get_info(model.get(), &info), "size");
  moe_session_stats stats = {};
  expectRefused(moe_session_get_stats(session.get(), &stats), "size");
  Sequence sequence = session.create_sequence();
  moe_output output = {};
  expectRefused(step(session.get(), sequence.get(), &output, 1), "outputs");
  EXPECT_EQ(sequence.length(), 0u);
}

TEST_F(Misuse, OrdinalsOutOfRange) {
  EXPECT_FAILURE(model.modality(3), MOE_ERROR_INVALID_ARGUMENT,
                 "expected a modality below 3, found 3");
  EXPECT_FAILURE(model.function(UINT32_MAX), MOE_ERROR_INVALID_ARGUMENT,
                 "expected a function below 2, found 4294967295");
  EXPECT_FAILURE(model.entry(5), MOE_ERROR_INVALID_ARGUMENT,
                 "expected an entry below 5, found 5");
  EXPECT_FAILURE(model.output(2, 0), MOE_ERROR_INVALID_ARGUMENT, "a function");
  EXPECT_FAILURE(model.output(1, 2), MOE_ERROR_INVALID_ARGUMENT, "an output");
  EXPECT_FAILURE(session.output(0), MOE_ERROR_INVALID_ARGUMENT,
                 "below 0 of the last step");
}

TEST_F(Misuse, FreedSequences) {
  moe_sequence *freed = nullptr;
  ASSERT_EQ(moe_sequence_create(session.get(), &freed), MOE_OK);
  ASSERT_EQ(step(session.get(), freed), MOE_OK);
  moe_sequence_free(freed);
  const char *const text = "expected a sequence, found one that was freed";
  moe_sequence *fork = nullptr;
  expectRefused(step(session.get(), freed), text);
  expectRefused(moe_sequence_fork(freed, &fork), text);
  expectRefused(moe_sequence_trim(freed, 0), text);
  EXPECT_EQ(fork, nullptr);
  EXPECT_EQ(moe_sequence_length(freed), 0u);
  moe_sequence_free(freed);
  EXPECT_EQ(session.stats().sequences, 0u);
  EXPECT_EQ(session.stats().cache_pages_used, 0u);

  // Also once there are others.
  Sequence next = session.create_sequence();
  EXPECT_NE(next.get(), freed);
  expectRefused(step(session.get(), freed), text);
  EXPECT_EQ(step(session.get(), next.get()), MOE_OK);
  EXPECT_EQ(next.length(), 1u);
}

TEST_F(Misuse, HandlesThatNeverWereSequences) {
  int other = 0;
  auto *wrong = reinterpret_cast<moe_sequence *>(&other);
  expectRefused(step(session.get(), wrong), "never was one");
  expectRefused(moe_sequence_trim(wrong, 0), "never was one");
  EXPECT_EQ(moe_sequence_length(wrong), 0u);
  moe_sequence_free(wrong);
}

TEST_F(Misuse, SequencesOfOthers) {
  Session other(model);
  Sequence foreign = other.create_sequence();
  expectRefused(step(session.get(), foreign.get()), "found one of another");
  // Its session is still there, although nobody else has it.
  std::optional<Sequence> orphan;
  {
    Session gone(model);
    orphan = gone.create_sequence();
  }
  expectRefused(step(session.get(), orphan->get()), "found one of another");
  orphan->trim(0);
  EXPECT_EQ(orphan->fork().length(), 0u);
}

TEST_F(Misuse, TooMany) {
  Session two(model, /*maxSequences=*/2);
  Sequence first = two.create_sequence();
  {
    Sequence second = two.create_sequence();
    EXPECT_FAILURE(two.create_sequence(), MOE_ERROR_CAPACITY,
                   "at most 2 sequences");
    EXPECT_FAILURE(first.fork(), MOE_ERROR_CAPACITY, "at most 2 sequences");
  }
  EXPECT_EQ(first.fork().length(), 0u);
  EXPECT_FAILURE(first.trim(1), MOE_ERROR_INVALID_ARGUMENT,
                 "trim: expected at most the 0 tokens");
}

TEST_F(Misuse, MovedOwners) {
  Sequence sequence = session.create_sequence();
  const Sequence taken = std::move(sequence);
  EXPECT_EQ(sequence.length(), 0u);
  EXPECT_FAILURE(sequence.fork(), MOE_ERROR_INVALID_ARGUMENT, "NULL");
  EXPECT_FAILURE(session.step("decode", sequence, {input("text", "a")}),
                 MOE_ERROR_INVALID_ARGUMENT, "expected a sequence");
  const Session used = std::move(session);
  EXPECT_FAILURE(session.create_sequence(), MOE_ERROR_INVALID_ARGUMENT,
                 "session: expected a pointer");
  const Model loaded = std::move(model);
  EXPECT_FAILURE(model.info(), MOE_ERROR_INVALID_ARGUMENT,
                 "model: expected a pointer");
  EXPECT_FAILURE(Session{model}, MOE_ERROR_INVALID_ARGUMENT, "model");
  const Engine running = std::move(engine);
  EXPECT_EQ(engine.threads(), 0u);
  EXPECT_FAILURE(Model::load(engine, artifact.path()),
                 MOE_ERROR_INVALID_ARGUMENT, "engine");
}

/// Threads that create, use and free sequences of one session without asking:
/// what fails is busy, and nothing is lost.
TEST_F(Misuse, ManyThreadsInOneSession) {
  std::vector<std::thread> threads;
  std::atomic<int> others{0};
  for (int thread = 0; thread < 4; ++thread)
    threads.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        moe_sequence *sequence = nullptr;
        moe_status status = moe_sequence_create(session.get(), &sequence);
        others += status != MOE_OK && status != MOE_ERROR_BUSY;
        if (status != MOE_OK)
          continue;
        status = step(session.get(), sequence);
        others += status != MOE_OK && status != MOE_ERROR_BUSY;
        moe_sequence_free(sequence);
        moe_sequence_free(sequence);
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(others, 0);
  EXPECT_EQ(session.stats().sequences, 0u);
  EXPECT_EQ(session.stats().cache_pages_used, 0u);
}

} // namespace
