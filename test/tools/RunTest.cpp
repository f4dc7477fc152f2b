//===- RunTest.cpp - moe-run as a program ---------------------------------===//

#include "test/tools/ToolTestSupport.h"
#include "test/unit/runtime/RuntimeTestSupport.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <sstream>
#include <zlib.h>

using namespace moe;
using namespace moe::test;

namespace {

bool contains(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

const std::string kPixels = {1, 2, 3, 50, 60, 70};
const std::string kOtherPixels = {9, 8, 7, 6, 5, 4};

/// [2, 2, 3] of unsigned bytes; IDX has no channel axis.
std::string idxFile() {
  return std::string({0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3}) +
         kPixels + kOtherPixels;
}

std::string npyFile(const std::string &dict, const std::string &data) {
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(dict.size()) +
         '\0' + dict + data;
}

class MoeRun : public testing::Test {
protected:
  ToolResult run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), artifact.path());
    return runTool(MOE_RUN, arguments);
  }
  /// The printed rows of a run that must succeed.
  std::vector<std::vector<float>> rows(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--print", "logits"});
    const ToolResult result = run(arguments);
    EXPECT_EQ(result.exitCode, 0) << result.err;
    std::vector<std::vector<float>> parsed;
    std::istringstream lines(result.out);
    for (std::string line; std::getline(lines, line);) {
      std::istringstream numbers(line);
      parsed.emplace_back(std::istream_iterator<float>(numbers),
                          std::istream_iterator<float>());
    }
    return parsed;
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
  TemporaryFolder folder;
};

std::vector<float> expectedRow(const std::string &pixels,
                               const std::string &text) {
  ReferenceSequence reference;
  reference.addImages(std::vector<uint8_t>(pixels.begin(), pixels.end()));
  reference.addText(text);
  return reference.lastLogits();
}

using Rows = std::vector<std::vector<float>>;

TEST_F(MoeRun, TextAndIds) {
  EXPECT_EQ(rows({"--text", "abc"}), Rows{expectedRow("", "abc")});
  EXPECT_EQ(rows({"--ids", "97,98", "--text=c"}), Rows{expectedRow("", "abc")});
  EXPECT_EQ(rows({"--entry", "study", "--text", "abc"}),
            (Rows{expectedRow("", "a"), expectedRow("", "ab"),
                  expectedRow("", "abc")}));
  // Without a cache, two token modalities, in the order given.
  const Rows scores =
      rows({"--entry=score", "--ids", "wide=999", "--text", "A"});
  ASSERT_EQ(scores.size(), 2u);
  EXPECT_EQ(scores[0][1], fake_score(999, FAKE_WIDE, 0, 1));
  EXPECT_EQ(scores[1][2], fake_score('A', FAKE_TEXT, 1, 2));
}

TEST_F(MoeRun, RawInputs) {
  const std::string plain = folder.write("plain@1.bin", kPixels);
  EXPECT_EQ(rows({"--raw", "image=" + plain, "--text", "x"}),
            Rows{expectedRow(kPixels, "x")});
  const std::string idx = folder.write("images.idx", idxFile());
  EXPECT_EQ(rows({"--raw", "image=" + idx + "@1", "--text", "x"}),
            Rows{expectedRow(kOtherPixels, "x")});
  EXPECT_EQ(rows({"--entry", "mixed", "--raw", "image=" + idx}),
            Rows{expectedRow(kPixels + kOtherPixels, "")});

  const std::string zipped = folder.file("images.idx.gz");
  gzFile file = gzopen(zipped.c_str(), "wb");
  gzwrite(file, idxFile().data(), static_cast<unsigned>(idxFile().size()));
  gzclose(file);
  EXPECT_EQ(rows({"--raw", "image=" + zipped + "@0", "--text", "x"}),
            Rows{expectedRow(kPixels, "x")});

  const std::string one = folder.write(
      "one.npy",
      npyFile(
          "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3, 1), }\n",
          kPixels));
  EXPECT_EQ(rows({"--raw", "image=" + one, "--text", "x"}),
            Rows{expectedRow(kPixels, "x")});
  const std::string list = folder.write(
      "list.npy",
      npyFile(
          "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 3), }\n",
          kPixels + kOtherPixels));
  EXPECT_EQ(rows({"--raw", "image=" + list + "@1", "--text", "x"}),
            Rows{expectedRow(kOtherPixels, "x")});
}

