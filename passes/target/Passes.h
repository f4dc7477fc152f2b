//===- Passes.h - Passes of phase target ------------------------*- C++ -*-===//
#ifndef MOEC_PASSES_TARGET_PASSES_H
#define MOEC_PASSES_TARGET_PASSES_H

#include "mlir/Pass/Pass.h"

#include <memory>

namespace moec::target {

#define GEN_PASS_DECL
#include "passes/target/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "passes/target/Passes.h.inc"

} // namespace moec::target

#endif // MOEC_PASSES_TARGET_PASSES_H
