//===- Int8DotTile.cpp - Products of integers by VPDPBUSD -----------------===//
//
// Codes of weights are unsigned, with an offset of half their range; the panel
// holds x as signed bytes. The sum of a group therefore begins at minus the
// offset times the sum of its x, which the panel keeps, and needs no correction.
// Integers are exact, so this equals GroupTile bit for bit.
//
// At 4 bits a line of 64 bytes is masked once for four columns and shifted once
// for the next four.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/x86_64/kernels/Tiles.h"

#include "dialects/moeq/MoeqDialect.h"

using namespace mlir;
using namespace moec;
using namespace moec::generic;

namespace {

class Int8DotTile : public GemmTile {
public:
  Int8DotTile(Type x, moeq::AffineFormatAttr format)
      : x(x), format(format), unit(moeq::getGroupUnit(format)),
        group(format.getGroup()), bits(format.getBits()) {}

  std::string getPackName() const override {
    return std::string(x.isF32() ? "f32" : x.isBF16() ? "bf16" : "f16") +
           "_dot_int" + std::to_string(bits) + "_group" +
           std::to_string(group) + "x" + std::to_string(unit.groups);
  }
  std::string getTileName() const override {
    return "dot_int" + std::to_string(bits) + "_group" +
           std::to_string(group) + "x" + std::to_string(unit.groups);
  }

  // Twice 12 sums, four vectors of codes, a broadcast.
  int64_t getMaxRows() const override { return 6; }
  int64_t getBlocks(int64_t rows) const override { return rows <= 2 ? 4 : 2; }
  int64_t getPanelBytes(int64_t columns) const override {
    return llvm::divideCeil(columns, unit.columns) * unit.groups *
           recordBytes();
  }
  int64_t getWeightBytes(int64_t columns) const override {
    return llvm::divideCeil(columns, unit.columns) * unit.bytes;
  }

  void buildPack(CodeBuilder &b, ValueRange arguments) const override;

private:
  using Values = CodeBuilder::Values;

  /// A group in the panel: bytes, scale (f32), first value of its sums (i32).
  int64_t recordBytes() const { return group + 16; }

  void buildShape(CodeBuilder &b, const TileArguments &arguments, int64_t rows,
                  Value block, int64_t blocks) const override;
  Values buildGroup(CodeBuilder &b, ArrayRef<Value> lines,
                    ArrayRef<Value> records, int64_t inUnit,
                    ValueRange totals) const;
  Value loadScale(CodeBuilder &b, Value line, int64_t inUnit) const;
  /// Adds the products of one line of codes of every block.
  void buildLine(CodeBuilder &b, ArrayRef<Value> lines,
                 ArrayRef<Value> records, Value place, Value column,
                 Values &sums) const;

  static Value bytes(CodeBuilder &b, Value words) {
    return b.create<LLVM::BitcastOp>(b.vectorOf(b.getI8Type(), 4 * kLanes),
                                     words);
  }

  Type x;
  moeq::AffineFormatAttr format;
  moeq::GroupUnit unit;
  int64_t group, bits;
};

} // namespace

void Int8DotTile::buildPack(CodeBuilder &b, ValueRange arguments) const {
  Value to = arguments[0], from = arguments[1], count = arguments[2];
  Type f32 = b.getF32Type(), i32 = b.getI32Type(), i8 = b.getI8Type();
  Value integers = b.stack(group * 4);
  Value groups =
      b.mul(b.div(b.add(count, unit.columns - 1), unit.columns), unit.groups);
  b.loop(b.i64(0), groups, 1, [&](Value index) {
    Value record = b.element(to, b.mul(index, recordBytes()), i8);
    Value first = b.mul(index, group);
    Value inside = b.min(b.max(b.sub(count, first), b.i64(0)), b.i64(group));
    Value scale = buildGroupRounding(b, b.element(from, first, x), x, inside,
                                     group, integers);
    Value sum = b.loop(
        b.i64(0), b.i64(group), b.i64(kLanes),
        ValueRange{b.constant(b.vectorOf(i32), 0)},
        [&](Value i, ValueRange carried) -> Values {
          Value words = b.create<arith::FPToSIOp>(
              b.vectorOf(i32), b.loadLanes(integers, i, f32));
          b.storeLanes(b.create<arith::TruncIOp>(b.vectorOf(i8), words),
                       record, i);
          return {b.add(carried[0], words)};
        })[0];
    sum = b.foldLanes(sum, [&](Value p, Value q) { return b.add(p, q); });
    Value end = b.field(record, group);
    b.store(scale, end);
    b.store(b.mul(sum, b.i32(-(1 << (bits - 1)))), b.field(end, 4));
  });
  b.create<LLVM::ReturnOp>(ValueRange());
}

