//===- TcGemm.cpp - Matrix products by warps with roles (sm_90a) ----------===//
//
// Three warpgroups to a block, one block to a multiprocessor. The first copies:
// rows are gathered by cp.async, 16 bytes per thread, to where the 128-byte
// swizzle of wgmma wants them; weights come by bulk copies, which count their
// bytes on a barrier. The other two multiply. Between them lies a ring of
// stages of 64 contraction indices, each with a barrier that says it is full
// and one that says it is empty.
//
// Blocks stay: each walks the list of tiles with a stride, and while the
// results of one tile are computed and stored, the first stages of the next are
// copied. Where an expert's tiles begin in the list, each block finds out by
// itself.
//
// Tiles of 128 rows: each warpgroup has 64 of them and all columns. Tiles of 64
// rows, for fewer rows per expert: each has all of them and half of the
// columns.
//
// Weights lie in #moeq.row_blocks<64, 8>: 64 columns by 64 indices are 8 KiB in
// one run. But wgmma steps from 8 columns to the next by one distance, over all
// of its columns; so the units of 8 indices, 1 KiB of a block, are copied one
// by one, each by another lane, to lie beside those of the other blocks. One
// wgmma then has the columns of all weights.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/nvptx/TensorCore.h"
#include "compiler/targets/nvptx/WarpRoles.h"
#include "compiler/targets/nvptx/kernels/GemmFrame.h"

#include "llvm/Support/MathExtras.h"

#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;

namespace {

/// Contraction indices of a stage and of a wgmma.
constexpr int64_t kDepth = 64, kIndices = 16;
constexpr int64_t kStageUnits = kDepth / kUnitIndices, kUnitBytes = 16;
/// A row in a stage; a unit of a block of columns, which is one copy.
constexpr int64_t kRowBytes = kDepth * 2;
constexpr int64_t kCopyBytes = kBlockColumns * kUnitBytes;
constexpr int64_t kGroupWarps = 4, kGroupThreads = kGroupWarps * kWarp;
constexpr int64_t kGroupRows = 64, kConsumers = 2;
constexpr int64_t kThreads = (1 + kConsumers) * kGroupThreads;
/// Registers of a thread that copies, which holds the addresses of eight rows,
/// and of one that multiplies. Warps exchange what they began with: 168 each.
constexpr int64_t kCopyRegisters = 72, kProductRegisters = 216;
static_assert(kCopyRegisters + kConsumers * kProductRegisters <= 3 * 168);
/// Columns that 128 accumulators per thread hold, more than which ptxas spills.
constexpr int64_t kMostColumns = 256;
/// Shared memory of a block on sm_90, and multiprocessors.
constexpr int64_t kSharedBytes = 227 * 1024, kMostBlocks = 132;
/// Of the ring. A stage is announced when half a ring after it has been
/// started, and is free when the products of the next have: with two stages
/// each side would wait for the other.
constexpr int64_t kLeastStages = 3, kMostStages = 8;
/// Tiles along the rows between which tiles along the columns come: together
/// they read rows and weights of about the same size.
constexpr int64_t kBandTiles = 16;

/// How a block works.
struct TcTile {
  const char *part;
  /// Rows, columns of each weight.
  int64_t rows, columns, numWeights;
  int64_t stages = kMostStages;

