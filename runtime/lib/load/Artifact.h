//===- Artifact.h - A file on disk and its manifest -----------------------===//
//
// Everything that can be said about an artifact without executing it.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_RUNTIME_LIB_LOAD_ARTIFACT_H
#define MOEC_RUNTIME_LIB_LOAD_ARTIFACT_H

#include "runtime/lib/load/ModelDescription.h"

namespace moe::rt {

struct Artifact {
  static absl::StatusOr<Artifact> open(const std::string &path);

  std::string path;
  uint64_t bytes = 0;
  std::vector<uint8_t> manifest;
  std::vector<std::string> symbols;
  ModelDescription description;
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_LOAD_ARTIFACT_H
