//===- MoecDialectInterface.h - What a dialect gives to moec ----*- C++ -*-===//
//
// Passes and the frontend ask every loaded dialect what it contributes, so no
// central table names a plugin. A dialect interface reaches the host only when
// both share one libmoec: see docs/rationale/one-shared-library.md.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_DIALECTS_INTERFACES_MOECDIALECTINTERFACE_H
#define MOEC_DIALECTS_INTERFACES_MOECDIALECTINTERFACE_H

#include "dialects/interfaces/RoutingInterfaces.h"
#include "dialects/interfaces/WeightInterfaces.h"

#include "mlir/IR/Dialect.h"
#include "mlir/IR/DialectInterface.h"
#include "mlir/Pass/PassManager.h"

#include <type_traits>
#include <vector>

namespace moec {

/// A routing stage as the frontend sees it.
struct StageEntry {
  llvm::StringRef spelling;
  StageKind kind;
  Signature signature;
  mlir::Attribute (*build)(mlir::MLIRContext *, llvm::ArrayRef<NamedStatic>,
                           llvm::function_ref<mlir::InFlightDiagnostic()>);
};

/// A format of weights that a user can name.
struct FormatEntry {
  llvm::StringRef spelling;
  mlir::Attribute (*build)(mlir::MLIRContext *, llvm::StringRef spelling);
};

/// Where a dialect's passes go relative to those of a phase.
enum class PhasePosition { Before, After };

/// What a dialect contributes. Defaults contribute nothing.
class MoecDialectInterface
    : public mlir::DialectInterface::Base<MoecDialectInterface> {
public:
  MoecDialectInterface(mlir::Dialect *dialect) : Base(dialect) {}

  /// Adds passes before or after those of the named phase.
  virtual void extendPipeline(llvm::StringRef phase, PhasePosition position,
                              mlir::OpPassManager &passes) const {}

  /// The dialect's routing stages (registered operations can be enumerated,
  /// attributes cannot). Use listStages.
  virtual std::vector<StageEntry> getStages() const { return {}; }

  /// The dialect's formats of weights. Use listFormats.
  virtual std::vector<FormatEntry> getFormats() const { return {}; }
};

namespace detail {
template <typename Attr>
void appendStage(std::vector<StageEntry> &stages) {
  if constexpr (std::is_base_of_v<RoutingStageAttrInterface::Trait<Attr>, Attr>)
    stages.push_back({Attr::getSpelling(), Attr::getStageKind(),
                      Attr::getSignature(), &Attr::build});
}
template <typename Attr>
void appendFormats(std::vector<FormatEntry> &formats) {
  if constexpr (std::is_base_of_v<QuantFormatAttrInterface::Trait<Attr>, Attr>)
    for (llvm::StringRef spelling : Attr::getSpellings())
      formats.push_back({spelling, &Attr::getBySpelling});
}
} // namespace detail

/// The stages among a dialect's attributes: instantiate with its
/// GET_ATTRDEF_LIST, so that a stage's definition is its registration.
template <typename... Attrs> std::vector<StageEntry> listStages() {
  std::vector<StageEntry> stages;
  (detail::appendStage<Attrs>(stages), ...);
  return stages;
}

/// Likewise the formats.
template <typename... Attrs> std::vector<FormatEntry> listFormats() {
  std::vector<FormatEntry> formats;
  (detail::appendFormats<Attrs>(formats), ...);
  return formats;
}

/// The formats of all loaded dialects.
std::vector<FormatEntry> getAllFormats(mlir::MLIRContext *context);

} // namespace moec

#endif // MOEC_DIALECTS_INTERFACES_MOECDIALECTINTERFACE_H
