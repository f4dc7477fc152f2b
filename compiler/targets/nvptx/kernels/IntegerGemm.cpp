//===- IntegerGemm.cpp - Matrix products in 8-bit integers ----------------===//
//
// compute = i8: rows are rounded to integers in the groups of the weights,
// whose codes are integers as they stand. mma.sync sums the products of a
// group, which is exact; one chain of fused multiply-adds per output adds the
// groups in ascending order, so bits are those of a processor.
//
// A stage is a few groups: integers of rows and weights, 16 indices to a chunk
// of 16 bytes, and the scales of both. All of it goes through registers: read
// before the products of the stage before, it becomes integers and is stored
// behind them.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/nvptx/NvKernels.h"
#include "compiler/targets/nvptx/TensorCore.h"
#include "compiler/targets/nvptx/WeightReader.h"
#include "compiler/targets/nvptx/kernels/GemmFrame.h"

#include "mlir/Dialect/Math/IR/Math.h"

#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;

namespace {

/// Contraction indices of a product and of 16 bytes, and columns of out.
constexpr int64_t kIndices = 32, kChunk = 16, kPiece = 8;
constexpr int64_t kStages = 2;
/// 1.5 * 2^23: adding it rounds to nearest even and leaves a small integer in
/// the lower bits; as the bits of an f32, adding an integer below 2^22 to it
/// gives those of the sum.
constexpr double kShift = 12582912.0;
constexpr int64_t kShiftBits = 0x4b400000;

/// How a block works.
struct IntegerTile {
  /// For names of kernels.
  const char *part;
  /// Rows, columns of each weight, contraction indices of a stage.
  int64_t rows, columns, depth;
  int64_t warpRows, warpColumns;

  int64_t getThreads() const { return warpRows * warpColumns * kWarp; }
  int64_t getRowBytes() const { return rows * depth; }
  int64_t getWeightBytes() const { return columns * depth; }
  /// Scales follow the integers of rows and of all weights.
  int64_t getScalesPlace(int64_t weights) const {
    return getRowBytes() + weights * getWeightBytes();
  }
  int64_t getStageBytes(int64_t weights, int64_t group) const {
    return getScalesPlace(weights) +
           (rows + weights * columns) * (depth / group) * 4;
  }
};

/// Builds one kernel.
class IntegerGemm : GemmFrame {
public:
  IntegerGemm(const KernelRequest &request, const KernelArguments &arguments,
              CodeBuilder &b, const IntegerTile &tile)
      : GemmFrame(request, arguments, b), tile(tile), f32(b.getF32Type()),
        i32(b.getI32Type()), layout{tile.rows / tile.warpRows / 16,
                                    tile.columns / tile.warpColumns / kPiece},
        reader(request.operands[1], depth, compute), group(reader.getGroup()),
        groups(tile.depth / group) {}

  LogicalResult build();

private:
  void buildTile(Value row);
  void prepare(Value row);
  /// Reads the stage from `index` on, and stores it as integers into `slot`.
  Values load(Value index);
  void store(ArrayRef<Value> loaded, Value slot);
  Values loadRow(Value index, int64_t chunk);
  void storeRow(ArrayRef<Value> loaded, int64_t chunk, Value slot);
  /// The totals plus the products of the stage in `slot`.
  Values multiply(Value slot, ValueRange totals);
  void finish(Value row, ValueRange totals);

  /// Whether rows are read 16 bytes at a time, and loads of 16 elements.
  bool wideRows() const { return depth % 8 == 0; }
  int64_t getRowLoads() const {
    return wideRows() ? CodeBuilder::byteSize(xType) : kChunk;
  }
  Value both(Value x, Value y) { return b.create<arith::AndIOp>(x, y); }
  Value bytesFrom(Value pointer, Value offset) {
    return b.element(pointer, offset, b.getI8Type());
  }
  /// Where chunk `chunk` of row `row` lies in a stage: rows that are read
  /// together lie in different banks.
  Value placeOf(Value row, Value chunk) {
    Value turned = b.create<arith::XOrIOp>(chunk, b.rem(row, 8));
    return b.add(b.mul(row, tile.depth), b.mul(turned, kChunk));
  }
  Value rowScale(Value slot, Value row, int64_t g) {
    Value place = b.add(row, g * tile.rows);
    return b.element(b.field(slot, tile.getScalesPlace(numWeights)), place,
                     f32);
  }
  Value weightScale(Value slot, int64_t weight, Value column, int64_t g) {
    int64_t first = groups * tile.rows + (weight * groups + g) * tile.columns;
    return b.element(b.field(slot, tile.getScalesPlace(numWeights)),
                     b.add(column, first), f32);
  }

