//===- OutputFile.cpp - A file that appears whole or not at all -----------===//

#include "compiler/artifact/OutputFile.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/xxhash.h"

#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

using namespace moec;
using llvm::Error;
using llvm::StringRef;
using llvm::Twine;
namespace fs = llvm::sys::fs;

static std::error_code lastError() {
  return std::error_code(errno, std::generic_category());
}

static Error cannotWrite(StringRef path, std::error_code code) {
  return llvm::createStringError(code, "cannot write '" + Twine(path) +
                                           "': " + code.message());
}

Error OutputFile::failure(std::error_code code) const {
  return cannotWrite(destination, code);
}

Error OutputFile::resolve(StringRef path) {
  destination = path.str();
  target = destination;
  fs::file_status status;
  bool exists = !fs::status(path, status); // follows symbolic links
  if (exists && status.type() == fs::file_type::directory_file)
    return failure(std::make_error_code(std::errc::is_a_directory));
  special = exists && status.type() != fs::file_type::regular_file;
  // Replace what a link points to, not the link.
  llvm::SmallString<128> real;
  if (exists && !special && !fs::real_path(path, real))
    target = real.str().str();
  return Error::success();
}

llvm::Expected<OutputFile> OutputFile::create(StringRef path, Kind kind) {
  OutputFile file;
  if (Error error = file.resolve(path))
    return std::move(error);
  llvm::SmallString<128> model;
  if (file.special) {
    llvm::sys::path::system_temp_directory(/*ErasedOnReboot=*/true, model);
    llvm::sys::path::append(model, "moec-%%%%%%%%");
  } else {
    model = file.target;
    model += ".tmp-%%%%%%%%";
  }
  unsigned mode = fs::all_read | fs::all_write;
  if (kind == Kind::Code)
    mode |= fs::all_exe;
  llvm::SmallString<128> name;
  if (std::error_code code =
          fs::createUniqueFile(model, file.fd, name, fs::OF_None, mode)) {
    file.fd = -1;
    return file.failure(code);
  }
  file.temporary = name.str().str();
  llvm::sys::RemoveFileOnSignal(file.temporary);
  return std::move(file);
}

OutputFile::OutputFile(OutputFile &&other)
    : destination(std::move(other.destination)),
      target(std::move(other.target)),
      temporary(std::exchange(other.temporary, "")), special(other.special),
      fd(std::exchange(other.fd, -1)), end(other.end) {}

OutputFile::~OutputFile() { discard(); }

void OutputFile::discard() {
  if (fd != -1)
    ::close(std::exchange(fd, -1));
  if (temporary.empty())
    return;
  fs::remove(temporary);
  llvm::sys::DontRemoveFileOnSignal(temporary);
  temporary.clear();
}

Error OutputFile::writeAt(uint64_t offset, StringRef bytes) {
  while (!bytes.empty()) {
    ssize_t written =
        ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0) {
      if (errno == EINTR)
        continue;
      return failure(lastError());
    }
    offset += static_cast<uint64_t>(written);
    bytes = bytes.drop_front(static_cast<size_t>(written));
  }
  end = std::max(end, offset);
  return Error::success();
}

Error OutputFile::growTo(uint64_t size) {
  if (size <= end)
    return Error::success();
  if (::ftruncate(fd, static_cast<off_t>(size)) != 0)
    return failure(lastError());
  end = size;
  return Error::success();
}

llvm::Expected<uint64_t> OutputFile::checksum(uint64_t offset,
                                              uint64_t bytes) const {
  if (bytes == 0)
    return llvm::xxh3_64bits(llvm::ArrayRef<uint8_t>());
  // A mapping begins at a page.
  uint64_t skip = offset % llvm::sys::Process::getPageSizeEstimate();
  std::error_code code;
  fs::mapped_file_region region(fs::convertFDToNativeFile(fd),
                                fs::mapped_file_region::readonly, bytes + skip,
                                offset - skip, code);
  if (code)
    return failure(code);
  const auto *data = reinterpret_cast<const uint8_t *>(region.const_data());
  return llvm::xxh3_64bits(llvm::ArrayRef<uint8_t>(data + skip, bytes));
}

Error OutputFile::copyToDestination() {
  int to = ::open(target.c_str(), O_WRONLY | O_CLOEXEC);
  if (to < 0)
    return failure(lastError());
  char buffer[1 << 16];
  std::error_code code;
  for (uint64_t at = 0; at < end && !code;) {
    ssize_t got = ::pread(fd, buffer, sizeof(buffer), static_cast<off_t>(at));
    if (got <= 0) {
      code = lastError();
      break;
    }
    at += static_cast<uint64_t>(got);
    for (ssize_t done = 0; done < got;) {
      ssize_t put = ::write(to, buffer + done, static_cast<size_t>(got - done));
      if (put < 0 && errno == EINTR)
        continue;
      if (put < 0) {
        code = lastError();
        break;
      }
      done += put;
    }
  }
  if (::close(to) != 0 && !code)
    code = lastError();
  return code ? failure(code) : Error::success();
}

Error OutputFile::commitAs(StringRef path) {
  if (Error error = resolve(path))
    return error;
  return commit();
}

Error OutputFile::commit() {
  if (special) {
    Error error = copyToDestination();
    discard();
    return error;
  }
  // Without fsync a crash of the machine could leave the new name with an
  // empty file.
  if (::fsync(fd) != 0)
    return failure(lastError());
  if (::close(std::exchange(fd, -1)) != 0)
    return failure(lastError());
  if (std::error_code code = fs::rename(temporary, target))
    return failure(code);
  llvm::sys::DontRemoveFileOnSignal(temporary);
  temporary.clear();
  return Error::success();
}
