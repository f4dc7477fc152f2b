//===- MmaGemm.cpp - Matrix products on tensor cores ----------------------===//
//
// Tiles of rows by columns of each weight, walked along the contraction index
// in stages of shared memory that cp.async fills ahead. Rows are gathered while
// they are copied; rows of f32 go through registers, where they are rounded.
// Biases, the epilogue over all weights and rounding happen on the
// accumulators.
//
// Weights of 16 bits lie in #moeq.row_blocks<64, 8>: per 64 columns of out, 16
// bytes for each column and eight contraction indices, which is a row of what
// ldmatrix loads. So rows of weights are copied as they lie, and read without
// conflicts of banks. All other weights, plain or with scales, go through
// registers like rows of f32: read before the products of a stage, they are
// rounded to what products are made of, bf16 or f16, and stored behind them.
//
// Few rows (decode) are a matter of reading weights: tiles are narrow, so that
// there are many, and the warps of a block divide each stage's indices; their
// sums are added in ascending order of the warps.
//
// On sm_90a what can be copied as it lies goes to warps with roles
// (TcGemm.cpp), but for few rows. Many rows of the rest go to wgmma, which
// reads both operands from shared memory: rows with 128-byte swizzle, weights
// as they lie. Its products of one stage run while the stage after the next is
// copied; a second block of the multiprocessor fills the pause between stages.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/nvptx/NvKernels.h"
#include "compiler/targets/nvptx/TensorCore.h"
#include "compiler/targets/nvptx/WeightReader.h"
#include "compiler/targets/nvptx/kernels/GemmFrame.h"

#include "dialects/moeq/MoeqDialect.h"

#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;

namespace {

/// Contraction indices of a product, columns of out that it has.
constexpr int64_t kIndices = 16, kPiece = 8;

/// How a block works.
struct MmaTile {
  /// For names of kernels.
  const char *part;
  /// Rows, columns of each weight, contraction indices of a stage.
  int64_t rows, columns, depth;
  int64_t stages;
  /// Warps along rows, columns, indices.
  int64_t warpRows, warpColumns, warpDepth;
  /// By wgmma of sm_90a: four warps have 64 rows and all columns.
  bool isAsync = false;

  int64_t getThreads() const {
    return warpRows * warpColumns * warpDepth * kWarp;
  }
  int64_t getRowBytes() const { return rows * depth * 2; }
  int64_t getWeightBytes() const { return columns * depth * 2; }
  int64_t getStageBytes(int64_t weights) const {
    return getRowBytes() + weights * getWeightBytes();
  }
};

/// Of shared memory, for what decoding weights looks up.
int64_t getTableBytes(const KernelRequest &request) {
  auto op = cast<moex::GroupedGemmOp>(request.op);
  if (canCopyWeights(request))
    return 0;
  return WeightReader(request.operands[1], 0, op.getCompute()).getTableBytes();
}

/// Builds one kernel.
class MmaGemm : GemmFrame {
public:
  MmaGemm(const KernelRequest &request, const KernelArguments &arguments,
          CodeBuilder &b, const MmaTile &tile)
      : GemmFrame(request, arguments, b), tile(tile),
        layout{tile.rows / tile.warpRows / 16,
               tile.columns / tile.warpColumns / kPiece},
        f32(b.getF32Type()), reader(request.operands[1], depth, compute) {}