  const IntegerTile &tile;
  Type f32, i32;
  const WarpSums layout;
  WeightReader reader;
  /// Indices of a group, and groups of a stage.
  int64_t group, groups;
  Value thread, lane, warp, rows, shared, firstColumn, endColumn, firstIndex;
  /// What this thread fills of each stage.
  struct RowChunk {
    Value from, inTile, chunk, isThere;
  };
  struct WeightChunk {
    int64_t weight;
    Value column, index, to;
  };
  struct WeightScale {
    int64_t weight;
    /// `isMine` is null where all threads have one.
    Value isMine, column, index, place;
  };
  SmallVector<RowChunk> rowChunks;
  SmallVector<WeightChunk> weightChunks;
  SmallVector<WeightScale> weightScales;
};

} // namespace

//===----------------------------------------------------------------------===//
// Filling a stage
//===----------------------------------------------------------------------===//

void IntegerGemm::prepare(Value row) {
  int64_t perRow = tile.depth / kChunk, threads = tile.getThreads();
  for (int64_t i = 0; i < tile.rows * perRow; i += threads) {
    Value number = b.add(thread, i);
    RowChunk result;
    result.inTile = b.div(number, perRow);
    result.chunk = b.rem(number, perRow);
    result.isThere = b.lessThan(result.inTile, rows);
    Value source =
        b.add(row, b.select(result.isThere, result.inTile, b.i64(0)));
    if (gather)
      source = b.widen(b.load(gather, source, i32));
    result.from = b.element(rowPointer(b, request, arguments, 0, source),
                            firstIndex, xType);
    rowChunks.push_back(result);
  }
  // What is not there is read from the first column, and multiplied by zero or
  // not stored.
  auto safeColumn = [&](Value inTile) {
    Value column = b.add(firstColumn, inTile);
    return b.select(b.lessThan(column, endColumn), column, b.i64(0));
  };
  for (int64_t w = 0; w < numWeights; ++w) {
    for (int64_t i = 0; i < tile.columns * perRow; i += threads) {
      Value number = b.add(thread, i);
      WeightChunk result;
      result.weight = w;
      result.column = safeColumn(b.rem(number, tile.columns));
      result.index = b.mul(b.div(number, tile.columns), kChunk);
      result.to = b.add(b.mul(number, kChunk),
                        tile.getRowBytes() + w * tile.getWeightBytes());
      weightChunks.push_back(result);
    }
    int64_t scales = tile.columns * groups;
    for (int64_t i = 0; i < scales; i += threads) {
      Value number = b.add(thread, i);
      WeightScale result;
      result.weight = w;
      if (i + threads > scales) {
        result.isMine = b.lessThan(number, b.i64(scales));
        number = b.select(result.isMine, number, b.i64(0));
      }
      result.column = safeColumn(b.rem(number, tile.columns));
      result.index = b.mul(b.div(number, tile.columns), group);
      result.place = number;
      weightScales.push_back(result);
    }
  }
}

/// 16 elements, zeros where there are none: as vectors of four words, or one by
/// one where rows are not aligned to 16 bytes.
CodeBuilder::Values IntegerGemm::loadRow(Value index, int64_t number) {
  const RowChunk &chunk = rowChunks[number];
  Type type = wideRows() ? Type(b.vectorOf(i32, 4)) : f32;
  Value zero = b.constant(type, 0);
  int64_t step = kChunk / getRowLoads();
  Values loaded;
  for (int64_t i = 0; i < kChunk; i += step) {
    Value place = b.add(b.add(index, b.mul(chunk.chunk, kChunk)), i);
    Value isInside = b.lessThan(place, b.i64(depth));
    Value from =
        b.element(chunk.from, b.select(isInside, place, b.i64(0)), xType);
    Value x =
        wideRows() ? loadWide(b, from, i32, 4) : b.toF32(b.load(from, xType));
    loaded.push_back(b.select(both(isInside, chunk.isThere), x, zero));
  }
  return loaded;
}

