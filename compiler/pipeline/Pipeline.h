//===- Pipeline.h - The phases of the compiler ------------------*- C++ -*-===//
//
// The list of phases is Phases.def; this makes it data, and passes of it.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_PIPELINE_PIPELINE_H
#define MOEC_COMPILER_PIPELINE_PIPELINE_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"

#include <optional>
#include <string>

namespace llvm {
class raw_ostream;
} // namespace llvm

namespace moec {

enum class Phase {
#define MOEC_PHASE(ID, NAME, LEGAL, GONE, TEXT) ID,
#define MOEC_PASS(NAME, WHEN)
#define MOEC_PHASE_END()
#include "compiler/pipeline/Phases.def"
};

/// What is gone after a phase, and after those that follow it.
enum class PhaseForm {
  Nothing,     ///< all is legal that the dialects allow
  Routers,     ///< no operation with RoutingOpInterface
  Experts,     ///< nor with ExpertOpInterface
  Tensors,     ///< step functions have no operands and results
  Allocations, ///< no moex.alloc
  Everything   ///< no function but LLVM ones
};

enum class PassWhen { Always, Fusing };

struct PassEntry {
  llvm::StringRef name; ///< argument of a registered pass
  PassWhen when;
};

struct PhaseEntry {
  llvm::StringRef name;
  llvm::StringRef legal; ///< names of dialects, separated by blanks
  PhaseForm gone;
  llvm::StringRef text; ///< one sentence
  llvm::ArrayRef<PassEntry> passes;
};

/// All phases, in order; indexed by Phase.
llvm::ArrayRef<PhaseEntry> getPhases();
std::optional<Phase> findPhase(llvm::StringRef name);
/// "import, graph, ..".
std::string phaseNames();

/// The table of docs/phases.md.
void printPhases(llvm::raw_ostream &os);

struct PipelineOptions {
  /// Whether passes that join operations run.
  bool fuse = true;
  /// Options of passes by their argument, as on a command line.
  llvm::StringMap<std::string> passOptions;
};

/// Adds the passes of a phase, with those that loaded dialects put before and
/// after it, and the check of its result. `passes` holds modules and must nest
/// implicitly. Failure has emitted a diagnostic.
llvm::LogicalResult buildPhase(Phase phase, const PipelineOptions &options,
                               mlir::MLIRContext &context,
                               mlir::OpPassManager &passes);

/// Checks the form of `module` after `phase`.
llvm::LogicalResult verifyPhase(mlir::ModuleOp module, Phase phase);

/// Attributes of a module that record-model sets.
inline constexpr llvm::StringLiteral functionsAttrName = "moe.functions";
inline constexpr llvm::StringLiteral routersAttrName = "moe.routers";

#define GEN_PASS_DECL
#include "compiler/pipeline/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "compiler/pipeline/Passes.h.inc"

} // namespace moec

#endif // MOEC_COMPILER_PIPELINE_PIPELINE_H
