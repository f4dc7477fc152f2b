//===- RowBody.cpp - Row bodies on a CPU ----------------------------------===//
#include "compiler/targets/generic/RowBody.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/TypeSwitch.h"

#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::generic;
using target::kLanes;

static Type elementOf(Value row) { return getElementTypeOrSelf(row.getType()); }

static int64_t countOf(Value row) {
  return cast<RankedTensorType>(row.getType()).getNumElements();
}

static bool isRow(Value value) { return isa<RankedTensorType>(value.getType()); }

/// 0 .. active - 1, then zeros: what a partial block's lanes repeat.
static SmallVector<int64_t> activeLanes(int64_t active) {
  SmallVector<int64_t> lanes(kLanes, 0);
  for (int64_t lane = 0; lane < active; ++lane)
    lanes[lane] = lane;
  return lanes;
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

void RowBody::bind(Value argument, Value pointer) {
  if (isRow(argument))
    memory[argument] = {pointer, false};
  else
    scalars[argument] = b.load(pointer, argument.getType());
}

Value RowBody::getScalar(Value value) { return scalars.lookup(value); }

Value RowBody::allocate(Type element, int64_t count) {
  return b.stack(llvm::alignTo(count, kLanes) * CodeBuilder::byteSize(element));
}

Value RowBody::getPointer(Value row) {
  materialize(row);
  return memory[row].pointer;
}

void RowBody::materialize(Value row) {
  if (!isRow(row) || memory.count(row))
    return;
  Value pointer = allocate(elementOf(row), countOf(row));
  storeBlocks(row, pointer, /*isPadded=*/true);
  memory[row] = {pointer, true};
}

void RowBody::store(Value row, Value pointer) {
  if (isRow(row))
    storeBlocks(row, pointer, /*isPadded=*/false);
  else
    b.store(getScalar(row), pointer);
}

void RowBody::storeBlocks(Value row, Value pointer, bool isPadded) {
  forBlocks(countOf(row), [&](Value offset, int64_t active) {
    Value vector = block(row, offset, active, /*isAligned=*/true);
    b.storeLanes(vector, pointer, offset, isPadded ? kLanes : active);
  });
}

bool RowBody::isCheap(Value row) {
  if (memory.count(row))
    return true;
  Operation *op = row.getDefiningOp();
  if (isa<row::SplatOp, row::IotaOp>(op))
    return true;
  if (auto reshape = dyn_cast<row::ReshapeOp>(op))
    return isCheap(reshape.getInput());
  if (auto select = dyn_cast<row::SelectOp>(op))
    return isCheap(select.getTrueRow()) && isCheap(select.getFalseRow());
  if (auto gather = dyn_cast<row::GatherOp>(op))
    return permutations.count(row);
  return false;
}

bool RowBody::wantsMemory(Value row) {
  bool byIndex = llvm::any_of(row.getUsers(), [](Operation *user) {
    return isa<row::GatherOp, row::TableOp, row::ScanOp, row::TopKOp>(user);
  });
  return byIndex || (!row.hasOneUse() && !isCheap(row));
}

//===----------------------------------------------------------------------===//
// Blocks
//===----------------------------------------------------------------------===//

void RowBody::forBlocks(int64_t count,
                        function_ref<void(Value, int64_t)> body) {
  foldBlocks(count, {}, [&](Value offset, int64_t active, ValueRange) {
    body(offset, active);
    return CodeBuilder::Values();
  });
}

CodeBuilder::Values RowBody::foldBlocks(
    int64_t count, ValueRange init,
    function_ref<CodeBuilder::Values(Value, int64_t, ValueRange)> body) {
  int64_t whole = count / kLanes * kLanes, rest = count % kLanes;
  CodeBuilder::Values values(init.begin(), init.end());
  if (whole == kLanes)
    values = body(b.i64(0), kLanes, values);
  else if (whole > 0)
    values = b.loop(b.i64(0), b.i64(whole), b.i64(kLanes), values,
                    [&](Value offset, ValueRange carried) {
                      return body(offset, kLanes, carried);
                    });
  if (rest > 0)
    values = body(b.i64(whole), rest, values);
  return values;
}

Value RowBody::block(Value row, Value offset, int64_t active, bool isAligned) {
  Type element = elementOf(row);
  auto known = memory.find(row);
  if (known != memory.end()) {
    bool isWhole = known->second.isPadded && isAligned;
    return b.loadLanes(known->second.pointer, offset, element,
                       isWhole ? kLanes : active);
  }
  return llvm::TypeSwitch<Operation *, Value>(row.getDefiningOp())
      .Case([&](row::MapOp op) {
        return mapBlock(op, offset, active, isAligned);
      })
      .Case([&](row::SplatOp op) { return b.splat(getScalar(op.getInput())); })
      .Case([&](row::IotaOp op) -> Value {
        Value start = b.create<arith::TruncIOp>(b.getI32Type(), offset);
        return b.add(b.splat(start), b.lanes(activeLanes(active), 32));
      })
      .Case([&](row::ReshapeOp op) {
        return block(op.getInput(), offset, active, isAligned);
      })
      .Case([&](row::SelectOp op) {
        return b.select(getScalar(op.getCondition()),
                        block(op.getTrueRow(), offset, active, isAligned),
                        block(op.getFalseRow(), offset, active, isAligned));
      })
      .Case([&](row::GatherOp op) {
        return gatherBlock(op, offset, active, isAligned);
      });
}

Value RowBody::mapBlock(row::MapOp op, Value offset, int64_t active,
                        bool isAligned) {
  CodeBuilder::Values arguments;
  for (Value input : op.getInputs())
    arguments.push_back(isRow(input)
                            ? block(input, offset, active, isAligned)
                            : getScalar(input));
  FailureOr<CodeBuilder::Values> results =
      b.vectorize(op.getBody().front(), arguments, kLanes,
                  [&](Value value) { return getScalar(value); });
  if (failed(results)) {
    status = failure();
    return b.constant(b.vectorOf(elementOf(op.getResult())), 0);
  }
  return b.splat(results->front());
}

Value RowBody::gatherBlock(row::GatherOp op, Value offset, int64_t active,
                           bool isAligned) {
  Type element = elementOf(op.getResult());
  Value source = getPointer(op.getSource());
  auto known = permutations.find(op.getResult());
  if (known != permutations.end() && isAligned && active == kLanes) {
    Value number = b.div(offset, kLanes);
    Value base =
        b.widen(b.load(known->second.bases, number, b.getI32Type()));
    Value vector = b.loadLanes(source, base, element);
    return b.shuffle(vector, vector, known->second.lanes);
  }
  Value indices = getPointer(op.getIndices());
  CodeBuilder::Values parts;
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    if (lane >= active) {
      parts.push_back(parts.front());
      continue;
    }
    Value index =
        b.widen(b.load(indices, b.add(offset, lane), b.getI32Type()));
    parts.push_back(b.splat(b.load(source, index, element), 1));
  }
  return b.concat(parts);
}

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

