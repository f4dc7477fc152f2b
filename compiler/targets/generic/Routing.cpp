//===- Routing.cpp - Routing, plans, combination --------------------------===//
#include "compiler/targets/generic/Kernels.h"
#include "compiler/targets/generic/RowBody.h"

#include "dialects/interfaces/RoutingInterfaces.h"
#include "passes/target/StepFunctions.h"
#include "runtime/abi/moe_abi.h"

#include <cstddef>
#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::generic;

//===----------------------------------------------------------------------===//
// Plan
//===----------------------------------------------------------------------===//

/// Counting sort of the valid pairs of `ids`. Each participant sorts the pairs
/// of its own experts: it finds by itself where they begin, so no counters are
/// shared. Until the end offsets[e + 1] is the cursor of expert e.
static void buildPlan(Kernel &kernel, Value ids, Value rows, Value offsets,
                      Value slotRows, int64_t experts, int64_t slots) {
  CodeBuilder &b = kernel.b;
  Type i32 = b.getI32Type();
  Value worker = kernel.arguments.worker;
  Value thread = target::abi::getThread(b, worker);
  Value threads = target::abi::getThreads(b, worker);
  TaskRange mine = splitTasks(b, b.i64(experts), thread, threads);
  Value pairs = b.mul(kernel.arguments.rows, slots);
  Value zero = b.i64(0);
  auto cursor = [&](Value expert) {
    return b.element(offsets, b.add(expert, 1), i32);
  };

  b.loop(mine.low, mine.high, 1,
         [&](Value expert) { b.store(b.i32(0), cursor(expert)); });
  Value isFirst = b.compare(arith::CmpIPredicate::eq, thread, zero);
  b.ifThen(isFirst, [&] { b.store(b.i32(0), offsets); });

  // Pairs of lower experts come before; those of its own are counted.
  Value before =
      b.loop(zero, pairs, b.i64(1), ValueRange{zero},
             [&](Value pair, ValueRange carried) -> CodeBuilder::Values {
               Value id = b.widen(b.load(ids, pair, i32));
               Value isValid = b.compare(arith::CmpIPredicate::sge, id, zero);
               Value isBelow = b.lessThan(id, mine.low);
               Value isBefore = b.create<arith::AndIOp>(isValid, isBelow);
               Value isMine = b.create<arith::AndIOp>(
                   b.compare(arith::CmpIPredicate::sge, id, mine.low),
                   b.lessThan(id, mine.high));
               b.ifThen(isMine, [&] {
                 Value count = b.load(cursor(id), i32);
                 b.store(b.add(count, b.i32(1)), cursor(id));
               });
               return {b.select(isBefore, b.add(carried[0], 1), carried[0])};
             })[0];
  Value start = b.create<arith::TruncIOp>(i32, before);
  b.loop(mine.low, mine.high, b.i64(1), ValueRange{start},
         [&](Value expert, ValueRange carried) -> CodeBuilder::Values {
           Value count = b.load(cursor(expert), i32);
           b.store(carried[0], cursor(expert));
           return {b.add(carried[0], count)};
         });

  b.loop(zero, kernel.arguments.rows, 1, [&](Value token) {
    b.loop(zero, b.i64(slots), 1, [&](Value slot) {
      Value pair = b.add(b.mul(token, slots), slot);
      Value id = b.widen(b.load(ids, pair, i32));
      Value isMine = b.create<arith::AndIOp>(
          b.compare(arith::CmpIPredicate::sge, id, mine.low),
          b.lessThan(id, mine.high));
      b.ifThen(isMine, [&] {
        Value row = b.load(cursor(id), i32);
        b.store(b.create<arith::TruncIOp>(i32, token), rows, b.widen(row));
        b.store(row, slotRows, pair);
        b.store(b.add(row, b.i32(1)), cursor(id));
      });
      Value isNone = b.lessThan(id, zero);
      b.ifThen(b.create<arith::AndIOp>(isNone, isFirst),
               [&] { b.store(b.i32(-1), slotRows, pair); });
    });
  });
}

