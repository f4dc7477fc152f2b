//===- Attention.cpp - Attention over pages or over the batch -------------===//
//
// The frame of attention; see AttentionTile.h. A task is a few rows of queries
// that share a key head: some tokens of one sequence by some query heads. Keys
// are visited in blocks of 64 at absolute positions, in ascending order: scores
// of the block, each row's maximum, the exponentials, then the running sums are
// rescaled and the values added, key by key.
//
// What a row adds up is fixed by its position alone: blocks and keys that it
// does not see are no part of its sums, whatever the other rows of its task
// see. So a token's result depends neither on the batch around it, nor on how a
// prompt is cut, nor on the number of threads.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/generic/AttentionTile.h"

#include "passes/target/StepFunctions.h"

#include "mlir/Dialect/Math/IR/Math.h"

#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::generic;

namespace {

/// Stack that a task of several tiles may take; threads have little.
constexpr int64_t kStackBytes = 500 * 1024;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

class AttentionBuilder {
public:
  AttentionBuilder(Kernel &kernel, moex::AttentionOp op)
      : kernel(kernel), op(op), b(kernel.b), isPaged(bool(op.getKeyState())),
        outIndex(isPaged ? 1 : 3), sinksIndex(outIndex + 1),
        keyIndex(isPaged ? sinksIndex + bool(op.getSinks()) : 1),
        valueIndex(keyIndex + 1), heads(op.getHeads()),
        kvHeads(op.getKvHeads()), f32(kernel.b.getF32Type()) {}

  LogicalResult build(ScoreArithmeticFactory createScores);

private:
  /// Some tokens of a sequence by some query heads of a key head. Row
  /// t * heads + h is token t and head h of the task.
  struct Task {
    Value sequence, kvHead;
    /// First token, index in the batch, and its position.
    Value token, position;
    /// First query head.
    Value head;
    Value tokens, heads, rows;
  };
  /// Half-open range of positions.
  struct Range {
    Value low, high;
  };
  /// A block of keys: position of its first key, the keys that any row of the
  /// task sees, and where the head's first key and value lie.
  struct Block {
    Value base;
    Range seen;
    Value keys, values;
    /// The head's first value of the next block, or of the last one.
    Value nextValues;
  };

  LogicalResult check();
  void reserve();
  void buildSequence(Value sequence, Value &thread);
  void buildTask(const Task &task);
  void buildBlock(const Task &task, Value blockIndex, Value nextIndex);
  /// Asks for keys or values low .. high - 1 of a block.
  void prefetch(unsigned index, Value first, Value low, Value high,
                int64_t width);

  /// The keys that the token at `position` sees.
  Range seenBy(Value sequence, Value token, Value position);
  /// What the walk begins with.
  void startRow(Value row, Value head);

  void loadQuery(Value token, Value head, Value row);
  void convertValues(const Block &block);
  void buildScores(const Task &task, const Block &block);
  void buildSums(const Task &task, const Block &block);
  void storeResult(Value token, Value head, Value row);

  const KernelOperand &operand(unsigned index) const {
    return kernel.request.operands[index];
  }
  Value headPointer(unsigned index, Value row, Value head, int64_t width) {
    return b.element(rowPointer(kernel, index, row), b.mul(head, width),
                     operand(index).getElementType());
  }
  /// Row of the batch or of the pool with the first key of a block.
  Value firstRow(const Task &task, Value blockIndex);
  /// The keys of a block that a row sees.
  Range seenBy(const Block &block, Value row);
  /// Calls `body` with the first row and the number of rows of each tile.
  void forTiles(const Task &task, function_ref<void(Value, Value)> body);
  void forTokens(const Task &task,
                 function_ref<void(Value, Value, Value)> body);
  void call(LLVM::LLVMFuncOp function, ArrayRef<Value> arguments) {
    b.create<LLVM::CallOp>(function, ValueRange(arguments));
  }

