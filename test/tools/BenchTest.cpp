//===- BenchTest.cpp - moe-bench as a program -----------------------------===//
//
// Forms, counts and refusals. Nothing here depends on how fast anything is.
//
//===----------------------------------------------------------------------===//

#include "test/tools/ToolTestSupport.h"
#include "test/unit/runtime/RuntimeTestSupport.h"

#include <algorithm>
#include <map>
#include <sstream>

using namespace moe;
using namespace moe::test;

namespace {

bool contains(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

std::vector<std::string> split(const std::string &text, char at) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, at);)
    parts.push_back(part);
  return parts;
}

class MoeBench : public testing::Test {
protected:
  /// A seed whose tokens the fake model takes: some of its ids fail.
  static constexpr const char *kSeed = "--seed=2";

  ToolResult run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), artifact.path());
    return runTool(MOE_BENCH, arguments);
  }
  /// The records of a run in csv, by column.
  std::vector<std::map<std::string, std::string>>
  records(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {kSeed, "--no-limits", "-o", "csv"});
    const ToolResult result = run(arguments);
    EXPECT_EQ(result.exitCode, 0) << result.err;
    const std::vector<std::string> lines = split(result.out, '\n');
    std::vector<std::map<std::string, std::string>> found;
    if (lines.empty())
      return found;
    const std::vector<std::string> names = split(lines.front(), ',');
    for (size_t i = 1; i < lines.size(); ++i) {
      std::vector<std::string> cells = split(lines[i], ',');
      cells.resize(names.size()); // the last ones may be empty
      auto &record = found.emplace_back();
      for (size_t j = 0; j < names.size(); ++j)
        record[names[j]] = cells[j];
    }
    return found;
  }
  void expectError(const std::vector<std::string> &arguments, int exitCode,
                   const std::string &part) {
    const ToolResult result = run(arguments);
    EXPECT_EQ(result.exitCode, exitCode) << part;
    EXPECT_EQ(result.out, "") << part;
    EXPECT_TRUE(contains(result.err, part))
        << "expected: " << part << "\nfound: " << result.err;
  }

  FakeArtifact artifact;
};

TEST_F(MoeBench, EveryCombinationIsATest) {
  const auto tests = records({"-p", "3,4", "-n", "2", "-b", "1,3", "-d", "0,5",
                              "-t", "1,2", "-r", "2"});
  const std::vector<std::string> names = {
      "\"pp3\"",      "\"pp4\"",      "\"tg2\"",      "\"tg2 b3\"",
      "\"pp3 @ d5\"", "\"pp4 @ d5\"", "\"tg2 @ d5\"", "\"tg2 b3 @ d5\""};
  ASSERT_EQ(tests.size(), 2 * names.size());
  for (size_t i = 0; i < tests.size(); ++i) {
    EXPECT_EQ(tests[i].at("test"), names[i % names.size()]);
    EXPECT_EQ(tests[i].at("n_threads"), i < names.size() ? "1" : "2");
    EXPECT_EQ(tests[i].at("repetitions"), "2");
    EXPECT_GT(std::stod(tests[i].at("median_ts")), 0);
    EXPECT_GE(std::stod(tests[i].at("best_ts")),
              std::stod(tests[i].at("median_ts")));
    EXPECT_EQ(tests[i].at("read_fraction"), "");
  }
}

/// The decoder has a table [256, 3] that is looked up, a head [3, 256], and a
/// cache of 3 f32 and 2 bf16 per token.
TEST_F(MoeBench, BytesAndOperations) {
  const auto tests =
      records({"-p", "4", "-n", "3", "-b", "2", "-d", "5", "-r", "1"});
  ASSERT_EQ(tests.size(), 2u);
  const auto number = [&](size_t test, const char *name) {
    return std::stod(tests[test].at(name));
  };
  constexpr double row = FAKE_HIDDEN * sizeof(float);
  constexpr double all = row * FAKE_LOGITS;
  constexpr double cached = row + 2 * 2;
  EXPECT_EQ(number(0, "weight_bytes_per_step"), 4 * row + all);
  EXPECT_EQ(number(1, "weight_bytes_per_step"), 2 * row + all);
  // Four tokens behind five see 6, 7, 8 and 9 keys.
  EXPECT_EQ(number(0, "cache_bytes_per_step"), 30 * cached);
  // Two sequences, 7 keys each in the middle of three steps.
  EXPECT_EQ(number(1, "cache_bytes_per_step"), 14 * cached);
  // [3, 256] is no matrix of `width` rows: a product of every token.
  EXPECT_EQ(number(0, "operations_per_step"), 2 * 4 * all / sizeof(float));
  EXPECT_EQ(number(1, "operations_per_step"), 2 * 2 * all / sizeof(float));
  EXPECT_EQ(tests[0].at("model_n_params"), "1536");
}

