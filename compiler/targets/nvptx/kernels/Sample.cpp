//===- Sample.cpp - Tokens from rows of logits ----------------------------===//
//
// One block chooses the token behind one row, by the rules of the runtime's
// sampler (runtime/include/moe/sampling.h) and to the bit: weights are whole
// numbers, made by the same operations (runtime/lib/sample/Weight.h), and sums
// of them are exact in any order. A logit is looked at as a key, an integer of
// the same order.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/nvptx/NvKernels.h"

#include "runtime/abi/moe_abi.h"

#include <cstddef>
#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;

static constexpr int64_t kThreads = 512, kWarps = kThreads / kWarp;
/// Keys have 32 bits; a round of a selection decides 8 of them.
static constexpr int64_t kRounds = 4, kDigitBits = 8, kBins = 1 << kDigitBits;
static constexpr int64_t kBinsOfLane = kBins / kWarp;
/// Keys of minus infinity, and of what is no number.
static constexpr int64_t kLowestKey = 0x007fffff;
static constexpr int64_t kNoNumber = std::numeric_limits<int64_t>::max();

namespace {

/// Builds the choice of one row. All threads of the block take part in
/// everything, and all have every result.
class RowChooser {
public:
  RowChooser(CodeBuilder &b, Value step);
  void build(Value row);

private:
  /// A logit: its bits, its key, its place in the row.
  struct Logit {
    Value index, bits, key;
  };
  /// What a token counts in a sum, a number of 0 or more.
  using CountFn = function_ref<Value(const Logit &)>;
  /// What is looked for, from the sum over all tokens.
  using TargetFn = function_ref<Value(Value)>;

  Logit load(Value index);
  Value constantOf(double value) { return b.constant(b.getF64Type(), value); }
  Value isEqual(Value x, Value y) {
    return b.compare(arith::CmpIPredicate::eq, x, y);
  }
  Value isAtLeast(Value x, Value y) {
    return b.compare(arith::CmpIPredicate::sge, x, y);
  }
  Value both(Value x, Value y) { return b.create<arith::AndIOp>(x, y); }
  Value shiftRight(Value x, Value by) {
    return b.create<arith::ShRUIOp>(x, by);
  }

  Value penalized(Value logit);
  void forHistory(function_ref<void(Value, Value)> body);
  void penalize();
  void restore();
  Value choose();
  Value largestOfBlock(Value value);
  Value sumUpTo(Value value);
  std::pair<Value, Value> firstLane(Value sums, Value values, Value target);
  std::pair<Value, Value> selectKey(CountFn count, TargetFn target);
  Value locate(CountFn count, TargetFn target);
  Value weightOf(Value bits);
  Value roundWeight(Value weight);
  Value draw();
  std::pair<Value, Value> applyTopP(Value least);

  CodeBuilder &b;
  Value thread, lane, warp;
  Value bins, words; // of shared memory: one per digit, one per warp
  Value sampling, width;
  Value logits, options;                          // of the row
  Value history, saved, hasHistory, historyCount; // of the row
  Value largest;                                  // of the row, f64
};

} // namespace

/// A field of a struct on the device.
static Value getField(CodeBuilder &b, Value base, size_t offset, Type type) {
  return b.load(b.field(base, offset), type);
}

RowChooser::RowChooser(CodeBuilder &b, Value step)
    : b(b), thread(threadId(b)), lane(laneId(b)), warp(warpId(b)) {
  bins = sharedMemory(b);
  words = b.field(bins, kBins * sizeof(uint64_t));
  sampling = getField(b, step, offsetof(moe_step_v1, sampling), b.ptrType());
  width =
      getField(b, sampling, offsetof(moe_sampling_v1, width), b.getI64Type());
}

//===----------------------------------------------------------------------===//
// Logits
//===----------------------------------------------------------------------===//

