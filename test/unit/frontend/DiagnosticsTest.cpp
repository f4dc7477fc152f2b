//===- DiagnosticsTest.cpp ------------------------------------------------===//

#include "FrontendTestSupport.h"

#include "frontend/SpellCheck.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

#include <gtest/gtest.h>

using namespace moec;

namespace {

class DiagnosticsTest : public testing::Test {
protected:
  SourceRange find(llvm::StringRef name, llvm::StringRef text,
                   llvm::StringRef needle) {
    FileId file = sources.addBuffer(name, text);
    uint32_t begin = static_cast<uint32_t>(text.find(needle));
    return {file, begin, begin + static_cast<uint32_t>(needle.size())};
  }
  std::string flush(bool colour = false) {
    std::string text;
    llvm::raw_string_ostream os(text);
    diagnostics.flush(os, colour);
    return text;
  }
  std::string counts() {
    std::string text;
    llvm::raw_string_ostream os(text);
    diagnostics.printCounts(os);
    return text;
  }

  SourceManager sources;
  Diagnostics diagnostics{sources};
};

TEST_F(DiagnosticsTest, FormOfAnError) {
  std::string text =
      std::string(19, '\n') +
      "    r = route(linear(f, \"gate.weight\", to = experts),\n";
  SourceRange place = find("mixtral.moe", text, "route");
  diagnostics.error(DiagId::E402, place, "route() lacks stage 'renorm'")
      .hint(place, "add 'renorm = none' or 'renorm = sum'");
  EXPECT_EQ(flush(),
            "mixtral.moe:20:9: error: route() lacks stage 'renorm' [E402]\n"
            "   20 |     r = route(linear(f, \"gate.weight\", to = experts),\n"
            "      |         ^~~~~\n"
            "mixtral.moe:20:9: note: add 'renorm = none' or 'renorm = sum'\n");
}

TEST_F(DiagnosticsTest, NotesInOtherFiles) {
  SourceRange place = find("a.moe", "x = \"w\"[e]\n", "\"w\"[e]");
  SourceRange dim = find("b.moe", "dim ffn = 2880\n", "ffn");
  diagnostics.warning(DiagId::E604, place, "wrong shape")
      .note(dim, "'ffn' is 2880 here")
      .fileNote("model-00001.safetensors", "tensor 'w' is [4]")
      .suggest(place, "v")
      .suggest(place, "");
  EXPECT_EQ(flush(), "a.moe:1:5: warning: wrong shape [E604]\n"
                     "    1 | x = \"w\"[e]\n"
                     "      |     ^~~~~~\n"
                     "b.moe:1:5: note: 'ffn' is 2880 here\n"
                     "    1 | dim ffn = 2880\n"
                     "      |     ^~~\n"
                     "model-00001.safetensors: note: tensor 'w' is [4]\n"
                     "a.moe:1:5: note: did you mean 'v'?\n");
}

TEST_F(DiagnosticsTest, PlacesWithoutText) {
  diagnostics.error(DiagId::E606, DiagnosticPlace::wholeFile("f.bin"), "no");
  diagnostics.remark(DiagId::E410, SourceRange(), "nothing");
  EXPECT_EQ(flush(), "f.bin: error: no [E606]\nmoec: remark: nothing [E410]\n");
  EXPECT_EQ(flush(), "") << "each message is printed once";
}

TEST_F(DiagnosticsTest, CountsAndRemarks) {
  diagnostics.setRemarks(false);
  diagnostics.error(DiagId::E201, SourceRange(), "a");
  diagnostics.warning(DiagId::E220, SourceRange(), "b");
  diagnostics.warning(DiagId::E220, SourceRange(), "c");
  diagnostics.remark(DiagId::E410, SourceRange(), "d");
  EXPECT_EQ(diagnostics.errorCount(), 1u);
  EXPECT_EQ(diagnostics.warningCount(), 2u);
  EXPECT_EQ(diagnostics.all().size(), 3u);
  EXPECT_EQ(counts(), "1 error, 2 warnings\n");
}

TEST_F(DiagnosticsTest, RepetitionsAreDropped) {
  SourceRange place = find("a.moe", "abc", "b");
  for (int layer = 0; layer < 3; ++layer)
    diagnostics.error(DiagId::E201, place, "unknown name 'b'")
        .hint(place, "in a layer");
  EXPECT_EQ(diagnostics.errorCount(), 1u);
  EXPECT_EQ(diagnostics.all()[0].notes.size(), 1u);
}

TEST_F(DiagnosticsTest, LimitOfErrors) {
  diagnostics.setErrorLimit(2);
  for (const char *text : {"a", "b", "c", "d"})
    diagnostics.error(DiagId::E201, SourceRange(), text);
  EXPECT_TRUE(diagnostics.limitReached());
  EXPECT_EQ(flush(), "moec: error: a [E201]\nmoec: error: b [E201]\n"
                     "moec: note: more than 2 errors; the others are not "
                     "shown\n");
  diagnostics.setErrorLimit(0);
  diagnostics.error(DiagId::E201, SourceRange(), "e");
  EXPECT_EQ(diagnostics.errorCount(), 3u);
}

TEST_F(DiagnosticsTest, ColourOnlyWhenAsked) {
  diagnostics.error(DiagId::E201, find("a.moe", "abc", "b"), "text");
  EXPECT_EQ(flush(/*colour=*/true),
            "\033[1ma.moe:1:2: \033[1;31merror: \033[0m\033[1mtext\033[0m "
            "[E201]\n    1 | abc\n      |  \033[1;32m^\033[0m\n");
}

TEST_F(DiagnosticsTest, UnprintableBytesAndTabs) {
  diagnostics.error(DiagId::E101, find("a.moe", "\t\x01\xC3\xA9\xFF =", "="),
                    "text");
  EXPECT_EQ(flush(), "a.moe:1:7: error: text [E101]\n"
                     "    1 |  <1>\xC3\xA9<FF> =\n"
                     "      |           ^\n");
}

TEST_F(DiagnosticsTest, LongLinesAreCut) {
  std::string text(10000, 'a');
  text += "XYZ" + std::string(10000, 'b');
  diagnostics.error(DiagId::E101, find("a.moe", text, "XYZ"), "text");
  std::string shown = flush();
  EXPECT_LT(shown.size(), 700u);
  size_t x = shown.find("XYZ"), caret = shown.find("^~~\n");
  ASSERT_NE(x, std::string::npos);
  ASSERT_NE(caret, std::string::npos);
  auto columnOf = [&](size_t i) { return i - shown.rfind('\n', i); };
  EXPECT_EQ(columnOf(x), columnOf(caret));
}

TEST_F(DiagnosticsTest, RangeOverSeveralLinesIsMarkedOnTheFirst) {
  diagnostics.error(DiagId::E101, find("a.moe", "x = f(a,\n  b)", "f(a,\n  b)"),
                    "text");
  EXPECT_EQ(flush(), "a.moe:1:5: error: text [E101]\n    1 | x = f(a,\n"
                     "      |     ^~~~\n");
}

TEST(DiagnosticIds, TableIsWellFormed) {
  llvm::StringSet<> names;
  DiagId previous = allDiagnostics().front();
  for (DiagId id : allDiagnostics()) {
    llvm::StringRef name = diagnosticName(id), text = diagnosticExplanation(id);
    EXPECT_TRUE(names.insert(name).second) << name.str();
    EXPECT_LE(diagnosticName(previous), name) << "ids are in order";
    EXPECT_TRUE(name.size() == 4 && name[0] == 'E') << name.str();
    EXPECT_GT(text.size(), diagnosticTitle(id).size()) << name.str();
    EXPECT_TRUE(text.ends_with(".")) << name.str();
    EXPECT_FALSE(diagnosticTitle(id).ends_with(".")) << name.str();
    EXPECT_EQ(findDiagnostic(name), id);
    EXPECT_EQ(findDiagnostic(name.lower()), id);
    previous = id;
  }
  for (char digit = '1'; digit <= '9'; ++digit)
    EXPECT_TRUE(
        llvm::any_of(allDiagnostics(),
                     [&](DiagId id) { return diagnosticName(id)[1] == digit; }))
        << "class " << digit;
  EXPECT_FALSE(findDiagnostic("E999"));
}

TEST(SourceManager, LinesAndColumns) {
  SourceManager sources;
  FileId file = sources.addBuffer("a", "ab\r\n\ncd");
  EXPECT_EQ(sources.lineColumn(file, 0).line, 1u);
  EXPECT_EQ(sources.lineColumn(file, 3).column, 4u);
  EXPECT_EQ(sources.lineColumn(file, 4).line, 2u);
  EXPECT_EQ(sources.lineColumn(file, 7).line, 3u);
  EXPECT_EQ(sources.lineColumn(file, 7).column, 3u);
  EXPECT_EQ(sources.lineText(file, 1), "ab");
  EXPECT_EQ(sources.lineText(file, 2), "");
  EXPECT_EQ(sources.lineText(file, 3), "cd");
  EXPECT_EQ(sources.lineText(file, 4), "");
}

TEST(SpellCheck, NearestName) {
  std::vector<llvm::StringRef> names = {"rms_norm", "layer_norm", "linear",
                                        "Linear2", "x"};
  EXPECT_EQ(closestName("rmsnorm", names), "rms_norm");
  EXPECT_EQ(closestName("lineer", names), "linear");
  EXPECT_EQ(closestName("linear2", names), "Linear2") << "case counts least";
  EXPECT_EQ(closestName("attention", names), "");
  EXPECT_EQ(closestName("y", names), "") << "one letter is no spelling";
  EXPECT_EQ(closestName("x", {"x"}), "") << "itself is no suggestion";
  EXPECT_EQ(closestName("", names), "");
}

} // namespace
