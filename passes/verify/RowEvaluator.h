//===- RowEvaluator.h - Evaluating row bodies on the host -------*- C++ -*-===//
#ifndef MOEC_PASSES_VERIFY_ROWEVALUATOR_H
#define MOEC_PASSES_VERIFY_ROWEVALUATOR_H

#include "mlir/IR/Region.h"
#include "mlir/Support/LLVM.h"

#include <vector>

namespace moec {

/// A row or a scalar: its elements as doubles that hold the exact value of the
/// element type (f32 results are rounded to f32 after every operation).
using RowValue = std::vector<double>;

/// Evaluates a row body for one row. `arguments` are the body's; the result
/// holds what it yields. Fails, with a diagnostic, on an operation that has no
/// evaluation.
mlir::FailureOr<std::vector<RowValue>>
evaluateRowBody(mlir::Region &body, llvm::ArrayRef<RowValue> arguments);

} // namespace moec

#endif // MOEC_PASSES_VERIFY_ROWEVALUATOR_H