/// Both zeros have one key. What is no number or infinite has kNoNumber.
RowChooser::Logit RowChooser::load(Value index) {
  Type i32 = b.getI32Type();
  Value bits = b.load(logits, index, i32);
  Value sign = b.i32(std::numeric_limits<int32_t>::min());
  bits = b.select(isEqual(bits, sign), b.i32(0), bits);
  Value isNegative = b.lessThan(bits, b.i32(0));
  Value flip = b.select(isNegative, b.i32(-1), sign);
  Value key = b.create<arith::ExtUIOp>(
      b.getI64Type(), b.create<arith::XOrIOp>(bits, flip).getResult());
  Value magnitude =
      b.create<arith::AndIOp>(bits, b.i32(std::numeric_limits<int32_t>::max()));
  constexpr int64_t kInfinity = 0x7f800000;
  Value isNone = b.create<arith::OrIOp>(b.lessThan(b.i32(kInfinity), magnitude),
                                        isEqual(bits, b.i32(kInfinity)));
  return {index, bits, b.select(isNone, b.i64(kNoNumber), key)};
}

/// 2^(distance to the largest * scale), times 2^unit_bits; f64, not rounded.
Value RowChooser::weightOf(Value bits) {
  static constexpr double kTerms[] = {
#define MOE_EXP2_TERM(coefficient) coefficient,
#include "runtime/abi/moe_exp2.def"
#undef MOE_EXP2_TERM
  };
  Type i64 = b.getI64Type(), f64 = b.getF64Type();
  Value logit = b.create<arith::ExtFOp>(
      f64, b.create<arith::BitcastOp>(b.getF32Type(), bits).getResult());
  Value scale = getField(b, options, offsetof(moe_sampling_row_v1, scale), f64);
  Value exponent = b.create<arith::MulFOp>(
      b.create<arith::SubFOp>(logit, largest).getResult(), scale);
  Value isSmall = b.create<arith::CmpFOp>(arith::CmpFPredicate::OLE, exponent,
                                          constantOf(-64));
  // What is too small is computed all the same, as a harmless number.
  exponent = b.select(isSmall, constantOf(0), exponent);
  constexpr double kMagic = 6755399441055744.0; // rounds to whole numbers
  constexpr int64_t kMagicBits = 0x4338000000000000, kBias = 1023;
  Value magic = constantOf(kMagic);
  Value shifted = b.create<arith::AddFOp>(exponent, magic);
  Value rest = b.create<arith::SubFOp>(
      exponent, b.create<arith::SubFOp>(shifted, magic).getResult());
  Value power = constantOf(kTerms[std::size(kTerms) - 1]);
  for (double term : llvm::reverse(ArrayRef(kTerms).drop_back()))
    power = b.create<arith::AddFOp>(
        b.create<arith::MulFOp>(power, rest).getResult(), constantOf(term));
  Value unit = getField(b, sampling, offsetof(moe_sampling_v1, unit_bits), i64);
  Value code = b.create<arith::BitcastOp>(i64, shifted);
  code = b.add(b.add(code, b.i64(kBias - kMagicBits)), unit);
  code = b.create<arith::ShLIOp>(code, b.i64(52));
  Value weight = b.create<arith::MulFOp>(
      power, b.create<arith::BitcastOp>(f64, code).getResult());
  return b.select(isSmall, constantOf(0), weight);
}

Value RowChooser::roundWeight(Value weight) {
  return b.create<arith::FPToSIOp>(
      b.getI64Type(),
      b.create<arith::AddFOp>(weight, constantOf(0.5)).getResult());
}

//===----------------------------------------------------------------------===//
// Sums
//===----------------------------------------------------------------------===//

Value RowChooser::largestOfBlock(Value value) {
  for (int64_t mask = kWarp / 2; mask > 0; mask /= 2)
    value = b.max(value, shuffleXor(b, value, mask));
  b.ifThen(isEqual(lane, b.i64(0)), [&] { b.store(value, words, warp); });
  syncBlock(b);
  value = b.load(words, b.rem(lane, kWarps), b.getI64Type());
  for (int64_t mask = kWarps / 2; mask > 0; mask /= 2)
    value = b.max(value, shuffleXor(b, value, mask));
  syncBlock(b);
  return value;
}

