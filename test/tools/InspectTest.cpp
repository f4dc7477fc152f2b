//===- InspectTest.cpp - moe-inspect as a program -------------------------===//

#include "test/tools/ToolTestSupport.h"
#include "test/unit/runtime/RuntimeTestSupport.h"

#include <unistd.h>

using namespace moe;
using namespace moe::test;

namespace {

bool contains(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

TEST(MoeInspect, ForPeople) {
  const FakeArtifact artifact;
  const ToolResult result = runTool(MOE_INSPECT, {artifact.path()});
  EXPECT_EQ(result.exitCode, 0);
  EXPECT_EQ(result.err, "");
  for (const char *part :
       {": model fake", "moec 0.0.0 (by hand)", "exports   moe_model_query_v1",
        "u8[2, 3, 1]", "200 in a cache", "logits[256], trace[4]",
        "image?, text[1..150]      last position", "avx512f avx512bw",
        "512 + 64 T", "cache, 16 bytes per token", "weights, 6,144 bytes",
        "row_major  1      3,072", "distinct, token_local",
        "ignored tensors: unused.*"})
    EXPECT_TRUE(contains(result.out, part)) << part << "\n" << result.out;
}

TEST(MoeInspect, Json) {
  const FakeArtifact artifact;
  const ToolResult result = runTool(MOE_INSPECT, {artifact.path(), "--json"});
  EXPECT_EQ(result.exitCode, 0);
  EXPECT_TRUE(isJson(result.out)) << result.out;
  for (const char *part :
       {"\"model\": \"fake\"", "\"layout_text\": \"any(text, image)[1..190]\"",
        "\"cache_tokens\": 200", "\"name\": \"embed\"", "\"experts\": 4"})
    EXPECT_TRUE(contains(result.out, part)) << part;
}

TEST(MoeInspect, JsonEscapesNames) {
  const FakeArtifact artifact;
  manifest::ManifestT manifest = artifact.manifest();
  manifest.model = "a\"b\\c\n\xff\xc3\xa9";
  artifact.setManifest(manifest);
  const ToolResult result = runTool(MOE_INSPECT, {artifact.path(), "--json"});
  EXPECT_TRUE(isJson(result.out));
  EXPECT_TRUE(contains(result.out, "\"a\\\"b\\\\c\\u000a\\ufffd\xc3\xa9\""))
      << result.out;
}

TEST(MoeInspect, DoesNotExecuteTheArtifact) {
  // No variant runs here, so loading it would fail.
  const FakeArtifact artifact;
  manifest::ManifestT manifest = artifact.manifest();
  for (auto &variant : manifest.variants)
    variant->features = {"feature-of-tomorrow"};
  artifact.setManifest(manifest);
  EXPECT_EQ(runTool(MOE_INSPECT, {artifact.path()}).exitCode, 0);
  const ToolResult verified =
      runTool(MOE_INSPECT, {artifact.path(), "--verify"});
  EXPECT_EQ(verified.exitCode, 1);
  EXPECT_EQ(verified.out, "");
  EXPECT_TRUE(contains(verified.err, "feature-of-tomorrow"));
}

TEST(MoeInspect, Verify) {
  const FakeArtifact artifact(FakeArtifact::External);
  const ToolResult good = runTool(MOE_INSPECT, {"--verify", artifact.path()});
  EXPECT_EQ(good.exitCode, 0) << good.err;
  EXPECT_TRUE(contains(good.out, "verified: 2 weights, 6144 bytes"));
  std::vector<uint8_t> weights = readFile(artifact.sideFile());
  weights.back() ^= 1;
  writeFile(artifact.sideFile(), weights);
  const ToolResult bad = runTool(MOE_INSPECT, {"--verify", artifact.path()});
  EXPECT_EQ(bad.exitCode, 1);
  EXPECT_EQ(bad.out, "");
  EXPECT_TRUE(contains(bad.err, "weight 'head': expected checksum"));
}

TEST(MoeInspect, Errors) {
  const FakeArtifact artifact;
  EXPECT_EQ(runTool(MOE_INSPECT, {}).exitCode, 2);
  EXPECT_EQ(runTool(MOE_INSPECT, {artifact.path(), "extra"}).exitCode, 2);
  const ToolResult unknown = runTool(MOE_INSPECT, {artifact.path(), "--jsn"});
  EXPECT_EQ(unknown.exitCode, 2);
  EXPECT_TRUE(contains(unknown.err, "did you mean '--json'?"));
  const ToolResult value =
      runTool(MOE_INSPECT, {artifact.path(), "--json=yes"});
  EXPECT_EQ(value.exitCode, 2);
  EXPECT_TRUE(contains(value.err, "takes no value"));
  ASSERT_EQ(truncate(artifact.path().c_str(), 5000), 0);
  const ToolResult cut = runTool(MOE_INSPECT, {artifact.path()});
  EXPECT_EQ(cut.exitCode, 1);
  EXPECT_EQ(cut.out, "");
  EXPECT_TRUE(contains(cut.err, "artifact cut short"));
}

TEST(MoeInspect, HelpAndVersion) {
  const ToolResult help = runTool(MOE_INSPECT, {"--help"});
  EXPECT_EQ(help.exitCode, 0);
  EXPECT_TRUE(contains(help.out, "usage: moe-inspect MODEL.so"));
  const ToolResult version = runTool(MOE_INSPECT, {"--version"});
  EXPECT_EQ(version.out, std::string("moe-inspect ") + moe_version() + "\n");
}

} // namespace
