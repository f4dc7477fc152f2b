//===- TensorFilesTest.cpp - Name spaces and patterns ---------------------===//

#include "frontend/weights/NamePattern.h"
#include "frontend/weights/TensorSource.h"

#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <gtest/gtest.h>

using namespace moec;

namespace {

class TensorFilesTest : public testing::Test {
protected:
  void SetUp() override {
    llvm::SmallString<128> made;
    ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("tensor-files", made));
    folder = made.str().str();
  }
  void TearDown() override { llvm::sys::fs::remove_directories(folder); }

  /// A file with one u8 tensor of one byte for each name.
  void write(llvm::StringRef file, llvm::ArrayRef<llvm::StringRef> names) {
    std::string json;
    for (auto [i, name] : llvm::enumerate(names))
      json += ((i ? ",\"" : "{\"") + name +
               "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[" +
               llvm::Twine(i) + "," + llvm::Twine(i + 1) + "]}")
                  .str();
    json += "}";
    char length[8];
    llvm::support::endian::write64le(length, json.size());
    std::error_code error;
    llvm::raw_fd_ostream os(folder + "/" + file.str(), error);
    os << llvm::StringRef(length, 8) << json << std::string(names.size(), 'x');
  }
  bool add(llvm::StringRef alias, llvm::StringRef pattern) {
    return files.add(alias, pattern, folder, SourceRange(), diagnostics);
  }
  std::string messages() {
    std::string text;
    llvm::raw_string_ostream os(text);
    diagnostics.flush(os);
    // The folder differs from run to run.
    for (size_t i; (i = text.find(folder + "/")) != std::string::npos;)
      text.erase(i, folder.size() + 1);
    return text;
  }

  std::string folder;
  SourceManager sources;
  Diagnostics diagnostics{sources};
  TensorFiles files;
};

TEST_F(TensorFilesTest, ShardsAreOneNameSpaceInOrder) {
  write("model-00002-of-00002.safetensors", {"c"});
  write("model-00001-of-00002.safetensors", {"b", "a"});
  write("other.safetensors", {"d"});
  ASSERT_TRUE(add("", "model-*.safetensors")) << messages();
  EXPECT_EQ(files.files().size(), 2u);
  EXPECT_EQ(files.tensorCount(), 3u);
  std::string order;
  files.forEach([&](llvm::StringRef alias, FoundTensor tensor) {
    order += alias.str() + tensor.info->name.str();
  });
  EXPECT_EQ(order, "bac");
  FoundTensor c = files.find("", "c");
  ASSERT_TRUE(bool(c));
  EXPECT_EQ(llvm::sys::path::filename(c.source->path()),
            "model-00002-of-00002.safetensors");
  EXPECT_FALSE(bool(files.find("", "d")));
}

TEST_F(TensorFilesTest, Aliases) {
  write("a.safetensors", {"w"});
  write("b.safetensors", {"w", "visual.weight"});
  ASSERT_TRUE(add("", "a.safetensors") && add("v", "b.safetensors"));
  EXPECT_TRUE(files.hasAlias("v"));
  EXPECT_FALSE(files.hasAlias("x"));
  EXPECT_NE(files.find("", "w").source, files.find("v", "w").source);
  EXPECT_FALSE(bool(files.find("x", "w")));
  EXPECT_EQ(files.suggest("v", "visual.weigth"), "visual.weight");
  EXPECT_EQ(files.suggest("", "visual.weigth"), "");
  EXPECT_EQ(files.suggest("x", "w"), "");
}

TEST_F(TensorFilesTest, TensorFoundTwice) {
  write("a.safetensors", {"w"});
  write("b.safetensors", {"w"});
  EXPECT_FALSE(add("", "*.safetensors"));
  EXPECT_EQ(messages(),
            "b.safetensors: error: expected each tensor once, found 'w' a "
            "second time [E603]\n"
            "a.safetensors: note: it is also here, as u8 [1]\n");
}

TEST_F(TensorFilesTest, PatternWithoutFile) {
  EXPECT_FALSE(add("", "model-*.safetensors"));
  EXPECT_EQ(messages(), "moec: error: expected files matching "
                        "'model-*.safetensors', found none [E605]\n");
}

TEST_F(TensorFilesTest, MissingFileNamesItsLine) {
  FileId file = sources.addBuffer("m.moe", "weights \"a\"\n");
  EXPECT_FALSE(
      files.add("", "a", folder, SourceRange{file, 8, 11}, diagnostics));
  EXPECT_EQ(messages(),
            "a: error: cannot open the file: No such file or directory [E611]\n"
            "m.moe:1:9: note: the file is named here\n"
            "    1 | weights \"a\"\n"
            "      |         ^~~\n");
}

TEST(NamePattern, Match) {
  using Found = std::optional<llvm::SmallVector<llvm::StringRef, 2>>;
  EXPECT_EQ(matchPattern("a", "a"), Found(std::in_place));
  EXPECT_EQ(matchPattern("a", "b"), std::nullopt);
  EXPECT_EQ(matchPattern("*.weight", "l.0.weight"), Found({{"l.0"}}));
  EXPECT_EQ(matchPattern("*.weight", "l.0.weights"), std::nullopt);
  EXPECT_EQ(matchPattern("a*b*c", "aXbYbZc"), Found({{"X", "YbZ"}}));
  EXPECT_EQ(matchPattern("*", ""), Found({{""}}));
  EXPECT_EQ(matchPattern("**", "ab"), Found({{"", "ab"}}));
  EXPECT_EQ(matchPattern("ab*ba", "aba"), std::nullopt);
  EXPECT_EQ(matchPattern("*.a.*", "x.a.a.y"), Found({{"x", "a.y"}}));
}

TEST(NamePattern, Substitute) {
  EXPECT_EQ(substitutePattern("*.scale", {"l.0"}), "l.0.scale");
  EXPECT_EQ(substitutePattern("x", {}), "x");
  EXPECT_EQ(substitutePattern("*-*", {"a", "b"}), "a-b");
  EXPECT_EQ(substitutePattern("*-*", {"a"}), std::nullopt);
}

} // namespace