TEST_F(MoeRun, Routing) {
  const std::string ids = folder.file("ids.npy");
  const std::string weights = folder.file("weights.npy");
  const ToolResult result = run({"--entry=study", "--text=abc", "--routing-ids",
                                 ids, "--routing-weights", weights});
  ASSERT_EQ(result.exitCode, 0) << result.err;
  EXPECT_EQ(result.out, "");
  // [2, 3, 3]: router 0 has two slots, the other one three and never runs.
  std::vector<int32_t> expectedIds;
  std::vector<float> expectedWeights;
  for (int r = 0; r < 2; ++r)
    for (int t = 0; t < 3; ++t)
      for (int s = 0; s < 3; ++s) {
        const bool isThere = r == 0 && s < FAKE_SLOTS_PER_TOKEN;
        expectedIds.push_back(isThere ? fake_expert(t, s) : -1);
        expectedWeights.push_back(isThere ? fake_expert_weight(t, s) : 0.0f);
      }
  const auto check = [](const std::string &file, const char *type,
                        const auto &values) {
    const std::vector<uint8_t> bytes = readFile(file);
    const std::string text(bytes.begin(), bytes.end());
    EXPECT_TRUE(contains(text, type));
    EXPECT_TRUE(contains(text, "'shape': (2, 3, 3)"));
    const size_t size = values.size() * sizeof(values[0]);
    ASSERT_GT(bytes.size(), size);
    EXPECT_EQ(std::memcmp(&bytes[bytes.size() - size], values.data(), size), 0);
  };
  check(ids, "'<i4'", expectedIds);
  check(weights, "'<f4'", expectedWeights);
  expectError({"--text=abc", "--routing-ids", ids}, 1,
              "entry 'prefill': expected a batch without routing_out");
}

TEST_F(MoeRun, Top) {
  const std::vector<float> logits = expectedRow("", "abc");
  const ToolResult result = run({"--text", "abc"});
  EXPECT_EQ(result.exitCode, 0);
  std::istringstream lines(result.out);
  size_t id = 0;
  lines >> id;
  // The lowest of the largest ones.
  EXPECT_EQ(id,
            static_cast<size_t>(std::max_element(logits.begin(), logits.end()) -
                                logits.begin()));
  EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 5);
  EXPECT_TRUE(contains(result.err, "prefill: 3 tokens in"));
  EXPECT_EQ(run({"--text", "abc", "--print", "none"}).out, "");
}

TEST_F(MoeRun, Generate) {
  ReferenceSequence reference;
  reference.addText("once");
  std::string expected;
  for (int i = 0; i < 20; ++i) {
    const std::vector<float> logits = reference.lastLogits();
    expected += static_cast<char>(
        std::max_element(logits.begin(), logits.end()) - logits.begin());
    reference.addText(expected.substr(expected.size() - 1));
  }
  ToolResult result = run({"--text", "once", "--max-tokens", "20"});
  EXPECT_EQ(result.exitCode, 0) << result.err;
  EXPECT_EQ(result.out, expected + "\n");
  EXPECT_TRUE(contains(result.err, "decode: 19 tokens in"));

  // The id of the third token, unless an earlier one equals it.
  const auto stop = static_cast<unsigned char>(expected[2]);
  const size_t length = expected.find(static_cast<char>(stop)) + 1;
  result = run({"--text", "once", "--max-tokens", "20", "--decode-entry",
                "decode", "--stop-ids", std::to_string(stop) + ",255"});
  EXPECT_EQ(result.out, expected.substr(0, length) + "\n");
  // All that fits into the cache, and one more.
  EXPECT_EQ(run({"--text", "once", "--max-tokens", "197"}).exitCode, 0);
  expectError({"--text", "once", "--max-tokens", "198"}, 1,
              "needs a cache of 4 + 197 tokens, entry 'prefill' has 200");
}

