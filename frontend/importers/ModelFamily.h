//===- ModelFamily.h - What an importer of a family provides ----*- C++ -*-===//
//
// A family is one source in families/; adding the file is the registration:
//
//   static void describe(Decoder &d) { ... }
//   static FamilyRegistration registration({
//       {"mixtral"}, "softmax over the two best experts", &describe});
//
// docs/guides/add-a-model-family.md shows one from the beginning.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_FRONTEND_IMPORTERS_MODELFAMILY_H
#define MOEC_FRONTEND_IMPORTERS_MODELFAMILY_H

#include "frontend/importers/Decoder.h"

namespace moec::importers {

struct ModelFamily {
  /// Values of `model_type` that it takes; the first names the family.
  std::vector<llvm::StringRef> modelTypes;
  /// What sets it apart, for lists.
  llvm::StringRef summary;
  /// Reads the configuration and writes the model. Reports what is wrong.
  void (*describe)(Decoder &decoder);

  llvm::StringRef name() const { return modelTypes.front(); }
};

/// All families, by name.
std::vector<const ModelFamily *> modelFamilies();
/// The family of a `model_type`, null if there is none.
const ModelFamily *findModelFamily(llvm::StringRef modelType);

/// Registers a family from a static initialiser.
struct FamilyRegistration {
  explicit FamilyRegistration(ModelFamily family);
};

} // namespace moec::importers

#endif // MOEC_FRONTEND_IMPORTERS_MODELFAMILY_H
