//===- Importer.h - Checkpoints to the language -----------------*- C++ -*-===//
//
// A checkpoint is a folder as Hugging Face transformers writes it: config.json
// and safetensors. Its model becomes a tree, printed in its one text, which a
// person can read, keep and change.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_FRONTEND_IMPORTERS_IMPORTER_H
#define MOEC_FRONTEND_IMPORTERS_IMPORTER_H

#include "frontend/Diagnostics.h"

#include <optional>
#include <string>

namespace llvm {
class raw_ostream;
} // namespace llvm

namespace moec {

struct CheckpointOptions {
  /// Put before the names of weight files: from the folder of the text to the
  /// checkpoint. Empty where both are the same.
  std::string weightsFolder;
  /// Tokens that the model is to take, 0 for as many as it can.
  int64_t context = 0;
  /// The family, empty for the one that `model_type` names.
  std::string family;
};

/// The text of the model of a checkpoint folder. Nothing after reporting at
/// least one error; `sources` must be the manager that `diagnostics` was made
/// with.
std::optional<std::string> importCheckpoint(llvm::StringRef folder,
                                            const CheckpointOptions &options,
                                            SourceManager &sources,
                                            Diagnostics &diagnostics);

/// Prints the families of models that there is an importer for, one a line:
/// the values of `model_type` and what sets the family apart.
void printModelFamilies(llvm::raw_ostream &os);

} // namespace moec

#endif // MOEC_FRONTEND_IMPORTERS_IMPORTER_H
