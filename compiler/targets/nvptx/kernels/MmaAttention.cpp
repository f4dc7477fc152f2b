//===- MmaAttention.cpp - Attention on tensor cores of sm_80 --------------===//
//
// What the kernels share, `many`, and the choice of kernels.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/nvptx/kernels/MmaAttention.h"

#include "compiler/targets/nvptx/TensorCore.h"

#include "mlir/Dialect/Math/IR/Math.h"

#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;

static constexpr double kInfinity = std::numeric_limits<double>::infinity();

//===----------------------------------------------------------------------===//
// Sizes
//===----------------------------------------------------------------------===//

MmaSizes::MmaSizes(const AttentionShape &shape, int64_t tileRows)
    : rows(tileRows) {
  weightParts = shape.getOp().getCompute().isBF16() ? 3 : 2;
  // Tiles of a key head have equally many of its query heads.
  int64_t group = shape.getGroup();
  parts = llvm::divideCeil(group, rows);
  while (group % parts != 0)
    ++parts;
  heads = group / parts;
  tokens = rows / heads;
}

std::optional<MmaSizes> MmaSizes::many(const AttentionShape &shape) {
  MmaSizes sizes(shape, /*tileRows=*/64);
  // Accumulators must fit registers.
  constexpr int64_t kMostColumns = 128;
  sizes.valueParts = shape.valueWidth > kMostColumns ? 2 : 1;
  sizes.keyColumns = llvm::alignTo(shape.headWidth, 16);
  sizes.valueColumns = llvm::alignTo(shape.valueWidth, 16 * sizes.valueParts);
  if (sizes.valueColumns > kMostColumns * sizes.valueParts)
    return std::nullopt;
  for (int64_t keys : {kBlockKeys, kBlockKeys / 2}) {
    sizes.stepKeys = keys;
    sizes.sharedBytes =
        sizes.getQueryBytes() + sizes.getKeyBytes() + sizes.getValueBytes();
    if (sizes.sharedBytes <= kMaxSharedBytes)
      return sizes;
  }
  return std::nullopt;
}

