//===- ArithmeticExpansion.h - Arithmetic without a library -----*- C++ -*-===//
//
// An artifact calls no math library and no compiler run time. What the
// processors of a level cannot do in a few instructions is expanded: elementary
// functions into our own polynomials, 16-bit floats into integer arithmetic.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_PASSES_TARGET_ARITHMETICEXPANSION_H
#define MOEC_PASSES_TARGET_ARITHMETICEXPANSION_H

#include "passes/target/KernelEmitter.h"

#include "mlir/IR/PatternMatch.h"

namespace moec::target {

/// Checks that all arithmetic in the regions of `kernel` can be expanded;
/// emits an error at the first operation that cannot.
mlir::LogicalResult checkArithmetic(mlir::Operation *kernel);

/// Expands the arithmetic of a function, scalars and vectors alike.
mlir::LogicalResult expandArithmetic(mlir::LLVM::LLVMFuncOp func,
                                     const IsaLevel &level);

/// Elementary functions; MathExpansion.cpp.
void populateMathExpansionPatterns(mlir::RewritePatternSet &patterns,
                                   const IsaLevel &level);
/// Whether there is a pattern for an operation of the math dialect.
bool hasMathExpansion(mlir::Operation *op);

/// Arithmetic on bf16 and f16; FloatExpansion.cpp.
void populateFloatExpansionPatterns(mlir::RewritePatternSet &patterns,
                                    const IsaLevel &level);

} // namespace moec::target

#endif // MOEC_PASSES_TARGET_ARITHMETICEXPANSION_H
