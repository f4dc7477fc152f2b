//===- MmaAttention.cpp - Attention on tensor cores of sm_80 --------------===//
//
// Queries of one key head make a tile: some tokens of a sequence by its query
// heads. Scores are products of bf16, as the operation says; weights are f32
// and are multiplied as the sum of three bf16, so that nothing is rounded that
// must not be. A block of keys is copied asynchronously while another is worked
// on.
//
// Two kernels share the work. `many`: 64 rows, 16 for each warp, a warp has all
// keys of a block; wide values are divided among two warps that compute the
// same weights. `few`, for sequences of one or two tokens: 16 rows, a warp has
// 16 keys of a block for the scores and some columns of the values; copies run
// further ahead, since reading is all that costs. A step with no more tokens
// than sequences is left to `few` as a whole, so that the host need not look at
// lengths.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/nvptx/kernels/AttentionFrame.h"

#include "compiler/targets/nvptx/TensorCore.h"

#include "mlir/Dialect/Math/IR/Math.h"

#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;

namespace {

/// Warps of `few`, and those of `many` that have different rows.
constexpr int64_t kWarps = 4;
constexpr int64_t kManyRows = 64, kFewRows = 16;
/// Numbers of 8 bits that add up to an f32.
constexpr int64_t kParts = 3;
/// Between rows of weights in shared memory, in bytes.
constexpr int64_t kWeightPitch = kBlockKeys * 2 + 16;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Sizes that follow from the operation.
struct MmaShape {
  explicit MmaShape(const AttentionShape &shape)
      : headWidth(shape.headWidth), valueWidth(shape.valueWidth),
        tileHeads(std::min(shape.getGroup(), kManyRows)),
        parts(shape.getGroup() / tileHeads) {}

  int64_t headWidth, valueWidth;
  /// Query heads of a tile, and tiles that the heads of a key head make.
  int64_t tileHeads, parts;

  /// 16 bytes more than a row keep rows out of each other's banks.
  int64_t getKeyPitch() const { return headWidth * 2 + 16; }
  int64_t getValuePitch() const { return valueWidth * 2 + 16; }
  int64_t getKeyBytes() const { return kBlockKeys * getKeyPitch(); }
  int64_t getValueBytes() const { return kBlockKeys * getValuePitch(); }

  /// Warps of `many` that share rows: accumulators must fit registers.
  int64_t getValueParts() const { return valueWidth > 128 ? 2 : 1; }
  int64_t getManyThreads() const { return kWarps * getValueParts() * kWarp; }
  int64_t getManyTokens() const { return kManyRows / tileHeads; }
  int64_t getManyBytes() const {
    return kManyRows * getKeyPitch() + getKeyBytes() + getValueBytes();
  }

  /// Tokens of a tile of `few`; 0 where there is no such kernel.
  int64_t getFewTokens() const {
    return valueWidth % (kWarps * 16) == 0 && getFewStages() >= 2
               ? kFewRows / tileHeads
               : 0;
  }
  /// Queries, the parts of weights, maxima or sums of each warp.
  int64_t getFewFixedBytes() const {
    return kFewRows * getKeyPitch() + kParts * kFewRows * kWeightPitch +
           kWarps * kFewRows * 4;
  }
  int64_t getFewStages() const {
    int64_t stage = getKeyBytes() + getValueBytes();
    return std::min<int64_t>(3, (kMaxSharedBytes - getFewFixedBytes()) / stage);
  }
  int64_t getFewBytes() const {
    return getFewFixedBytes() +
           getFewStages() * (getKeyBytes() + getValueBytes());
  }
};

class MmaAttention {
public:
  MmaAttention(CodeBuilder &b, const KernelArguments &arguments,
               const AttentionShape &shape)
      : b(b), arguments(arguments), shape(shape), sizes(shape),
        frame(b, arguments, shape), f32(b.getF32Type()), i32(b.getI32Type()) {}

  void buildMany();
  void buildFew();

private:
  using Values = CodeBuilder::Values;

