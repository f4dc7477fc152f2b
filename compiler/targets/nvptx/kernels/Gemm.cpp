//===- Gemm.cpp - Matrix products for any operands ------------------------===//
//
// The product that works for every format, type and shape, on f32 units: tiles
// of 16 rows by 64 columns, staged through shared memory in steps of 32 of the
// contraction index. One ascending chain of fused multiply-adds per output, as
// contract 4.1 says; tensor-core frames take over where they apply.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/nvptx/NvKernels.h"
#include "compiler/targets/nvptx/WeightReader.h"

#include "dialects/moeq/MoeqDialect.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;

namespace {

constexpr int64_t kRows = 16, kColumns = 64, kDepth = 32, kThreads = 256;
/// Rows of a thread: it has one column.
constexpr int64_t kThreadRows = kRows / (kThreads / kColumns);
/// Elements of a staged row; odd, so that columns lie in different banks.
constexpr int64_t kStride = kDepth + 1;

/// Builds one kernel of `moex.grouped_gemm`.
class GemmBuilder {
public:
  GemmBuilder(const KernelRequest &request, const KernelArguments &arguments,
              CodeBuilder &b)
      : request(request), arguments(arguments), b(b),
        op(cast<moex::GroupedGemmOp>(request.op)), compute(op.getCompute()),
        isInteger(compute.isInteger(8)), depth(getDepth(op)),
        width(cast<MemRefType>(op.getOut().getType()).getDimSize(1)),
        numWeights(op.getWeights().size()),
        reader(request.operands[1], depth, compute) {}

  static int64_t getDepth(moex::GroupedGemmOp op) {
    return cast<MemRefType>(op.getX().getType()).getDimSize(1) /
           op.getHeads().value_or(1);
  }
  static int64_t getSharedBytes(moex::GroupedGemmOp op) {
    int64_t weights = op.getWeights().size();
    return (kRows + weights * kColumns) * kStride * 4 + kRows * 8;
  }

  LogicalResult buildTiles();
  LogicalResult buildHeads();

private:
  void buildTile(Value row, Value rows);
  void stageRows(Value row, Value rows, Value start);
  void stageWeights(Value start);
  void roundGroup(Value row, Value rows, Value start);
  CodeBuilder::Values multiply(ValueRange sums);
  Value loadX(Value row, Value column);
  void finish(Value row, Value column, ArrayRef<Value> sums);
  Value rounded(Value x) { return b.roundTo(x, compute); }

  const KernelRequest &request;
  const KernelArguments &arguments;
  CodeBuilder &b;
  moex::GroupedGemmOp op;
  Type compute;
  bool isInteger;
  int64_t depth, width, numWeights;
  WeightReader reader;
  /// The matrices, biases of the present expert.
  SmallVector<Value> matrices, biases;
  Value gather, segments;
  Value thread, firstColumn;
  /// Shared memory: rows of x, rows of each weight, and of x's rows the factor
  /// of rounding to integers and the scale.
  Value stagedX, stagedScales;
  SmallVector<Value> stagedWeights;
  LogicalResult status = success();
};

} // namespace

/// Operands in order: x, weights, biases, then those that are there.
static std::pair<Value, Value> findIndices(moex::GroupedGemmOp op,
                                           const KernelArguments &arguments) {
  unsigned next = 1 + op.getWeights().size() + op.getBiases().size();
  Value gather = op.getGather() ? arguments.pointers[next++] : Value();
  Value segments = op.getSegments() ? arguments.pointers[next++] : Value();
  return {gather, segments};
}

//===----------------------------------------------------------------------===//
// Segments
//===----------------------------------------------------------------------===//

