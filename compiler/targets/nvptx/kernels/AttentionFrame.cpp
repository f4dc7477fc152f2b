//===- AttentionFrame.cpp - What the kernels of attention share -----------===//
#include "compiler/targets/nvptx/kernels/AttentionFrame.h"

#include "passes/target/StepFunctions.h"

#include "mlir/Dialect/Math/IR/Math.h"

#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;

static constexpr double kInfinity = std::numeric_limits<double>::infinity();

FailureOr<AttentionShape> AttentionShape::get(const KernelRequest &request) {
  auto op = cast<moex::AttentionOp>(request.op);
  AttentionShape shape;
  shape.request = &request;
  shape.isPaged = bool(op.getKeyState());
  shape.outIndex = shape.isPaged ? 1 : 3;
  shape.sinksIndex = shape.outIndex + 1;
  shape.keyIndex = shape.isPaged ? shape.sinksIndex + bool(op.getSinks()) : 1;
  shape.valueIndex = shape.keyIndex + 1;
  shape.valuesAreKeys = shape.isPaged
                            ? op.getKeyStateAttr() == op.getValueStateAttr()
                            : op.getKey() == op.getValue();
  shape.heads = op.getHeads();
  shape.kvHeads = op.getKvHeads();
  if (shape.kvHeads <= 0 || shape.heads % shape.kvHeads != 0)
    return op.emitOpError("expected heads to be a multiple of kv_heads, found ")
           << shape.heads << " and " << shape.kvHeads;
  int64_t queryWidth = shape.operand(0).getRowElements();
  int64_t keyWidth = shape.operand(shape.keyIndex).getRowElements();
  int64_t valueRow = shape.operand(shape.valueIndex).getRowElements();
  int64_t outWidth = shape.operand(shape.outIndex).getRowElements();
  shape.headWidth = queryWidth / shape.heads;
  shape.valueWidth = outWidth / shape.heads;
  shape.valueStride = valueRow / shape.kvHeads;
  if (shape.headWidth * shape.heads != queryWidth ||
      keyWidth != shape.headWidth * shape.kvHeads ||
      valueRow != shape.valueStride * shape.kvHeads ||
      shape.valueStride < shape.valueWidth ||
      outWidth != shape.valueWidth * shape.heads)
    return op.emitOpError("expected a query of ")
           << shape.heads << " heads, keys and values of " << shape.kvHeads
           << " heads, and an out of " << shape.heads << " heads, found widths "
           << queryWidth << ", " << keyWidth << ", " << valueRow << " and "
           << outWidth;
  return shape;
}

AttentionFrame::AttentionFrame(CodeBuilder &b, const KernelArguments &arguments,
                               const AttentionShape &shape)
    : b(b), arguments(arguments), shape(shape) {
  Value batch = target::abi::getBatch(b, arguments.step);
  positions = asGlobal(b, target::abi::getPositions(b, batch));
  cuSeqlens = asGlobal(b, target::abi::getCuSeqlens(b, batch));
  if (shape.isPaged) {
    pageTable = asGlobal(b, target::abi::getPageTable(b, batch));
    pages = target::abi::getPagesPerSequence(b, batch);
  }
  sequences = target::Extents::ofStep(b, arguments.step).getSequences();
}

Value AttentionFrame::findSequence(Value token) {
  // Ends ascend: the sequence's number is how many end before. A warp looks at
  // 32 at a time.
  Value last = b.sub(sequences, b.i64(1));
  Value lane = laneId(b);
  Value count = b.loop(
      b.i64(0), ceilDiv(b, sequences, kWarp), b.i64(1), ValueRange{b.i32(0)},
      [&](Value chunk, ValueRange carried) -> CodeBuilder::Values {
        Value sequence = b.add(b.mul(chunk, kWarp), lane);
        Value end = b.widen(
            b.load(cuSeqlens, b.add(b.min(sequence, last), 1), b.getI32Type()));
        Value isBefore = b.create<arith::AndIOp>(
            b.compare(arith::CmpIPredicate::sle, sequence, last),
            b.compare(arith::CmpIPredicate::sle, end, token));
        Value bits = ballot(b, isBefore);
        Value ones = b.create<LLVM::CtPopOp>(bits.getType(), bits);
        return {b.add(carried[0], ones)};
      })[0];
  return b.widen(count);
}

