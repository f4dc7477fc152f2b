//===- GroupTile.cpp - Products of weights with scales --------------------===//
//
// For every format, level and type of computation. In integers (compute = i8) a
// group's products are summed in f32: codes have at most 8 bits, so sums of up to
// 256 products are exact and equal those of any integer instruction. The group's
// sum times both scales is added to the chain of the output.
//
// Otherwise a code becomes a number by the format's own arithmetic, is rounded to
// the type of computation and multiplied like a plain one.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/generic/GemmTile.h"

#include "dialects/moeq/MoeqDialect.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace moec;
using namespace moec::generic;

Value generic::buildGroupRounding(CodeBuilder &b, Value from, Type type,
                                  Value count, int64_t group, Value to) {
  Type f32 = b.getF32Type();
  VectorType vector = b.vectorOf(f32);
  Value whole = b.mul(b.div(count, kLanes), kLanes);
  b.loop(b.i64(0), whole, kLanes, [&](Value i) {
    b.storeLanes(b.toF32(b.loadLanes(from, i, type)), to, i);
  });
  b.loop(whole, count, 1, [&](Value i) {
    b.store(b.toF32(b.load(from, i, type)), to, i);
  });
  b.loop(count, b.i64(group), 1,
         [&](Value i) { b.store(b.constant(f32, 0.0), to, i); });

  // The largest magnitude; a NaN makes the scale, and so the result, one.
  auto larger = [&](Value x, Value y) -> Value {
    return b.create<arith::MaximumFOp>(x, y);
  };
  Value largest = b.loop(b.i64(0), b.i64(group), b.i64(kLanes),
                         ValueRange{b.constant(vector, 0.0)},
                         [&](Value i, ValueRange carried) {
                           Value x = b.create<math::AbsFOp>(
                               b.loadLanes(to, i, f32));
                           return CodeBuilder::Values{larger(carried[0], x)};
                         })[0];
  largest = b.foldLanes(largest, larger);
  Value range = b.constant(f32, 127.0);
  Value scale = b.create<arith::DivFOp>(largest, range);
  Value isZero = b.create<arith::CmpFOp>(arith::CmpFPredicate::OEQ, largest,
                                         b.constant(f32, 0.0));
  Value inverse =
      b.select(isZero, b.constant(f32, 0.0),
               b.create<arith::DivFOp>(range, largest).getResult());
  // Adding 1.5 * 2^23 and taking it away rounds to the nearest even integer.
  Value shift = b.constant(vector, 12582912.0);
  b.loop(b.i64(0), b.i64(group), kLanes, [&](Value i) {
    Value x = b.create<arith::MulFOp>(b.loadLanes(to, i, f32),
                                      b.splat(inverse));
    x = b.create<arith::SubFOp>(b.create<arith::AddFOp>(x, shift), shift);
    Value isNumber =
        b.create<arith::CmpFOp>(arith::CmpFPredicate::ORD, x, x);
    b.storeLanes(b.select(isNumber, x, b.constant(vector, 0.0)), to, i);
  });
  return scale;
}

namespace {

class GroupTile : public GemmTile {
public:
  GroupTile(const target::IsaLevel &level, const GemmOperands &operands)
      : level(level), operands(operands),
        unit(moeq::getGroupUnit(operands.format)),
        group(operands.format.getGroupColumns()),
        bits(operands.format.getCodeBits()), lanes(level.vectorBytes / 4),
        registers(level.vectorBytes == 64 ? 32 : 16),
        isInteger(operands.compute.isInteger(8)) {}

  std::string getPackName() const override {
    return typeName(operands.x) + "_group" + std::to_string(group) + "x" +
           std::to_string(unit.groups) + "_" + typeName(operands.compute);
  }
  std::string getTileName() const override {
    std::string name;
    llvm::raw_string_ostream os(name);
    os << Attribute(operands.format) << "_" << typeName(operands.compute);
    for (char &c : name)
      if (!llvm::isAlnum(c))
        c = '_';
    return name;
  }

  int64_t getMaxRows() const override { return 6; }
  int64_t getBlocks(int64_t rows) const override {
    return lanes == kLanes && rows <= 2 ? 2 : 1;
  }
  int64_t getPanelBytes(int64_t columns) const override {
    return llvm::divideCeil(columns, unit.columns) * unit.groups *
           recordBytes();
  }
  int64_t getWeightBytes(int64_t columns) const override {
    return llvm::divideCeil(columns, unit.columns) * unit.bytes;
  }

