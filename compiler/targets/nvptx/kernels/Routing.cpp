//===- Routing.cpp - Plans and what surrounds them ------------------------===//
#include "compiler/targets/generic/Kernels.h"
#include "compiler/targets/nvptx/NvKernels.h"

#include "dialects/interfaces/RoutingInterfaces.h"
#include "passes/target/StepFunctions.h"
#include "runtime/abi/moe_abi.h"

#include <cstddef>

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;

//===----------------------------------------------------------------------===//
// Plan
//===----------------------------------------------------------------------===//

static constexpr int64_t kPlanThreads = 256, kPlanWarps = kPlanThreads / kWarp;

static Value isEqual(CodeBuilder &b, Value x, Value y) {
  return b.compare(arith::CmpIPredicate::eq, x, y);
}

/// The sum of an i32 of every thread of the block; `shared` holds one per warp.
static Value sumOfBlock(CodeBuilder &b, Value value, Value shared) {
  for (int64_t mask = kWarp / 2; mask > 0; mask /= 2)
    value = b.add(value, shuffleXor(b, value, mask));
  b.ifThen(isEqual(b, laneId(b), b.i64(0)),
           [&] { b.store(value, shared, warpId(b)); });
  syncBlock(b);
  Value sum = b.i32(0);
  for (int64_t warp = 0; warp < kPlanWarps; ++warp)
    sum = b.add(sum, b.load(shared, b.i64(warp), b.getI32Type()));
  syncBlock(b);
  return sum;
}

/// Stable counting sort of the valid pairs of `ids`, one block per expert: it
/// counts what lies before its expert by itself, so blocks need nothing of each
/// other, and gives its pairs their places in ascending order.
static void buildPlan(CodeBuilder &b, Value tokens, Value ids, Value rows,
                      Value offsets, Value slotRows, int64_t slots) {
  Type i32 = b.getI32Type();
  Value shared = sharedMemory(b), thread = threadId(b);
  Value expert = blockId(b);
  Value wanted = b.create<arith::TruncIOp>(i32, expert);
  Value pairs = b.mul(tokens, slots), zero = b.i32(0), one = b.i32(1);
  Value isFirstBlock = isEqual(b, expert, b.i64(0));

  CodeBuilder::Values counts = b.loop(
      thread, pairs, b.i64(kPlanThreads), ValueRange{zero, zero},
      [&](Value pair, ValueRange carried) -> CodeBuilder::Values {
        Value id = b.load(ids, pair, i32);
        Value isNone = b.lessThan(id, zero);
        b.ifThen(b.create<arith::AndIOp>(isNone, isFirstBlock),
                 [&] { b.store(b.i32(-1), slotRows, pair); });
        Value isBelow = b.create<arith::AndIOp>(
            b.compare(arith::CmpIPredicate::sge, id, zero),
            b.lessThan(id, wanted));
        return {b.add(carried[0], b.select(isBelow, one, zero)),
                b.add(carried[1],
                      b.select(isEqual(b, id, wanted), one, zero))};
      });
  Value before = sumOfBlock(b, counts[0], shared);
  Value own = sumOfBlock(b, counts[1], shared);
  b.ifThen(isEqual(b, thread, b.i64(0)), [&] {
    b.store(b.add(before, own), offsets, b.add(expert, 1));
    b.ifThen(isFirstBlock, [&] { b.store(zero, offsets); });
  });

  // In rounds of as many pairs as there are threads: a pair's place is the number
  // of pairs of the expert before it.
  Value lane = laneId(b), warp = warpId(b);
  Value below = b.create<arith::SubIOp>(
      b.create<arith::ShLIOp>(one, b.create<arith::TruncIOp>(i32, lane)), one);
  b.loop(b.i64(0), pairs, b.i64(kPlanThreads), ValueRange{before},
         [&](Value start, ValueRange carried) -> CodeBuilder::Values {
           Value pair = b.add(start, thread);
           Value isThere = b.lessThan(pair, pairs);
           Value safe = b.select(isThere, pair, b.i64(0));
           Value isMine = b.create<arith::AndIOp>(
               isThere, isEqual(b, b.load(ids, safe, i32), wanted));
           Value mask = ballot(b, isMine);
           Value count = b.create<LLVM::CtPopOp>(i32, mask);
           b.ifThen(isEqual(b, lane, b.i64(0)),
                    [&] { b.store(count, shared, warp); });
           syncBlock(b);
           Value place = carried[0], end = carried[0];
           for (int64_t w = 0; w < kPlanWarps; ++w) {
             Value others = b.load(shared, b.i64(w), i32);
             Value isBefore = b.lessThan(b.i64(w), warp);
             place = b.add(place, b.select(isBefore, others, zero));
             end = b.add(end, others);
           }
           syncBlock(b);
           Value inWarp =
               b.create<LLVM::CtPopOp>(
               i32, b.create<arith::AndIOp>(mask, below));
           b.ifThen(isMine, [&] {
             Value row = b.add(place, inWarp);
             Value token =
                 b.create<arith::TruncIOp>(i32, b.div(pair, slots));
             b.store(token, rows, b.widen(row));
             b.store(row, slotRows, pair);
           });
           return {end};
         });
}

