//===- Artifact.cpp - A file on disk and its manifest ---------------------===//

#include "runtime/lib/load/Artifact.h"

#include "runtime/lib/load/ElfFile.h"

using namespace moe::rt;

absl::StatusOr<Artifact> Artifact::open(const std::string &path) {
  auto elf = ElfFile::open(path);
  if (!elf.ok())
    return elf.status();
  Artifact artifact;
  artifact.path = path;
  artifact.bytes = elf->size();
  auto manifest = elf->section(MOE_MANIFEST_SECTION);
  if (absl::IsNotFound(manifest.status()))
    return badArtifact(manifest.status().message());
  if (!manifest.ok())
    return manifest.status();
  artifact.manifest = *std::move(manifest);
  auto description = describeManifest(path, artifact.manifest);
  if (!description.ok())
    return description.status();
  artifact.description = *std::move(description);
  const uint64_t expected = artifact.description.artifactBytes;
  if (expected != 0 && expected != artifact.bytes)
    return badArtifact("'", path, "': ",
                       artifact.bytes < expected ? "artifact cut short: "
                                                 : "artifact grew: ",
                       "expected ", expected, " bytes, found ", artifact.bytes);
  auto symbols = elf->exportedSymbols();
  if (!symbols.ok())
    return symbols.status();
  artifact.symbols = *std::move(symbols);
  return artifact;
}
