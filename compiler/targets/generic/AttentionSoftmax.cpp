//===- AttentionSoftmax.cpp - From scores to weights ----------------------===//
//
// A row's weights of a block are exp(score - maximum so far). Sums of older
// blocks are rescaled whenever the maximum grows. The sum of a block is 16
// chains over its four vectors, folded as `row.reduce` does.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/generic/AttentionTile.h"

#include "mlir/Dialect/Math/IR/Math.h"

#include "llvm/ADT/StringExtras.h"

#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::generic;

AttentionRows::AttentionRows(CodeBuilder &b, Value pointer) : pointer(pointer) {
  int64_t offset = 0;
  auto take = [&](int64_t bytes) {
    Value array = b.field(pointer, offset);
    offset += kTaskRows * bytes;
    return array;
  };
  lows = take(8);
  highs = take(8);
  for (Value *array : {&maxima, &totals, &blockMaxima, &shifts, &corrections})
    *array = take(4);
}

std::pair<Value, Value> AttentionRows::seenBy(CodeBuilder &b, Value base,
                                              Value row) const {
  Value low = b.load(lows, row, b.getI64Type());
  Value high = b.load(highs, row, b.getI64Type());
  return {b.max(b.sub(low, base), b.i64(0)),
          b.min(b.sub(high, base), b.i64(kBlockKeys))};
}

namespace {

class SoftmaxBuilder {
public:
  SoftmaxBuilder(CodeBuilder &b, moex::AttentionOp op, int64_t valueStride,
                 ValueRange arguments)
      : b(b), op(op), valueStride(valueStride), rows(b, arguments[0]),
        scores(arguments[1]), sums(arguments[2]), base(arguments[3]),
        count(arguments[4]), f32(b.getF32Type()), vector(b.vectorOf(f32)),
        zero(b.constant(vector, 0.0)),
        lowest(b.constant(vector, -std::numeric_limits<double>::infinity())) {}

  void build() {
    b.loop(b.i64(0), count, 1, [&](Value row) { buildMaximum(row); });
    b.loop(b.i64(0), count, kLanes, [&](Value row) { buildCorrections(row); });
    b.loop(b.i64(0), count, 1, [&](Value row) {
      buildWeights(row);
      rescale(row);
    });
    b.create<LLVM::ReturnOp>(ValueRange());
  }

private:
  using Values = CodeBuilder::Values;

  /// Score of a dot product.
  Value transform(Value dot);
  void buildMaximum(Value row);
  void buildCorrections(Value row);
  void buildWeights(Value row);
  void rescale(Value row);

  Value larger(Value x, Value y) {
    Value isLarger = b.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, y, x);
    return b.select(isLarger, y, x);
  }
  Value add(Value x, Value y) { return b.create<arith::AddFOp>(x, y); }
  Value sub(Value x, Value y) { return b.create<arith::SubFOp>(x, y); }
  Value multiply(Value x, Value y) { return b.create<arith::MulFOp>(x, y); }
  Value exp(Value x) { return b.create<math::ExpOp>(x); }
  /// Vectors of the row from the first that it sees something of: none where it
  /// sees nothing of the block.
  Value fold(Value row, Value init, function_ref<Value(Value, Value)> step,
             function_ref<Value(Value, Value)> combine);

  CodeBuilder &b;
  moex::AttentionOp op;
  int64_t valueStride;
  AttentionRows rows;
  Value scores, sums, base, count;
  Type f32;
  VectorType vector;
  Value zero, lowest;
};

} // namespace

Value SoftmaxBuilder::transform(Value dot) {
  Value score =
      multiply(b.constant(vector, op.getScale().convertToDouble()), dot);
  if (!op.getSoftcap())
    return score;
  Value cap = b.constant(vector, op.getSoftcap()->convertToDouble());
  Value bent = b.create<math::TanhOp>(b.create<arith::DivFOp>(score, cap));
  return multiply(bent, cap);
}

Value SoftmaxBuilder::fold(Value row, Value init,
                           function_ref<Value(Value, Value)> step,
                           function_ref<Value(Value, Value)> combine) {
  auto [low, high] = rows.seenBy(b, base, row);
  Value start = b.mul(b.div(low, kLanes), kLanes);
  Value result = b.loop(start, high, b.i64(kLanes), ValueRange{init},
                        [&](Value key, ValueRange carried) -> Values {
                          Value place = b.add(b.mul(row, kBlockKeys), key);
                          return {combine(carried[0], step(key, place))};
                        })[0];
  return b.foldLanes(result, combine);
}

