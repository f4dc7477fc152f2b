//===- WeightReader.cpp - Numbers of stored weights -----------------------===//
#include "compiler/targets/nvptx/WeightReader.h"

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;

/// Rows of a block of #moeq.group_blocks, bytes of one of its lines.
static constexpr int64_t kBlockRows = 16, kLineBytes = 64;
/// Columns of loadUnit(), and of loadCodes().
static constexpr int64_t kUnitColumns = 8, kCodes = 16;

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
  bool fits = operand.format
                  ? isa_and_nonnull<moeq::GroupBlocksLayoutAttr>(layout)
                  : !layout || isa<moeq::RowBlocksLayoutAttr>(layout);
  if (!fits)
    return request.op->emitOpError("operand ")
           << index
           << " has a layout that target 'nvptx' cannot read: " << layout;
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
  int64_t blockBytes = llvm::divideCeil(columns, unit.columns) * unit.bytes;
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

Value WeightReader::wordPointer(CodeBuilder &b, Value matrix, Value row,
                                Value column) const {
  // The layout is described in dialects/moeq/MoeqAttrs.td.
  int64_t lineColumns = 32 / format.getCodeBits();
  Value inUnit = b.div(b.rem(column, unit.columns), group);
  Value inGroup = b.rem(column, group);
  Value offset =
      b.add(b.add(b.mul(inUnit, group / lineColumns * kLineBytes), kLineBytes),
            b.add(b.mul(b.div(inGroup, lineColumns), kLineBytes),
                  b.mul(b.rem(row, kBlockRows), 4)));
  return b.element(unitPointer(b, matrix, row, column), offset, b.getI8Type());
}

Value WeightReader::getPlace(CodeBuilder &b, Value row, Value column) const {
  auto blocks = dyn_cast_or_null<moeq::RowBlocksLayoutAttr>(layout);
  if (!blocks)
    return b.add(b.mul(row, columns), column);
  int64_t rows = blocks.getRows(), pack = blocks.getPack();
  Value place = b.add(b.mul(b.div(row, rows), blocks.getBlockCodes(columns)),
                      b.mul(b.rem(row, rows), pack));
  place = b.add(place, b.mul(b.div(column, pack), rows * pack));
  return b.add(place, b.rem(column, pack));
}

Value WeightReader::load(CodeBuilder &b, Value matrix, Value row,
                         Value column) const {
  Type f32 = b.getF32Type();
  auto rounded = [&](Value x) { return b.roundTo(x, compute); };
  if (!format)
    return rounded(b.toF32(b.load(matrix, getPlace(b, row, column), element)));
  int64_t bits = format.getCodeBits(), lineColumns = 32 / bits;
  Value word = b.load(wordPointer(b, matrix, row, column), b.getI32Type());
  Value inLine = b.rem(b.rem(column, group), lineColumns);
  Value shift = b.add(b.mul(b.rem(inLine, 4), 8), b.mul(b.div(inLine, 4), 4));
  Value code = b.create<arith::AndIOp>(
      b.create<arith::ShRUIOp>(
          word, b.create<arith::TruncIOp>(b.getI32Type(), shift)),
      b.i32((1 << bits) - 1));
  if (compute.isInteger(8))
    return b.create<arith::SIToFPOp>(
        f32, b.sub(code, b.i32(int64_t(1) << (bits - 1))));
  Value scale = loadScale(b, matrix, row, column);
  Value number =
      format.emitDequantize(b, b.getLoc(), b.splat(code, 1), b.splat(scale, 1));
  return rounded(b.extract(number, 0));
}

//===----------------------------------------------------------------------===//
// Eight at a time
//===----------------------------------------------------------------------===//

CodeBuilder::Values WeightReader::loadUnit(CodeBuilder &b, Value matrix,
                                           Value row, Value column) const {
  CodeBuilder::Values values;
  if (format) {
    values.push_back(loadScale(b, matrix, row, column));
    int64_t lineColumns = 32 / format.getCodeBits();
    Value first = wordPointer(b, matrix, row, column);
    for (int64_t i = 0; i < kUnitColumns / lineColumns; ++i)
      values.push_back(b.load(b.field(first, i * kLineBytes), b.getI32Type()));
    return values;
  }
  // Groups of columns that lie side by side, 16 bytes at most.
  auto blocks = dyn_cast_or_null<moeq::RowBlocksLayoutAttr>(layout);
  int64_t pack = blocks ? blocks.getPack() : kUnitColumns;
  int64_t stride = blocks ? blocks.getRows() * pack : pack;
  int64_t size = CodeBuilder::byteSize(element);
  int64_t wide = std::min<int64_t>(pack, 16 / size);
  Value first = b.element(matrix, getPlace(b, row, column), element);
  for (int64_t i = 0; i < kUnitColumns; i += wide)
    values.push_back(
        loadWide(b, b.field(first, (i / pack * stride + i % pack) * size),
                 element, wide));
  return values;
}

