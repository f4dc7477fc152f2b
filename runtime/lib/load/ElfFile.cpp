//===- ElfFile.cpp - Reading an artifact without executing it -------------===//

#include "runtime/lib/load/ElfFile.h"

#include <algorithm>
#include <cstring>

using namespace moe::rt;

namespace {

#if defined(__x86_64__)
constexpr uint16_t kHostMachine = EM_X86_64;
constexpr const char *kHostMachineName = "x86-64";
#elif defined(__aarch64__)
constexpr uint16_t kHostMachine = EM_AARCH64;
constexpr const char *kHostMachineName = "AArch64";
#else
#error "name this processor's ELF machine here"
#endif

/// The string at `offset` of a string table; "" when it does not end in it.
std::string stringAt(const std::vector<uint8_t> &table, uint64_t offset) {
  if (offset >= table.size())
    return "";
  const auto begin = table.begin() + static_cast<std::ptrdiff_t>(offset);
  const auto end = std::find(begin, table.end(), uint8_t{0});
  return end == table.end() ? "" : std::string(begin, end);
}

} // namespace

absl::StatusOr<ElfFile> ElfFile::open(const std::string &path) {
  auto file = File::open(path);
  if (!file.ok())
    return file.status();
  ElfFile elf(*std::move(file));
  MOE_RETURN_IF_ERROR(elf.readHeaders());
  return elf;
}

absl::Status ElfFile::readHeaders() {
  const uint64_t identityBytes =
      std::min<uint64_t>(file.size(), sizeof(header));
  MOE_RETURN_IF_ERROR(file.read(0, &header, identityBytes));
  if (identityBytes < SELFMAG || std::memcmp(header.e_ident, ELFMAG, SELFMAG))
    return badArtifact("'", path(), "': expected an artifact (an ELF shared ",
                       "library), found ",
                       file.size() == 0 ? "an empty file" : "another format");
  MOE_RETURN_IF_ERROR(checkExtent(0, sizeof(header), "its header"));
  MOE_RETURN_IF_ERROR(checkIdentity());

  programHeaders.resize(header.e_phnum);
  sections.resize(header.e_shnum);
  const uint64_t programBytes = programHeaders.size() * sizeof(Elf64_Phdr);
  const uint64_t sectionBytes = sections.size() * sizeof(Elf64_Shdr);
  MOE_RETURN_IF_ERROR(
      checkExtent(header.e_phoff, programBytes, "its program headers"));
  MOE_RETURN_IF_ERROR(
      file.read(header.e_phoff, programHeaders.data(), programBytes));
  for (const Elf64_Phdr &segment : programHeaders) {
    MOE_RETURN_IF_ERROR(
        checkExtent(segment.p_offset, segment.p_filesz, "a segment"));
    if (segment.p_type == PT_LOAD && segment.p_filesz > segment.p_memsz)
      return badArtifact("'", path(), "': damaged: expected a segment of at ",
                         "most ", segment.p_memsz, " bytes, found ",
                         segment.p_filesz);
  }
  MOE_RETURN_IF_ERROR(
      checkExtent(header.e_shoff, sectionBytes, "its section headers"));
  return file.read(header.e_shoff, sections.data(), sectionBytes);
}

absl::Status ElfFile::checkIdentity() const {
  if (header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB)
    return badArtifact("'", path(),
                       "': expected a 64-bit little-endian library, found ",
                       "another class of ELF file");
  if (header.e_machine != kHostMachine)
    return unsupported("'", path(), "': expected an artifact for ",
                       kHostMachineName, " (ELF machine ", kHostMachine,
                       "), found machine ", header.e_machine);
  if (header.e_type != ET_DYN)
    return badArtifact("'", path(), "': expected a shared library (ELF type ",
                       ET_DYN, "), found type ", header.e_type);
  if (header.e_phnum == 0 || header.e_phentsize != sizeof(Elf64_Phdr) ||
      (header.e_shnum != 0 && header.e_shentsize != sizeof(Elf64_Shdr)))
    return badArtifact("'", path(), "': damaged: expected headers of ",
                       sizeof(Elf64_Phdr), " and ", sizeof(Elf64_Shdr),
                       " bytes, found ", header.e_phnum, " of ",
                       header.e_phentsize, " and ", header.e_shnum, " of ",
                       header.e_shentsize);
  return absl::OkStatus();
}

absl::Status ElfFile::checkExtent(uint64_t offset, uint64_t bytes,
                                  const char *what) const {
  if (bytes > UINT64_MAX - offset)
    return badArtifact("'", path(), "': damaged: ", what, " does not end");
  if (offset + bytes > file.size())
    return badArtifact("'", path(), "': artifact cut short: ", what,
                       " expected at least ", offset + bytes, " bytes, found ",
                       file.size());
  return absl::OkStatus();
}

absl::StatusOr<std::vector<uint8_t>>
ElfFile::sectionBytes(const Elf64_Shdr &section) const {
  if (section.sh_type == SHT_NOBITS)
    return badArtifact("'", path(), "': damaged: a section has no contents");
  MOE_RETURN_IF_ERROR(
      checkExtent(section.sh_offset, section.sh_size, "a section"));
  std::vector<uint8_t> bytes(section.sh_size);
  MOE_RETURN_IF_ERROR(file.read(section.sh_offset, bytes.data(), bytes.size()));
  return bytes;
}

absl::StatusOr<std::vector<uint8_t>>
ElfFile::section(const std::string &name) const {
  if (header.e_shstrndx < sections.size()) {
    auto names = sectionBytes(sections[header.e_shstrndx]);
    if (!names.ok())
      return names.status();
    for (const Elf64_Shdr &section : sections)
      if (stringAt(*names, section.sh_name) == name)
        return sectionBytes(section);
  }
  return notFound("'", path(), "': expected a section ", name,
                  ", found none: not made by moec, or stripped");
}

absl::StatusOr<std::vector<std::string>> ElfFile::exportedSymbols() const {
  std::vector<std::string> result;
  for (const Elf64_Shdr &section : sections) {
    if (section.sh_type != SHT_DYNSYM || section.sh_link >= sections.size())
      continue;
    auto symbols = sectionBytes(section);
    auto names = sectionBytes(sections[section.sh_link]);
    if (!symbols.ok())
      return symbols.status();
    if (!names.ok())
      return names.status();
    for (uint64_t at = 0; at + sizeof(Elf64_Sym) <= symbols->size();
         at += sizeof(Elf64_Sym)) {
      Elf64_Sym symbol;
      std::memcpy(&symbol, symbols->data() + at, sizeof(symbol));
      if (symbol.st_shndx != SHN_UNDEF &&
          ELF64_ST_BIND(symbol.st_info) != STB_LOCAL &&
          ELF64_ST_VISIBILITY(symbol.st_other) == STV_DEFAULT)
        result.push_back(stringAt(*names, symbol.st_name));
    }
  }
  return result;
}
