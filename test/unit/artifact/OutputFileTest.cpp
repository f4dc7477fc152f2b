//===- OutputFileTest.cpp - Files appear whole or not at all --------------===//

#include "compiler/artifact/OutputFile.h"

#include "ArtifactTestSupport.h"

#include "llvm/Support/xxhash.h"

#include <gtest/gtest.h>

#include <filesystem>

using namespace moec;
using namespace moec::test;

namespace {

std::string text(llvm::Error error) {
  return error ? llvm::toString(std::move(error)) : "";
}

OutputFile open(const std::string &path) {
  auto file = OutputFile::create(path);
  EXPECT_TRUE(static_cast<bool>(file));
  return std::move(*file);
}

std::string createError(const std::string &path) {
  auto file = OutputFile::create(path);
  return file ? "" : text(file.takeError());
}

TEST(OutputFile, AppearsOnCommit) {
  TemporaryFolder folder;
  std::string path = folder.file("out");
  OutputFile file = open(path);
  EXPECT_EQ(text(file.append("abc")), "");
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_EQ(text(file.commit()), "");
  EXPECT_EQ(readFile(path), "abc");
  EXPECT_EQ(folder.list(), std::vector<std::string>{"out"});
}

TEST(OutputFile, LeavesNothingBehind) {
  TemporaryFolder folder;
  std::string path = folder.file("out");
  writeFile(path, "old");
  {
    OutputFile file = open(path);
    EXPECT_EQ(text(file.append("new")), "");
  }
  EXPECT_EQ(readFile(path), "old");
  EXPECT_EQ(folder.list(), std::vector<std::string>{"out"});
}

TEST(OutputFile, ReplacesAndWritesAnywhere) {
  TemporaryFolder folder;
  std::string path = folder.file("out");
  writeFile(path, "a longer old text");
  OutputFile file = open(path);
  EXPECT_EQ(text(file.append("abc")), "");
  EXPECT_EQ(text(file.growTo(6)), "");
  EXPECT_EQ(text(file.writeAt(1, "X")), "");
  EXPECT_EQ(file.size(), 6u);
  EXPECT_EQ(text(file.commit()), "");
  EXPECT_EQ(readFile(path), std::string("aXc\0\0\0", 6));
}

TEST(OutputFile, ChecksumReadsBack) {
  TemporaryFolder folder;
  OutputFile file = open(folder.file("out"));
  std::string bytes(10000, 'x');
  bytes[5000] = 'y';
  EXPECT_EQ(text(file.append(bytes)), "");
  auto part = file.checksum(4097, 2000);
  ASSERT_TRUE(static_cast<bool>(part));
  EXPECT_EQ(*part,
            llvm::xxh3_64bits(llvm::StringRef(bytes).substr(4097, 2000)));
  auto none = file.checksum(10, 0);
  ASSERT_TRUE(static_cast<bool>(none));
  EXPECT_EQ(*none, llvm::xxh3_64bits(llvm::StringRef()));
}

TEST(OutputFile, KeepsSymbolicLinks) {
  TemporaryFolder folder;
  writeFile(folder.file("real"), "old");
  std::filesystem::create_symlink("real", folder.file("link"));
  OutputFile file = open(folder.file("link"));
  EXPECT_EQ(text(file.append("new")), "");
  EXPECT_EQ(text(file.commit()), "");
  EXPECT_TRUE(std::filesystem::is_symlink(folder.file("link")));
  EXPECT_EQ(readFile(folder.file("real")), "new");
}

TEST(OutputFile, NamesTheDestinationInErrors) {
  TemporaryFolder folder;
  writeFile(folder.file("file"), "");
  std::string below = folder.file("file/out");
  EXPECT_EQ(createError(below),
            "cannot write '" + below + "': Not a directory");
  std::string missing = folder.file("none/out");
  EXPECT_EQ(createError(missing),
            "cannot write '" + missing + "': No such file or directory");
  std::string self = folder.file("");
  EXPECT_EQ(createError(self), "cannot write '" + self + "': Is a directory");
}

TEST(OutputFile, FullDeviceIsAnErrorAndStays) {
  OutputFile file = open("/dev/full");
  EXPECT_EQ(text(file.append("abc")), "");
  EXPECT_EQ(text(file.commit()),
            "cannot write '/dev/full': No space left on device");
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/full"));
}

} // namespace
