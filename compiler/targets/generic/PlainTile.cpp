//===- PlainTile.cpp - Products of plain numbers on every level -----------===//
//
// One accumulator per output, one multiplication and addition (fused where the
// level has it) per weight, in f32. Nothing but the length of vectors and the
// shape of tiles depends on the level.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/generic/GemmTile.h"

#include "dialects/moeq/MoeqDialect.h"

using namespace mlir;
using namespace moec;
using namespace moec::generic;

//===----------------------------------------------------------------------===//
// Shared by tiles
//===----------------------------------------------------------------------===//

GemmTile::~GemmTile() = default;

void GemmTile::buildTile(CodeBuilder &b, ValueRange values) const {
  TileArguments arguments(values);
  auto buildBlocks = [&](int64_t rows) {
    int64_t together = getBlocks(rows);
    auto oneByOne = [&] {
      b.loop(b.i64(0), arguments.blocks, 1,
             [&](Value block) { buildShape(b, arguments, rows, block, 1); });
    };
    if (together == 1)
      return oneByOne();
    Value isWhole = b.compare(arith::CmpIPredicate::eq, arguments.blocks,
                              b.i64(together));
    b.ifElse(
        isWhole,
        [&] { buildShape(b, arguments, rows, b.i64(0), together); }, oneByOne);
  };
  std::function<void(int64_t)> buildRows = [&](int64_t rows) {
    if (rows == getMaxRows())
      return buildBlocks(rows);
    Value isThis =
        b.compare(arith::CmpIPredicate::eq, arguments.rows, b.i64(rows));
    b.ifElse(
        isThis, [&] { buildBlocks(rows); }, [&] { buildRows(rows + 1); });
  };
  buildRows(1);
  b.create<LLVM::ReturnOp>(ValueRange());
}

static Value sumPlace(CodeBuilder &b, const TileArguments &arguments,
                      Value start, int64_t row, int64_t column) {
  return b.element(arguments.sums, b.add(start, row * kTileColumns + column),
                   b.getF32Type());
}

CodeBuilder::Values generic::loadSums(CodeBuilder &b,
                                      const TileArguments &arguments,
                                      Value start, int64_t rows,
                                      int64_t columns, int64_t lanes) {
  VectorType type = b.vectorOf(b.getF32Type(), lanes);
  return b.choose(
      arguments.first,
      [&]() -> CodeBuilder::Values {
        return CodeBuilder::Values(rows * columns / lanes,
                                   b.constant(type, 0.0));
      },
      [&]() -> CodeBuilder::Values {
        CodeBuilder::Values values;
        for (int64_t row = 0; row < rows; ++row)
          for (int64_t column = 0; column < columns; column += lanes)
            values.push_back(
                b.load(sumPlace(b, arguments, start, row, column), type));
        return values;
      });
}

void generic::storeSums(CodeBuilder &b, const TileArguments &arguments,
                        Value start, int64_t rows, int64_t columns,
                        int64_t lanes, ValueRange sums) {
  for (int64_t row = 0, next = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; column += lanes)
      b.store(sums[next++], sumPlace(b, arguments, start, row, column));
}

void generic::buildRowConversion(CodeBuilder &b, ValueRange arguments,
                                 Type from,
                                 function_ref<Value(Value)> convert) {
  Value to = arguments[0], source = arguments[1], count = arguments[2];
  Value whole = b.mul(b.div(count, kLanes), kLanes);
  b.loop(b.i64(0), whole, kLanes, [&](Value i) {
    b.storeLanes(convert(b.loadLanes(source, i, from)), to, i);
  });
  b.loop(whole, count, 1, [&](Value i) {
    b.store(convert(b.load(source, i, from)), to, i);
  });
}

Value generic::buildHalf(CodeBuilder &b, Value pairs, bool isUpper) {
  auto type = cast<VectorType>(pairs.getType());
  Value bits =
      isUpper
          ? b.create<arith::AndIOp>(pairs, b.constant(type, -65536)).getResult()
          : b.create<arith::ShLIOp>(pairs, b.constant(type, 16)).getResult();
  return b.create<arith::BitcastOp>(
      b.vectorOf(b.getF32Type(), type.getNumElements()), bits);
}

