//===- StandingArtifact.cpp - What an earlier compilation left ------------===//

#include "compiler/artifact/StandingArtifact.h"

#include "runtime/abi/manifest_generated.h"
#include "runtime/abi/moe_abi.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using llvm::StringRef;

// Not `using namespace moec`: the manifest's namespace is ::moe, and the
// dialect's would make that name ambiguous.
namespace moec {

namespace fb = ::moe::manifest;

std::unique_ptr<fb::ManifestT> readStandingManifest(StringRef path) {
  // A device or a pipe may have no end.
  if (!llvm::sys::fs::is_regular_file(path))
    return nullptr;
  auto binary = llvm::object::ObjectFile::createObjectFile(path);
  if (!binary) {
    llvm::consumeError(binary.takeError());
    return nullptr;
  }
  for (const llvm::object::SectionRef &section :
       binary->getBinary()->sections()) {
    llvm::Expected<StringRef> name = section.getName();
    if (!name) {
      llvm::consumeError(name.takeError());
      continue;
    }
    if (*name != MOE_MANIFEST_SECTION)
      continue;
    llvm::Expected<StringRef> contents = section.getContents();
    if (!contents) {
      llvm::consumeError(contents.takeError());
      return nullptr;
    }
    // Aligned, which the file need not be.
    std::vector<uint64_t> words(contents->size() / sizeof(uint64_t) + 1);
    std::memcpy(words.data(), contents->data(), contents->size());
    const auto *bytes = reinterpret_cast<const uint8_t *>(words.data());
    flatbuffers::Verifier verifier(bytes, contents->size());
    if (contents->size() < 8 || !fb::ManifestBufferHasIdentifier(bytes) ||
        !fb::VerifyManifestBuffer(verifier))
      return nullptr;
    // FlatBuffers verifies the place of a vector, not that of its elements.
    if (const auto *weights = fb::GetManifest(bytes)->weights())
      for (const fb::Weight *weight : *weights)
        if (weight->shape() &&
            reinterpret_cast<uintptr_t>(weight->shape()->Data()) %
                sizeof(uint64_t))
          return nullptr;
    auto manifest = fb::UnPackManifest(bytes);
    if (manifest->abi_version != MOE_ABI_VERSION)
      return nullptr;
    return manifest;
  }
  return nullptr;
}

/// "model-" for model.so.
static std::string prefixOf(StringRef path) {
  return (llvm::sys::path::stem(path) + "-").str();
}

static constexpr StringRef suffix = ".weights";
static constexpr size_t digits = 16;

std::string sideFileName(StringRef path, uint64_t checksum) {
  std::string hex = llvm::utohexstr(checksum, /*LowerCase=*/true, digits);
  return prefixOf(path) + hex + suffix.str();
}

bool isSideFileOf(StringRef path, StringRef name) {
  return name.consume_front(prefixOf(path)) && name.consume_back(suffix) &&
         name.size() == digits && llvm::all_of(name, llvm::isHexDigit);
}

} // namespace moec
