//===- Attention.cpp - Attention over pages or over the batch -------------===//
//
// A task is one head of one token. Keys are visited in blocks of 64 at absolute
// positions, in ascending order: scores of the block, its maximum, the
// exponentials, then the running sums are rescaled and the values added, key by
// key. All orders are fixed by positions alone, so a token's result depends
// neither on the batch around it nor on the number of threads.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/generic/Kernels.h"

#include "passes/target/StepFunctions.h"
#include "runtime/abi/moe_abi.h"

#include "mlir/Dialect/Math/IR/Math.h"

#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::generic;

namespace {

constexpr int64_t kBlock = MOE_PAGE_TOKENS;

class AttentionBuilder {
public:
  AttentionBuilder(Kernel &kernel, moex::AttentionOp op)
      : kernel(kernel), op(op), b(kernel.b), isPaged(bool(op.getKeyState())),
        outIndex(isPaged ? 1 : 3), sinksIndex(outIndex + 1),
        keyIndex(isPaged ? sinksIndex + bool(op.getSinks()) : 1),
        valueIndex(keyIndex + 1), heads(op.getHeads()),
        kvHeads(op.getKvHeads()) {}

  LogicalResult build();

private:
  /// State of the walk over the keys of one task.
  struct Task {
    Value token, head, sequence, position;
    /// First position that is seen, and the last.
    Value low, last;
  };

  LogicalResult check();
  const KernelOperand &operand(unsigned index) const {
    return kernel.request.operands[index];
  }
  void buildTask(const Task &task);
  /// Row of key `blockIndex * 64`, as an index into the rows of keys.
  Value firstRow(const Task &task, Value blockIndex);
  Value headPointer(unsigned index, Value row, Value head, int64_t headWidth);
  void loadQuery(const Task &task);
  Value score(Value key);
  void addValues(Value firstValue, Value from, Value to, Value correction);
  void storeResult(const Task &task, Value sum);
  Value rounded(Value x) {
    x = b.toF32(x);
    return op.getCompute().isBF16() ? b.toF32(b.fromF32(x, b.getBF16Type()))
                                    : x;
  }
  /// Calls `body` for the 16-lane blocks of a head.
  void forLanes(int64_t width, function_ref<void(int64_t, int64_t)> body) {
    for (int64_t i = 0; i < width; i += kLanes)
      body(i, std::min(kLanes, width - i));
  }

  Kernel &kernel;
  moex::AttentionOp op;
  CodeBuilder &b;
  bool isPaged;
  unsigned outIndex, sinksIndex, keyIndex, valueIndex;
  /// Of each head of a row of values the first `valueWidth` elements count.
  int64_t heads, kvHeads, headWidth = 0, valueWidth = 0, valueStride = 0;
  Value positions, cuSeqlens, pageTable, pages;
  /// Stack: the query, the scores of a block, the weighted sum of values.
  Value query, scores, result;
};

} // namespace

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

LogicalResult AttentionBuilder::build() {
  if (failed(check()))
    return failure();
  Value batch = target::abi::getBatch(b, kernel.arguments.step);
  positions = target::abi::getPositions(b, batch);
  cuSeqlens = target::abi::getCuSeqlens(b, batch);
  if (isPaged) {
    pageTable = target::abi::getPageTable(b, batch);
    pages = target::abi::getPagesPerSequence(b, batch);
  }
  query = b.stack(llvm::alignTo(headWidth, kLanes) * 4);
  scores = b.stack(kBlock * 4);
  result = b.stack(llvm::alignTo(valueWidth, kLanes) * 4);

  TaskRange tasks = splitRows(kernel, b.mul(kernel.arguments.rows, heads));
  Type i32 = b.getI32Type();
  b.loop(tasks.low, tasks.high, b.i64(1), ValueRange{b.i64(0)},
         [&](Value index, ValueRange carried) -> CodeBuilder::Values {
           Task task;
           task.token = b.div(index, heads);
           task.head = b.rem(index, heads);
           task.sequence = findSequence(b, cuSeqlens, task.token, carried[0]);
           task.position = b.widen(b.load(positions, task.token, i32));
           task.low = b.i64(0);
           task.last = task.position;
           if (auto window = op.getWindow())
             task.low = b.max(task.low,
                              b.sub(b.add(task.position, 1), b.i64(*window)));
           if (auto chunk = op.getChunk())
             task.low = b.mul(b.div(task.position, *chunk), *chunk);
           if (op.getFull()) {
             Value end = b.widen(
                 b.load(cuSeqlens, b.add(task.sequence, 1), i32));
             task.last = b.widen(b.load(positions, b.sub(end, b.i64(1)), i32));
           }
           if (!isPaged) {
             // Keys of the batch begin with the first token of the sequence.
             Value start = b.widen(b.load(cuSeqlens, task.sequence, i32));
             Value before = b.sub(task.token, start);
             task.low = b.max(task.low, b.sub(task.position, before));
           }
           buildTask(task);
           return {task.sequence};
         });
  return success();
}