LogicalResult generic::emitPlan(Kernel &kernel, moex::PlanOp op) {
  ArrayRef<Value> pointers = kernel.arguments.pointers;
  int64_t slots = cast<MemRefType>(op.getIds().getType()).getDimSize(1);
  buildPlan(kernel, pointers[0], pointers[1], pointers[2], pointers[3],
            op.getExperts(), slots);
  return success();
}

LogicalResult generic::emitRouteSort(Kernel &kernel, moex::RouteSortOp op) {
  CodeBuilder &b = kernel.b;
  unsigned numIns = op.getIns().size();
  for (unsigned i = 0; i < numIns; ++i)
    if (failed(requireLayout(kernel.request, i, {})))
      return failure();
  Block &body = op.getBody().front();
  LogicalResult status = success();
  TaskRange range = splitRows(kernel, kernel.arguments.rows);
  b.loop(range.low, range.high, 1, [&](Value token) {
    RowBody rowBody(b, kernel.module);
    for (auto [i, argument] : llvm::enumerate(body.getArguments())) {
      MemRefType type = kernel.request.operands[i].type;
      bool isUniform = type.getRank() == 0 || !type.isDynamicDim(0);
      rowBody.bind(argument, isUniform ? kernel.arguments.pointers[i]
                                       : rowPointer(kernel, i, token));
    }
    if (failed(rowBody.run(body))) {
      status = failure();
      return;
    }
    for (unsigned i : {0u, 1u})
      rowBody.store(body.getTerminator()->getOperand(i),
                    rowPointer(kernel, numIns + i, token));
    status = rowBody.getStatus();
  });
  if (failed(status))
    return failure();
  // The plan needs the ids of all tokens.
  target::abi::callBarrier(b, kernel.arguments.step, kernel.arguments.worker);
  ArrayRef<Value> pointers =
      ArrayRef<Value>(kernel.arguments.pointers).drop_front(numIns);
  int64_t slots = cast<MemRefType>(op.getIds().getType()).getDimSize(1);
  buildPlan(kernel, pointers[0], pointers[2], pointers[3], pointers[4],
            op.getExperts(), slots);
  return success();
}

//===----------------------------------------------------------------------===//
// Capacity
//===----------------------------------------------------------------------===//

void generic::buildLimitSlots(CodeBuilder &b, Value step,
                              moex::LimitSlotsOp op, ArrayRef<Value> pointers,
                              Value taken) {
  Type i32 = b.getI32Type(), f32 = b.getF32Type();
  Value ids = pointers[0], weights = pointers[1], starts = pointers[2];
  Value limitedIds = pointers[3], limitedWeights = pointers[4];
  int64_t slots = cast<MemRefType>(op.getIds().getType()).getDimSize(1);
  int64_t experts = op.getExperts(), multiple = op.getMultiple();
  int64_t unit = experts * 1000000;
  Value zero = b.i64(0), none = b.i32(-1), nothing = b.constant(f32, 0.0);
  Value batch = target::abi::getBatch(b, step);
  Value sequences =
      b.load(b.field(batch, offsetof(moe_batch_v1, extents) +
                                offsetof(moe_extents_v1, sequences)),
             b.getI64Type());
  auto limit = [&](Value token, Value slot, Value capacity) {
    Value pair = b.add(b.mul(token, slots), slot);
    Value id = b.load(ids, pair, i32);
    b.ifElse(
        b.compare(arith::CmpIPredicate::sge, b.widen(id), zero),
        [&] {
          Value place = b.element(taken, b.widen(id), i32);
          Value count = b.load(place, i32);
          b.store(b.add(count, b.i32(1)), place);
          Value fits = b.lessThan(b.widen(count), capacity);
          b.store(b.select(fits, id, none), limitedIds, pair);
          b.store(b.select(fits, b.load(weights, pair, f32), nothing),
                  limitedWeights, pair);
        },
        [&] {
          b.store(none, limitedIds, pair);
          b.store(nothing, limitedWeights, pair);
        });
  };
  b.loop(zero, sequences, 1, [&](Value sequence) {
    Value first = b.widen(b.load(starts, sequence, i32));
    Value end = b.widen(b.load(starts, b.add(sequence, 1), i32));
    Value shares = b.mul(b.sub(end, first),
                         slots * static_cast<int64_t>(op.getMillionths()));
    Value capacity = b.div(b.add(shares, unit - 1), unit);
    capacity = b.mul(b.div(b.add(capacity, multiple - 1), multiple), multiple);
    b.loop(zero, b.i64(experts), 1, [&](Value expert) {
      b.store(b.i32(0), b.element(taken, expert, i32));
    });
    b.loop(zero, b.i64(slots), 1, [&](Value slot) {
      b.loop(first, end, 1,
             [&](Value token) { limit(token, slot, capacity); });
    });
  });
}

