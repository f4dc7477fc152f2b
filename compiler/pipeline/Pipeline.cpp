//===- Pipeline.cpp - The phases of the compiler --------------------------===//

#include "compiler/pipeline/Pipeline.h"

#include "dialects/interfaces/MoecDialectInterface.h"

#include "mlir/Pass/PassRegistry.h"
#include "llvm/Support/raw_ostream.h"

using namespace moec;
using namespace mlir;
using llvm::StringRef;

namespace {
// Each phase's passes as an array of its own. The first entry is a dummy, since
// import has none and C++ no empty arrays.
#define MOEC_PHASE(ID, NAME, LEGAL, GONE, TEXT)                                \
  constexpr PassEntry passesOf##ID[] = {{"", PassWhen::Always},
#define MOEC_PASS(NAME, WHEN) {NAME, PassWhen::WHEN},
#define MOEC_PHASE_END()                                                       \
  }                                                                            \
  ;
#include "compiler/pipeline/Phases.def"
} // namespace

llvm::ArrayRef<PhaseEntry> moec::getPhases() {
  static const PhaseEntry phases[] = {
#define MOEC_PHASE(ID, NAME, LEGAL, GONE, TEXT)                                \
  {NAME, LEGAL, PhaseForm::GONE, TEXT,                                         \
   llvm::ArrayRef<PassEntry>(passesOf##ID).drop_front()},
#define MOEC_PASS(NAME, WHEN)
#define MOEC_PHASE_END()
#include "compiler/pipeline/Phases.def"
  };
  return phases;
}

std::optional<Phase> moec::findPhase(StringRef name) {
  for (auto [index, phase] : llvm::enumerate(getPhases()))
    if (phase.name == name)
      return static_cast<Phase>(index);
  return std::nullopt;
}

std::string moec::phaseNames() {
  return llvm::join(
      llvm::map_range(getPhases(),
                      [](const PhaseEntry &phase) { return phase.name; }),
      ", ");
}

void moec::printPhases(llvm::raw_ostream &os) {
  os << "| Phase | What it does | Passes | Legal afterwards |\n"
     << "| --- | --- | --- | --- |\n";
  for (const PhaseEntry &phase : getPhases()) {
    os << "| `" << phase.name << "` | " << phase.text << " | ";
    llvm::interleaveComma(phase.passes, os, [&](const PassEntry &pass) {
      os << pass.name << (pass.when == PassWhen::Fusing ? "*" : "");
    });
    os << (phase.passes.empty() ? "(frontend)" : "") << " | " << phase.legal
       << " |\n";
  }
}

static LogicalResult addPass(StringRef name, StringRef options,
                             MLIRContext &context, OpPassManager &passes) {
  Location loc = UnknownLoc::get(&context);
  const PassInfo *pass = PassInfo::lookup(name);
  if (!pass)
    return emitError(loc) << "pass '" << name << "' is not registered";
  return pass->addToPipeline(passes, options, [&](const Twine &message) {
    return emitError(loc) << "options of pass '" << name << "': " << message;
  });
}

static void extend(StringRef phase, PhasePosition position,
                   MLIRContext &context, OpPassManager &passes) {
  for (Dialect *dialect : context.getLoadedDialects())
    if (auto *ours = dialect->getRegisteredInterface<MoecDialectInterface>())
      ours->extendPipeline(phase, position, passes);
}

LogicalResult moec::buildPhase(Phase phase, const PipelineOptions &options,
                               MLIRContext &context, OpPassManager &passes) {
  const PhaseEntry &entry = getPhases()[static_cast<size_t>(phase)];
  extend(entry.name, PhasePosition::Before, context, passes);
  for (const PassEntry &pass : entry.passes) {
    if (pass.when == PassWhen::Fusing && !options.fuse)
      continue;
    if (failed(addPass(pass.name, options.passOptions.lookup(pass.name),
                       context, passes)))
      return failure();
  }
  extend(entry.name, PhasePosition::After, context, passes);
  return addPass("verify-phase", ("phase=" + entry.name).str(), context,
                 passes);
}
