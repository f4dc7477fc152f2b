//===- Rowwise.cpp - Row bodies of tokens ---------------------------------===//
//
// moex.rowwise, and the routing half of moex.route_sort: a row belongs to a warp,
// or to a block when it is wide, and its elements to the threads in turn.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/nvptx/NvKernels.h"
#include "compiler/targets/nvptx/RowBody.h"

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;

namespace {
/// How rows are given to threads.
struct RowShape {
  int64_t group = kWarp; ///< threads of a row
  int64_t together = 1;  ///< rows of a block
  int64_t sharedBytes = 0; ///< of a row

  unsigned getThreads() const { return group * together; }
};
} // namespace

static FailureOr<RowShape> getShape(const KernelRequest &request, Block &body,
                                    bool materialized) {
  constexpr int64_t kWide = 512, kBlock = 256, kRowsOfBlock = 4;
  // What leaves room for several blocks on a processor.
  constexpr int64_t kFewBytes = 32 * 1024;
  RowShape shape;
  if (RowBody::getWidth(body) >= kWide)
    shape.group = kBlock;
  FailureOr<int64_t> bytes = RowBody::measureSharedBytes(
      body, request.level, shape.group, materialized);
  if (failed(bytes))
    return failure();
  shape.sharedBytes = llvm::alignTo(*bytes, 128);
  if (shape.sharedBytes > kMaxSharedBytes)
    return request.op->emitOpError("needs ")
           << shape.sharedBytes << " bytes of shared memory for the rows of its "
           << "body, more than the " << kMaxSharedBytes
           << " of target 'nvptx'";
  if (shape.group == kWarp && shape.sharedBytes * kRowsOfBlock <= kFewBytes)
    shape.together = kRowsOfBlock;
  return shape;
}

/// A body may read all of an in before it has written an out: when they are one
/// buffer, results wait in shared memory.
static bool isInPlace(moex::RowwiseOp op) {
  return llvm::any_of(op.getOuts(), [&](Value out) {
    return llvm::is_contained(op.getIns(), out);
  });
}

/// Builds `body` for the row of this thread's group; `bind` gives arguments
/// their memory, `finish` stores what it yields.
static LogicalResult
buildRows(CodeBuilder &b, KernelModule &module, Value rows,
          const RowShape &shape, Block &body,
          function_ref<void(RowBody &, Value)> bind,
          function_ref<void(RowBody &, Value)> finish) {
  Value thread = threadId(b);
  Value inBlock = b.div(thread, shape.group);
  Value member = b.rem(thread, shape.group);
  Value row = b.add(b.mul(blockId(b), shape.together), inBlock);
  Value shared = b.element(sharedMemory(b),
                           b.mul(inBlock, shape.sharedBytes), b.getI8Type());
  LogicalResult status = success();
  b.ifThen(b.lessThan(row, rows), [&] {
    RowBody rowBody(b, module, shared, shape.group, member);
    bind(rowBody, row);
    if (failed(rowBody.run(body))) {
      status = failure();
      return;
    }
    finish(rowBody, row);
    status = rowBody.getStatus();
  });
  return status;
}

static DeviceLaunch createLaunch(const RowShape &shape) {
  DeviceLaunch launch;
  launch.threads = shape.getThreads();
  launch.sharedBytes = shape.sharedBytes * shape.together;
  launch.grid = [shape](CodeBuilder &host, Value rows) {
    return lineGrid(host, ceilDiv(host, rows, shape.together));
  };
  return launch;
}

FailureOr<Launches> nvptx::rowwiseLaunches(const KernelRequest &request) {
  auto op = cast<moex::RowwiseOp>(request.op);
  Block &body = op.getBody().front();
  FailureOr<RowShape> shape = getShape(request, body, isInPlace(op));
  if (failed(shape))
    return failure();
  DeviceLaunch launch = createLaunch(*shape);
  launch.emit = [&request, op, shape = *shape](const KernelArguments &arguments,
                                               CodeBuilder &b,
                                               KernelModule &module) mutable {
    Block &body = op.getBody().front();
    unsigned numIns = op.getIns().size();
    auto bind = [&](RowBody &rowBody, Value row) {
      for (auto [i, argument] : llvm::enumerate(body.getArguments())) {
        MemRefType type = request.operands[i].type;
        int64_t period = op.getPeriod()[i];
        Value pointer = arguments.pointers[i];
        if (period != 0)
          pointer =
              rowPointer(b, request, arguments, i, b.rem(row, period));
        else if (type.getRank() > 0 && type.isDynamicDim(0))
          pointer = rowPointer(b, request, arguments, i, row);
        rowBody.bind(argument, pointer);
      }
    };
    auto finish = [&](RowBody &rowBody, Value row) {
      OperandRange yielded = body.getTerminator()->getOperands();
      if (isInPlace(op))
        rowBody.materializeAll(yielded);
      for (auto [i, value] : llvm::enumerate(yielded))
        rowBody.store(value,
                      rowPointer(b, request, arguments, numIns + i, row));
    };
    return buildRows(b, module, arguments.rows, shape, body, bind, finish);
  };
  return Launches{launch};
}

FailureOr<DeviceLaunch> nvptx::routeLaunch(const KernelRequest &request) {
  auto op = cast<moex::RouteSortOp>(request.op);
  FailureOr<RowShape> shape = getShape(request, op.getBody().front(), /*materialized=*/false);
  if (failed(shape))
    return failure();
  DeviceLaunch launch = createLaunch(*shape);
  launch.part = "route";
  launch.emit = [&request, op, shape = *shape](const KernelArguments &arguments,
                                               CodeBuilder &b,
                                               KernelModule &module) mutable {
    Block &body = op.getBody().front();
    unsigned numIns = op.getIns().size();
    auto bind = [&](RowBody &rowBody, Value token) {
      for (auto [i, argument] : llvm::enumerate(body.getArguments())) {
        MemRefType type = request.operands[i].type;
        bool isUniform = type.getRank() == 0 || !type.isDynamicDim(0);
        rowBody.bind(argument,
                     isUniform ? arguments.pointers[i]
                               : rowPointer(b, request, arguments, i, token));
      }
    };
    auto finish = [&](RowBody &rowBody, Value token) {
      for (unsigned i : {0u, 1u})
        rowBody.store(body.getTerminator()->getOperand(i),
                      rowPointer(b, request, arguments, numIns + i, token));
    };
    return buildRows(b, module, arguments.rows, shape, body, bind, finish);
  };
  return launch;
}