/// The sum of this lane and those below.
Value RowChooser::sumUpTo(Value value) {
  for (int64_t delta = 1; delta < kWarp; delta *= 2) {
    Value below = shuffleUp(b, value, delta);
    Value isThere = isAtLeast(lane, b.i64(delta));
    value = b.add(value, b.select(isThere, below, b.i64(0)));
  }
  return value;
}

/// The first lane whose sum reaches `target`, and what the lanes before it
/// have. `values` are those that were summed up.
std::pair<Value, Value> RowChooser::firstLane(Value sums, Value values,
                                              Value target) {
  Type i32 = b.getI32Type();
  Value mask = ballot(b, isAtLeast(sums, target));
  // Some lane does; without that, the result would be undefined.
  Value first = b.create<LLVM::CountTrailingZerosOp>(i32, mask, false);
  first = b.min(first, b.i32(kWarp - 1));
  return {b.widen(first), shuffleFrom(b, b.sub(sums, values), first)};
}

/// The largest key for which the tokens of this key and larger ones count
/// `target` together, at least 1, and what those of this very key must count to
/// reach it.
std::pair<Value, Value> RowChooser::selectKey(CountFn count, TargetFn target) {
  Value zero = b.i64(0);
  CodeBuilder::Values found = b.loop(
      zero, b.i64(kRounds), b.i64(1), ValueRange{zero, zero},
      [&](Value round, ValueRange carried) -> CodeBuilder::Values {
        Value prefix = carried[0];
        Value shift =
            b.sub(b.i64((kRounds - 1) * kDigitBits), b.mul(round, kDigitBits));
        b.ifThen(b.lessThan(thread, b.i64(kBins)),
                 [&] { b.store(zero, bins, thread); });
        syncBlock(b);
        b.loop(thread, width, kThreads, [&](Value i) {
          Logit logit = load(i);
          Value digits = shiftRight(logit.key, shift);
          Value isInside =
              isEqual(shiftRight(digits, b.i64(kDigitBits)), prefix);
          b.ifThen(isInside, [&] {
            Value bin = b.element(bins, b.rem(digits, kBins), b.getI64Type());
            b.create<LLVM::AtomicRMWOp>(
                LLVM::AtomicBinOp::add, bin, count(logit),
                LLVM::AtomicOrdering::monotonic, "block");
          });
        });
        syncBlock(b);
        // A lane has 8 bins, the first one those of the largest digits.
        Value last = b.sub(b.i64(kBins - 1), b.mul(lane, kBinsOfLane));
        Value own = zero;
        for (int64_t i = 0; i < kBinsOfLane; ++i)
          own = b.add(own, b.load(bins, b.sub(last, b.i64(i)), b.getI64Type()));
        Value sums = sumUpTo(own);
        Value all = shuffleFrom(b, sums, b.i32(kWarp - 1));
        Value wanted = b.select(isEqual(round, zero), target(all), carried[1]);
        auto [first, before] = firstLane(sums, own, wanted);
        wanted = b.sub(wanted, before);
        // Then one bin a lane.
        Value group = b.sub(b.i64(kBins - 1), b.mul(first, kBinsOfLane));
        Value bin = b.sub(group, b.rem(lane, kBinsOfLane));
        own = b.select(b.lessThan(lane, b.i64(kBinsOfLane)),
                       b.load(bins, bin, b.getI64Type()), zero);
        auto [second, between] = firstLane(sumUpTo(own), own, wanted);
        syncBlock(b);
        Value digit = b.sub(group, second);
        return {b.add(b.mul(prefix, kBins), digit), b.sub(wanted, between)};
      });
  return {found[0], found[1]};
}

