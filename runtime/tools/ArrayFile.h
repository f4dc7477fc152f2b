//===- ArrayFile.h - Arrays in IDX, npy and plain files -------------------===//
#ifndef MOEC_RUNTIME_TOOLS_ARRAYFILE_H
#define MOEC_RUNTIME_TOOLS_ARRAYFILE_H

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include <cstdint>
#include <string>
#include <vector>

namespace moe::tools {

/// Types that files may hold; those of moe_dtype and f64.
enum class ElementType { F32, BF16, F16, I8, U8, I32, F64 };
const char *elementTypeName(ElementType type);
size_t elementBytes(ElementType type);

/// Elements in row-major order and this machine's byte order.
struct Array {
  ElementType type = ElementType::U8;
  std::vector<uint64_t> shape;
  std::vector<uint8_t> bytes;

  uint64_t elements() const;
  std::string describe() const; // "u8 [28, 28]"
};

/// The whole contents of a file, unpacked if it is gzipped.
absl::StatusOr<std::vector<uint8_t>> readWholeFile(const std::string &path);

/// Whether the bytes begin like a file of this kind.
bool looksLikeNpy(const std::vector<uint8_t> &bytes);
/// IDX files have a weak magic, so their length must fit as well.
bool looksLikeIdx(const std::vector<uint8_t> &bytes);

absl::StatusOr<Array> parseNpy(const std::string &path,
                               const std::vector<uint8_t> &bytes);
absl::StatusOr<Array> parseIdx(const std::string &path,
                               const std::vector<uint8_t> &bytes);

/// Writes an array of 4-byte elements as .npy: into a temporary file that is
/// renamed, so that nobody ever sees half of it.
absl::Status writeNpy(const std::string &path, const float *data,
                      const std::vector<uint64_t> &shape);
absl::Status writeNpy(const std::string &path, const int32_t *data,
                      const std::vector<uint64_t> &shape);

} // namespace moe::tools

#endif // MOEC_RUNTIME_TOOLS_ARRAYFILE_H