SegmentTile nvptx::findSegmentTile(CodeBuilder &b, Value segments, Value count,
                                   int64_t tileRows, Value tile,
                                   int64_t fewRows, Value mostRows) {
  Type i32 = b.getI32Type();
  Value lane = laneId(b);
  Value wanted = b.create<arith::TruncIOp>(i32, tile);
  Value zero = b.i32(0);
  // A warp looks at 32 segments at a time. At most one lane finds the tile in
  // its segment; then the sum over the lanes is what it found.
  CodeBuilder::Values found = b.loop(
      b.i64(0), count, b.i64(kWarp), ValueRange{zero, zero, zero, zero},
      [&](Value base, ValueRange carried) -> CodeBuilder::Values {
        Value expert = b.add(base, lane);
        Value isThere = b.lessThan(expert, count);
        Value safe = b.min(expert, b.sub(count, b.i64(1)));
        Value low = b.load(segments, safe, i32);
        Value high = b.load(segments, b.add(safe, 1), i32);
        Value rows = b.select(isThere, b.sub(high, low), zero);
        if (fewRows)
          rows = b.select(b.lessThan(b.i32(fewRows), rows), rows, zero);
        if (mostRows)
          rows = b.select(b.lessThan(mostRows, rows), zero, rows);
        Value tiles = b.div(b.add(rows, b.i32(tileRows - 1)), b.i32(tileRows));
        Value end = tiles;
        for (int64_t delta = 1; delta < kWarp; delta *= 2) {
          Value other = shuffleUp(b, end, delta);
          Value isAbove =
              b.compare(arith::CmpIPredicate::sge, lane, b.i64(delta));
          end = b.add(end, b.select(isAbove, other, zero));
        }
        Value start = b.add(carried[0], b.sub(end, tiles));
        Value isMine = b.create<arith::AndIOp>(
            b.compare(arith::CmpIPredicate::sge, wanted, start),
            b.lessThan(wanted, b.add(start, tiles)));
        Value row = b.add(low, b.mul(b.sub(wanted, start), b.i32(tileRows)));
        Value left = b.sub(high, row);
        Value number = b.create<arith::TruncIOp>(i32, b.add(expert, 1));
        SmallVector<Value> values = {number, row, left};
        CodeBuilder::Values next = {
            b.add(carried[0], shuffleFrom(b, end, b.i32(kWarp - 1)))};
        for (auto [i, value] : llvm::enumerate(values)) {
          Value sum = b.select(isMine, value, zero);
          for (int64_t mask = kWarp / 2; mask > 0; mask /= 2)
            sum = b.add(sum, shuffleXor(b, sum, mask));
          next.push_back(b.add(carried[1 + i], sum));
        }
        return next;
      });
  SegmentTile result;
  result.isThere = b.compare(arith::CmpIPredicate::sgt, found[1], zero);
  result.expert = b.widen(b.sub(found[1], b.i32(1)));
  result.row = b.widen(found[2]);
  result.rows = b.min(b.widen(found[3]), b.i64(tileRows));
  return result;
}

Value nvptx::countSegmentTiles(CodeBuilder &host, Value rows, int64_t experts,
                               int64_t tileRows) {
  // Each segment may end in a tile that is not full.
  return host.add(host.div(rows, tileRows), host.min(rows, host.i64(experts)));
}

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

LogicalResult GemmBuilder::buildTiles() {
  thread = threadId(b);
  std::tie(gather, segments) = findIndices(op, arguments);
  firstColumn = b.mul(blockId(b, 1), kColumns);
  Value shared = sharedMemory(b);
  stagedX = shared;
  int64_t used = kRows * kStride * 4;
  for (int64_t i = 0; i < numWeights; ++i, used += kColumns * kStride * 4)
    stagedWeights.push_back(b.field(shared, used));
  stagedScales = b.field(shared, used);

  Value tile = blockId(b, 0);
  if (!segments) {
    for (int64_t i = 0; i < numWeights; ++i)
      matrices.push_back(arguments.pointers[1 + i]);
    for (size_t i = 0; i < op.getBiases().size(); ++i)
      biases.push_back(arguments.pointers[1 + numWeights + i]);
    Value row = b.mul(tile, kRows);
    buildTile(row, b.min(b.sub(arguments.rows, row), b.i64(kRows)));
    return status;
  }
  int64_t experts = request.operands[1].type.getDimSize(0);
  SegmentTile place = findSegmentTile(b, segments, b.i64(experts), kRows, tile);
  b.ifThen(place.isThere, [&] {
    for (int64_t i = 0; i < numWeights; ++i)
      matrices.push_back(
          asGlobal(b, expertPointer(b, arguments, 1 + i, place.expert)));
    for (size_t i = 0; i < op.getBiases().size(); ++i)
      biases.push_back(asGlobal(
          b, expertPointer(b, arguments, 1 + numWeights + i, place.expert)));
    buildTile(place.row, place.rows);
  });
  return status;
}