LogicalResult generic::emitLimitSlots(Kernel &kernel, moex::LimitSlotsOp op) {
  CodeBuilder &b = kernel.b;
  Value taken = b.stack(op.getExperts() * 4);
  Value thread = target::abi::getThread(b, kernel.arguments.worker);
  b.ifThen(b.compare(arith::CmpIPredicate::eq, thread, b.i64(0)), [&] {
    buildLimitSlots(b, kernel.arguments.step, op, kernel.arguments.pointers,
                    taken);
  });
  return success();
}

//===----------------------------------------------------------------------===//
// Export
//===----------------------------------------------------------------------===//

/// Copies operand `index`, or `unused` for rows of other modalities, to `to`.
static void exportRows(Kernel &kernel, moex::ExportRoutingOp op, unsigned index,
                       Value to, Value unused) {
  CodeBuilder &b = kernel.b;
  Type element = kernel.request.operands[index].getElementType();
  int64_t slots = kernel.request.operands[index].type.getDimSize(1);
  TaskRange range = splitRows(kernel, kernel.arguments.rows);
  b.loop(range.low, range.high, 1, [&](Value token) {
    Value isWanted;
    if (op.getKinds()) {
      Value kind =
          b.widen(b.load(kernel.arguments.pointers[2], token, b.getI8Type()));
      isWanted =
          b.compare(arith::CmpIPredicate::eq, kind, b.i64(*op.getKind()));
    }
    b.loop(b.i64(0), b.i64(slots), 1, [&](Value slot) {
      Value pair = b.add(b.mul(token, slots), slot);
      Value value = b.load(kernel.arguments.pointers[index], pair, element);
      b.store(isWanted ? b.select(isWanted, value, unused) : value, to, pair);
    });
  });
}

/// Runs `body` on the pointer at `offset` of `base`, unless it is NULL.
static void ifThere(CodeBuilder &b, Value base, int64_t offset,
                    llvm::function_ref<void(Value)> body) {
  Value pointer = b.load(b.field(base, offset), b.ptrType());
  Value bits = b.create<LLVM::PtrToIntOp>(b.getI64Type(), pointer);
  b.ifThen(b.compare(arith::CmpIPredicate::ne, bits, b.i64(0)),
           [&] { body(pointer); });
}

LogicalResult generic::emitExportRouting(Kernel &kernel,
                                         moex::ExportRoutingOp op) {
  CodeBuilder &b = kernel.b;
  int64_t entry = op.getRouter() * sizeof(void *);
  Value batch = target::abi::getBatch(b, kernel.arguments.step);
  ifThere(b, batch, offsetof(moe_batch_v1, routing), [&](Value routing) {
    ifThere(b, routing, offsetof(moe_routing_io_v1, ids), [&](Value ids) {
      ifThere(b, ids, entry, [&](Value array) {
        exportRows(kernel, op, 0, array, b.i32(-1));
      });
    });
    ifThere(b, routing, offsetof(moe_routing_io_v1, weights), [&](Value list) {
      ifThere(b, list, entry, [&](Value array) {
        exportRows(kernel, op, 1, array, b.constant(b.getF32Type(), 0));
      });
    });
  });
  return success();
}

