//===- File.h - Files opened for reading, and mapped memory ---------------===//
#ifndef MOEC_RUNTIME_LIB_BASE_FILE_H
#define MOEC_RUNTIME_LIB_BASE_FILE_H

#include "runtime/lib/base/Error.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

namespace moe::rt {

/// A regular file opened for reading.
class File {
public:
  static absl::StatusOr<File> open(const std::string &path);
  File(File &&other) noexcept;
  File &operator=(File &&) = delete;
  ~File();

  uint64_t size() const { return bytes; }
  int descriptor() const { return fd; }
  const std::string &path() const { return name; }

  /// Reads exactly `count` bytes at `offset`.
  absl::Status read(uint64_t offset, void *into, uint64_t count) const;

private:
  File(std::string name, int fd, uint64_t bytes)
      : name(std::move(name)), fd(fd), bytes(bytes) {}

  std::string name;
  int fd;
  uint64_t bytes;
};

/// A read-only mapping of a whole file, guarded against the file being cut
/// short while it is mapped (MappingGuard).
class MappedFile {
public:
  static absl::StatusOr<std::unique_ptr<MappedFile>>
  map(const File &file, std::atomic<bool> *failed);
  MappedFile(const MappedFile &) = delete;
  ~MappedFile();

  const uint8_t *data() const { return static_cast<const uint8_t *>(base); }
  uint64_t size() const { return bytes; }

private:
  MappedFile(void *base, uint64_t bytes) : base(base), bytes(bytes) {}

  void *base;
  uint64_t bytes;
  struct GuardedRange *guard = nullptr;
};

/// Zeroed memory straight from the kernel: page-aligned, committed when first
/// touched, and able to grow without copying.
class Region {
public:
  Region() = default;
  Region(Region &&other) noexcept : base(other.base), bytes(other.bytes) {
    other.base = nullptr;
    other.bytes = 0;
  }
  Region &operator=(Region &&) = delete;
  ~Region();

  /// Makes room for `wanted` bytes; what it holds stays, its address may not.
  absl::Status grow(uint64_t wanted);

  uint8_t *data() const { return static_cast<uint8_t *>(base); }
  uint64_t size() const { return bytes; }

private:
  void *base = nullptr;
  uint64_t bytes = 0;
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_BASE_FILE_H
