//===- RuntimeTestSupport.cpp - Fake artifacts and what they compute ------===//

#include "test/unit/runtime/RuntimeTestSupport.h"

#include "test/lib/TemporaryFolder.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <unistd.h>

using namespace moe::test;

std::vector<uint8_t> moe::test::readFile(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return std::vector<uint8_t>(std::istreambuf_iterator<char>(in), {});
}

void moe::test::writeFile(const std::string &path,
                          const std::vector<uint8_t> &bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char *>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  out.close();
  EXPECT_TRUE(out.good()) << path;
}

FakeArtifact::FakeArtifact(Kind kind) {
  folder = moec::test::makeTemporaryFolder();
  artifactPath = folder + "/fake.so";
  const std::string source = FAKE_DIR;
  write(readFile(source + (kind == External ? "/fake-external.so"
                           : kind == Device ? "/fake-device.so"
                                            : "/fake-embedded.so")));
  if (kind == External)
    writeFile(sideFile(), readFile(source + "/fake.weights"));
  if (kind == Device)
    writeFile(deviceFile(), readFile(source + "/fake.cuda.weights"));
}

FakeArtifact::~FakeArtifact() {
  unlink(artifactPath.c_str());
  unlink(sideFile().c_str());
  unlink(deviceFile().c_str());
  rmdir(folder.c_str());
}

std::vector<uint8_t> FakeArtifact::read() const {
  return readFile(artifactPath);
}

void FakeArtifact::write(const std::vector<uint8_t> &bytes) const {
  writeFile(artifactPath, bytes);
}

size_t FakeArtifact::manifestOffset() const {
  const std::vector<uint8_t> bytes = read();
  const std::string identifier = manifest::ManifestIdentifier();
  // The identifier stands at byte 4 of the manifest, which is aligned to 64.
  for (size_t at = 0; at + FAKE_MANIFEST_BYTES <= bytes.size(); at += 64)
    if (std::equal(identifier.begin(), identifier.end(),
                   bytes.begin() + static_cast<std::ptrdiff_t>(at + 4)))
      return at;
  ADD_FAILURE() << "no manifest in " << artifactPath;
  return 0;
}

moe::manifest::ManifestT FakeArtifact::manifest() const {
  const std::vector<uint8_t> bytes = read();
  manifest::ManifestT result;
  manifest::GetManifest(bytes.data() + manifestOffset())->UnPackTo(&result);
  return result;
}

void FakeArtifact::setManifest(const manifest::ManifestT &manifest) const {
  flatbuffers::FlatBufferBuilder builder;
  manifest::FinishManifestBuffer(builder,
                                 manifest::Manifest::Pack(builder, &manifest));
  ASSERT_LE(builder.GetSize(), size_t{FAKE_MANIFEST_BYTES});
  std::vector<uint8_t> bytes = read();
  const auto at = bytes.begin() + static_cast<std::ptrdiff_t>(manifestOffset());
  std::fill(at, at + FAKE_MANIFEST_BYTES, uint8_t{0});
  std::copy(builder.GetBufferPointer(),
            builder.GetBufferPointer() + builder.GetSize(), at);
  write(bytes);
}

ScopedEnvironment::ScopedEnvironment(const char *name, const char *value)
    : name(name) {
  const char *old = std::getenv(name);
  wasSet = old != nullptr;
  before = old ? old : "";
  if (value)
    setenv(name, value, 1);
  else
    unsetenv(name);
}

ScopedEnvironment::~ScopedEnvironment() {
  if (wasSet)
    setenv(name.c_str(), before.c_str(), 1);
  else
    unsetenv(name.c_str());
}

void ReferenceSequence::addText(const std::string &text) {
  for (const char byte : text) {
    ReferenceToken token;
    for (int i = 0; i < FAKE_HIDDEN; ++i)
      token.values[i] = fake_embedding(static_cast<unsigned char>(byte), i);
    tokens.push_back(token);
  }
}

void ReferenceSequence::addImages(const std::vector<uint8_t> &pixels) {
  for (size_t at = 0; at < pixels.size(); at += FAKE_HIDDEN) {
    ReferenceToken token;
    for (size_t i = 0; i < FAKE_HIDDEN; ++i)
      token.values[i] = fake_image_value(pixels[at + i]);
    tokens.push_back(token);
  }
}

std::vector<float> ReferenceSequence::logits(size_t position) const {
  std::vector<float> result(FAKE_LOGITS);
  for (size_t p = 0; p <= position; ++p)
    for (int j = 0; j < FAKE_LOGITS; ++j)
      for (int i = 0; i < FAKE_HIDDEN; ++i)
        result[static_cast<size_t>(j)] += tokens[p].values[i] *
                                          fake_head(i, j) *
                                          fake_factor(static_cast<int>(p));
  return result;
}

std::vector<float> moe::test::asVector(const Row &row) {
  return std::vector<float>(row.begin(), row.end());
}