void GemmBuilder::buildTile(Value row, Value rows) {
  CodeBuilder::Values sums(numWeights * kThreadRows,
                           b.constant(b.getF32Type(), 0.0));
  if (!isInteger) {
    sums = b.loop(b.i64(0), b.i64(depth), b.i64(kDepth), sums,
                  [&](Value start, ValueRange carried) {
                    syncBlock(b);
                    stageRows(row, rows, start);
                    stageWeights(start);
                    syncBlock(b);
                    return multiply(carried);
                  });
  } else {
    // Products of a group are summed by themselves, then scaled.
    int64_t group = reader.getGroup();
    Value zero = b.constant(b.getF32Type(), 0.0);
    sums =
        b.loop(b.i64(0), b.i64(depth), b.i64(group), sums,
               [&](Value start, ValueRange totals) -> CodeBuilder::Values {
                 roundGroup(row, rows, start);
                 CodeBuilder::Values inner(totals.size(), zero);
                 inner = b.loop(b.i64(0), b.i64(group), b.i64(kDepth), inner,
                                [&](Value offset, ValueRange carried) {
                                  Value place = b.add(start, offset);
                                  syncBlock(b);
                                  stageRows(row, rows, place);
                                  stageWeights(place);
                                  syncBlock(b);
                                  return multiply(carried);
                                });
                 Value column = b.add(firstColumn, b.rem(thread, kColumns));
                 Value firstRow = b.mul(b.div(thread, kColumns), kThreadRows);
                 CodeBuilder::Values next;
                 for (int64_t i = 0; i < numWeights; ++i) {
                   Value weightScale = reader.loadScale(
                       b, matrices[i], b.min(column, b.i64(width - 1)), start);
                   for (int64_t r = 0; r < kThreadRows; ++r) {
                     Value scale = b.load(
                         stagedScales, b.add(b.mul(b.add(firstRow, r), 2), 1),
                         b.getF32Type());
                     int64_t index = i * kThreadRows + r;
                     Value both = b.create<arith::MulFOp>(weightScale, scale);
                     next.push_back(b.mulAdd(inner[index], both, totals[index],
                                             /*fused=*/true));
                   }
                 }
                 // Scales are overwritten by the next group.
                 syncBlock(b);
                 return next;
               });
  }
  Value column = b.add(firstColumn, b.rem(thread, kColumns));
  Value firstRow = b.mul(b.div(thread, kColumns), kThreadRows);
  b.ifThen(b.lessThan(column, b.i64(width)), [&] {
    for (int64_t r = 0; r < kThreadRows; ++r) {
      Value inTile = b.add(firstRow, r);
      b.ifThen(b.lessThan(inTile, rows), [&] {
        SmallVector<Value> values;
        for (int64_t i = 0; i < numWeights; ++i)
          values.push_back(sums[i * kThreadRows + r]);
        finish(b.add(row, inTile), column, values);
      });
    }
  });
}

Value GemmBuilder::loadX(Value row, Value column) {
  if (gather)
    row = b.widen(b.load(gather, row, b.getI32Type()));
  Value pointer = rowPointer(b, request, arguments, 0, row);
  return b.toF32(b.load(pointer, column, request.operands[0].getElementType()));
}

/// The factor by which elements of a group become integers, and their scale,
/// per row of the tile: as compiler/targets/generic/GroupTile.cpp.
void GemmBuilder::roundGroup(Value row, Value rows, Value start) {
  Type f32 = b.getF32Type();
  Value lane = laneId(b), zero = b.constant(f32, 0.0);
  constexpr int64_t warps = kThreads / kWarp;
  Value end = b.min(b.add(start, reader.getGroup()), b.i64(depth));
  b.loop(warpId(b), b.i64(kRows), warps, [&](Value r) {
    Value isThere = b.lessThan(r, rows);
    Value safe = b.add(row, b.select(isThere, r, b.i64(0)));
    Value largest =
        b.loop(b.add(start, lane), end, b.i64(kWarp), ValueRange{zero},
               [&](Value column, ValueRange carried) -> CodeBuilder::Values {
                 Value x = b.create<math::AbsFOp>(loadX(safe, column));
                 return {b.create<arith::MaximumFOp>(carried[0], x)};
               })[0];
    for (int64_t mask = kWarp / 2; mask > 0; mask /= 2)
      largest =
          b.create<arith::MaximumFOp>(largest, shuffleXor(b, largest, mask));
    Value range = b.constant(f32, 127.0);
    Value scale = b.create<arith::DivFOp>(largest, range);
    Value isZero =
        b.create<arith::CmpFOp>(arith::CmpFPredicate::OEQ, largest, zero);
    Value inverse = b.select(
        isZero, zero, b.create<arith::DivFOp>(range, largest).getResult());
    b.ifThen(b.compare(arith::CmpIPredicate::eq, lane, b.i64(0)), [&] {
      b.store(inverse, stagedScales, b.mul(r, 2));
      b.store(scale, stagedScales, b.add(b.mul(r, 2), 1));
    });
  });
  syncBlock(b);
}

