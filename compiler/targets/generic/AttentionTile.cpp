//===- AttentionTile.cpp - The inner loops of attention -------------------===//
//
// Keys lie row by row in the cache, and a score is a sum over a row. Lines of
// keys, one per element (or pair of elements) of the head, let a vector hold
// one term of as many scores as it has lanes: no sum is ever folded across
// lanes, and any number of rows of queries shares a line. Turning the block
// costs as much as the scores of about four rows.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/generic/AttentionTile.h"

#include "compiler/targets/generic/GemmTile.h"

using namespace mlir;
using namespace moec;
using namespace moec::generic;

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

ScoreArithmetic::~ScoreArithmetic() = default;

static std::string nameOf(Type type) {
  return type.isF32()    ? "f32"
         : type.isBF16() ? "bf16"
         : type.isF16()  ? "f16"
                         : "f64";
}

namespace {

class PlainScores : public ScoreArithmetic {
public:
  PlainScores(bool isFused, Type compute)
      : isFused(isFused), compute(compute) {}

  std::string getName() const override { return nameOf(compute); }
  int64_t getPack() const override { return 1; }

  Value toWords(CodeBuilder &b, Value elements) const override {
    Value x = b.toF32(elements);
    // Rounding a number to the type that it has changes nothing.
    return getElementTypeOrSelf(elements.getType()) == compute
               ? x
               : b.roundTo(x, compute);
  }

  Value multiplyAdd(CodeBuilder &b, Value x, Value y,
                    Value sum) const override {
    return b.mulAdd(x, y, sum, isFused);
  }

private:
  bool isFused;
  Type compute;
};

} // namespace

std::unique_ptr<ScoreArithmetic>
generic::createPlainScores(const target::IsaLevel &level, Type compute) {
  return std::make_unique<PlainScores>(level.hasFma, compute);
}

/// `active` pairs of 16-bit numbers in lanes of 32 bits: of an odd number of
/// elements the last is paired with zero.
static Value padPairs(CodeBuilder &b, Value pairs, int64_t active) {
  int64_t lanes = cast<VectorType>(pairs.getType()).getNumElements();
  if (active == 2 * lanes || active % 2 == 0)
    return pairs;
  SmallVector<int64_t> mask(lanes, -1);
  mask[active / 2] = 0xffff;
  return b.create<arith::AndIOp>(pairs, b.lanes(mask, 32));
}

Value generic::loadWords(CodeBuilder &b, const ScoreArithmetic &arithmetic,
                         Value pointer, Value index, Type type, int64_t active,
                         int64_t lanes) {
  int64_t pack = arithmetic.getPack();
  Value words = arithmetic.toWords(
      b, b.loadLanes(pointer, index, type, active, lanes * pack));
  return pack == 2 ? padPairs(b, words, active) : words;
}

//===----------------------------------------------------------------------===//
// Lines of keys
//===----------------------------------------------------------------------===//