  bool splitsColumns() const { return rows == kGroupRows; }
  /// Columns of each weight that a warpgroup has.
  int64_t getOwnColumns() const {
    return splitsColumns() ? columns / kConsumers : columns;
  }
  int64_t getProductColumns() const { return getOwnColumns() * numWeights; }
  int64_t getAllColumns() const { return columns * numWeights; }
  int64_t getBlocks() const { return columns / kBlockColumns; }
  int64_t getRowsBytes() const { return rows * kRowBytes; }
  int64_t getStageBytes() const {
    return getRowsBytes() + getAllColumns() * kRowBytes;
  }
  /// Where the barriers lie, full ones, then empty ones.
  int64_t getBarriers() const { return stages * getStageBytes(); }
  /// Where the first tile and the first row of each expert lie, i32.
  int64_t getStarts() const {
    return getBarriers() + 2 * stages * kBarrierBytes;
  }
  int64_t getFirstRows(int64_t experts) const {
    return getStarts() + 4 * (experts + 1);
  }
  int64_t getSharedBytes(int64_t experts) const {
    return experts ? getFirstRows(experts) + 4 * (experts + 1) : getStarts();
  }
};

/// Builds one kernel.
class TcGemm : GemmFrame {
public:
  TcGemm(const KernelRequest &request, const KernelArguments &arguments,
         CodeBuilder &b, const TcTile &tile)
      : GemmFrame(request, arguments, b), tile(tile),
        columnTiles(llvm::divideCeil(width, tile.columns)),
        numStages(llvm::divideCeil(depth, kDepth)) {}

  LogicalResult build();

private:
  /// A tile: its first row, rows that are there, first column. `expert` is null
  /// in a dense product.
  struct Place {
    Value expert, row, rows, column;
  };

  void setUp();
  void listTiles();
  Value countTiles();
  Place findTile(Value number);
  /// Runs `body` on the block's tiles. `stage` is the number of the tile's
  /// first stage, an i32, counting those of all tiles before. Returns that
  /// after all.
  Value walkTiles(function_ref<void(const Place &, Value stage)> body);

  void produce();
  struct RowCopies {
    SmallVector<Value> from, isThere;
    Value index, to;
  };
  RowCopies prepareRows(const Place &place);
  void copyRows(const RowCopies &copies, Value index, Value slot);
  struct WeightCopy {
    Value from, isThere, unit, to, blocks;
  };
  WeightCopy prepareWeights(const Place &place);
  void copyWeights(const WeightCopy &copy, Value index, Value stage);
  void clearUnit(Value index, Value slot);
  void announce(Value stage, int64_t pending);

  void consume();
  Value multiplyStage(Value stage, int64_t depth, Value sums);
  Values multiply(Value stage);
  void skip(Value stage);
  void release(Value stage, Value isThere);
  void finish(const Place &place, ValueRange sums);
  Value packOutputs(ArrayRef<Values> sums, Value column);
  void storeWords(Value row, Value isRow, Value column, Values words);

  /// Stages that are started before one is announced.
  int64_t getAhead() const { return tile.stages / 2; }
  Value both(Value x, Value y) { return b.create<arith::AndIOp>(x, y); }
  Value isEqual(Value x, Value y) {
    return b.compare(arith::CmpIPredicate::eq, x, y);
  }
  Value plus(Value x, int64_t y) { return b.add(x, b.i32(y)); }
  Value narrow(Value x) {
    return b.createOrFold<arith::TruncIOp>(b.getI32Type(), x);
  }
  Value at(Value pointer, Value offset) {
    return b.element(pointer, offset, b.getI8Type());
  }
  Value inRing(Value stage) {
    return b.widen(b.rem(stage, b.i32(tile.stages)));
  }
  Value slotOf(Value stage) {
    return at(shared, b.mul(inRing(stage), tile.getStageBytes()));
  }
  Value fullBarrier(Value stage) {
    return at(b.field(shared, tile.getBarriers()),
              b.mul(inRing(stage), kBarrierBytes));
  }
  Value emptyBarrier(Value stage) {
    return b.field(fullBarrier(stage), tile.stages * kBarrierBytes);
  }
  Value parityOf(Value stage) {
    return b.rem(b.div(stage, b.i32(tile.stages)), b.i32(2));
  }

  const TcTile &tile;
  int64_t columnTiles, numStages;
  Value shared, thread, lane, warp;
  /// Of a consumer: which of the two it is, and the warp in it.
  Value group, groupWarp;
};

} // namespace

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