std::optional<MmaSizes> MmaSizes::few(const AttentionShape &shape) {
  MmaSizes sizes(shape, /*tileRows=*/16);
  sizes.isShared = shape.valuesAreKeys;
  sizes.valueColumns = llvm::alignTo(shape.valueWidth, kWarps * 16);
  if (sizes.valueColumns > kWarps * 128)
    return std::nullopt;
  for (int64_t keys : {kBlockKeys, kBlockKeys / 2}) {
    sizes.stepKeys = keys;
    // A warp with 8 keys takes two times 16 elements of them at once.
    sizes.keyColumns =
        llvm::alignTo(shape.headWidth, keys == kBlockKeys ? 16 : 32);
    sizes.stages =
        (kMaxSharedBytes - sizes.getFixedBytes()) / sizes.getStageBytes();
    if (sizes.stages < 2)
      continue;
    sizes.stages = std::min<int64_t>(sizes.stages, 3);
    sizes.sharedBytes =
        sizes.getFixedBytes() + sizes.stages * sizes.getStageBytes();
    return sizes;
  }
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

void MmaAttention::start() {
  thread = threadId(b);
  lane = laneId(b);
  warp = warpId(b);
  queries = sharedMemory(b);
  Value y = blockId(b, 1);
  kvHead = b.div(y, sizes.parts);
  firstHead = b.add(b.mul(kvHead, shape.getGroup()),
                    b.mul(b.rem(y, sizes.parts), sizes.heads));
}

MmaAttention::Row MmaAttention::placeRow(Value number) {
  Row row;
  row.isThere = b.lessThan(number, rowCount);
  // A row that is not there sees what the first does; nothing is stored.
  number = b.select(row.isThere, number, b.i64(0));
  row.before = b.div(number, sizes.heads);
  row.token = b.add(token, row.before);
  row.head = b.add(firstHead, b.rem(number, sizes.heads));
  return row;
}

void MmaAttention::placeRows(Value firstRow, Value lane, Row (&rows)[2]) {
  Value g = b.div(lane, 4);
  for (int64_t half : {0, 1})
    rows[half] = placeRow(b.add(b.add(firstRow, g), half * 8));
}

void MmaAttention::placeRowsAnew(Value firstRow, Row (&rows)[2]) {
  // The optimiser cannot know that the lane is the one that it has had.
  placeRows(firstRow, shuffleFrom(b, lane, narrow(lane)), rows);
}

void MmaAttention::placeTile(Value firstToken, Value count) {
  token = firstToken;
  rowCount = b.mul(count, sizes.heads);
  position = frame.getPosition(token);
  // Both ends of what a token sees ascend with its position.
  Value last = b.sub(count, b.i64(1));
  low = frame.seenBy(sequence, token, position).low;
  high = frame.seenBy(sequence, b.add(token, last), b.add(position, last)).high;
}

void MmaAttention::startTile(Value firstRow) {
  placeRows(firstRow, lane, rows);
  for (Row &row : rows) {
    AttentionFrame::Range seen =
        frame.seenBy(sequence, row.token, b.add(position, row.before));
    row.low = narrow(seen.low);
    row.high = narrow(seen.high);
  }
  loadQueries();
}

MmaAttention::Sums MmaAttention::startSums(int64_t valueTiles) {
  Sums sums;
  for (int64_t half : {0, 1}) {
    auto [maximum, total] = frame.startRow(rows[half].head);
    sums.maxima[half] = maximum;
    // Lanes add up what they have: only one begins with the sink's.
    Value isFirst =
        b.compare(arith::CmpIPredicate::eq, b.rem(lane, 4), b.i64(0));
    sums.totals[half] = b.select(isFirst, total, b.constant(f32, 0.0));
  }
  sums.values.assign(valueTiles * 4, b.constant(f32, 0.0));
  return sums;
}

//===----------------------------------------------------------------------===//
// Copies
//===----------------------------------------------------------------------===//

void MmaAttention::forChunks(int64_t count, int64_t width,
                             function_ref<void(int64_t, Value, Value)> body) {
  int64_t threads = sizes.getThreads();
  int64_t chunks = width / 8, together = std::min(count, threads / chunks);
  Value row = b.div(thread, chunks);
  Value column = b.mul(b.rem(thread, chunks), 8);
  for (int64_t first = 0; first < count; first += together) {
    int64_t here = std::min(together, count - first);
    if (here * chunks == threads)
      body(first, row, column);
    else
      b.ifThen(b.lessThan(row, b.i64(here)), [&] { body(first, row, column); });
  }
}

/// Whether chunks of 8 elements of a head of `width` are aligned to 16 bytes;
/// heads begin every `stride` elements.
static bool isAligned(const KernelOperand &operand, int64_t width,
                      int64_t stride) {
  return width % 8 == 0 && stride % 8 == 0 && operand.getRowElements() % 8 == 0;
}

void MmaAttention::copyChunk(Value to, Value from, Type type, Value column,
                             int64_t width, Value isThere, bool isAligned) {
  if (isAligned && type == element)
    return copyAsync(b, to, b.element(from, column, type), isThere);
  Type i16 = b.getIntegerType(16);
  VectorType chunk = b.vectorOf(i16, 8);
  Value zeros = b.create<LLVM::ZeroOp>(chunk);
  Value words = b.choose(
      isThere,
      [&]() -> Values {
        Value result = zeros, wide;
        for (int64_t i = 0; i < 8; ++i) {
          // Elements behind the head may not be there.
          Value at = b.add(column, i), x;
          if (isAligned && i % 4 == 0)
            wide = loadWide(b, b.element(from, at, type), type, 4);
          if (isAligned)
            x = b.extract(wide, i % 4);
          else
            x = b.load(from, b.min(at, b.i64(width - 1)), type);
          if (type != element)
            x = b.fromF32(x, element);
          x = b.create<arith::BitcastOp>(i16, x);
          if (width % 8 != 0)
            x = b.select(b.lessThan(at, b.i64(width)), x, b.constant(i16, 0));
          result = b.create<LLVM::InsertElementOp>(result, x, b.i32(i));
        }
        return {result};
      },
      [&]() -> Values { return {zeros}; })[0];
  storeWide(b, words, to);
}

void MmaAttention::loadQueries() {
  const KernelOperand &operand = shape.operand(0);
  int64_t width = shape.headWidth, columns = sizes.keyColumns;
  bool aligned = isAligned(operand, width, width);
  forChunks(sizes.rows, columns, [&](int64_t first, Value row, Value column) {
    Value number = b.add(row, first);
    Value isThere = b.lessThan(number, rowCount);
    Value safe = b.select(isThere, number, b.i64(0));
    Value from =
        frame.headPointer(0, b.add(token, b.div(safe, sizes.heads)),
                          b.add(firstHead, b.rem(safe, sizes.heads)), width);
    if (width != columns)
      isThere = both(isThere, b.lessThan(column, b.i64(width)));
    Value to = at(queries,
                  b.add(b.mul(number, sizes.getKeyPitch()), b.mul(column, 2)));
    copyChunk(to, from, operand.getElementType(), column, width, isThere,
              aligned);
  });
}

void MmaAttention::copyStep(unsigned index, int64_t width, int64_t stride,
                            int64_t columns, int64_t pitch, Value to,
                            Value step) {
  const KernelOperand &operand = shape.operand(index);
  int64_t rowElements = operand.getRowElements();
  int64_t steps = kBlockKeys / sizes.stepKeys;
  bool aligned = isAligned(operand, width, stride);
  Value base = b.mul(step, sizes.stepKeys);
  // Behind the last key nothing is read.
  Value last = b.sub(high, b.i64(1));
  Value block = b.min(b.div(step, steps), b.div(last, kBlockKeys));
  Value first = b.add(frame.firstRow(sequence, token, position, block),
                      b.mul(b.rem(step, steps), sizes.stepKeys));
  Value from = frame.headPointer(index, first, kvHead, stride);
  forChunks(
      sizes.stepKeys, columns, [&](int64_t skipped, Value row, Value column) {
        Value key = b.add(base, b.add(row, skipped));
        // What no row sees may not be there, and may be no number.
        Value isThere = both(b.compare(arith::CmpIPredicate::sge, key, low),
                             b.lessThan(key, high));
        if (width != columns)
          isThere = both(isThere, b.lessThan(column, b.i64(width)));
        Value source = b.element(
            from, b.add(b.mul(row, rowElements), skipped * rowElements),
            operand.getElementType());
        Value target = b.add(b.mul(row, pitch), b.mul(column, 2));
        copyChunk(at(to, b.add(target, skipped * pitch)), source,
                  operand.getElementType(), column, width, isThere, aligned);
      });
}

void MmaAttention::copyKeys(Value to, Value step) {
  int64_t columns = sizes.isShared
                        ? std::max(sizes.keyColumns, sizes.valueColumns)
                        : sizes.keyColumns;
  copyStep(shape.keyIndex, shape.headWidth, shape.headWidth, columns,
           sizes.getKeyPitch(), to, step);
}

void MmaAttention::copyValues(Value to, Value step) {
  copyStep(shape.valueIndex, shape.valueWidth, shape.valueStride,
           sizes.valueColumns, sizes.getValuePitch(), to, step);
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

CodeBuilder::Values MmaAttention::multiplyKeys(Value keysAt, Value warpRow,
                                               Value key, int64_t keys) {
  Values sums(keys / 8 * 4, b.constant(f32, 0.0));
  int64_t pitch = sizes.getKeyPitch();
  Value row = b.add(warpRow, b.rem(lane, 16));
  Value a = at(queries, b.add(b.mul(row, pitch), b.mul(b.div(lane, 16), 16)));
  auto multiply = [&](int64_t tile, const Values &left, ArrayRef<Value> right) {
    auto *sum = sums.begin() + tile * 4;
    Values result = multiplyTiles(b, left, ValueRange(right),
                                  ValueRange(ArrayRef(sum, 4)), element);
    std::copy(result.begin(), result.end(), sum);
  };
  if (keys == 8) {
    // Matrices: elements 0 .. 7, 8 .. 15, 16 .. 23, 24 .. 31 of the keys.
    Value k = at(keysAt, b.add(b.mul(b.add(key, b.rem(lane, 8)), pitch),
                               b.mul(b.div(lane, 8), 16)));
    for (int64_t i = 0; i < sizes.keyColumns; i += 32) {
      Values right = loadMatrices(b, b.field(k, i * 2));
      for (int64_t half : {0, 1})
        multiply(0, loadMatrices(b, b.field(a, (i + half * 16) * 2)),
                 ArrayRef(right).slice(half * 2, 2));
    }
    return sums;
  }
  // Matrices: keys 0 .. 7 by elements 0 .. 7 and 8 .. 15, then keys 8 .. 15.
  Value mine = b.add(b.mul(b.div(lane, 16), 8), b.rem(lane, 8));
  Value part = b.mul(b.rem(b.div(lane, 8), 2), 16);
  Value k = at(keysAt, b.add(b.mul(b.add(key, mine), pitch), part));
  for (int64_t i = 0; i < sizes.keyColumns; i += 16) {
    Values left = loadMatrices(b, b.field(a, i * 2));
    for (int64_t n = 0; n < keys; n += 16) {
      Values right = loadMatrices(b, b.field(k, n * pitch + i * 2));
      for (int64_t half : {0, 1})
        multiply(n / 8 + half, left, ArrayRef(right).slice(half * 2, 2));
    }
  }
  return sums;
}

void MmaAttention::maskScores(MutableArrayRef<Value> scores, Value first,
                              Value (&maxima)[2]) {
  Value lowest = b.constant(f32, -kInfinity);
  Value base = narrow(b.add(first, b.mul(b.rem(lane, 4), 2)));
  for (int64_t half : {0, 1}) {
    maxima[half] = lowest;
    for (size_t n = 0; n < scores.size() / 4; ++n)
      for (int64_t i : {0, 1}) {
        Value &score = scores[n * 4 + half * 2 + i];
        Value number = b.add(base, b.i32(n * 8 + i));
        Value isSeen =
            both(b.compare(arith::CmpIPredicate::sge, number, rows[half].low),
                 b.lessThan(number, rows[half].high));
        score = b.select(isSeen, frame.transform(score), lowest);
        maxima[half] = frame.larger(maxima[half], score);
      }
    for (int64_t mask : {1, 2})
      maxima[half] =
          frame.larger(maxima[half], shuffleXor(b, maxima[half], mask));
  }
}

void MmaAttention::weigh(MutableArrayRef<Value> scores, Sums &sums,
                         const Value (&maxima)[2]) {
  for (int64_t half : {0, 1}) {
    Value next = frame.larger(sums.maxima[half], maxima[half]);
    Value shift = frame.getShift(next);
    auto exp = [&](Value x) -> Value {
      return b.create<math::ExpOp>(b.create<arith::SubFOp>(x, shift));
    };
    Value correction = exp(sums.maxima[half]);
    Value total = b.constant(f32, 0.0);
    for (size_t n = 0; n < scores.size() / 4; ++n)
      for (int64_t i : {0, 1}) {
        Value &score = scores[n * 4 + half * 2 + i];
        score = exp(score);
        total = b.create<arith::AddFOp>(total, score);
      }
    Value scaled = b.create<arith::MulFOp>(sums.totals[half], correction);
    sums.totals[half] = b.create<arith::AddFOp>(scaled, total);
    sums.maxima[half] = next;
    for (size_t n = 0; n < sums.values.size() / 4; ++n)
      for (int64_t i : {0, 1}) {
        Value &value = sums.values[n * 4 + half * 2 + i];
        value = b.create<arith::MulFOp>(value, correction);
      }
  }
}

/// Weights are at most 1. As f16 they are multiplied by this, so that what is
/// lost of small ones is below 2^-40.
static constexpr double kF16Scale = 1 << 15;

CodeBuilder::Values MmaAttention::splitWeights(Value x, Value y) {
  if (element.isF16()) {
    Value scale = b.constant(f32, kF16Scale);
    x = b.create<arith::MulFOp>(x, scale);
    y = b.create<arith::MulFOp>(y, scale);
  }
  auto number = [&](Value pair, int64_t i) -> Value {
    if (element.isBF16()) {
      Value bits = i ? both(pair, b.i32(-65536))
                     : b.create<arith::ShLIOp>(pair, b.i32(16)).getResult();
      return b.create<arith::BitcastOp>(f32, bits);
    }
    Type i16 = b.getIntegerType(16);
    Value bits = b.create<arith::TruncIOp>(
        i16, i ? b.create<arith::ShRUIOp>(pair, b.i32(16)).getResult() : pair);
    return b.toF32(b.create<arith::BitcastOp>(element, bits));
  };
  Values parts;
  for (int64_t i = 0; i < sizes.weightParts; ++i) {
    Value pair = packPair(b, x, y, element);
    parts.push_back(pair);
    // What is left is exact.
    x = b.create<arith::SubFOp>(x, number(pair, 0));
    y = b.create<arith::SubFOp>(y, number(pair, 1));
  }
  return parts;
}

void MmaAttention::unscale(Sums &sums) {
  if (!element.isF16())
    return;
  for (Value &value : sums.values)
    value = b.create<arith::MulFOp>(value, b.constant(f32, 1 / kF16Scale));
}

void MmaAttention::multiplyValues(Value valuesAt, int64_t key,
                                  const WeightParts &parts, Value firstColumn,
                                  int64_t columns, ArrayRef<Value> masks,
                                  Values &sums) {
  int64_t pitch = sizes.getValuePitch();
  // Matrices: keys 0 .. 7 and 8 .. 15 by columns 0 .. 7, then by 8 .. 15.
  Value row = b.rem(lane, 16);
  Value column = b.add(firstColumn, b.mul(b.div(lane, 16), 8));
  Value from = at(valuesAt, b.add(b.mul(row, pitch), b.mul(column, 2)));
  for (int64_t n = 0; n < columns; n += 16) {
    Values right = loadMatrices(b, b.field(from, key * pitch + n * 2),
                                /*transposed=*/true);
    for (size_t i = 0; !masks.empty() && i < right.size(); ++i)
      right[i] = both(right[i], masks[i % 2]);
    for (int64_t half : {0, 1}) {
      auto *sum = sums.begin() + (n / 8 + half) * 4;
      // The smaller parts first.
      for (const Values &part : llvm::reverse(parts)) {
        Values result = multiplyTiles(
            b, part, ValueRange(ArrayRef(right).slice(half * 2, 2)),
            ValueRange(ArrayRef(sum, 4)), element);
        std::copy(result.begin(), result.end(), sum);
      }
    }
  }
}

Value MmaAttention::meetsUndefined(Value valuesAt, Value step,
                                   Value firstColumn, int64_t columns) {
  Value base = b.mul(step, sizes.stepKeys);
  Value from = narrow(b.max(base, low));
  Value to = narrow(b.min(b.add(base, sizes.stepKeys), high));
  Value differs = b.constant(b.getI1Type(), 0);
  for (const Row &row : rows) {
    differs = b.create<arith::OrIOp>(differs, b.lessThan(from, row.low));
    differs = b.create<arith::OrIOp>(differs, b.lessThan(row.high, to));
  }
  auto anyLane = [&](Value condition) {
    return b.compare(arith::CmpIPredicate::ne, ballot(b, condition), b.i32(0));
  };
  return b.choose(
      anyLane(differs),
      [&]() -> Values {
        int64_t chunks = columns / 8;
        Value found = b.loop(
            lane, b.i64(sizes.stepKeys * chunks), b.i64(kWarp),
            ValueRange{b.constant(b.getI1Type(), 0)},
            [&](Value i, ValueRange carried) -> Values {
              Value column = b.add(firstColumn, b.mul(b.rem(i, chunks), 8));
              Value place =
                  b.add(b.mul(b.div(i, chunks), sizes.getValuePitch()),
                        b.mul(column, 2));
              Value words = loadWide(b, at(valuesAt, place), i32, 4);
              Value found = carried[0];
              for (int64_t word = 0; word < 4; ++word)
                for (int64_t shift : {0, 16}) {
                  // All bits of the exponent.
                  int64_t bits = (element.isBF16() ? 0x7f80 : 0x7c00) << shift;
                  Value exponent = both(b.extract(words, word), b.i32(bits));
                  found = b.create<arith::OrIOp>(
                      found, b.compare(arith::CmpIPredicate::eq, exponent,
                                       b.i32(bits)));
                }
              return {found};
            })[0];
        return {anyLane(found)};
      },
      [&]() -> Values { return {b.constant(b.getI1Type(), 0)}; })[0];
}

Value MmaAttention::maskPair(const AttentionFrame::Range &seen, Value key) {
  Value mask = b.i32(0);
  for (int64_t i : {0, 1}) {
    Value number = b.add(key, i);
    Value isSeen = both(b.compare(arith::CmpIPredicate::sge, number, seen.low),
                        b.lessThan(number, seen.high));
    Value bits = b.select(isSeen, b.i32(i ? -65536 : 65535), b.i32(0));
    mask = b.create<arith::OrIOp>(mask, bits);
  }
  return mask;
}

void MmaAttention::addValues(Value valuesAt, Value step, Weights weights,
                             Value warpRow, Value firstColumn, int64_t columns,
                             Values &sums) {
  auto addAll = [&](Values sums) {
    for (int64_t key = 0; key < sizes.stepKeys; key += 16) {
      multiplyValues(valuesAt, key, weights(key), firstColumn, columns, {},
                     sums);
    }
    return sums;
  };
  // Tokens of one tile may see different keys. A value that is not seen has the
  // weight 0, which is no help where it is not finite.
  if (sizes.tokens == 1) {
    sums = addAll(sums);
    return;
  }
  // The right operand: keys 2t and the next, then 2t + 8 and the next.
  Value firstKey = b.add(b.mul(step, sizes.stepKeys), b.mul(b.rem(lane, 4), 2));
  // Rows of a token take what is added for it, 16 columns at a time.
  Value rowsHere = b.min(b.add(warpRow, 16), rowCount);
  Value firstHere = b.div(warpRow, sizes.heads);
  Value endHere = ceilDiv(b, rowsHere, sizes.heads);
  Row here[2];
  auto addToken = [&](Value before, int64_t n, ValueRange carried) {
    AttentionFrame::Range seen =
        frame.seenBy(sequence, b.add(token, before), b.add(position, before));
    Values next(carried.begin(), carried.end());
    for (int64_t key = 0; key < sizes.stepKeys; key += 16) {
      Values masks = {maskPair(seen, b.add(firstKey, key)),
                      maskPair(seen, b.add(firstKey, key + 8))};
      multiplyValues(valuesAt, key, weights(key), b.add(firstColumn, n), 16,
                     masks, next);
    }
    for (size_t i = 0; i < next.size(); ++i) {
      Value isMine =
          b.compare(arith::CmpIPredicate::eq, here[i / 2 % 2].before, before);
      next[i] = b.select(isMine, next[i], carried[i]);
    }
    return next;
  };
  auto addPerToken = [&]() -> Values {
    placeRowsAnew(warpRow, here);
    Values next;
    for (int64_t n = 0; n < columns; n += 16)
      next.append(b.loop(firstHere, endHere, b.i64(1),
                         ArrayRef(sums).slice(n / 2, 8),
                         [&](Value before, ValueRange carried) {
                           return addToken(before, n, carried);
                         }));
    return next;
  };
  Value isUndefined = meetsUndefined(valuesAt, step, firstColumn, columns);
  sums = b.choose(isUndefined, addPerToken, [&] { return addAll(sums); });
}

void MmaAttention::store(const Sums &sums, const Value (&totals)[2],
                         Value firstColumn) {
  const KernelOperand &out = shape.operand(shape.outIndex);
  Type type = out.getElementType(), storage = CodeBuilder::storageType(type);
  int64_t width = shape.valueWidth;
  bool isPadded = width != sizes.valueColumns, isPair = width % 2 == 0;
  Value column = b.add(firstColumn, b.mul(b.rem(lane, 4), 2));
  for (int64_t half : {0, 1})
    b.ifThen(rows[half].isThere, [&] {
      Value to = frame.headPointer(shape.outIndex, rows[half].token,
                                   rows[half].head, width);
      auto storeIf = [&](Value place, function_ref<void(Value)> body) {
        if (!isPadded)
          return body(b.element(to, place, type));
        b.ifThen(b.lessThan(place, b.i64(width)),
                 [&] { body(b.element(to, place, type)); });
      };
      for (size_t n = 0; n < sums.values.size() / 4; ++n) {
        Value x[2];
        for (int64_t i : {0, 1})
          x[i] = b.fromF32(b.create<arith::DivFOp>(
                               sums.values[n * 4 + half * 2 + i], totals[half]),
                           type);
        Value place = b.add(column, n * 8);
        if (!isPair) {
          for (int64_t i : {0, 1})
            storeIf(b.add(place, i), [&](Value to) { b.store(x[i], to); });
          continue;
        }
        Value pair = b.create<LLVM::PoisonOp>(b.vectorOf(storage, 2));
        for (int64_t i : {0, 1}) {
          if (storage != type)
            x[i] = b.create<arith::BitcastOp>(storage, x[i]);
          pair = b.create<LLVM::InsertElementOp>(pair, x[i], b.i32(i));
        }
        storeIf(place, [&](Value to) { storeWide(b, pair, to); });
      }
    });
}

//===----------------------------------------------------------------------===//
// Many tokens
//===----------------------------------------------------------------------===//

void MmaAttention::buildMany(int64_t fewTokens) {
  start();
  SegmentTile tile =
      findSegmentTile(b, frame.getOffsets(), frame.getSequences(), sizes.tokens,
                      blockId(b), fewTokens);
  b.ifThen(tile.isThere, [&] {
    sequence = tile.expert;
    Value warpRow = b.mul(b.rem(warp, kWarps), 16);
    int64_t columns = sizes.valueColumns / sizes.valueParts;
    Value column = b.mul(b.div(warp, kWarps), columns);
    placeTile(tile.row, tile.rows);
    startTile(warpRow);
    Value keysAt = b.field(queries, sizes.getQueryBytes());
    Value valuesAt = b.field(keysAt, sizes.getKeyBytes());
    Value firstStep = b.div(low, sizes.stepKeys);
    copyKeys(keysAt, firstStep);
    commitCopies(b);
    Sums sums = startSums(columns / 8);
    Values results =
        b.loop(firstStep, ceilDiv(b, high, sizes.stepKeys), b.i64(1),
               sums.pack(), [&](Value step, ValueRange carried) -> Values {
                 Sums next = Sums::unpack(carried);
                 copyValues(valuesAt, step);
                 commitCopies(b);
                 waitCopies(b, 1);
                 syncBlock(b);
                 Values scores =
                     multiplyKeys(keysAt, warpRow, b.i64(0), sizes.stepKeys);
                 // All have read the keys.
                 syncBlock(b);
                 copyKeys(keysAt, b.add(step, 1));
                 commitCopies(b);
                 Value maxima[2];
                 maskScores(scores, b.mul(step, sizes.stepKeys), maxima);
                 weigh(scores, next, maxima);
                 waitCopies(b, 1);
                 syncBlock(b);
                 auto weights = [&](int64_t key) {
                   WeightParts parts(sizes.weightParts);
                   for (int64_t i = 0; i < 4; ++i) {
                     // Rows g and g + 8 of 8 keys, then of the next 8.
                     Value *pair =
                         scores.begin() + (key / 8 + i / 2) * 4 + i % 2 * 2;
                     for (auto [part, value] :
                          llvm::zip(parts, splitWeights(pair[0], pair[1])))
                       part.push_back(value);
                   }
                   return parts;
                 };
                 addValues(valuesAt, step, weights, warpRow, column, columns,
                           next.values);
                 // All have read the values.
                 syncBlock(b);
                 return next.pack();
               });
    waitCopies(b, 0);
    Sums all = Sums::unpack(results);
    unscale(all);
    Value totals[2] = {sumQuad(all.totals[0]), sumQuad(all.totals[1])};
    placeRowsAnew(warpRow, rows);
    store(all, totals, column);
  });
}

//===----------------------------------------------------------------------===//
// Choice
//===----------------------------------------------------------------------===//

static StringRef whyNot(const AttentionShape &shape) {
  Type compute = shape.getOp().getCompute();
  Type query = shape.operand(0).getElementType();
  if (!CodeBuilder::isSmallFloat(compute))
    return "scores are of f32";
  if (shape.operand(shape.keyIndex).getElementType() != compute ||
      shape.operand(shape.valueIndex).getElementType() != compute ||
      !(query == compute || query.isF32()))
    return "keys and values are not of the type of computation";
  if (!MmaSizes::many(shape) && !MmaSizes::few(shape))
    return "heads are too wide for shared memory and registers";
  return {};
}

std::optional<Launches>
nvptx::mmaAttentionLaunches(const AttentionShape &shape) {
  if (StringRef reason = whyNot(shape); !reason.empty()) {
    // In f32 nothing else was asked for.
    if (!shape.getOp().getCompute().isF32())
      remarkPlainUnits(*shape.request, reason);
    return std::nullopt;
  }
  std::optional<MmaSizes> many = MmaSizes::many(shape);
  std::optional<MmaSizes> few = MmaSizes::few(shape);
  Launches launches;
  if (few)
    launches = MmaAttention::getFewLaunches(shape, *few, many.has_value());
  if (!many)
    return launches;
  int64_t columns = shape.kvHeads * many->parts;
  int64_t fewTokens = few ? few->tokens : 0;
  DeviceLaunch launch;
  launch.part = "many";
  launch.threads = many->getThreads();
  launch.sharedBytes = many->sharedBytes;
  launch.stepGrid = [columns, fewTokens, tokens = many->tokens](
                        CodeBuilder &host,
                        const target::StepSizes &sizes) -> DeviceGrid {
    // Each sequence that is not left to `few` may end in a tile that is not
    // full.
    Value most = host.min(sizes.sequences, host.div(sizes.rows, fewTokens + 1));
    Value tiles = host.add(host.div(sizes.rows, tokens), most);
    if (fewTokens)
      tiles = host.select(
          host.compare(arith::CmpIPredicate::sle, sizes.rows, sizes.sequences),
          host.i64(0), tiles);
    return {tiles, host.i64(columns), host.i64(1)};
  };
  launch.emit = [shape, many, fewTokens](const KernelArguments &arguments,
                                         CodeBuilder &b, KernelModule &) {
    MmaAttention(b, arguments, shape, *many).buildMany(fewTokens);
    return success();
  };
  launches.push_back(launch);
  return launches;
}