  Value at(Value pointer, Value row, int64_t stride, int64_t bytes = 4) {
    return b.element(pointer, b.mul(row, stride * bytes), b.getI8Type());
  }
  /// Walks elements in groups of `step`, the last with those that there are.
  void forLanes(int64_t width, int64_t step,
                function_ref<void(Value, int64_t)> body) {
    int64_t whole = width / step * step;
    b.loop(b.i64(0), b.i64(whole), step, [&](Value i) { body(i, step); });
    if (whole < width)
      body(b.i64(whole), width - whole);
  }

  Kernel &kernel;
  moex::AttentionOp op;
  CodeBuilder &b;
  bool isPaged;
  unsigned outIndex, sinksIndex, keyIndex, valueIndex;
  int64_t heads, kvHeads, headWidth = 0, mostRows = 0;
  /// Of each head of a row of values the first `valueWidth` elements count.
  int64_t valueWidth = 0, valueStride = 0;
  Type f32;
  std::unique_ptr<ScoreArithmetic> arithmetic;
  std::optional<AttentionTile> tile;
  LLVM::LLVMFuncOp turnKeys, multiplyKeys, turnScores, addValues;
  Value positions, cuSeqlens, pageTable, pages, threads;
  /// How tasks are cut: query heads, tasks per key head, tokens.
  Value taskHeads, taskParts, taskTokens;
  /// Stack: queries and a block of keys as words, a block of values as f32, the
  /// scores of a block, then weights; the weighted sums.
  Value queries, lines, converted, scores, sums;
  std::optional<AttentionRows> rowState;
};

} // namespace

//===----------------------------------------------------------------------===//
// What a row sees and what its sums begin with
//===----------------------------------------------------------------------===//

AttentionBuilder::Range AttentionBuilder::seenBy(Value sequence, Value token,
                                                 Value position) {
  Range range = {b.i64(0), b.add(position, 1)};
  if (auto window = op.getWindow())
    range.low = b.max(range.low, b.sub(range.high, b.i64(*window)));
  if (auto chunk = op.getChunk())
    range.low = b.mul(b.div(position, *chunk), *chunk);
  Type i32 = b.getI32Type();
  if (op.getFull()) {
    Value end = b.widen(b.load(cuSeqlens, b.add(sequence, 1), i32));
    Value last = b.load(positions, b.sub(end, b.i64(1)), i32);
    range.high = b.add(b.widen(last), 1);
  }
  if (!isPaged) {
    // Keys of the batch begin with the first token of the sequence.
    Value start = b.widen(b.load(cuSeqlens, sequence, i32));
    Value before = b.sub(token, start);
    range.low = b.max(range.low, b.sub(position, before));
  }
  return range;
}

void AttentionBuilder::startRow(Value row, Value head) {
  Value maximum = b.constant(f32, -kInfinity), total = b.constant(f32, 0.0);
  if (op.getSinks()) {
    // One more score, which is the maximum so far.
    maximum = b.toF32(b.load(kernel.arguments.pointers[sinksIndex], head,
                             operand(sinksIndex).getElementType()));
    total = b.constant(f32, 1.0);
  }
  b.store(maximum, rowState->maxima, row);
  b.store(total, rowState->totals, row);
}

//===----------------------------------------------------------------------===//
// Tasks
//===----------------------------------------------------------------------===//

LogicalResult AttentionBuilder::check() {
  int64_t queryWidth = operand(0).getRowElements();
  int64_t keyWidth = operand(keyIndex).getRowElements();
  int64_t valueRow = operand(valueIndex).getRowElements();
  int64_t outWidth = operand(outIndex).getRowElements();
  if (kvHeads <= 0 || heads % kvHeads != 0)
    return op.emitOpError("expected heads to be a multiple of kv_heads, found ")
           << heads << " and " << kvHeads;
  headWidth = queryWidth / heads;
  valueWidth = outWidth / heads;
  valueStride = valueRow / kvHeads;
  if (headWidth * heads != queryWidth || keyWidth != headWidth * kvHeads ||
      valueRow != valueStride * kvHeads || valueStride < valueWidth ||
      outWidth != valueWidth * heads)
    return op.emitOpError("expected a query of ")
           << heads << " heads, keys and values of " << kvHeads
           << " heads, and an out of " << heads << " heads, found widths "
           << queryWidth << ", " << keyWidth << ", " << valueRow << " and "
           << outWidth;
  return success();
}