//===----------------------------------------------------------------------===//
// Operands of the caller
//===----------------------------------------------------------------------===//

static Value isThere(CodeBuilder &b, Value pointer) {
  Value bits = b.create<LLVM::PtrToIntOp>(b.getI64Type(), pointer);
  return b.compare(arith::CmpIPredicate::ne, bits, b.i64(0));
}

/// The pointer at `offset` of `base`; NULL where `base` is.
static Value follow(CodeBuilder &b, Value base, int64_t offset) {
  return b.choose(
      isThere(b, base),
      [&]() -> CodeBuilder::Values {
        return {b.load(b.field(base, offset), b.ptrType())};
      },
      [&]() -> CodeBuilder::Values {
        return {b.create<LLVM::ZeroOp>(b.ptrType())};
      })[0];
}

/// The array at `offset` of the batch's moe_routing_io_v1; NULL for none. A
/// host of an earlier version has a shorter struct.
static Value routingArrays(CodeBuilder &b, Value step, int64_t offset) {
  Value routing = follow(b, target::abi::getBatch(b, step),
                         offsetof(moe_batch_v1, routing));
  Value size = b.choose(
      isThere(b, routing),
      [&]() -> CodeBuilder::Values {
        return {b.load(b.field(routing, offsetof(moe_routing_io_v1, size)),
                       b.getI64Type())};
      },
      [&]() -> CodeBuilder::Values { return {b.i64(0)}; })[0];
  Value isLong = b.lessThan(b.i64(offset + sizeof(void *) - 1), size);
  Value nothing = b.create<LLVM::ZeroOp>(b.ptrType());
  return follow(b, b.select(isLong, routing, nothing), offset);
}

RoutingSource generic::findRoutingSource(CodeBuilder &b, Value step,
                                         moex::RoutingOperandOp op) {
  Type i32 = b.getI32Type(), f32 = b.getF32Type();
  RoutingField field = *symbolizeRoutingField(op.getField());
  RoutingSource source;
  source.from = source.to = i32;
  int64_t offset = 0;
  switch (field) {
  case RoutingField::Ids:
    offset = offsetof(moe_routing_io_v1, forced_ids);
    source.nothing = b.i32(kFreeSlot);
    break;
  case RoutingField::Weights:
    offset = offsetof(moe_routing_io_v1, forced_weights);
    source.from = source.to = f32;
    source.nothing =
        b.constant(f32, std::numeric_limits<double>::quiet_NaN());
    break;
  case RoutingField::Bias:
    offset = offsetof(moe_routing_io_v1, bias);
    source.from = source.to = f32;
    source.nothing = b.constant(f32, -0.0);
    break;
  case RoutingField::Mask:
    offset = offsetof(moe_routing_io_v1, expert_mask);
    source.from = b.getI8Type();
    source.nothing = b.i32(1);
    break;
  case RoutingField::Count:
    offset = offsetof(moe_routing_io_v1, count);
    source.nothing = b.i32(std::numeric_limits<int32_t>::max());
    break;
  }
  source.array = routingArrays(b, step, offset);
  if (field == RoutingField::Count)
    source.router = b.i64(op.getRouter());
  else
    source.array = follow(b, source.array, op.getRouter() * sizeof(void *));
  source.isThere = isThere(b, source.array);
  return source;
}

Value RoutingSource::load(CodeBuilder &b, Value index) const {
  if (router) {
    Value count = b.load(array, router, from);
    Value isGiven =
        b.compare(arith::CmpIPredicate::sgt, b.widen(count), b.i64(0));
    return b.select(isGiven, count, nothing);
  }
  Value element = b.load(array, index, from);
  if (from != to)
    element = b.create<arith::ExtUIOp>(to, element);
  return element;
}