void TcGemm::setUp() {
  b.ifThen(isEqual(thread, b.i64(0)), [&] {
    for (int64_t i = 0; i < tile.stages; ++i) {
      Value full = b.field(shared, tile.getBarriers() + i * kBarrierBytes);
      // Every thread that copies, every warp that multiplies.
      initBarrier(b, full, kGroupThreads);
      initBarrier(b, b.field(full, tile.stages * kBarrierBytes),
                  kConsumers * kGroupWarps);
    }
    fenceBarriers(b);
  });
  if (segments)
    listTiles();
  syncBlock(b);
}

/// Fills the lists of first tiles and first rows.
void TcGemm::listTiles() {
  Type i32 = b.getI32Type();
  Value count = b.i64(experts);
  Value starts = b.field(shared, tile.getStarts());
  Value firstRows = b.field(shared, tile.getFirstRows(experts));
  b.loop(thread, b.add(count, 1), kThreads,
         [&](Value i) { b.store(b.load(segments, i, i32), firstRows, i); });
  syncBlock(b);
  b.ifThen(isEqual(warp, b.i64(0)), [&] {
    b.ifThen(isEqual(lane, b.i64(0)), [&] { b.store(b.i32(0), starts); });
    b.loop(b.i64(0), count, b.i64(kWarp), ValueRange{b.i32(0)},
           [&](Value base, ValueRange carried) -> Values {
             Value expert = b.add(base, lane);
             Value isThere = b.lessThan(expert, count);
             Value safe = b.min(expert, b.i64(experts - 1));
             Value rows = b.sub(b.load(firstRows, b.add(safe, 1), i32),
                                b.load(firstRows, safe, i32));
             Value end =
                 b.mul(b.div(plus(rows, tile.rows - 1), b.i32(tile.rows)),
                       b.i32(columnTiles));
             end = b.select(isThere, end, b.i32(0));
             for (int64_t delta = 1; delta < kWarp; delta *= 2) {
               Value other = shuffleUp(b, end, delta);
               Value isAbove = b.lessThan(b.i64(delta - 1), lane);
               end = b.add(end, b.select(isAbove, other, b.i32(0)));
             }
             end = b.add(end, carried[0]);
             b.ifThen(isThere, [&] { b.store(end, starts, b.add(expert, 1)); });
             return {shuffleFrom(b, end, b.i32(kWarp - 1))};
           });
  });
}

Value TcGemm::countTiles() {
  if (segments)
    return b.load(b.field(shared, tile.getStarts() + 4 * experts),
                  b.getI32Type());
  return narrow(b.mul(ceilDiv(b, arguments.rows, tile.rows), columnTiles));
}

TcGemm::Place TcGemm::findTile(Value number) {
  Type i32 = b.getI32Type();
  Place place;
  Value first = b.i64(0), count = arguments.rows;
  if (segments) {
    // The last expert whose tiles begin at or before this one has rows.
    Value starts = b.field(shared, tile.getStarts());
    Value low = b.i32(0), high = b.i32(experts);
    for (unsigned i = 0; i < llvm::Log2_64_Ceil(experts); ++i) {
      Value middle = b.div(b.add(low, high), b.i32(2));
      Value isBelow = b.compare(arith::CmpIPredicate::sle,
                                b.load(starts, b.widen(middle), i32), number);
      low = b.select(isBelow, middle, low);
      high = b.select(isBelow, high, middle);
    }
    place.expert = b.widen(low);
    Value firstRows =
        at(b.field(shared, tile.getFirstRows(experts)), b.mul(place.expert, 4));
    number = b.sub(number, b.load(starts, place.expert, i32));
    first = b.widen(b.load(firstRows, i32));
    count = b.sub(b.widen(b.load(b.field(firstRows, 4), i32)), first);
  }
  // Bands of rows, in them tiles along the rows first: blocks that work at the
  // same time read few rows and few weights.
  Value rowTiles = narrow(ceilDiv(b, count, tile.rows));
  Value perBand = b.i32(kBandTiles * columnTiles);
  Value begin = b.mul(b.div(number, perBand), b.i32(kBandTiles));
  Value height = b.min(b.sub(rowTiles, begin), b.i32(kBandTiles));
  number = b.rem(number, perBand);
  Value inExpert = b.widen(b.add(begin, b.rem(number, height)));
  inExpert = b.mul(inExpert, tile.rows);
  place.column = b.mul(b.widen(b.div(number, height)), tile.columns);
  place.row = b.add(first, inExpert);
  place.rows = b.min(b.sub(count, inExpert), b.i64(tile.rows));
  return place;
}

