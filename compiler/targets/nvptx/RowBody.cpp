//===- RowBody.cpp - Row bodies on a group of threads ---------------------===//
#include "compiler/targets/nvptx/RowBody.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/TypeSwitch.h"

#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;
using generic::combineReduction;
using generic::countOf;
using generic::elementOf;
using generic::isRow;

/// Chains of a sum (row.reduce).
static constexpr int64_t kChains = 16;

static int64_t bytesOf(Type element, int64_t count) {
  return llvm::alignTo(count * CodeBuilder::byteSize(element), 16);
}

/// Which rows get memory shows when a body is built: it is, into a module that
/// is thrown away.
FailureOr<int64_t> RowBody::measureSharedBytes(Block &body,
                                               const target::IsaLevel &level,
                                               int64_t group,
                                               bool materialized) {
  Location loc = body.getParentOp()->getLoc();
  MLIRContext *context = loc.getContext();
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
  target::KernelModule functions(*module, level);
  auto type = LLVM::LLVMFunctionType::get(
      LLVM::LLVMVoidType::get(context), {LLVM::LLVMPointerType::get(context)});
  LLVM::LLVMFuncOp func = functions.createFunction(loc, "measured", type);
  Block &entry = func.getBody().front();
  CodeBuilder b(loc, &entry);
  Value anywhere = entry.getArgument(0);
  RowBody rowBody(b, functions, anywhere, group, threadId(b));
  for (Value argument : body.getArguments())
    rowBody.bind(argument, anywhere);
  if (failed(rowBody.run(body)))
    return failure();
  if (materialized)
    rowBody.materializeAll(body.getTerminator()->getOperands());
  for (Value value : body.getTerminator()->getOperands())
    rowBody.store(value, anywhere);
  if (failed(rowBody.getStatus()))
    return failure();
  return rowBody.usedBytes;
}