/// As compiler/targets/generic/GroupTile.cpp: the largest magnitude of a group
/// becomes 127; what is no number makes the scale one.
void IntegerGemm::storeRow(ArrayRef<Value> loaded, int64_t number, Value slot) {
  const RowChunk &chunk = rowChunks[number];
  Values numbers;
  if (wideRows()) {
    int64_t lanes = kChunk / getRowLoads();
    for (Value words : loaded) {
      Value vector =
          b.toF32(b.create<LLVM::BitcastOp>(b.vectorOf(xType, lanes), words));
      for (int64_t i = 0; i < lanes; ++i)
        numbers.push_back(b.extract(vector, i));
    }
  } else {
    numbers.assign(loaded.begin(), loaded.end());
  }
  Value zero = b.constant(f32, 0.0), range = b.constant(f32, 127.0);
  Value largest = zero;
  for (Value x : numbers)
    largest = b.create<arith::MaximumFOp>(largest, b.create<math::AbsFOp>(x));
  // Neighbouring lanes have the chunks of a group.
  for (int64_t mask = 1; mask < group / kChunk; mask *= 2)
    largest =
        b.create<arith::MaximumFOp>(largest, shuffleXor(b, largest, mask));
  Value scale = b.create<arith::DivFOp>(largest, range);
  Value isZero =
      b.create<arith::CmpFOp>(arith::CmpFPredicate::OEQ, largest, zero);
  Value inverse = b.select(isZero, zero,
                           b.create<arith::DivFOp>(range, largest).getResult());
  Value shift = b.constant(f32, kShift), none = b.i32(0);
  Value packed = b.create<LLVM::PoisonOp>(b.vectorOf(i32, 4));
  for (int64_t i = 0; i < 4; ++i) {
    Value word;
    for (int64_t j = 0; j < 4; ++j) {
      Value x = b.create<arith::MulFOp>(numbers[4 * i + j], inverse);
      Value isNumber = b.create<arith::CmpFOp>(arith::CmpFPredicate::ORD, x, x);
      Value bits = b.create<arith::BitcastOp>(
          i32, b.create<arith::AddFOp>(x, shift).getResult());
      bits = b.select(isNumber, bits, none);
      bits = b.create<arith::AndIOp>(bits, b.i32(255));
      if (j > 0)
        bits = b.create<arith::ShLIOp>(bits, b.i32(8 * j));
      word = word ? b.create<arith::OrIOp>(word, bits).getResult() : bits;
    }
    packed = b.create<LLVM::InsertElementOp>(packed, word, b.i32(i));
  }
  storeWide(b, packed, bytesFrom(slot, placeOf(chunk.inTile, chunk.chunk)));
  int64_t perGroup = group / kChunk;
  Value isFirst = b.compare(arith::CmpIPredicate::eq,
                            b.rem(chunk.chunk, perGroup), b.i64(0));
  b.ifThen(isFirst, [&] {
    Value place =
        b.add(b.mul(b.div(chunk.chunk, perGroup), tile.rows), chunk.inTile);
    b.store(scale, rowScale(slot, place, 0));
  });
}

CodeBuilder::Values IntegerGemm::load(Value index) {
  Values values;
  for (size_t i = 0; i < rowChunks.size(); ++i)
    values.append(loadRow(index, i));
  auto safeIndex = [&](Value inStage) {
    Value place = b.add(index, inStage);
    return b.select(b.lessThan(place, b.i64(depth)), place, b.i64(0));
  };
  for (const WeightChunk &chunk : weightChunks)
    values.append(reader.loadCodes(b, matrices[chunk.weight], chunk.column,
                                   safeIndex(chunk.index)));
  for (const WeightScale &scale : weightScales)
    values.push_back(reader.loadScale(b, matrices[scale.weight], scale.column,
                                      safeIndex(scale.index)));
  return values;
}

