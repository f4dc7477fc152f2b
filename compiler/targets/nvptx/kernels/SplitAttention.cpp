//===- SplitAttention.cpp - Few tokens, keys divided among blocks ---------===//
//
// The keys that a tile of `few` sees are divided among as many blocks as keep
// the device busy. Each leaves its maxima, its sums of weights and its weighted
// values, all f32, in scratch; `merge` adds them in ascending order of the
// keys.
//
// How many there are is the host's choice, from sizes that it knows: a graph
// stays valid for them. How many keys a sequence has is known to the device
// alone, which divides these.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/nvptx/TensorCore.h"
#include "compiler/targets/nvptx/kernels/MmaAttention.h"

#include "mlir/Dialect/Math/IR/Math.h"

#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;

/// Blocks that are worth splitting for: two for each of 132 multiprocessors.
/// There are never more splits, in all tiles together.
static constexpr int64_t kMostBlocks = 264;
/// Blocks of keys that a split has at least: with fewer, what it leaves for
/// `merge` would be a good part of what it reads.
static constexpr int64_t kSplitBlocks = 4;

//===----------------------------------------------------------------------===//
// Splits
//===----------------------------------------------------------------------===//

MmaAttention::Splits MmaAttention::countSplits(CodeBuilder &b,
                                               const AttentionShape &shape,
                                               const MmaSizes &sizes,
                                               bool hasMany,
                                               const target::StepSizes &step) {
  Splits result;
  // With `many`, a sequence has one tile; or there are no more tokens than
  // sequences. Otherwise each may end in a tile that is not full.
  if (hasMany) {
    // A sequence of many tokens that is alone leaves nothing to do.
    Value isOther = b.create<arith::AndIOp>(
        b.compare(arith::CmpIPredicate::eq, step.sequences, b.i64(1)),
        b.lessThan(b.i64(sizes.tokens), step.rows));
    result.tiles = b.select(isOther, b.i64(0), step.sequences);
  } else if (sizes.tokens == 1)
    result.tiles = step.rows;
  else
    result.tiles =
        b.add(b.div(step.rows, sizes.tokens), b.min(step.rows, step.sequences));
  result.splits = b.i64(1);
  if (!shape.isPaged)
    return result;
  moex::AttentionOp op = shape.getOp();
  Value pages = step.pages;
  // A window that ends within a block begins within another.
  if (auto window = op.getWindow())
    pages = b.min(pages, b.i64(llvm::divideCeil(*window, kBlockKeys) + 1));
  if (auto chunk = op.getChunk())
    pages = b.min(pages, b.i64(llvm::divideCeil(*chunk, kBlockKeys) + 1));
  Value blocks = b.mul(result.tiles, shape.kvHeads * sizes.parts);
  Value most = b.div(b.i64(kMostBlocks), b.max(blocks, b.i64(1)));
  result.splits = b.max(b.min(most, b.div(pages, kSplitBlocks)), result.splits);
  return result;
}

SegmentTile MmaAttention::findFewTile(bool hasMany) {
  Value most;
  if (hasMany) {
    Value all = b.compare(arith::CmpIPredicate::sle, arguments.rows,
                          frame.getSequences());
    most = b.select(all, b.i32(std::numeric_limits<int32_t>::max()),
                    b.i32(sizes.tokens));
  }
  return findSegmentTile(b, frame.getOffsets(), frame.getSequences(),
                         sizes.tokens, blockId(b), /*fewRows=*/0, most);
}

Value MmaAttention::getSplitBlocks(Value splits) {
  Value blocks = b.sub(ceilDiv(b, high, kBlockKeys), b.div(low, kBlockKeys));
  Value even = b.div(b.sub(b.add(blocks, splits), b.i64(1)), splits);
  return b.max(even, b.i64(kSplitBlocks));
}

Value MmaAttention::getPartial(Value splits, Value split) {
  Value tile = b.add(b.create<arith::MulIOp>(blockId(b), blockCount(b, 1)),
                     blockId(b, 1));
  Value number = b.add(b.create<arith::MulIOp>(tile, splits), split);
  return b.element(asGlobal(b, arguments.scratch),
                   b.mul(number, sizes.getPartialElements()), f32);
}

