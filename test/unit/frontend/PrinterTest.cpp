//===- PrinterTest.cpp - The one text of a tree ---------------------------===//

#include "FrontendTestSupport.h"
#include "RandomTree.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

#include <gtest/gtest.h>

using namespace moec;
using namespace moec::ast;
using namespace moec::test;

namespace {

std::vector<std::string> exampleFiles() {
  std::vector<std::string> paths;
  std::error_code error;
  for (llvm::sys::fs::directory_iterator it(EXAMPLES_DIR, error), end;
       it != end && !error; it.increment(error))
    if (llvm::StringRef(it->path()).ends_with(".moe"))
      paths.push_back(it->path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

class Examples : public testing::TestWithParam<std::string> {};

TEST_P(Examples, ReadBackEqual) {
  auto buffer = llvm::MemoryBuffer::getFile(GetParam());
  ASSERT_TRUE(bool(buffer));
  Parsed original((*buffer)->getBuffer());
  ASSERT_TRUE(original.file) << original.messages();
  std::string text = printed(*original.file);
  Parsed again(text);
  ASSERT_TRUE(again.file) << again.messages();
  EXPECT_TRUE(structurallyEqual(*original.file, *again.file));
  EXPECT_EQ(printed(*again.file), text);
  llvm::SmallVector<llvm::StringRef> lines;
  llvm::StringRef(text).split(lines, '\n');
  for (llvm::StringRef line : lines)
    EXPECT_LE(line.size(), 80u) << line.str();
}

INSTANTIATE_TEST_SUITE_P(Printer, Examples, testing::ValuesIn(exampleFiles()),
                         [](const auto &info) {
                           return llvm::sys::path::stem(info.param).str();
                         });

TEST(Printer, AllExamplesAreThere) { EXPECT_EQ(exampleFiles().size(), 15u); }

TEST(Printer, RandomTreesReadBackEqual) {
  for (unsigned seed = 0; seed < 1500; ++seed) {
    std::unique_ptr<File> tree = RandomTree(seed).file();
    std::string text = printed(*tree);
    Parsed again(text);
    ASSERT_TRUE(again.file) << "seed " << seed << '\n'
                            << again.messages() << text;
    ASSERT_TRUE(structurallyEqual(*tree, *again.file))
        << "seed " << seed << '\n'
        << text << "printed again:\n"
        << printed(*again.file);
    ASSERT_EQ(printed(*again.file), text) << "seed " << seed;
  }
}

TEST(Printer, RandomExpressionsOnOneLineReadBackEqual) {
  for (unsigned seed = 0; seed < 1500; ++seed) {
    ExprPtr e = RandomTree(seed).expr(6);
    ExprPtr copy = clone(*e);
    ASSERT_TRUE(structurallyEqual(*e, *copy));
    std::string text = toString(*e);
    EXPECT_EQ(text.find('\n'), std::string::npos);
    Parsed again(asConst(text));
    ASSERT_TRUE(again.file) << again.messages() << text;
    ASSERT_TRUE(structurallyEqual(*e, constOf(*again.file))) << text;
  }
}

TEST(Printer, EqualitySeesDifferences) {
  // Two random trees are equal only by printing the same.
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::unique_ptr<File> a = RandomTree(seed).file();
    std::unique_ptr<File> b = RandomTree(seed + 1).file();
    EXPECT_EQ(structurallyEqual(*a, *b), printed(*a) == printed(*b));
  }
}

std::string canonical(llvm::StringRef expr) {
  Parsed parsed(asConst(expr));
  return parsed.file ? toString(constOf(*parsed.file)) : parsed.messages();
}

TEST(Printer, BracketsOnlyWherePrecedenceAsks) {
  EXPECT_EQ(canonical("((a)+(b*(c)))"), "a + b * c");
  EXPECT_EQ(canonical("a-(b-c)"), "a - (b - c)");
  EXPECT_EQ(canonical("(a+b).T"), "(a + b).T");
  EXPECT_EQ(canonical("(-a)[0]"), "(-a)[0]");
  EXPECT_EQ(canonical("-(a[0])"), "-a[0]");
  EXPECT_EQ(canonical("(for e in (0..3): e) + 1"), "(for e in 0..3: e) + 1");
  EXPECT_EQ(canonical("(a if b else c) if d else (e if f else g)"),
            "(a if b else c) if d else e if f else g");
  EXPECT_EQ(canonical("not (a == b)"), "not a == b");
  EXPECT_EQ(canonical("(not a) == b"), "(not a) == b");
  EXPECT_EQ(canonical("(0..3)..4"), "(0..3)..4");
  EXPECT_EQ(canonical("f(a,)"), "f(a)");
  EXPECT_EQ(canonical("by m{a:1,}"), "by m { a: 1 }");
  EXPECT_EQ(canonical("\"{{a}}{ e/8 }\""), "\"{{a}}{e / 8}\"");
}

TEST(Printer, Layout) {
  Parsed parsed("moe 1 model m use \"p\" as q dtype bf16\n"
                "modality t(ids:token[9])=embed(ids,\"e\",to=h)\n"
                "block b(x,i:index) at \"l.{i}.\" { when i==0 {} otherwise "
                "{ x = y } return x, x }\n"
                "entry e(s:seq(t[1..n],i?))=b(s,0) with cache(n),mask\n");
  ASSERT_TRUE(parsed.file) << parsed.messages();
  EXPECT_EQ(printed(*parsed.file), R"(moe 1
model m

use "p" as q
dtype bf16

modality t(ids: token[9]) = embed(ids, "e", to = h)

block b(x, i: index) at "l.{i}." {
  when i == 0 {
  } otherwise {
    x = y
  }
  return x, x
}

entry e(s: seq(t[1..n], i?)) = b(s, 0) with cache(n), mask
)");
}

} // namespace
