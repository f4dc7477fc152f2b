//===- Checkpoint.h - The tensors of a folder -------------------*- C++ -*-===//
#ifndef MOEC_FRONTEND_IMPORTERS_CHECKPOINT_H
#define MOEC_FRONTEND_IMPORTERS_CHECKPOINT_H

#include "frontend/importers/Json.h"
#include "frontend/weights/TensorSource.h"

namespace moec::importers {

/// The tensor files of a checkpoint folder: headers only, no numbers are read.
class Checkpoint {
public:
  /// Opens model.safetensors, or what model.safetensors.index.json names, and
  /// checks that the index and the files agree. False after reporting errors.
  bool open(llvm::StringRef folder, SourceManager &sources,
            Diagnostics &diagnostics);

  llvm::StringRef folder() const { return path; }
  /// Of `weights` items, relative to the folder.
  llvm::ArrayRef<std::string> patterns() const { return filePatterns; }

  bool has(llvm::StringRef name) const {
    return static_cast<bool>(files.find("", name));
  }
  FoundTensor find(llvm::StringRef name) const { return files.find("", name); }
  /// The shape of a tensor, empty if there is none of that name.
  llvm::ArrayRef<int64_t> shape(llvm::StringRef name) const;
  /// Whether a name begins or ends so.
  bool hasPrefix(llvm::StringRef prefix) const;
  bool hasSuffix(llvm::StringRef suffix) const;
  void forEach(llvm::function_ref<void(const TensorInfo &)> visit) const;

private:
  bool openIndex(llvm::StringRef indexPath, SourceManager &sources,
                 Diagnostics &diagnostics);
  bool checkIndex(const JsonValue &map, Diagnostics &diagnostics);
  void choosePatterns(llvm::ArrayRef<std::string> names);

  std::string path;
  TensorFiles files;
  std::vector<std::string> filePatterns;
};

} // namespace moec::importers

#endif // MOEC_FRONTEND_IMPORTERS_CHECKPOINT_H
