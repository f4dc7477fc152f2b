//===- MoexDialect.cpp - Scheduling made visible --------------------------===//
#include "dialects/moex/MoexDialect.h"
#include "dialects/interfaces/KeepConstantsInside.h"
#include "dialects/interfaces/RoutingInterfaces.h"

#include "dialects/row/RowDialect.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace moec;
using namespace moec::moex;

#include "dialects/moex/MoexDialect.cpp.inc"
#include "dialects/moex/MoexEnums.cpp.inc"

#define GET_OP_CLASSES
#include "dialects/moex/MoexOps.cpp.inc"

void MoexDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "dialects/moex/MoexOps.cpp.inc"
      >();
  addInterfaces<moec::KeepConstantsInside>();
}

static MemRefType bufferType(Value value) {
  return cast<MemRefType>(value.getType());
}

static int64_t widthOf(Value value) { return bufferType(value).getShape().back(); }

/// A map of extents has 11 dimensions and one result.
static LogicalResult verifyExtents(Operation *op, StringRef name,
                                   AffineMap map) {
  if (map.getNumDims() == kNumExtents && map.getNumSymbols() == 0 &&
      map.getNumResults() == 1)
    return success();
  return op->emitOpError("expected '")
         << name << "' to map 11 extents to one number, found "
         << AffineMapAttr::get(map);
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

LogicalResult InputOp::verify() {
  bool isRaw = getField() == BatchField::Raw;
  if (isRaw != getModality().has_value()) // C1
    return emitOpError("expected a modality exactly for 'raw'");
  MemRefType type = bufferType(getResult());
  bool isKinds = getField() == BatchField::Kinds;
  bool fits = isRaw ? type.getRank() == 2 && !type.isDynamicDim(1)
                    : type.getRank() == 1 && type.isDynamicDim(0) &&
                          type.getElementType().isInteger(isKinds ? 8 : 32);
  if (!fits) // C2
    return emitOpError("expected the array of '")
           << stringifyBatchField(getField()) << "', found " << type;
  return success();
}

LogicalResult OutputOp::verify() {
  if (!bufferType(getResult()).getElementType().isF32()) // C1
    return emitOpError("expected f32 elements, found ") << getResult().getType();
  return success();
}

template <typename Op>
static LogicalResult verifySymbol(Op op, FlatSymbolRefAttr symbol,
                                  SymbolTableCollection &symbols) {
  if (symbols.lookupNearestSymbolFrom(op, symbol))
    return success();
  return op.emitOpError("expected a symbol ") << symbol << ", found none";
}

LogicalResult WeightOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifySymbol(*this, getWeightAttr(), symbols); // C1
}
LogicalResult
ExpertWeightsOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifySymbol(*this, getTableAttr(), symbols); // C1
}
LogicalResult
StateAppendOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifySymbol(*this, getStateAttr(), symbols); // C1
}
LogicalResult AttentionOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (!getKeyState())
    return success();
  if (failed(verifySymbol(*this, getKeyStateAttr(), symbols)))
    return failure();
  return verifySymbol(*this, getValueStateAttr(), symbols);
}

LogicalResult AllocOp::verify() {
  MemRefType type = bufferType(getResult());
  for (int64_t d = 1; d < type.getRank(); ++d)
    if (type.isDynamicDim(d)) // C2
      return emitOpError("expected static dimensions but for the first, found ")
             << type;
  return verifyExtents(*this, "rows", getRows()); // C1
}

LogicalResult ArenaSliceOp::verify() {
  if (failed(verifyExtents(*this, "offset", getOffset()))) // C1
    return failure();
  return verifyExtents(*this, "rows", getRows()); // C1
}

LogicalResult ViewOp::verify() {
  MemRefType from = bufferType(getSource()), to = bufferType(getResult());
  int64_t fromRow = 1, toRow = 1;
  for (int64_t size : from.getShape().drop_front())
    fromRow *= size;
  for (int64_t size : to.getShape().drop_front())
    toRow *= size;
  if (from.getElementType() != to.getElementType() ||
      !from.isDynamicDim(0) || !to.isDynamicDim(0) ||
      (fromRow % toRow != 0 && toRow % fromRow != 0)) // C1
    return emitOpError("expected rows that split or join, found ")
           << from << " and " << to;
  return success();
}

//===----------------------------------------------------------------------===//
// Threads
//===----------------------------------------------------------------------===//