void SoftmaxBuilder::buildMaximum(Value row) {
  Type i32 = b.getI32Type();
  auto splat = [&](Value x) {
    return b.splat(b.create<arith::TruncIOp>(i32, x));
  };
  auto range = rows.seenBy(b, base, row);
  Value low = splat(range.first), high = splat(range.second);
  Value order = b.lanes(llvm::to_vector(llvm::seq<int64_t>(0, kLanes)), 32);
  Value maximum = fold(
      row, lowest,
      [&](Value key, Value place) {
        Value number = b.add(splat(key), order);
        Value isSeen = b.create<arith::AndIOp>(
            b.compare(arith::CmpIPredicate::sge, number, low),
            b.compare(arith::CmpIPredicate::slt, number, high));
        Value x = transform(b.loadLanes(scores, place, f32));
        x = b.select(isSeen, x, lowest);
        b.storeLanes(x, scores, place);
        return x;
      },
      [&](Value x, Value y) { return larger(x, y); });
  b.store(maximum, rows.blockMaxima, row);
}

void SoftmaxBuilder::buildCorrections(Value row) {
  Value old = b.loadLanes(rows.maxima, row, f32);
  Value next = larger(old, b.loadLanes(rows.blockMaxima, row, f32));
  // While all scores are minus infinity, all weights are zero.
  Value isLowest =
      b.create<arith::CmpFOp>(arith::CmpFPredicate::OEQ, next, lowest);
  Value shift = b.select(isLowest, zero, next);
  Value correction = exp(sub(old, shift));
  Value total = multiply(b.loadLanes(rows.totals, row, f32), correction);
  b.storeLanes(next, rows.maxima, row);
  b.storeLanes(shift, rows.shifts, row);
  b.storeLanes(correction, rows.corrections, row);
  b.storeLanes(total, rows.totals, row);
}

void SoftmaxBuilder::buildWeights(Value row) {
  Value shift = b.splat(b.load(rows.shifts, row, f32));
  Value total = fold(
      row, zero,
      [&](Value, Value place) {
        Value x = exp(sub(b.loadLanes(scores, place, f32), shift));
        b.storeLanes(x, scores, place);
        return x;
      },
      [&](Value x, Value y) { return add(x, y); });
  b.store(add(b.load(rows.totals, row, f32), total), rows.totals, row);
}

void SoftmaxBuilder::rescale(Value row) {
  // Most blocks do not raise the maximum, and x * 1 is x.
  Value correction = b.load(rows.corrections, row, f32);
  Value changes = b.create<arith::CmpFOp>(arith::CmpFPredicate::UNE, correction,
                                          b.constant(f32, 1.0));
  b.ifThen(changes, [&] {
    Value factor = b.splat(correction);
    Value start = b.mul(row, valueStride);
    b.loop(start, b.add(start, valueStride), kLanes, [&](Value i) {
      b.storeLanes(multiply(b.loadLanes(sums, i, f32), factor), sums, i);
    });
  });
}

LLVM::LLVMFuncOp generic::getAttentionSoftmax(CodeBuilder &b,
                                              KernelModule &module,
                                              moex::AttentionOp op,
                                              int64_t valueStride) {
  Type ptr = b.ptrType(), i64 = b.getI64Type();
  auto bitsOf = [](llvm::APFloat value) {
    return llvm::utohexstr(value.bitcastToAPInt().getZExtValue(),
                           /*LowerCase=*/true);
  };
  std::string name = "moe_attention_softmax_v" + std::to_string(valueStride) +
                     "_" + bitsOf(op.getScale());
  if (op.getSoftcap())
    name += "_cap_" + bitsOf(*op.getSoftcap());
  auto type = LLVM::LLVMFunctionType::get(
      LLVM::LLVMVoidType::get(b.getContext()), {ptr, ptr, ptr, i64, i64});
  return module.getHelper(
      b.getLoc(), name, type, [&](CodeBuilder &builder, ValueRange arguments) {
        SoftmaxBuilder(builder, op, valueStride, arguments).build();
      });
}
