//===- RowLowering.cpp - What all lowerings of row bodies share -----------===//
#include "compiler/targets/generic/RowLowering.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/TypeSwitch.h"

#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::generic;

RowLowering::~RowLowering() = default;

Type generic::elementOf(Value row) {
  return getElementTypeOrSelf(row.getType());
}

int64_t generic::countOf(Value row) {
  return cast<RankedTensorType>(row.getType()).getNumElements();
}

bool generic::isRow(Value value) {
  return isa<RankedTensorType>(value.getType());
}

//===----------------------------------------------------------------------===//
// Reductions, order
//===----------------------------------------------------------------------===//

Value generic::combineReduction(CodeBuilder &b, row::Reduction kind, Value x,
                                Value y) {
  bool isFloat = isa<FloatType>(getElementTypeOrSelf(x.getType()));
  if (kind == row::Reduction::Sum) {
    if (isFloat)
      return b.create<arith::AddFOp>(x, y);
    return b.add(x, y);
  }
  bool isMax = kind == row::Reduction::Max;
  Value isBeyond;
  if (isFloat)
    isBeyond = b.create<arith::CmpFOp>(
        isMax ? arith::CmpFPredicate::OGT : arith::CmpFPredicate::OLT, y, x);
  else
    isBeyond = b.compare(
        isMax ? arith::CmpIPredicate::sgt : arith::CmpIPredicate::slt, y, x);
  return b.select(isBeyond, y, x);
}

Value generic::neutralElement(CodeBuilder &b, row::Reduction kind, Type type) {
  Type element = getElementTypeOrSelf(type);
  if (kind == row::Reduction::Sum)
    return b.constant(type, 0);
  bool isMax = kind == row::Reduction::Max;
  double infinity = std::numeric_limits<double>::infinity();
  if (isa<FloatType>(element))
    return b.constant(type, isMax ? -infinity : infinity);
  // Exact: integers of reductions have 32 bits.
  return b.constant(type, isMax ? std::numeric_limits<int32_t>::min()
                                : std::numeric_limits<int32_t>::max());
}

FailureOr<OrderKeys> OrderKeys::get(CodeBuilder &b, Type element,
                                    StringRef target) {
  bool isFloat = isa<FloatType>(element);
  unsigned bits = element.getIntOrFloatBitWidth();
  if (!isFloat && bits > 32)
    return emitError(b.getLoc(), "row.top_k on ")
           << element << " is not supported by target '" << target << "'";
  bool isShort = isFloat ? bits <= 32 : bits < 32;
  OrderKeys keys;
  keys.type = b.getIntegerType(isShort ? 32 : 64);
  keys.lowest = isShort ? std::numeric_limits<int32_t>::min()
                        : std::numeric_limits<int64_t>::min();
  return keys;
}

Value OrderKeys::constant(CodeBuilder &b, int64_t value, int64_t lanes) const {
  APInt bits = APInt(64, value).trunc(type.getIntOrFloatBitWidth());
  if (lanes == 0)
    return b.create<arith::ConstantOp>(b.getIntegerAttr(type, bits));
  auto splat = DenseElementsAttr::get(b.vectorOf(type, lanes), bits);
  return b.create<arith::ConstantOp>(cast<TypedAttr>(Attribute(splat)));
}

