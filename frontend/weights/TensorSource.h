//===- TensorSource.h - Named tensors in files ------------------*- C++ -*-===//
//
// What the compiler knows of a checkpoint: names, element types, shapes, byte
// ranges, and the bytes themselves when the packer asks for them. A file is a
// TensorSource; the files of a model together are a TensorFiles, one name space
// per alias. Opening reads headers only: a checkpoint of hundreds of gigabytes
// opens in a fraction of a second.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_FRONTEND_WEIGHTS_TENSORSOURCE_H
#define MOEC_FRONTEND_WEIGHTS_TENSORSOURCE_H

#include "frontend/Diagnostics.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace moec {

/// Element types of stored tensors.
enum class DType : uint8_t {
  Bool,
  U8,
  I8,
  U16,
  I16,
  U32,
  I32,
  U64,
  I64,
  F16,
  BF16,
  F32,
  F64,
  C64,
  F8E4M3,
  F8E5M2,
  F8E8M0,
  F8E4M3FNUZ,
  F8E5M2FNUZ,
  F6E2M3,
  F6E3M2,
  F4
};

/// Bits of one element: 4, 6, 8, ... 64.
unsigned bitWidth(DType dtype);
/// The name in .moe files and messages: "bf16", "f8_e4m3".
const char *dtypeName(DType dtype);
/// The type of that name; upper case, as safetensors writes it, is taken too.
std::optional<DType> findDType(llvm::StringRef name);

/// A tensor of a file. `name` and `shape` live as long as their TensorSource.
struct TensorInfo {
  llvm::StringRef name;
  DType dtype = DType::F32;
  llvm::ArrayRef<int64_t> shape; ///< row-major, slowest first
  uint64_t begin = 0;            ///< bytes [begin, end) of the file
  uint64_t end = 0;

  uint64_t byteSize() const { return end - begin; }
  uint64_t elementCount() const;
};

/// "bf16 [32, 4096]"; the form in which messages describe a tensor.
std::string describe(const TensorInfo &tensor);
/// "[32, 4096]".
std::string describeShape(llvm::ArrayRef<int64_t> shape);

/// One tensor file. Immutable after opening; all members may be called from
/// several threads.
class TensorSource {
public:
  virtual ~TensorSource();

  /// As opened; what messages name.
  llvm::StringRef path() const { return filePath; }
  /// In the order of their bytes.
  llvm::ArrayRef<TensorInfo> tensors() const { return infos; }
  /// String to string, "" where the key is absent: `__metadata__` and the like.
  llvm::StringRef metadata(llvm::StringRef key) const;

  /// The bytes of a tensor of this file, mapped and read as they are touched.
  /// Not aligned. Fails where the file cannot be mapped or was cut since it was
  /// opened.
  virtual llvm::Expected<llvm::ArrayRef<uint8_t>>
  data(const TensorInfo &tensor) const = 0;

protected:
  explicit TensorSource(llvm::StringRef path) : filePath(path.str()) {}

  std::string filePath;
  std::vector<TensorInfo> infos;
  std::map<std::string, std::string> metadataEntries;
};

/// Opens a file of a kind seen from its content. Returns null and reports
/// errors with the file as their place; `user`, if known, is the `weights`
/// line that named it and gets a note.
std::unique_ptr<TensorSource> openTensorFile(llvm::StringRef path,
                                             SourceRange user,
                                             Diagnostics &diagnostics);

/// A tensor found by name.
struct FoundTensor {
  const TensorInfo *info = nullptr;
  const TensorSource *source = nullptr;

  explicit operator bool() const { return info != nullptr; }
};

/// The tensor files of a model. The alias of `weights "f"` is the empty name;
/// `weights v = "f"` adds to the name space "v". Within a name space a tensor
/// found twice is an error.
class TensorFiles {
public:
  /// Adds the file, or all files matching `*` in the last part of `pattern`, in
  /// the order of their names. A relative pattern starts at `directory`. False
  /// after reporting errors.
  bool add(llvm::StringRef alias, llvm::StringRef pattern,
           llvm::StringRef directory, SourceRange user,
           Diagnostics &diagnostics);

  /// Adds an opened source, for tests and for sources that are no files.
  bool add(llvm::StringRef alias, std::unique_ptr<TensorSource> source,
           SourceRange user, Diagnostics &diagnostics);

  bool empty() const { return sources.empty(); }
  bool hasAlias(llvm::StringRef alias) const;
  FoundTensor find(llvm::StringRef alias, llvm::StringRef name) const;
  /// The name in that name space nearest to `name`, empty if none is near.
  llvm::StringRef suggest(llvm::StringRef alias, llvm::StringRef name) const;

  /// Every tensor, by name space and within it in the order of files and bytes.
  void forEach(
      llvm::function_ref<void(llvm::StringRef alias, FoundTensor)> visit) const;
  size_t tensorCount() const;
  llvm::ArrayRef<std::unique_ptr<TensorSource>> files() const {
    return sources;
  }

private:
  struct NameSpace {
    std::vector<FoundTensor> order;
    llvm::StringMap<uint32_t> byName; ///< into `order`
  };
  std::vector<std::unique_ptr<TensorSource>> sources;
  std::map<std::string, NameSpace> nameSpaces;
};

} // namespace moec

#endif // MOEC_FRONTEND_WEIGHTS_TENSORSOURCE_H
