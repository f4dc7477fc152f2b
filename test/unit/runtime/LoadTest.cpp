//===- LoadTest.cpp - Opening artifacts, whole and damaged ----------------===//

#include "test/unit/runtime/RuntimeTestSupport.h"

#include <algorithm>
#include <cstring>
#include <elf.h>
#include <filesystem>
#include <memory>
#include <random>
#include <sys/stat.h>
#include <unistd.h>

using namespace moe;
using namespace moe::test;

namespace {

Failure loadFailure(const std::string &path, bool verify = false) {
  return failureOf([&] {
    Engine engine(1);
    Model::load(engine, path, verify);
  });
}

TEST(Load, Introspection) {
  const FakeArtifact artifact;
  Engine engine(1);
  const Model model = Model::load(engine, artifact.path(), true);
  const moe_model_info info = model.info();
  EXPECT_STREQ(info.name, "fake");
  EXPECT_STREQ(info.compiler, "0.0.0");
  EXPECT_STREQ(info.target, "x86_64-unknown-linux-gnu");
  EXPECT_EQ(info.num_modalities, 3u);
  EXPECT_EQ(info.num_functions, 2u);
  EXPECT_EQ(info.num_entries, 5u);
  EXPECT_EQ(info.num_variants, unsigned{FAKE_VARIANTS});
  EXPECT_EQ(info.weight_bytes,
            4u * (FAKE_VOCAB * FAKE_HIDDEN + FAKE_HIDDEN * FAKE_LOGITS));
  EXPECT_EQ(info.cache_bytes_per_token, 4u * FAKE_HIDDEN + 2u * 2);
  EXPECT_EQ(info.manifest_bytes, unsigned{FAKE_MANIFEST_BYTES});
  EXPECT_STREQ(manifest::GetManifest(info.manifest)->source()->c_str(),
               "fake.moe");

  const moe_modality_info text = model.modality(0);
  EXPECT_STREQ(text.name, "text");
  EXPECT_EQ(text.is_raw, 0u);
  EXPECT_EQ(text.vocab, unsigned{FAKE_VOCAB});
  const moe_modality_info image = model.modality(1);
  EXPECT_STREQ(image.name, "image");
  EXPECT_EQ(image.is_raw, 1u);
  EXPECT_EQ(image.dtype, moe_dtype{MOE_U8});
  ASSERT_EQ(image.rank, 3u);
  EXPECT_EQ(image.shape[0], unsigned{FAKE_IMAGE_TOKENS});
  EXPECT_EQ(image.elements, unsigned{FAKE_IMAGE_TOKENS * FAKE_HIDDEN});
  EXPECT_EQ(image.tokens_per_input, unsigned{FAKE_IMAGE_TOKENS});

  EXPECT_STREQ(model.entry("prefill").layout, "image?, text[1..150]");
  EXPECT_EQ(model.entry("prefill").last_only, 1u);
  EXPECT_STREQ(model.entry("decode").layout, "text[1]");
  EXPECT_STREQ(model.entry("mixed").layout, "any(text, image)[1..190]");
  EXPECT_EQ(model.entry("score").function, 1u);
  EXPECT_EQ(model.function(0).cache_tokens, unsigned{FAKE_CACHE});
  EXPECT_EQ(model.function(1).max_sequence, unsigned{FAKE_MAX_SEQUENCE});
  EXPECT_EQ(model.output(1, 0).width, unsigned{FAKE_SCORES});
  EXPECT_STREQ(model.output(1, 1).name, "trace");
  EXPECT_STREQ(model.variant(FAKE_DECODER_AVX2).isa, "avx2");
  EXPECT_STREQ(model.variant(FAKE_DECODER_AVX2).scratch, "512 + 64 T");

  EXPECT_FAILURE(model.entry("prefil"), MOE_ERROR_NOT_FOUND,
                 "(prefill, study, decode, mixed, score), found 'prefil'");
  EXPECT_FAILURE(model.variant(FAKE_VARIANTS), MOE_ERROR_INVALID_ARGUMENT,
                 "expected a variant below 8, found 8");
}

TEST(Load, ArtifactWithoutExecuting) {
  const FakeArtifact file;
  moe_artifact *artifact = nullptr;
  ASSERT_EQ(moe_artifact_open(file.path().c_str(), &artifact), MOE_OK);
  uint64_t bytes = 0;
  const void *data = moe_artifact_manifest(artifact, &bytes);
  EXPECT_EQ(bytes, unsigned{FAKE_MANIFEST_BYTES});
  EXPECT_STREQ(manifest::GetManifest(data)->model()->c_str(), "fake");
  EXPECT_EQ(moe_artifact_bytes(artifact), file.read().size());
  EXPECT_STREQ(moe_artifact_symbol(artifact, 0), "moe_model_query_v1");
  EXPECT_EQ(moe_artifact_symbol(artifact, 1), nullptr);
  EXPECT_STREQ(moe_artifact_entry_layout(artifact, 4),
               "any(text, wide)[1..150]");
  EXPECT_EQ(moe_artifact_entry_layout(artifact, 5), nullptr);
  moe_artifact_close(artifact);
}

TEST(Load, SideFile) {
  const FakeArtifact artifact(FakeArtifact::External);
  EXPECT_EQ(loadFailure(artifact.path(), true).message, "");

  std::vector<uint8_t> weights = readFile(artifact.sideFile());
  std::vector<uint8_t> longer = weights;
  longer.push_back(0);
  writeFile(artifact.sideFile(), longer);
  Failure failure = loadFailure(artifact.path());
  EXPECT_EQ(failure.status, MOE_ERROR_BAD_ARTIFACT);
  EXPECT_NE(failure.message.find("fake.weights': expected 3072 bytes"),
            std::string::npos)
      << failure.message;
  EXPECT_NE(failure.message.find("found 3073"), std::string::npos);

  weights[40] ^= 1;
  writeFile(artifact.sideFile(), weights);
  EXPECT_EQ(loadFailure(artifact.path(), false).status, MOE_OK);
  failure = loadFailure(artifact.path(), true);
  EXPECT_EQ(failure.status, MOE_ERROR_BAD_ARTIFACT);
  EXPECT_NE(failure.message.find("weight 'head': expected checksum"),
            std::string::npos)
      << failure.message;

  unlink(artifact.sideFile().c_str());
  failure = loadFailure(artifact.path());
  EXPECT_EQ(failure.status, MOE_ERROR_NOT_FOUND);
  EXPECT_NE(failure.message.find("fake.weights"), std::string::npos);
}

TEST(Load, VerifyFindsAChangedEmbeddedWeight) {
  const FakeArtifact artifact;
  std::vector<uint8_t> bytes = artifact.read();
  const std::vector<uint8_t> weights =
      readFile(std::string(FAKE_DIR) + "/embed.bin");
  auto at =
      std::search(bytes.begin(), bytes.end(), weights.begin(), weights.end());
  ASSERT_NE(at, bytes.end());
  *at ^= 0x80;
  artifact.write(bytes);
  EXPECT_EQ(loadFailure(artifact.path(), false).status, MOE_OK);
  const Failure failure = loadFailure(artifact.path(), true);
  EXPECT_EQ(failure.status, MOE_ERROR_BAD_ARTIFACT);
  EXPECT_NE(failure.message.find("weight 'embed'"), std::string::npos);
}

TEST(Load, NotAnArtifact) {
  EXPECT_EQ(loadFailure("/nonexistent/model.so").status, MOE_ERROR_NOT_FOUND);
  EXPECT_EQ(loadFailure(std::filesystem::temp_directory_path()).status,
            MOE_ERROR_BAD_ARTIFACT);
  const FakeArtifact artifact;
  const auto failureWith = [&](std::vector<uint8_t> bytes) {
    artifact.write(bytes);
    return loadFailure(artifact.path()).message;
  };
  EXPECT_NE(failureWith({}).find("found an empty file"), std::string::npos);
  EXPECT_NE(failureWith({'t', 'e', 'x', 't', '\n'}).find("another format"),
            std::string::npos);
  EXPECT_NE(failureWith({0x7f, 'E', 'L', 'F', 2}).find("found 5"),
            std::string::npos);
  // A library of somebody else: this very test has no manifest.
  const Failure failure = loadFailure("/proc/self/exe");
  EXPECT_EQ(failure.status, MOE_ERROR_BAD_ARTIFACT);
  EXPECT_NE(failure.message.find("section .moe.manifest"), std::string::npos)
      << failure.message;
}

TEST(Load, WrongMachine) {
  const FakeArtifact artifact;
  std::vector<uint8_t> bytes = artifact.read();
  bytes[offsetof(Elf64_Ehdr, e_machine)] = 0xf3; // RISC-V
  artifact.write(bytes);
  const Failure failure = loadFailure(artifact.path());
  EXPECT_EQ(failure.status, MOE_ERROR_UNSUPPORTED);
  EXPECT_NE(failure.message.find("found machine 243"), std::string::npos);
}

TEST(Load, CutShortAtAnyLength) {
  const FakeArtifact artifact;
  const std::vector<uint8_t> whole = artifact.read();
  std::vector<size_t> lengths;
  for (size_t length = 0; length < 256; ++length)
    lengths.push_back(length);
  for (size_t length = 256; length < whole.size(); length += 97)
    lengths.push_back(length);
  for (size_t missing = 1; missing < 200; ++missing)
    lengths.push_back(whole.size() - missing);
  std::sort(lengths.rbegin(), lengths.rend());
  for (const size_t length : lengths) {
    ASSERT_EQ(truncate(artifact.path().c_str(), static_cast<off_t>(length)), 0);
    const Failure failure = loadFailure(artifact.path());
    ASSERT_EQ(failure.status, MOE_ERROR_BAD_ARTIFACT) << length;
    // Until the header is gone the message says by how much.
    if (length >= sizeof(Elf64_Ehdr)) {
      ASSERT_NE(failure.message.find("artifact cut short"), std::string::npos)
          << failure.message;
      ASSERT_NE(failure.message.find("found " + std::to_string(length)),
                std::string::npos)
          << failure.message;
    }
  }
}

TEST(Load, RecordedSize) {
  const FakeArtifact artifact;
  manifest::ManifestT manifest = artifact.manifest();
  manifest.artifact_bytes = artifact.read().size();
  artifact.setManifest(manifest);
  EXPECT_EQ(loadFailure(artifact.path()).message, "");
  std::vector<uint8_t> bytes = artifact.read();
  bytes.push_back(0);
  artifact.write(bytes);
  const Failure failure = loadFailure(artifact.path());
  EXPECT_EQ(failure.status, MOE_ERROR_BAD_ARTIFACT);
  EXPECT_NE(failure.message.find("artifact grew: expected"), std::string::npos);
}

/// Damaged headers and manifests are opened many times; opening must end with a
/// status each time. Executing the file is left out: code is not checked.
void openDamaged(size_t first, size_t bytesOfRange, unsigned seed) {
  const FakeArtifact artifact;
  const std::vector<uint8_t> whole = artifact.read();
  std::mt19937 random(seed);
  int refused = 0;
  for (int round = 0; round < 1000; ++round) {
    std::vector<uint8_t> bytes = whole;
    const int changes = 1 + static_cast<int>(random() % 3);
    for (int i = 0; i < changes; ++i)
      bytes[first + random() % bytesOfRange] = static_cast<uint8_t>(random());
    artifact.write(bytes);
    moe_artifact *opened = nullptr;
    const moe_status status =
        moe_artifact_open(artifact.path().c_str(), &opened);
    moe_artifact_close(opened);
    refused += status != MOE_OK;
    if (status != MOE_OK) {
      ASSERT_STRNE(moe_last_error(), "");
      ASSERT_NE(status, MOE_ERROR_INTERNAL) << moe_last_error();
    }
  }
  EXPECT_GT(refused, 0);
}

TEST(Load, DamagedHeaders) { openDamaged(0, 64 + 8 * 56, 1); }

TEST(Load, DamagedManifest) {
  const size_t at = FakeArtifact().manifestOffset();
  openDamaged(at, 3000, 2);
}

TEST(Load, DamagedSectionHeaders) {
  const std::vector<uint8_t> bytes = FakeArtifact().read();
  Elf64_Ehdr header;
  std::copy_n(bytes.begin(), sizeof(header),
              reinterpret_cast<uint8_t *>(&header));
  openDamaged(header.e_shoff, header.e_shnum * sizeof(Elf64_Shdr), 3);
}

/// FlatBuffers' verifier takes a vector whose elements lie anywhere.
TEST(Load, MisalignedSizes) {
  const FakeArtifact artifact;
  std::vector<uint8_t> bytes = artifact.read();
  uint8_t *section = bytes.data() + artifact.manifestOffset();
  const auto *weight = manifest::GetManifest(section)->weights()->Get(0);
  // A copy of the vector in the padding: its elements follow a 32-bit length.
  const uint32_t place = FAKE_MANIFEST_BYTES - 64;
  const size_t vectorBytes = 4 + weight->shape()->size() * sizeof(uint64_t);
  ASSERT_LE(vectorBytes, 64u);
  std::memcpy(section + place, weight->shape(), vectorBytes);
  const auto *table = reinterpret_cast<const flatbuffers::Table *>(weight);
  const auto field = static_cast<uint32_t>(
      table->GetAddressOf(manifest::Weight::VT_SHAPE) - section);
  const uint32_t distance = place - field;
  std::memcpy(section + field, &distance, sizeof(distance));
  artifact.write(bytes);
  const Failure failure = loadFailure(artifact.path());
  EXPECT_EQ(failure.status, MOE_ERROR_BAD_ARTIFACT);
  EXPECT_NE(failure.message.find("sizes of its shape in steps of 8 bytes"),
            std::string::npos)
      << failure.message;
}

TEST(Load, ReplacedWhileLoaded) {
  const FakeArtifact artifact;
  Engine engine(1);
  const Model first = Model::load(engine, artifact.path());
  manifest::ManifestT manifest = artifact.manifest();
  manifest.model = "other";
  // A new file under the old name, as a compiler would write it.
  std::vector<uint8_t> bytes = artifact.read();
  unlink(artifact.path().c_str());
  artifact.write(bytes);
  artifact.setManifest(manifest);
  EXPECT_FAILURE(Model::load(engine, artifact.path()), MOE_ERROR_BAD_ARTIFACT,
                 "replaced while it was loaded");
  EXPECT_STREQ(first.info().name, "fake");
}

TEST(Load, ObjectsKeepEachOtherAlive) {
  const FakeArtifact artifact;
  auto engine = std::make_unique<Engine>(2);
  auto model = std::make_unique<Model>(Model::load(*engine, artifact.path()));
  auto session = std::make_unique<Session>(*model);
  Sequence sequence = session->create_sequence();
  engine.reset();
  model.reset();
  const Logits logits =
      session->step("prefill", sequence, {input("text", "abc")});
  ReferenceSequence reference;
  reference.addText("abc");
  EXPECT_EQ(asVector(logits.row(0)), reference.lastLogits());
  session.reset();
  EXPECT_EQ(sequence.length(), 3u);
}

TEST(Load, SideFileCutShortWhileLoaded) {
  const FakeArtifact artifact(FakeArtifact::External);
  Engine engine(2);
  const Model model = Model::load(engine, artifact.path());
  Session session(model);
  Sequence sequence = session.create_sequence();
  session.step("prefill", sequence, {input("text", "abc")});
  ASSERT_EQ(truncate(artifact.sideFile().c_str(), 0), 0);
  for (int i = 0; i < 2; ++i)
    EXPECT_FAILURE(session.step("decode", sequence, {input("text", "d")}),
                   MOE_ERROR_BAD_ARTIFACT, "cut short");
  EXPECT_EQ(sequence.length(), 3u);
}

} // namespace
