//===- DeviceTestSupport.h - A driver and an artifact for tests -----------===//
#ifndef MOEC_TEST_UNIT_RUNTIME_DEVICETESTSUPPORT_H
#define MOEC_TEST_UNIT_RUNTIME_DEVICETESTSUPPORT_H

#include "test/unit/runtime/RuntimeTestSupport.h"
#include "test/unit/runtime/fake/FakeCuda.h"

#include <dlfcn.h>

namespace moe::test {

/// One of the fake drivers, which the runtime opens while this lives.
class FakeDriver {
public:
  explicit FakeDriver(const std::string &name = "fake-cuda.so")
      : path(std::string(FAKE_DIR) + "/" + name),
        environment("MOE_CUDA_DRIVER", path.c_str()),
        library(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    EXPECT_NE(library, nullptr) << path;
    set(9, 0);
  }

  /// A device of this compute capability.
  void set(int major, int minor, uint64_t bytes = 1 << 30) const {
    function<FakeCudaReset>("fakeCudaReset")(major, minor, bytes);
  }
  void fail(const char *symbol, int result, int skip = 0) const {
    function<FakeCudaFail>("fakeCudaFail")(symbol, skip, result);
  }
  int calls(const char *symbol) const {
    return function<FakeCudaCalls>("fakeCudaCalls")(symbol);
  }
  uint64_t bytes() const { return function<FakeCudaBytes>("fakeCudaBytes")(); }
  uint64_t bytesToHost() const {
    return function<FakeCudaBytesToHost>("fakeCudaBytesToHost")();
  }
  int alive() const { return function<FakeCudaAlive>("fakeCudaAlive")(); }
  void setVersion(int version) const {
    function<FakeCudaVersion>("fakeCudaVersion")(version);
  }
  void setDevices(int count) const {
    function<FakeCudaDevices>("fakeCudaDevices")(count);
  }

private:
  template <typename Pointer> Pointer function(const char *name) const {
    return reinterpret_cast<Pointer>(dlsym(library, name));
  }

  const std::string path;
  const ScopedEnvironment environment;
  void *library;
};

/// A session on the device and a sequence of it. A test has it in its body, for
/// it must be gone before what is alive is counted.
struct OnDevice {
  Model model;
  Session session{model, 0, 0, MOE_DEVICE_CUDA};
  Sequence sequence = session.create_sequence();
};

/// An item of one input, which must outlive it.
inline Item itemOf(Sequence &sequence, const Input &input) {
  Item result = item(sequence, {});
  result.inputs = &input;
  result.num_inputs = 1;
  return result;
}

/// What the device's head makes of logits.
inline std::vector<float> negated(std::vector<float> logits) {
  for (float &logit : logits)
    logit = -logit;
  return logits;
}

/// Nothing of the driver is alive when a test is over.
class DeviceTest : public testing::Test {
protected:
  OnDevice start() const { return {Model::load(engine, artifact.path())}; }

  void TearDown() override {
    EXPECT_EQ(driver.alive(), 0);
    EXPECT_EQ(driver.bytes(), 0u);
  }

  const FakeDriver driver;
  const FakeArtifact artifact{FakeArtifact::Device};
  const Engine engine{1};
};

} // namespace moe::test

#endif // MOEC_TEST_UNIT_RUNTIME_DEVICETESTSUPPORT_H