CodeBuilder::Values WeightReader::decodeUnit(CodeBuilder &b, ValueRange loaded,
                                             Value table) const {
  CodeBuilder::Values numbers;
  auto addAll = [&](Value vector) {
    int64_t count = cast<VectorType>(vector.getType()).getNumElements();
    for (int64_t i = 0; i < count; ++i)
      numbers.push_back(b.extract(vector, i));
  };
  if (!format) {
    for (Value part : loaded)
      addAll(b.toF32(part));
    return numbers;
  }
  int64_t bits = format.getCodeBits(), lineColumns = 32 / bits;
  for (Value word : loaded.drop_front()) {
    if (table) {
      for (int64_t i = 0; i < lineColumns; ++i) {
        Value code = b.create<arith::AndIOp>(
            b.create<arith::ShRUIOp>(word, b.i32(i % 4 * 8 + i / 4 * 4)),
            b.i32((1 << bits) - 1));
        Value number = b.load(table, b.widen(code), b.getF32Type());
        numbers.push_back(b.create<arith::MulFOp>(number, loaded[0]));
      }
      continue;
    }
    SmallVector<int64_t> shifts;
    for (int64_t i = 0; i < lineColumns; ++i)
      shifts.push_back(i % 4 * 8 + i / 4 * 4);
    Value codes = b.create<arith::ShRUIOp>(b.splat(word, lineColumns),
                                           b.lanes(shifts, 32));
    codes = b.create<arith::AndIOp>(
        codes, b.constant(codes.getType(), (1 << bits) - 1));
    addAll(format.emitDequantize(b, b.getLoc(), codes,
                                 b.splat(loaded[0], lineColumns)));
  }
  return numbers;
}

int64_t WeightReader::getTableBytes() const {
  // Integers are converted by an instruction.
  if (!format || format.isInteger() || format.getCodeBits() > 4)
    return 0;
  // Whether number = scale * f(code), as the format builds it.
  MLIRContext *context = format.getContext();
  Location loc = UnknownLoc::get(context);
  Block block;
  Value code = block.addArgument(
      VectorType::get({1}, IntegerType::get(context, 32)), loc);
  Value scale =
      block.addArgument(VectorType::get({1}, Float32Type::get(context)), loc);
  OpBuilder builder(context);
  builder.setInsertionPointToStart(&block);
  Value number = format.emitDequantize(builder, loc, code, scale);
  auto product = number.getDefiningOp<arith::MulFOp>();
  bool isProduct = product && scale.hasOneUse() &&
                   llvm::is_contained(product->getOperands(), scale);
  return isProduct ? (int64_t(1) << format.getCodeBits()) * 4 : 0;
}

void WeightReader::fillTable(CodeBuilder &b, Value thread, Value table) const {
  int64_t count = getTableBytes() / 4;
  b.ifThen(b.lessThan(thread, b.i64(count)), [&] {
    Value code = b.create<arith::TruncIOp>(b.getI32Type(), thread);
    Value number =
        format.emitDequantize(b, b.getLoc(), b.splat(code, 1),
                              b.constant(b.vectorOf(b.getF32Type(), 1), 1.0));
    b.store(b.extract(number, 0), table, thread);
  });
}

CodeBuilder::Values WeightReader::loadCodes(CodeBuilder &b, Value matrix,
                                            Value row, Value column) const {
  Value first = wordPointer(b, matrix, row, column);
  CodeBuilder::Values words;
  for (int64_t i = 0; i < kCodes * format.getCodeBits() / 32; ++i)
    words.push_back(b.load(b.field(first, i * kLineBytes), b.getI32Type()));
  return words;
}

Value WeightReader::decodeCodes(CodeBuilder &b, ValueRange words) const {
  Value bytes = b.create<LLVM::PoisonOp>(b.vectorOf(b.getI32Type(), 4));
  auto xorBits = [&](Value x, int64_t bits) -> Value {
    return b.create<arith::XOrIOp>(x, b.i32(static_cast<int32_t>(bits)));
  };
  for (int64_t i = 0; i < 4; ++i) {
    Value word = words[i * format.getCodeBits() / 8];
    if (format.getCodeBits() == 8) {
      // Codes are stored with an offset of 128.
      word = xorBits(word, 0x80808080);
    } else {
      // The upper halves of bytes are the columns from the fifth on; 8 is taken
      // from each byte without borrowing from the next.
      if (i % 2 == 1)
        word = b.create<arith::ShRUIOp>(word, b.i32(4));
      word = b.create<arith::AndIOp>(word, b.i32(0x0f0f0f0f));
      word = xorBits(b.sub(xorBits(word, 0x80808080), b.i32(0x08080808)),
                     0x80808080);
    }
    bytes = b.create<LLVM::InsertElementOp>(bytes, word, b.i32(i));
  }
  return bytes;
}