//===----------------------------------------------------------------------===//
// The tile
//===----------------------------------------------------------------------===//

namespace {

std::string nameOf(Type type) {
  return type.isF32() ? "f32" : type.isBF16() ? "bf16" : "f16";
}

class PlainTile : public GemmTile {
public:
  PlainTile(const target::IsaLevel &level, const GemmOperands &operands,
            int64_t pack)
      : level(level), operands(operands), pack(pack),
        lanes(level.vectorBytes / 4),
        registers(level.vectorBytes == 64 ? 32 : 16) {
    // Rounding a number to the type that it has changes nothing.
    bool rounds = !operands.compute.isF32();
    roundX = rounds && operands.x != operands.compute;
    roundWeights = rounds && operands.weight != operands.compute;
  }

  std::string getPackName() const override {
    return nameOf(operands.x) +
           (roundX ? "_to_" + nameOf(operands.compute) : "") +
           (pack == 2 ? "_in_pairs" : "");
  }
  std::string getTileName() const override {
    return nameOf(operands.weight) +
           (roundWeights ? "_to_" + nameOf(operands.compute) : "");
  }

  // 12 accumulators of two vectors; with pairs of columns one vector of codes
  // more has to stay in registers, and there are 16.
  int64_t getMaxRows() const override {
    return pack == 2 && lanes == 8 ? 5 : 6;
  }
  int64_t getBlocks(int64_t rows) const override {
    if (lanes == kLanes)
      return rows <= 2 ? 4 : 2;
    // 8 accumulators each.
    return std::max<int64_t>(1, 8 / (kLanes / lanes * rows));
  }

  int64_t getPanelBytes(int64_t columns) const override {
    return llvm::alignTo(columns, kLanes) * 4;
  }
  int64_t getWeightBytes(int64_t columns) const override {
    return llvm::alignTo(columns, pack) * kLanes *
           CodeBuilder::byteSize(operands.weight);
  }

  void buildPack(CodeBuilder &b, ValueRange arguments) const override {
    buildRowConversion(b, arguments, operands.x, [&](Value x) {
      x = b.toF32(x);
      return roundX ? b.roundTo(x, operands.compute) : x;
    });
    if (pack == 2)
      padPair(b, arguments);
    b.create<LLVM::ReturnOp>(ValueRange());
  }

private:
  using Values = CodeBuilder::Values;

  /// The last group of columns may have one that x lacks: its weight is zero,
  /// and so must be what it is multiplied by.
  void padPair(CodeBuilder &b, ValueRange arguments) const {
    Value count = arguments[2];
    b.ifThen(b.compare(arith::CmpIPredicate::ne, b.rem(count, 2), b.i64(0)),
             [&] {
               b.store(b.constant(b.getF32Type(), 0.0), arguments[0], count);
             });
  }

  /// `rows` rows by the columns of `blocks` blocks from `block` on.
  void buildShape(CodeBuilder &b, const TileArguments &arguments, int64_t rows,
                  Value block, int64_t blocks) const override {
    // Registers hold the accumulators, the codes, the weights of one column (one
    // vector at a time if there is one row), an element of the panel and a
    // product: with short vectors many rows take a block in two halves.
    int64_t columns = blocks * kLanes;
    int64_t width = columns;
    auto used = [&] {
      int64_t vectors = width / lanes;
      return rows * vectors + (pack == 2 ? vectors : 0) +
             (rows > 1 ? vectors : 1) + (level.hasFma ? 1 : 2);
    };
    while (used() > registers && width > lanes)
      width /= 2;
    for (int64_t column = 0; column < columns; column += width)
      buildPart(b, arguments, rows, block, column, width);
  }

