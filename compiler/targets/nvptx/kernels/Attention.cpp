//===- Attention.cpp - Grouped-query attention ----------------------------===//
//
// The kernel for everything that attention can be: 64 threads for one query
// head of one token. A thread has one key of a block and then columns of the
// values. Sums have the order that they have on a CPU: a score is one ascending
// chain over the elements of a head, the weights of a block are summed in 16
// chains and a tree, a value is one ascending chain over the keys.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/nvptx/kernels/AttentionFrame.h"

#include "mlir/Dialect/Math/IR/Math.h"

#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;

namespace {

constexpr int64_t kThreads = kBlockKeys;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

class PlainAttention {
public:
  PlainAttention(CodeBuilder &b, const KernelArguments &arguments,
                 const AttentionShape &shape)
      : b(b), shape(shape), frame(b, arguments, shape), f32(b.getF32Type()) {}

  /// Queries, the scores of a block, its weights.
  static int64_t getSharedBytes(const AttentionShape &shape) {
    return (llvm::alignTo(shape.headWidth, 4) + 2 * kBlockKeys) * 4;
  }

  void build();

private:
  using Values = CodeBuilder::Values;

  void loadQuery();
  Value buildScore(Value key);
  Value reduceMaximum();
  Value sumWeights();
  Values addValues(Value first, ValueRange sums, Value correction, Value low,
                   Value high);

  CodeBuilder &b;
  const AttentionShape &shape;
  AttentionFrame frame;
  Type f32;
  Value thread, lane, token, head, kvHead;
  /// Shared memory.
  Value query, scores, weights;
};

} // namespace

/// How many elements of a row of `width` are loaded at a time.
static int64_t getWideElements(const KernelOperand &operand, int64_t width) {
  int64_t wide = 16 / CodeBuilder::byteSize(operand.getElementType());
  bool isAligned = operand.getRowElements() % wide == 0 && width % wide == 0;
  return isAligned ? wide : 1;
}

void PlainAttention::loadQuery() {
  Value from = frame.headPointer(0, token, head, shape.headWidth);
  b.loop(thread, b.i64(shape.headWidth), kThreads, [&](Value i) {
    Value x = b.load(from, i, shape.operand(0).getElementType());
    b.store(frame.round(x), query, i);
  });
}

/// The dot product of the query and the key at `key`.
Value PlainAttention::buildScore(Value key) {
  const KernelOperand &keys = shape.operand(shape.keyIndex);
  int64_t wide = getWideElements(keys, shape.headWidth);
  Value dot = b.loop(
      b.i64(0), b.i64(shape.headWidth), b.i64(wide),
      ValueRange{b.constant(f32, 0.0)},
      [&](Value i, ValueRange carried) -> Values {
        Value sum = carried[0];
        Value x =
            frame.round(loadWide(b, b.element(key, i, keys.getElementType()),
                                 keys.getElementType(), wide));
        Value q = loadWide(b, b.element(query, i, f32), f32, wide);
        for (int64_t j = 0; j < wide; ++j)
          sum =
              b.mulAdd(b.extract(q, j), b.extract(x, j), sum, shape.isFused());
        return {sum};
      })[0];
  return frame.transform(dot);
}

/// The largest score of the block.
Value PlainAttention::reduceMaximum() {
  Value maximum = frame.larger(b.load(scores, lane, f32),
                               b.load(scores, b.add(lane, kWarp), f32));
  for (int64_t mask = kWarp / 2; mask; mask /= 2)
    maximum = frame.larger(maximum, shuffleXor(b, maximum, mask));
  return maximum;
}

/// The sum of the block's weights.
Value PlainAttention::sumWeights() {
  Value chain = b.rem(lane, target::kLanes);
  Value total = b.constant(f32, 0.0);
  for (int64_t i = 0; i < kBlockKeys; i += target::kLanes)
    total =
        b.create<arith::AddFOp>(total, b.load(weights, b.add(chain, i), f32));
  for (int64_t mask = target::kLanes / 2; mask; mask /= 2)
    total = b.create<arith::AddFOp>(total, shuffleXor(b, total, mask));
  return total;
}

/// Rescales the sums of this thread's columns and adds the weighted values of
/// keys low .. high - 1 of the block; `first` is the row of its first key.
CodeBuilder::Values PlainAttention::addValues(Value first, ValueRange sums,
                                              Value correction, Value low,
                                              Value high) {
  Values init;
  for (Value sum : sums)
    init.push_back(b.create<arith::MulFOp>(sum, correction));
  const KernelOperand &values = shape.operand(shape.valueIndex);
  Value from =
      frame.headPointer(shape.valueIndex, first, kvHead, shape.valueStride);
  return b.loop(
      low, high, b.i64(1), init, [&](Value key, ValueRange carried) -> Values {
        Value weight = b.load(weights, key, f32);
        Value row = b.element(from, b.mul(key, values.getRowElements()),
                              values.getElementType());
        Values next;
        for (auto [i, sum] : llvm::enumerate(carried)) {
          // A thread without a column has another's.
          Value column =
              b.min(b.add(thread, i * kThreads), b.i64(shape.valueWidth - 1));
          Value x = b.toF32(b.load(row, column, values.getElementType()));
          next.push_back(b.mulAdd(weight, x, sum, shape.isFused()));
        }
        return next;
      });
}

