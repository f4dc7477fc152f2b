//===- ArtifactTestSupport.cpp - What artifact tests share ----------------===//

#include "ArtifactTestSupport.h"

#include "compiler/driver/Registration.h"
#include "test/lib/TemporaryFolder.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/raw_ostream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

using namespace moec::test;

TestContext::TestContext() {
  mlir::DialectRegistry registry;
  registerAllMoecDialects(registry);
  context.appendDialectRegistry(registry);
  context.loadAllAvailableDialects();
  context.printOpOnDiagnostic(false);
  context.getDiagEngine().registerHandler([this](mlir::Diagnostic &message) {
    errors += message.str() + "\n";
    for (mlir::Diagnostic &note : message.getNotes())
      errors += note.str() + "\n";
    return mlir::success();
  });
}

mlir::OwningOpRef<mlir::ModuleOp> TestContext::parse(llvm::StringRef text) {
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  EXPECT_TRUE(module) << errors;
  return module;
}

void MemorySource::add(llvm::StringRef name, moec::DType dtype,
                       std::vector<int64_t> shape,
                       llvm::ArrayRef<uint8_t> bytes) {
  // An odd start: the bytes of tensor files have no alignment.
  if (content.empty())
    content.push_back(0);
  TensorInfo info;
  info.name = names.emplace_back(name.str());
  info.dtype = dtype;
  info.shape = shapes.emplace_back(std::move(shape));
  info.begin = content.size();
  content.insert(content.end(), bytes.begin(), bytes.end());
  info.end = content.size();
  infos.push_back(info);
}

llvm::Expected<llvm::ArrayRef<uint8_t>>
MemorySource::data(const TensorInfo &tensor) const {
  return llvm::ArrayRef<uint8_t>(content).slice(tensor.begin,
                                                tensor.byteSize());
}

TemporaryFolder::TemporaryFolder() : path(makeTemporaryFolder()) {}

TemporaryFolder::~TemporaryFolder() { std::filesystem::remove_all(path); }

std::string TemporaryFolder::file(llvm::StringRef name) const {
  return path + "/" + name.str();
}

std::vector<std::string> TemporaryFolder::list() const {
  std::vector<std::string> names;
  for (const auto &entry : std::filesystem::directory_iterator(path))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::string moec::test::readFile(const std::string &path) {
  std::ifstream stream(path, std::ios::binary);
  EXPECT_TRUE(stream) << path;
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

void moec::test::writeFile(const std::string &path, llvm::StringRef text) {
  std::ofstream(path, std::ios::binary) << text.str();
}
