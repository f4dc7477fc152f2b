//===- ElfPatcher.cpp - Reading and patching a linked library -------------===//

#include "compiler/artifact/ElfPatcher.h"

#include "llvm/BinaryFormat/ELF.h"
#include "llvm/Object/ELF.h"
#include "llvm/Support/MathExtras.h"

using namespace moec;
using llvm::Error;
using llvm::Expected;
using llvm::StringRef;
using Elf = llvm::object::ELF64LE;
using ElfFile = llvm::object::ELFFile<Elf>;

static Expected<ElfFile> parse(llvm::ArrayRef<char> bytes) {
  return ElfFile::create(StringRef(bytes.data(), bytes.size()));
}

static Error broken(const llvm::Twine &what) {
  return llvm::createStringError("linked library: " + what);
}

Expected<ElfPatcher::Extent> ElfPatcher::findSection(StringRef name) const {
  Expected<ElfFile> file = parse(bytes);
  if (!file)
    return file.takeError();
  auto sections = file->sections();
  if (!sections)
    return sections.takeError();
  for (const Elf::Shdr &section : *sections) {
    Expected<StringRef> found = file->getSectionName(section);
    if (!found)
      return found.takeError();
    if (*found == name)
      return Extent{section.sh_offset, section.sh_size};
  }
  return broken("expected a section " + name + ", found none");
}

Expected<std::vector<std::string>>
ElfPatcher::dynamicSymbols(bool defined) const {
  Expected<ElfFile> file = parse(bytes);
  if (!file)
    return file.takeError();
  auto sections = file->sections();
  if (!sections)
    return sections.takeError();
  std::vector<std::string> names;
  for (const Elf::Shdr &section : *sections) {
    if (section.sh_type != llvm::ELF::SHT_DYNSYM)
      continue;
    auto symbols = file->symbols(&section);
    if (!symbols)
      return symbols.takeError();
    Expected<StringRef> strings = file->getStringTableForSymtab(section);
    if (!strings)
      return strings.takeError();
    for (const Elf::Sym &symbol : *symbols) {
      Expected<StringRef> name = symbol.getName(*strings);
      if (!name)
        return name.takeError();
      if (!name->empty() &&
          (symbol.st_shndx != llvm::ELF::SHN_UNDEF) == defined)
        names.push_back(name->str());
    }
  }
  return names;
}

Expected<std::vector<std::string>> ElfPatcher::exportedSymbols() const {
  return dynamicSymbols(/*defined=*/true);
}

Expected<std::vector<std::string>> ElfPatcher::undefinedSymbols() const {
  return dynamicSymbols(/*defined=*/false);
}

Expected<uint64_t> ElfPatcher::mapWeights(uint64_t segmentBytes) {
  Expected<ElfFile> file = parse(bytes);
  if (!file)
    return file.takeError();
  auto sections = file->sections();
  if (!sections)
    return sections.takeError();
  const Elf::Shdr *reserved = nullptr;
  for (const Elf::Shdr &section : *sections)
    if (section.sh_type == llvm::ELF::SHT_NOBITS &&
        (section.sh_flags & llvm::ELF::SHF_X86_64_LARGE))
      reserved = &section;
  if (!reserved || reserved->sh_size < segmentBytes ||
      reserved->sh_addr % elfPageBytes)
    return broken("expected page-aligned addresses for " +
                  llvm::Twine(segmentBytes) + " bytes of weights");

  auto headers = file->program_headers();
  if (!headers)
    return headers.takeError();
  uint64_t offset = llvm::alignTo(bytes.size(), elfPageBytes);
  const Elf::Phdr *last = nullptr;
  for (const Elf::Phdr &header : *headers)
    if (header.p_type == llvm::ELF::PT_LOAD)
      last = &header;
  // The linker gives large sections the highest addresses, and those without
  // other writable data a program header of their own; headers must ascend.
  if (!last || last->p_vaddr != reserved->sh_addr || last->p_filesz != 0)
    return broken("expected the addresses of the weights at its end, in a "
                  "segment of their own");
  auto *segment = const_cast<Elf::Phdr *>(last); // it lies in `bytes`
  segment->p_flags = llvm::ELF::PF_R;
  segment->p_offset = offset;
  segment->p_filesz = segmentBytes;
  segment->p_memsz = segmentBytes;
  segment->p_align = elfPageBytes;
  return offset;
}
