//===- FreshContext.h - A context that does not grow for ever ---*- C++ -*-===//
#ifndef MOEC_TEST_FUZZ_FRESHCONTEXT_H
#define MOEC_TEST_FUZZ_FRESHCONTEXT_H

#include "mlir/IR/MLIRContext.h"

#include <memory>

namespace moec {

/// Types and attributes stay in a context, so it is replaced after as many
/// inputs.
inline mlir::MLIRContext &freshContext(unsigned inputsPerContext) {
  static std::unique_ptr<mlir::MLIRContext> context;
  static unsigned inputs = 0;
  if (!context || ++inputs == inputsPerContext) {
    context = std::make_unique<mlir::MLIRContext>(
        mlir::MLIRContext::Threading::DISABLED);
    inputs = 0;
  }
  return *context;
}

} // namespace moec

#endif // MOEC_TEST_FUZZ_FRESHCONTEXT_H
