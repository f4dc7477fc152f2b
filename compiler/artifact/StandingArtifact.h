//===- StandingArtifact.h - What an earlier compilation left ----*- C++ -*-===//
#ifndef MOEC_COMPILER_ARTIFACT_STANDINGARTIFACT_H
#define MOEC_COMPILER_ARTIFACT_STANDINGARTIFACT_H

#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <memory>
#include <string>

namespace moe::manifest {
struct ManifestT;
} // namespace moe::manifest

namespace moec {

/// The manifest of the artifact at `path`, read from the file alone. Null where
/// there is no file, or one that is no artifact of this version: the caller
/// then replaces it without a question.
std::unique_ptr<::moe::manifest::ManifestT>
readStandingManifest(llvm::StringRef path);

/// Name of the side file of the artifact at `path` with the weights of that
/// checksum: model.so has model-0123456789abcdef.weights. As the name says what
/// is in the file, an artifact never meets the weights of another one, and a
/// new side file never takes the place of one that is in use.
std::string sideFileName(llvm::StringRef path, uint64_t checksum);

/// Whether sideFileName() can have given `name` to an artifact at `path`.
bool isSideFileOf(llvm::StringRef path, llvm::StringRef name);

} // namespace moec

#endif // MOEC_COMPILER_ARTIFACT_STANDINGARTIFACT_H
