//===- DeviceErrorTest.cpp - Which device runs, and what goes wrong -------===//

#include "test/unit/runtime/DeviceTestSupport.h"

#include <unistd.h>

using namespace moe;
using namespace moe::test;

namespace {

constexpr int kOutOfMemory = 2;
constexpr int kIllegalAddress = 700;
constexpr int kLaunchOutOfResources = 701;

class DeviceChoice : public DeviceTest {
protected:
  /// Where a session runs: the level's name, or "cpu"; keeps the remark.
  std::string chosen(moe_device device = MOE_DEVICE_AUTO) {
    const Model model = Model::load(engine, artifact.path());
    const Session session(model, 0, 0, device);
    const moe_device_info info = session.device();
    remark = info.remark;
    return info.device == MOE_DEVICE_CUDA ? info.level : "cpu";
  }
  std::string remark;
};

TEST_F(DeviceChoice, LevelThatFitsBest) {
  EXPECT_EQ(chosen(), "sm_90a");
  driver.set(8, 0);
  EXPECT_EQ(chosen(), "sm_80");
  driver.set(8, 9);
  EXPECT_EQ(chosen(), "sm_80");
  // sm_90a is for 9.0 alone.
  driver.set(12, 0);
  EXPECT_EQ(chosen(), "sm_80");
  driver.set(9, 0);
  const ScopedEnvironment environment("MOE_GPU_ARCH", "sm_80");
  EXPECT_EQ(chosen(), "sm_80");
}

TEST_F(DeviceChoice, NoSuchLevel) {
  const ScopedEnvironment environment("MOE_GPU_ARCH", "sm_70");
  EXPECT_FAILURE(chosen(MOE_DEVICE_CUDA), MOE_ERROR_UNSUPPORTED,
                 "MOE_GPU_ARCH: expected a level of");
  EXPECT_EQ(chosen(), "cpu");
}

TEST_F(DeviceChoice, Environment) {
  {
    const ScopedEnvironment environment("MOE_DEVICE", "cpu");
    EXPECT_EQ(chosen(), "cpu");
    EXPECT_EQ(remark, "");
    EXPECT_EQ(driver.calls("cuInit"), 0);
    EXPECT_EQ(chosen(MOE_DEVICE_CUDA), "sm_90a");
  }
  {
    const ScopedEnvironment environment("MOE_DEVICE", "gpu");
    EXPECT_FAILURE(chosen(), MOE_ERROR_INVALID_ARGUMENT,
                   "MOE_DEVICE: expected auto, cpu or cuda, found 'gpu'");
  }
  {
    const ScopedEnvironment level("MOE_ISA", "generic");
    EXPECT_EQ(chosen(), "cpu");
    const ScopedEnvironment environment("MOE_DEVICE", "cuda");
    EXPECT_EQ(chosen(), "sm_90a");
  }
  EXPECT_FAILURE(chosen(3), MOE_ERROR_INVALID_ARGUMENT,
                 "device: expected 0 to 2, found 3");
}

TEST_F(DeviceChoice, NoDriver) {
  const ScopedEnvironment environment("MOE_CUDA_DRIVER", "no-such-driver.so");
  EXPECT_EQ(chosen(), "cpu");
  EXPECT_NE(remark.find("no CUDA driver: no-such-driver.so: cannot open"),
            std::string::npos)
      << remark;
  EXPECT_FAILURE(chosen(MOE_DEVICE_CUDA), MOE_ERROR_UNSUPPORTED,
                 "no CUDA driver: no-such-driver.so");
}

TEST_F(DeviceChoice, DriverThatLacksAFunction) {
  const FakeDriver old("fake-cuda-old.so");
  EXPECT_FAILURE(chosen(MOE_DEVICE_CUDA), MOE_ERROR_UNSUPPORTED,
                 "is too old: it lacks the function cuMemcpyHtoDAsync_v2");
}

TEST_F(DeviceChoice, DriverWithoutGraphsAndEvents) {
  const FakeDriver plain("fake-cuda-plain.so");
  OnDevice on = start();
  const Input text = input("text", "a");
  Item one = itemOf(on.sequence, text);
  for (int i = 0; i < 4; ++i)
    on.session.step("decode", &one, 1);
  EXPECT_EQ(plain.calls("cuLaunchKernel"), 8);
  EXPECT_FAILURE(on.session.step("decode", &one, 1, false, true),
                 MOE_ERROR_UNSUPPORTED, "the driver has no events");
}

TEST_F(DeviceChoice, DriverThatDoesNotStart) {
  driver.fail("cuInit", 803);
  EXPECT_FAILURE(chosen(MOE_DEVICE_CUDA), MOE_ERROR_UNSUPPORTED,
                 "does not start: cuInit: an unknown error, 803");
}

TEST_F(DeviceChoice, NoDevice) {
  driver.setDevices(0);
  EXPECT_FAILURE(chosen(MOE_DEVICE_CUDA), MOE_ERROR_UNSUPPORTED,
                 "finds no device");
}

TEST_F(DeviceChoice, NoDeviceThatFits) {
  driver.set(7, 5);
  EXPECT_FAILURE(chosen(MOE_DEVICE_CUDA), MOE_ERROR_UNSUPPORTED,
                 "expected a device for sm_80 (compute capability 8.0 and "
                 "above), sm_90a (compute capability 9.0 only), found Fake GPU "
                 "(compute capability 7.5)");
  EXPECT_EQ(chosen(), "cpu");
}

TEST_F(DeviceChoice, DriverTooOldForTheCode) {
  driver.setVersion(12020);
  EXPECT_FAILURE(chosen(MOE_DEVICE_CUDA), MOE_ERROR_UNSUPPORTED,
                 "the driver does not translate its PTX 8.6: "
                 "cuModuleLoadDataEx: CUDA_ERROR_UNSUPPORTED_PTX_VERSION, 222 "
                 "(as the test wants it); the driver is for CUDA 12.2, a newer "
                 "one may be needed; it says: ptxas fatal: it is old");
  EXPECT_EQ(chosen(), "cpu");
}

TEST_F(DeviceChoice, ArtifactWithoutCodeForDevices) {
  const FakeArtifact plain;
  const Model model = Model::load(engine, plain.path());
  EXPECT_FAILURE(Session(model, 0, 0, MOE_DEVICE_CUDA), MOE_ERROR_UNSUPPORTED,
                 "has no code for a device");
  const Session session(model);
  EXPECT_EQ(session.device().device, unsigned{MOE_DEVICE_CPU});
  EXPECT_STREQ(session.device().remark, "");
  EXPECT_EQ(driver.calls("cuInit"), 0);
}

TEST_F(DeviceChoice, ArtifactForDevicesOnly) {
  manifest::ManifestT manifest = artifact.manifest();
  for (int i = 0; i < FAKE_DECODER_SM80; ++i)
    manifest.variants[static_cast<size_t>(i)]->features = {"unheard-of"};
  artifact.setManifest(manifest);
  EXPECT_EQ(chosen(), "sm_90a");
  EXPECT_FAILURE(chosen(MOE_DEVICE_CPU), MOE_ERROR_UNSUPPORTED,
                 "function 'decoder' has no variant for this processor");
  driver.setDevices(0);
  EXPECT_FAILURE(chosen(), MOE_ERROR_UNSUPPORTED, "finds no device");
}

TEST_F(DeviceChoice, LevelThatLacksAFunction) {
  manifest::ManifestT manifest = artifact.manifest();
  manifest.variants[FAKE_SCORER_SM90A]->function = 0;
  artifact.setManifest(manifest);
  EXPECT_FAILURE(chosen(MOE_DEVICE_CUDA), MOE_ERROR_UNSUPPORTED,
                 "device level 'sm_90a' has no variant of function 'scorer'");
  EXPECT_EQ(chosen(), "cpu");
}

TEST_F(DeviceChoice, NoneForTheBatch) {
  manifest::ManifestT manifest = artifact.manifest();
  manifest.variants[FAKE_DECODER_SM90A]->max_tokens = 10;
  artifact.setManifest(manifest);
  OnDevice on = start();
  EXPECT_FAILURE(
      on.session.step("prefill", on.sequence, {input("text", "eleven text")}),
      MOE_ERROR_UNSUPPORTED,
      "(sm_90a 1..10 tokens, each for some modalities), found 11 tokens");
}

TEST_F(DeviceChoice, Emulator) {
  const FakeDriver emulator("fake-cuda-emulator.so");
  EXPECT_EQ(chosen(MOE_DEVICE_CUDA), "sm_90a");
  EXPECT_EQ(emulator.calls("moeEmuModuleLoadIr"), 1);
  EXPECT_EQ(emulator.calls("cuModuleLoadDataEx"), 0);
  {
    const ScopedEnvironment environment("MOE_GPU_ARCH", "sm_80");
    EXPECT_FAILURE(chosen(MOE_DEVICE_CUDA), MOE_ERROR_UNSUPPORTED,
                   "device level 'sm_80': expected LLVM IR for the emulator, "
                   "found none: compile with -femit-kernel-ir");
  }
  emulator.fail("cuStreamCreate", 1);
  EXPECT_FAILURE(chosen(MOE_DEVICE_CUDA), MOE_ERROR_DEVICE,
                 "the emulator says why");
}

TEST_F(DeviceChoice, DamagedTables) {
  const std::pair<const char *, const char *> cases[] = {
      {"size", "expected a table of 2 device levels"},
      {"name", "expected one device level 'sm_90a', found none or several"},
      {"no name", "device level 1: expected a name"},
      {"no kernels", "device level 1 'sm_90a': expected a table of 4 kernels"},
      {"threads", "kernel 'store': expected 1 to 1024 threads, found 2000"},
      {"text", "image 0: expected PTX that ends with a NUL byte"},
      {"no data", "image 0: expected data, found none"},
      {"constants", "expected 4 bytes of constants, found none"}};
  for (const auto &[damage, message] : cases) {
    const ScopedEnvironment environment("FAKE_DAMAGE", damage);
    EXPECT_FAILURE(Model::load(engine, artifact.path()), MOE_ERROR_BAD_ARTIFACT,
                   message);
  }
  const ScopedEnvironment environment("FAKE_DAMAGE", "kernel name");
  EXPECT_FAILURE(chosen(MOE_DEVICE_CUDA), MOE_ERROR_DEVICE,
                 "kernel 'unheard of' of device level 'sm_90a': "
                 "cuModuleGetFunction");
}

class DeviceFailure : public DeviceTest {
protected:
  /// A step of one letter.
  static std::vector<float> step(Session &session, Sequence &sequence) {
    return asVector(session.step("decode", sequence, {input("text", "a")})[0]);
  }
  static std::vector<float> after(size_t letters) {
    ReferenceSequence reference;
    reference.addText(std::string(letters, 'a'));
    return negated(reference.lastLogits());
  }
};

TEST_F(DeviceFailure, TooLittleMemoryForTheWeights) {
  driver.set(9, 0, 5000);
  const Model model = Model::load(engine, artifact.path());
  EXPECT_FAILURE(Session(model, 0, 0, MOE_DEVICE_CUDA), MOE_ERROR_OUT_OF_MEMORY,
                 "Fake GPU (compute capability 9.0): the weights: expected "
                 "6144 bytes of free memory, found 5000 of 5000");
  EXPECT_EQ(driver.bytes(), 0u);
  const Session session(model);
  EXPECT_EQ(session.device().device, unsigned{MOE_DEVICE_CPU});
  EXPECT_NE(
      std::string(session.device().remark).find("the weights: expected 6144"),
      std::string::npos);
}

TEST_F(DeviceFailure, TooLittleMemoryForTheCache) {
  driver.set(9, 0, 6172 + 500);
  OnDevice on = start();
  EXPECT_FAILURE(step(on.session, on.sequence), MOE_ERROR_OUT_OF_MEMORY,
                 "the cache pages of a session: expected 768 bytes of free "
                 "memory, found 500 of 6672; held are: weights 6168, constants "
                 "4, cache 0, scratch 0, outputs 0, batch 0");
  EXPECT_EQ(on.sequence.length(), 0u);
}

TEST_F(DeviceFailure, LessOfTheCacheWhereAllDoesNotFit) {
  OnDevice on = start();
  driver.fail("cuMemAlloc_v2", kOutOfMemory, 1); // of the second state
  EXPECT_EQ(step(on.session, on.sequence), after(1));
  EXPECT_EQ(on.session.stats().cache_pages, 1u);
  Sequence second = on.session.create_sequence();
  EXPECT_EQ(step(on.session, second), after(1));
  EXPECT_EQ(on.session.stats().cache_pages, 4u);
}

TEST_F(DeviceFailure, LaunchThatIsRefused) {
  OnDevice on = start();
  // By hand, and while the step is captured.
  for (int before = 0; before < 2; ++before) {
    driver.fail("cuLaunchKernel", kLaunchOutOfResources, 1);
    EXPECT_FAILURE(step(on.session, on.sequence), MOE_ERROR_DEVICE,
                   "kernel 'rows' with 1 x 1 x 1 blocks of 128 threads: "
                   "cuLaunchKernel: an unknown error, 701");
    EXPECT_EQ(on.sequence.length(), 0u);
  }
  EXPECT_EQ(step(on.session, on.sequence), after(1));
  EXPECT_EQ(step(on.session, on.sequence), after(2));
}

TEST_F(DeviceFailure, CopiesThatAreRefused) {
  OnDevice on = start();
  for (const char *function :
       {"cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2"}) {
    driver.fail(function, 1);
    EXPECT_FAILURE(step(on.session, on.sequence), MOE_ERROR_DEVICE,
                   "CUDA_ERROR_INVALID_VALUE");
  }
  EXPECT_EQ(step(on.session, on.sequence), after(1));
  // The copy of a page, when a fork writes.
  Sequence fork = on.sequence.fork();
  driver.fail("cuMemcpyDtoDAsync_v2", 1);
  EXPECT_FAILURE(step(on.session, fork), MOE_ERROR_DEVICE,
                 "CUDA_ERROR_INVALID_VALUE");
  EXPECT_EQ(step(on.session, on.sequence), after(2));
}

TEST_F(DeviceFailure, LostDevice) {
  {
    OnDevice on = start();
    EXPECT_EQ(step(on.session, on.sequence), after(1));
    driver.fail("cuStreamSynchronize", kIllegalAddress);
    EXPECT_FAILURE(step(on.session, on.sequence), MOE_ERROR_DEVICE,
                   "the device is lost: cuStreamSynchronize: "
                   "CUDA_ERROR_ILLEGAL_ADDRESS, 700 (as the test wants it) "
                   "(MOE_CUDA_SYNC=1");
    EXPECT_EQ(on.sequence.length(), 1u);
    // From now on all steps say so, and all sessions.
    const char *const lost = "the device was lost before: cuStreamSynchronize";
    EXPECT_FAILURE(step(on.session, on.sequence), MOE_ERROR_DEVICE, lost);
    EXPECT_FAILURE(Session(on.model, 0, 0, MOE_DEVICE_CUDA), MOE_ERROR_DEVICE,
                   lost);
    const Session other(on.model);
    EXPECT_EQ(other.device().device, unsigned{MOE_DEVICE_CPU});
    EXPECT_NE(std::string(other.device().remark).find(lost), std::string::npos);
  }
  // When nobody uses it any more, it can be had anew.
  auto [model, session, sequence] = start();
  EXPECT_EQ(step(session, sequence), after(1));
}

TEST_F(DeviceFailure, WaitingTellsTheKernel) {
  const ScopedEnvironment environment("MOE_CUDA_SYNC", "1");
  OnDevice on = start();
  EXPECT_EQ(step(on.session, on.sequence), after(1));
  driver.fail("cuStreamSynchronize", kIllegalAddress, 1);
  EXPECT_FAILURE(step(on.session, on.sequence), MOE_ERROR_DEVICE,
                 "kernel 'rows' with 1 x 1 x 1 blocks of 128 threads: the "
                 "device is lost: cuStreamSynchronize");
}

TEST_F(DeviceFailure, EveryCallMayFail) {
  for (const char *function :
       {"cuDeviceGet", "cuDeviceGetCount", "cuDeviceGetAttribute",
        "cuDevicePrimaryCtxRetain", "cuMemAlloc_v2", "cuMemAllocHost_v2",
        "cuStreamCreate", "cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2",
        "cuMemsetD8Async", "cuModuleLoadDataEx", "cuModuleGetFunction",
        "cuFuncSetAttribute", "cuLaunchKernel", "cuStreamSynchronize",
        "cuGraphLaunch", "cuEventCreate"})
    for (int skip = 0; skip < 12; ++skip) {
      driver.set(9, 0);
      driver.fail(function, kLaunchOutOfResources, skip);
      const Failure failure = failureOf([&] {
        const Model model = Model::load(engine, artifact.path());
        Session session(model, 0, 0, MOE_DEVICE_CUDA);
        Sequence sequence = session.create_sequence();
        for (int i = 0; i < 4; ++i)
          step(session, sequence);
        const Input text = input("text", "a");
        Item one = itemOf(sequence, text);
        session.step("decode", &one, 1, false, /*keepTrace=*/true);
      });
      const bool isHit = driver.calls(function) > skip;
      EXPECT_EQ(failure.status != MOE_OK, isHit)
          << function << " " << skip << ": " << failure.message;
      if (isHit) {
        EXPECT_NE(failure.message.find(", 701 ("), std::string::npos)
            << function << " " << skip << ": " << failure.message;
      }
    }
}

TEST_F(DeviceFailure, LaunchThatTheTablesForbid) {
  const ScopedEnvironment environment("FAKE_DAMAGE", "kernels");
  OnDevice on = start();
  EXPECT_FAILURE(step(on.session, on.sequence), MOE_ERROR_INTERNAL,
                 "the step launches kernel 1 of 1 of device level 'sm_90a'");
}

TEST_F(DeviceFailure, SideFileOfTheDevice) {
  // Who stays on the processor does not need it.
  ASSERT_EQ(unlink(artifact.deviceFile().c_str()), 0);
  const Model model = Model::load(engine, artifact.path(), /*verify=*/true);
  EXPECT_FAILURE(Session(model, 0, 0, MOE_DEVICE_CUDA), MOE_ERROR_NOT_FOUND,
                 "needs the weights of its side file");
  const Session session(model);
  EXPECT_EQ(session.device().device, unsigned{MOE_DEVICE_CPU});
}

TEST_F(DeviceFailure, SideFileThatIsCutShort) {
  // Verifying maps it; what is lost is missed when it goes to the device.
  const Model model = Model::load(engine, artifact.path(), /*verify=*/true);
  ASSERT_EQ(truncate(artifact.deviceFile().c_str(), 0), 0);
  EXPECT_FAILURE(Session(model, 0, 0, MOE_DEVICE_CUDA), MOE_ERROR_BAD_ARTIFACT,
                 "found their file cut short");
}

TEST_F(DeviceFailure, ChecksumsOfTheDevicesWeights) {
  std::vector<uint8_t> bytes = readFile(artifact.deviceFile());
  bytes[100] ^= 1;
  writeFile(artifact.deviceFile(), bytes);
  EXPECT_FAILURE(Model::load(engine, artifact.path(), /*verify=*/true),
                 MOE_ERROR_BAD_ARTIFACT,
                 "weight 'head.cuda': expected checksum");
  bytes.pop_back();
  writeFile(artifact.deviceFile(), bytes);
  const Model model = Model::load(engine, artifact.path());
  EXPECT_FAILURE(Session(model, 0, 0, MOE_DEVICE_CUDA), MOE_ERROR_BAD_ARTIFACT,
                 "expected 3072 bytes of weights");
}

} // namespace
