//===- PassRemarks.h - -Rpass, -Rpass-missed --------------------*- C++ -*-===//
#ifndef MOEC_COMPILER_DRIVER_PASSREMARKS_H
#define MOEC_COMPILER_DRIVER_PASSREMARKS_H

#include "mlir/IR/MLIRContext.h"

#include <string>

namespace moec {

/// Regular expressions over the names of passes; empty: none.
struct PassRemarkFilter {
  std::string passed;
  std::string missed;

  bool any() const { return !passed.empty() || !missed.empty(); }
};

/// From now on remarks of these passes become remarks of the context, which
/// name the option that asked for them as clang's do.
llvm::LogicalResult enablePassRemarks(mlir::MLIRContext &context,
                                      const PassRemarkFilter &filter);

} // namespace moec

#endif // MOEC_COMPILER_DRIVER_PASSREMARKS_H