/// The first token, ids ascending, with which the sum passes `target`, which is
/// below the sum of all. A round cuts what is left into a part per warp.
Value RowChooser::locate(CountFn count, TargetFn target) {
  Type i64 = b.getI64Type();
  Value zero = b.i64(0);
  Value bits = b.sub(b.i64(64), b.create<LLVM::CountLeadingZerosOp>(
                                    i64, b.sub(width, b.i64(1)), false));
  constexpr int64_t kBitsOfRound = 4;
  static_assert(kWarps == 1 << kBitsOfRound, "as many parts as warps");
  Value rounds = ceilDiv(b, bits, kBitsOfRound);
  return b.loop(
      zero, rounds, b.i64(1), ValueRange{zero, width, zero},
      [&](Value round, ValueRange carried) -> CodeBuilder::Values {
        Value low = carried[0], high = carried[1];
        Value size = ceilDiv(b, b.sub(high, low), kWarps);
        Value begin = b.add(low, b.mul(warp, size));
        Value end = b.min(b.add(begin, size), high);
        Value sum =
            b.loop(b.add(begin, lane), end, b.i64(kWarp), ValueRange{zero},
                   [&](Value i, ValueRange sums) -> CodeBuilder::Values {
                     return {b.add(sums[0], count(load(i)))};
                   })[0];
        for (int64_t mask = kWarp / 2; mask > 0; mask /= 2)
          sum = b.add(sum, shuffleXor(b, sum, mask));
        b.ifThen(isEqual(lane, zero), [&] { b.store(sum, words, warp); });
        syncBlock(b);
        Value own = b.select(b.lessThan(lane, b.i64(kWarps)),
                             b.load(words, b.rem(lane, kWarps), i64), zero);
        Value sums = sumUpTo(own);
        Value all = shuffleFrom(b, sums, b.i32(kWarp - 1));
        Value wanted = b.select(isEqual(round, zero), target(all), carried[2]);
        auto [first, before] = firstLane(sums, own, b.add(wanted, 1));
        syncBlock(b);
        low = b.add(low, b.mul(first, size));
        return {low, b.min(b.add(low, size), high), b.sub(wanted, before)};
      })[0];
}

//===----------------------------------------------------------------------===//
// The choice
//===----------------------------------------------------------------------===//

/// The key of the last token that top-p keeps, and the largest id that it keeps
/// among tokens of this key. Tokens below key `least` are out already.
std::pair<Value, Value> RowChooser::applyTopP(Value least) {
  Type i64 = b.getI64Type(), f64 = b.getF64Type();
  Value topP = getField(b, options, offsetof(moe_sampling_row_v1, top_p), f64);
  Value narrows =
      b.create<arith::CmpFOp>(arith::CmpFPredicate::OLT, topP, constantOf(1));
  CodeBuilder::Values last = b.choose(
      narrows,
      [&]() -> CodeBuilder::Values {
        auto [key, missing] = selectKey(
            [&](const Logit &logit) {
              Value weight = roundWeight(weightOf(logit.bits));
              return b.select(isAtLeast(logit.key, least), weight, b.i64(0));
            },
            [&](Value all) {
              Value part = b.create<arith::MulFOp>(
                  topP, b.create<arith::SIToFPOp>(f64, all).getResult());
              return b.max(b.create<arith::FPToSIOp>(i64, part), b.i64(1));
            });
        // Of tokens with the same logit the first ones stay.
        Value sign = b.i32(std::numeric_limits<int32_t>::min());
        Value code = b.create<arith::TruncIOp>(b.getI32Type(), key);
        Value flip = b.select(b.lessThan(code, b.i32(0)), sign, b.i32(-1));
        Value weight =
            roundWeight(weightOf(b.create<arith::XOrIOp>(code, flip)));
        Value one = b.i64(1);
        weight = b.max(weight, one); // it is: a token was selected by it
        Value count = b.div(b.add(missing, b.sub(weight, one)), weight);
        Value id = locate(
            [&, key = key](const Logit &logit) {
              return b.select(isEqual(logit.key, key), one, b.i64(0));
            },
            [&](Value) { return b.sub(count, one); });
        return {key, id};
      },
      [&]() -> CodeBuilder::Values {
        return {least, b.i64(std::numeric_limits<int64_t>::max())};
      });
  return {last[0], last[1]};
}

