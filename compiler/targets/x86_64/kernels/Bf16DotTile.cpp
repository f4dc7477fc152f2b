//===- Bf16DotTile.cpp - Products of bf16 by VDPBF16PS --------------------===//
//
// The panel holds x as bf16; a pair of columns is one lane of 32 bits in it and
// in the weights. The instruction adds the product of the odd column to the
// sum, then that of the even one, each fused, and takes denormals as zero: that
// is the order of the chain at this level.
//
// A tile of up to six rows takes four blocks at once: 24 sums, four vectors of
// weights and a broadcast fill the 32 registers, and the four streams of a
// single row read memory as fast as a plain copy does.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/x86_64/kernels/Bf16Dot.h"
#include "compiler/targets/x86_64/kernels/Tiles.h"

#include "dialects/moeq/MoeqDialect.h"

using namespace mlir;
using namespace moec;
using namespace moec::generic;
using namespace moec::x86;

namespace {

class Bf16DotTile : public GemmTile {
public:
  explicit Bf16DotTile(const GemmOperands &operands) : x(operands.x) {}

  std::string getPackName() const override {
    return std::string(x.isF32()    ? "f32"
                       : x.isBF16() ? "bf16"
                                    : "f16") +
           "_dot_bf16";
  }
  std::string getTileName() const override { return "dot_bf16"; }
  int64_t getMaxRows() const override { return 6; }
  int64_t getBlocks(int64_t rows) const override { return 4; }
  int64_t getPanelBytes(int64_t columns) const override {
    return llvm::alignTo(columns, 2 * kLanes) * 2;
  }
  int64_t getWeightBytes(int64_t columns) const override {
    return llvm::alignTo(columns, 2) * kLanes * 2;
  }

  void buildPack(CodeBuilder &b, ValueRange arguments) const override {
    buildRowConversion(b, arguments, x, [&](Value value) {
      return x.isBF16() ? value : roundToBf16(b, value);
    });
    // An odd last column is multiplied by weights that are zero.
    Value count = arguments[2];
    Type i16 = b.getIntegerType(16);
    b.ifThen(b.compare(arith::CmpIPredicate::ne, b.rem(count, 2), b.i64(0)),
             [&] { b.store(b.constant(i16, 0), arguments[0], count); });
    b.create<LLVM::ReturnOp>(ValueRange());
  }

private:
  void buildShape(CodeBuilder &b, const TileArguments &arguments, int64_t rows,
                  Value block, int64_t blocks) const override {
    Type i8 = b.getI8Type(), i32 = b.getI32Type();
    Value start = b.mul(block, kLanes);
    int64_t columns = blocks * kLanes;
    SmallVector<Value> rowPointers, blockPointers;
    for (int64_t row = 0; row < rows; ++row)
      rowPointers.push_back(
          b.element(arguments.panel, b.mul(arguments.panelStride, row), i8));
    for (int64_t i = 0; i < blocks; ++i)
      blockPointers.push_back(
          b.element(arguments.weights,
                    b.mul(b.add(block, i), arguments.blockStride), i8));
    auto step = [&](Value pair, ValueRange carried) -> CodeBuilder::Values {
      CodeBuilder::Values sums(carried.begin(), carried.end());
      SmallVector<Value> weights;
      Value line = b.mul(pair, kLanes);
      for (Value pointer : blockPointers)
        weights.push_back(b.loadLanes(pointer, line, i32));
      for (int64_t row = 0; row < rows; ++row) {
        Value element = b.splat(b.load(rowPointers[row], pair, i32));
        for (int64_t i = 0; i < blocks; ++i)
          sums[row * blocks + i] =
              dotPairs(b, sums[row * blocks + i], element, weights[i]);
      }
      return sums;
    };
    CodeBuilder::Values sums =
        loadSums(b, arguments, start, rows, columns, kLanes);
    Value pairs = b.div(b.add(arguments.count, 1), 2);
    sums = b.loop(b.i64(0), pairs, b.i64(1), sums, step);
    storeSums(b, arguments, start, rows, columns, kLanes, sums);
  }

  Type x;
};

} // namespace

std::unique_ptr<GemmTile> x86::createBf16DotTile(const target::IsaLevel &level,
                                                 const GemmOperands &operands) {
  if (operands.format || !operands.weight.isBF16() ||
      !operands.compute.isBF16() ||
      operands.layout != moeq::RowBlocksLayoutAttr::get(
                             operands.weight.getContext(), kLanes, 2))
    return nullptr;
  return std::make_unique<Bf16DotTile>(operands);
}