void GemmBuilder::stageRows(Value row, Value rows, Value start) {
  Value zero = b.constant(b.getF32Type(), 0.0);
  b.loop(thread, b.i64(kRows * kDepth), kThreads, [&](Value i) {
    Value r = b.div(i, kDepth), k = b.rem(i, kDepth);
    Value column = b.add(start, k);
    Value isThere = b.create<arith::AndIOp>(b.lessThan(r, rows),
                                            b.lessThan(column, b.i64(depth)));
    Value x = b.choose(
        isThere,
        [&]() -> CodeBuilder::Values {
          Value value = loadX(b.add(row, r), column);
          if (!isInteger)
            return {rounded(value)};
          Value factor = b.load(stagedScales, b.mul(r, 2), b.getF32Type());
          value = b.create<arith::MulFOp>(value, factor);
          // Adding 1.5 * 2^23 and taking it away rounds to nearest even.
          Value shift = b.constant(b.getF32Type(), 12582912.0);
          value = b.create<arith::SubFOp>(b.create<arith::AddFOp>(value, shift),
                                          shift);
          Value isNumber =
              b.create<arith::CmpFOp>(arith::CmpFPredicate::ORD, value, value);
          return {b.select(isNumber, value, zero)};
        },
        [&]() -> CodeBuilder::Values { return {zero}; })[0];
    b.store(x, stagedX, b.add(b.mul(r, kStride), k));
  });
}

void GemmBuilder::stageWeights(Value start) {
  Value zero = b.constant(b.getF32Type(), 0.0);
  for (int64_t w = 0; w < numWeights; ++w)
    b.loop(thread, b.i64(kColumns * kDepth), kThreads, [&](Value i) {
      // Neighbouring threads read neighbouring codes.
      auto [c, k] = reader.spread(b, i, kColumns, kDepth);
      Value column = b.add(firstColumn, c), place = b.add(start, k);
      Value isThere = b.create<arith::AndIOp>(b.lessThan(column, b.i64(width)),
                                              b.lessThan(place, b.i64(depth)));
      Value x = b.choose(
          isThere,
          [&]() -> CodeBuilder::Values {
            return {reader.load(b, matrices[w], column, place)};
          },
          [&]() -> CodeBuilder::Values { return {zero}; })[0];
      b.store(x, stagedWeights[w], b.add(b.mul(c, kStride), k));
    });
}

CodeBuilder::Values GemmBuilder::multiply(ValueRange sums) {
  Value column = b.rem(thread, kColumns);
  Value firstRow = b.mul(b.div(thread, kColumns), kThreadRows);
  Type f32 = b.getF32Type();
  return b.loop(
      b.i64(0), b.i64(kDepth), b.i64(1), sums,
      [&](Value k, ValueRange carried) {
        SmallVector<Value> xs;
        for (int64_t r = 0; r < kThreadRows; ++r)
          xs.push_back(b.load(
              stagedX, b.add(b.mul(b.add(firstRow, r), kStride), k), f32));
        CodeBuilder::Values next;
        for (int64_t w = 0; w < numWeights; ++w) {
          Value weight =
              b.load(stagedWeights[w], b.add(b.mul(column, kStride), k), f32);
          for (int64_t r = 0; r < kThreadRows; ++r)
            next.push_back(b.mulAdd(xs[r], weight, carried[w * kThreadRows + r],
                                    /*fused=*/true));
        }
        return next;
      });
}

void GemmBuilder::finish(Value row, Value column, ArrayRef<Value> sums) {
  FailureOr<Value> result = buildEpilogue(b, op, request, sums, biases, column);
  if (failed(result)) {
    status = failure();
    return;
  }
  unsigned out = request.op->getNumOperands() - 1;
  Value rounded = b.fromF32(*result, request.operands[out].getElementType());
  b.store(rounded, rowPointer(b, request, arguments, out, row), column);
}