  LogicalResult build();

private:
  void buildTile(Value row);
  void prepareRows(Value row);
  void prepareWeights();
  /// Starts copies of stage `index` of the contraction into `slot`.
  void copyWeights(Value index, Value slot);
  /// What cannot be copied: reads it, and stores it rounded.
  Values loadWeights(Value index);
  void storeWeights(ValueRange units, Value index, Value slot);
  void copyRows(Value index, Value slot);
  Values loadRows(Value index);
  void storeRows(ValueRange chunks, Value slot);
  struct Loaded {
    Values rows, weights;
  };
  Loaded loadStage(Value index);
  void copyStage(Value index, Value slot);
  void storeStage(const Loaded &loaded, Value index, Value slot);
  Values startRing();
  Value nextStage(Value offset);
  /// The walk by wgmma, and the products of the stage in `slot`.
  Values walkAsync();
  void multiplyAsyncStage(Value slot, MutableArrayRef<Value> sums);
  /// The sums plus the products of the stage in `slot`.
  Values multiply(Value slot, ValueRange sums);
  Values walk();
  void finish(Value row, ValueRange sums);
  void addWarps(Value row, ValueRange sums);
  bool copiesRows() const { return xType == compute; }
  bool copiesWeights() const { return canCopyWeights(request); }
  /// Four words of eight numbers, rounded.
  Value packUnit(ArrayRef<Value> numbers) {
    Value words = b.create<LLVM::PoisonOp>(b.vectorOf(b.getI32Type(), 4));
    for (int64_t i = 0; i < 4; ++i)
      words = b.create<LLVM::InsertElementOp>(
          words, packPair(b, numbers[2 * i], numbers[2 * i + 1], compute),
          b.i32(i));
    return words;
  }
  Value both(Value x, Value y) { return b.create<arith::AndIOp>(x, y); }
  Value bytesFrom(Value pointer, Value offset) {
    return b.element(pointer, offset, b.getI8Type());
  }
  /// Where chunk `chunk` of row `row` of x lies in a stage: rows that are read
  /// together lie in different banks.
  Value placeOf(Value row, Value chunk) {
    int64_t chunks = tile.depth / 8;
    Value turn = chunks >= 8 ? b.rem(row, 8) : b.rem(b.div(row, 2), 4);
    Value turned = b.create<arith::XOrIOp>(chunk, turn);
    return b.add(b.mul(row, tile.depth * 2), b.mul(turned, 16));
  }

  const MmaTile &tile;
  const WarpSums layout;
  Type f32;
  WeightReader reader;
  Value thread, lane, warp, rows, shared;
  /// Columns of out: the first of the tile, and the end of those that it may
  /// have. The first element of x that they need.
  Value firstColumn, endColumn, firstIndex;
  /// What decoding weights looks up.
  Value table;
  /// What this thread copies of each stage, 16 bytes of shared memory each.
  struct Chunk {
    /// Where it begins and, in the first stage, its contraction index.
    Value from, index;
    Value isThere;
    Value to;
    /// Of weights that are not copied, in place of `from`.
    Value matrix = {}, column = {};
  };
  SmallVector<Chunk> rowChunks, weightChunks;
};

} // namespace

//===----------------------------------------------------------------------===//
// Copies
//===----------------------------------------------------------------------===//

void MmaGemm::prepareRows(Value row) {
  int64_t perRow = tile.depth / 8;
  for (int64_t i = 0; i < tile.rows * perRow; i += tile.getThreads()) {
    Value number = b.add(thread, i);
    Value inTile = b.div(number, perRow), chunk = b.rem(number, perRow);
    Chunk result;
    result.isThere = b.lessThan(inTile, rows);
    // What is not there is not read, or read from the tile's first row.
    Value source = b.add(row, b.select(result.isThere, inTile, b.i64(0)));
    if (gather)
      source = b.widen(b.load(gather, source, b.getI32Type()));
    result.index = b.mul(chunk, 8);
    result.from = b.element(rowPointer(b, request, arguments, 0, source),
                            b.add(firstIndex, result.index), xType);
    result.to = placeOf(inTile, chunk);
    rowChunks.push_back(result);
  }
}