Value OrderKeys::of(CodeBuilder &b, Value elements) const {
  auto vector = dyn_cast<VectorType>(elements.getType());
  int64_t lanes = vector ? vector.getNumElements() : 0;
  Type keyType = vector ? Type(b.vectorOf(type, lanes)) : type;
  auto key = [&](int64_t value) { return constant(b, value, lanes); };
  Type element = getElementTypeOrSelf(elements.getType());
  if (!isa<FloatType>(element))
    return b.create<arith::ExtSIOp>(keyType, elements);
  Value number =
      element.getIntOrFloatBitWidth() < 32 ? b.toF32(elements) : elements;
  // -0 and 0 are equal.
  number = b.create<arith::AddFOp>(number, b.constant(number.getType(), 0.0));
  Value code = b.create<arith::BitcastOp>(keyType, number);
  Value sign =
      b.create<arith::ShRSIOp>(code, key(type.getIntOrFloatBitWidth() - 1));
  Value flip = b.create<arith::AndIOp>(sign, key(~lowest));
  Value ordered = b.create<arith::XOrIOp>(code, flip);
  Value isNan =
      b.create<arith::CmpFOp>(arith::CmpFPredicate::UNO, number, number);
  return b.select(isNan, key(lowest + 1), ordered);
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

void RowLowering::bind(Value argument, Value pointer) {
  if (isRow(argument))
    memory[argument] = {pointer, false};
  else
    scalars[argument] = b.load(pointer, argument.getType());
}

Value RowLowering::getPointer(Value row) {
  materialize(row);
  return memory[row].pointer;
}

bool RowLowering::isCheap(Value row) const {
  if (memory.count(row))
    return true;
  Operation *op = row.getDefiningOp();
  if (isa<row::SplatOp, row::IotaOp>(op))
    return true;
  if (auto reshape = dyn_cast<row::ReshapeOp>(op))
    return isCheap(reshape.getInput());
  if (auto select = dyn_cast<row::SelectOp>(op))
    return isCheap(select.getTrueRow()) && isCheap(select.getFalseRow());
  return isa<row::GatherOp>(op) && isCheapGather(row);
}

bool RowLowering::wantsMemory(Value row) const {
  bool byIndex = llvm::any_of(row.getUsers(), [](Operation *user) {
    return isa<row::GatherOp, row::TableOp, row::ScanOp, row::TopKOp>(user);
  });
  return byIndex || (!row.hasOneUse() && !isCheap(row));
}

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

LogicalResult RowLowering::run(Block &body) {
  for (Operation &op : body.without_terminator()) {
    b.setLoc(op.getLoc());
    if (failed(lower(op)) || failed(status))
      return failure();
  }
  return status;
}

LogicalResult RowLowering::lower(Operation &op) {
  for (Value result : op.getResults())
    if (isRow(result) && !CodeBuilder::isMemoryType(elementOf(result)))
      return op.emitOpError("has elements that target '")
             << target << "' cannot store: " << elementOf(result);
  bool isDone =
      llvm::TypeSwitch<Operation *, bool>(&op)
          .Case([&](row::ReduceOp o) { return lowerReduce(o), true; })
          .Case([&](row::ScanOp o) { return lowerScan(o), true; })
          .Case([&](row::TableOp o) { return lowerTable(o), true; })
          .Case([&](row::GatherOp o) { return lowerGather(o), true; })
          .Case([&](row::ReshapeOp o) { return lowerReshape(o); })
          .Case([&](row::SelectOp o) { return lowerSelect(o); })
          .Case([&](row::ConstantOp o) {
            status = lowerConstant(o);
            return true;
          })
          .Case([&](row::ArgmaxOp o) {
            status = lowerLargest(o.getInput(), 1, {}, {}, o.getIndex());
            return true;
          })
          .Case([&](row::TopKOp o) {
            status = lowerLargest(o.getInput(), countOf(o.getValues()),
                                  o.getValues(), o.getIndices(), {});
            return true;
          })
          .Default([](Operation *) { return false; });
  if (isDone)
    return status;
  if (!isa<row::RowDialect>(op.getDialect()))
    return lowerScalar(op);
  if (!isa<row::MapOp, row::SplatOp, row::IotaOp, row::ReshapeOp,
           row::SelectOp>(op))
    return op.emitOpError("is not supported by target '") << target << "'";
  // Lazy, unless it is used in a way that needs memory.
  if (wantsMemory(op.getResult(0)))
    materialize(op.getResult(0));
  return status;
}

LogicalResult RowLowering::lowerScalar(Operation &op) {
  SmallVector<Value> operands;
  for (Value operand : op.getOperands())
    operands.push_back(getScalar(operand));
  Operation *clone = b.rebuild(op, operands);
  if (!clone)
    return failure();
  for (auto [from, to] : llvm::zip(op.getResults(), clone->getResults()))
    scalars[from] = to;
  return success();
}

LogicalResult RowLowering::lowerConstant(row::ConstantOp op) {
  auto value = dyn_cast<DenseElementsAttr>(op.getValue());
  if (!value)
    return op.emitOpError("expected a dense constant, found ") << op.getValue();
  memory[op.getResult()] = {module.getConstant(b, value), false};
  return success();
}

bool RowLowering::lowerReshape(row::ReshapeOp op) {
  auto known = memory.find(op.getInput());
  if (known == memory.end())
    return false;
  Memory same = known->second;
  memory[op.getResult()] = same;
  return true;
}

bool RowLowering::lowerSelect(row::SelectOp op) {
  auto yes = memory.find(op.getTrueRow()), no = memory.find(op.getFalseRow());
  if (yes == memory.end() || no == memory.end())
    return false;
  Memory chosen;
  chosen.pointer = b.select(getScalar(op.getCondition()), yes->second.pointer,
                            no->second.pointer);
  chosen.isPadded = yes->second.isPadded && no->second.isPadded;
  memory[op.getResult()] = chosen;
  return true;
}

void RowLowering::lowerTable(row::TableOp op) {
  Value result = op.getResult();
  int64_t line = isRow(result) ? countOf(result) : 1;
  Value offset = b.mul(b.widen(getScalar(op.getIndex())), line);
  Value pointer =
      b.element(getPointer(op.getSource()), offset, elementOf(result));
  if (isRow(result))
    memory[result] = {pointer, false};
  else
    scalars[result] = b.load(pointer, result.getType());
}

void RowLowering::buildScan(Type element, int64_t count, Value source,
                            Value result) {
  bool isFloat = isa<FloatType>(element);
  // -0 is the number that a float sum may start from unnoticed.
  b.loop(b.i64(0), b.i64(count), b.i64(1),
         ValueRange{b.constant(element, isFloat ? -0.0 : 0)},
         [&](Value i, ValueRange carried) -> CodeBuilder::Values {
           Value x = b.load(source, i, element);
           Value sum = isFloat
                           ? b.create<arith::AddFOp>(carried[0], x).getResult()
                           : b.add(carried[0], x);
           b.store(sum, result, i);
           return {sum};
         });
}