void MmaAttention::storePartial(const Sums &sums, const Value (&totals)[2],
                                Value to, Value firstColumn) {
  Value column = b.add(firstColumn, b.mul(b.rem(lane, 4), 2));
  Value isFirst =
      b.compare(arith::CmpIPredicate::eq,
                b.add(b.mul(warp, kWarp), b.rem(lane, 4)), b.i64(0));
  for (int64_t half : {0, 1})
    b.ifThen(rows[half].isThere, [&] {
      Value row = b.add(b.div(lane, 4), half * 8);
      Value place = b.add(b.mul(row, sizes.valueColumns), column);
      for (size_t n = 0; n < sums.values.size() / 4; ++n) {
        Value pair = b.create<LLVM::PoisonOp>(b.vectorOf(f32, 2));
        for (int64_t i : {0, 1})
          pair = b.create<LLVM::InsertElementOp>(
              pair, sums.values[n * 4 + half * 2 + i], b.i32(i));
        storeWide(b, pair, b.element(to, b.add(place, n * 8), f32));
      }
      b.ifThen(isFirst, [&] {
        int64_t behind = sizes.rows * sizes.valueColumns;
        b.store(sums.maxima[half], to, b.add(row, behind));
        b.store(totals[half], to, b.add(row, behind + sizes.rows));
      });
    });
}

//===----------------------------------------------------------------------===//
// Few tokens
//===----------------------------------------------------------------------===//

void MmaAttention::buildFew(bool hasMany) {
  start();
  SegmentTile tile = findFewTile(hasMany);
  b.ifThen(tile.isThere, [&] {
    sequence = tile.expert;
    placeTile(tile.row, tile.rows);
    Value splits = blockCount(b, 2), split = blockId(b, 2);
    if (shape.isPaged) {
      Value blocks = getSplitBlocks(splits);
      Value first =
          b.add(b.div(low, kBlockKeys), b.create<arith::MulIOp>(split, blocks));
      low = b.max(low, b.mul(first, kBlockKeys));
      high = b.min(high, b.mul(b.add(first, blocks), kBlockKeys));
    }
    b.ifThen(b.lessThan(low, high), [&] { buildSplit(splits, split); });
  });
}

