//===- DeviceTest.cpp - The tools on a device, with a driver of our own ---===//

#include "test/tools/ToolTestSupport.h"
#include "test/unit/runtime/RuntimeTestSupport.h"

using namespace moe;
using namespace moe::test;

namespace {

bool contains(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

class DeviceTools : public testing::Test {
protected:
  const FakeArtifact artifact{FakeArtifact::Device};
  const ScopedEnvironment driver{"MOE_CUDA_DRIVER", FAKE_DIR "/fake-cuda.so"};

  ToolResult run(std::vector<std::string> options) const {
    options.insert(options.begin(),
                   {artifact.path(), "--text", "abc", "--print", "logits"});
    return runTool(MOE_RUN, options);
  }
  /// First logit of the last row.
  static std::string expected(bool onDevice) {
    ReferenceSequence reference;
    reference.addText("abc");
    const float first = reference.lastLogits().front();
    return std::to_string(static_cast<int>(onDevice ? -first : first)) + " ";
  }
};

TEST_F(DeviceTools, RunWhereAsked) {
  for (const auto &[device, onDevice] :
       {std::pair<std::string, bool>{"auto", true},
        {"cuda", true},
        {"cpu", false}}) {
    const ToolResult result = run({"--device=" + device});
    EXPECT_EQ(result.exitCode, 0) << result.err;
    EXPECT_EQ(result.out.rfind(expected(onDevice), 0), 0u) << result.out;
    EXPECT_FALSE(contains(result.err, "remark"));
  }
  const ToolResult wrong = run({"--device=tpu"});
  EXPECT_EQ(wrong.exitCode, 2);
  EXPECT_TRUE(contains(wrong.err, "expected auto, cpu or cuda, found 'tpu'"));
}

TEST_F(DeviceTools, RunSaysWhyItIsNotOnTheDevice) {
  const ScopedEnvironment none("MOE_CUDA_DRIVER", "no-such-driver.so");
  const ToolResult result = run({});
  EXPECT_EQ(result.exitCode, 0) << result.err;
  EXPECT_EQ(result.out.rfind(expected(false), 0), 0u);
  EXPECT_TRUE(contains(result.err, "moe-run: remark: on the processor: no CUDA "
                                   "driver: no-such-driver.so"))
      << result.err;
  const ToolResult asked = run({"--device=cuda"});
  EXPECT_EQ(asked.exitCode, 1);
  EXPECT_EQ(asked.out, "");
  EXPECT_TRUE(contains(asked.err, "moe-run: error: no CUDA driver"));
}

TEST_F(DeviceTools, PrintMemory) {
  const ToolResult result = run({"--print-memory"});
  for (const char *part :
       {"memory of Fake GPU (compute capability 9.0, code for sm_90a), bytes:",
        "  weights               6168\n", "  constants                4\n",
        "  cache                 4096\n", " of 1073741824\n"})
    EXPECT_TRUE(contains(result.err, part)) << part << "\n" << result.err;
  EXPECT_TRUE(contains(run({"--print-memory", "--device=cpu"}).err,
                       "memory of a device: none"));
}

TEST_F(DeviceTools, GenerateTheSameTextTwice) {
  const ToolResult first = run({"--max-tokens=80"});
  EXPECT_EQ(first.exitCode, 0) << first.err;
  const ScopedEnvironment graphs("MOE_CUDA_GRAPHS", "0");
  EXPECT_EQ(run({"--max-tokens=80"}).out, first.out);
}

TEST_F(DeviceTools, Bench) {
  const ToolResult result =
      runTool(MOE_BENCH, {artifact.path(), "-p", "20", "-n", "5",
                          "--breakdown=kernels", "--print-memory", "--seed=2"});
  EXPECT_EQ(result.exitCode, 0) << result.err;
  for (const char *part : {"| CUDA sm_90a ", "| append ", "| head "})
    EXPECT_TRUE(contains(result.out, part)) << part << "\n" << result.out;
  EXPECT_TRUE(contains(result.err, "memory of Fake GPU"));
  const ToolResult here =
      runTool(MOE_BENCH, {artifact.path(), "-p", "3", "-n", "0", "--no-limits",
                          "--device=cpu", "-o", "json", "--seed=2"});
  EXPECT_TRUE(contains(here.out, "\"backends\": \"CPU ")) << here.out;
}

TEST_F(DeviceTools, InspectLevels) {
  const ToolResult result = runTool(MOE_INSPECT, {artifact.path(), "--levels"});
  EXPECT_EQ(result.exitCode, 0) << result.err;
  for (const char *part :
       {"device level sm_80, compute capability 8.0 and above: ptx of 56 bytes,"
        " 4 bytes of constants\n",
        "device level sm_90a, compute capability 9.0 only: ptx of 56 bytes, "
        "llvm_ir of 56 bytes,",
        "  rows    128      up to 100,000 bytes\n"})
    EXPECT_TRUE(contains(result.out, part)) << part << "\n" << result.out;
  const ToolResult json =
      runTool(MOE_INSPECT, {artifact.path(), "--levels", "--json"});
  EXPECT_TRUE(isJson(json.out));
  EXPECT_TRUE(contains(json.out, "\"runs_on\": \"9.0 only\"")) << json.out;
  EXPECT_FALSE(
      contains(runTool(MOE_INSPECT, {artifact.path()}).out, "device level"));
}

} // namespace
