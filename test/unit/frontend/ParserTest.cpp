//===- ParserTest.cpp - Trees and recovery --------------------------------===//

#include "FrontendTestSupport.h"

#include <gtest/gtest.h>

using namespace moec;
using namespace moec::ast;
using namespace moec::test;
using llvm::cast;
using llvm::isa;

namespace {

/// Brackets round every operator: shows how an expression was understood.
std::string shapeOf(const Expr &e) {
  if (const auto *b = llvm::dyn_cast<BinaryExpr>(&e))
    return "(" + shapeOf(*b->lhs) + " " + spelling(b->op).str() + " " +
           shapeOf(*b->rhs) + ")";
  if (const auto *u = llvm::dyn_cast<UnaryExpr>(&e))
    return (u->op == UnaryOp::Not ? "(not " : "(-") + shapeOf(*u->operand) +
           ")";
  if (const auto *r = llvm::dyn_cast<RangeExpr>(&e))
    return "(" + shapeOf(*r->first) + ".." + shapeOf(*r->last) + ")";
  if (const auto *c = llvm::dyn_cast<ConditionalExpr>(&e))
    return "(" + shapeOf(*c->value) + " if " + shapeOf(*c->condition) +
           " else " + shapeOf(*c->otherwise) + ")";
  if (const auto *f = llvm::dyn_cast<FamilyExpr>(&e))
    return "(for " + f->variable.text + " in " + shapeOf(*f->domain) + ": " +
           shapeOf(*f->body) + ")";
  return toString(e);
}

std::string shape(llvm::StringRef text) {
  Parsed parsed(asConst(text));
  return parsed.file ? shapeOf(constOf(*parsed.file)) : parsed.messages();
}

TEST(Parser, Precedence) {
  EXPECT_EQ(shape("a + b * -c.T - d"), "((a + (b * (-c.T))) - d)");
  EXPECT_EQ(shape("a or b and not c == d"), "(a or (b and (not (c == d))))");
  EXPECT_EQ(shape("l - 1 in 0..n + 1"), "((l - 1) in (0..(n + 1)))");
  EXPECT_EQ(shape("a if b else c if d else e"),
            "(a if b else (c if d else e))");
  EXPECT_EQ(shape("for e in 0..4: a + e if c else d"),
            "(for e in (0..4): ((a + e) if c else d))");
  EXPECT_EQ(shape("a / b / c % d"), "(((a / b) / c) % d)");
  EXPECT_EQ(shape("not not a"), "(not (not a))");
}

TEST(Parser, AnyWordNamesAnArgument) {
  Parsed parsed(asConst("f(by = 2, for = 3, in = x, at = 1, for e in a: e)"));
  ASSERT_TRUE(parsed.file) << parsed.messages();
  const auto &call = cast<CallExpr>(constOf(*parsed.file));
  ASSERT_EQ(call.arguments.size(), 5u);
  EXPECT_EQ(call.arguments[1].name->text, "for");
  EXPECT_FALSE(call.arguments[4].name);
  EXPECT_TRUE(isa<FamilyExpr>(*call.arguments[4].value));
  EXPECT_EQ(call.findArgument("in"), &call.arguments[2]);
}

TEST(Parser, Slices) {
  Parsed parsed(asConst("\"w\"[e, :, 0::2, 1:, :n, ::3, 0:4:2]"));
  ASSERT_TRUE(parsed.file) << parsed.messages();
  const auto &index = cast<IndexExpr>(constOf(*parsed.file));
  ASSERT_EQ(index.subscripts.size(), 7u);
  EXPECT_FALSE(index.subscripts[0].isSlice);
  EXPECT_TRUE(index.subscripts[1].isSlice);
  EXPECT_FALSE(index.subscripts[1].begin || index.subscripts[1].end);
  EXPECT_TRUE(index.subscripts[2].begin && index.subscripts[2].step);
  EXPECT_FALSE(index.subscripts[2].end);
  EXPECT_TRUE(index.subscripts[5].step);
}

TEST(Parser, Placeholders) {
  Parsed parsed(asConst("\"a.{l - l % 2}.{{x}}{e}\""));
  ASSERT_TRUE(parsed.file) << parsed.messages();
  const auto &string = cast<StringExpr>(constOf(*parsed.file));
  ASSERT_EQ(string.parts.size(), 4u);
  EXPECT_EQ(string.parts[0].literal, "a.");
  EXPECT_EQ(shapeOf(*string.parts[1].placeholder), "(l - (l % 2))");
  EXPECT_EQ(string.parts[2].literal, ".{x}");
  EXPECT_EQ(parsed.sources.text(string.parts[3].range), "{e}");
}

TEST(Parser, NumbersKeepTheirSpelling) {
  Parsed parsed(asConst("99999999999999999999999999"));
  ASSERT_TRUE(parsed.file);
  const auto &number = cast<NumberExpr>(constOf(*parsed.file));
  EXPECT_EQ(number.spelling, "99999999999999999999999999");
  EXPECT_TRUE(number.isInteger());
  EXPECT_FALSE(number.asInteger());
  EXPECT_EQ(NumberExpr("12").asInteger(), 12);
  EXPECT_FALSE(NumberExpr("1e3").isInteger());
  EXPECT_EQ(NumberExpr("1e3").asReal(), 1000.0);
}

TEST(Parser, RangesOfNodes) {
  Parsed parsed(asConst("(a + b) * f(c, d = \"x\"[1].T)"));
  ASSERT_TRUE(parsed.file);
  const auto &product = cast<BinaryExpr>(constOf(*parsed.file));
  EXPECT_EQ(parsed.sources.text(product.lhs->range), "(a + b)");
  EXPECT_EQ(parsed.sources.text(product.rhs->range), "f(c, d = \"x\"[1].T)");
  EXPECT_EQ(parsed.sources.text(product.opRange), "*");
  const auto &call = cast<CallExpr>(*product.rhs);
  EXPECT_EQ(parsed.sources.text(call.arguments[1].range), "d = \"x\"[1].T");
}

TEST(Parser, WhenChainsAreFlat) {
  Parsed parsed(inBlock("when a { y = 1 } otherwise when b { } otherwise "
                        "{ when c { } }"));
  ASSERT_TRUE(parsed.file) << parsed.messages();
  const auto &block = cast<BlockItem>(*parsed.file->items[0]);
  const auto &when = cast<WhenStmt>(*block.body.at(0));
  EXPECT_EQ(when.arms.size(), 2u);
  ASSERT_TRUE(when.otherwise);
  EXPECT_EQ(when.otherwise->size(), 1u);
}

TEST(Parser, ItemWordsAreNames) {
  Parsed parsed(inBlock("block = dim\nentry, use = f(block)\nseq = any"));
  EXPECT_TRUE(parsed.file) << parsed.messages();
}

TEST(Parser, ItemWordsAreValuesUnlessTheyBeginAnItem) {
  Parsed parsed(withHead("dim a = 1\nconst c =\n  dim\nentry e(s) =\n  use"));
  EXPECT_TRUE(parsed.file) << parsed.messages();
  EXPECT_EQ(Parsed(withHead("const c =\ndim b = 2")).errors(), "E106 4:1");
}

TEST(Parser, Types) {
  Parsed parsed(withHead("entry e(s: seq(image?, any(text)[1..n], text), "
                         "i: index, p: u8[28, 28, 1], seq: seq) = f(s) "
                         "with cache(3), expert_mask, k(max = 8)"));
  ASSERT_TRUE(parsed.file) << parsed.messages();
  const auto &entry = cast<EntryItem>(*parsed.file->items[0]);
  ASSERT_EQ(entry.params.size(), 4u);
  const Type &layout = *entry.params[0].type;
  ASSERT_EQ(layout.segments.size(), 3u);
  EXPECT_TRUE(layout.segments[0].isOptional);
  EXPECT_TRUE(layout.segments[1].isAny);
  EXPECT_TRUE(layout.segments[1].count);
  EXPECT_FALSE(layout.segments[2].isAny);
  EXPECT_EQ(entry.params[2].type->dims.size(), 3u);
  EXPECT_EQ(entry.params[3].type->kind, TypeKind::Named);
  EXPECT_EQ(entry.options.size(), 3u);
}

//===----------------------------------------------------------------------===//
// Faults: one message each, and the rest is still parsed
//===----------------------------------------------------------------------===//

struct Fault {
  const char *text;
  const char *errors;
};

class ConstFaults : public testing::TestWithParam<Fault> {};

TEST_P(ConstFaults, AreReportedOnce) {
  Parsed parsed(asConst(GetParam().text) + "dtype bf16\n");
  EXPECT_EQ(parsed.errors(), GetParam().errors) << parsed.messages();
  EXPECT_FALSE(parsed.file);
}

INSTANTIATE_TEST_SUITE_P(
    Parser, ConstFaults,
    testing::Values(
        Fault{"", "E106 4:1"}, Fault{"a +", "E106 4:1"},
        Fault{"(a", "E107 4:1"}, Fault{"f(a, b", "E107 4:1"},
        Fault{"f(a b)", "E106 3:15"}, Fault{"[1, 2", "E107 4:1"},
        Fault{"a < b < c", "E116 3:17"}, Fault{"0..1..2", "E116 3:15"},
        Fault{"a in b == c", "E116 3:18"}, Fault{"a if b", "E106 4:1"},
        Fault{"for e 3", "E106 3:17"}, Fault{"a + for e in b: e", "E106 3:15"},
        Fault{"by m", "E106 4:1"}, Fault{"by m { }", "E106 3:18"},
        Fault{"by m { a }", "E106 3:20"}, Fault{"x[]", "E106 3:13"},
        Fault{"x.", "E106 4:1"}, Fault{"at", "E109 3:11"},
        Fault{"f(,)", "E106 3:13"}, Fault{"\"a{\"", "E105 3:13"},
        Fault{"\"a{}\"", "E105 3:13"}, Fault{"\"a{ }\"", "E105 3:13"},
        Fault{"\"a}\"", "E105 3:13"}, Fault{"\"{a{b}}\"", "E105 3:12"},
        Fault{"\"{a b}\"", "E106 3:15"}, Fault{"\"{a // b}\"", "E106 3:16"},
        Fault{"\"{f(a}\"", "E107 3:16"}, Fault{"\"{$}\"", "E101 3:13"},
        Fault{"\"abc", "E103 3:11"}, Fault{"1 2", "E106 3:13"},
        Fault{"a; b = 3", "E101 3:12"}, Fault{"a & b", "E101 3:13"}));

class ItemFaults : public testing::TestWithParam<Fault> {};

TEST_P(ItemFaults, AreReportedOnce) {
  Parsed parsed(withHead(GetParam().text));
  EXPECT_EQ(parsed.errors(), GetParam().errors) << parsed.messages();
}

INSTANTIATE_TEST_SUITE_P(
    Parser, ItemFaults,
    testing::Values(
        Fault{"foo 1\ndim a = 1", "E113 3:1"},
        Fault{"x = 1\ny = 2\ndim a = 1", "E113 3:1"},
        Fault{"}\ndim a = 1", "E106 3:1"}, Fault{"use acme", "E106 3:5"},
        Fault{"use \"a\" as 3", "E106 3:12"},
        Fault{"weights x \"f\"", "E106 3:11"},
        Fault{"storage \"x\" mx()", "E106 3:13"},
        Fault{"keep f32 \"x\"", "E106 3:10"}, Fault{"ignore x", "E106 3:8"},
        Fault{"ignore \"{l}\"", "E115 3:9"}, Fault{"stop_tokens", "E106 3:12"},
        Fault{"stop_tokens a", "E106 3:13"},
        Fault{"stop_tokens -1", "E106 3:13"},
        Fault{"stop_tokens 1,", "E106 3:15"},
        Fault{"block b(x) {\nstop_tokens 1", "E107 4:1"},
        Fault{"dtype 3", "E106 3:7"}, Fault{"dim a", "E106 3:6"},
        Fault{"dim a = 1,", "E106 3:11"}, Fault{"dim at = 1", "E109 3:5"},
        Fault{"switch a", "E106 3:9"}, Fault{"switch a = b |", "E106 3:15"},
        Fault{"modality t = 3", "E106 3:12"},
        Fault{"modality t(a: ) = 3", "E106 3:15"},
        Fault{"entry e(s: seq()) = 3", "E106 3:16"},
        Fault{"entry e(s: seq(t[)) = 3", "E106 3:18"},
        Fault{"entry e(s: seq(any())) = 3", "E106 3:20"},
        Fault{"entry e() = 3 with", "E106 3:19"},
        Fault{"block b(x {\n y = 1\n return x }\ndim a = 1", "E106 3:11"},
        Fault{"block b(x) at 3 {\n return x }", "E106 3:15"},
        Fault{"block b(x) {\n y = 1\n}\ndim a = 1", "E114 5:1"},
        Fault{"block b(x) {\n return x\ndim a = 1", "E107 5:1"},
        Fault{"block b(x) {\n y = 1\ndim a = 1", "E107 5:1"},
        Fault{"block b(x) {\n return x\n y = 3 }\ndim a = 1", "E106 5:2"},
        Fault{"block b(x) {\n y = (1\n}\ndim a = 1", "E107 5:1, E114 5:1"}));

class StatementFaults : public testing::TestWithParam<Fault> {};

TEST_P(StatementFaults, AreReportedOnce) {
  // The last line has a fault of its own, which must be found too.
  std::string text = inBlock(std::string(GetParam().text) + "\nz = (]");
  Parsed parsed(text);
  unsigned lines = 5;
  for (char c : llvm::StringRef(GetParam().text))
    lines += c == '\n';
  std::string expected =
      GetParam().errors + std::string(", E106 ") + std::to_string(lines) + ":6";
  EXPECT_EQ(parsed.errors(), expected) << parsed.messages();
}

INSTANTIATE_TEST_SUITE_P(
    Parser, StatementFaults,
    testing::Values(Fault{"y", "E106 5:1"}, Fault{"y + 1", "E106 4:3"},
                    Fault{"y, = 3", "E106 4:4"},
                    Fault{"y = f(a,\n  b = 3 c = 4)", "E106 5:9"},
                    Fault{"y = f(a, b", "E107 5:1"}, Fault{"y = )", "E106 4:5"},
                    Fault{"3 = y", "E106 4:1"}, Fault{"in = 3", "E109 4:1"},
                    Fault{"layers l 3 { y = 1 }", "E106 4:10"},
                    Fault{"layers l in 0..3 { y = 1 }", "E106 4:18"},
                    Fault{"layers l in 0..3 carry x { return x }", "E106 4:28"},
                    Fault{"when { y = 1 }", "E106 4:6"},
                    Fault{"when a == { y = 1 } otherwise { q = 1 }",
                          "E106 4:11"},
                    Fault{"when a { y = } otherwise { q = 1 }", "E106 4:14"},
                    Fault{"when a { y = 1 } otherwise y", "E106 4:28"},
                    Fault{"otherwise { y = 1 }", "E106 4:1"},
                    Fault{"$\ny = 1", "E101 4:1"}));

TEST(Parser, Heads) {
  EXPECT_EQ(Parsed("").errors(), "E110 1:1");
  EXPECT_EQ(Parsed("hello").errors(), "E110 1:1");
  EXPECT_EQ(Parsed("moe model m").errors(), "E110 1:5");
  EXPECT_EQ(Parsed("moe 2 model m").errors(), "E111 1:5");
  EXPECT_EQ(Parsed("moe 1.5 model m").errors(), "E111 1:5");
  EXPECT_EQ(Parsed("moe 1\ndim a = 1").errors(), "E110 2:1");
  EXPECT_EQ(Parsed("moe 1\nmodel 3\ndim a = 1").errors(), "E106 2:7");
  EXPECT_EQ(Parsed("moe 1 model m").errors(), "");
}

TEST(Parser, UnclosedBracketShowsItsOpening) {
  Parsed parsed(inBlock("y = f(a,\n      b\nz = 3"));
  EXPECT_EQ(parsed.messages(),
            "t.moe:6:1: error: expected ',' or ')', found name 'z' [E107]\n"
            "    6 | z = 3\n"
            "      | ^\n"
            "t.moe:4:6: note: to close this '('\n"
            "    4 | y = f(a,\n"
            "      |      ^\n");
}

TEST(Parser, MisspeltItemGetsASuggestion) {
  Parsed parsed(withHead("entri e(s) = f(s)\n"));
  EXPECT_NE(parsed.messages().find("did you mean 'entry'?"), std::string::npos)
      << parsed.messages();
}

TEST(Parser, UnreadableFile) {
  SourceManager sources;
  Diagnostics diagnostics(sources);
  EXPECT_FALSE(parseFile("/nonexistent/x.moe", sources, diagnostics));
  ASSERT_EQ(diagnostics.all().size(), 1u);
  EXPECT_EQ(diagnostics.all()[0].id, DiagId::E112);
}

} // namespace
