//===- WeightFiles.h - The weight files of a module -------------*- C++ -*-===//
#ifndef MOEC_COMPILER_DRIVER_WEIGHTFILES_H
#define MOEC_COMPILER_DRIVER_WEIGHTFILES_H

#include "frontend/weights/TensorSource.h"

#include "mlir/IR/BuiltinOps.h"

namespace moec {

/// Opens the files that 'moe.weight_files' of `module` lists. Failure has
/// emitted an MLIR diagnostic or reported to `diagnostics`, which the caller
/// prints.
llvm::LogicalResult openWeightFiles(mlir::ModuleOp module, TensorFiles &files,
                                    Diagnostics &diagnostics);

} // namespace moec

#endif // MOEC_COMPILER_DRIVER_WEIGHTFILES_H
