//===- MutationTest.cpp - Models with something wrong ---------------------===//
//
// Damaged models and random trees are imported. What they say is of no
// interest; that the compiler lives, and says something where it gives no
// module, is.
//
//===----------------------------------------------------------------------===//

#include "../frontend/RandomTree.h"
#include "IRGenTestSupport.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"

#include <gtest/gtest.h>

#include <cctype>
#include <random>

using namespace moec;
using namespace moec::test;

namespace {

/// Length of the number at the start of `text`: 12, 2.5, 1e-6.
size_t numberLength(llvm::StringRef text) {
  auto digits = [&](size_t from) {
    return std::min(text.size(), text.find_first_not_of("0123456789", from));
  };
  size_t length = digits(0);
  if (length + 1 < text.size() && text[length] == '.' &&
      std::isdigit(static_cast<unsigned char>(text[length + 1])))
    length = digits(length + 1);
  if (text.substr(length).starts_with("e-"))
    length = digits(length + 2);
  else if (text.substr(length).starts_with("e"))
    length = digits(length + 1);
  return length;
}

/// Words, numbers, strings and signs of a text, comments left out.
std::vector<std::string> tokensOf(llvm::StringRef text) {
  std::vector<std::string> tokens;
  while (!(text = text.ltrim()).empty()) {
    size_t length = 1;
    if (text.starts_with("//")) {
      text = text.drop_until([](char c) { return c == '\n'; });
      continue;
    }
    if (text.front() == '"')
      length = text.find('"', 1) + 1;
    else if (text.starts_with(".."))
      length = 2;
    else if (std::isdigit(static_cast<unsigned char>(text.front())))
      length = numberLength(text);
    else if (std::isalnum(static_cast<unsigned char>(text.front())))
      length = std::min(text.size(), text.find_if_not([](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
      }));
    tokens.push_back(text.take_front(length).str());
    text = text.drop_front(std::min(length, text.size()));
  }
  return tokens;
}

/// Takes away, doubles, swaps or replaces a few tokens.
std::string damage(std::vector<std::string> tokens, std::mt19937 &random) {
  auto any = [&] { return random() % tokens.size(); };
  for (unsigned i = 0, n = 1 + random() % 3; i < n && !tokens.empty(); ++i) {
    size_t at = any();
    switch (random() % 4) {
    case 0:
      tokens.erase(tokens.begin() + at);
      break;
    case 1:
      tokens.insert(tokens.begin() + at, tokens[any()]);
      break;
    case 2:
      std::swap(tokens[at], tokens[any()]);
      break;
    default:
      tokens[at] = tokens[any()];
      break;
    }
  }
  std::string text;
  for (const std::string &token : tokens)
    text += token + (token == "." || token == ".." ? "" : " ");
  return text;
}

void importDamaged(llvm::StringRef path, unsigned times) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  ASSERT_TRUE(static_cast<bool>(buffer)) << path.str();
  std::vector<std::string> tokens = tokensOf((*buffer)->getBuffer());
  std::mt19937 random(7);
  for (unsigned i = 0; i < times; ++i) {
    std::string text = damage(tokens, random);
    Imported model;
    model.import(text);
    EXPECT_EQ(static_cast<bool>(model.module), !model.diagnostics.hasErrors())
        << text;
    for (const Diagnostic &d : model.diagnostics.all())
      EXPECT_NE(d.id, DiagId::E222) << d.message << '\n' << text;
  }
}

TEST(Mutation, DamagedModels) {
  for (const char *name :
       {"examples/fashion.moe", "irgen/attention.moe", "irgen/blocks.moe",
        "irgen/modality.moe", "irgen/ops.moe", "irgen/routing.moe"})
    importDamaged(std::string(MODELS_DIR "/") + name, 150);
}

TEST(Mutation, RandomTrees) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    Imported model;
    RandomTree tree(seed);
    model.file = tree.file();
    model.module = importModel(*model.file, model.diagnostics, model.context,
                               model.options);
    EXPECT_EQ(static_cast<bool>(model.module), !model.diagnostics.hasErrors());
    model.messages();
  }
}

} // namespace