void PlainAttention::build() {
  thread = threadId(b);
  lane = laneId(b);
  query = sharedMemory(b);
  scores = b.field(query, llvm::alignTo(shape.headWidth, 4) * 4);
  weights = b.field(scores, kBlockKeys * 4);
  Value block = blockId(b);
  token = b.div(block, shape.heads);
  head = b.rem(block, shape.heads);
  kvHead = b.div(head, shape.getGroup());
  Value sequence = frame.findSequence(token);
  Value position = frame.getPosition(token);
  AttentionFrame::Range seen = frame.seenBy(sequence, token, position);
  loadQuery();
  syncBlock(b);

  auto [maximum, total] = frame.startRow(head);
  int64_t columns = llvm::divideCeil(shape.valueWidth, kThreads);
  Values init(columns, b.constant(f32, 0.0));
  init.insert(init.begin(), {maximum, total});
  const KernelOperand &keys = shape.operand(shape.keyIndex);
  Values results = b.loop(
      b.div(seen.low, kBlockKeys), ceilDiv(b, seen.high, kBlockKeys), b.i64(1),
      init, [&](Value index, ValueRange carried) -> Values {
        Value base = b.mul(index, kBlockKeys);
        Value low = b.max(b.sub(seen.low, base), b.i64(0));
        Value high = b.min(b.sub(seen.high, base), b.i64(kBlockKeys));
        Value first = frame.firstRow(sequence, token, position, index);
        Value isSeen = b.create<arith::AndIOp>(
            b.compare(arith::CmpIPredicate::sge, thread, low),
            b.lessThan(thread, high));
        // Memory outside the range may not be there.
        Value score = b.choose(
            isSeen,
            [&]() -> Values {
              Value key = b.element(frame.headPointer(shape.keyIndex, first,
                                                      kvHead, shape.headWidth),
                                    b.mul(thread, keys.getRowElements()),
                                    keys.getElementType());
              return {buildScore(key)};
            },
            [&]() -> Values { return {b.constant(f32, -kInfinity)}; })[0];
        b.store(score, scores, thread);
        syncBlock(b);
        Value next = frame.larger(carried[0], reduceMaximum());
        Value shift = frame.getShift(next);
        auto weigh = [&](Value x) -> Value {
          return b.create<math::ExpOp>(b.create<arith::SubFOp>(x, shift));
        };
        Value correction = weigh(carried[0]);
        b.store(weigh(score), weights, thread);
        // All have read the scores, and all weights are there.
        syncBlock(b);
        Value scaled = b.create<arith::MulFOp>(carried[1], correction);
        Value sum = b.create<arith::AddFOp>(scaled, sumWeights());
        Values updated =
            addValues(first, carried.drop_front(2), correction, low, high);
        updated.insert(updated.begin(), {next, sum});
        return updated;
      });

  Type type = shape.operand(shape.outIndex).getElementType();
  Value to = frame.headPointer(shape.outIndex, token, head, shape.valueWidth);
  for (int64_t i = 0; i < columns; ++i) {
    Value column = b.add(thread, i * kThreads);
    b.ifThen(b.lessThan(column, b.i64(shape.valueWidth)), [&] {
      Value x = b.create<arith::DivFOp>(results[2 + i], results[1]);
      b.store(b.fromF32(x, type), to, column);
    });
  }
}

Launches nvptx::plainAttentionLaunches(const AttentionShape &shape) {
  DeviceLaunch launch;
  launch.threads = kThreads;
  launch.sharedBytes = PlainAttention::getSharedBytes(shape);
  launch.grid = [heads = shape.heads](CodeBuilder &host, Value rows) {
    return lineGrid(host, host.mul(rows, heads));
  };
  launch.emit = [shape](const KernelArguments &arguments, CodeBuilder &b,
                        KernelModule &) {
    PlainAttention(b, arguments, shape).build();
    return success();
  };
  return {launch};
}

FailureOr<Launches> nvptx::attentionLaunches(const KernelRequest &request) {
  FailureOr<AttentionShape> shape = AttentionShape::get(request);
  if (failed(shape))
    return failure();
  if (std::optional<Launches> launches = mmaAttentionLaunches(*shape))
    return *launches;
  int64_t bytes = PlainAttention::getSharedBytes(*shape);
  if (bytes > kMaxSharedBytes)
    return request.op->emitOpError("expected heads that fit the ")
           << kMaxSharedBytes << " bytes of shared memory of a block, found "
           << bytes << " for heads of " << shape->headWidth << " elements";
  return plainAttentionLaunches(*shape);
}
