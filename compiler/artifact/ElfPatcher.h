//===- ElfPatcher.h - Reading and patching a linked library -----*- C++ -*-===//
//
// Weights never pass through the object file or the linker. The object reserves
// their addresses with a zero-initialised section `.lbss`, which takes no room
// in the file; after the link its program header is changed so that the dynamic
// loader maps bytes appended to the file there instead (docs/artifact.md, "The
// weight segment").
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_ARTIFACT_ELFPATCHER_H
#define MOEC_COMPILER_ARTIFACT_ELFPATCHER_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace moec {

/// Page size of x86-64: the alignment of a mapped segment in the file.
constexpr uint64_t elfPageBytes = 4096;

/// A dummy note: its program header becomes that of the weights.
constexpr llvm::StringLiteral noteSection = ".note.moe";

/// A linked shared library in memory. Errors are internal ones: the library
/// comes from our own link.
class ElfPatcher {
public:
  /// Works on `bytes`, which must outlive it.
  explicit ElfPatcher(llvm::MutableArrayRef<char> bytes) : bytes(bytes) {}

  /// Offset and size of a section in the file.
  struct Extent {
    uint64_t offset;
    uint64_t bytes;
  };
  llvm::Expected<Extent> findSection(llvm::StringRef name) const;

  /// Names of dynamic symbols: those exported, or those left to the process.
  llvm::Expected<std::vector<std::string>> exportedSymbols() const;
  llvm::Expected<std::vector<std::string>> undefinedSymbols() const;

  /// Makes the reserved addresses map `segmentBytes` bytes of the file from
  /// the returned offset, which is the first page boundary behind the library.
  llvm::Expected<uint64_t> mapWeights(uint64_t segmentBytes);

private:
  llvm::Expected<std::vector<std::string>> dynamicSymbols(bool defined) const;

  llvm::MutableArrayRef<char> bytes;
};

} // namespace moec

#endif // MOEC_COMPILER_ARTIFACT_ELFPATCHER_H
