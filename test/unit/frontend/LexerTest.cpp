//===- LexerTest.cpp ------------------------------------------------------===//

#include "FrontendTestSupport.h"

#include "frontend/Lexer.h"

#include <gtest/gtest.h>

using namespace moec;
using namespace moec::test;

namespace {

std::vector<TokenKind> kindsOf(llvm::StringRef text,
                               std::string *errors = nullptr) {
  SourceManager sources;
  Diagnostics diagnostics(sources);
  FileId file = sources.addBuffer("t.moe", text);
  Lexer lexer(sources, file, 0, static_cast<uint32_t>(text.size()), diagnostics,
              /*placeholder=*/false);
  std::vector<TokenKind> kinds;
  for (Token t = lexer.next(); !t.is(TokenKind::EndOfInput); t = lexer.next())
    kinds.push_back(t.kind);
  if (errors)
    for (const Diagnostic &d : diagnostics.all())
      *errors += diagnosticName(d.id).str();
  return kinds;
}

using K = TokenKind;
using Kinds = std::vector<K>;

TEST(Lexer, SplitsSigns) {
  EXPECT_EQ(kindsOf("a..b ... <= >= < > == = != ? |"),
            (Kinds{K::Name, K::DotDot, K::Name, K::DotDot, K::Dot, K::LessEqual,
                   K::GreaterEqual, K::Less, K::Greater, K::EqualEqual,
                   K::Assign, K::NotEqual, K::Question, K::Pipe}));
}

TEST(Lexer, NumberBeforeRange) {
  EXPECT_EQ(kindsOf("0..8"), (Kinds{K::Number, K::DotDot, K::Number}));
  EXPECT_EQ(kindsOf("1.5..2"), (Kinds{K::Number, K::DotDot, K::Number}));
}

TEST(Lexer, NumberBeforeMember) {
  EXPECT_EQ(kindsOf("1.T"), (Kinds{K::Number, K::Dot, K::Name}));
}

TEST(Lexer, Exponents) {
  for (const char *good : {"1e5", "1E5", "1e-5", "1e+5", "2.5e10"}) {
    std::string errors;
    EXPECT_EQ(kindsOf(good, &errors), Kinds{K::Number}) << good;
    EXPECT_EQ(errors, "") << good;
  }
}

TEST(Lexer, MalformedNumbersAreOneTokenAndOneError) {
  for (const char *bad : {"12px", "1e", "1e+", "2.", ".5", "0x10", "1_000"}) {
    std::string errors;
    std::vector<TokenKind> kinds = kindsOf(bad, &errors);
    EXPECT_EQ(errors, "E104") << bad;
    EXPECT_EQ(kinds.front(), K::Number) << bad;
  }
}

TEST(Lexer, CommentsEndWithTheLine) {
  EXPECT_EQ(kindsOf("a // b \" {\nc // d"), (Kinds{K::Name, K::Name}));
}

TEST(Lexer, StringsStayOnTheirLine) {
  std::string errors;
  EXPECT_EQ(kindsOf("\"a // b\" x \"c\nd", &errors),
            (Kinds{K::String, K::Name, K::Invalid, K::Name}));
  EXPECT_EQ(errors, "E103");
}

TEST(Lexer, ReservedWords) {
  EXPECT_EQ(kindsOf("layers when otherwise return carry at if else and or not "
                    "in for by with block"),
            (Kinds{K::KwLayers, K::KwWhen, K::KwOtherwise, K::KwReturn,
                   K::KwCarry, K::KwAt, K::KwIf, K::KwElse, K::KwAnd, K::KwOr,
                   K::KwNot, K::KwIn, K::KwFor, K::KwBy, K::KwWith, K::Name}));
}

TEST(Lexer, StrangeCharactersInARowAreOneError) {
  std::string errors;
  EXPECT_EQ(kindsOf("a $@;; b", &errors),
            (Kinds{K::Name, K::Invalid, K::Name}));
  EXPECT_EQ(errors, "E101");
}

TEST(Lexer, ByteOrderMarkIsSkipped) {
  EXPECT_EQ(kindsOf("\xEF\xBB\xBFmoe"), Kinds{K::Name});
}

TEST(Lexer, FormFeedIsReported) {
  std::string errors;
  kindsOf("a \f b", &errors);
  EXPECT_EQ(errors, "E101");
}

TEST(Encoding, OneErrorForABinaryFile) {
  EXPECT_EQ(Parsed("moe 1\nmodel m\n// \xff\xfe\x80").errors(), "E102 3:4");
  EXPECT_EQ(Parsed(llvm::StringRef("moe 1\n\0\0", 8)).errors(), "E102 2:1");
}

} // namespace
