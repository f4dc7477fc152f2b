//===- SafetensorsReader.h - Tensor files of that format --------*- C++ -*-===//
//
// An 8-byte little-endian length N, N bytes of a JSON object that gives each
// tensor's dtype, shape and data_offsets, then the data. Everything is checked
// before a tensor is handed out, since checkpoints come from the network: see
// docs/language.md, "Tensor files", for the list.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_FRONTEND_WEIGHTS_SAFETENSORSREADER_H
#define MOEC_FRONTEND_WEIGHTS_SAFETENSORSREADER_H

#include "frontend/weights/TensorSource.h"

namespace moec {

/// The checked content of a header. Offsets count from the start of the data.
struct SafetensorsHeader {
  struct Entry {
    std::string name;
    DType dtype = DType::F32;
    std::vector<int64_t> shape;
    uint64_t begin = 0;
    uint64_t end = 0;
  };
  std::vector<Entry> entries; ///< in the order of their bytes
  std::map<std::string, std::string> metadata;
};

/// Longest header the format allows.
constexpr uint64_t maxSafetensorsHeader = 100000000;

/// Checks the JSON of a header against `dataBytes`, the bytes after it. Any
/// input is fine; the first fault is reported at `path` and ends the reading.
std::optional<SafetensorsHeader>
parseSafetensorsHeader(llvm::StringRef json, uint64_t dataBytes,
                       llvm::StringRef path, Diagnostics &diagnostics);

/// True if the first bytes of a file can be those of a safetensors file.
bool looksLikeSafetensors(llvm::StringRef firstBytes);

/// Opens a file; null after reporting an error at it.
std::unique_ptr<TensorSource> openSafetensors(llvm::StringRef path,
                                              Diagnostics &diagnostics);

} // namespace moec

#endif // MOEC_FRONTEND_WEIGHTS_SAFETENSORSREADER_H