void MmaGemm::prepareWeights() {
  int64_t perWeight = tile.columns * tile.depth / kUnitIndices;
  for (int64_t i = 0; i < numWeights * perWeight; i += tile.getThreads()) {
    int64_t weight = i / perWeight;
    Value number = b.add(thread, i - weight * perWeight);
    Value unit = b.div(number, tile.columns);
    Value column = b.add(firstColumn, b.rem(number, tile.columns));
    Chunk result;
    result.isThere = b.lessThan(column, endColumn);
    result.index = b.mul(unit, kUnitIndices);
    if (copiesWeights()) {
      Value place = b.add(
          b.mul(b.div(column, kBlockColumns), depth / kUnitIndices), unit);
      place = b.add(b.mul(place, kBlockColumns), b.rem(column, kBlockColumns));
      result.from = bytesFrom(matrices[weight], b.mul(place, 16));
    } else {
      result.matrix = matrices[weight];
      // What is not there is read from the first column.
      result.column = b.select(result.isThere, column, b.i64(0));
    }
    result.to = b.add(b.mul(number, 16),
                      tile.getRowBytes() + weight * tile.getWeightBytes());
    weightChunks.push_back(result);
  }
}

void MmaGemm::copyWeights(Value index, Value slot) {
  for (const Chunk &chunk : weightChunks) {
    Value isThere = both(chunk.isThere,
                         b.lessThan(b.add(index, chunk.index), b.i64(depth)));
    copyAsync(b, bytesFrom(slot, chunk.to),
              bytesFrom(chunk.from, b.mul(index, kBlockColumns * 2)), isThere);
  }
}

CodeBuilder::Values MmaGemm::loadWeights(Value index) {
  Values values;
  for (const Chunk &chunk : weightChunks) {
    Value place = b.add(index, chunk.index);
    place = b.select(b.lessThan(place, b.i64(depth)), place, b.i64(0));
    values.append(reader.loadUnit(b, chunk.matrix, chunk.column, place));
  }
  return values;
}

void MmaGemm::storeWeights(ValueRange units, Value index, Value slot) {
  size_t count = units.size() / weightChunks.size();
  Value zero = b.constant(b.vectorOf(b.getI32Type(), 4), 0);
  for (auto [i, chunk] : llvm::enumerate(weightChunks)) {
    Values numbers = reader.decodeUnit(b, units.slice(i * count, count), table);
    Value isThere = both(chunk.isThere,
                         b.lessThan(b.add(index, chunk.index), b.i64(depth)));
    storeWide(b, b.select(isThere, packUnit(numbers), zero),
              bytesFrom(slot, chunk.to));
  }
}

void MmaGemm::copyRows(Value index, Value slot) {
  for (const Chunk &chunk : rowChunks) {
    Value isThere = both(chunk.isThere,
                         b.lessThan(b.add(index, chunk.index), b.i64(depth)));
    copyAsync(b, bytesFrom(slot, chunk.to), b.element(chunk.from, index, xType),
              isThere);
  }
}

/// Of each chunk eight f32 as two vectors.
CodeBuilder::Values MmaGemm::loadRows(Value index) {
  Values values;
  Value zero = b.constant(b.vectorOf(f32, 4), 0.0);
  for (const Chunk &chunk : rowChunks) {
    Value isInside = b.lessThan(b.add(index, chunk.index), b.i64(depth));
    Value from =
        b.element(chunk.from, b.select(isInside, index, b.i64(0)), f32);
    // The first stage may be longer than a row.
    Value isThere = both(chunk.isThere, isInside);
    if (tile.depth > depth)
      from = b.select(b.lessThan(chunk.index, b.i64(depth)), from,
                      arguments.pointers[0]);
    for (int64_t half : {0, 1}) {
      Value x = loadWide(b, b.field(from, half * 16), f32, 4);
      values.push_back(b.select(isThere, x, zero));
    }
  }
  return values;
}

