//===- OutputFile.h - A file that appears whole or not at all ---*- C++ -*-===//
//
// What is written goes to a temporary file beside the destination, which is
// synchronised and renamed into place by commit(). Until then, and after any
// failure, an old file at the destination is untouched and nothing else is
// left behind, not even when the process is interrupted. A destination that is
// no regular file (/dev/stdout, a pipe) cannot be replaced; it receives the
// bytes in commit().
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_ARTIFACT_OUTPUTFILE_H
#define MOEC_COMPILER_ARTIFACT_OUTPUTFILE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <string>

namespace moec {

/// Owns the temporary file. Errors name the destination and give the system's
/// reason. Not thread-safe.
class OutputFile {
public:
  /// Whether the file is code: shared libraries get the permission to execute.
  enum class Kind { Data, Code };

  static llvm::Expected<OutputFile> create(llvm::StringRef path,
                                           Kind kind = Kind::Data);
  OutputFile(OutputFile &&other);
  OutputFile &operator=(OutputFile &&) = delete;
  /// Removes the temporary file unless it was committed.
  ~OutputFile();

  /// The destination as given to create().
  llvm::StringRef path() const { return destination; }
  /// Bytes up to the last one written.
  uint64_t size() const { return end; }

  /// Writes at the end, or at `offset`; a gap reads as zeros.
  llvm::Error append(llvm::StringRef bytes) { return writeAt(end, bytes); }
  llvm::Error writeAt(uint64_t offset, llvm::StringRef bytes);
  /// Grows the file to `size` with zeros.
  llvm::Error growTo(uint64_t size);
  /// XXH3-64 of `bytes` bytes from `offset`, read back from the file.
  llvm::Expected<uint64_t> checksum(uint64_t offset, uint64_t bytes) const;

  /// Puts the file in its place. The object is of no use afterwards.
  llvm::Error commit();
  /// The same under a name in the same folder that was not known at first.
  llvm::Error commitAs(llvm::StringRef path);

private:
  OutputFile() = default;
  /// Sets the destination and what is behind it.
  llvm::Error resolve(llvm::StringRef path);
  llvm::Error failure(std::error_code code) const;
  llvm::Error copyToDestination();
  void discard();

  std::string destination; ///< as given
  std::string target;      ///< the same behind symbolic links
  std::string temporary;   ///< empty: nothing to remove
  bool special = false;    ///< target is a device or a pipe
  int fd = -1;
  uint64_t end = 0;
};

} // namespace moec

#endif // MOEC_COMPILER_ARTIFACT_OUTPUTFILE_H