void AttentionBuilder::reserve() {
  int64_t valueBytes = kBlockKeys * tile->getValueStride() * 4;
  int64_t rowBytes =
      (tile->getQueryStride() + tile->getValueStride() + kBlockKeys) * 4;
  int64_t rest = kStackBytes - tile->getKeyBytes() - valueBytes;
  mostRows = std::clamp(rest / rowBytes / kAttentionRows * kAttentionRows,
                        kAttentionRows, kTaskRows);
  queries = b.stack(mostRows * tile->getQueryStride() * 4);
  lines = b.stack(tile->getKeyBytes());
  converted = b.stack(valueBytes);
  scores = b.stack(mostRows * kBlockKeys * 4);
  sums = b.stack(mostRows * tile->getValueStride() * 4);
  rowState.emplace(b, b.stack(AttentionRows::kBytes));
  // Corrections are computed for whole vectors of rows.
  Value zero = b.constant(b.vectorOf(f32), 0.0);
  for (int64_t i = 0; i < kTaskRows; i += kLanes)
    for (Value numbers :
         {rowState->maxima, rowState->totals, rowState->blockMaxima})
      b.storeLanes(zero, numbers, b.i64(i));
}

LogicalResult AttentionBuilder::build(ScoreArithmeticFactory createScores) {
  if (failed(check()))
    return failure();
  arithmetic = createScores(kernel.getLevel(), op.getCompute());
  tile.emplace(kernel.module, *arithmetic, headWidth, valueWidth);
  reserve();
  Type keyType = operand(keyIndex).getElementType();
  turnKeys = tile->getKeys(b, keyType, operand(keyIndex).getRowElements());
  multiplyKeys = tile->getScores(b);
  turnScores =
      getAttentionSoftmax(b, kernel.module, op, tile->getValueStride());
  addValues = tile->getValues(b);

  Value batch = target::abi::getBatch(b, kernel.arguments.step);
  positions = target::abi::getPositions(b, batch);
  cuSeqlens = target::abi::getCuSeqlens(b, batch);
  if (isPaged) {
    pageTable = target::abi::getPageTable(b, batch);
    pages = target::abi::getPagesPerSequence(b, batch);
  }
  threads = target::abi::getThreads(b, kernel.arguments.worker);
  Value thread = target::abi::getThread(b, kernel.arguments.worker);

  // As many rows as share a block of keys well, but work for all participants.
  auto divideUp = [&](Value x, Value y) {
    return b.div(b.add(x, b.sub(y, b.i64(1))), y);
  };
  int64_t group = heads / kvHeads;
  Value allRows = b.mul(kernel.arguments.rows, heads);
  Value rows = b.min(b.i64(mostRows), divideUp(allRows, threads));
  rows = b.max(rows, b.i64(1));
  taskParts = divideUp(b.i64(group), b.min(rows, b.i64(group)));
  taskHeads = divideUp(b.i64(group), taskParts);
  taskParts = divideUp(b.i64(group), taskHeads);
  taskTokens = b.max(b.div(rows, taskHeads), b.i64(1));

  auto numSequences = AffineMap::get(moex::kNumExtents, 0,
                                     getAffineDimExpr(1, op.getContext()));
  Value sequences =
      target::Extents::ofStep(b, kernel.arguments.step).evaluate(numSequences);
  // Tasks go round the participants, key heads and parts first: neighbours are
  // of equal size, whatever the positions. `next` is this participant's next
  // task, counted from the first of the sequence.
  b.loop(b.i64(0), sequences, b.i64(1), ValueRange{thread},
         [&](Value sequence, ValueRange carried) -> CodeBuilder::Values {
           Value next = carried[0];
           buildSequence(sequence, next);
           return {next};
         });
  return success();
}