LogicalResult ParallelOp::verify() {
  for (Operation &op : getBody().front())
    if (!isa<MoexDialect>(op.getDialect())) // C1
      return op.emitOpError("is not allowed in moex.parallel: expected a moex "
                            "operation");
  return success();
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

/// What a body sees of a row of `buffer`: with `period`, row r mod period.
static Type rowOf(Value buffer, int64_t period = 0) {
  MemRefType type = bufferType(buffer);
  ArrayRef<int64_t> shape = type.getShape();
  bool isRow = period != 0 || type.isDynamicDim(0);
  if (isRow && shape.size() == 1)
    return type.getElementType();
  return RankedTensorType::get(isRow ? shape.drop_front() : shape,
                               type.getElementType());
}

static LogicalResult verifyRows(Operation *op, TypeRange found,
                                ArrayRef<Type> expected, StringRef what) {
  if (found.size() == expected.size() && llvm::equal(found, expected))
    return success();
  InFlightDiagnostic diagnostic = op->emitOpError("expected the body's ")
                                  << what << " to be (";
  llvm::interleaveComma(expected, diagnostic);
  diagnostic << "), found (";
  llvm::interleaveComma(found, diagnostic);
  return diagnostic << ")";
}

LogicalResult RowwiseOp::verify() {
  if (getPeriod().size() != getIns().size()) // C3
    return emitOpError("expected one period per in: ")
           << getIns().size() << ", found " << getPeriod().size();
  if (failed(verifyExtents(*this, "rows", getRows()))) // C4
    return failure();
  SmallVector<Type> arguments, yielded;
  for (auto [in, period] : llvm::zip(getIns(), getPeriod())) {
    if (period != 0 && bufferType(in).getShape()[0] != period) // C3
      return emitOpError("expected an in of ")
             << period << " rows, found " << in.getType();
    arguments.push_back(rowOf(in, period));
  }
  for (Value out : getOuts())
    yielded.push_back(rowOf(out));
  Block &block = getBody().front();
  auto yield = dyn_cast<row::YieldOp>(block.getTerminator());
  if (!yield)
    return emitOpError("expected a body that ends with row.yield");
  if (failed(verifyRows(*this, block.getArgumentTypes(), arguments,
                        "arguments")) ||
      failed(verifyRows(*this, yield.getValues().getTypes(), yielded,
                        "results"))) // C1
    return failure();
  return row::RowDialect::verifyBody(getBody()); // C2
}

LogicalResult GroupedGemmOp::verify() {
  if (failed(verifyExtents(*this, "rows", getRows())))
    return failure();
  bool grouped = bool(getSegments());
  for (Value weight : getWeights()) {
    ArrayRef<int64_t> shape = bufferType(weight).getShape();
    if (weight.getType() != getWeights().front().getType() ||
        shape.size() != (grouped ? 3u : 2u) ||
        shape.back() != widthOf(getX()) / int64_t(getHeads().value_or(1)) ||
        shape[shape.size() - 2] != widthOf(getOut())) // C1
      return emitOpError("expected weights from ")
             << widthOf(getX()) << " to " << widthOf(getOut()) << " of rank "
             << (grouped ? 3 : 2) << ", found " << weight.getType();
  }
  if (!getBiases().empty() && getBiases().size() != getWeights().size()) // C2
    return emitOpError("expected one bias per weight");
  for (Value bias : getBiases()) {
    MemRefType type = bufferType(bias);
    bool fits =
        type.getRank() == (grouped ? 2 : 1) &&
        widthOf(bias) == widthOf(getOut()) &&
        (!grouped ||
         type.getDimSize(0) == bufferType(getWeights().front()).getDimSize(0));
    if (!fits) // C2
      return emitOpError("expected biases of width ")
             << widthOf(getOut()) << (grouped ? " for every expert" : "")
             << ", found " << type;
  }
  if (std::optional<uint64_t> heads = getHeads()) {
    int64_t count = *heads;
    if (count < 1 || grouped || !getBiases().empty() ||
        !getEpilogue().empty() || getWeights().size() != 1 ||
        widthOf(getX()) % count != 0 || widthOf(getOut()) % count != 0) // C5
      return emitOpError("expected one weight and widths that ")
             << count << " heads divide";
  }
  if (grouped && bufferType(getSegments()).getDimSize(0) !=
                     bufferType(getWeights().front()).getDimSize(0) + 1) // C4
    return emitOpError("expected ")
           << bufferType(getWeights().front()).getDimSize(0) + 1
           << " segment offsets, found " << getSegments().getType();
  if (getEpilogue().empty()) {
    if (getWeights().size() != 1) // C3
      return emitOpError("expected an epilogue for ")
             << getWeights().size() << " weights";
    return success();
  }
  Block &block = getEpilogue().front();
  auto yield = dyn_cast<row::YieldOp>(block.getTerminator());
  bool fits = block.getNumArguments() == getWeights().size() && yield &&
              yield.getValues().size() == 1 &&
              yield.getValues()[0].getType().isF32() &&
              llvm::all_of(block.getArgumentTypes(),
                           [](Type type) { return type.isF32(); });
  if (!fits) // C3
    return emitOpError("expected an epilogue from ")
           << getWeights().size() << " f32 to f32";
  return row::RowDialect::verifyBody(getEpilogue());
}

/// The buffers of a plan over ids [?, K].
static LogicalResult verifyPlan(Operation *op, Value ids, Value rows,
                                Value offsets, Value slotRows,
                                int64_t experts) {
  if (bufferType(ids).getRank() != 2 || ids.getType() != slotRows.getType())
    return op->emitOpError("expected ids and slot rows of one type "
                           "memref<?xKxi32>, found ")
           << ids.getType() << " and " << slotRows.getType();
  if (bufferType(rows).getRank() != 1 || bufferType(offsets).getRank() != 1 ||
      bufferType(offsets).getDimSize(0) != experts + 1)
    return op->emitOpError("expected ")
           << experts + 1 << " offsets, found " << offsets.getType();
  return success();
}

LogicalResult RouteSortOp::verify() {
  if (failed(verifyPlan(*this, getIds(), getRows(), getOffsets(), getSlotRows(),
                        getExperts()))) // C2
    return failure();
  if (bufferType(getWeights()).getShape() != bufferType(getIds()).getShape()) // C2
    return emitOpError("expected as many weights as ids, found ")
           << getWeights().getType() << " and " << getIds().getType();
  SmallVector<Type> arguments;
  for (Value in : getIns())
    arguments.push_back(rowOf(in));
  Block &block = getBody().front();
  auto yield = dyn_cast<row::YieldOp>(block.getTerminator());
  if (!yield)
    return emitOpError("expected a body that ends with row.yield");
  if (failed(verifyRows(*this, block.getArgumentTypes(), arguments,
                        "arguments")) ||
      failed(verifyRows(*this, yield.getValues().getTypes(),
                        {rowOf(getIds()), rowOf(getWeights())},
                        "results"))) // C1
    return failure();
  return row::RowDialect::verifyBody(getBody()); // C3
}

LogicalResult PlanOp::verify() {
  return verifyPlan(*this, getIds(), getRows(), getOffsets(), getSlotRows(),
                    getExperts()); // C1
}

LogicalResult LimitSlotsOp::verify() {
  ArrayRef<int64_t> shape = bufferType(getIds()).getShape();
  for (Value buffer : {getWeights(), getLimitedIds(), getLimitedWeights()})
    if (shape.size() != 2 || bufferType(buffer).getShape() != shape) // C1
      return emitOpError("expected ids and weights of one shape [?, K], found ")
             << getIds().getType() << " and " << buffer.getType();
  return success();
}

LogicalResult ExportRoutingOp::verify() {
  if (bufferType(getIds()).getRank() != 2 ||
      bufferType(getIds()).getShape() !=
          bufferType(getWeights()).getShape()) // C1
    return emitOpError("expected ids and weights [?, K], found ")
           << getIds().getType() << " and " << getWeights().getType();
  if (bool(getKinds()) != getKind().has_value()) // C2
    return emitOpError("expected 'kind' exactly when there are kinds");
  return success();
}

LogicalResult RoutingOperandOp::verify() {
  std::optional<RoutingField> field = symbolizeRoutingField(getField());
  if (!field || !isTypeOf(*field, bufferType(getOut()))) // C1
    return emitOpError("expected one of ids, weights, bias, mask and count, "
                       "and its type, found ")
           << getFieldAttr() << " and " << getOut().getType();
  return success();
}

LogicalResult CombineRowsOp::verify() {
  if (bufferType(getSlotRows()).getRank() != 2 ||
      bufferType(getSlotRows()).getShape() != bufferType(getWeights()).getShape() ||
      widthOf(getRows()) != widthOf(getOut())) // C1
    return emitOpError("expected slot rows and weights [?, K] and rows as wide "
                       "as the out, found ")
           << getSlotRows().getType() << ", " << getWeights().getType() << ", "
           << getRows().getType() << " and " << getOut().getType();
  return success();
}

LogicalResult LookupOp::verify() {
  if (widthOf(getTable()) != widthOf(getOut())) // C1
    return emitOpError("expected table and out of one width, found ")
           << getTable().getType() << " and " << getOut().getType();
  if (bool(getKinds()) != getKind().has_value()) // C2
    return emitOpError("expected 'kind' exactly when there are kinds");
  return verifyExtents(*this, "rows", getRowsAttr().getValue());
}

LogicalResult SequenceLengthsOp::verify() {
  if (bufferType(getOut()).getRank() != 1) // C1
    return emitOpError("expected an out memref<?xi32>, found ")
           << getOut().getType();
  return success();
}

LogicalResult AttentionOp::verify() {
  bool buffers = getKey() && getValue() && !getKeyState();
  bool states = !getKey() && !getValue() && getKeyState() && getValueState();
  if (!buffers && !states) // C1
    return emitOpError("expected keys and values as buffers or as states");
  if (getSinks() && (bufferType(getSinks()).getRank() != 1 ||
                     widthOf(getSinks()) != int64_t(getHeads()))) // C2
    return emitOpError("expected ")
           << getHeads() << " sinks, found " << getSinks().getType();
  return success();
}