int64_t RowBody::getWidth(Block &body) {
  int64_t width = 1;
  auto count = [&](Value value) {
    if (isRow(value))
      width = std::max(width, countOf(value));
  };
  for (Operation &op : body) {
    llvm::for_each(op.getResults(), count);
    llvm::for_each(op.getOperands(), count);
  }
  return width;
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

void RowBody::sync() { group == kWarp ? syncWarp(b) : syncBlock(b); }

Value RowBody::allocate(Type element, int64_t count) {
  Value pointer = b.field(shared, usedBytes);
  usedBytes += bytesOf(element, count);
  return pointer;
}

void RowBody::materialize(Value row) {
  if (!isRow(row) || memory.count(row))
    return;
  Value pointer = allocate(elementOf(row), countOf(row));
  forElements(countOf(row),
              [&](Value i) { b.store(element(row, i), pointer, i); });
  sync();
  memory[row] = {pointer, false};
}

void RowBody::materializeAll(ValueRange rows) {
  for (Value row : rows)
    materialize(row);
  // A row may have been the memory of an argument all along.
  sync();
}

void RowBody::store(Value row, Value pointer) {
  if (!isRow(row)) {
    Value isFirst = b.compare(arith::CmpIPredicate::eq, member, b.i64(0));
    b.ifThen(isFirst, [&] { b.store(getScalar(row), pointer); });
    return;
  }
  forElements(countOf(row),
              [&](Value i) { b.store(element(row, i), pointer, i); });
}

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

void RowBody::forElements(int64_t count, function_ref<void(Value)> body) {
  int64_t rounds = llvm::divideCeil(count, group);
  if (rounds > 1 || count % group != 0) {
    b.loop(member, b.i64(count), group, body);
    return;
  }
  body(member);
}

Value RowBody::element(Value row, Value index) {
  auto known = memory.find(row);
  if (known != memory.end())
    return b.load(known->second.pointer, index, elementOf(row));
  return llvm::TypeSwitch<Operation *, Value>(row.getDefiningOp())
      .Case([&](row::MapOp op) { return mapElement(op, index); })
      .Case([&](row::SplatOp op) { return getScalar(op.getInput()); })
      .Case([&](row::IotaOp) -> Value {
        return b.createOrFold<arith::TruncIOp>(b.getI32Type(), index);
      })
      .Case([&](row::ReshapeOp op) { return element(op.getInput(), index); })
      .Case([&](row::SelectOp op) {
        return b.select(getScalar(op.getCondition()),
                        element(op.getTrueRow(), index),
                        element(op.getFalseRow(), index));
      })
      .Case([&](row::GatherOp op) { return gatherElement(op, index); });
}

Value RowBody::mapElement(row::MapOp op, Value index) {
  CodeBuilder::Values arguments;
  for (Value input : op.getInputs())
    arguments.push_back(isRow(input) ? element(input, index)
                                     : getScalar(input));
  FailureOr<CodeBuilder::Values> results =
      b.vectorize(op.getBody().front(), arguments, /*lanes=*/1,
                  [&](Value value) { return getScalar(value); });
  if (failed(results)) {
    status = failure();
    return b.constant(elementOf(op.getResult()), 0);
  }
  return results->front();
}

Value RowBody::gatherElement(row::GatherOp op, Value index) {
  Type type = elementOf(op.getResult());
  Value from = element(op.getIndices(), index);
  Value isNone = b.lessThan(from, b.i32(0));
  Value safe = b.widen(b.select(isNone, b.i32(0), from));
  Value x = b.load(memory[op.getSource()].pointer, safe, type);
  return b.select(isNone, b.constant(type, 0), x);
}

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

void RowBody::lowerGather(row::GatherOp op) {
  getPointer(op.getSource());
  if (!isCheap(op.getIndices()))
    getPointer(op.getIndices());
  if (wantsMemory(op.getResult()))
    materialize(op.getResult());
}

/// One thread does it.
void RowBody::lowerScan(row::ScanOp op) {
  Type element = elementOf(op.getResult());
  int64_t count = countOf(op.getResult());
  Value source = getPointer(op.getInput());
  Value result = allocate(element, count);
  Value isFirst = b.compare(arith::CmpIPredicate::eq, member, b.i64(0));
  b.ifThen(isFirst, [&] { buildScan(element, count, source, result); });
  sync();
  memory[op.getResult()] = {result, false};
}

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

Value RowBody::reduceElements(Value input, Value base, int64_t count,
                              row::Reduction kind) {
  Type type = elementOf(input);
  Value chain = b.rem(member, kChains);
  int64_t whole = count / kChains * kChains;
  Value sum = generic::neutralElement(b, kind, type);
  auto at = [&](Value i) {
    return element(input, b.add(base, b.add(i, chain)));
  };
  if (whole > 0)
    sum = b.loop(b.i64(0), b.i64(whole), b.i64(kChains), ValueRange{sum},
                 [&](Value i, ValueRange carried) -> CodeBuilder::Values {
                   return {combineReduction(b, kind, carried[0], at(i))};
                 })[0];
  if (int64_t rest = count - whole) {
    Value isThere = b.lessThan(chain, b.i64(rest));
    sum = b.choose(
        isThere,
        [&]() -> CodeBuilder::Values {
          return {combineReduction(b, kind, sum, at(b.i64(whole)))};
        },
        [&]() -> CodeBuilder::Values { return {sum}; })[0];
  }
  for (int64_t half = kChains / 2; half > 0; half /= 2) {
    Value other = shuffleXor(b, sum, half);
    Value isLow = b.compare(arith::CmpIPredicate::eq,
                            b.rem(b.div(chain, half), 2), b.i64(0));
    Value low = b.select(isLow, sum, other);
    Value high = b.select(isLow, other, sum);
    sum = combineReduction(b, kind, low, high);
  }
  return sum;
}

void RowBody::lowerReduce(row::ReduceOp op) {
  Value input = op.getInput();
  int64_t width = op.getInput().getType().getShape().back();
  // Every pair of 16 lanes walks the whole row: in a block that would compute
  // each element many times.
  if (group > kWarp && !isCheap(input))
    materialize(input);
  if (!isRow(op.getResult())) {
    scalars[op.getResult()] =
        reduceElements(input, b.i64(0), width, op.getKind());
    return;
  }
  int64_t groups = countOf(op.getResult());
  int64_t together = group / kChains;
  Value result = allocate(elementOf(input), groups);
  Value first = b.div(member, kChains);
  Value isFirst =
      b.compare(arith::CmpIPredicate::eq, b.rem(member, kChains), b.i64(0));
  // All lanes take part in every round; those past the end repeat the last.
  b.loop(b.i64(0), b.i64(groups), together, [&](Value round) {
    Value number = b.add(round, first);
    Value safe = b.min(number, b.i64(groups - 1));
    Value sum = reduceElements(input, b.mul(safe, width), width, op.getKind());
    Value isThere =
        b.create<arith::AndIOp>(isFirst, b.lessThan(number, b.i64(groups)));
    b.ifThen(isThere, [&] { b.store(sum, result, number); });
  });
  sync();
  memory[op.getResult()] = {result, false};
}

LogicalResult RowBody::lowerLargest(Value input, int64_t count, Value values,
                                    Value indices, Value index) {
  // The lowest index with the largest key wins.
  Type type = elementOf(input), i32 = b.getI32Type();
  FailureOr<generic::OrderKeys> order =
      generic::OrderKeys::get(b, type, target);
  if (failed(order))
    return failure();
  Type keyType = order->type;
  int64_t width = countOf(input);
  Value noKey = order->constant(b, order->lowest);
  Value keys = allocate(keyType, width);
  forElements(width, [&](Value i) {
    b.store(order->of(b, element(input, i)), keys, i);
  });
  sync();

  Value lane = b.rem(member, kWarp);
  auto findLargest = [&]() -> Value {
    // The first of a lane has the lowest index.
    CodeBuilder::Values best =
        b.loop(lane, b.i64(width), b.i64(kWarp),
               ValueRange{noKey, b.i32(std::numeric_limits<int32_t>::max())},
               [&](Value i, ValueRange carried) -> CodeBuilder::Values {
                 Value key = b.load(keys, i, keyType);
                 Value isLarger =
                     b.compare(arith::CmpIPredicate::sgt, key, carried[0]);
                 Value place = b.create<arith::TruncIOp>(i32, i);
                 return {b.select(isLarger, key, carried[0]),
                         b.select(isLarger, place, carried[1])};
               });
    Value key = best[0], place = best[1];
    for (int64_t half = kWarp / 2; half > 0; half /= 2) {
      Value otherKey = shuffleXor(b, key, half);
      Value otherPlace = shuffleXor(b, place, half);
      Value isLarger = b.compare(arith::CmpIPredicate::sgt, otherKey, key);
      Value isEqual = b.compare(arith::CmpIPredicate::eq, otherKey, key);
      Value isBefore = b.compare(arith::CmpIPredicate::slt, otherPlace, place);
      Value takeOther = b.create<arith::OrIOp>(
          isLarger, b.create<arith::AndIOp>(isEqual, isBefore));
      key = b.select(takeOther, otherKey, key);
      place = b.select(takeOther, otherPlace, place);
    }
    return place;
  };

  if (index) {
    scalars[index] = findLargest();
    return success();
  }
  Value source = getPointer(input);
  Value valueBuffer = allocate(type, count);
  Value indexBuffer = allocate(i32, count);
  Value isFirst = b.compare(arith::CmpIPredicate::eq, member, b.i64(0));
  b.loop(b.i64(0), b.i64(count), 1, [&](Value i) {
    Value place = findLargest();
    // All have read the keys before one changes.
    sync();
    b.ifThen(isFirst, [&] {
      Value wide = b.widen(place);
      b.store(place, indexBuffer, i);
      b.store(b.load(source, wide, type), valueBuffer, i);
      b.store(noKey, keys, wide);
    });
    sync();
  });
  memory[values] = {valueBuffer, false};
  memory[indices] = {indexBuffer, false};
  return success();
}