Value TcGemm::walkTiles(function_ref<void(const Place &, Value stage)> body) {
  return b.loop(blockId(b), b.widen(countTiles()), blockCount(b),
                ValueRange{b.i32(0)},
                [&](Value number, ValueRange carried) -> Values {
                  body(findTile(narrow(number)), carried[0]);
                  return {plus(carried[0], numStages)};
                })[0];
}

//===----------------------------------------------------------------------===//
// Copies
//===----------------------------------------------------------------------===//

TcGemm::RowCopies TcGemm::prepareRows(const Place &place) {
  RowCopies copies;
  Value chunk = b.rem(thread, kStageUnits), first = b.div(thread, kStageUnits);
  constexpr int64_t step = kGroupThreads / kStageUnits;
  copies.index = b.mul(chunk, kUnitIndices);
  // Rows of a thread differ by 16, so they are turned by the same.
  Value turned = b.create<arith::XOrIOp>(chunk, b.rem(first, 8));
  copies.to = b.add(b.mul(first, kRowBytes), b.mul(turned, kUnitBytes));
  for (int64_t i = 0; i < tile.rows; i += step) {
    Value inTile = b.add(first, i);
    Value isThere = b.lessThan(inTile, place.rows);
    // What is not there is not read.
    Value source = b.add(place.row, b.select(isThere, inTile, b.i64(0)));
    if (gather)
      source = b.widen(b.load(gather, source, b.getI32Type()));
    copies.from.push_back(b.element(
        rowPointer(b, request, arguments, 0, source), copies.index, xType));
    copies.isThere.push_back(isThere);
  }
  return copies;
}

void TcGemm::copyRows(const RowCopies &copies, Value index, Value slot) {
  constexpr int64_t step = kGroupThreads / kStageUnits;
  Value to = at(slot, copies.to);
  Value isInside = b.lessThan(b.add(index, copies.index), b.i64(depth));
  for (size_t i = 0; i < copies.from.size(); ++i) {
    Value isThere = copies.isThere[i];
    if (depth % kDepth != 0)
      isThere = both(isThere, isInside);
    copyAsync(b, b.field(to, i * step * kRowBytes),
              b.element(copies.from[i], index, xType), isThere);
  }
}

/// What this lane copies of each stage, if its warp copies weights.
TcGemm::WeightCopy TcGemm::prepareWeights(const Place &place) {
  WeightCopy copy;
  bindWeights(place.expert);
  copy.unit = b.rem(lane, kStageUnits);
  Value piece = b.div(lane, kStageUnits);
  Value weight = b.div(piece, tile.getBlocks());
  Value block = b.rem(piece, tile.getBlocks());
  Value from = matrices[0];
  for (int64_t w = 1; w < tile.numWeights; ++w)
    from = b.select(isEqual(weight, b.i64(w)), matrices[w], from);
  Value firstBlock = b.div(place.column, kBlockColumns);
  Value unit =
      b.add(b.mul(b.add(firstBlock, block), depth / kUnitIndices), copy.unit);
  copy.from = at(from, b.mul(unit, kCopyBytes));
  // Each warpgroup's columns of all weights lie side by side.
  int64_t own = tile.getOwnColumns();
  Value column = b.mul(block, kBlockColumns);
  Value position = b.add(b.mul(b.div(column, own), tile.numWeights), weight);
  position = b.add(b.mul(position, own), b.rem(column, own));
  copy.to = b.add(b.mul(copy.unit, tile.getAllColumns()), position);
  copy.to = b.add(b.mul(copy.to, kUnitBytes), tile.getRowsBytes());
  // Behind the last column nothing is copied: what lies there goes into columns
  // that are not stored.
  Value blocks = b.i64(llvm::divideCeil(width, kBlockColumns));
  copy.blocks = b.min(b.sub(blocks, firstBlock), b.i64(tile.getBlocks()));
  copy.isThere =
      both(b.lessThan(block, copy.blocks),
           b.lessThan(piece, b.i64(tile.getBlocks() * tile.numWeights)));
  return copy;
}

