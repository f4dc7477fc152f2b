//===- Registration.h - Everything a tool of ours knows ---------*- C++ -*-===//
//
// One list for all tools: a dialect or a pass that one of them has, all have.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_DRIVER_REGISTRATION_H
#define MOEC_COMPILER_DRIVER_REGISTRATION_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace moec {

/// Our dialects, the upstream ones that our phases use, and what their lowering
/// to LLVM IR needs.
void registerAllMoecDialects(mlir::DialectRegistry &registry);

/// Passes of all phases by argument, with the upstream ones that phases list or
/// that people run by hand. Safe to call twice.
void registerAllMoecPasses();

} // namespace moec

#endif // MOEC_COMPILER_DRIVER_REGISTRATION_H