Value AttentionFrame::getStart(Value sequence) {
  return b.widen(b.load(cuSeqlens, sequence, b.getI32Type()));
}

Value AttentionFrame::getPosition(Value token) {
  return b.widen(b.load(positions, token, b.getI32Type()));
}

AttentionFrame::Range AttentionFrame::seenBy(Value sequence, Value token,
                                             Value position) {
  moex::AttentionOp op = shape.getOp();
  Range range = {b.i64(0), b.add(position, 1)};
  if (auto window = op.getWindow())
    range.low = b.max(range.low, b.sub(range.high, b.i64(*window)));
  if (auto chunk = op.getChunk())
    range.low = b.mul(b.div(position, *chunk), *chunk);
  if (op.getFull()) {
    Value end = getStart(b.add(sequence, 1));
    range.high = b.add(getPosition(b.sub(end, b.i64(1))), 1);
  }
  if (!shape.isPaged) {
    // Keys of the batch begin with the first token of the sequence.
    Value before = b.sub(token, getStart(sequence));
    range.low = b.max(range.low, b.sub(position, before));
  }
  return range;
}

Value AttentionFrame::firstRow(Value sequence, Value token, Value position,
                               Value blockIndex) {
  if (!shape.isPaged)
    return b.add(b.sub(token, position), b.mul(blockIndex, kBlockKeys));
  Value slot = b.add(b.create<arith::MulIOp>(sequence, pages), blockIndex);
  Value page = b.widen(b.load(pageTable, slot, b.getI32Type()));
  return b.mul(page, kBlockKeys);
}

Value AttentionFrame::headPointer(unsigned index, Value row, Value head,
                                  int64_t width) {
  return b.element(rowPointer(b, *shape.request, arguments, index, row),
                   b.mul(head, width), shape.operand(index).getElementType());
}

Value AttentionFrame::transform(Value dot) {
  moex::AttentionOp op = shape.getOp();
  Type f32 = b.getF32Type();
  Value score = b.create<arith::MulFOp>(
      b.constant(f32, op.getScale().convertToDouble()), dot);
  if (!op.getSoftcap())
    return score;
  Value cap = b.constant(f32, op.getSoftcap()->convertToDouble());
  Value bent = b.create<math::TanhOp>(b.create<arith::DivFOp>(score, cap));
  return b.create<arith::MulFOp>(bent, cap);
}

std::pair<Value, Value> AttentionFrame::startRow(Value head) {
  Type f32 = b.getF32Type();
  if (!shape.getOp().getSinks())
    return {b.constant(f32, -kInfinity), b.constant(f32, 0.0)};
  // One more score, which is the maximum so far.
  Value sink =
      b.toF32(b.load(asGlobal(b, arguments.pointers[shape.sinksIndex]), head,
                     shape.operand(shape.sinksIndex).getElementType()));
  return {sink, b.constant(f32, 1.0)};
}

Value AttentionFrame::round(Value value) {
  Value x = b.toF32(value);
  Type compute = shape.getOp().getCompute();
  // Rounding a number to the type that it has changes nothing.
  return getElementTypeOrSelf(value.getType()) == compute
             ? x
             : b.roundTo(x, compute);
}

Value AttentionFrame::larger(Value x, Value y) {
  Value isLarger = b.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, y, x);
  return b.select(isLarger, y, x);
}

Value AttentionFrame::getShift(Value maximum) {
  Type f32 = b.getF32Type();
  Value isLowest = b.create<arith::CmpFOp>(arith::CmpFPredicate::OEQ, maximum,
                                           b.constant(f32, -kInfinity));
  return b.select(isLowest, b.constant(f32, 0.0), maximum);
}