void AttentionBuilder::buildSequence(Value sequence, Value &next) {
  Type i32 = b.getI32Type();
  int64_t group = heads / kvHeads;
  Value first = b.widen(b.load(cuSeqlens, sequence, i32));
  Value last = b.widen(b.load(cuSeqlens, b.add(sequence, 1), i32));
  Value tokens = b.sub(last, first);
  Value perBlock = b.mul(taskParts, kvHeads);
  Value blocks = b.div(b.add(tokens, b.sub(taskTokens, b.i64(1))), taskTokens);
  Value count = b.mul(blocks, perBlock);
  b.loop(next, count, threads, [&](Value index) {
    Task task;
    task.sequence = sequence;
    Value before = b.mul(b.div(index, perBlock), taskTokens);
    Value rest = b.rem(index, perBlock);
    Value part = b.div(rest, kvHeads);
    Value skipped = b.mul(part, taskHeads);
    task.kvHead = b.rem(rest, kvHeads);
    task.head = b.add(b.mul(task.kvHead, group), skipped);
    task.token = b.add(first, before);
    task.position = b.widen(b.load(positions, task.token, i32));
    task.tokens = b.min(taskTokens, b.sub(tokens, before));
    task.heads = b.min(taskHeads, b.sub(b.i64(group), skipped));
    task.rows = b.mul(task.tokens, task.heads);
    buildTask(task);
  });
  // The next task after those of the sequence.
  Value taken = b.div(
      b.add(b.max(b.sub(count, next), b.i64(0)), b.sub(threads, b.i64(1))),
      threads);
  next = b.sub(b.add(next, b.mul(taken, threads)), count);
}

void AttentionBuilder::forTokens(const Task &task,
                                 function_ref<void(Value, Value, Value)> body) {
  b.loop(b.i64(0), task.tokens, 1, [&](Value i) {
    b.loop(b.i64(0), task.heads, 1, [&](Value j) {
      body(b.add(task.token, i), b.add(task.head, j),
           b.add(b.mul(i, task.heads), j));
    });
  });
}

void AttentionBuilder::forTiles(const Task &task,
                                function_ref<void(Value, Value)> body) {
  // Whole tiles, but 8 rows in two of 4.
  Value isEight = b.compare(arith::CmpIPredicate::eq,
                            b.div(b.sub(task.rows, b.i64(1)), 2), b.i64(3));
  Value size = b.select(isEight, b.i64(4), b.i64(kAttentionRows));
  b.loop(b.i64(0), task.rows, size,
         [&](Value row) { body(row, b.min(size, b.sub(task.rows, row))); });
}

void AttentionBuilder::buildTask(const Task &task) {
  VectorType vector = b.vectorOf(f32);
  forTokens(task, [&](Value token, Value head, Value row) {
    Value position = b.add(task.position, b.sub(token, task.token));
    Range range = seenBy(task.sequence, token, position);
    b.store(range.low, rowState->lows, row);
    b.store(range.high, rowState->highs, row);
    startRow(row, head);
    loadQuery(token, head, row);
    Value start = b.mul(row, tile->getValueStride());
    b.loop(start, b.add(start, tile->getValueStride()), kLanes,
           [&](Value i) { b.storeLanes(b.constant(vector, 0.0), sums, i); });
  });
  // Both ends of what a token sees ascend with its position.
  Value lastRow = b.sub(task.rows, b.i64(1));
  Value low = b.load(rowState->lows, b.i64(0), b.getI64Type());
  Value high = b.load(rowState->highs, lastRow, b.getI64Type());
  Value endBlock = b.div(b.add(high, kBlockKeys - 1), kBlockKeys);
  b.loop(b.div(low, kBlockKeys), endBlock, 1, [&](Value blockIndex) {
    buildBlock(task, blockIndex,
               b.min(b.add(blockIndex, 1), b.sub(endBlock, b.i64(1))));
  });
  forTokens(task, [&](Value token, Value head, Value row) {
    storeResult(token, head, row);
  });
}