void TcGemm::copyWeights(const WeightCopy &copy, Value index, Value stage) {
  Value full = fullBarrier(stage);
  Value units =
      b.min(b.sub(b.i64(depth / kUnitIndices), b.div(index, kUnitIndices)),
            b.i64(kStageUnits));
  b.ifThen(isEqual(lane, b.i64(0)), [&] {
    Value copies = b.mul(b.mul(copy.blocks, units), tile.numWeights);
    expectBytes(b, full, narrow(b.mul(copies, kCopyBytes)));
  });
  syncWarp(b);
  Value isThere = copy.isThere;
  if (depth % kDepth != 0)
    isThere = both(isThere, b.lessThan(copy.unit, units));
  b.ifThen(isThere, [&] {
    copyBulk(b, at(slotOf(stage), copy.to),
             at(copy.from, b.mul(index, kCopyBytes / kUnitIndices)), kCopyBytes,
             full);
  });
}

/// Clears the unit of weights after the last, if a product reads it: zeros of
/// rows times whatever lay there need not be zeros.
void TcGemm::clearUnit(Value index, Value slot) {
  if (depth % kIndices == 0)
    return;
  int64_t unit = depth % kDepth / kUnitIndices;
  int64_t bytes = tile.getAllColumns() * kUnitBytes;
  Value to = b.field(slot, tile.getRowsBytes() + unit * bytes);
  Value zeros = b.create<LLVM::ZeroOp>(b.vectorOf(b.getI32Type(), 4));
  b.ifThen(b.lessThan(b.i64(depth - kDepth), index), [&] {
    for (int64_t i = 0; i < bytes; i += kGroupThreads * kUnitBytes) {
      Value offset = b.add(b.mul(thread, kUnitBytes), i);
      b.ifThen(b.lessThan(offset, b.i64(bytes)),
               [&] { storeWide(b, zeros, at(to, offset)); });
    }
  });
}

/// Says that this thread's part of a stage is there. It has started `pending`
/// stages after it.
void TcGemm::announce(Value stage, int64_t pending) {
  waitCopies(b, pending);
  fenceShared(b);
  arriveAt(b, fullBarrier(stage));
}