Value RowChooser::draw() {
  Type i64 = b.getI64Type(), f64 = b.getF64Type();
  Value topK = getField(b, options, offsetof(moe_sampling_row_v1, top_k), i64);
  Value narrows = both(b.lessThan(b.i64(0), topK), b.lessThan(topK, width));
  Value least = b.choose(
      narrows,
      [&]() -> CodeBuilder::Values {
        return {selectKey([&](const Logit &) { return b.i64(1); },
                          [&](Value) { return topK; })
                    .first};
      },
      [&]() -> CodeBuilder::Values { return {b.i64(0)}; })[0];
  auto [key, lastId] = applyTopP(least);
  Value minWeight =
      getField(b, options, offsetof(moe_sampling_row_v1, min_weight), f64);
  Value random =
      getField(b, options, offsetof(moe_sampling_row_v1, random), i64);
  return locate(
      [&, key = key, lastId = lastId](const Logit &logit) {
        Value isKept = b.create<arith::OrIOp>(
            b.lessThan(key, logit.key),
            both(isEqual(key, logit.key), isAtLeast(lastId, logit.index)));
        return b.choose(
            isKept,
            [&]() -> CodeBuilder::Values {
              Value weight = weightOf(logit.bits);
              Value isProbable = b.create<arith::CmpFOp>(
                  arith::CmpFPredicate::OGE, weight, minWeight);
              return {b.select(isProbable, roundWeight(weight), b.i64(0))};
            },
            [&]() -> CodeBuilder::Values { return {b.i64(0)}; })[0];
      },
      [&](Value all) {
        return b.create<arith::MulUIExtendedOp>(random, all).getHigh();
      });
}

/// A logit of the history; what leads out of f32 becomes a NaN.
Value RowChooser::penalized(Value logit) {
  Type f32 = b.getF32Type(), f64 = b.getF64Type();
  Value penalty =
      getField(b, options, offsetof(moe_sampling_row_v1, penalty), f64);
  Value wide = b.create<arith::ExtFOp>(f64, logit);
  Value isPositive =
      b.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, wide, constantOf(0));
  Value result = b.toF32(
      b.select(isPositive, b.create<arith::DivFOp>(wide, penalty).getResult(),
               b.create<arith::MulFOp>(wide, penalty).getResult()));
  auto isFinite = [&](Value x) {
    Value difference = b.create<arith::SubFOp>(x, x);
    return b.create<arith::CmpFOp>(arith::CmpFPredicate::OEQ, difference,
                                   b.constant(f32, 0));
  };
  Value isFine = b.create<arith::OrIOp>(
      isFinite(result),
      b.create<arith::XOrIOp>(isFinite(logit), b.constant(b.getI1Type(), 1)));
  return b.select(isFine, result,
                  b.constant(f32, std::numeric_limits<double>::quiet_NaN()));
}

/// Runs `body` for each number in the history of the row and its token.
void RowChooser::forHistory(function_ref<void(Value, Value)> body) {
  b.loop(thread, historyCount, kThreads, [&](Value i) {
    body(i, b.widen(b.load(history, i, b.getI32Type())));
  });
}

/// Once for each token: all are read before the first is written.
void RowChooser::penalize() {
  Type f32 = b.getF32Type();
  b.ifThen(hasHistory, [&] {
    forHistory(
        [&](Value i, Value id) { b.store(b.load(logits, id, f32), saved, i); });
    syncBlock(b);
    forHistory([&](Value i, Value id) {
      b.store(penalized(b.load(saved, i, f32)), logits, id);
    });
    syncBlock(b);
  });
}

void RowChooser::restore() {
  b.ifThen(hasHistory, [&] {
    syncBlock(b);
    forHistory([&](Value i, Value id) {
      b.store(b.load(saved, i, b.getF32Type()), logits, id);
    });
  });
}

