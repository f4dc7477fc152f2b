//===- Passes.h - The passes of moec ----------------------------*- C++ -*-===//
#ifndef MOEC_PASSES_PASSES_H
#define MOEC_PASSES_PASSES_H

#include "mlir/Pass/Pass.h"

#include <memory>

namespace moec {

// Each generated header takes its request back.
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/buffers/Passes.h.inc"
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/compress/Passes.h.inc"
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/experts/Passes.h.inc"
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/modality/Passes.h.inc"
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/route/Passes.h.inc"
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/schedule/Passes.h.inc"
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/verify/Passes.h.inc"

/// Registers every pass above by its argument.
inline void registerMoecPasses() {
  registerMoecBuffersPasses();
  registerMoecCompressPasses();
  registerMoecExpertsPasses();
  registerMoecModalityPasses();
  registerMoecRoutePasses();
  registerMoecSchedulePasses();
  registerMoecVerifyPasses();
}

} // namespace moec

#endif // MOEC_PASSES_PASSES_H