Value AttentionBuilder::firstRow(const Task &task, Value blockIndex) {
  if (!isPaged)
    return b.add(b.sub(task.token, task.position), b.mul(blockIndex, kBlock));
  Value slot = b.add(b.mul(task.sequence, pages), blockIndex);
  Value page = b.widen(b.load(pageTable, slot, b.getI32Type()));
  return b.mul(page, kBlock);
}

Value AttentionBuilder::headPointer(unsigned index, Value row, Value head,
                                    int64_t headWidth) {
  return b.element(rowPointer(kernel, index, row), b.mul(head, headWidth),
                   operand(index).getElementType());
}

void AttentionBuilder::loadQuery(const Task &task) {
  Value pointer = headPointer(0, task.token, task.head, headWidth);
  forLanes(headWidth, [&](int64_t i, int64_t active) {
    Value x = rounded(b.loadLanes(pointer, b.i64(i),
                                  operand(0).getElementType(), active));
    b.storeLanes(x, query, b.i64(i));
  });
}

Value AttentionBuilder::score(Value key) {
  VectorType type = b.vectorOf(b.getF32Type());
  Value zero = b.constant(type, 0.0);
  Value sum = zero;
  forLanes(headWidth, [&](int64_t i, int64_t active) {
    Value q = b.loadLanes(query, b.i64(i), b.getF32Type());
    Value k = rounded(b.loadLanes(
        key, b.i64(i), operand(keyIndex).getElementType(), active));
    Value next = b.mulAdd(q, k, sum, kernel.getLevel().hasFma);
    if (active < kLanes) {
      SmallVector<int64_t> mask(kLanes, 0);
      std::fill_n(mask.begin(), active, 1);
      next = b.select(b.lanes(mask, 1), next, sum);
    }
    sum = next;
  });
  Value dot = b.foldLanes(sum, [&](Value x, Value y) -> Value {
    return b.create<arith::AddFOp>(x, y);
  });
  double scale = op.getScale().convertToDouble();
  Value score =
      b.create<arith::MulFOp>(b.constant(b.getF32Type(), scale), dot);
  if (!op.getSoftcap())
    return score;
  Value cap = b.constant(b.getF32Type(), op.getSoftcap()->convertToDouble());
  Value bent = b.create<math::TanhOp>(b.create<arith::DivFOp>(score, cap));
  return b.create<arith::MulFOp>(bent, cap);
}

void AttentionBuilder::addValues(Value firstValue, Value from, Value to,
                                 Value correction) {
  // As many sums in registers as the level has room for.
  int64_t together = kernel.getLevel().vectorBytes / 8;
  int64_t vectors = llvm::divideCeil(valueWidth, kLanes);
  Type type = operand(valueIndex).getElementType();
  for (int64_t first = 0; first < vectors; first += together) {
    int64_t last = std::min(first + together, vectors);
    CodeBuilder::Values sums;
    for (int64_t v = first; v < last; ++v)
      sums.push_back(b.create<arith::MulFOp>(
          b.loadLanes(result, b.i64(v * kLanes), b.getF32Type()),
          b.splat(correction)));
    sums = b.loop(
        from, to, b.i64(1), sums,
        [&](Value key, ValueRange carried) -> CodeBuilder::Values {
          Value weight = b.splat(b.load(scores, key, b.getF32Type()));
          Value row = b.mul(key, operand(valueIndex).getRowElements());
          CodeBuilder::Values next;
          for (int64_t v = first; v < last; ++v) {
            int64_t active = std::min(kLanes, valueWidth - v * kLanes);
            Value x = b.toF32(b.loadLanes(firstValue, b.add(row, v * kLanes),
                                          type, active));
            next.push_back(b.mulAdd(x, weight, carried[v - first],
                                    kernel.getLevel().hasFma));
          }
          return next;
        });
    for (int64_t v = first; v < last; ++v)
      b.storeLanes(sums[v - first], result, b.i64(v * kLanes));
  }
}