  /// A row of a tile that this thread has accumulators of.
  struct Row {
    Value isThere, token, head;
    /// The positions that it sees, as i32.
    Value low, high;
  };
  /// What is carried from block to block for the two rows of a thread.
  struct Sums {
    Value maxima[2], totals[2];
    Values values;

    Values pack() const {
      Values all = {maxima[0], maxima[1], totals[0], totals[1]};
      all.append(values);
      return all;
    }
    static Sums unpack(ValueRange all) {
      Sums sums;
      for (int64_t i : {0, 1}) {
        sums.maxima[i] = all[i];
        sums.totals[i] = all[2 + i];
      }
      ValueRange rest = all.drop_front(4);
      sums.values.append(rest.begin(), rest.end());
      return sums;
    }
  };

  void start(int64_t blockThreads);
  void startTile(Value firstToken, Value count, int64_t tileRows,
                 Value warpRow);
  Row getRow(Value number);
  Sums startSums(int64_t valueTiles);
  void loadQueries(int64_t tileRows);
  /// Calls `body` for the 16-byte chunks of `count` rows of `width` bf16 that
  /// are this thread's: the row, and offsets in elements of the chunk in a row.
  void forChunks(int64_t count, int64_t width,
                 function_ref<void(int64_t, Value, Value)> body);
  void copyBlock(unsigned index, int64_t width, int64_t stride, Value to,
                 Value block);
  void copyKeys(Value to, Value block) {
    copyBlock(shape.keyIndex, shape.headWidth, shape.headWidth, to, block);
  }
  void copyValues(Value to, Value block) {
    copyBlock(shape.valueIndex, shape.valueWidth, shape.valueStride, to, block);
  }
  /// Dot products of 16 rows of queries, from `warpRow` on, and `keys` keys
  /// from `key` on: four sums per 8 keys.
  Values multiplyKeys(Value keysAt, Value warpRow, Value key, int64_t keys);
  /// Scores, in place, and the largest of the lane's quad per row.
  void maskScores(MutableArrayRef<Value> scores, Value block, Value key,
                  Value (&maxima)[2]);
  /// Turns scores into weights and rescales the sums.
  void weigh(MutableArrayRef<Value> scores, Sums &sums,
             const Value (&maxima)[2]);
  /// Adds weights times values: `a` has the parts of the weights of 16 keys,
  /// from `key` on.
  void addValues(Value valuesAt, int64_t key, ArrayRef<Values> a,
                 Value firstColumn, int64_t columns,
                 MutableArrayRef<Value> sums);
  /// Two weights as pairs of bf16: the rounded ones, what they lack, and so on.
  Values splitWeights(Value x, Value y);
  Value sumQuad(Value x) {
    for (int64_t mask : {1, 2})
      x = b.create<arith::AddFOp>(x, shuffleXor(b, x, mask));
    return x;
  }
  void store(const Sums &sums, const Value (&totals)[2], Value firstColumn);

  Value at(Value pointer, Value offset) {
    return b.element(pointer, offset, b.getI8Type());
  }
  Value narrow(Value x) { return b.create<arith::TruncIOp>(i32, x); }
  Value both(Value x, Value y) { return b.create<arith::AndIOp>(x, y); }

  CodeBuilder &b;
  const KernelArguments &arguments;
  const AttentionShape &shape;
  MmaShape sizes;
  AttentionFrame frame;
  Type f32, i32;
  int64_t threads = 0;
  Value thread, lane, warp, kvHead, firstHead;
  /// The tile: its first token and position, rows, the positions that any of
  /// them sees, the last block with one of those.
  Value sequence, token, position, rowCount, low, high, lastBlock;
  Row rows[2];
  Value queries;
};

} // namespace

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

void MmaAttention::start(int64_t blockThreads) {
  threads = blockThreads;
  thread = threadId(b);
  lane = laneId(b);
  warp = warpId(b);
  queries = sharedMemory(b);
  Value y = blockId(b, 1);
  kvHead = b.div(y, sizes.parts);
  firstHead = b.add(b.mul(kvHead, shape.getGroup()),
                    b.mul(b.rem(y, sizes.parts), sizes.tileHeads));
}

