//===- Rows.cpp - Kernels that move rows ----------------------------------===//
//
// One element per thread; neighbouring threads have neighbouring columns.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/nvptx/NvKernels.h"

#include "compiler/targets/generic/Kernels.h"
#include "dialects/moeq/MoeqDialect.h"
#include "passes/target/StepFunctions.h"
#include "runtime/abi/moe_abi.h"

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;

static constexpr int64_t kThreads = 256;

/// A launch of one thread per element of `width` columns. `body` gets row and
/// column of those below `arguments.rows`.
static Launches createElementLaunch(
    int64_t width,
    std::function<void(const KernelArguments &, CodeBuilder &, Value, Value)>
        body) {
  DeviceLaunch launch;
  launch.threads = kThreads;
  launch.grid = [width](CodeBuilder &host, Value rows) {
    return elementGrid(host, rows, width, kThreads);
  };
  launch.emit = [width, body](const KernelArguments &arguments, CodeBuilder &b,
                              KernelModule &) {
    Value index = b.add(b.mul(blockId(b), kThreads), threadId(b));
    Value row = b.div(index, width), column = b.rem(index, width);
    b.ifThen(b.lessThan(row, arguments.rows),
             [&] { body(arguments, b, row, column); });
    return success();
  };
  return {launch};
}

/// Rounds a number of any float type to `to`, through f32.
static Value convert(CodeBuilder &b, Value x, Type to) {
  return x.getType() == to ? x : b.fromF32(b.toF32(x), to);
}

FailureOr<Launches> nvptx::combineRowsLaunches(const KernelRequest &request) {
  int64_t slots = request.operands[1].type.getDimSize(1);
  int64_t width = request.operands[3].type.getDimSize(1);
  return createElementLaunch(
      width, [&request, slots](const KernelArguments &arguments, CodeBuilder &b,
                               Value token, Value column) {
        ArrayRef<Value> pointers = arguments.pointers;
        Type f32 = b.getF32Type();
        Value sum = b.loop(
            b.i64(0), b.i64(slots), b.i64(1),
            ValueRange{b.constant(f32, 0.0)},
            [&](Value slot, ValueRange carried) -> CodeBuilder::Values {
              Value pair = b.add(b.mul(token, slots), slot);
              Value row =
                  b.widen(b.load(pointers[1], pair, b.getI32Type()));
              return b.choose(
                  b.compare(arith::CmpIPredicate::sge, row, b.i64(0)),
                  [&]() -> CodeBuilder::Values {
                    Value weight = b.load(pointers[2], pair, f32);
                    Value x = b.toF32(
                        b.load(rowPointer(b, request, arguments, 0, row),
                               column, request.operands[0].getElementType()));
                    // Two roundings, as on a processor.
                    return {b.mulAdd(x, weight, carried[0], /*fused=*/false)};
                  },
                  [&]() -> CodeBuilder::Values { return {carried[0]}; });
            })[0];
        b.store(b.fromF32(sum, request.operands[3].getElementType()),
                rowPointer(b, request, arguments, 3, token), column);
      });
}

