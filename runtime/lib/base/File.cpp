//===- File.cpp - Files opened for reading, and mapped memory -------------===//

#include "runtime/lib/base/File.h"

#include "runtime/lib/base/MappingGuard.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace moe::rt;

absl::StatusOr<File> File::open(const std::string &path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    const std::string reason = std::strerror(errno);
    if (errno == ENOENT || errno == ENOTDIR)
      return notFound("cannot open '", path, "': ", reason);
    return systemError("cannot open '", path, "': ", reason);
  }
  File file(path, fd, 0);
  struct stat info;
  if (fstat(fd, &info) != 0)
    return systemError("cannot examine '", path, "': ", std::strerror(errno));
  if (!S_ISREG(info.st_mode))
    return badArtifact("'", path, "': expected a regular file");
  file.bytes = static_cast<uint64_t>(info.st_size);
  return file;
}

File::File(File &&other) noexcept
    : name(std::move(other.name)), fd(other.fd), bytes(other.bytes) {
  other.fd = -1;
}

File::~File() {
  if (fd >= 0)
    close(fd);
}

absl::Status File::read(uint64_t offset, void *into, uint64_t count) const {
  auto *cursor = static_cast<uint8_t *>(into);
  while (count > 0) {
    const ssize_t got = pread(fd, cursor, count, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return systemError("cannot read '", name, "': ", std::strerror(errno));
    if (got == 0)
      return badArtifact("'", name, "' became shorter while it was read");
    cursor += got;
    offset += static_cast<uint64_t>(got);
    count -= static_cast<uint64_t>(got);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<MappedFile>>
MappedFile::map(const File &file, std::atomic<bool> *failed) {
  if (file.size() == 0)
    return std::unique_ptr<MappedFile>(new MappedFile(nullptr, 0));
  void *base =
      mmap(nullptr, file.size(), PROT_READ, MAP_PRIVATE, file.descriptor(), 0);
  if (base == MAP_FAILED)
    return systemError("cannot map '", file.path(),
                       "': ", std::strerror(errno));
  std::unique_ptr<MappedFile> mapped(new MappedFile(base, file.size()));
  mapped->guard = guardMapping(base, file.size(), failed);
  return mapped;
}

MappedFile::~MappedFile() {
  if (!base)
    return;
  releaseMapping(guard);
  munmap(base, bytes);
}

Region::~Region() {
  if (base)
    munmap(base, bytes);
}

absl::Status Region::grow(uint64_t wanted) {
  if (wanted <= bytes)
    return absl::OkStatus();
  constexpr uint64_t kPage = 4096;
  if (wanted > UINT64_MAX - kPage)
    throw std::bad_alloc();
  wanted = (wanted + kPage - 1) / kPage * kPage;
  void *grown = base ? mremap(base, bytes, wanted, MREMAP_MAYMOVE)
                     : mmap(nullptr, wanted, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (grown == MAP_FAILED) {
    if (errno == ENOMEM)
      throw std::bad_alloc();
    return systemError("cannot map ", wanted, " bytes: ", std::strerror(errno));
  }
  base = grown;
  bytes = wanted;
  // Fewer page faults and TLB misses; a refusal changes nothing but speed.
  madvise(base, bytes, MADV_HUGEPAGE);
  return absl::OkStatus();
}
