//===- WeightReader.cpp - Numbers of stored weights -----------------------===//
#include "compiler/targets/nvptx/WeightReader.h"

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;

/// Rows of a block of #moeq.group_blocks, bytes of one of its lines.
static constexpr int64_t kBlockRows = 16, kLineBytes = 64;

WeightReader::WeightReader(const KernelOperand &operand, int64_t columns,
                           Type compute)
    : element(operand.getElementType()), compute(compute),
      format(operand.format), layout(operand.layout), columns(columns) {
  if (format) {
    group = format.getGroupColumns();
    unit = moeq::getGroupUnit(format);
  }
}

LogicalResult WeightReader::check(const KernelRequest &request, unsigned index,
                                  Type compute) {
  const KernelOperand &operand = request.operands[index];
  Attribute layout = operand.layout;
  bool fits =
      operand.format
          ? isa_and_nonnull<moeq::GroupBlocksLayoutAttr>(layout)
          : !layout || isa<moeq::RowBlocksLayoutAttr>(layout);
  if (!fits)
    return request.op->emitOpError("operand ")
           << index << " has a layout that target 'nvptx' cannot read: "
           << layout;
  bool needsInteger = compute.isInteger(8);
  if (needsInteger && !(operand.format && operand.format.isInteger()))
    return request.op->emitOpError("operand ")
           << index << ": compute = i8 needs a format of integers";
  return success();
}

std::pair<Value, Value> WeightReader::spread(CodeBuilder &b, Value i,
                                             int64_t rows,
                                             int64_t count) const {
  auto blocks = dyn_cast_or_null<moeq::RowBlocksLayoutAttr>(layout);
  if (blocks && rows % blocks.getRows() == 0 && count % blocks.getPack() == 0) {
    int64_t inBlock = blocks.getRows() * count;
    int64_t pack = blocks.getPack();
    Value inner = b.rem(i, inBlock);
    Value row = b.add(b.mul(b.div(i, inBlock), blocks.getRows()),
                      b.rem(b.div(inner, pack), blocks.getRows()));
    Value column = b.add(b.mul(b.div(inner, pack * blocks.getRows()), pack),
                         b.rem(inner, pack));
    return {row, column};
  }
  if (format)
    return {b.rem(i, rows), b.div(i, rows)};
  return {b.div(i, count), b.rem(i, count)};
}

Value WeightReader::unitPointer(CodeBuilder &b, Value matrix, Value row,
                                Value column) const {
  int64_t blockBytes =
      llvm::divideCeil(columns, unit.columns) * unit.bytes;
  Value offset = b.add(b.mul(b.div(row, kBlockRows), blockBytes),
                       b.mul(b.div(column, unit.columns), unit.bytes));
  return b.element(matrix, offset, b.getI8Type());
}

Value WeightReader::loadScale(CodeBuilder &b, Value matrix, Value row,
                              Value column) const {
  Value line = b.element(unitPointer(b, matrix, row, column),
                         b.mul(b.rem(row, kBlockRows), 4), b.getI8Type());
  if (unit.groups == 1)
    return b.load(line, b.getF32Type());
  Value inUnit = b.div(b.rem(column, unit.columns), group);
  return b.toF32(b.load(line, inUnit, format.getScaleType()));
}

Value WeightReader::load(CodeBuilder &b, Value matrix, Value row,
                         Value column) const {
  Type f32 = b.getF32Type();
  auto rounded = [&](Value x) {
    return compute.isBF16() ? b.toF32(b.fromF32(x, compute)) : x;
  };
  if (!format) {
    Value place = b.add(b.mul(row, columns), column);
    if (auto blocks = dyn_cast_or_null<moeq::RowBlocksLayoutAttr>(layout)) {
      int64_t rows = blocks.getRows(), pack = blocks.getPack();
      place = b.add(b.mul(b.div(row, rows), blocks.getBlockCodes(columns)),
                    b.mul(b.rem(row, rows), pack));
      place = b.add(place, b.mul(b.div(column, pack), rows * pack));
      place = b.add(place, b.rem(column, pack));
    }
    return rounded(b.toF32(b.load(matrix, place, element)));
  }
  // The layout is described in dialects/moeq/MoeqAttrs.td.
  int64_t bits = format.getCodeBits(), lineColumns = 32 / bits;
  Value inUnit = b.div(b.rem(column, unit.columns), group);
  Value inGroup = b.rem(column, group);
  Value offset = b.add(
      b.add(b.mul(inUnit, group / lineColumns * kLineBytes), kLineBytes),
      b.add(b.mul(b.div(inGroup, lineColumns), kLineBytes),
            b.mul(b.rem(row, kBlockRows), 4)));
  Value word = b.load(
      b.element(unitPointer(b, matrix, row, column), offset, b.getI8Type()),
      b.getI32Type());
  Value inLine = b.rem(inGroup, lineColumns);
  Value shift = b.add(b.mul(b.rem(inLine, 4), 8), b.mul(b.div(inLine, 4), 4));
  Value code = b.create<arith::AndIOp>(
      b.create<arith::ShRUIOp>(
          word, b.create<arith::TruncIOp>(b.getI32Type(), shift)),
      b.i32((1 << bits) - 1));
  if (compute.isInteger(8))
    return b.create<arith::SIToFPOp>(
        f32, b.sub(code, b.i32(int64_t(1) << (bits - 1))));
  Value scale = loadScale(b, matrix, row, column);
  Value number = format.emitDequantize(b, b.getLoc(), b.splat(code, 1),
                                       b.splat(scale, 1));
  return rounded(b.extract(number, 0));
}