/// Each text is a line, with the same bytes as alone.
TEST_F(MoeRun, GenerateForSeveralPrompts) {
  const std::string pixels = folder.write("plain.bin", kPixels);
  const std::vector<std::vector<std::string>> prompts = {
      {"--text", "once upon"},
      {"--raw", "image=" + pixels, "--text", "x"},
      {"--ids", "98,99"}};
  const std::vector<std::vector<std::string>> draws = {
      {},
      {"--temperature=4000", "--top-k=100", "--top-p=0.95", "--min-p=0.001",
       "--repetition-penalty=1.1", "--seed=5"}};
  std::vector<std::string> outputs;
  for (const std::vector<std::string> &draw : draws) {
    std::vector<std::string> all = {"--max-tokens=8", "--stop-ids=none"};
    all.insert(all.end(), draw.begin(), draw.end());
    std::vector<std::string> together = all;
    std::vector<std::string> lines;
    for (size_t i = 0; i < prompts.size(); ++i) {
      std::vector<std::string> alone = all;
      alone.insert(alone.end(), prompts[i].begin(), prompts[i].end());
      if (!draw.empty())
        alone.push_back("--stream=" + std::to_string(i));
      const ToolResult result = run(alone);
      EXPECT_EQ(result.exitCode, 0) << result.err;
      ASSERT_EQ(result.out.size(), 9u);
      outputs.push_back(result.out);
      if (i)
        together.push_back("--next");
      together.insert(together.end(), prompts[i].begin(), prompts[i].end());
    }
    const ToolResult result = run(together);
    EXPECT_EQ(result.exitCode, 0) << result.err;
    EXPECT_TRUE(contains(result.err, "prefill: 14 tokens in")) << result.err;
    EXPECT_TRUE(contains(result.err, "decode: 21 tokens in")) << result.err;
    std::string expected;
    for (size_t i = 0; i < prompts.size(); ++i) {
      expected += std::to_string(i) + "\t";
      for (const char c : outputs[outputs.size() - prompts.size() + i]) {
        const auto byte = static_cast<unsigned char>(c);
        char octal[8];
        std::snprintf(octal, sizeof(octal), "\\%03o", byte);
        if (c == '\n' || c == '\r' || c == '\t')
          octal[1] = c == '\n' ? 'n' : c == '\r' ? 'r' : 't', octal[2] = 0;
        const bool isPlain =
            byte >= 0x20 && byte < 0x7f && !std::strchr("\"'\\", c);
        const bool isQuoted = byte >= 0x20 && byte < 0x7f && !isPlain;
        expected += isPlain    ? std::string(1, c)
                    : isQuoted ? std::string("\\") + c
                               : std::string(octal);
      }
      // The newline behind the text alone.
      expected.resize(expected.size() - 2);
      expected += "\n";
    }
    EXPECT_EQ(result.out, expected);
  }
  EXPECT_NE(outputs[0], outputs[3]); // a draw is not the most probable token
}

/// Logits of all prompts, one after the other.
TEST_F(MoeRun, SeveralPrompts) {
  EXPECT_EQ(rows({"--prompt", "abc", "--prompt-ids", "120,121"}),
            (Rows{expectedRow("", "abc"), expectedRow("", "xy")}));
  const ToolResult result = run({"--prompt", "abc", "--prompt", "xy"});
  EXPECT_EQ(result.out.rfind("prompt 0:\n", 0), 0u) << result.out;
  EXPECT_TRUE(contains(result.out, "\nprompt 1:\n"));
}

TEST_F(MoeRun, StopTokensOfTheModel) {
  const std::string text = run({"--text", "once", "--max-tokens", "9"}).out;
  manifest::ManifestT manifest = artifact.manifest();
  const auto stop = static_cast<unsigned char>(text[2]);
  manifest.stop_tokens = {stop};
  artifact.setManifest(manifest);
  const size_t length = text.find(static_cast<char>(stop)) + 1;
  EXPECT_EQ(run({"--text", "once", "--max-tokens", "9"}).out,
            text.substr(0, length) + "\n");
  EXPECT_EQ(run({"--text", "once", "--max-tokens", "9", "--stop-ids=none"}).out,
            text);
}

double expectedScore(const std::string &text, const std::string &choice) {
  ReferenceSequence reference;
  reference.addText(text);
  double score = 0;
  for (const char byte : choice) {
    const std::vector<float> logits = reference.lastLogits();
    const double top = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const float logit : logits)
      sum += std::exp(logit - top);
    score += logits[static_cast<unsigned char>(byte)] - top - std::log(sum);
    reference.addText(std::string(1, byte));
  }
  return score;
}

TEST_F(MoeRun, Choices) {
  const std::string file = folder.write("choices", "shirt\nbag\na coat\n");
  std::vector<std::pair<double, std::string>> expected;
  for (const char *choice : {"shirt", "bag", "a coat"})
    expected.emplace_back(expectedScore("It is ", std::string(choice) + "\n"),
                          choice);
  std::sort(expected.rbegin(), expected.rend());
  const ToolResult result = run({"--text", "It is ", "--choices", file});
  EXPECT_EQ(result.exitCode, 0) << result.err;
  std::istringstream lines(result.out);
  for (size_t i = 0; i < 3; ++i) {
    std::string rank, score, text;
    std::getline(lines, rank, '\t');
    std::getline(lines, score, '\t');
    std::getline(lines, text);
    EXPECT_EQ(rank, std::to_string(i + 1));
    EXPECT_NEAR(std::stod(score), expected[i].first, 1e-5);
    EXPECT_EQ(text, expected[i].second);
  }
  // Another terminator, none of it fed: a choice of one byte needs no step.
  const std::string one = folder.write("one", "b\n");
  const ToolResult bare =
      run({"--text", "It is ", "--choices", one, "--choice-end", ""});
  EXPECT_NEAR(std::stod(bare.out.substr(2)), expectedScore("It is ", "b"),
              1e-5);
  const ToolResult ended =
      run({"--text", "It is ", "--choices", one, "--choice-end", "\\x01."});
  EXPECT_NEAR(std::stod(ended.out.substr(2)), expectedScore("It is ", "b\x01."),
              1e-5);
}