  void buildPack(CodeBuilder &b, ValueRange arguments) const override {
    Value to = arguments[0], from = arguments[1], count = arguments[2];
    Value groups =
        b.mul(b.div(b.add(count, unit.columns - 1), unit.columns), unit.groups);
    b.loop(b.i64(0), groups, 1, [&](Value index) {
      Value record = b.element(to, b.mul(index, recordBytes()), b.getI8Type());
      Value first = b.mul(index, group);
      Value inside = b.min(b.max(b.sub(count, first), b.i64(0)), b.i64(group));
      Value source = b.element(from, first, operands.x);
      if (isInteger) {
        Value scale =
            buildGroupRounding(b, source, operands.x, inside, group, record);
        b.store(scale, record, b.i64(group));
        return;
      }
      buildRowConversion(b, {record, source, inside}, operands.x,
                         [&](Value x) { return rounded(b, b.toF32(x)); });
      b.loop(inside, b.i64(group), 1, [&](Value i) {
        b.store(b.constant(b.getF32Type(), 0.0), record, i);
      });
    });
    b.create<LLVM::ReturnOp>(ValueRange());
  }

private:
  using Values = CodeBuilder::Values;

  static std::string typeName(Type type) {
    std::string name;
    llvm::raw_string_ostream(name) << type;
    return name;
  }
  /// A group in the panel: its numbers as f32, then its scale.
  int64_t recordBytes() const { return group * 4 + 16; }

  Value rounded(CodeBuilder &b, Value x) const {
    return b.roundTo(x, operands.compute);
  }

  void buildShape(CodeBuilder &b, const TileArguments &arguments, int64_t rows,
                  Value block, int64_t blocks) const override {
    // Sums of outputs and of groups, a line of codes, a weight, an element.
    int64_t columns = blocks * kLanes, width = columns;
    while (width > lanes &&
           (isInteger ? 2 : 1) * rows * width / lanes + 4 > registers)
      width /= 2;
    for (int64_t column = 0; column < columns; column += width)
      buildPart(b, arguments, rows, block, column, width);
  }

  /// `rows` rows by `width` columns from `column` of `block` on.
  void buildPart(CodeBuilder &b, const TileArguments &arguments, int64_t rows,
                 Value block, int64_t column, int64_t width) const {
    Type i8 = b.getI8Type();
    Value start = b.add(b.mul(block, kLanes), column);
    Values sums = loadSums(b, arguments, start, rows, width, lanes);
    Value units = b.div(b.add(arguments.count, unit.columns - 1), unit.columns);
    sums = b.loop(
        b.i64(0), units, b.i64(1), sums,
        [&](Value index, ValueRange carried) -> Values {
          Part part;
          part.width = width;
          Value offset = b.mul(index, unit.bytes);
          for (int64_t place = column; place < column + width; place += lanes) {
            Value base =
                b.add(b.mul(b.add(block, place / kLanes), arguments.blockStride),
                      offset);
            part.lines.push_back(b.element(
                arguments.weights, b.add(base, place % kLanes * 4), i8));
          }
          Value firstRecord = b.mul(index, unit.groups * recordBytes());
          Values totals(carried.begin(), carried.end());
          for (int64_t inUnit = 0; inUnit < unit.groups; ++inUnit) {
            part.records.clear();
            for (int64_t row = 0; row < rows; ++row)
              part.records.push_back(b.element(
                  arguments.panel,
                  b.add(b.add(b.mul(arguments.panelStride, row), firstRecord),
                        inUnit * recordBytes()),
                  i8));
            totals = buildGroup(b, part, inUnit, totals);
          }
          return totals;
        });
    storeSums(b, arguments, start, rows, width, lanes, sums);
  }

  struct Part {
    int64_t width = 0;
    /// Per vector of columns: where its lanes of the unit's lines begin.
    SmallVector<Value> lines;
    /// Per row: the group in the panel.
    SmallVector<Value> records;
  };

  /// The scales of one group of the unit: f32, or 16 bits in pairs.
  Value loadScale(CodeBuilder &b, Value line, int64_t inUnit) const {
    if (unit.groups == 1)
      return b.loadLanes(line, b.i64(0), b.getF32Type(), lanes, lanes);
    Value pairs = b.loadLanes(line, b.i64(0), b.getI32Type(), lanes, lanes);
    return buildHalf(b, pairs, inUnit == 1);
  }