void Int8DotTile::buildShape(CodeBuilder &b, const TileArguments &arguments,
                             int64_t rows, Value block, int64_t blocks) const {
  Type i8 = b.getI8Type();
  Value start = b.mul(block, kLanes);
  int64_t columns = blocks * kLanes;
  Values sums = loadSums(b, arguments, start, rows, columns, kLanes);
  Value units = b.div(b.add(arguments.count, unit.columns - 1), unit.columns);
  auto step = [&](Value index, ValueRange carried) -> Values {
    SmallVector<Value> lines;
    Value offset = b.mul(index, unit.bytes);
    for (int64_t i = 0; i < blocks; ++i) {
      Value base = b.mul(b.add(block, i), arguments.blockStride);
      lines.push_back(b.element(arguments.weights, b.add(base, offset), i8));
    }
    Value firstRecord = b.mul(index, unit.groups * recordBytes());
    Values totals(carried.begin(), carried.end());
    for (int64_t inUnit = 0; inUnit < unit.groups; ++inUnit) {
      SmallVector<Value> records;
      for (int64_t row = 0; row < rows; ++row)
        records.push_back(b.element(
            arguments.panel,
            b.add(b.add(b.mul(arguments.panelStride, row), firstRecord),
                  inUnit * recordBytes()),
            i8));
      totals = buildGroup(b, lines, records, inUnit, totals);
    }
    return totals;
  };
  sums = b.loop(b.i64(0), units, b.i64(1), sums, step);
  storeSums(b, arguments, start, rows, columns, kLanes, sums);
}

Value Int8DotTile::loadScale(CodeBuilder &b, Value line,
                             int64_t inUnit) const {
  if (unit.groups == 1)
    return b.loadLanes(line, b.i64(0), b.getF32Type());
  return buildHalf(b, b.loadLanes(line, b.i64(0), b.getI32Type()), inUnit == 1);
}

Int8DotTile::Values Int8DotTile::buildGroup(CodeBuilder &b,
                                            ArrayRef<Value> lines,
                                            ArrayRef<Value> records,
                                            int64_t inUnit,
                                            ValueRange totals) const {
  int64_t blocks = lines.size(), rows = records.size();
  Type i32 = b.getI32Type();
  Values sums;
  for (Value record : records) {
    Value first = b.splat(b.load(b.field(record, group + 4), i32));
    sums.append(blocks, first);
  }
  int64_t lineColumns = 32 / bits, numLines = group / lineColumns;
  int64_t firstLine = 64 + inUnit * numLines * 64;
  // Short groups stand in line, long ones go round in fours.
  int64_t together = numLines <= 8 ? numLines : 4;
  auto build = [&](Value line, Values sums) {
    for (int64_t i = 0; i < together; ++i) {
      Value number = b.add(line, i);
      buildLine(b, lines, records, b.add(b.mul(number, 64), firstLine),
                b.mul(number, lineColumns), sums);
    }
    return sums;
  };
  if (together == numLines)
    sums = build(b.i64(0), sums);
  else
    sums = b.loop(b.i64(0), b.i64(numLines), b.i64(together), sums,
                  [&](Value line, ValueRange carried) {
                    return build(line, Values(carried.begin(), carried.end()));
                  });
  Values results;
  for (int64_t row = 0; row < rows; ++row) {
    Value scale =
        b.splat(b.load(b.field(records[row], group), b.getF32Type()));
    for (int64_t i = 0; i < blocks; ++i) {
      Value both =
          b.create<arith::MulFOp>(loadScale(b, lines[i], inUnit), scale);
      Value sum = b.create<arith::SIToFPOp>(b.vectorOf(b.getF32Type()),
                                            sums[row * blocks + i]);
      results.push_back(
          b.mulAdd(sum, both, totals[row * blocks + i], /*fused=*/true));
    }
  }
  return results;
}

void Int8DotTile::buildLine(CodeBuilder &b, ArrayRef<Value> lines,
                            ArrayRef<Value> records, Value place, Value column,
                            Values &sums) const {
  int64_t blocks = lines.size();
  VectorType words = b.vectorOf(b.getI32Type());
  SmallVector<Value> codes;
  for (Value line : lines)
    codes.push_back(b.loadLanes(b.element(line, place, b.getI8Type()), b.i64(0),
                                b.getI32Type()));
  for (int64_t half = 0; half < 8 / bits; ++half) {
    SmallVector<Value> weights;
    for (Value code : codes) {
      if (half == 1)
        code = b.create<arith::ShRUIOp>(code, b.constant(words, 4));
      if (bits == 4)
        code = b.create<arith::AndIOp>(code, b.constant(words, 0x0f0f0f0f));
      weights.push_back(bytes(b, code));
    }
    for (auto [row, record] : llvm::enumerate(records)) {
      Value quad = b.load(
          b.element(record, b.add(column, half * 4), b.getI8Type()),
          b.getI32Type());
      Value element = bytes(b, b.splat(quad));
      for (int64_t i = 0; i < blocks; ++i) {
        Value &sum = sums[row * blocks + i];
        sum = b.create<LLVM::CallIntrinsicOp>(
                   words, b.getStringAttr("llvm.x86.avx512.vpdpbusd.512"),
                   ValueRange{sum, weights[i], element})
                  .getResults();
      }
    }
  }
}

std::unique_ptr<GemmTile>
x86::createInt8DotTile(const target::IsaLevel &level,
                       const GemmOperands &operands) {
  auto format =
      dyn_cast_or_null<moeq::AffineFormatAttr>(Attribute(operands.format));
  if (!format || !operands.compute.isInteger(8) ||
      !isa<moeq::GroupBlocksLayoutAttr>(operands.layout))
    return nullptr;
  return std::make_unique<Int8DotTile>(operands.x, format);
}