void MmaAttention::buildSplit(Value splits, Value split) {
  int64_t stages = sizes.stages, stageBytes = sizes.getStageBytes();
  int64_t warpKeys = sizes.stepKeys / kWarps;
  int64_t columns = sizes.valueColumns / kWarps;
  int64_t weightPitch = sizes.getWeightPitch();
  Value weights = b.field(queries, sizes.getQueryBytes());
  Value exchange =
      b.field(weights, sizes.weightParts * sizes.rows * weightPitch);
  Value ring = b.field(queries, sizes.getFixedBytes());
  Value g = b.div(lane, 4), t = b.rem(lane, 4);
  Value key = b.mul(warp, warpKeys), column = b.mul(warp, columns);
  Value isFirst = b.compare(arith::CmpIPredicate::eq, t, b.i64(0));
  // Numbers of the two rows of a lane, per warp.
  auto exchangeAt = [&](Value from, int64_t half) {
    return b.element(exchange,
                     b.add(b.mul(from, sizes.rows), b.add(g, half * 8)), f32);
  };

  startTile(b.i64(0));
  Value firstStep = b.div(low, sizes.stepKeys);
  auto fill = [&](Value slot, Value step) {
    Value to = at(ring, slot);
    copyKeys(to, step);
    if (!sizes.isShared)
      copyValues(b.field(to, sizes.getKeyBytes()), step);
    commitCopies(b);
  };
  for (int64_t s = 0; s + 1 < stages; ++s)
    fill(b.i64(s * stageBytes), b.add(firstStep, s));
  auto advance = [&](Value slot) {
    Value next = b.add(slot, stageBytes);
    return b.select(
        b.compare(arith::CmpIPredicate::eq, next, b.i64(stages * stageBytes)),
        b.i64(0), next);
  };
  Values init = {b.i64(0), b.i64((stages - 1) * stageBytes)};
  Sums begin = startSums(columns / 8);
  // Every warp adds up the weights of its keys, one of all the sink.
  Value isSink =
      b.compare(arith::CmpIPredicate::eq, b.add(warp, split), b.i64(0));
  Value hasSink = b.compare(arith::CmpIPredicate::eq, split, b.i64(0));
  for (int64_t half : {0, 1}) {
    begin.totals[half] =
        b.select(isSink, begin.totals[half], b.constant(f32, 0.0));
    begin.maxima[half] =
        b.select(hasSink, begin.maxima[half],
                 b.constant(f32, -std::numeric_limits<double>::infinity()));
  }
  init.append(begin.pack());
  Values results = b.loop(
      firstStep, ceilDiv(b, high, sizes.stepKeys), b.i64(1), init,
      [&](Value step, ValueRange carried) -> Values {
        Sums sums = Sums::unpack(carried.drop_front(2));
        waitCopies(b, stages - 2);
        syncBlock(b);
        fill(carried[1], b.add(step, stages - 1));
        Value keysAt = at(ring, carried[0]);
        Values scores = multiplyKeys(keysAt, b.i64(0), key, warpKeys);
        Value maxima[2];
        maskScores(scores, b.add(b.mul(step, sizes.stepKeys), key), maxima);
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
        for (int64_t n = 0; n < warpKeys / 8; ++n)
          for (int64_t half : {0, 1}) {
            Value *pair = scores.begin() + n * 4 + half * 2;
            Values parts = splitWeights(pair[0], pair[1]);
            Value place =
                b.add(b.mul(b.add(g, half * 8), weightPitch),
                      b.mul(b.add(key, b.add(b.mul(t, 2), n * 8)), 2));
            for (int64_t part = 0; part < sizes.weightParts; ++part)
              b.store(parts[part], at(weights, b.add(place, part * sizes.rows *
                                                                weightPitch)));
          }
        syncBlock(b);
        Value mine = b.add(b.mul(b.rem(lane, 16), weightPitch),
                           b.mul(b.div(lane, 16), 16));
        auto loadWeights = [&](int64_t key) {
          WeightParts parts;
          for (int64_t part = 0; part < sizes.weightParts; ++part)
            parts.push_back(loadMatrices(
                b, b.field(at(weights, mine),
                           key * 2 + part * sizes.rows * weightPitch)));
          return parts;
        };
        Value valuesAt =
            sizes.isShared ? keysAt : b.field(keysAt, sizes.getKeyBytes());
        addValues(valuesAt, step, loadWeights, b.i64(0), column, columns,
                  sums.values);
        Values next = {advance(carried[0]), advance(carried[1])};
        next.append(sums.pack());
        return next;
      });
  waitCopies(b, 0);
  Sums all = Sums::unpack(ValueRange(results).drop_front(2));
  unscale(all);
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
  if (!shape.isPaged)
    return store(all, totals, column);
  b.ifElse(
      b.lessThan(b.i64(1), splits),
      [&] { storePartial(all, totals, getPartial(splits, split), column); },
      [&] { store(all, totals, column); });
}

//===----------------------------------------------------------------------===//
// Merging splits
//===----------------------------------------------------------------------===//

int64_t MmaAttention::getMergeBytes() {
  // Of each split the factor of its values and its share of the weights.
  return kMostBlocks * 2 * 4;
}

void MmaAttention::buildMerge(bool hasMany) {
  start();
  SegmentTile tile = findFewTile(hasMany);
  b.ifThen(tile.isThere, [&] {
    sequence = tile.expert;
    placeTile(tile.row, tile.rows);
    Value row = blockId(b, 2);
    b.ifThen(b.lessThan(row, rowCount), [&] {
      mergeRow(row, countSplits(b, shape, sizes, hasMany,
                                {arguments.rows, frame.getSequences(),
                                 frame.getPages()})
                        .splits);
    });
  });
}