/// Transposes a square of 4, 8 or 16 vectors by shuffles that stay inside
/// quarters of 128 bits, then by shuffles of whole quarters.
static SmallVector<Value> transpose(CodeBuilder &b, ArrayRef<Value> rows) {
  int64_t lanes = rows.size();
  auto pairUp = [&](Value x, Value y, int64_t unit, bool isHigh) {
    SmallVector<int64_t> mask;
    for (int64_t quad = 0; quad < lanes; quad += 4)
      for (int64_t part = 0; part < 4; part += 2 * unit)
        for (int64_t source : {int64_t(0), lanes})
          for (int64_t i = 0; i < unit; ++i)
            mask.push_back(source + quad + (isHigh ? 2 : 0) + part / 2 + i);
    return b.shuffle(x, y, mask);
  };
  SmallVector<Value> pairs, quads;
  for (int64_t i = 0; i < lanes; i += 2)
    for (bool isHigh : {false, true})
      pairs.push_back(pairUp(rows[i], rows[i + 1], 1, isHigh));
  for (int64_t i = 0; i < lanes; i += 4)
    for (int64_t half : {0, 1})
      for (bool isHigh : {false, true})
        quads.push_back(
            pairUp(pairs[i + half], pairs[i + 2 + half], 2, isHigh));
  // quads[i + c] holds columns c, c + 4, c + 8, .. of rows i .. i + 3. Take
  // every other quarter until a vector has all rows of one column.
  auto takeQuarters = [&](Value x, Value y, int64_t first) {
    SmallVector<int64_t> mask;
    for (int64_t lane = first * 4; lane < 2 * lanes; lane += 8)
      for (int64_t i = 0; i < 4; ++i)
        mask.push_back(lane + i);
    return b.shuffle(x, y, mask);
  };
  std::function<Value(ArrayRef<Value>, int64_t)> column =
      [&](ArrayRef<Value> parts, int64_t quarter) -> Value {
    if (parts.size() == 1)
      return parts[0];
    SmallVector<Value> next;
    for (size_t i = 0; i < parts.size(); i += 2)
      next.push_back(takeQuarters(parts[i], parts[i + 1], quarter % 2));
    return column(next, quarter / 2);
  };
  SmallVector<Value> columns;
  for (int64_t i = 0; i < lanes; ++i) {
    SmallVector<Value> parts;
    for (int64_t row = 0; row < lanes; row += 4)
      parts.push_back(quads[row + i % 4]);
    columns.push_back(column(parts, i / 4));
  }
  return columns;
}

static LLVM::LLVMFunctionType functionOf(CodeBuilder &b, ArrayRef<Type> types) {
  return LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b.getContext()),
                                     types);
}

LLVM::LLVMFuncOp AttentionTile::getKeys(CodeBuilder &b, Type type,
                                        int64_t stride) {
  Type ptr = b.ptrType(), i64 = b.getI64Type();
  std::string name;
  llvm::raw_string_ostream(name)
      << "moe_attention_keys_" << arithmetic.getName() << "_" << nameOf(type)
      << "_d" << depth << "_s" << stride;
  return module.getHelper(b.getLoc(), name, functionOf(b, {ptr, ptr, i64, i64}),
                          [&](CodeBuilder &builder, ValueRange arguments) {
                            buildKeys(builder, arguments, type, stride);
                          });
}

void AttentionTile::buildKeys(CodeBuilder &b, ValueRange arguments, Type type,
                              int64_t stride) const {
  Value from = arguments[0], to = arguments[1];
  Value low = arguments[2], high = arguments[3];
  Value start = b.mul(b.div(low, kLanes), kLanes);
  Value end = b.mul(b.div(b.add(high, kLanes - 1), kLanes), kLanes);
  b.loop(start, end, lanes, [&](Value key) {
    // Memory outside the range may not be there.
    Value last = b.sub(high, b.i64(1));
    SmallVector<Value> rows;
    for (int64_t i = 0; i < lanes; ++i) {
      Value place = b.max(low, b.min(b.add(key, i), last));
      rows.push_back(b.element(from, b.mul(place, stride), type));
    }
    buildKeyGroup(b, rows, to, key, type);
  });
  b.create<LLVM::ReturnOp>(ValueRange());
}