FailureOr<Value> nvptx::buildEpilogue(CodeBuilder &b, moex::GroupedGemmOp op,
                                      const KernelRequest &request,
                                      ArrayRef<Value> sums,
                                      ArrayRef<Value> biases, Value column) {
  SmallVector<Value> values(sums);
  for (auto [i, bias] : llvm::enumerate(biases)) {
    Type type = request.operands[1 + sums.size() + i].getElementType();
    values[i] =
        b.create<arith::AddFOp>(values[i], b.toF32(b.load(bias, column, type)));
  }
  Value result = values[0];
  if (!op.getEpilogue().empty()) {
    FailureOr<CodeBuilder::Values> results =
        b.vectorize(op.getEpilogue().front(), values, /*lanes=*/1,
                    [](Value) { return Value(); });
    if (failed(results))
      return failure();
    result = results->front();
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Heads
//===----------------------------------------------------------------------===//

/// A product of each head by itself: one output per thread.
LogicalResult GemmBuilder::buildHeads() {
  thread = threadId(b);
  int64_t heads = *op.getHeads(), headWidth = width / heads;
  Value index = b.add(b.mul(blockId(b), kThreads), thread);
  Value row = b.div(index, width), column = b.rem(index, width);
  matrices.push_back(arguments.pointers[1]);
  b.ifThen(b.lessThan(row, arguments.rows), [&] {
    Value first = b.mul(b.div(column, headWidth), depth);
    Value sum =
        b.loop(b.i64(0), b.i64(depth), b.i64(1),
               ValueRange{b.constant(b.getF32Type(), 0.0)},
               [&](Value k, ValueRange carried) -> CodeBuilder::Values {
                 Value x = rounded(loadX(row, b.add(first, k)));
                 Value weight = reader.load(b, matrices[0], column, k);
                 return {b.mulAdd(x, weight, carried[0], /*fused=*/true)};
               })[0];
    finish(row, column, sum);
  });
  return status;
}

FailureOr<Launches> nvptx::gemmLaunches(const KernelRequest &request) {
  auto op = cast<moex::GroupedGemmOp>(request.op);
  int64_t numWeights = op.getWeights().size();
  const KernelOperand &first = request.operands[1];
  for (int64_t i = 0; i < numWeights; ++i) {
    if (failed(WeightReader::check(request, 1 + i, op.getCompute())))
      return failure();
    // One reader serves all.
    const KernelOperand &weight = request.operands[1 + i];
    if (weight.getElementType() != first.getElementType() ||
        weight.format != first.format || weight.layout != first.layout)
      return op.emitOpError("expected one format and layout for all weights: "
                            "operand ")
             << 1 + i << " differs from the first";
  }
  if (std::optional<Launches> launches = mmaGemmLaunches(request))
    return *launches;
  int64_t width = cast<MemRefType>(op.getOut().getType()).getDimSize(1);
  DeviceLaunch launch;
  launch.threads = kThreads;
  if (op.getHeads()) {
    launch.grid = [width](CodeBuilder &host, Value rows) {
      return elementGrid(host, rows, width, kThreads);
    };
    launch.emit = [&request](const KernelArguments &arguments, CodeBuilder &b,
                             KernelModule &) {
      return GemmBuilder(request, arguments, b).buildHeads();
    };
    return Launches{launch};
  }
  int64_t experts =
      op.getSegments() ? request.operands[1].type.getDimSize(0) : 0;
  launch.sharedBytes = GemmBuilder::getSharedBytes(op);
  if (launch.sharedBytes > kMaxSharedBytes)
    return op.emitOpError("with ")
           << numWeights << " weights needs " << launch.sharedBytes
           << " bytes of shared memory, more than the " << kMaxSharedBytes
           << " of target 'nvptx'";
  launch.grid = [width, experts](CodeBuilder &host, Value rows) -> DeviceGrid {
    Value tiles = experts ? countSegmentTiles(host, rows, experts, kRows)
                          : ceilDiv(host, rows, kRows);
    return {tiles, host.i64(llvm::divideCeil(width, kColumns)), host.i64(1)};
  };
  launch.emit = [&request](const KernelArguments &arguments, CodeBuilder &b,
                           KernelModule &) {
    return GemmBuilder(request, arguments, b).buildTiles();
  };
  return Launches{launch};
}