void AttentionBuilder::loadQuery(Value token, Value head, Value row) {
  Value pointer = headPointer(0, token, head, headWidth);
  Type type = operand(0).getElementType();
  Value to = at(queries, row, tile->getQueryStride());
  int64_t step = kLanes * arithmetic->getPack();
  forLanes(headWidth, step, [&](Value i, int64_t active) {
    Value words = loadWords(b, *arithmetic, pointer, i, type, active, kLanes);
    b.storeLanes(words, to, b.div(i, arithmetic->getPack()));
  });
}

void AttentionBuilder::storeResult(Value token, Value head, Value row) {
  Value pointer = headPointer(outIndex, token, head, valueWidth);
  Value from = at(sums, row, tile->getValueStride());
  Value total = b.splat(b.load(rowState->totals, row, f32));
  forLanes(valueWidth, kLanes, [&](Value i, int64_t active) {
    Value x = b.create<arith::DivFOp>(b.loadLanes(from, i, f32), total);
    b.storeLanes(b.fromF32(x, operand(outIndex).getElementType()), pointer, i,
                 active);
  });
}

//===----------------------------------------------------------------------===//
// Blocks of keys
//===----------------------------------------------------------------------===//

Value AttentionBuilder::firstRow(const Task &task, Value blockIndex) {
  if (!isPaged)
    return b.add(b.sub(task.token, task.position),
                 b.mul(blockIndex, kBlockKeys));
  Value slot = b.add(b.mul(task.sequence, pages), blockIndex);
  Value page = b.widen(b.load(pageTable, slot, b.getI32Type()));
  return b.mul(page, kBlockKeys);
}

AttentionBuilder::Range AttentionBuilder::seenBy(const Block &block,
                                                 Value row) {
  auto [low, high] = rowState->seenBy(b, block.base, row);
  return {low, high};
}

void AttentionBuilder::prefetch(unsigned index, Value first, Value low,
                                Value high, int64_t width) {
  const KernelOperand &rows = operand(index);
  int64_t bytes = width * CodeBuilder::byteSize(rows.getElementType());
  b.loop(low, high, 1, [&](Value key) {
    Value row = b.element(first, b.mul(key, rows.getRowElements()),
                          rows.getElementType());
    for (int64_t i = 0; i < bytes; i += 64)
      b.create<LLVM::Prefetch>(b.field(row, i), /*rw=*/0, /*hint=*/2,
                               /*cache=*/1);
  });
}

void AttentionBuilder::buildBlock(const Task &task, Value blockIndex,
                                  Value nextIndex) {
  Block block;
  block.base = b.mul(blockIndex, kBlockKeys);
  block.seen.low = seenBy(block, b.i64(0)).low;
  block.seen.high = seenBy(block, b.sub(task.rows, b.i64(1))).high;
  Value row = firstRow(task, blockIndex), next = firstRow(task, nextIndex);
  block.keys = headPointer(keyIndex, row, task.kvHead, headWidth);
  block.values = headPointer(valueIndex, row, task.kvHead, valueStride);
  block.nextValues = headPointer(valueIndex, next, task.kvHead, valueStride);
  // The next block comes from memory while this one is worked on, in parts:
  // more than a few lines at a time would be waited for.
  Value nextKeys = headPointer(keyIndex, next, task.kvHead, headWidth);
  b.loop(b.i64(0), b.i64(kBlockKeys), kLanes, [&](Value key) {
    Value end = b.add(key, kLanes);
    prefetch(keyIndex, nextKeys, key, end, headWidth);
    Value low = b.max(key, block.seen.low);
    Value high = b.min(end, block.seen.high);
    b.ifThen(b.lessThan(low, high),
             [&] { call(turnKeys, {block.keys, lines, low, high}); });
  });
  buildScores(task, block);
  call(turnScores, {rowState->pointer, scores, sums, block.base, task.rows});
  buildSums(task, block);
}