void IntegerGemm::store(ArrayRef<Value> loaded, Value slot) {
  size_t perRow = getRowLoads();
  for (size_t i = 0; i < rowChunks.size(); ++i) {
    storeRow(loaded.take_front(perRow), i, slot);
    loaded = loaded.drop_front(perRow);
  }
  size_t perChunk = (loaded.size() - weightScales.size()) / weightChunks.size();
  for (const WeightChunk &chunk : weightChunks) {
    storeWide(b, reader.decodeCodes(b, loaded.take_front(perChunk)),
              bytesFrom(slot, chunk.to));
    loaded = loaded.drop_front(perChunk);
  }
  for (auto [scale, value] : llvm::zip(weightScales, loaded)) {
    auto storeScale = [&, &scale = scale, value = value] {
      b.store(value, weightScale(slot, scale.weight, scale.place, 0));
    };
    if (scale.isMine)
      b.ifThen(scale.isMine, storeScale);
    else
      storeScale();
  }
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

CodeBuilder::Values IntegerGemm::multiply(Value slot, ValueRange totals) {
  Values next(totals.begin(), totals.end());
  Value firstRow = b.mul(b.rem(warp, tile.warpRows), layout.rowTiles * 16);
  Value firstPiece = b.mul(b.div(warp, tile.warpRows), layout.pieces * kPiece);
  Value g = b.div(lane, 4), t = b.rem(lane, 4);
  // Matrices as for bf16: a chunk is a row of one, of 16 integers.
  Value row = b.add(firstRow, b.rem(lane, 16));
  Value column =
      b.add(firstPiece, b.add(b.mul(b.div(lane, 16), 8), b.rem(lane, 8)));
  Value unit = b.rem(b.div(lane, 8), 2);
  Value weightBase =
      bytesFrom(slot, b.mul(b.add(b.mul(unit, tile.columns), column), kChunk));
  Value shift = b.constant(f32, kShift);
  for (int64_t part = 0; part < groups; ++part) {
    SmallVector<SmallVector<Values>> a(layout.rowTiles);
    SmallVector<Value> rowScales;
    for (int64_t m = 0; m < layout.rowTiles; ++m) {
      for (int64_t k = part * group; k < (part + 1) * group; k += kIndices) {
        Value chunk = b.add(b.div(lane, 16), k / kChunk);
        a[m].push_back(loadMatrices(
            b, bytesFrom(slot, placeOf(b.add(row, m * 16), chunk))));
      }
      for (int64_t half : {0, 1})
        rowScales.push_back(b.load(
            rowScale(slot, b.add(b.add(firstRow, g), m * 16 + half * 8), part),
            f32));
    }
    for (int64_t w = 0; w < numWeights; ++w)
      for (int64_t n = 0; n < layout.pieces; n += 2) {
        SmallVector<Values> right;
        for (int64_t k = part * group; k < (part + 1) * group; k += kIndices)
          right.push_back(loadMatrices(
              b,
              b.field(weightBase,
                      tile.getRowBytes() + w * tile.getWeightBytes() +
                          (k / kChunk * tile.columns + n * kPiece) * kChunk)));
        for (int64_t half : {0, 1}) {
          Value place =
              b.add(b.add(firstPiece, b.mul(t, 2)), (n + half) * kPiece);
          Value scales = loadWide(b, weightScale(slot, w, place, part), f32, 2);
          for (int64_t m = 0; m < layout.rowTiles; ++m) {
            Values sums(4, b.i32(kShiftBits));
            for (auto [left, pair] : llvm::zip(a[m], right))
              sums = multiplyIntegers(
                  b, left, ValueRange(ArrayRef(pair).slice(half * 2, 2)), sums);
            for (int64_t i = 0; i < 4; ++i) {
              Value sum = b.create<arith::SubFOp>(
                  b.create<arith::BitcastOp>(f32, sums[i]), shift);
              Value scale = b.create<arith::MulFOp>(b.extract(scales, i % 2),
                                                    rowScales[2 * m + i / 2]);
              Value &total = next[layout.getPlace(w, m, n + half) + i];
              total = b.mulAdd(sum, scale, total, /*fused=*/true);
            }
          }
        }
      }
  }
  return next;
}

void IntegerGemm::finish(Value row, ValueRange totals) {
  Value warpRow = b.rem(warp, tile.warpRows);
  Value column = b.add(
      firstColumn, b.mul(b.div(warp, tile.warpRows), layout.pieces * kPiece));
  storeSums(layout, totals, lane, row, b.mul(warpRow, layout.rowTiles * 16),
            rows, column, endColumn);
}

//===----------------------------------------------------------------------===//
// The kernel
//===----------------------------------------------------------------------===//

void IntegerGemm::buildTile(Value row) {
  prepare(row);
  int64_t stageBytes = tile.getStageBytes(numWeights, group);
  Values init = {b.i64(0), b.i64(stageBytes)};
  init.append(numWeights * layout.rowTiles * layout.pieces * 4,
              b.constant(f32, 0.0));
  store(load(b.i64(0)), shared);
  Values results = b.loop(b.i64(0), b.i64(depth), b.i64(tile.depth), init,
                          [&](Value index, ValueRange carried) -> Values {
                            // The stage is there, and nobody reads the other
                            // one any more.
                            syncBlock(b);
                            Values loaded = load(b.add(index, tile.depth));
                            Values next =
                                multiply(bytesFrom(shared, carried[0]),
                                         carried.drop_front(2));
                            store(loaded, bytesFrom(shared, carried[1]));
                            next.insert(next.begin(), {carried[1], carried[0]});
                            return next;
                          });
  finish(row, ArrayRef(results).drop_front(2));
}

LogicalResult IntegerGemm::build() {
  thread = threadId(b);
  lane = laneId(b);
  warp = warpId(b);
  shared = sharedMemory(b);
  Value head = heads > 1 ? blockId(b, 2) : b.i64(0);
  Value firstOfHead = b.mul(head, width);
  firstColumn = b.add(firstOfHead, b.mul(blockId(b, 1), tile.columns));
  endColumn = b.add(firstOfHead, width);
  firstIndex = b.mul(head, depth);
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
static StringRef whyNot(const GemmShape &shape, int64_t group) {
  if (shape.numWeights > 4)
    return "more than four matrices share an epilogue";
  // A stage is a group at least, and registers hold what is read of one.
  if (shape.numWeights > 2 && group > 128)
    return "more than two matrices in groups of 256 share an epilogue";
  return {};
}

std::optional<Launches>
nvptx::integerGemmLaunches(const KernelRequest &request) {
  GemmShape shape(request);
  int64_t group = request.operands[1].format.getGroupColumns();
  if (StringRef reason = whyNot(shape, group); !reason.empty()) {
    remarkPlainUnits(request, reason);
    return std::nullopt;
  }
  int64_t weights = shape.numWeights;
  // Few rows are a matter of reading weights: narrow tiles, much of them under
  // way.
  bool isWide = weights == 1 && (shape.experts || shape.width >= 16384);
  int64_t warps = isWide ? 4 : weights <= 2 ? 2 : 1;
  int64_t depth = std::max<int64_t>(128, group);
  IntegerTile few = {"few", 16, warps * 16, depth, 1, warps};
  IntegerTile many = {"many", 64, 128, depth, 2, 4};
  if (weights == 2)
    many = {"many", 64, 64, depth, 4, 2};
  else if (weights > 2)
    many = {"many", 64, 32, depth, 4, 2};
  Launches launches;
  int64_t low = 0;
  for (auto [tile, high] : {std::pair<IntegerTile, int64_t>{few, 16},
                            {many, std::numeric_limits<int32_t>::max()}}) {
    RowRange range{low, high};
    low = high;
    DeviceLaunch launch;
    launch.part = tile.part;
    launch.threads = tile.getThreads();
    launch.sharedBytes = kStages * tile.getStageBytes(weights, group);
    assert(launch.sharedBytes <= kMaxSharedBytes);
    launch.grid = [=, tile = tile](CodeBuilder &host,
                                   Value rows) -> DeviceGrid {
      Value count = countRowTiles(host, rows, shape, tile.rows);
      return {
          host.select(isInRange(host, rows, shape, range), count, host.i64(0)),
          host.i64(llvm::divideCeil(shape.width, tile.columns)),
          host.i64(shape.heads)};
    };
    launch.emit = [=, tile = tile, &request](const KernelArguments &arguments,
                                             CodeBuilder &b, KernelModule &) {
      return IntegerGemm(request, arguments, b, tile).build();
    };
    launches.push_back(launch);
  }
  return launches;
}
