//===- RowDialect.cpp - Operations inside one row -------------------------===//
#include "dialects/row/RowDialect.h"
#include "dialects/interfaces/KeepConstantsInside.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace moec::row;

#include "dialects/row/RowDialect.cpp.inc"
#include "dialects/row/RowEnums.cpp.inc"

#define GET_OP_CLASSES
#include "dialects/row/RowOps.cpp.inc"

void RowDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "dialects/row/RowOps.cpp.inc"
      >();
  addInterfaces<moec::KeepConstantsInside>();
}

static Type elementType(Type type) {
  if (auto shaped = dyn_cast<ShapedType>(type))
    return shaped.getElementType();
  return type;
}

static bool isScalarArithmetic(Operation &op) {
  Dialect *dialect = op.getDialect();
  if (!isa_and_nonnull<arith::ArithDialect, math::MathDialect>(dialect))
    return false;
  auto isScalar = [](Type type) { return type.isIntOrIndexOrFloat(); };
  return llvm::all_of(op.getOperandTypes(), isScalar) &&
         llvm::all_of(op.getResultTypes(), isScalar);
}

LogicalResult RowDialect::verifyBody(Region &body) {
  for (Operation &op : body.front()) {
    if (isa<RowDialect>(op.getDialect()) && !isa<ApplyOp>(op))
      continue;
    if (isScalarArithmetic(op))
      continue;
    return op.emitOpError("is not allowed in a row body: expected a row "
                          "operation or scalar arithmetic");
  }
  return success();
}

/// Compares the types of body arguments or yielded values with what the holder
/// expects.
static LogicalResult verifyTypes(Operation *op, TypeRange found,
                                 ArrayRef<Type> expected, StringRef what) {
  if (found.size() != expected.size())
    return op->emitOpError("expected ")
           << expected.size() << " " << what << "s of the body, found "
           << found.size();
  for (auto [index, pair] : llvm::enumerate(llvm::zip(found, expected)))
    if (std::get<0>(pair) != std::get<1>(pair))
      return op->emitOpError("expected ")
             << what << " " << index << " of the body to be "
             << std::get<1>(pair) << ", found " << std::get<0>(pair);
  return success();
}

Type ApplyOp::getRowType(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  if (tensor.getRank() == 0 || !tensor.isDynamicDim(0))
    return tensor;
  if (tensor.getRank() == 1)
    return tensor.getElementType();
  return RankedTensorType::get(tensor.getShape().drop_front(),
                               tensor.getElementType());
}

LogicalResult ApplyOp::verify() {
  SmallVector<Type> rows, yielded;
  for (Type type : getResultTypes()) {
    auto tensor = cast<RankedTensorType>(type);
    if (tensor.getRank() == 0 || !tensor.isDynamicDim(0) ||
        tensor.getNumDynamicDims() != 1) // C1
      return emitOpError("expected results with a dynamic first dimension and "
                         "static others, found ")
             << type;
    yielded.push_back(getRowType(type));
  }
  for (Type type : getInputs().getTypes())
    rows.push_back(getRowType(type));
  Block &block = getBody().front();
  auto yield = cast<YieldOp>(block.getTerminator());
  if (failed(verifyTypes(*this, block.getArgumentTypes(), rows,
                         "argument")) || // C2
      failed(verifyTypes(*this, yield.getValues().getTypes(), yielded,
                         "result"))) // C3
    return failure();
  return RowDialect::verifyBody(getBody()); // C4
}

LogicalResult MapOp::verify() {
  ArrayRef<int64_t> shape = getResult().getType().getShape();
  bool hasRow = false;
  SmallVector<Type> arguments;
  for (Type type : getInputs().getTypes()) {
    arguments.push_back(elementType(type));
    auto row = dyn_cast<RankedTensorType>(type);
    if (!row)
      continue;
    hasRow = true;
    if (row.getShape() != shape) // C1
      return emitOpError("expected row operands of the result's shape ")
             << getResult().getType() << ", found " << row;
  }
  if (!hasRow) // C1
    return emitOpError("expected at least one row operand, found none");
  Block &block = getBody().front();
  auto yield = cast<YieldOp>(block.getTerminator());
  if (failed(verifyTypes(*this, block.getArgumentTypes(), arguments,
                         "argument")) || // C2
      failed(verifyTypes(*this, yield.getValues().getTypes(),
                         {getResult().getType().getElementType()},
                         "result"))) // C3
    return failure();
  for (Operation &op : block.without_terminator())
    if (!isScalarArithmetic(op)) // C4
      return op.emitOpError("is not allowed in the body of row.map: expected "
                            "scalar arithmetic");
  return success();
}

LogicalResult ReduceOp::verify() {
  RankedTensorType input = getInput().getType();
  Type element = input.getElementType();
  Type expected = input.getRank() == 1
                      ? element
                      : RankedTensorType::get(input.getShape().drop_back(),
                                              element);
  if (getResult().getType() != expected) // C1
    return emitOpError("expected the result to be ")
           << expected << ", found " << getResult().getType();
  if (!element.isF32() && !element.isF64() && !element.isInteger(32)) // C2
    return emitOpError("expected elements of type f32, f64 or i32, found ")
           << element;
  return success();
}

LogicalResult TopKOp::verify() {
  RankedTensorType values = getValues().getType();
  RankedTensorType indices = getIndices().getType();
  if (values.getShape() != indices.getShape()) // C1
    return emitOpError("expected values and indices of one width, found ")
           << values << " and " << indices;
  if (values.getDimSize(0) > getInput().getType().getDimSize(0)) // C1
    return emitOpError("expected k of at most ")
           << getInput().getType().getDimSize(0) << ", the width of the row, "
           << "found " << values.getDimSize(0);
  if (values.getElementType() != getInput().getType().getElementType() ||
      !indices.getElementType().isInteger(32)) // C2
    return emitOpError("expected values of the operand's element type and i32 "
                       "indices, found ")
           << values << " and " << indices;
  return success();
}

LogicalResult ReshapeOp::verify() {
  RankedTensorType from = getInput().getType(), to = getResult().getType();
  if (from.getElementType() != to.getElementType() ||
      from.getNumElements() != to.getNumElements()) // C1
    return emitOpError("expected the same elements in operand and result, "
                       "found ")
           << from << " and " << to;
  return success();
}

LogicalResult GatherOp::verify() {
  RankedTensorType indices = getIndices().getType();
  if (!indices.getElementType().isInteger(32)) // C2
    return emitOpError("expected i32 indices, found ") << indices;
  auto expected = RankedTensorType::get(indices.getShape(),
                                        getSource().getType().getElementType());
  if (getResult().getType() != expected) // C1
    return emitOpError("expected the result to be ")
           << expected << ", found " << getResult().getType();
  return success();
}

LogicalResult TableOp::verify() {
  RankedTensorType source = getSource().getType();
  Type expected = source.getRank() == 1
                      ? source.getElementType()
                      : RankedTensorType::get(source.getShape().drop_front(),
                                              source.getElementType());
  if (getResult().getType() != expected) // C1
    return emitOpError("expected the result to be ")
           << expected << ", found " << getResult().getType();
  return success();
}

LogicalResult IotaOp::verify() {
  if (!getResult().getType().getElementType().isInteger(32)) // C1
    return emitOpError("expected i32 elements, found ")
           << getResult().getType();
  return success();
}

LogicalResult SplatOp::verify() {
  if (getInput().getType() != getResult().getType().getElementType()) // C1
    return emitOpError("expected the element type of the result to be ")
           << getInput().getType() << ", found " << getResult().getType();
  return success();
}