TEST_F(MoeRun, OutputAndCheck) {
  const std::string file = folder.file("logits.npy");
  const ToolResult written =
      run({"--entry", "study", "--text", "ab", "--output", file});
  EXPECT_EQ(written.exitCode, 0) << written.err;
  EXPECT_EQ(written.out, "");
  std::vector<uint8_t> bytes = readFile(file);
  const std::string head(bytes.begin(), bytes.begin() + 128);
  EXPECT_TRUE(contains(
      head, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 256), }"));
  EXPECT_EQ(bytes.size() % 64, 0u);
  EXPECT_EQ(folder.list(), std::vector<std::string>{"logits.npy"});

  const std::vector<std::string> check = {"--entry", "study",   "--text",
                                          "ab",      "--check", file};
  const ToolResult same = run(check);
  EXPECT_EQ(same.exitCode, 0) << same.err;
  EXPECT_EQ(same.out, "check: largest difference 0, within 0.0001\n");
  // One float changed by 0.5.
  float value = 0;
  uint8_t *at = bytes.data() + bytes.size() - 3 * sizeof(float);
  std::memcpy(&value, at, sizeof(value));
  value += 0.5f;
  std::memcpy(at, &value, sizeof(value));
  writeFile(file, bytes);
  expectError(check, 1, "within 0.0001, found 0.5 at row 1, column 253");
  std::vector<std::string> tolerant = check;
  tolerant.insert(tolerant.end(), {"--tolerance", "0.5"});
  EXPECT_EQ(run(tolerant).exitCode, 0);
  value = std::nanf("");
  std::memcpy(at, &value, sizeof(value));
  writeFile(file, bytes);
  expectError(tolerant, 1, "found inf at row 1, column 253");
  expectError({"--text", "ab", "--check", file}, 1,
              "expected f32 or f64 [1, 256] to compare with, found f32 [2, "
              "256]");
}

TEST_F(MoeRun, NothingIsWrittenOnErrors) {
  const std::string file = folder.file("logits.npy");
  expectError(
      {"--text", "ab", "--output", file, "--choices", folder.file("missing")},
      1, "cannot open: No such file or directory");
  expectError({"--text", "ab", "--output", file, "--max-tokens", "500"}, 1,
              "needs a cache");
  expectError(
      {"--text", "ab", "--output", file, "--check", folder.file("missing")}, 1,
      "cannot open");
  expectError({"--text", "ab", "--output", folder.file("no/such/folder")}, 1,
              "cannot write");
  EXPECT_EQ(folder.list(), std::vector<std::string>{});
}