void TcGemm::produce() {
  giveRegisters(b, kCopyRegisters);
  Value end = walkTiles([&](const Place &place, Value first) {
    RowCopies rows = prepareRows(place);
    WeightCopy weights = prepareWeights(place);
    b.loop(b.i64(0), b.i64(numStages), 1, [&](Value i) {
      Value stage = b.add(first, narrow(i));
      Value index = b.mul(i, kDepth), slot = slotOf(stage);
      waitPhase(b, emptyBarrier(stage),
                b.create<arith::XOrIOp>(parityOf(stage), b.i32(1)));
      b.ifThen(isEqual(warp, b.i64(0)),
               [&] { copyWeights(weights, index, stage); });
      copyRows(rows, index, slot);
      commitCopies(b);
      clearUnit(index, slot);
      b.ifThen(b.lessThan(b.i32(getAhead() - 1), stage),
               [&] { announce(plus(stage, -getAhead()), getAhead()); });
    });
  });
  for (int64_t i = getAhead(); i > 0; --i)
    b.ifThen(b.lessThan(b.i32(i - 1), end),
             [&] { announce(plus(end, -i), i - 1); });
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// Starts the products of a stage over `depth` indices.
Value TcGemm::multiplyStage(Value stage, int64_t depth, Value sums) {
  Value slot = slotOf(stage);
  waitPhase(b, fullBarrier(stage), parityOf(stage));
  int64_t columns = tile.getProductColumns(), all = tile.getAllColumns();
  Value rows = slot, weights = b.field(slot, tile.getRowsBytes());
  if (tile.splitsColumns())
    weights = at(weights, b.mul(group, columns * kUnitBytes));
  else
    rows = at(rows, b.mul(group, kGroupRows * kRowBytes));
  Value left = describeMatrix(b, rows, {0, 8 * kRowBytes, /*isSwizzled=*/true});
  Value right = describeMatrix(
      b, weights, {all * kUnitBytes, 8 * kUnitBytes, /*isSwizzled=*/false});
  beginProducts(b);
  for (int64_t k = 0; k < depth; k += kIndices)
    sums =
        multiplyAsync(b, sums, b.add(left, k * 2 / 16),
                      b.add(right, k / kUnitIndices * all), columns, compute);
  commitProducts(b);
  return sums;
}

/// Says, for this warp, that a stage may be filled again.
void TcGemm::release(Value stage, Value isThere) {
  b.ifThen(both(isEqual(lane, b.i64(0)), isThere),
           [&] { arriveAt(b, emptyBarrier(stage)); });
}

CodeBuilder::Values TcGemm::multiply(Value first) {
  Value sums = zeroSums(b, tile.getProductColumns());
  Value yes = b.constant(b.getI1Type(), 1);
  int64_t whole = depth / kDepth, rest = depth % kDepth;
  // What a product reads stays until the next ones are on their way: then all
  // but those have been made.
  if (whole)
    sums = b.loop(b.i64(0), b.i64(whole), b.i64(1), ValueRange{sums},
                  [&](Value i, ValueRange carried) -> Values {
                    Value stage = b.add(first, narrow(i));
                    Value next = multiplyStage(stage, kDepth, carried[0]);
                    waitProducts(b, 1);
                    release(plus(stage, -1), b.lessThan(b.i64(0), i));
                    return {next};
                  })[0];
  if (rest) {
    sums = multiplyStage(plus(first, whole), rest, sums);
    if (whole) {
      waitProducts(b, 1);
      release(plus(first, whole - 1), yes);
    }
  }
  sums = waitSums(b, sums);
  release(plus(first, numStages - 1), yes);
  return unpackStruct(b, sums);
}

/// A warpgroup without rows lets stages pass, each after it has come: so it is
/// never more than a round ahead of the other.
void TcGemm::skip(Value first) {
  b.loop(b.i64(0), b.i64(numStages), 1, [&](Value i) {
    Value stage = b.add(first, narrow(i));
    waitPhase(b, fullBarrier(stage), parityOf(stage));
    release(stage, b.constant(b.getI1Type(), 1));
  });
}

void TcGemm::consume() {
  takeRegisters(b, kProductRegisters);
  group = b.sub(b.div(warp, kGroupWarps), b.i64(1));
  groupWarp = b.rem(warp, kGroupWarps);
  walkTiles([&](const Place &place, Value first) {
    if (tile.splitsColumns())
      return finish(place, multiply(first));
    Value isNeeded = b.lessThan(b.mul(group, kGroupRows), place.rows);
    b.ifElse(
        isNeeded, [&] { finish(place, multiply(first)); },
        [&] { skip(first); });
  });
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

/// A thread's sums are two adjacent columns of each eight, of rows lane / 4 and
/// eight further.
void TcGemm::finish(const Place &place, ValueRange sums) {
  if (!op.getBiases().empty())
    bindWeights(place.expert);
  int64_t own = tile.getOwnColumns(), pieces = own / 8;
  Value inTile = b.add(b.mul(groupWarp, 16), b.div(lane, 4));
  Value column = place.column;
  if (tile.splitsColumns())
    column = b.add(column, b.mul(group, own));
  else
    inTile = b.add(inTile, b.mul(group, kGroupRows));
  column = b.add(column, b.mul(b.rem(lane, 4), 2));
  auto getPair = [&](int64_t half, int64_t piece) {
    SmallVector<Values> pair(tile.numWeights);
    for (int64_t w = 0; w < tile.numWeights; ++w)
      for (int64_t i : {0, 1})
        pair[w].push_back(sums[((w * pieces + piece) * 2 + half) * 2 + i]);
    return pair;
  };
  Value rows[2], isThere[2];
  for (int64_t half : {0, 1}) {
    Value row = b.add(inTile, half * 8);
    rows[half] = b.add(place.row, row);
    isThere[half] = b.lessThan(row, place.rows);
  }
  if (!CodeBuilder::isSmallFloat(outType) || width % 8 != 0) {
    for (int64_t half : {0, 1})
      b.ifThen(isThere[half], [&] {
        for (int64_t n = 0; n < pieces; ++n)
          storePair(rows[half], b.add(column, n * 8), getPair(half, n),
                    b.i64(width));
      });
    return;
  }
  // Both rows of a few columns, then the next columns: so biases are not held
  // for long, and registers of sums become free.
  for (int64_t n = 0; n < pieces; n += 4)
    for (int64_t half : {0, 1}) {
      Values words;
      for (int64_t piece = n; piece < n + 4; ++piece)
        words.push_back(
            packOutputs(getPair(half, piece), b.add(column, piece * 8)));
      storeWords(rows[half], isThere[half], b.add(column, n * 8), words);
    }
}

/// Outputs of two adjacent columns, 16 bits each.
Value TcGemm::packOutputs(ArrayRef<Values> sums, Value column) {
  Value outputs[2];
  for (int64_t i : {0, 1}) {
    Value own = b.add(column, i);
    // Columns that are not there have no bias.
    if (width % tile.columns != 0)
      own = b.min(own, b.i64(width - 1));
    outputs[i] = buildOutput(sums, i, own);
  }
  return packPair(b, outputs[0], outputs[1], outType);
}

/// Four lanes have two columns of each of four times eight, from `column` on;
/// they exchange them, so that each stores eight columns.
void TcGemm::storeWords(Value row, Value isRow, Value column, Values words) {
  Value quad = b.rem(lane, 4);
  for (int64_t mask : {1, 2}) {
    Value isUpper = b.compare(arith::CmpIPredicate::ne,
                              b.rem(b.div(quad, mask), 2), b.i64(0));
    for (int64_t low : {0, 1, 2, 3}) {
      int64_t high = low | mask;
      if (high == low)
        continue;
      Value sent = b.select(isUpper, words[low], words[high]);
      Value got = shuffleXor(b, sent, mask);
      words[low] = b.select(isUpper, got, words[low]);
      words[high] = b.select(isUpper, words[high], got);
    }
  }
  // From the lane's two columns of the first eight to its own eight.
  column = b.add(column, b.mul(quad, 8 - 2));
  b.ifThen(both(isRow, b.lessThan(column, b.i64(width))), [&] {
    Value vector = b.create<LLVM::PoisonOp>(b.vectorOf(b.getI32Type(), 4));
    for (int64_t i = 0; i < 4; ++i)
      vector = b.create<LLVM::InsertElementOp>(vector, words[i], b.i32(i));
    storeWide(b, vector, outPointer(row, column));
  });
}

//===----------------------------------------------------------------------===//
// The kernel
//===----------------------------------------------------------------------===//

LogicalResult TcGemm::build() {
  thread = threadId(b);
  lane = laneId(b);
  warp = uniformWarpId(b);
  shared = sharedMemory(b);
  setUp();
  b.ifElse(
      b.lessThan(warp, b.i64(kGroupWarps)), [&] { produce(); },
      [&] { consume(); });
  return status;
}

/// The columns of each weight that cost least: those beyond the width are
/// computed too, and each tile reads its rows.
static int64_t chooseColumns(const GemmShape &shape, int64_t rows) {
  constexpr int64_t rowsCost = 32;
  int64_t best = 0, bestCost = std::numeric_limits<int64_t>::max();
  for (int64_t columns = kMostColumns; columns >= kBlockColumns;
       columns -= kBlockColumns) {
    int64_t all = columns * shape.numWeights;
    // Halves of several weights have to be of whole blocks.
    bool isSplit = rows == kGroupRows && shape.numWeights > 1;
    if (all > kMostColumns || (isSplit && columns % (2 * kBlockColumns) != 0))
      continue;
    int64_t tiles = llvm::divideCeil(shape.width, columns);
    int64_t cost = tiles * (all + rowsCost);
    // A dense product of few rows has as many blocks as columns give.
    bool isFew = !shape.experts &&
                 (rows == kGroupRows ? tiles < kMostBlocks
                                     : shape.width < 4096 && all > 128);
    if (isFew)
      cost += std::numeric_limits<int32_t>::max() / tiles;
    if (cost < bestCost) {
      best = columns;
      bestCost = cost;
    }
  }
  return best;
}

/// The tiles, for ascending numbers of rows per expert; none where a block
/// cannot hold them.
static SmallVector<TcTile> getTiles(const GemmShape &shape) {
  SmallVector<TcTile> tiles;
  for (int64_t rows : {kGroupRows, kConsumers * kGroupRows}) {
    TcTile tile{rows == kGroupRows ? "tc64" : "tc128", rows,
                chooseColumns(shape, rows), shape.numWeights};
    if (!tile.columns)
      return {};
    while (tile.getSharedBytes(shape.experts) > kSharedBytes)
      if (--tile.stages < kLeastStages)
        return {};
    tiles.push_back(tile);
  }
  return tiles;
}

bool nvptx::usesWarpRoles(const KernelRequest &request) {
  GemmShape shape(request);
  return request.level.exact && request.level.major == 9 && shape.heads == 1 &&
         shape.xType == shape.compute && canCopyWeights(request) &&
         !getTiles(shape).empty();
}

Launches nvptx::tcGemmLaunches(const KernelRequest &request, int64_t low) {
  GemmShape shape(request);
  Launches launches;
  // Above how many rows per expert halves of tiles of 128 rows that are empty
  // cost less than weights read once more.
  constexpr int64_t kFewRows = 192;
  constexpr int64_t kAll = std::numeric_limits<int32_t>::max();
  for (const TcTile &tile : getTiles(shape)) {
    RowRange range{low, tile.splitsColumns() ? kFewRows : kAll};
    low = range.high;
    DeviceLaunch launch;
    launch.part = tile.part;
    launch.threads = kThreads;
    launch.sharedBytes = tile.getSharedBytes(shape.experts);
    launch.grid = [=](CodeBuilder &host, Value rows) {
      int64_t columnTiles = llvm::divideCeil(shape.width, tile.columns);
      Value tiles =
          host.mul(countRowTiles(host, rows, shape, tile.rows), columnTiles);
      Value blocks = host.min(tiles, host.i64(kMostBlocks));
      return lineGrid(host, host.select(isInRange(host, rows, shape, range),
                                        blocks, host.i64(0)));
    };
    launch.emit = [=, &request](const KernelArguments &arguments,
                                CodeBuilder &b, KernelModule &) {
      return TcGemm(request, arguments, b, tile).build();
    };
    launches.push_back(launch);
  }
  return launches;
}
