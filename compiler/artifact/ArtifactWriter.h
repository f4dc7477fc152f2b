//===- ArtifactWriter.h - From module to file -------------------*- C++ -*-===//
#ifndef MOEC_COMPILER_ARTIFACT_ARTIFACTWRITER_H
#define MOEC_COMPILER_ARTIFACT_ARTIFACTWRITER_H

#include "compiler/artifact/ObjectEmitter.h"
#include "compiler/artifact/WeightPacker.h"

#include <cstdint>
#include <string>

namespace moec {

/// Where the weights of an artifact lie.
enum class WeightPlace {
  Auto,     ///< embedded up to the limit, else beside it
  Embedded, ///< in the artifact
  SideFile, ///< in a file beside it
  Absent    ///< in the side file of the artifact that is replaced
};

struct ArtifactOptions {
  WeightPlace weights = WeightPlace::Auto;
  /// Most bytes that Auto embeds: one file is handy, but copying a very large
  /// one is not, and variants of a model can share a side file.
  uint64_t embedLimit = uint64_t(1) << 30;
  unsigned optLevel = 2;
  /// Folder for intermediate files (object and library before the weights),
  /// empty for none.
  std::string saveTemps;
  DeviceOptions device;
};

/// Writes the artifact of a module after phase `target` to `path`, and its
/// side file beside it. Consumes the module. Either the files are in place
/// afterwards, complete, or none of them has changed and a diagnostic was
/// emitted. Whenever the process ends, `path` is the old artifact or the new
/// one, whole and with its own weights. The bytes depend on the module, the
/// options and the weights alone.
llvm::LogicalResult writeArtifact(mlir::ModuleOp module,
                                  const ArtifactOptions &options,
                                  WeightSupply &weights, llvm::StringRef path);

/// The code of the module alone, in another form than an artifact.
llvm::LogicalResult emitModelCode(mlir::ModuleOp module,
                                  const ArtifactOptions &options,
                                  llvm::StringRef path, CodeKind kind,
                                  llvm::SmallVectorImpl<char> &output);

} // namespace moec

#endif // MOEC_COMPILER_ARTIFACT_ARTIFACTWRITER_H