  void buildPart(CodeBuilder &b, const TileArguments &arguments, int64_t rows,
                 Value block, int64_t column, int64_t width) const {
    int64_t vectors = width / lanes;
    Value start = b.add(b.mul(block, kLanes), column);
    Values init = loadSums(b, arguments, start, rows, width, lanes);
    SmallVector<Value> rowPointers, blockPointers;
    Type i8 = b.getI8Type();
    for (int64_t row = 0; row < rows; ++row)
      rowPointers.push_back(b.element(arguments.panel,
                                      b.mul(arguments.panelStride, row), i8));
    for (int64_t part = column / kLanes * kLanes; part < column + width;
         part += kLanes)
      blockPointers.push_back(
          b.element(arguments.weights,
                    b.mul(b.add(block, part / kLanes), arguments.blockStride),
                    i8));
    auto step = [&](Value k, ValueRange carried) -> Values {
      Values sums(carried.begin(), carried.end());
      SmallVector<Value> codes;
      if (pack == 2)
        codes = loadPairs(b, blockPointers, k, column % kLanes, width);
      for (int64_t lane = 0; lane < pack; ++lane) {
        SmallVector<Value> w;
        if (pack == 2)
          w = llvm::map_to_vector(
              codes, [&](Value code) { return buildHalf(b, code, lane == 1); });
        else
          w = loadWeights(b, blockPointers, k, column % kLanes, width);
        for (int64_t row = 0; row < rows; ++row) {
          Value x = b.splat(
              b.load(rowPointers[row], b.add(k, lane), b.getF32Type()), lanes);
          for (int64_t vector = 0; vector < vectors; ++vector) {
            Value &sum = sums[row * vectors + vector];
            sum = b.mulAdd(x, w[vector], sum, level.hasFma);
          }
        }
      }
      return sums;
    };
    Values results =
        b.loop(b.i64(0), arguments.count, b.i64(pack), init, step);
    storeSums(b, arguments, start, rows, width, lanes, results);
  }

  /// The pairs of columns k and k + 1 as i32 lanes, the lower column in the
  /// lower half.
  SmallVector<Value> loadPairs(CodeBuilder &b, ArrayRef<Value> blockPointers,
                               Value k, int64_t column, int64_t width) const {
    SmallVector<Value> codes;
    Type i32 = b.getI32Type();
    Value line = b.mul(b.div(k, pack), kLanes);
    for (int64_t part = 0; part < width; part += lanes) {
      int64_t place = column + part;
      codes.push_back(b.loadLanes(blockPointers[place / kLanes],
                                  b.add(line, place % kLanes), i32, lanes,
                                  lanes));
    }
    return codes;
  }

  /// The weights of index `k` of `width` columns, from `column` of the first
  /// block on, as vectors of f32.
  SmallVector<Value> loadWeights(CodeBuilder &b, ArrayRef<Value> blockPointers,
                                 Value k, int64_t column,
                                 int64_t width) const {
    SmallVector<Value> vectors;
    Value line = b.mul(k, kLanes);
    // At least 8 at a time: one register of 16-bit codes.
    int64_t together = std::max<int64_t>(8, lanes);
    for (int64_t part = 0; part < width; part += together) {
      int64_t place = column + part;
      Value w = b.toF32(b.loadLanes(blockPointers[place / kLanes],
                                    b.add(line, place % kLanes),
                                    operands.weight, together, together));
      if (roundWeights)
        w = b.roundTo(w, operands.compute);
      for (int64_t lane = 0; lane < together; lane += lanes)
        vectors.push_back(b.slice(w, lane, lanes));
    }
    return vectors;
  }

  const target::IsaLevel &level;
  GemmOperands operands;
  int64_t pack, lanes, registers;
  bool roundX, roundWeights;
};

} // namespace

std::unique_ptr<GemmTile>
generic::createPlainTile(const target::IsaLevel &level,
                         const GemmOperands &operands) {
  Type weight = operands.weight;
  if (operands.format || operands.compute.isInteger(8))
    return nullptr;
  if (!weight.isF32() && !weight.isBF16() && !weight.isF16())
    return nullptr;
  int64_t pack = weight.isBF16() ? 2 : 1;
  if (operands.layout != moeq::RowBlocksLayoutAttr::get(weight.getContext(),
                                                        kLanes, pack))
    return nullptr;
  return std::make_unique<PlainTile>(level, operands, pack);
}