void RowChooser::build(Value row) {
  Type i64 = b.getI64Type();
  auto pointer = [&](size_t offset) {
    return getField(b, sampling, offset, b.ptrType());
  };
  logits = asGlobal(b, b.element(pointer(offsetof(moe_sampling_v1, logits)),
                                 b.mul(row, width), b.getF32Type()));
  // A host may know more options than there are here.
  Value rows = pointer(offsetof(moe_sampling_v1, rows));
  Value size = getField(b, rows, offsetof(moe_sampling_row_v1, size), i64);
  options = b.element(rows, b.mul(row, size), b.getI8Type());
  Value begin =
      getField(b, options, offsetof(moe_sampling_row_v1, history_begin), i64);
  historyCount =
      getField(b, options, offsetof(moe_sampling_row_v1, history_count), i64);
  hasHistory = b.lessThan(b.i64(0), historyCount);
  auto ofRow = [&](size_t offset) {
    return asGlobal(b, b.element(pointer(offset), begin, b.getI32Type()));
  };
  history = ofRow(offsetof(moe_sampling_v1, history));
  saved = ofRow(offsetof(moe_sampling_v1, saved));

  penalize();
  Value token = choose();
  restore();
  b.ifThen(isEqual(thread, b.i64(0)), [&] {
    b.store(b.create<arith::TruncIOp>(b.getI32Type(), token),
            pointer(offsetof(moe_sampling_v1, tokens)), row);
  });
}

Value RowChooser::choose() {
  Type f64 = b.getF64Type();
  // The largest key, of equal ones that of the lowest id, in one number: 32
  // bits of the key, 31 of the id.
  constexpr int64_t kIdBits = 31, kMostIds = (int64_t(1) << kIdBits) - 1;
  Value best = b.loop(
      thread, width, b.i64(kThreads), ValueRange{b.i64(0)},
      [&](Value i, ValueRange carried) -> CodeBuilder::Values {
        Logit logit = load(i);
        Value code = b.create<arith::OrIOp>(
            b.create<arith::ShLIOp>(logit.key, b.i64(kIdBits)),
            b.sub(b.i64(kMostIds), i));
        Value isNone = isEqual(logit.key, b.i64(kNoNumber));
        return {b.max(carried[0], b.select(isNone, b.i64(kNoNumber), code))};
      })[0];
  best = largestOfBlock(best);
  Value id =
      b.sub(b.i64(kMostIds), b.create<arith::AndIOp>(best, b.i64(kMostIds)));
  Value isBad = b.create<arith::OrIOp>(
      isEqual(best, b.i64(kNoNumber)),
      isAtLeast(b.i64(kLowestKey), shiftRight(best, b.i64(kIdBits))));
  Value scale = getField(b, options, offsetof(moe_sampling_row_v1, scale), f64);
  Value isGreedy =
      b.create<arith::CmpFOp>(arith::CmpFPredicate::OEQ, scale, constantOf(0));
  Value isDecided = b.create<arith::OrIOp>(isBad, isGreedy);
  return b.choose(
      isDecided,
      [&]() -> CodeBuilder::Values { return {b.select(isBad, b.i64(-1), id)}; },
      [&]() -> CodeBuilder::Values {
        largest =
            b.create<arith::ExtFOp>(f64, b.load(logits, id, b.getF32Type()));
        return {draw()};
      })[0];
}

DeviceLaunch nvptx::samplingLaunch() {
  DeviceLaunch launch;
  launch.threads = kThreads;
  launch.sharedBytes = (kBins + kWarps) * sizeof(uint64_t);
  launch.grid = [](CodeBuilder &host, Value rows) {
    return lineGrid(host, rows);
  };
  launch.emit = [](const KernelArguments &arguments, CodeBuilder &b,
                   KernelModule &) {
    RowChooser(b, arguments.step).build(blockId(b));
    return success();
  };
  return launch;
}
