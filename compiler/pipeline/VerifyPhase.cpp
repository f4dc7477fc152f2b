//===- VerifyPhase.cpp - The form of the IR after a phase -----------------===//

#include "compiler/pipeline/Pipeline.h"

#include "dialects/interfaces/ExpertOpInterface.h"
#include "dialects/interfaces/MoecDialectInterface.h"
#include "dialects/moex/MoexDialect.h"

using namespace moec;
using namespace mlir;
using llvm::StringRef;

namespace moec {
#define GEN_PASS_DEF_VERIFYPHASE
#include "compiler/pipeline/Passes.h.inc"
} // namespace moec

/// Declarations of weights, states, entries, functions: a symbol at module
/// level that has no body.
static bool isDeclaration(Operation *op) {
  return isa_and_present<ModuleOp>(op->getParentOp()) &&
         isa<SymbolOpInterface>(op) &&
         llvm::all_of(op->getRegions(),
                      [](Region &region) { return region.empty(); });
}

/// Whether a plugin may still be represented by operations of its own.
static bool allowsPlugins(const PhaseEntry &phase) {
  return phase.gone == PhaseForm::Nothing;
}

static LogicalResult verifyOperation(Operation *op, const PhaseEntry &phase,
                                     llvm::ArrayRef<StringRef> legal) {
  auto after = [&](StringRef what) {
    return op->emitOpError() << "is still there after phase '" << phase.name
                             << "', which leaves no " << what;
  };
  if (phase.gone >= PhaseForm::Routers && isa<RoutingOpInterface>(op))
    return after("router");
  if (phase.gone >= PhaseForm::Experts && isa<ExpertOpInterface>(op))
    return after("experts");
  if (auto function = dyn_cast<func::FuncOp>(op);
      function && phase.gone >= PhaseForm::Tensors &&
      (function.getNumArguments() || function.getNumResults()))
    return after("function with operands or results");
  if (phase.gone >= PhaseForm::Allocations && isa<moex::AllocOp>(op))
    return after("allocation");

  Dialect *dialect = op->getDialect();
  StringRef name = op->getName().getDialectNamespace();
  if (llvm::is_contained(legal, name))
    return success();
  if (allowsPlugins(phase) && dialect &&
      dialect->getRegisteredInterface<MoecDialectInterface>() && name != "moex")
    return success();
  return op->emitOpError() << "is illegal after phase '" << phase.name
                           << "'; expected the dialects " << phase.legal;
}

LogicalResult moec::verifyPhase(ModuleOp module, Phase phase) {
  const PhaseEntry &entry = getPhases()[static_cast<size_t>(phase)];
  SmallVector<StringRef> legal;
  entry.legal.split(legal, ' ');
  bool isLegal = true;
  module.walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (!isDeclaration(op) && failed(verifyOperation(op, entry, legal)))
      isLegal = false;
  });
  return success(isLegal);
}

namespace {
struct VerifyPhase : moec::impl::VerifyPhaseBase<VerifyPhase> {
  using VerifyPhaseBase::VerifyPhaseBase;

  void runOnOperation() override {
    std::optional<Phase> found = findPhase(phase);
    if (!found) {
      emitError(getOperation().getLoc()) << "expected a phase (" << phaseNames()
                                         << "), found '" << phase << "'";
      return signalPassFailure();
    }
    if (failed(verifyPhase(getOperation(), *found)))
      return signalPassFailure();
    markAllAnalysesPreserved();
  }
};
} // namespace