/// A block has one row of a tile.
void MmaAttention::mergeRow(Value row, Value splits) {
  Value blocks = b.sub(ceilDiv(b, high, kBlockKeys), b.div(low, kBlockKeys));
  Value perSplit = getSplitBlocks(splits);
  // Those that had keys.
  Value count = b.div(b.sub(b.add(blocks, perSplit), b.i64(1)), perSplit);
  Value from = getPartial(splits, b.i64(0));
  int64_t elements = sizes.getPartialElements();
  int64_t behind = sizes.rows * sizes.valueColumns;
  Value maximumAt = b.element(from, b.add(row, behind), f32);
  Value totalAt = b.element(maximumAt, b.i64(sizes.rows), f32);

  // A warp looks at the maxima of 32 splits at a time.
  Value lowest = b.constant(f32, -std::numeric_limits<double>::infinity());
  Value maximum = b.loop(lane, count, b.i64(kWarp), ValueRange{lowest},
                         [&](Value i, ValueRange carried) -> Values {
                           Value x = b.load(maximumAt, b.mul(i, elements), f32);
                           return {frame.larger(carried[0], x)};
                         })[0];
  for (int64_t mask = kWarp / 2; mask; mask /= 2)
    maximum = frame.larger(maximum, shuffleXor(b, maximum, mask));
  Value shift = frame.getShift(maximum);
  Value factors = queries, shares = b.field(queries, kMostBlocks * 4);
  b.loop(thread, count, kMergeThreads, [&](Value i) {
    Value place = b.mul(i, elements);
    Value factor = b.create<math::ExpOp>(
        b.create<arith::SubFOp>(b.load(maximumAt, place, f32), shift));
    b.store(factor, factors, i);
    b.store(b.create<arith::MulFOp>(factor, b.load(totalAt, place, f32)),
            shares, i);
  });
  syncBlock(b);

  Value head = b.add(firstHead, b.rem(row, sizes.heads));
  Value to =
      frame.headPointer(shape.outIndex, b.add(token, b.div(row, sizes.heads)),
                        head, shape.valueWidth);
  Type type = shape.operand(shape.outIndex).getElementType();
  Value last = b.sub(count, b.i64(1));
  Value zero = b.constant(f32, 0.0);
  b.loop(thread, b.i64(shape.valueWidth), kMergeThreads, [&](Value column) {
    Value values =
        b.element(from, b.add(b.mul(row, sizes.valueColumns), column), f32);
    // Loads of several splits are under way at the same time.
    constexpr int64_t kTogether = 8;
    Values sums =
        b.loop(b.i64(0), count, b.i64(kTogether), ValueRange{zero, zero},
               [&](Value first, ValueRange carried) -> Values {
                 Values next(carried.begin(), carried.end());
                 Value numbers[kTogether], x[kTogether];
                 for (int64_t i = 0; i < kTogether; ++i) {
                   numbers[i] = b.min(b.add(first, i), last);
                   x[i] = b.load(values, b.mul(numbers[i], elements), f32);
                 }
                 for (int64_t i = 0; i < kTogether; ++i) {
                   Value isThere = b.lessThan(b.add(first, i), count);
                   Value factor = b.load(factors, numbers[i], f32);
                   Value share = b.load(shares, numbers[i], f32);
                   Value sum = b.mulAdd(x[i], factor, next[0], shape.isFused());
                   Value total = b.create<arith::AddFOp>(next[1], share);
                   next[0] = b.select(isThere, sum, next[0]);
                   next[1] = b.select(isThere, total, next[1]);
                 }
                 return next;
               });
    Value result = b.create<arith::DivFOp>(sums[0], sums[1]);
    b.store(b.fromF32(result, type), to, column);
  });
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

Launches MmaAttention::getFewLaunches(const AttentionShape &shape,
                                      const MmaSizes &sizes, bool hasMany) {
  int64_t columns = shape.kvHeads * sizes.parts;
  DeviceLaunch few;
  few.part = "few";
  few.threads = sizes.getThreads();
  few.sharedBytes = sizes.sharedBytes;
  few.stepGrid = [=](CodeBuilder &host,
                     const target::StepSizes &step) -> DeviceGrid {
    Splits count = countSplits(host, shape, sizes, hasMany, step);
    return {count.tiles, host.i64(columns), count.splits};
  };
  few.emit = [=](const KernelArguments &arguments, CodeBuilder &b,
                 KernelModule &) {
    MmaAttention(b, arguments, shape, sizes).buildFew(hasMany);
    return success();
  };
  if (!shape.isPaged)
    return {few};
  few.scratchBytes = kMostBlocks * sizes.getPartialElements() * 4;
  DeviceLaunch merge;
  merge.part = "merge";
  merge.threads = kMergeThreads;
  merge.sharedBytes = getMergeBytes();
  merge.stepGrid = [=](CodeBuilder &host,
                       const target::StepSizes &step) -> DeviceGrid {
    Splits count = countSplits(host, shape, sizes, hasMany, step);
    Value isSplit = host.lessThan(host.i64(1), count.splits);
    return {host.select(isSplit, count.tiles, host.i64(0)), host.i64(columns),
            host.i64(sizes.tokens * sizes.heads)};
  };
  merge.emit = [=](const KernelArguments &arguments, CodeBuilder &b,
                   KernelModule &) {
    MmaAttention(b, arguments, shape, sizes).buildMerge(hasMany);
    return success();
  };
  return {few, merge};
}