TEST_F(MoeRun, BadInputs) {
  const std::string text = folder.write("text", "plain text");
  const std::string empty = folder.write("empty", "");
  const std::string cut = folder.write(
      "cut.npy", npyFile("{'descr': '|u1', 'fortran_order': False, 'shape': "
                         "(2, 3, 1), }\n",
                         "abc"));
  const std::string wrong = folder.write(
      "wrong.npy", npyFile("{'descr': '<f4', 'fortran_order': False, 'shape': "
                           "(1,), }\n",
                           "abcd"));
  const std::string idx = folder.write("images.idx", idxFile());
  std::string gzip("\x1f\x8b\x08\0\0\0\0\0\0\3", 10);
  const std::string damaged = folder.write("damaged.gz", gzip + "\x07zzzzz");
  const std::string shortened = folder.write("short.gz", gzip);
  expectError({"--raw", "image=" + text}, 1,
              "or 6 bytes for each u8 [2, 3, 1]");
  expectError({"--raw", "image=" + empty}, 1, "found 0 bytes");
  expectError({"--raw", "image=" + cut}, 1, "expected 6 bytes of u8 [2, 3, 1]");
  expectError({"--raw", "image=" + wrong}, 1,
              "expected u8 [2, 3, 1] for 'image', or a list of them, found f32 "
              "[1]");
  expectError({"--raw", "image=" + idx + "@2"}, 1,
              "expected an index below 2, found 2");
  expectError({"--raw", "image=" + damaged}, 1, "cannot read");
  expectError({"--raw", "image=" + shortened}, 1, "cut short");
  const std::string aFolder = std::filesystem::temp_directory_path();
  expectError({"--raw", "image=" + aFolder}, 1,
              "'" + aFolder + "': cannot read");
  expectError({"--raw", "text=" + idx}, 1, "expected a raw modality");
  expectError({"--raw", idx}, 1, "expected NAME=FILE");
  expectError({"--raw", "sound=" + idx}, 1,
              "(text, image, wide), found 'sound'");
  expectError({"--ids", "image=1"}, 1, "expected a token modality");
  expectError({"--ids", "1,,2"}, 1, "numbers with commas between");
  expectError({"--ids", "256"}, 1, "expected ids of 'text' from 0 to 255");
  expectError({"--entry", "score", "--ids", "1"}, 1, "expected NAME=1,2,3");
  expectError({"--text", ""}, 1, "expected at least one byte");
  expectError({"--text", std::string(151, 'x')}, 1, "found text[151]");
  expectError({"--entry", "encode", "--text", "a"}, 1, "found 'encode'");
  expectError({"--entry", "score", "--text", "a", "--max-tokens", "2"}, 1,
              "expected entries with a cache");
  expectError({"--entry", "score", "--text", "a", "--choices", text}, 1,
              "expected an entry with a cache, found 'score'");
  expectError({"--text", "a", "--choices", empty}, 1, "a choice per line");
  const auto refused = [&](const char *option, const char *sentence) {
    expectError({"--text", "a", "--max-tokens=2", option}, 1, sentence);
  };
  refused("--temperature=-1", "temperature: expected a finite number");
  refused("--temperature=nan", "temperature: expected a finite number");
  refused("--top-p=0", "top_p: expected a number above 0, up to 1, found 0");
  refused("--min-p=2", "min_p: expected a number from 0 to 1, found 2");
  refused("--repetition-penalty=0", "repetition_penalty: expected");
  refused("--stop-ids=1,x", "--stop-ids: expected numbers with commas");
  refused("--stop-ids=256", "expected stop tokens below 256, found 256");
  expectError(
      {"--prompt", "a", "--prompt", std::string(150, 'x'), "--max-tokens=52"},
      1, "needs a cache of 150 + 51 tokens");
}

TEST_F(MoeRun, Usage) {
  expectError({}, 2, "expected an input");
  expectError({"--text", "a", "other.so"}, 2, "expected one artifact, found 2");
  expectError({"--max-token", "2"}, 2, "did you mean '--max-tokens'?");
  expectError({"-t"}, 2, "options begin with '--'");
  expectError({"--text"}, 2, "expected STRING after it");
  expectError({"--text", "a", "--max-tokens", "0"}, 2, "expected at least 1");
  expectError({"--text", "a", "--max-tokens", "x"}, 2, "expected a number");
  expectError({"--text", "a", "--print", "all"}, 2,
              "expected none, top or logits");
  expectError({"--text", "a", "--tolerance", "1"}, 2, "needs --check");
  expectError({"--text", "a", "--check", "x", "--tolerance", "-1"}, 2,
              "not negative");
  for (const char *option :
       {"--stop-ids=1", "--temperature=1", "--top-k=1", "--top-p=1",
        "--min-p=0", "--seed=1", "--repetition-penalty=1", "--stream=1"})
    expectError({"--text", "a", option}, 2, "need --max-tokens");
  expectError({"--next", "--text", "a"}, 2, "'--next': expected inputs before");
  expectError({"--text", "a", "--next"}, 2, "expected an input");
  expectError({"--prompt", "a", "--prompt", "b", "--choices", "x"}, 2,
              "--choices: expected one prompt, found 2");
  expectError({"--prompt", "a", "--max-tokens=2", "--temperature=warm"}, 2,
              "expected a number, found 'warm'");
  expectError({"--text", "a", "--max-tokens", "1", "--choices", "x"}, 2,
              "exclude each other");
  expectError({"--text", "a", "--max-tokens", "1", "--replay-ids", "x"}, 2,
              "--replay-ids is for the inputs alone");
  expectError({"--text", "a", "--choices", "x", "--experts-per-token", "1"}, 2,
              "are not for choices");
  expectError({"--text", "a", "--threads", "0"}, 2, "expected at least 1");
  EXPECT_EQ(runTool(MOE_RUN, {"--help"}).exitCode, 0);
  const ScopedEnvironment environment("MOE_THREADS", "zero");
  expectError({"--text", "a"}, 1, "MOE_THREADS: expected 1 to 1024");
}

} // namespace