FailureOr<Launches> nvptx::lookupLaunches(const KernelRequest &request) {
  auto op = cast<moex::LookupOp>(request.op);
  const KernelOperand &table = request.operands[0];
  auto blocks =
      dyn_cast_or_null<moeq::RowBlocksLayoutAttr>(Attribute(table.layout));
  if (table.format || (!blocks && failed(generic::requireLayout(request, 0, {}))))
    return op.emitOpError("operand 0 is a weight that target 'nvptx' cannot "
                          "look up");
  unsigned outIndex = op->getNumOperands() - 1;
  int64_t width = request.operands[outIndex].type.getDimSize(1);
  if (op.getUntil()) {
    auto offsets = cast<MemRefType>(op.getUntil().getType());
    if (offsets.getRank() != 1 || offsets.isDynamicDim(0))
      return op.emitOpError("expected 'until' of static size, found ")
             << offsets;
  }
  return createElementLaunch(
      width, [&request, op, blocks, outIndex, width](
                 const KernelArguments &arguments, CodeBuilder &b, Value row,
                 Value column) mutable {
        const KernelOperand &table = request.operands[0];
        Type i32 = b.getI32Type();
        unsigned next = 1;
        auto take = [&](bool isThere) {
          return isThere ? arguments.pointers[next++] : Value();
        };
        Value indices = take(bool(op.getIndices()));
        Value kinds = take(bool(op.getKinds()));
        Value until = take(bool(op.getUntil()));
        Value isWanted = b.constant(b.getI1Type(), 1);
        if (until) {
          auto offsets = cast<MemRefType>(op.getUntil().getType());
          Value end = b.widen(
              b.load(until, b.i64(offsets.getDimSize(0) - 1), i32));
          isWanted = b.lessThan(row, end);
        }
        b.ifThen(isWanted, [&] {
          auto copy = [&] {
            Value source = indices ? b.widen(b.load(indices, row, i32)) : row;
            Value place = b.add(b.mul(source, width), column);
            if (blocks) {
              int64_t rows = blocks.getRows(), pack = blocks.getPack();
              place = b.add(
                  b.mul(b.div(source, rows), blocks.getBlockCodes(width)),
                  b.mul(b.rem(source, rows), pack));
              place = b.add(place, b.mul(b.div(column, pack), rows * pack));
              place = b.add(place, b.rem(column, pack));
            }
            Value x =
                b.load(arguments.pointers[0], place, table.getElementType());
            b.store(
                convert(b, x, request.operands[outIndex].getElementType()),
                rowPointer(b, request, arguments, outIndex, row), column);
          };
          if (!kinds)
            return copy();
          Value kind = b.widen(b.load(kinds, row, b.getI8Type()));
          b.ifThen(b.compare(arith::CmpIPredicate::eq, kind,
                             b.i64(*op.getKind())),
                   copy);
        });
      });
}

FailureOr<Launches> nvptx::stateAppendLaunches(const KernelRequest &request) {
  const KernelOperand &rows = request.operands[0];
  const KernelOperand &state = request.operands[1];
  int64_t width = state.getRowElements();
  if (rows.getRowElements() != width ||
      rows.getElementType() != state.getElementType()) // C1
    return request.op->emitOpError("expected rows of ")
           << width << " " << state.getElementType()
           << " like its state, found " << rows.type;
  return createElementLaunch(
      width, [&request](const KernelArguments &arguments, CodeBuilder &b,
                        Value token, Value column) {
        Type i32 = b.getI32Type();
        Type type = request.operands[0].getElementType();
        Value batch = target::abi::getBatch(b, arguments.step);
        Value sequence = generic::findSequence(
            b, asGlobal(b, target::abi::getCuSeqlens(b, batch)), token,
            b.i64(0));
        Value position = b.widen(b.load(
            asGlobal(b, target::abi::getPositions(b, batch)), token, i32));
        Value slot =
            b.add(b.mul(sequence, target::abi::getPagesPerSequence(b, batch)),
                  b.div(position, MOE_PAGE_TOKENS));
        Value page = b.widen(b.load(
            asGlobal(b, target::abi::getPageTable(b, batch)), slot, i32));
        Value line = b.add(b.mul(page, MOE_PAGE_TOKENS),
                           b.rem(position, MOE_PAGE_TOKENS));
        b.store(b.load(rowPointer(b, request, arguments, 0, token), column,
                       type),
                rowPointer(b, request, arguments, 1, line), column);
      });
}

FailureOr<Launches>
nvptx::sequenceLengthsLaunches(const KernelRequest &request) {
  return createElementLaunch(
      1, [](const KernelArguments &arguments, CodeBuilder &b, Value token,
            Value) {
        Type i32 = b.getI32Type();
        Value batch = target::abi::getBatch(b, arguments.step);
        Value cuSeqlens = asGlobal(b, target::abi::getCuSeqlens(b, batch));
        Value sequence =
            generic::findSequence(b, cuSeqlens, token, b.i64(0));
        Value end =
            b.widen(b.load(cuSeqlens, b.add(sequence, 1), i32));
        Value last =
            b.load(asGlobal(b, target::abi::getPositions(b, batch)),
                   b.sub(end, b.i64(1)), i32);
        b.store(b.create<arith::AddIOp>(last, b.i32(1)),
                arguments.pointers[0], token);
      });
}