void AttentionTile::buildKeyGroup(CodeBuilder &b, ArrayRef<Value> rows,
                                  Value to, Value key, Type type) const {
  // Two bf16 move as one word, even where they are multiplied apart.
  bool movesPairs = arithmetic.getPack() == 1 && type.isBF16();
  int64_t pack = movesPairs ? 2 : arithmetic.getPack();
  auto store = [&](Value words, Value line) {
    b.storeLanes(words, to, b.add(b.mul(line, kBlockKeys), key), lanes);
  };
  auto buildSquare = [&](Value element, int64_t active) {
    SmallVector<Value> words;
    for (Value row : rows) {
      if (!movesPairs) {
        words.push_back(
            loadWords(b, arithmetic, row, element, type, active, lanes));
        continue;
      }
      Value pairs = b.create<LLVM::BitcastOp>(
          b.vectorOf(b.getI32Type(), lanes),
          b.loadLanes(row, element, type, active, 2 * lanes));
      words.push_back(padPairs(b, pairs, active));
    }
    SmallVector<Value> lines = transpose(b, words);
    Value first = b.div(element, arithmetic.getPack());
    for (int64_t i = 0; i * pack < active; ++i) {
      if (!movesPairs) {
        store(lines[i], b.add(first, i));
        continue;
      }
      for (bool isUpper : {false, true})
        store(buildHalf(b, lines[i], isUpper),
              b.add(first, 2 * i + (isUpper ? 1 : 0)));
    }
  };
  int64_t square = lanes * pack, whole = depth / square * square;
  b.loop(b.i64(0), b.i64(whole), square,
         [&](Value element) { buildSquare(element, square); });
  if (whole < depth)
    buildSquare(b.i64(whole), depth - whole);
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

int64_t AttentionTile::getColumns(int64_t rows) const {
  // Registers hold the sums, a line or row of each vector, an element that all
  // are multiplied by, and a product where it is not fused. A single vector at
  // a time comes from memory.
  int64_t columns = 4 * kLanes;
  auto used = [&] {
    int64_t vectors = columns / lanes;
    return rows * vectors + (rows > 1 ? vectors : 1) + (level.hasFma ? 1 : 2);
  };
  while (used() > registers && columns > lanes)
    columns /= 2;
  return columns;
}

void AttentionTile::forRows(CodeBuilder &b, Value rows,
                            function_ref<void(int64_t)> build) const {
  b.ifElse(
      b.compare(arith::CmpIPredicate::sle, rows, b.i64(2)),
      [&] {
        b.ifElse(
            b.compare(arith::CmpIPredicate::eq, rows, b.i64(1)),
            [&] { build(1); }, [&] { build(2); });
      },
      [&] {
        b.ifElse(
            b.compare(arith::CmpIPredicate::sle, rows, b.i64(4)),
            [&] { build(4); }, [&] { build(kAttentionRows); });
      });
}

//===----------------------------------------------------------------------===//
// Scores
//===----------------------------------------------------------------------===//

LLVM::LLVMFuncOp AttentionTile::getScores(CodeBuilder &b) {
  Type ptr = b.ptrType(), i64 = b.getI64Type();
  std::string name;
  llvm::raw_string_ostream(name)
      << "moe_attention_scores_" << arithmetic.getName() << "_d" << depth;
  return module.getHelper(b.getLoc(), name,
                          functionOf(b, {ptr, ptr, ptr, i64, i64, i64}),
                          [&](CodeBuilder &builder, ValueRange arguments) {
                            buildScores(builder, arguments);
                          });
}

void AttentionTile::buildScores(CodeBuilder &b, ValueRange arguments) const {
  forRows(b, arguments[3], [&](int64_t rows) {
    Value low = b.mul(arguments[4], kLanes);
    Value high = b.mul(arguments[5], kLanes);
    int64_t columns = getColumns(rows);
    if (columns <= kLanes) {
      b.loop(low, high, columns, [&](Value key) {
        buildScorePart(b, arguments, rows, key, columns);
      });
      return;
    }
    Value whole = b.add(low, b.mul(b.div(b.sub(high, low), columns), columns));
    b.loop(low, whole, columns, [&](Value key) {
      buildScorePart(b, arguments, rows, key, columns);
    });
    b.loop(whole, high, kLanes,
           [&](Value key) { buildScorePart(b, arguments, rows, key, kLanes); });
  });
  b.create<LLVM::ReturnOp>(ValueRange());
}

void AttentionTile::buildScorePart(CodeBuilder &b, ValueRange arguments,
                                   int64_t rows, Value key,
                                   int64_t keys) const {
  Value queries = arguments[0], lines = arguments[1], scores = arguments[2];
  Type word = arithmetic.getWordType(b), f32 = b.getF32Type();
  int64_t vectors = keys / lanes;
  Values init(rows * vectors, b.constant(b.vectorOf(f32, lanes), 0.0));
  Values sums =
      b.loop(b.i64(0), b.i64(arithmetic.getWords(depth)), b.i64(1), init,
             [&](Value index, ValueRange carried) -> Values {
               Values next(carried.begin(), carried.end());
               Value line = b.add(b.mul(index, kBlockKeys), key);
               SmallVector<Value> k;
               for (int64_t v = 0; v < vectors; ++v)
                 k.push_back(b.loadLanes(lines, b.add(line, v * lanes), word,
                                         lanes, lanes));
               for (int64_t row = 0; row < rows; ++row) {
                 Value place = b.add(index, row * getQueryStride());
                 Value q = b.splat(b.load(queries, place, word), lanes);
                 for (int64_t v = 0; v < vectors; ++v) {
                   Value &sum = next[row * vectors + v];
                   sum = arithmetic.multiplyAdd(b, q, k[v], sum);
                 }
               }
               return next;
             });
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t v = 0; v < vectors; ++v)
      b.storeLanes(sums[row * vectors + v], scores,
                   b.add(key, row * kBlockKeys + v * lanes), lanes);
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

LLVM::LLVMFuncOp AttentionTile::getValues(CodeBuilder &b) {
  Type ptr = b.ptrType(), i64 = b.getI64Type();
  std::string name;
  llvm::raw_string_ostream(name) << "moe_attention_values_v" << valueWidth;
  return module.getHelper(b.getLoc(), name,
                          functionOf(b, {ptr, ptr, i64, ptr, i64, i64, i64}),
                          [&](CodeBuilder &builder, ValueRange arguments) {
                            buildValues(builder, arguments);
                          });
}

void AttentionTile::buildValues(CodeBuilder &b, ValueRange arguments) const {
  forRows(b, arguments[4], [&](int64_t rows) {
    int64_t columns = getColumns(rows), whole = valueWidth / columns * columns;
    b.loop(b.i64(0), b.i64(whole), columns, [&](Value column) {
      buildValuePart(b, arguments, rows, column, columns);
    });
    if (whole < valueWidth)
      buildValuePart(b, arguments, rows, b.i64(whole), valueWidth - whole);
  });
  b.create<LLVM::ReturnOp>(ValueRange());
}

void AttentionTile::buildValuePart(CodeBuilder &b, ValueRange arguments,
                                   int64_t rows, Value column,
                                   int64_t columns) const {
  Value weights = arguments[0], values = arguments[1], stride = arguments[2];
  Value sums = arguments[3], low = arguments[5], high = arguments[6];
  Type f32 = b.getF32Type();
  int64_t vectors = llvm::divideCeil(columns, lanes);
  auto placeOf = [&](int64_t row, int64_t vector) {
    return b.add(column, row * getValueStride() + vector * lanes);
  };
  Values init;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t v = 0; v < vectors; ++v)
      init.push_back(b.loadLanes(sums, placeOf(row, v), f32, lanes, lanes));
  Values results = b.loop(
      low, high, b.i64(1), init, [&](Value key, ValueRange carried) -> Values {
        Values next(carried.begin(), carried.end());
        Value place =
            b.add(b.create<arith::MulIOp>(key, stride).getResult(), column);
        SmallVector<Value> x;
        for (int64_t v = 0; v < vectors; ++v)
          x.push_back(b.loadLanes(values, b.add(place, v * lanes), f32,
                                  std::min(lanes, columns - v * lanes), lanes));
        for (int64_t row = 0; row < rows; ++row) {
          Value weight = b.splat(
              b.load(weights, b.add(key, row * kBlockKeys), f32), lanes);
          for (int64_t v = 0; v < vectors; ++v) {
            Value &sum = next[row * vectors + v];
            sum = b.mulAdd(x[v], weight, sum, level.hasFma);
          }
        }
        return next;
      });
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t v = 0; v < vectors; ++v)
      b.storeLanes(results[row * vectors + v], sums, placeOf(row, v), lanes);
}
