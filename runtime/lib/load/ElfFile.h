//===- ElfFile.h - Reading an artifact without executing it ---------------===//
//
// Checks everything that the dynamic loader would trust blindly about the size
// and the place of things, so that a file that was cut short is reported and
// not executed.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_RUNTIME_LIB_LOAD_ELFFILE_H
#define MOEC_RUNTIME_LIB_LOAD_ELFFILE_H

#include "runtime/lib/base/File.h"

#include <elf.h>
#include <string>
#include <vector>

namespace moe::rt {

/// An ELF shared library for this machine, its headers checked.
class ElfFile {
public:
  static absl::StatusOr<ElfFile> open(const std::string &path);

  const std::string &path() const { return file.path(); }
  uint64_t size() const { return file.size(); }

  /// The bytes of a section; NotFound where there is none of that name.
  absl::StatusOr<std::vector<uint8_t>> section(const std::string &name) const;

  /// The dynamic symbols that others can link to.
  absl::StatusOr<std::vector<std::string>> exportedSymbols() const;

private:
  explicit ElfFile(File file) : file(std::move(file)) {}

  absl::Status readHeaders();
  absl::Status checkIdentity() const;
  absl::Status checkExtent(uint64_t offset, uint64_t bytes,
                           const char *what) const;
  absl::StatusOr<std::vector<uint8_t>>
  sectionBytes(const Elf64_Shdr &section) const;

  File file;
  Elf64_Ehdr header = {};
  std::vector<Elf64_Phdr> programHeaders;
  std::vector<Elf64_Shdr> sections;
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_LOAD_ELFFILE_H
