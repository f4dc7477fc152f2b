//===- Bf16DotScores.cpp - Queries times keys by VDPBF16PS ----------------===//
//
// The order of summation is that of products of weights at this level
// (Bf16DotTile.cpp): pair by pair, the odd element of a pair first.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/x86_64/kernels/Bf16Dot.h"
#include "compiler/targets/x86_64/kernels/Tiles.h"

using namespace mlir;
using namespace moec;
using namespace moec::generic;
using namespace moec::x86;

Value x86::roundToBf16(CodeBuilder &b, Value value) {
  value = b.toF32(value);
  auto vector = dyn_cast<VectorType>(value.getType());
  if (!vector)
    return b.fromF32(value, b.getBF16Type());
  Type result = b.vectorOf(b.getBF16Type(), vector.getNumElements());
  return b
      .create<LLVM::CallIntrinsicOp>(
          result, b.getStringAttr("llvm.x86.avx512bf16.cvtneps2bf16.512"),
          ValueRange{value})
      .getResults();
}

Value x86::dotPairs(CodeBuilder &b, Value sum, Value x, Value y) {
  auto asBf16 = [&](Value pairs) -> Value {
    return b.create<LLVM::BitcastOp>(b.vectorOf(b.getBF16Type(), 2 * kLanes),
                                     pairs);
  };
  return b
      .create<LLVM::CallIntrinsicOp>(
          sum.getType(), b.getStringAttr("llvm.x86.avx512bf16.dpbf16ps.512"),
          ValueRange{sum, asBf16(x), asBf16(y)})
      .getResults();
}

namespace {

class Bf16DotScores : public ScoreArithmetic {
public:
  std::string getName() const override { return "dot_bf16"; }
  int64_t getPack() const override { return 2; }

  Value toWords(CodeBuilder &b, Value elements) const override {
    auto type = cast<VectorType>(elements.getType());
    int64_t words = type.getNumElements() / 2;
    auto asWords = [&](Value x) -> Value {
      int64_t count = cast<VectorType>(x.getType()).getNumElements() / 2;
      return b.create<LLVM::BitcastOp>(b.vectorOf(b.getI32Type(), count), x);
    };
    if (type.getElementType().isBF16())
      return asWords(elements);
    SmallVector<Value> halves;
    for (int64_t first : {int64_t(0), words})
      halves.push_back(
          asWords(roundToBf16(b, b.slice(elements, first, words))));
    return b.concat(halves);
  }

  Value multiplyAdd(CodeBuilder &b, Value x, Value y,
                    Value sum) const override {
    return dotPairs(b, sum, x, y);
  }
};

} // namespace

std::unique_ptr<ScoreArithmetic> x86::createBf16DotScores() {
  return std::make_unique<Bf16DotScores>();
}