LogicalResult RowBody::run(Block &body) {
  for (Operation &op : body.without_terminator()) {
    b.setLoc(op.getLoc());
    if (failed(lower(op)) || failed(status))
      return failure();
  }
  return status;
}

LogicalResult RowBody::lower(Operation &op) {
  for (Value result : op.getResults())
    if (isRow(result) && !CodeBuilder::isMemoryType(elementOf(result)))
      return op.emitOpError("has elements that target 'generic' cannot store: ")
             << elementOf(result);
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
    return op.emitOpError("is not supported by target 'generic'");
  // Lazy, unless it is used in a way that needs memory.
  if (wantsMemory(op.getResult(0)))
    materialize(op.getResult(0));
  return status;
}

LogicalResult RowBody::lowerScalar(Operation &op) {
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

LogicalResult RowBody::lowerConstant(row::ConstantOp op) {
  auto value = dyn_cast<DenseElementsAttr>(op.getValue());
  if (!value)
    return op.emitOpError("expected a dense constant, found ") << op.getValue();
  memory[op.getResult()] = {module.getConstant(b, value), false};
  return success();
}

bool RowBody::lowerReshape(row::ReshapeOp op) {
  auto known = memory.find(op.getInput());
  if (known == memory.end())
    return false;
  Memory same = known->second;
  memory[op.getResult()] = same;
  return true;
}

bool RowBody::lowerSelect(row::SelectOp op) {
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

void RowBody::lowerTable(row::TableOp op) {
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

void RowBody::lowerScan(row::ScanOp op) {
  Type element = elementOf(op.getResult());
  int64_t count = countOf(op.getResult());
  Value source = getPointer(op.getInput());
  Value result = allocate(element, count);
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
  memory[op.getResult()] = {result, false};
}

/// The place of each block of 16 indices and the order inside, if it is the same
/// for all blocks.
static bool findPermutation(ArrayRef<int32_t> indices, int64_t sourceCount,
                            SmallVectorImpl<int64_t> &lanes,
                            SmallVectorImpl<int32_t> &bases) {
  if (indices.empty() || indices.size() % kLanes != 0)
    return false;
  for (size_t first = 0; first < indices.size(); first += kLanes) {
    ArrayRef<int32_t> part = indices.slice(first, kLanes);
    int32_t base = *llvm::min_element(part);
    if (base < 0 || base + kLanes > sourceCount)
      return false;
    SmallVector<int64_t> order;
    for (int32_t index : part)
      order.push_back(index - base);
    if (*llvm::max_element(order) >= kLanes)
      return false;
    if (first == 0)
      lanes.assign(order.begin(), order.end());
    else if (!llvm::equal(lanes, order))
      return false;
    bases.push_back(base);
  }
  return true;
}

void RowBody::lowerGather(row::GatherOp op) {
  Value result = op.getResult();
  auto constant = op.getIndices().getDefiningOp<row::ConstantOp>();
  auto dense = constant ? dyn_cast<DenseElementsAttr>(constant.getValue())
                        : DenseElementsAttr();
  if (dense) {
    Permutation permutation;
    SmallVector<int32_t> bases;
    if (findPermutation(llvm::to_vector(dense.getValues<int32_t>()),
                        countOf(op.getSource()), permutation.lanes, bases)) {
      auto type = RankedTensorType::get({static_cast<int64_t>(bases.size())},
                                        b.getI32Type());
      permutation.bases = module.getConstant(
          b, DenseElementsAttr::get(type, ArrayRef<int32_t>(bases)));
      permutations[result] = permutation;
      getPointer(op.getSource());
      if (wantsMemory(result))
        materialize(result);
      return;
    }
  }
  Type element = elementOf(result);
  int64_t count = countOf(result);
  Value source = getPointer(op.getSource());
  Value indices = getPointer(op.getIndices());
  Value buffer = allocate(element, count);
  Value zero = b.constant(element, 0);
  b.loop(b.i64(0), b.i64(count), 1, [&](Value i) {
    Value index = b.load(indices, i, b.getI32Type());
    Value isNone = b.lessThan(index, b.i32(0));
    Value safe = b.widen(b.select(isNone, b.i32(0), index));
    Value x = b.load(source, safe, element);
    b.store(b.select(isNone, zero, x), buffer, i);
  });
  memory[result] = {buffer, false};
}

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

/// `a` combined with `b`. A maximum or minimum keeps `a` unless `b` is beyond
/// it, so NaN never wins, as in row.argmax.
static Value combine(CodeBuilder &b, row::Reduction kind, Value x, Value y) {
  bool isFloat = isa<FloatType>(getElementTypeOrSelf(x.getType()));
  if (kind == row::Reduction::Sum) {
    if (isFloat)
      return b.create<arith::AddFOp>(x, y);
    return b.add(x, y);
  }
  bool isMax = kind == row::Reduction::Max;
  Value isBeyond;
  if (isFloat)
    isBeyond = b.create<arith::CmpFOp>(isMax ? arith::CmpFPredicate::OGT
                                             : arith::CmpFPredicate::OLT,
                                       y, x);
  else
    isBeyond = b.compare(isMax ? arith::CmpIPredicate::sgt
                               : arith::CmpIPredicate::slt,
                         y, x);
  return b.select(isBeyond, y, x);
}

/// What a reduction of no elements gives.
static Value neutral(CodeBuilder &b, row::Reduction kind, Type type) {
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

Value RowBody::reduceBlocks(Value input, Value base, int64_t count,
                            bool isAligned, row::Reduction kind) {
  VectorType type = b.vectorOf(elementOf(input));
  CodeBuilder::Values partial = foldBlocks(
      count, ValueRange{neutral(b, kind, type)},
      [&](Value offset, int64_t active,
          ValueRange carried) -> CodeBuilder::Values {
        Value x = block(input, b.add(base, offset), active, isAligned);
        Value y = combine(b, kind, carried[0], x);
        if (active < kLanes) {
          SmallVector<int64_t> mask(kLanes, 0);
          std::fill_n(mask.begin(), active, 1);
          y = b.create<arith::SelectOp>(b.lanes(mask, 1), y, carried[0]);
        }
        return {y};
      });
  return b.foldLanes(partial[0], [&](Value x, Value y) {
    return combine(b, kind, x, y);
  });
}

void RowBody::lowerReduce(row::ReduceOp op) {
  Value input = op.getInput();
  int64_t width = op.getInput().getType().getShape().back();
  if (!isRow(op.getResult())) {
    scalars[op.getResult()] = reduceBlocks(input, b.i64(0), width,
                                           /*isAligned=*/true, op.getKind());
    return;
  }
  int64_t groups = countOf(op.getResult());
  Value result = allocate(elementOf(input), groups);
  b.loop(b.i64(0), b.i64(groups), 1, [&](Value group) {
    Value sum = reduceBlocks(input, b.mul(group, width), width,
                             width % kLanes == 0, op.getKind());
    b.store(sum, result, group);
  });
  memory[op.getResult()] = {result, false};
}

LogicalResult RowBody::lowerLargest(Value input, int64_t count, Value values,
                                    Value indices, Value index) {
  // Elements become integers of the same order: NaN lowest but one, elements
  // found already lowest. The first lane with the largest key wins.
  Type element = elementOf(input);
  bool isFloat = isa<FloatType>(element);
  unsigned bits = element.getIntOrFloatBitWidth();
  if (!isFloat && bits > 32)
    return emitError(b.getLoc(), "row.top_k on ")
           << element << " is not supported by target 'generic'";
  unsigned keyBits = (isFloat ? bits <= 32 : bits < 32) ? 32 : 64;
  Type keyType = b.getIntegerType(keyBits);
  VectorType keyVector = b.vectorOf(keyType);
  auto keyConstant = [&](int64_t value) -> Value {
    auto splat = DenseElementsAttr::get(keyVector,
                                        APInt(64, value).trunc(keyBits));
    return b.create<arith::ConstantOp>(cast<TypedAttr>(Attribute(splat)));
  };
  int64_t lowest = keyBits == 32 ? std::numeric_limits<int32_t>::min()
                                 : std::numeric_limits<int64_t>::min();
  int64_t width = countOf(input);
  Value keys = allocate(keyType, width);
  forBlocks(width, [&](Value offset, int64_t active) {
    Value x = block(input, offset, active, /*isAligned=*/true);
    Value key;
    if (isFloat) {
      Value number = bits < 32 ? b.toF32(x) : x;
      // -0 and 0 are equal.
      number = b.create<arith::AddFOp>(number,
                                       b.constant(number.getType(), 0.0));
      Value code = b.create<arith::BitcastOp>(keyVector, number);
      Value sign =
          b.create<arith::ShRSIOp>(code, keyConstant(keyBits - 1));
      Value flip = b.create<arith::AndIOp>(sign, keyConstant(~lowest));
      key = b.create<arith::XOrIOp>(code, flip);
      Value isNan = b.create<arith::CmpFOp>(arith::CmpFPredicate::UNO, number,
                                            number);
      key = b.select(isNan, keyConstant(lowest + 1), key);
    } else {
      key = b.create<arith::ExtSIOp>(keyVector, x);
    }
    if (active < kLanes) {
      SmallVector<int64_t> mask(kLanes, 0);
      std::fill_n(mask.begin(), active, 1);
      key = b.select(b.lanes(mask, 1), key, keyConstant(lowest));
    }
    b.storeLanes(key, keys, offset);
  });

  VectorType indexVector = b.vectorOf(b.getI32Type());
  Value noKey = keyConstant(lowest);
  Value noIndex =
      b.constant(indexVector, std::numeric_limits<int32_t>::max());
  Value lanes = b.lanes(activeLanes(kLanes), 32);
  auto findLargest = [&]() -> Value {
    CodeBuilder::Values best = foldBlocks(
        llvm::alignTo(width, kLanes), ValueRange{noKey, noIndex},
        [&](Value offset, int64_t,
            ValueRange carried) -> CodeBuilder::Values {
          Value key = b.loadLanes(keys, offset, keyType);
          Value start = b.create<arith::TruncIOp>(b.getI32Type(), offset);
          Value place = b.add(b.splat(start), lanes);
          Value isLarger =
              b.compare(arith::CmpIPredicate::sgt, key, carried[0]);
          return {b.select(isLarger, key, carried[0]),
                  b.select(isLarger, place, carried[1])};
        });
    Value key = best[0], place = best[1];
    for (int64_t half = kLanes / 2; half > 0; half /= 2) {
      Value keyLow = b.slice(key, 0, half), keyHigh = b.slice(key, half, half);
      Value low = b.slice(place, 0, half), high = b.slice(place, half, half);
      Value isLarger =
          b.compare(arith::CmpIPredicate::sgt, keyHigh, keyLow);
      Value isEqual = b.compare(arith::CmpIPredicate::eq, keyHigh, keyLow);
      Value isFirst = b.compare(arith::CmpIPredicate::slt, high, low);
      Value takeHigh = b.create<arith::OrIOp>(
          isLarger, b.create<arith::AndIOp>(isEqual, isFirst));
      key = b.select(takeHigh, keyHigh, keyLow);
      place = b.select(takeHigh, high, low);
    }
    return b.extract(place, 0);
  };

  if (index) {
    scalars[index] = findLargest();
    return success();
  }
  Value source = getPointer(input);
  Value valueBuffer = allocate(element, count);
  Value indexBuffer = allocate(b.getI32Type(), count);
  Value found = b.create<arith::ConstantOp>(b.getIntegerAttr(keyType, lowest));
  b.loop(b.i64(0), b.i64(count), 1, [&](Value i) {
    Value place = findLargest();
    Value wide = b.widen(place);
    b.store(place, indexBuffer, i);
    b.store(b.load(source, wide, element), valueBuffer, i);
    b.store(found, keys, wide);
  });
  memory[values] = {valueBuffer, false};
  memory[indices] = {indexBuffer, false};
  return success();
}
