//===- SourceManager.h - Texts and places in them ---------------*- C++ -*-===//
//
// Owns the texts a compilation reads and turns byte offsets into lines and
// columns. A place is a SourceRange: a file number and two byte offsets; it is
// 12 bytes, is copied freely and says nothing without its SourceManager.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_FRONTEND_SOURCEMANAGER_H
#define MOEC_FRONTEND_SOURCEMANAGER_H

#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace moec {

/// Number of a text within its SourceManager. Zero means "no text".
using FileId = uint32_t;

/// The bytes [begin, end) of one text. A default-constructed range is unknown:
/// nodes of an AST that an importer built carry it, and diagnostics there are
/// printed without a place.
struct SourceRange {
  FileId file = 0;
  uint32_t begin = 0;
  uint32_t end = 0;

  bool isValid() const { return file != 0; }

  /// From the first byte of `first` to the last byte of `last`. Unknown ranges
  /// are ignored, and ranges of different files give the first one.
  static SourceRange join(SourceRange first, SourceRange last);

  friend bool operator==(SourceRange a, SourceRange b) {
    return a.file == b.file && a.begin == b.begin && a.end == b.end;
  }
  friend bool operator!=(SourceRange a, SourceRange b) { return !(a == b); }
};

/// Line and column count from 1; the column counts bytes, as clang's does.
struct LineColumn {
  unsigned line = 0;
  unsigned column = 0;
};

/// Texts by number. A text never changes and lives as long as the manager, so
/// that StringRefs into it stay valid.
class SourceManager {
public:
  /// Longest text taken. A model file is a few thousand lines; the limit keeps
  /// offsets in 32 bits and turns a tensor file given by mistake into an error.
  static constexpr uint64_t maxBytes = uint64_t(64) << 20;

  SourceManager();
  ~SourceManager();
  SourceManager(const SourceManager &) = delete;
  SourceManager &operator=(const SourceManager &) = delete;

  /// Copies `text`, which must not be longer than maxBytes.
  FileId addBuffer(llvm::StringRef name, llvm::StringRef text);

  /// Reads a file, or standard input for "-". On failure returns nothing and
  /// puts the reason into `error`.
  std::optional<FileId> addFile(llvm::StringRef path, std::string &error);

  /// Name the text was added under: what diagnostics print.
  llvm::StringRef name(FileId file) const;
  llvm::StringRef text(FileId file) const;
  llvm::StringRef text(SourceRange range) const;

  LineColumn lineColumn(FileId file, uint32_t offset) const;
  LineColumn lineColumn(SourceRange range) const {
    return lineColumn(range.file, range.begin);
  }

  /// A line without its end-of-line bytes; `line` counts from 1.
  llvm::StringRef lineText(FileId file, unsigned line) const;

private:
  struct Buffer;
  const Buffer &buffer(FileId file) const;
  std::vector<std::unique_ptr<Buffer>> buffers;
};

} // namespace moec

#endif // MOEC_FRONTEND_SOURCEMANAGER_H
