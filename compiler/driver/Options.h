//===- Options.h - The command line of moec ---------------------*- C++ -*-===//
#ifndef MOEC_COMPILER_DRIVER_OPTIONS_H
#define MOEC_COMPILER_DRIVER_OPTIONS_H

#include "compiler/artifact/ArtifactWriter.h"
#include "compiler/driver/PassRemarks.h"
#include "compiler/pipeline/Pipeline.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace moec {

/// Exit codes of our tools.
enum ExitCode : int {
  ExitSuccess = 0,
  ExitError = 1,    ///< an error in the input, with a diagnostic
  ExitUsage = 2,    ///< a command line that makes no sense
  ExitInternal = 70 ///< an error of ours (EX_SOFTWARE of sysexits.h)
};

/// What the driver writes.
enum class EmitKind {
  Ast,
  Moe,
  Mlir,
  MlirLlvm,
  Llvm,
  Assembly,
  Ptx,
  Object,
  Artifact
};

/// One command line, checked.
struct DriverOptions {
  std::string input; ///< "-": standard input
  bool inputIsIr = false;
  /// A folder with a checkpoint.
  bool inputIsCheckpoint = false;
  /// Tokens a checkpoint's model is to take; 0: as many as it can.
  int64_t context = 0;
  /// Of a checkpoint; empty for the one that its configuration names.
  std::string family;
  /// "-": standard output, for text only.
  std::string output;
  EmitKind emit = EmitKind::Artifact;
  Phase from = Phase::Import;
  Phase to = Phase::Target;
  PipelineOptions pipeline;
  ArtifactOptions artifact;
  std::optional<uint64_t> syntheticSeed;
  std::string compute; ///< "", "f32", "bf16"
  /// Options that every entry gets besides its own: names, and the number of
  /// k_override.
  std::vector<std::pair<std::string, std::optional<uint64_t>>> entryOptions;
  std::string dumpPhases;
  bool verbose = false;
  bool timeReport = false;
  bool remarks = true;
  PassRemarkFilter passRemarks;
  bool colour = false;
};

/// Parses the command line. Returns an exit code where there is nothing left
/// to do: after --help, --version and the like, or a usage error that has been
/// printed.
std::optional<int> parseOptions(int argc, char **argv, DriverOptions &options);

} // namespace moec

#endif // MOEC_COMPILER_DRIVER_OPTIONS_H