MmaAttention::Row MmaAttention::getRow(Value number) {
  Row row;
  row.isThere = b.lessThan(number, rowCount);
  // A row that is not there sees what the first does; nothing is stored.
  number = b.select(row.isThere, number, b.i64(0));
  Value before = b.div(number, sizes.tileHeads);
  row.token = b.add(token, before);
  row.head = b.add(firstHead, b.rem(number, sizes.tileHeads));
  AttentionFrame::Range seen =
      frame.seenBy(sequence, row.token, b.add(position, before));
  row.low = narrow(seen.low);
  row.high = narrow(seen.high);
  return row;
}

void MmaAttention::startTile(Value firstToken, Value count, int64_t tileRows,
                             Value warpRow) {
  token = firstToken;
  rowCount = b.mul(count, sizes.tileHeads);
  position = frame.getPosition(token);
  // Both ends of what a token sees ascend with its position.
  Value last = b.sub(count, b.i64(1));
  low = frame.seenBy(sequence, token, position).low;
  high = frame.seenBy(sequence, b.add(token, last), b.add(position, last)).high;
  lastBlock = b.sub(ceilDiv(b, high, kBlockKeys), b.i64(1));
  Value g = b.div(lane, 4);
  for (int64_t half : {0, 1})
    rows[half] = getRow(b.add(b.add(warpRow, g), half * 8));
  loadQueries(tileRows);
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

void MmaAttention::loadQueries(int64_t tileRows) {
  Type type = shape.operand(0).getElementType();
  forChunks(
      tileRows, shape.headWidth, [&](int64_t first, Value row, Value column) {
        Value number = b.add(row, first);
        Value isThere = b.lessThan(number, rowCount);
        Value safe = b.select(isThere, number, b.i64(0));
        Value from = frame.headPointer(
            0, b.add(token, b.div(safe, sizes.tileHeads)),
            b.add(firstHead, b.rem(safe, sizes.tileHeads)), shape.headWidth);
        from = b.element(from, column, type);
        Value to = at(queries, b.add(b.mul(number, sizes.getKeyPitch()),
                                     b.mul(column, 2)));
        if (type.isBF16())
          return copyAsync(b, to, from, isThere);
        Value words = b.create<LLVM::PoisonOp>(b.vectorOf(i32, 4));
        for (int64_t half : {0, 1}) {
          Value x = loadWide(b, b.field(from, half * 16), f32, 4);
          for (int64_t i : {0, 1})
            words = b.create<LLVM::InsertElementOp>(
                words,
                packBf16(b, b.extract(x, 2 * i), b.extract(x, 2 * i + 1)),
                b.i32(half * 2 + i));
        }
        storeWide(b, words, to);
      });
}

void MmaAttention::copyBlock(unsigned index, int64_t width, int64_t stride,
                             Value to, Value block) {
  const KernelOperand &operand = shape.operand(index);
  int64_t pitch = width * 2 + 16, rowElements = operand.getRowElements();
  Value base = b.mul(block, kBlockKeys);
  // Behind the last block nothing is read.
  Value first =
      frame.firstRow(sequence, token, position, b.min(block, lastBlock));
  Value from = frame.headPointer(index, first, kvHead, stride);
  forChunks(kBlockKeys, width, [&](int64_t skipped, Value row, Value column) {
    Value key = b.add(base, b.add(row, skipped));
    // What no row sees may not be there, and may be no number.
    Value isThere = both(b.compare(arith::CmpIPredicate::sge, key, low),
                         b.lessThan(key, high));
    Value place = b.add(b.mul(row, rowElements), column);
    Value source = b.element(from, b.add(place, skipped * rowElements),
                             operand.getElementType());
    Value target = b.add(b.mul(row, pitch), b.mul(column, 2));
    copyAsync(b, at(to, b.add(target, skipped * pitch)), source, isThere);
  });
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
  // Matrices: keys 0 .. 7 by elements 0 .. 7 and 8 .. 15, then keys 8 .. 15.
  Value mine = b.add(b.mul(b.div(lane, 16), 8), b.rem(lane, 8));
  Value part = b.mul(b.rem(b.div(lane, 8), 2), 16);
  Value k = at(keysAt, b.add(b.mul(b.add(key, mine), pitch), part));
  for (int64_t i = 0; i < shape.headWidth; i += 16) {
    Values left = loadMatrices(b, b.field(a, i * 2));
    for (int64_t n = 0; n < keys; n += 16) {
      Values right = loadMatrices(b, b.field(k, n * pitch + i * 2));
      for (int64_t half : {0, 1}) {
        auto *sum = sums.begin() + (n / 8 + half) * 4;
        Values result = multiplyTiles(
            b, left, ValueRange(ArrayRef(right).slice(half * 2, 2)),
            ValueRange(ArrayRef(sum, 4)));
        std::copy(result.begin(), result.end(), sum);
      }
    }
  }
  return sums;
}

void MmaAttention::maskScores(MutableArrayRef<Value> scores, Value block,
                              Value key, Value (&maxima)[2]) {
  Value lowest = b.constant(f32, -kInfinity);
  Value first =
      b.add(b.add(b.mul(block, kBlockKeys), key), b.mul(b.rem(lane, 4), 2));
  Value base = narrow(first);
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

CodeBuilder::Values MmaAttention::splitWeights(Value x, Value y) {
  auto number = [&](Value bits) -> Value {
    return b.create<arith::BitcastOp>(f32, bits);
  };
  Values parts;
  for (int64_t i = 0; i < kParts; ++i) {
    Value pair = packBf16(b, x, y);
    parts.push_back(pair);
    // What is left is exact.
    x = b.create<arith::SubFOp>(
        x, number(b.create<arith::ShLIOp>(pair, b.i32(16))));
    y = b.create<arith::SubFOp>(
        y, number(b.create<arith::AndIOp>(pair, b.i32(-65536))));
  }
  return parts;
}

void MmaAttention::addValues(Value valuesAt, int64_t key, ArrayRef<Values> a,
                             Value firstColumn, int64_t columns,
                             MutableArrayRef<Value> sums) {
  int64_t pitch = sizes.getValuePitch();
  // Matrices: keys 0 .. 7 and 8 .. 15 by columns 0 .. 7, then by 8 .. 15.
  Value row = b.rem(lane, 16);
  Value column = b.add(firstColumn, b.mul(b.div(lane, 16), 8));
  Value from = at(valuesAt, b.add(b.mul(row, pitch), b.mul(column, 2)));
  for (int64_t n = 0; n < columns; n += 16) {
    Values right = loadMatrices(b, b.field(from, key * pitch + n * 2),
                                /*transposed=*/true);
    for (int64_t half : {0, 1}) {
      auto *sum = sums.begin() + (n / 8 + half) * 4;
      // The smaller parts first.
      for (const Values &part : llvm::reverse(a)) {
        Values result = multiplyTiles(
            b, part, ValueRange(ArrayRef(right).slice(half * 2, 2)),
            ValueRange(ArrayRef(sum, 4)));
        std::copy(result.begin(), result.end(), sum);
      }
    }
  }
}

void MmaAttention::store(const Sums &sums, const Value (&totals)[2],
                         Value firstColumn) {
  Type type = shape.operand(shape.outIndex).getElementType();
  Type storage = CodeBuilder::storageType(type);
  Value column = b.add(firstColumn, b.mul(b.rem(lane, 4), 2));
  for (int64_t half : {0, 1})
    b.ifThen(rows[half].isThere, [&] {
      Value to = frame.headPointer(shape.outIndex, rows[half].token,
                                   rows[half].head, shape.valueWidth);
      for (size_t n = 0; n < sums.values.size() / 4; ++n) {
        Value pair = b.create<LLVM::PoisonOp>(b.vectorOf(storage, 2));
        for (int64_t i : {0, 1}) {
          Value x = b.create<arith::DivFOp>(sums.values[n * 4 + half * 2 + i],
                                            totals[half]);
          x = b.fromF32(x, type);
          if (storage != type)
            x = b.create<arith::BitcastOp>(storage, x);
          pair = b.create<LLVM::InsertElementOp>(pair, x, b.i32(i));
        }
        storeWide(b, pair, b.element(to, b.add(column, n * 8), type));
      }
    });
}

//===----------------------------------------------------------------------===//
// Many tokens
//===----------------------------------------------------------------------===//

void MmaAttention::buildMany() {
  start(sizes.getManyThreads());
  SegmentTile tile = findSegmentTile(
      b, frame.getOffsets(), frame.getSequences(), sizes.getManyTokens(),
      blockId(b), /*fewRows=*/sizes.getFewTokens());
  b.ifThen(tile.isThere, [&] {
    sequence = tile.expert;
    Value warpRow = b.mul(b.rem(warp, kWarps), 16);
    int64_t columns = shape.valueWidth / sizes.getValueParts();
    Value column = b.mul(b.div(warp, kWarps), columns);
    startTile(tile.row, tile.rows, kManyRows, warpRow);
    Value keysAt = b.field(queries, kManyRows * sizes.getKeyPitch());
    Value valuesAt = b.field(keysAt, sizes.getKeyBytes());
    Value firstBlock = b.div(low, kBlockKeys);
    copyKeys(keysAt, firstBlock);
    commitCopies(b);
    Sums sums = startSums(columns / 8);
    Values results = b.loop(
        firstBlock, b.add(lastBlock, 1), b.i64(1), sums.pack(),
        [&](Value block, ValueRange carried) -> Values {
          Sums next = Sums::unpack(carried);
          copyValues(valuesAt, block);
          commitCopies(b);
          waitCopies(b, 1);
          syncBlock(b);
          Values scores = multiplyKeys(keysAt, warpRow, b.i64(0), kBlockKeys);
          // All have read the keys.
          syncBlock(b);
          copyKeys(keysAt, b.add(block, 1));
          commitCopies(b);
          Value maxima[2];
          maskScores(scores, block, b.i64(0), maxima);
          weigh(scores, next, maxima);
          waitCopies(b, 1);
          syncBlock(b);
          for (int64_t key = 0; key < kBlockKeys; key += 16) {
            Values a[kParts];
            for (int64_t i = 0; i < 4; ++i) {
              // Rows g and g + 8 of 8 keys, then of the next 8.
              Value *pair = scores.begin() + (key / 8 + i / 2) * 4 + i % 2 * 2;
              Values parts = splitWeights(pair[0], pair[1]);
              for (int64_t part = 0; part < kParts; ++part)
                a[part].push_back(parts[part]);
            }
            addValues(valuesAt, key, a, column, columns, next.values);
          }
          // All have read the values.
          syncBlock(b);
          return next.pack();
        });
    waitCopies(b, 0);
    Sums all = Sums::unpack(results);
    Value totals[2] = {sumQuad(all.totals[0]), sumQuad(all.totals[1])};
    store(all, totals, column);
  });
}

//===----------------------------------------------------------------------===//
// Few tokens
//===----------------------------------------------------------------------===//

void MmaAttention::buildFew() {
  start(kWarps * kWarp);
  sequence = blockId(b);
  int64_t tileTokens = sizes.getFewTokens(), stages = sizes.getFewStages();
  int64_t stageBytes = sizes.getKeyBytes() + sizes.getValueBytes();
  Value weights = b.field(queries, kFewRows * sizes.getKeyPitch());
  Value exchange = b.field(weights, kParts * kFewRows * kWeightPitch);
  Value ring = b.field(queries, sizes.getFewFixedBytes());
  Value first = frame.getStart(sequence);
  Value end = frame.getStart(b.add(sequence, 1));
  Value isMine = b.compare(arith::CmpIPredicate::sle, arguments.rows,
                           frame.getSequences());
  isMine = b.create<arith::OrIOp>(isMine, b.compare(arith::CmpIPredicate::sle,
                                                    b.sub(end, first),
                                                    b.i64(tileTokens)));
  end = b.select(isMine, end, first);
  int64_t columns = shape.valueWidth / kWarps;
  Value g = b.div(lane, 4), t = b.rem(lane, 4);
  Value key = b.mul(warp, 16), column = b.mul(warp, columns);
  Value isFirst = b.compare(arith::CmpIPredicate::eq, t, b.i64(0));
  // Numbers of the two rows of a lane, per warp.
  auto exchangeAt = [&](Value from, int64_t half) {
    return b.element(exchange, b.add(b.mul(from, kFewRows), b.add(g, half * 8)),
                     f32);
  };

  b.loop(first, end, tileTokens, [&](Value firstToken) {
    Value count = b.min(b.sub(end, firstToken), b.i64(tileTokens));
    startTile(firstToken, count, kFewRows, b.i64(0));
    Value firstBlock = b.div(low, kBlockKeys);
    auto fill = [&](Value slot, Value block) {
      Value to = at(ring, slot);
      copyKeys(to, block);
      copyValues(b.field(to, sizes.getKeyBytes()), block);
      commitCopies(b);
    };
    for (int64_t s = 0; s + 1 < stages; ++s)
      fill(b.i64(s * stageBytes), b.add(firstBlock, s));
    auto advance = [&](Value slot) {
      Value next = b.add(slot, stageBytes);
      return b.select(
          b.compare(arith::CmpIPredicate::eq, next, b.i64(stages * stageBytes)),
          b.i64(0), next);
    };
    Values init = {b.i64(0), b.i64((stages - 1) * stageBytes)};
    Sums start = startSums(columns / 8);
    // Every warp adds up the weights of its keys, one the sink.
    for (Value &total : start.totals)
      total = b.select(b.compare(arith::CmpIPredicate::eq, warp, b.i64(0)),
                       total, b.constant(f32, 0.0));
    init.append(start.pack());
    Values results = b.loop(
        firstBlock, b.add(lastBlock, 1), b.i64(1), init,
        [&](Value block, ValueRange carried) -> Values {
          Sums sums = Sums::unpack(carried.drop_front(2));
          waitCopies(b, stages - 2);
          syncBlock(b);
          fill(carried[1], b.add(block, stages - 1));
          Value keysAt = at(ring, carried[0]);
          Values scores = multiplyKeys(keysAt, b.i64(0), key, 16);
          Value maxima[2];
          maskScores(scores, block, key, maxima);
          b.ifThen(isFirst, [&] {
            for (int64_t half : {0, 1})
              b.store(maxima[half], exchangeAt(warp, half));
          });
          syncBlock(b);
          for (int64_t half : {0, 1})
            for (int64_t other = 0; other < kWarps; ++other)
              maxima[half] = frame.larger(
                  maxima[half], b.load(exchangeAt(b.i64(other), half), f32));
          weigh(scores, sums, maxima);
          for (int64_t n : {0, 1})
            for (int64_t half : {0, 1}) {
              Value *pair = scores.begin() + n * 4 + half * 2;
              Values parts = splitWeights(pair[0], pair[1]);
              Value place =
                  b.add(b.mul(b.add(g, half * 8), kWeightPitch),
                        b.mul(b.add(key, b.add(b.mul(t, 2), n * 8)), 2));
              for (int64_t part = 0; part < kParts; ++part)
                b.store(
                    parts[part],
                    at(weights, b.add(place, part * kFewRows * kWeightPitch)));
            }
          syncBlock(b);
          Value mine = b.add(b.mul(b.rem(lane, 16), kWeightPitch),
                             b.mul(b.div(lane, 16), 16));
          for (int64_t i = 0; i < kBlockKeys; i += 16) {
            Values a[kParts];
            for (int64_t part = 0; part < kParts; ++part)
              a[part] = loadMatrices(
                  b, b.field(at(weights, mine),
                             i * 2 + part * kFewRows * kWeightPitch));
            addValues(b.field(keysAt, sizes.getKeyBytes()), i, a, column,
                      columns, sums.values);
          }
          Values next = {advance(carried[0]), advance(carried[1])};
          next.append(sums.pack());
          return next;
        });
    waitCopies(b, 0);
    Sums all = Sums::unpack(ValueRange(results).drop_front(2));
    syncBlock(b);
    for (int64_t half : {0, 1}) {
      Value total = sumQuad(all.totals[half]);
      b.ifThen(isFirst, [&] { b.store(total, exchangeAt(warp, half)); });
    }
    syncBlock(b);
    Value totals[2];
    for (int64_t half : {0, 1}) {
      totals[half] = b.load(exchangeAt(b.i64(0), half), f32);
      for (int64_t other = 1; other < kWarps; ++other)
        totals[half] = b.create<arith::AddFOp>(
            totals[half], b.load(exchangeAt(b.i64(other), half), f32));
    }
    store(all, totals, column);
    // The next tile overwrites what this one's warps read.
    syncBlock(b);
  });
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

static StringRef whyNot(const AttentionShape &shape) {
  auto isBf16 = [&](unsigned index) {
    return shape.operand(index).getElementType().isBF16();
  };
  Type query = shape.operand(0).getElementType();
  int64_t group = shape.getGroup();
  if (!shape.roundsToBf16())
    return "scores are not of bf16";
  if (!isBf16(shape.keyIndex) || !isBf16(shape.valueIndex) ||
      !(query.isBF16() || query.isF32()))
    return "keys and values are not bf16";
  // Whole products and copies of 16 bytes.
  if (shape.headWidth % 16 != 0 || shape.valueWidth % 16 != 0 ||
      shape.valueStride % 8 != 0)
    return "heads are not a multiple of 16 elements";
  if (group > kManyRows && group % kManyRows != 0)
    return "query heads of a key head do not fill tiles";
  // Keys and values of this width fill shared memory as well as registers.
  MmaShape sizes(shape);
  if (shape.valueWidth > 256 ||
      shape.valueWidth % (16 * sizes.getValueParts()) != 0 ||
      sizes.getManyBytes() > kMaxSharedBytes)
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
  MmaShape sizes(shape);
  int64_t columns = shape.kvHeads * sizes.parts;
  int64_t few = sizes.getFewTokens();
  Launches launches;
  if (few) {
    DeviceLaunch launch;
    launch.part = "few";
    launch.threads = kWarps * kWarp;
    launch.sharedBytes = sizes.getFewBytes();
    launch.sequenceGrid = [=](CodeBuilder &host, Value,
                              Value sequences) -> DeviceGrid {
      return {sequences, host.i64(columns), host.i64(1)};
    };
    launch.emit = [shape](const KernelArguments &arguments, CodeBuilder &b,
                          KernelModule &) {
      MmaAttention(b, arguments, shape).buildFew();
      return success();
    };
    launches.push_back(launch);
  }
  DeviceLaunch launch;
  launch.part = "many";
  launch.threads = sizes.getManyThreads();
  launch.sharedBytes = sizes.getManyBytes();
  launch.sequenceGrid = [=](CodeBuilder &host, Value tokens,
                            Value sequences) -> DeviceGrid {
    // Each sequence that is not left to `few` may end in a tile that is not
    // full.
    Value most = host.min(sequences, host.div(tokens, few + 1));
    Value tiles = host.add(host.div(tokens, sizes.getManyTokens()), most);
    if (few)
      tiles = host.select(
          host.compare(arith::CmpIPredicate::sle, tokens, sequences),
          host.i64(0), tiles);
    return {tiles, host.i64(columns), host.i64(1)};
  };
  launch.emit = [shape](const KernelArguments &arguments, CodeBuilder &b,
                        KernelModule &) {
    MmaAttention(b, arguments, shape).buildMany();
    return success();
  };
  launches.push_back(launch);
  return launches;
}