static DeviceLaunch createPlanLaunch(int64_t experts) {
  DeviceLaunch launch;
  launch.threads = kPlanThreads;
  launch.sharedBytes = kPlanWarps * sizeof(int32_t);
  launch.grid = [experts](CodeBuilder &host, Value) {
    return lineGrid(host, host.i64(experts));
  };
  return launch;
}

FailureOr<Launches> nvptx::planLaunches(const KernelRequest &request) {
  auto op = cast<moex::PlanOp>(request.op);
  DeviceLaunch launch = createPlanLaunch(op.getExperts());
  int64_t slots = request.operands[0].type.getDimSize(1);
  launch.emit = [slots](const KernelArguments &arguments, CodeBuilder &b,
                        KernelModule &) {
    ArrayRef<Value> pointers = arguments.pointers;
    buildPlan(b, arguments.rows, pointers[0], pointers[1], pointers[2],
              pointers[3], slots);
    return success();
  };
  return Launches{launch};
}

FailureOr<Launches> nvptx::routeSortLaunches(const KernelRequest &request) {
  auto op = cast<moex::RouteSortOp>(request.op);
  FailureOr<DeviceLaunch> route = routeLaunch(request);
  if (failed(route))
    return failure();
  DeviceLaunch plan = createPlanLaunch(op.getExperts());
  plan.part = "plan";
  unsigned numIns = op.getIns().size();
  int64_t slots = request.operands[numIns].type.getDimSize(1);
  plan.emit = [numIns, slots](const KernelArguments &arguments, CodeBuilder &b,
                              KernelModule &) {
    ArrayRef<Value> pointers =
        ArrayRef<Value>(arguments.pointers).drop_front(numIns);
    buildPlan(b, arguments.rows, pointers[0], pointers[2], pointers[3],
              pointers[4], slots);
    return success();
  };
  return Launches{*route, plan};
}

//===----------------------------------------------------------------------===//
// Capacity
//===----------------------------------------------------------------------===//

/// One thread decides.
FailureOr<Launches> nvptx::limitSlotsLaunches(const KernelRequest &request) {
  auto op = cast<moex::LimitSlotsOp>(request.op);
  DeviceLaunch launch;
  launch.threads = 1;
  launch.sharedBytes = llvm::alignTo(op.getExperts() * 4, 16);
  if (launch.sharedBytes > kMaxSharedBytes)
    return op.emitOpError("has more experts than fit into the shared memory "
                          "of target 'nvptx': ")
           << op.getExperts();
  launch.grid = [](CodeBuilder &host, Value) {
    return lineGrid(host, host.i64(1));
  };
  launch.emit = [op](const KernelArguments &arguments, CodeBuilder &b,
                     KernelModule &) {
    generic::buildLimitSlots(b, arguments.step, op, arguments.pointers,
                             sharedMemory(b));
    return success();
  };
  return Launches{launch};
}