  Values buildGroup(CodeBuilder &b, const Part &part, int64_t inUnit,
                    ValueRange totals) const {
    int64_t vectors = part.width / lanes, rows = part.records.size();
    Type f32 = b.getF32Type();
    VectorType floats = b.vectorOf(f32, lanes);
    SmallVector<Value> scales;
    for (Value line : part.lines)
      scales.push_back(loadScale(b, line, inUnit));
    int64_t lineColumns = 32 / bits;
    int64_t firstLine = 64 + inUnit * group / lineColumns * 64;
    Values init(totals.begin(), totals.end());
    if (isInteger)
      init.assign(rows * vectors, b.constant(floats, 0.0));
    Values results = b.loop(
        b.i64(0), b.i64(group), b.i64(lineColumns), init,
        [&](Value column, ValueRange carried) -> Values {
          Values sums(carried.begin(), carried.end());
          Value place =
              b.add(b.mul(b.div(column, lineColumns), 64), firstLine);
          SmallVector<Value> codes;
          for (Value line : part.lines)
            codes.push_back(
                b.loadLanes(b.element(line, place, b.getI8Type()), b.i64(0),
                            b.getI32Type(), lanes, lanes));
          for (int64_t k = 0; k < lineColumns; ++k) {
            SmallVector<Value> weights;
            for (auto [code, scale] : llvm::zip(codes, scales))
              weights.push_back(number(b, code, k, scale));
            for (int64_t row = 0; row < rows; ++row) {
              Value x = b.splat(
                  b.load(part.records[row], b.add(column, k), f32), lanes);
              for (int64_t v = 0; v < vectors; ++v) {
                Value &sum = sums[row * vectors + v];
                sum = b.mulAdd(x, weights[v], sum, level.hasFma);
              }
            }
          }
          return sums;
        });
    if (!isInteger)
      return results;
    for (int64_t row = 0; row < rows; ++row) {
      Value scale =
          b.splat(b.load(part.records[row], b.i64(group), f32), lanes);
      for (int64_t v = 0; v < vectors; ++v) {
        Value both = b.create<arith::MulFOp>(scales[v], scale);
        results[row * vectors + v] =
            b.mulAdd(results[row * vectors + v], both,
                     totals[row * vectors + v], level.hasFma);
      }
    }
    return results;
  }

  /// Weight `k` of the lines' columns: an integer, or the number itself.
  Value number(CodeBuilder &b, Value line, int64_t k, Value scale) const {
    VectorType ints = b.vectorOf(b.getI32Type(), lanes);
    // At 4 bits the columns from the fifth on are the high halves of the bytes.
    int64_t shift = k % 4 * 8 + k / 4 * 4;
    Value code = b.create<arith::AndIOp>(
        b.create<arith::ShRUIOp>(line, b.constant(ints, shift)),
        b.constant(ints, (1 << bits) - 1));
    if (!isInteger)
      return rounded(b, operands.format.emitDequantize(b, b.getLoc(), code,
                                                       scale));
    code = b.create<arith::SubIOp>(code, b.constant(ints, 1 << (bits - 1)));
    return b.create<arith::SIToFPOp>(b.vectorOf(b.getF32Type(), lanes), code);
  }

  const target::IsaLevel &level;
  GemmOperands operands;
  moeq::GroupUnit unit;
  int64_t group, bits, lanes, registers;
  bool isInteger;
};

} // namespace

std::unique_ptr<GemmTile>
generic::createGroupTile(const target::IsaLevel &level,
                         const GemmOperands &operands) {
  QuantFormatAttrInterface format = operands.format;
  if (!format || !isa<moeq::GroupBlocksLayoutAttr>(operands.layout) ||
      (operands.compute.isInteger(8) && !format.isInteger()) ||
      (format.getCodeBits() != 4 && format.getCodeBits() != 8) ||
      kPanelColumns % moeq::getGroupUnit(format).columns != 0)
    return nullptr;
  return std::make_unique<GroupTile>(level, operands);
}

std::unique_ptr<GemmTile>
generic::createAnyTile(const target::IsaLevel &level,
                       const GemmOperands &operands) {
  if (operands.format)
    return createGroupTile(level, operands);
  return createPlainTile(level, operands);
}
