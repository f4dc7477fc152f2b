//===- RowEvaluator.h - Evaluating row bodies on the host -------*- C++ -*-===//
#ifndef MOEC_DIALECTS_ROW_ROWEVALUATOR_H
#define MOEC_DIALECTS_ROW_ROWEVALUATOR_H

#include "dialects/interfaces/HostTensor.h"

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

/// Row `row` of an operand of `row.apply` and the like: that of a tensor with a
/// dynamic first dimension (`type`), the whole of another.
RowValue rowOf(const HostTensor &tensor, mlir::Type type, int64_t row);

/// Evaluates a row body for every row of `inputs`, whose types are `types`, and
/// writes what it yields to `outputs`, tensors of the result types `results`.
mlir::LogicalResult evaluateRows(mlir::Region &body, mlir::TypeRange types,
                                 llvm::ArrayRef<HostTensor> inputs,
                                 mlir::TypeRange results,
                                 llvm::MutableArrayRef<HostTensor> outputs);

} // namespace moec

#endif // MOEC_DIALECTS_ROW_ROWEVALUATOR_H
