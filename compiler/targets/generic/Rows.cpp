//===- Rows.cpp - Kernels that move rows ----------------------------------===//
#include "compiler/targets/generic/Kernels.h"

#include "dialects/moeq/MoeqDialect.h"
#include "passes/target/StepFunctions.h"
#include "runtime/abi/moe_abi.h"

using namespace mlir;
using namespace moec;
using namespace moec::generic;

/// Rounds elements of any float type to `to`, through f32.
static Value convert(CodeBuilder &b, Value x, Type to) {
  if (getElementTypeOrSelf(x.getType()) == to)
    return x;
  return b.fromF32(b.toF32(x), to);
}

/// Copies `width` adjacent elements.
static void copyRow(CodeBuilder &b, Value source, Type from, Value result,
                    Type to, int64_t width) {
  int64_t whole = width / kLanes * kLanes;
  auto copy = [&](Value column, int64_t active) {
    Value x = b.loadLanes(source, column, from, active);
    b.storeLanes(convert(b, x, to), result, column, active);
  };
  b.loop(b.i64(0), b.i64(whole), kLanes,
         [&](Value column) { copy(column, kLanes); });
  if (width > whole)
    copy(b.i64(whole), width - whole);
}

/// Copies row `row` of a matrix in blocks of rows: groups of `pack` elements,
/// a block's rows apart.
static void copyBlockedRow(CodeBuilder &b, Value table, Value row, Type from,
                           Value result, Type to, int64_t width,
                           moeq::RowBlocksLayoutAttr layout) {
  int64_t rows = layout.getRows(), pack = layout.getPack();
  Value first = b.add(b.mul(b.div(row, rows), layout.getBlockCodes(width)),
                      b.mul(b.rem(row, rows), pack));
  auto copy = [&](Value column, Value group, int64_t lane) {
    Value place = b.add(b.add(first, b.mul(group, rows * pack)), lane);
    b.store(convert(b, b.load(table, place, from), to), result, column);
  };
  int64_t whole = width / pack;
  b.loop(b.i64(0), b.i64(whole), 1, [&](Value group) {
    for (int64_t lane = 0; lane < pack; ++lane)
      copy(b.add(b.mul(group, pack), lane), group, lane);
  });
  for (int64_t lane = 0; lane < width % pack; ++lane)
    copy(b.i64(whole * pack + lane), b.i64(whole), lane);
}

LogicalResult generic::emitLookup(Kernel &kernel, moex::LookupOp op) {
  CodeBuilder &b = kernel.b;
  const KernelOperand &table = kernel.request.operands[0];
  Type i32 = b.getI32Type();
  auto blocks =
      dyn_cast_or_null<moeq::RowBlocksLayoutAttr>(Attribute(table.layout));
  if (!blocks && failed(requireLayout(kernel.request, 0, {})))
    return failure();

  // Operands in order: table, then those that are there, then out.
  unsigned next = 1;
  auto take = [&](bool isThere) {
    return isThere ? kernel.arguments.pointers[next++] : Value();
  };
  Value indices = take(bool(op.getIndices()));
  Value kinds = take(bool(op.getKinds()));
  Value until = take(bool(op.getUntil()));
  const KernelOperand &out = kernel.request.operands[next];
  int64_t width = out.type.getDimSize(1);

  TaskRange range = splitRows(kernel, kernel.arguments.rows);
  if (until) {
    auto offsets = cast<MemRefType>(op.getUntil().getType());
    if (offsets.getRank() != 1 || offsets.isDynamicDim(0))
      return op.emitOpError("expected 'until' of static size, found ")
             << offsets;
    Value end = b.widen(
        b.load(until, b.i64(offsets.getDimSize(0) - 1), i32));
    range.high = b.min(range.high, end);
  }
  auto copy = [&](Value row) {
    Value source = indices ? b.widen(b.load(indices, row, i32)) : row;
    Value result = rowPointer(kernel, next, row);
    if (blocks)
      copyBlockedRow(b, kernel.arguments.pointers[0], source,
                     table.getElementType(), result, out.getElementType(),
                     width, blocks);
    else
      copyRow(b, rowPointer(kernel, 0, source), table.getElementType(), result,
              out.getElementType(), width);
  };
  b.loop(range.low, range.high, 1, [&](Value row) {
    if (!kinds)
      return copy(row);
    Value kind = b.widen(b.load(kinds, row, b.getI8Type()));
    Value isWanted =
        b.compare(arith::CmpIPredicate::eq, kind, b.i64(*op.getKind()));
    b.ifThen(isWanted, [&] { copy(row); });
  });
  return success();
}

LogicalResult generic::emitStateAppend(Kernel &kernel,
                                       moex::StateAppendOp op) {
  CodeBuilder &b = kernel.b;
  const KernelOperand &rows = kernel.request.operands[0];
  const KernelOperand &state = kernel.request.operands[1];
  int64_t width = state.getRowElements();
  if (rows.getRowElements() != width ||
      rows.getElementType() != state.getElementType()) // C1
    return op.emitOpError("expected rows of ")
           << width << " " << state.getElementType() << " like state "
           << op.getStateAttr() << ", found " << rows.type;
  Type i32 = b.getI32Type();
  Value batch = target::abi::getBatch(b, kernel.arguments.step);
  Value positions = target::abi::getPositions(b, batch);
  Value cuSeqlens = target::abi::getCuSeqlens(b, batch);
  Value pageTable = target::abi::getPageTable(b, batch);
  Value pages = target::abi::getPagesPerSequence(b, batch);
  TaskRange range = splitRows(kernel, kernel.arguments.rows);
  b.loop(range.low, range.high, b.i64(1), ValueRange{b.i64(0)},
         [&](Value token, ValueRange carried) -> CodeBuilder::Values {
           Value sequence = findSequence(b, cuSeqlens, token, carried[0]);
           Value position = b.widen(b.load(positions, token, i32));
           Value slot = b.add(b.mul(sequence, pages),
                              b.div(position, MOE_PAGE_TOKENS));
           Value page = b.widen(b.load(pageTable, slot, i32));
           Value line = b.add(b.mul(page, MOE_PAGE_TOKENS),
                              b.rem(position, MOE_PAGE_TOKENS));
           copyRow(b, rowPointer(kernel, 0, token), rows.getElementType(),
                   rowPointer(kernel, 1, line), state.getElementType(), width);
           return {sequence};
         });
  return success();
}

LogicalResult generic::emitSequenceLengths(Kernel &kernel,
                                           moex::SequenceLengthsOp op) {
  CodeBuilder &b = kernel.b;
  Type i32 = b.getI32Type();
  Value batch = target::abi::getBatch(b, kernel.arguments.step);
  Value positions = target::abi::getPositions(b, batch);
  Value cuSeqlens = target::abi::getCuSeqlens(b, batch);
  TaskRange range = splitRows(kernel, kernel.arguments.rows);
  b.loop(range.low, range.high, b.i64(1), ValueRange{b.i64(0)},
         [&](Value token, ValueRange carried) -> CodeBuilder::Values {
           Value sequence = findSequence(b, cuSeqlens, token, carried[0]);
           Value end =
               b.widen(b.load(cuSeqlens, b.add(sequence, 1), i32));
           Value last = b.load(positions, b.sub(end, b.i64(1)), i32);
           b.store(b.create<arith::AddIOp>(last, b.i32(1)),
                   kernel.arguments.pointers[0], token);
           return {sequence};
         });
  return success();
}
