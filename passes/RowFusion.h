//===- RowFusion.h - Joining row bodies -------------------------*- C++ -*-===//
#ifndef MOEC_PASSES_ROWFUSION_H
#define MOEC_PASSES_ROWFUSION_H

#include "dialects/row/RowDialect.h"

#include "mlir/IR/PatternMatch.h"

namespace moec {

/// Joins the body of `producer` into `consumer`, which uses its results, and
/// returns the new operation in place of the consumer. Scores and other
/// results of the producer then never leave the body. Requires that all uses of
/// the producer are operands of the consumer.
row::ApplyOp fuseApply(mlir::RewriterBase &rewriter, row::ApplyOp producer,
                       row::ApplyOp consumer);

/// Whether `producer` is used by `consumer` and by nothing else.
bool isOnlyUsedBy(mlir::Operation *producer, mlir::Operation *consumer);

} // namespace moec

#endif // MOEC_PASSES_ROWFUSION_H