void AttentionBuilder::buildScores(const Task &task, const Block &block) {
  forTiles(task, [&](Value row, Value rows) {
    Value end = b.add(row, rows);
    auto share = [&](Value x) {
      return b.div(b.mul(x, kBlockKeys), task.rows);
    };
    // Values that lie in the keys have been asked for.
    if (!isPaged || op.getKeyState() != op.getValueState())
      prefetch(valueIndex, block.nextValues, share(row), share(end),
               valueWidth);
    Value low = seenBy(block, row).low;
    Value high = seenBy(block, b.sub(b.add(row, rows), b.i64(1))).high;
    b.ifThen(b.lessThan(low, high), [&] {
      call(multiplyKeys, {at(queries, row, tile->getQueryStride()), lines,
                          at(scores, row, kBlockKeys), rows, b.div(low, kLanes),
                          b.div(b.add(high, kLanes - 1), kLanes)});
    });
  });
}

void AttentionBuilder::convertValues(const Block &block) {
  const KernelOperand &values = operand(valueIndex);
  b.loop(block.seen.low, block.seen.high, 1, [&](Value key) {
    Value from = b.element(block.values, b.mul(key, values.getRowElements()),
                           values.getElementType());
    Value to = at(converted, key, tile->getValueStride());
    forLanes(valueWidth, kLanes, [&](Value i, int64_t active) {
      Value x = b.loadLanes(from, i, values.getElementType(), active);
      b.storeLanes(b.toF32(x), to, i);
    });
  });
}

void AttentionBuilder::buildSums(const Task &task, const Block &block) {
  // Several tiles share values that are copied once to lie closely together; a
  // single one reads them where they are, if they need no conversion.
  Value from = converted, stride = b.i64(tile->getValueStride());
  if (!operand(valueIndex).getElementType().isF32()) {
    convertValues(block);
  } else {
    Value isShared = b.lessThan(b.i64(kAttentionRows), task.rows);
    b.ifThen(isShared, [&] { convertValues(block); });
    from = b.select(isShared, from, block.values);
    stride =
        b.select(isShared, stride, b.i64(operand(valueIndex).getRowElements()));
  }
  auto addRows = [&](Value row, Value rows, Value low, Value high) {
    call(addValues, {at(scores, row, kBlockKeys), from, stride,
                     at(sums, row, tile->getValueStride()), rows, low, high});
  };
  forTiles(task, [&](Value row, Value rows) {
    // Keys that all rows of the tile see; the others row by row, since a weight
    // of zero times what a row does not see need not be zero.
    Value end = b.add(row, rows);
    Range first = seenBy(block, row);
    Range last = seenBy(block, b.sub(end, b.i64(1)));
    Value isCommon = b.lessThan(last.low, first.high);
    Value low = b.select(isCommon, last.low, b.i64(kBlockKeys));
    Value high = b.select(isCommon, first.high, b.i64(kBlockKeys));
    Value isRagged = b.create<arith::OrIOp>(
        b.compare(arith::CmpIPredicate::ne, first.low, last.low),
        b.compare(arith::CmpIPredicate::ne, first.high, last.high));
    auto addEdge = [&](function_ref<Range(Range)> edgeOf) {
      b.ifThen(isRagged, [&] {
        b.loop(row, end, 1, [&](Value one) {
          Range edge = edgeOf(seenBy(block, one));
          b.ifThen(b.lessThan(edge.low, edge.high),
                   [&] { addRows(one, b.i64(1), edge.low, edge.high); });
        });
      });
    };
    addEdge(
        [&](Range seen) -> Range { return {seen.low, b.min(seen.high, low)}; });
    b.ifThen(b.lessThan(low, high), [&] { addRows(row, rows, low, high); });
    addEdge([&](Range seen) -> Range {
      return {b.max(seen.low, high), seen.high};
    });
  });
}

LogicalResult generic::emitAttention(Kernel &kernel, moex::AttentionOp op,
                                     ScoreArithmeticFactory createScores) {
  return AttentionBuilder(kernel, op).build(createScores);
}