void AttentionBuilder::storeResult(const Task &task, Value sum) {
  Value pointer = headPointer(outIndex, task.token, task.head, valueWidth);
  forLanes(valueWidth, [&](int64_t i, int64_t active) {
    Value x = b.loadLanes(result, b.i64(i), b.getF32Type());
    x = b.create<arith::DivFOp>(x, b.splat(sum));
    b.storeLanes(b.fromF32(x, operand(outIndex).getElementType()), pointer,
                 b.i64(i), active);
  });
}

void AttentionBuilder::buildTask(const Task &task) {
  Type f32 = b.getF32Type();
  VectorType vector = b.vectorOf(f32);
  double infinity = std::numeric_limits<double>::infinity();
  loadQuery(task);
  forLanes(valueWidth, [&](int64_t i, int64_t) {
    b.storeLanes(b.constant(vector, 0.0), result, b.i64(i));
  });
  Value kvHead = b.div(task.head, heads / kvHeads);
  Value firstBlock = b.div(task.low, kBlock);
  Value endBlock = b.add(b.div(task.last, kBlock), 1);
  auto larger = [&](Value x, Value y) -> Value {
    Value isLarger = b.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, y, x);
    return b.select(isLarger, y, x);
  };
  auto add = [&](Value x, Value y) -> Value {
    return b.create<arith::AddFOp>(x, y);
  };
  CodeBuilder::Values init = {b.constant(f32, -infinity), b.constant(f32, 0.0)};
  if (op.getSinks()) {
    // One more score, which is the maximum so far.
    Value sink = b.load(kernel.arguments.pointers[sinksIndex], task.head,
                        operand(sinksIndex).getElementType());
    init = {b.toF32(sink), b.constant(f32, 1.0)};
  }
  CodeBuilder::Values final = b.loop(
      firstBlock, endBlock, b.i64(1), init,
      [&](Value blockIndex, ValueRange carried) -> CodeBuilder::Values {
        Value base = b.mul(blockIndex, kBlock);
        Value from = b.max(b.sub(task.low, base), b.i64(0));
        Value to = b.min(b.add(b.sub(task.last, base), 1), b.i64(kBlock));
        Value row = firstRow(task, blockIndex);
        Value keys = headPointer(keyIndex, row, kvHead, headWidth);
        Value values = headPointer(valueIndex, row, kvHead, valueStride);

        forLanes(kBlock, [&](int64_t i, int64_t) {
          b.storeLanes(b.constant(vector, -infinity), scores, b.i64(i));
        });
        b.loop(from, to, 1, [&](Value key) {
          Value place = b.mul(key, operand(keyIndex).getRowElements());
          Value pointer =
              b.element(keys, place, operand(keyIndex).getElementType());
          b.store(score(pointer), scores, key);
        });
        Value maximum;
        forLanes(kBlock, [&](int64_t i, int64_t) {
          Value x = b.loadLanes(scores, b.i64(i), f32);
          maximum = maximum ? larger(maximum, x) : x;
        });
        Value next = larger(carried[0], b.foldLanes(maximum, larger));
        Value correction = b.create<math::ExpOp>(
            b.create<arith::SubFOp>(carried[0], next));
        Value total;
        forLanes(kBlock, [&](int64_t i, int64_t) {
          Value x = b.loadLanes(scores, b.i64(i), f32);
          x = b.create<math::ExpOp>(
              b.create<arith::SubFOp>(x, b.splat(next)));
          b.storeLanes(x, scores, b.i64(i));
          total = total ? add(total, x) : x;
        });
        Value sum = add(b.create<arith::MulFOp>(carried[1], correction),
                        b.foldLanes(total, add));
        addValues(values, from, to, correction);
        return {next, sum};
      });
  storeResult(task, final[1]);
}

LogicalResult generic::emitAttention(Kernel &kernel, moex::AttentionOp op) {
  return AttentionBuilder(kernel, op).build();
}