//===----------------------------------------------------------------------===//
// Export
//===----------------------------------------------------------------------===//

/// Runs `body` on the pointer at `offset` of `base`, unless it is NULL.
static void ifThere(CodeBuilder &b, Value base, int64_t offset,
                    function_ref<void(Value)> body) {
  Value pointer = b.load(b.field(base, offset), b.ptrType());
  Value bits = b.create<LLVM::PtrToIntOp>(b.getI64Type(), pointer);
  b.ifThen(b.compare(arith::CmpIPredicate::ne, bits, b.i64(0)),
           [&] { body(pointer); });
}

FailureOr<Launches>
nvptx::exportRoutingLaunches(const KernelRequest &request) {
  auto op = cast<moex::ExportRoutingOp>(request.op);
  constexpr int64_t threads = 128;
  int64_t slots = request.operands[0].type.getDimSize(1);
  DeviceLaunch launch;
  launch.threads = threads;
  launch.grid = [slots](CodeBuilder &host, Value rows) {
    return elementGrid(host, rows, slots, threads);
  };
  launch.emit = [op, slots](const KernelArguments &arguments, CodeBuilder &b,
                            KernelModule &) mutable {
    Value pair = b.add(b.mul(blockId(b), threads), threadId(b));
    Value token = b.div(pair, slots);
    auto store = [&](unsigned index, Type type, Value unused, Value array) {
      Value value = b.load(arguments.pointers[index], pair, type);
      if (op.getKinds()) {
        Value kind = b.widen(
            b.load(arguments.pointers[2], token, b.getI8Type()));
        value = b.select(isEqual(b, kind, b.i64(*op.getKind())), value, unused);
      }
      b.store(value, asGlobal(b, array), pair);
    };
    int64_t entry = op.getRouter() * sizeof(void *);
    Type i32 = b.getI32Type(), f32 = b.getF32Type();
    Value batch = target::abi::getBatch(b, arguments.step);
    Value isThere = b.lessThan(token, arguments.rows);
    b.ifThen(isThere, [&] {
      ifThere(b, batch, offsetof(moe_batch_v1, routing), [&](Value routing) {
        ifThere(b, routing, offsetof(moe_routing_io_v1, ids), [&](Value ids) {
          ifThere(b, ids, entry, [&](Value array) {
            store(0, i32, b.i32(-1), array);
          });
        });
        ifThere(b, routing, offsetof(moe_routing_io_v1, weights),
                [&](Value list) {
                  ifThere(b, list, entry, [&](Value array) {
                    store(1, f32, b.constant(f32, 0), array);
                  });
                });
      });
    });
    return success();
  };
  return Launches{launch};
}

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

FailureOr<Launches>
nvptx::routingOperandLaunches(const KernelRequest &request) {
  auto op = cast<moex::RoutingOperandOp>(request.op);
  constexpr int64_t threads = 128;
  MemRefType type = request.operands[0].type;
  int64_t width = type.getRank() > 0 ? type.getShape().back() : 1;
  bool isPerRow = isPerToken(*symbolizeRoutingField(op.getField()));
  DeviceLaunch launch;
  launch.threads = threads;
  launch.grid = [width, isPerRow](CodeBuilder &host, Value rows) {
    return elementGrid(host, isPerRow ? rows : host.i64(1), width, threads);
  };
  launch.emit = [op, width, isPerRow](const KernelArguments &arguments,
                                      CodeBuilder &b, KernelModule &) mutable {
    generic::RoutingSource source =
        generic::findRoutingSource(b, arguments.step, op);
    Value index = b.add(b.mul(blockId(b), threads), threadId(b));
    Value count = b.mul(isPerRow ? arguments.rows : b.i64(1), width);
    b.ifThen(b.lessThan(index, count), [&] {
      Value element = b.choose(
          source.isThere,
          [&]() -> CodeBuilder::Values { return {source.load(b, index)}; },
          [&]() -> CodeBuilder::Values { return {source.nothing}; })[0];
      b.store(element, arguments.pointers[0], index);
    });
    return success();
  };
  return Launches{launch};
}
