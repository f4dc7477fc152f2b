//===- ArtifactTestSupport.h - What artifact tests share --------*- C++ -*-===//
#ifndef MOEC_TEST_UNIT_ARTIFACT_ARTIFACTTESTSUPPORT_H
#define MOEC_TEST_UNIT_ARTIFACT_ARTIFACTTESTSUPPORT_H

#include "compiler/artifact/WeightPacker.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"

#include <string>
#include <vector>

namespace moec::test {

/// A context with our dialects that collects the errors it is given.
class TestContext {
public:
  TestContext();
  /// The module of a text; fails the test where it does not parse.
  mlir::OwningOpRef<mlir::ModuleOp> parse(llvm::StringRef text);

  mlir::MLIRContext context;
  /// Messages with their notes, one per line.
  std::string errors;
};

/// A tensor file in memory.
class MemorySource : public TensorSource {
public:
  MemorySource() : TensorSource("memory") {}
  void add(llvm::StringRef name, DType dtype, std::vector<int64_t> shape,
           llvm::ArrayRef<uint8_t> bytes);
  template <typename T>
  void add(llvm::StringRef name, DType dtype, std::vector<int64_t> shape,
           const std::vector<T> &elements) {
    add(name, dtype, std::move(shape),
        llvm::ArrayRef<uint8_t>(
            reinterpret_cast<const uint8_t *>(elements.data()),
            elements.size() * sizeof(T)));
  }
  llvm::Expected<llvm::ArrayRef<uint8_t>>
  data(const TensorInfo &tensor) const override;

private:
  std::deque<std::string> names;
  std::deque<std::vector<int64_t>> shapes;
  std::vector<uint8_t> content;
};

/// A folder that is removed with what is in it.
class TemporaryFolder {
public:
  TemporaryFolder();
  ~TemporaryFolder();
  std::string file(llvm::StringRef name) const;
  /// Names of everything in it, sorted.
  std::vector<std::string> list() const;

private:
  std::string path;
};

std::string readFile(const std::string &path);
void writeFile(const std::string &path, llvm::StringRef text);

} // namespace moec::test

#endif // MOEC_TEST_UNIT_ARTIFACT_ARTIFACTTESTSUPPORT_H
