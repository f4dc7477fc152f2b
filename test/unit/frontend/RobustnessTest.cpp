//===- RobustnessTest.cpp - Any bytes as input ----------------------------===//

#include "FrontendTestSupport.h"

#include "frontend/weights/SafetensorsReader.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"

#include <gtest/gtest.h>

#include <random>

using namespace moec;
using namespace moec::test;

namespace {

std::string repeat(llvm::StringRef s, size_t n) {
  std::string result;
  result.reserve(s.size() * n);
  for (size_t i = 0; i < n; ++i)
    result += s;
  return result;
}

/// Parses, prints what it got, and parses that.
void exercise(llvm::StringRef text) {
  Parsed parsed(text);
  EXPECT_EQ(parsed.file == nullptr, parsed.diagnostics.hasErrors());
  EXPECT_LT(parsed.messages().size(), 40000u);
  if (!parsed.file)
    return;
  Parsed again(printed(*parsed.file));
  ASSERT_TRUE(again.file) << again.messages();
  EXPECT_TRUE(structurallyEqual(*parsed.file, *again.file));
}

TEST(Robustness, DeepNestingIsOneError) {
  constexpr size_t n = 100000;
  for (const std::string &text :
       {repeat("(", n), repeat("[", n), repeat("f(", n), repeat("-", n) + "a",
        repeat("not ", n) + "a", repeat("for e in a: ", n) + "a",
        repeat("by m { a: ", n), repeat("a[", n),
        repeat("(", n) + repeat(")", n), repeat("a if b else ", n) + "c",
        "a" + repeat("[0]", n), "a" + repeat(".b", n), "a" + repeat("()", n),
        "a" + repeat(" + a", n), "a" + repeat(" or a", n)}) {
    Parsed parsed(asConst(text));
    EXPECT_EQ(parsed.diagnostics.errorCount(), 1u) << text.substr(0, 10);
    EXPECT_EQ(parsed.diagnostics.all()[0].id, DiagId::E108);
    EXPECT_FALSE(parsed.file);
  }
}

TEST(Robustness, DeepBodiesAreOneError) {
  constexpr size_t n = 20000;
  for (const std::string &text :
       {repeat("when a { ", n) + repeat("} ", n),
        repeat("layers l in a carry b { ", n) + repeat("} ", n)}) {
    Parsed parsed(inBlock(text));
    EXPECT_EQ(parsed.diagnostics.all()[0].id, DiagId::E108);
    EXPECT_EQ(parsed.diagnostics.errorCount(), 1u) << parsed.messages();
  }
}

TEST(Robustness, LongButFlatIsFine) {
  constexpr size_t n = 20000;
  exercise(asConst("f(" + repeat("a = 1, ", n) + ")"));
  exercise(asConst("[" + repeat("1, ", n) + "]"));
  exercise(inBlock(repeat("x = x + 1\n", n)));
  exercise(inBlock("when a { } " + repeat("otherwise when b { y = 1 }\n", n)));
  exercise(asConst("\"" + repeat("{a}b", n) + "\""));
  exercise(asConst(repeat("1", 100 * n)));
  exercise(withHead(repeat("dtype f32\n", n)));
}

TEST(Robustness, NestedUpToTheLimitIsFine) {
  exercise(asConst(repeat("f(", 200) + "a" + repeat(")", 200)));
  exercise(asConst(repeat("-", 200) + "a"));
  exercise(asConst("a" + repeat(" + a * b", 400)));
  exercise(inBlock(repeat("when a { ", 200) + "y = 1 " + repeat("}", 200)));
}

TEST(Robustness, ClosingBracketsWithoutPartner) {
  constexpr size_t n = 200000;
  exercise(asConst("] " + repeat("( ", n) + repeat("] ", n)));
  exercise(inBlock("y = ) " + repeat("( [ ", n) + repeat("} ", n)));
  exercise(withHead(repeat("} ", n)));
}

TEST(Robustness, ManyErrorsStopAtTheLimit) {
  Parsed parsed(withHead(repeat("dim a\n", 100000)));
  EXPECT_EQ(parsed.diagnostics.errorCount(), 20u);
  EXPECT_TRUE(parsed.diagnostics.limitReached());
}

TEST(Robustness, ChangedExamples) {
  std::mt19937 random(7);
  static const char *const pieces[] = {
      "(",    ")",     "{",       "}",      "[",  "]",  ",",
      "=",    ":",     "\"",      "\n",     "..", "$",  "\xC3",
      "for ", "when ", "return ", "block ", "1e", "//", "if "};
  std::error_code error;
  for (llvm::sys::fs::directory_iterator it(EXAMPLES_DIR, error), end;
       it != end && !error; it.increment(error)) {
    auto buffer = llvm::MemoryBuffer::getFile(it->path());
    ASSERT_TRUE(bool(buffer));
    for (unsigned round = 0; round < 60; ++round) {
      std::string text = (*buffer)->getBuffer().str();
      for (unsigned edits = 1 + random() % 4; edits != 0; --edits) {
        size_t place = random() % text.size();
        switch (random() % 4) {
        case 0:
          text.erase(place, 1 + random() % 10);
          break;
        case 1:
          text.insert(place, pieces[random() % std::size(pieces)]);
          break;
        case 2:
          text[place] = static_cast<char>(random());
          break;
        default:
          text.resize(place + 1);
          break;
        }
      }
      exercise(text);
    }
  }
}

TEST(Robustness, RandomTokens) {
  std::mt19937 random(11);
  static const char *const tokens[] = {
      "moe",       "1",    "model", "x",   "block", "entry",  "dim",    "(",
      ")",         "{",    "}",     "[",   "]",     ",",      "=",      ":",
      "..",        "+",    "-",     "*",   "\"s\"", "for",    "in",     "if",
      "else",      "by",   "when",  "not", "at",    "return", "layers", "carry",
      "otherwise", "with", "?",     "|",   "==",    ".",      "\n",     "seq",
      "\"{a}\"",   "and",  "use"};
  for (unsigned round = 0; round < 3000; ++round) {
    std::string text =
        random() % 2 ? "moe 1 model m\n" : "moe 1 model m\nblock b(x) {\n";
    for (unsigned n = random() % 60; n != 0; --n)
      text += tokens[random() % std::size(tokens)] + std::string(" ");
    exercise(text);
  }
}

TEST(Robustness, ChangedTensorHeaders) {
  std::mt19937 random(13);
  std::string good =
      R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("\u00e9":{"dtype":"BF16","shape":[],"data_offsets":[24,26]},)"
      R"("__metadata__":{"k":"v"}})";
  unsigned accepted = 0;
  for (unsigned round = 0; round < 20000; ++round) {
    std::string json = good;
    for (unsigned edits = random() % 4; edits != 0; --edits) {
      size_t place = random() % json.size();
      switch (random() % 4) {
      case 0:
        json.erase(place, 1 + random() % 5);
        break;
      case 1:
        json.insert(place, 1, "{}[]\",:0\\u"[random() % 10]);
        break;
      case 2:
        json[place] = static_cast<char>(random());
        break;
      default:
        json.resize(place + 1);
        break;
      }
      if (json.empty())
        json = "{";
    }
    SourceManager sources;
    Diagnostics diagnostics(sources);
    auto header = parseSafetensorsHeader(json, 26, "f", diagnostics);
    EXPECT_EQ(header.has_value(), diagnostics.errorCount() == 0);
    accepted += header.has_value();
  }
  EXPECT_GT(accepted, 4000u) << "the unchanged ones at least";
}

} // namespace