LogicalResult generic::emitRoutingOperand(Kernel &kernel,
                                          moex::RoutingOperandOp op) {
  CodeBuilder &b = kernel.b;
  RoutingSource source = findRoutingSource(b, kernel.arguments.step, op);
  Value out = kernel.arguments.pointers[0];
  MemRefType type = kernel.request.operands[0].type;
  Value low = b.i64(0);
  Value high = b.i64(type.getRank() > 0 ? type.getShape().back() : 1);
  if (isPerToken(*symbolizeRoutingField(op.getField()))) {
    TaskRange range = splitRows(kernel, kernel.arguments.rows);
    low = b.mul(range.low, type.getDimSize(1));
    high = b.mul(range.high, type.getDimSize(1));
  } else {
    // The first participant's; the others have nothing to do.
    Value isFirst =
        b.compare(arith::CmpIPredicate::eq,
                  target::abi::getThread(b, kernel.arguments.worker), b.i64(0));
    high = b.select(isFirst, high, b.i64(0));
  }
  b.ifElse(
      source.isThere,
      [&] {
        b.loop(low, high, 1,
               [&](Value i) { b.store(source.load(b, i), out, i); });
      },
      [&] {
        b.loop(low, high, 1,
               [&](Value i) { b.store(source.nothing, out, i); });
      });
  return success();
}

//===----------------------------------------------------------------------===//
// Combination
//===----------------------------------------------------------------------===//

/// Columns [column, column + active) of the weighted sum of one token.
static void combineColumns(Kernel &kernel, Value token, int64_t slots,
                           Value column, int64_t active) {
  CodeBuilder &b = kernel.b;
  ArrayRef<Value> pointers = kernel.arguments.pointers;
  Type from = kernel.request.operands[0].getElementType();
  Type to = kernel.request.operands[3].getElementType();
  Value zero = b.constant(b.vectorOf(b.getF32Type()), 0.0);
  Value sum =
      b.loop(b.i64(0), b.i64(slots), b.i64(1), ValueRange{zero},
             [&](Value slot, ValueRange carried) -> CodeBuilder::Values {
               Value pair = b.add(b.mul(token, slots), slot);
               Value row = b.widen(b.load(pointers[1], pair, b.getI32Type()));
               Value isThere =
                   b.compare(arith::CmpIPredicate::sge, row, b.i64(0));
               return b.choose(
                   isThere,
                   [&]() -> CodeBuilder::Values {
                     Value weight = b.load(pointers[2], pair, b.getF32Type());
                     Value x = b.toF32(b.loadLanes(rowPointer(kernel, 0, row),
                                                   column, from, active));
                     // Two roundings on every level: the product is f32.
                     return {b.mulAdd(x, b.splat(weight), carried[0],
                                      /*fused=*/false)};
                   },
                   [&]() -> CodeBuilder::Values { return {carried[0]}; });
             })[0];
  b.storeLanes(b.fromF32(sum, to), rowPointer(kernel, 3, token), column,
               active);
}

LogicalResult generic::emitCombineRows(Kernel &kernel, moex::CombineRowsOp op) {
  CodeBuilder &b = kernel.b;
  int64_t slots = kernel.request.operands[1].type.getDimSize(1);
  int64_t width = kernel.request.operands[3].type.getDimSize(1);
  int64_t whole = width / kLanes * kLanes;
  TaskRange range = splitRows(kernel, kernel.arguments.rows);
  b.loop(range.low, range.high, 1, [&](Value token) {
    b.loop(b.i64(0), b.i64(whole), kLanes, [&](Value column) {
      combineColumns(kernel, token, slots, column, kLanes);
    });
    if (width > whole)
      combineColumns(kernel, token, slots, b.i64(whole), width - whole);
  });
  return success();
}