/// Of router 0 (4 experts, 2 per token) and of one that never runs (8, 3).
TEST_F(MoeBench, ExpertsHit) {
  const auto decoded = records({"-p", "0", "-n", "4", "-b", "2", "-r", "1"});
  ASSERT_EQ(decoded.size(), 1u);
  EXPECT_EQ(decoded[0].at("experts_hit"), ""); // "decode" exports nothing
  // E (1 - (1 - k/E)^2): 3 of 4 and 4.875 of 8.
  EXPECT_NEAR(std::stod(decoded[0].at("experts_expected")), 3.9375, 1e-6);
  const auto studied =
      records({"-p", "3", "-n", "0", "-r", "1", "--entry-prefill", "study"});
  ASSERT_EQ(studied.size(), 1u);
  // Positions 0 to 2 hit experts 0 to 3, and nobody the other router's.
  EXPECT_EQ(std::stod(studied[0].at("experts_hit")), 2.0);
}

/// The lists of a breakdown are sums of the same intervals.
TEST_F(MoeBench, Breakdown) {
  const auto parts = records({"-p", "3", "-n", "2", "-b", "2", "-r", "2", "-t",
                              "2", "--breakdown=kinds,layers,kernels"});
  for (const char *test : {"\"pp3\"", "\"tg2 b2\""}) {
    std::map<std::string, double> nanoseconds, shares, intervals;
    std::map<std::string, std::map<std::string, std::string>> kinds;
    std::vector<std::string> layers;
    for (const auto &part : parts) {
      if (part.at("test") != test)
        continue;
      const std::string list = part.at("list");
      nanoseconds[list] += std::stod(part.at("ns_per_step"));
      shares[list] += std::stod(part.at("share"));
      intervals[list] += std::stod(part.at("intervals"));
      EXPECT_GE(std::stod(part.at("waiting_share")), 0);
      EXPECT_LE(std::stod(part.at("waiting_share")), 1);
      if (list == "\"kinds\"")
        kinds[part.at("part")] = part;
      if (list == "\"layers\"")
        layers.push_back(part.at("layer"));
    }
    ASSERT_EQ(nanoseconds.size(), 3u) << test;
    for (const auto &[list, sum] : nanoseconds) {
      EXPECT_NEAR(sum, nanoseconds.at("\"kinds\""), 1) << list;
      EXPECT_NEAR(shares.at(list), 1, 1e-3) << list; // outside is part of it
      EXPECT_EQ(intervals.at(list), FAKE_INTERVALS) << list;
    }
    ASSERT_EQ(kinds.size(), 4u); // rows, append, head, outside
    EXPECT_EQ(kinds.at("\"rows\"").at("intervals"),
              std::to_string(FAKE_INTERVALS - 2));
    const auto &head = kinds.at("\"head\"");
    constexpr int elements = FAKE_HIDDEN * FAKE_LOGITS;
    EXPECT_EQ(std::stod(head.at("weight_bytes_per_step")),
              elements * sizeof(float));
    // One row of results for each sequence.
    const int rows = std::stoi(head.at("n_batch"));
    EXPECT_EQ(std::stod(head.at("operations_per_step")), 2 * rows * elements);
    // None, layer 0, outside.
    EXPECT_EQ(layers, (std::vector<std::string>{"", "0", ""}));
  }
  const ToolResult json =
      run({"-p", "3", "-n", "0", "-r", "1", kSeed, "--no-limits", "-o", "json",
           "--breakdown=kernels"});
  EXPECT_TRUE(isJson(json.out)) << json.out;
  EXPECT_TRUE(contains(json.out, "\"weight\": \"head\""));
  const ToolResult table = run({"-p", "3", "-n", "0", "-r", "1", kSeed,
                                "--no-limits", "--breakdown=kinds"});
  EXPECT_TRUE(contains(table.out, "us per step, by kinds")) << table.out;
  EXPECT_TRUE(contains(table.out, "\n| head "));
  EXPECT_FALSE(contains(table.out, "by layers"));
}

TEST_F(MoeBench, BreakdownRefusals) {
  expectError({"--breakdown=kinds,parts"}, 2,
              "expected a list of kinds, layers and kernels, found "
              "'kinds,parts'");
  const std::vector<std::string> asked = {
      "-p",  "3",           "-n",
      "0",   "-r",          "1",
      kSeed, "--no-limits", "--breakdown=kinds"};
  manifest::ManifestT wrong = artifact.manifest();
  for (auto &variant : wrong.variants)
    if (variant->intervals) {
      variant->intervals = FAKE_INTERVALS - 1;
      variant->kernels.pop_back();
    }
  artifact.setManifest(wrong);
  expectError(asked, 1,
              "expected " + std::to_string(FAKE_INTERVALS - 1) +
                  " intervals in a step, as the artifact says, found " +
                  std::to_string(FAKE_INTERVALS));
  // As an older compiler wrote it.
  for (auto &variant : wrong.variants) {
    variant->intervals = 0;
    variant->kernels.clear();
  }
  artifact.setManifest(wrong);
  expectError(asked, 1, "to say which kernels run between the barriers");
}

