//===- MemoryFile.h - Bytes under a path, without a disk --------*- C++ -*-===//
#ifndef MOEC_TEST_FUZZ_MEMORYFILE_H
#define MOEC_TEST_FUZZ_MEMORYFILE_H

#include "test/fuzz/Require.h"

#include <cstddef>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

/// A file in memory, as long as the object lives.
class MemoryFile {
public:
  MemoryFile(const void *data, size_t size)
      : fd(memfd_create("fuzz", MFD_CLOEXEC)) {
    require(fd >= 0 && write(fd, data, size) == static_cast<ssize_t>(size),
            "a file in memory can be written");
  }
  MemoryFile(const MemoryFile &) = delete;
  ~MemoryFile() { close(fd); }

  std::string path() const { return "/proc/self/fd/" + std::to_string(fd); }

private:
  int fd;
};

#endif // MOEC_TEST_FUZZ_MEMORYFILE_H