void MmaGemm::storeRows(ValueRange values, Value slot) {
  for (auto [i, chunk] : llvm::enumerate(rowChunks)) {
    Values numbers;
    for (int64_t j = 0; j < 8; ++j)
      numbers.push_back(b.extract(values[2 * i + j / 4], j % 4));
    storeWide(b, packUnit(numbers), bytesFrom(slot, chunk.to));
  }
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

CodeBuilder::Values MmaGemm::multiply(Value slot, ValueRange sums) {
  Values next(sums.begin(), sums.end());
  Value warpRow = b.rem(warp, tile.warpRows);
  Value warpColumn = b.rem(b.div(warp, tile.warpRows), tile.warpColumns);
  Value warpDepth = b.div(warp, tile.warpRows * tile.warpColumns);
  int64_t share = tile.depth / tile.warpDepth;
  Value firstRow = b.add(b.mul(warpRow, layout.rowTiles * 16), b.rem(lane, 16));
  // Matrices: columns 0 .. 7 by indices 0 .. 7 and 8 .. 15, then columns 8
  // .. 15.
  Value column = b.add(b.mul(warpColumn, layout.pieces * kPiece),
                       b.add(b.mul(b.div(lane, 16), 8), b.rem(lane, 8)));
  Value unit =
      b.add(b.mul(warpDepth, share / kUnitIndices), b.rem(b.div(lane, 8), 2));
  Value weightBase =
      bytesFrom(slot, b.mul(b.add(b.mul(unit, tile.columns), column), 16));
  for (int64_t k = 0; k < share; k += kIndices) {
    SmallVector<Values> a;
    Value chunk = b.add(b.mul(warpDepth, share / kUnitIndices),
                        b.add(b.div(lane, 16), k / kUnitIndices));
    for (int64_t m = 0; m < layout.rowTiles; ++m)
      a.push_back(loadMatrices(
          b, bytesFrom(slot, placeOf(b.add(firstRow, m * 16), chunk))));
    for (int64_t w = 0; w < numWeights; ++w)
      for (int64_t n = 0; n < layout.pieces; n += 2) {
        int64_t offset = tile.getRowBytes() + w * tile.getWeightBytes() +
                         (k / kUnitIndices * tile.columns + n * kPiece) * 16;
        Values right = loadMatrices(b, b.field(weightBase, offset));
        for (int64_t half : {0, 1})
          for (int64_t m = 0; m < layout.rowTiles; ++m) {
            auto *sum = next.begin() + layout.getPlace(w, m, n + half);
            Values result = multiplyTiles(
                b, a[m], ValueRange(ArrayRef(right).slice(half * 2, 2)),
                ValueRange(ArrayRef(sum, 4)), compute);
            std::copy(result.begin(), result.end(), sum);
          }
      }
  }
  return next;
}

/// Products that are still on their way when this returns.
void MmaGemm::multiplyAsyncStage(Value slot, MutableArrayRef<Value> sums) {
  Value group = b.div(warp, 4);
  int64_t rowBytes = tile.depth * 2;
  Value left = describeMatrix(b, bytesFrom(slot, b.mul(group, 64 * rowBytes)),
                              {0, 8 * rowBytes, /*isSwizzled=*/true});
  SmallVector<Value> right;
  for (int64_t w = 0; w < numWeights; ++w)
    right.push_back(describeMatrix(
        b, b.field(slot, tile.getRowBytes() + w * tile.getWeightBytes()),
        {tile.columns * 16, kPiece * 16, /*isSwizzled=*/false}));
  beginProducts(b);
  for (int64_t k = 0; k < tile.depth; k += kIndices)
    for (int64_t w = 0; w < numWeights; ++w)
      sums[w] = multiplyAsync(
          b, sums[w], b.add(left, k * 2 / 16),
          b.add(right[w], k / kUnitIndices * tile.columns * 16 / 16),
          tile.columns, compute);
  commitProducts(b);
}

/// What of the stage from `index` on is not copied, in registers.
MmaGemm::Loaded MmaGemm::loadStage(Value index) {
  Loaded loaded;
  if (!copiesRows())
    loaded.rows = loadRows(index);
  if (!copiesWeights())
    loaded.weights = loadWeights(index);
  return loaded;
}

/// Starts the copies of a stage.
void MmaGemm::copyStage(Value index, Value slot) {
  if (copiesWeights())
    copyWeights(index, slot);
  if (copiesRows())
    copyRows(index, slot);
  commitCopies(b);
}

void MmaGemm::storeStage(const Loaded &loaded, Value index, Value slot) {
  if (!copiesRows())
    storeRows(loaded.rows, slot);
  if (!copiesWeights())
    storeWeights(loaded.weights, index, slot);
}

/// Fills all stages but one. Returns the offsets of the stage that is
/// multiplied first and of the one that is filled meanwhile.
CodeBuilder::Values MmaGemm::startRing() {
  int64_t stageBytes = tile.getStageBytes(numWeights);
  int64_t ahead = tile.stages - 1;
  auto fill = [&](Value s) {
    Value index = b.mul(s, tile.depth);
    Value slot = bytesFrom(shared, b.mul(s, stageBytes));
    copyStage(index, slot);
    storeStage(loadStage(index), index, slot);
  };
  // Decoding is much code, and nothing to keep several times in flight.
  if (!copiesWeights())
    b.loop(b.i64(0), b.i64(ahead), 1, fill);
  else
    for (int64_t s = 0; s < ahead; ++s)
      fill(b.i64(s));
  return {b.i64(0), b.i64(ahead * stageBytes)};
}

/// The offset of the stage after the one at `offset`.
Value MmaGemm::nextStage(Value offset) {
  int64_t stageBytes = tile.getStageBytes(numWeights);
  Value next = b.add(offset, stageBytes);
  Value end = b.i64(tile.stages * stageBytes);
  return b.select(b.compare(arith::CmpIPredicate::eq, next, end), b.i64(0),
                  next);
}

CodeBuilder::Values MmaGemm::walkAsync() {
  int64_t ahead = tile.stages - 1;
  Values init = startRing();
  init.append(numWeights, zeroSums(b, tile.columns));
  Values results =
      b.loop(b.i64(0), b.i64(depth), b.i64(tile.depth), init,
             [&](Value index, ValueRange carried) -> Values {
               // On their way while products are waited for.
               Value later = b.add(index, ahead * tile.depth);
               Loaded loaded = loadStage(later);
               // The products of the stage before have been made, by all warps
               // after the barrier: it may be filled again.
               Values next = {nextStage(carried[0]), nextStage(carried[1])};
               for (Value sums : carried.drop_front(2))
                 next.push_back(waitSums(b, sums));
               waitCopies(b, ahead - 1);
               fenceShared(b);
               syncBlock(b);
               multiplyAsyncStage(bytesFrom(shared, carried[0]),
                                  MutableArrayRef(next).drop_front(2));
               Value filled = bytesFrom(shared, carried[1]);
               copyStage(later, filled);
               storeStage(loaded, later, filled);
               return next;
             });
  Values sums;
  for (Value part : ArrayRef(results).drop_front(2))
    sums.append(unpackStruct(b, waitSums(b, part)));
  waitCopies(b, 0);
  return sums;
}

/// Walks the contraction index; the sums of this warp.
CodeBuilder::Values MmaGemm::walk() {
  int64_t ahead = tile.stages - 1;
  Values init = startRing();
  init.append(numWeights * layout.rowTiles * layout.pieces * 4,
              b.constant(f32, 0.0));
  Values results = b.loop(b.i64(0), b.i64(depth), b.i64(tile.depth), init,
                          [&](Value index, ValueRange carried) -> Values {
                            // The stage is there, and nobody reads the one to
                            // be filled any more.
                            waitCopies(b, ahead - 1);
                            syncBlock(b);
                            Value slot = bytesFrom(shared, carried[0]);
                            Value filled = bytesFrom(shared, carried[1]);
                            Value later = b.add(index, ahead * tile.depth);
                            copyStage(later, filled);
                            Loaded loaded = loadStage(later);
                            Values next = multiply(slot, carried.drop_front(2));
                            storeStage(loaded, later, filled);
                            next.insert(next.begin(), {nextStage(carried[0]),
                                                       nextStage(carried[1])});
                            return next;
                          });
  // Copies behind the last index, which wrote zeros.
  waitCopies(b, 0);
  return Values(ArrayRef(results).drop_front(2));
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

void MmaGemm::finish(Value row, ValueRange sums) {
  if (tile.warpDepth > 1)
    return addWarps(row, sums);
  Value warpRow = b.rem(warp, tile.warpRows);
  Value warpColumn = b.div(warp, tile.warpRows);
  Value column = b.add(firstColumn, b.mul(warpColumn, layout.pieces * kPiece));
  storeSums(layout, sums, lane, row, b.mul(warpRow, layout.rowTiles * 16), rows,
            column, endColumn);
}

/// Adds the sums of all warps through shared memory; each stores a part.
void MmaGemm::addWarps(Value row, ValueRange sums) {
  int64_t count = sums.size();
  // The stages are not needed any more.
  syncBlock(b);
  Value mine = b.add(b.mul(warp, count * kWarp), lane);
  for (auto [i, sum] : llvm::enumerate(sums))
    b.store(sum, shared, b.add(mine, i * kWarp));
  syncBlock(b);
  Value g = b.div(lane, 4), t = b.rem(lane, 4);
  // Halves of products go round the warps.
  int64_t runs = layout.rowTiles * layout.pieces * 2, warps = tile.warpDepth;
  b.loop(warp, b.i64(runs), warps, [&](Value run) {
    Value half = b.rem(run, 2), piece = b.rem(b.div(run, 2), layout.pieces);
    Value m = b.div(run, 2 * layout.pieces);
    Value inTile = b.add(b.mul(m, 16), b.add(g, b.mul(half, 8)));
    b.ifThen(b.lessThan(inTile, rows), [&] {
      SmallVector<Values> totals(numWeights);
      for (int64_t w = 0; w < numWeights; ++w)
        for (int64_t i : {0, 1}) {
          // WarpSums::getPlace() of values that are known at run time only.
          Value place = b.add(b.mul(m, layout.pieces), piece);
          place = b.add(b.mul(place, 4), layout.getPlace(w, 0, 0) + i);
          place = b.add(place, b.mul(half, 2));
          place = b.add(b.mul(place, kWarp), lane);
          Value total = b.load(shared, place, f32);
          for (int64_t other = 1; other < warps; ++other)
            total = b.create<arith::AddFOp>(
                total,
                b.load(shared, b.add(place, other * count * kWarp), f32));
          totals[w].push_back(total);
        }
      Value column = b.add(firstColumn, b.mul(piece, kPiece));
      storePair(b.add(row, inTile), b.add(column, b.mul(t, 2)), totals,
                endColumn);
    });
  });
}

//===----------------------------------------------------------------------===//
// The kernel
//===----------------------------------------------------------------------===//

void MmaGemm::buildTile(Value row) {
  prepareRows(row);
  prepareWeights();
  finish(row, tile.isAsync ? walkAsync() : walk());
}

LogicalResult MmaGemm::build() {
  thread = threadId(b);
  lane = laneId(b);
  warp = warpId(b);
  shared = sharedMemory(b);
  Value firstOfHead = b.mul(heads > 1 ? blockId(b, 2) : b.i64(0), width);
  firstColumn = b.add(firstOfHead, b.mul(blockId(b, 1), tile.columns));
  endColumn = b.add(firstOfHead, width);
  firstIndex = b.mul(heads > 1 ? blockId(b, 2) : b.i64(0), depth);
  if (getTableBytes(request)) {
    table = b.field(shared, tile.stages * tile.getStageBytes(numWeights));
    reader.fillTable(b, thread, table);
    syncBlock(b);
  }
  if (!segments) {
    bindWeights(Value());
    Value row = b.mul(blockId(b), tile.rows);
    rows = b.min(b.sub(arguments.rows, row), b.i64(tile.rows));
    buildTile(row);
    return status;
  }
  SegmentTile place =
      findSegmentTile(b, segments, b.i64(experts), tile.rows, blockId(b));
  b.ifThen(place.isThere, [&] {
    bindWeights(place.expert);
    rows = place.rows;
    buildTile(place.row);
  });
  return status;
}

/// What the operation needs that the frame lacks; empty if it has it all.
static StringRef whyNot(const KernelRequest &request) {
  auto op = cast<moex::GroupedGemmOp>(request.op);
  int64_t numWeights = op.getWeights().size();
  Type x = request.operands[0].getElementType();
  Type compute = op.getCompute();
  if (!CodeBuilder::isSmallFloat(compute))
    return "products are neither of bf16 nor of f16";
  if (numWeights > 4)
    return "more than four matrices share an epilogue";
  if (x != compute && !x.isF32())
    return "rows are neither f32 nor of the type of products";
  // Rows are copied 16 bytes at a time.
  if (request.operands[0].getRowElements() / op.getHeads().value_or(1) % 8 != 0)
    return "rows are not a multiple of 8 elements";
  return {};
}

/// The tiles, for ascending numbers of rows per expert (or of all rows).
static SmallVector<MmaTile> getTiles(const GemmShape &shape,
                                     const target::IsaLevel &level,
                                     int64_t tableBytes) {
  int64_t numWeights = shape.numWeights;
  // One dense product has as many blocks as it has tiles along its columns; of
  // experts several work at once.
  bool isWide =
      numWeights == 1 && (shape.experts || shape.width * shape.heads >= 16384);
  int64_t fewColumns = isWide ? 64 : numWeights <= 2 ? 32 : 16;
  MmaTile few = {"few", 16, fewColumns, 128, 5, 1, 1, 4};
  MmaTile some = {"some", 64, 128, 32, 4, 2, 4, 1};
  if (numWeights == 2)
    some = {"some", 64, 64, 32, 4, 4, 2, 1};
  else if (numWeights > 2)
    some = {"some", 64, 32, 64, 3, 4, 2, 1};
  MmaTile many = some;
  many.part = "many";
  many.rows = 128;
  if (level.exact && level.major == 9)
    many = {"wgmma", 128, some.columns, 64, 3, 8, 1, 1, /*isAsync=*/true};
  while (few.stages * few.getStageBytes(numWeights) + tableBytes >
         kMaxSharedBytes)
    --few.stages;
  return {few, some, many};
}

std::optional<Launches> nvptx::mmaGemmLaunches(const KernelRequest &request) {
  auto op = cast<moex::GroupedGemmOp>(request.op);
  if (op.getCompute().isInteger(8))
    return integerGemmLaunches(request);
  if (StringRef reason = whyNot(request); !reason.empty()) {
    // In f32 nothing else was asked for.
    if (!op.getCompute().isF32())
      remarkPlainUnits(request, reason);
    return std::nullopt;
  }
  GemmShape shape(request);
  int64_t tableBytes = getTableBytes(request);
  SmallVector<MmaTile> tiles = getTiles(shape, request.level, tableBytes);
  // What warps with roles take over, they do better but for few rows.
  bool hasRoles = usesWarpRoles(request);
  if (hasRoles)
    tiles.resize(1);
  Launches launches;
  // Up to how many rows per expert a tile is used: a tile that is not full
  // wastes arithmetic, one that is too small reads weights again.
  int64_t low = 0;
  constexpr int64_t kBounds[] = {16, 96, std::numeric_limits<int32_t>::max()};
  for (size_t i = 0; i < tiles.size(); ++i) {
    MmaTile tile = tiles[i];
    RowRange range{low, kBounds[i]};
    DeviceLaunch launch;
    launch.part = tile.part;
    launch.threads = tile.getThreads();
    launch.sharedBytes =
        tile.stages * tile.getStageBytes(shape.numWeights) + tableBytes;
    launch.grid = [=](CodeBuilder &host, Value rows) -> DeviceGrid {
      Value count = countRowTiles(host, rows, shape, tile.rows);
      return {
          host.select(isInRange(host, rows, shape, range), count, host.i64(0)),
          host.i64(llvm::divideCeil(shape.width, tile.columns)),
          host.i64(shape.heads)};
    };
    launch.emit = [=, &request](const KernelArguments &arguments,
                                CodeBuilder &b, KernelModule &) {
      return MmaGemm(request, arguments, b, tile).build();
    };
    launches.push_back(launch);
    low = range.high;
  }
  if (hasRoles)
    launches.append(tcGemmLaunches(request, low));
  return launches;
}