/// A weight that is not as its checksum says is found once, unless nobody asks.
TEST_F(MoeBench, Checksums) {
  manifest::ManifestT wrong = artifact.manifest();
  ++wrong.weights[0]->checksum;
  artifact.setManifest(wrong);
  const std::vector<std::string> asked = {"-p", "3", "-n",  "0",
                                          "-r", "1", kSeed, "--no-limits"};
  expectError(asked, 1, "weight 'embed': expected checksum");
  std::vector<std::string> unverified = asked;
  unverified.push_back("--no-verify");
  EXPECT_EQ(run(unverified).exitCode, 0);
}

TEST_F(MoeBench, Markdown) {
  const ToolResult result =
      run({"-p", "3", "-n", "2", "-r", "2", "-t", "1", kSeed, "--no-limits"});
  ASSERT_EQ(result.exitCode, 0) << result.err;
  const std::vector<std::string> lines = split(result.out, '\n');
  ASSERT_GE(lines.size(), 6u);
  const std::vector<std::string> header = split(lines[0], '|');
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(split(lines[i], '|').size(), header.size()) << lines[i];
    EXPECT_EQ(lines[i].front(), '|');
  }
  EXPECT_TRUE(contains(lines[0], "| test |") || contains(lines[0], " test |"));
  EXPECT_TRUE(contains(lines[1], "---:"));
  EXPECT_TRUE(contains(lines[2], " pp3 | "));
  EXPECT_TRUE(contains(lines[3], " tg2 | "));
  EXPECT_TRUE(contains(lines[3], " ± "));
  EXPECT_TRUE(contains(result.out, "memory: "));
  EXPECT_FALSE(contains(result.out, "GB/s"));
}

/// With the limits: the least buffer that the tool accepts.
TEST_F(MoeBench, JsonWithLimits) {
  const ToolResult result = run({"-p", "3", "-n", "0", "-r", "3", "-t", "1",
                                 kSeed, "-o", "json", "--buffer-mib=512"});
  ASSERT_EQ(result.exitCode, 0) << result.err;
  EXPECT_TRUE(isJson(result.out)) << result.out;
  for (const char *part :
       {"\"test\": \"pp3\"", "\"n_prompt\": 3", "\"samples_ns\": [",
        "\"read_gbps_before\": ", "\"read_fraction\": ", "\"limits\": [",
        "\"name\": \"sequential\"", "\"name\": \"4 streams\"",
        "\"name\": \"16 streams\"", "\"name\": \"prefetched\""})
    EXPECT_TRUE(contains(result.out, part)) << part;
}

TEST_F(MoeBench, Refusals) {
  expectError({"-p", "0", "-n", "0"}, 2, "expected a test");
  expectError({"-p"}, 2, "option '-p': expected N,.. after it");
  expectError({"-p", "1,,2"}, 2, "option '-p': expected a number");
  expectError({"-p", "-3"}, 2, "option '-p': expected a number");
  expectError({"-b", "0"}, 2, "option '-b': expected at least 1, found 0");
  expectError({"-t", "0"}, 2, "option '-t': expected at least 1, found 0");
  expectError({"-r", "0"}, 2, "option '-r': expected at least 1, found 0");
  expectError({"-o", "xml"}, 2, "expected md, csv or json, found 'xml'");
  expectError({"--buffer-mib=1"}, 2, "expected at least 512, found 1");
  expectError({"-r2"}, 2, "unknown option '-r2'");
  expectError({"-q"}, 2, "unknown option '-q'");
  expectError({"--repetitons=2"}, 2, "did you mean '--repetitions'?");
  expectError({"second.so"}, 2, "expected one artifact, found 2");

  expectError({"--entry-prefill=none", "--no-limits"}, 1,
              "expected an entry of");
  expectError({"--modality=image", "--no-limits"}, 1,
              "--modality: expected one of the entries 'prefill' and 'decode', "
              "found 'image', not one of text");
  expectError({"--entry-decode=score", "-n", "1", "-p", "0", "--no-limits"}, 1,
              "expected an entry with a cache to decode with, found 'score'");
  expectError({"-p", "151", "-n", "0", "--no-limits", kSeed}, 1,
              "expected image?, text[1..150], found text[151]");
  expectError({"-p", "0", "-n", "201", "--no-limits", "-r", "1"}, 1, "");
  const ToolResult missing = runTool(MOE_BENCH, {"/nowhere/model.so"});
  EXPECT_EQ(missing.exitCode, 1);
  EXPECT_TRUE(contains(missing.err, "/nowhere/model.so")) << missing.err;
}

TEST_F(MoeBench, Help) {
  const ToolResult result = runTool(MOE_BENCH, {"--help"});
  EXPECT_EQ(result.exitCode, 0);
  EXPECT_TRUE(contains(result.out, "--prompt N,.., -p"));
  EXPECT_TRUE(contains(result.out, "--no-limits"));
}

} // namespace
