//===- RowBody.cpp - Row bodies on a CPU ----------------------------------===//
#include "compiler/targets/generic/RowBody.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/TypeSwitch.h"

#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::generic;
using target::kLanes;

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

Value RowBody::allocate(Type element, int64_t count) {
  return b.stack(llvm::alignTo(count, kLanes) * CodeBuilder::byteSize(element));
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

void RowBody::lowerScan(row::ScanOp op) {
  Type element = elementOf(op.getResult());
  int64_t count = countOf(op.getResult());
  Value source = getPointer(op.getInput());
  Value result = allocate(element, count);
  buildScan(element, count, source, result);
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

Value RowBody::reduceBlocks(Value input, Value base, int64_t count,
                            bool isAligned, row::Reduction kind) {
  VectorType type = b.vectorOf(elementOf(input));
  CodeBuilder::Values partial = foldBlocks(
      count, ValueRange{neutralElement(b, kind, type)},
      [&](Value offset, int64_t active,
          ValueRange carried) -> CodeBuilder::Values {
        Value x = block(input, b.add(base, offset), active, isAligned);
        Value y = combineReduction(b, kind, carried[0], x);
        if (active < kLanes) {
          SmallVector<int64_t> mask(kLanes, 0);
          std::fill_n(mask.begin(), active, 1);
          y = b.create<arith::SelectOp>(b.lanes(mask, 1), y, carried[0]);
        }
        return {y};
      });
  return b.foldLanes(partial[0], [&](Value x, Value y) {
    return combineReduction(b, kind, x, y);
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
  // The first lane with the largest key wins.
  Type element = elementOf(input);
  FailureOr<OrderKeys> order = OrderKeys::get(b, element, target);
  if (failed(order))
    return failure();
  Type keyType = order->type;
  int64_t width = countOf(input);
  Value noKey = order->constant(b, order->lowest, kLanes);
  Value keys = allocate(keyType, width);
  forBlocks(width, [&](Value offset, int64_t active) {
    Value key =
        order->of(b, block(input, offset, active, /*isAligned=*/true));
    if (active < kLanes) {
      SmallVector<int64_t> mask(kLanes, 0);
      std::fill_n(mask.begin(), active, 1);
      key = b.select(b.lanes(mask, 1), key, noKey);
    }
    b.storeLanes(key, keys, offset);
  });

  VectorType indexVector = b.vectorOf(b.getI32Type());
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
  Value found = order->constant(b, order->lowest);
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
