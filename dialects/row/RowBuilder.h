//===- RowBuilder.h - Convenient building of row bodies ---------*- C++ -*-===//
//
// Arithmetic on rows for authors of routers, stages and lowerings: every
// function builds the row operations of one step and returns the result.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_DIALECTS_ROW_ROWBUILDER_H
#define MOEC_DIALECTS_ROW_ROWBUILDER_H

#include "dialects/interfaces/Activation.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"

#include <functional>
#include <utility>

namespace moec::row {

/// Builds row operations at the insertion point of a builder. Operands of the
/// elementwise functions are rows of one shape or scalars; at least one is a
/// row unless a function says otherwise.
class RowBuilder {
public:
  RowBuilder(mlir::OpBuilder &builder, mlir::Location loc)
      : b(builder), loc(loc) {}

  /// Scalar constants.
  mlir::Value f32(double value);
  mlir::Value i32(int64_t value);

  /// Elementwise map with a scalar body. `element` is the element type of the
  /// result. With scalars only, builds the body in place and gives a scalar.
  mlir::Value
  map(mlir::ValueRange inputs, mlir::Type element,
      llvm::function_ref<mlir::Value(mlir::OpBuilder &, mlir::ValueRange)>
          body);

  mlir::Value add(mlir::Value x, mlir::Value y);
  mlir::Value sub(mlir::Value x, mlir::Value y);
  mlir::Value mul(mlir::Value x, mlir::Value y);
  mlir::Value div(mlir::Value x, mlir::Value y);
  mlir::Value exp(mlir::Value x);
  /// 1 / (1 + exp(-x)).
  mlir::Value sigmoid(mlir::Value x);
  /// exp(x - max x) / sum exp(x - max x).
  mlir::Value softmax(mlir::Value x);

  /// Reductions over the last dimension; the order of row.reduce.
  mlir::Value sum(mlir::Value x);
  mlir::Value max(mlir::Value x);

  /// The k largest elements: values and indices.
  std::pair<mlir::Value, mlir::Value> topK(mlir::Value x, int64_t k);
  mlir::Value gather(mlir::Value source, mlir::Value indices);
  /// `values` where the i32 of `ids` is not negative, else zero.
  mlir::Value whereUsed(mlir::Value values, mlir::Value ids);
  mlir::Value iota(int64_t width);
  mlir::Value constant(llvm::ArrayRef<int32_t> values);
  mlir::Value splat(mlir::Value scalar, int64_t width);

private:
  mlir::OpBuilder &b;
  mlir::Location loc;
};

/// The row.apply of the elementwise step between the maps of a feed-forward
/// network: `function` of the gate and up streams, or of up alone (`maps` are
/// f32 streams of one width), rounded once to `element`.
mlir::Value buildHidden(mlir::OpBuilder &builder, mlir::Location loc,
                        const HiddenFunction &function, mlir::ValueRange maps,
                        mlir::Type element);

} // namespace moec::row

#endif // MOEC_DIALECTS_ROW_ROWBUILDER_H
