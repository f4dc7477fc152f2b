//===- RuntimeTestSupport.h - Fake artifacts and what they compute --------===//
#ifndef MOEC_TEST_UNIT_RUNTIME_RUNTIMETESTSUPPORT_H
#define MOEC_TEST_UNIT_RUNTIME_RUNTIMETESTSUPPORT_H

#include "moe/runtime.hpp"
#include "runtime/abi/manifest_generated.h"
#include "test/unit/runtime/fake/FakeModel.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace moe::test {

/// A copy of a fake artifact in a folder of its own, to be damaged at will.
/// The folder goes with the object.
class FakeArtifact {
public:
  enum Kind { Embedded, External, Device };
  explicit FakeArtifact(Kind kind = Embedded);
  FakeArtifact(const FakeArtifact &) = delete;
  ~FakeArtifact();

  const std::string &path() const { return artifactPath; }
  /// Of the side file of the processor; only External has one.
  std::string sideFile() const { return folder + "/fake.weights"; }

  /// Of that of devices; only Device has one.
  std::string deviceFile() const { return folder + "/fake.cuda.weights"; }

  std::vector<uint8_t> read() const;
  void write(const std::vector<uint8_t> &bytes) const;
  /// Where the manifest lies in the file.
  size_t manifestOffset() const;
  manifest::ManifestT manifest() const;
  void setManifest(const manifest::ManifestT &manifest) const;

private:
  std::string folder;
  std::string artifactPath;
};

std::vector<uint8_t> readFile(const std::string &path);
void writeFile(const std::string &path, const std::vector<uint8_t> &bytes);

/// Sets an environment variable for a scope; NULL unsets it.
class ScopedEnvironment {
public:
  ScopedEnvironment(const char *name, const char *value);
  ~ScopedEnvironment();

private:
  std::string name;
  bool wasSet;
  std::string before;
};

/// An input token of the decoder: the value that goes into its cache.
struct ReferenceToken {
  float values[FAKE_HIDDEN];
};

/// The decoder once more, without pages, threads or batches.
class ReferenceSequence {
public:
  void addText(const std::string &text);
  void addImages(const std::vector<uint8_t> &pixels);
  void trim(size_t length) { tokens.resize(length); }
  size_t length() const { return tokens.size(); }
  /// Result row of the token at `position`.
  std::vector<float> logits(size_t position) const;
  std::vector<float> lastLogits() const { return logits(length() - 1); }

private:
  std::vector<ReferenceToken> tokens;
};

std::vector<float> asVector(const Row &row);

/// The status and sentence of whatever `call` throws; MOE_OK if nothing.
struct Failure {
  moe_status status = MOE_OK;
  std::string message;
};
template <typename Call> Failure failureOf(Call call) {
  try {
    call();
  } catch (const Error &error) {
    return {error.status(), error.what()};
  }
  return {};
}

/// Expects a failure whose sentence contains `text`.
#define EXPECT_FAILURE(call, expectedStatus, text)                             \
  do {                                                                         \
    const auto failure_ = ::moe::test::failureOf([&] { call; });               \
    EXPECT_STREQ(moe_status_name(failure_.status),                             \
                 moe_status_name(expectedStatus));                             \
    EXPECT_NE(failure_.message.find(text), std::string::npos)                  \
        << "message: " << failure_.message;                                    \
  } while (false)

} // namespace moe::test

#endif // MOEC_TEST_UNIT_RUNTIME_RUNTIMETESTSUPPORT_H
