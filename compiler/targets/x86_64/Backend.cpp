//===- Backend.cpp - x86-64 processors ------------------------------------===//
//
// Three levels of instructions. Kernels come from the generators of `generic`,
// with the level's vector length; matrix products and the scores of attention
// have arithmetic of their own where the level has dot-product instructions.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/TargetBackend.h"
#include "compiler/targets/generic/CpuEmitter.h"
#include "compiler/targets/x86_64/kernels/Tiles.h"

using namespace mlir;
using namespace moec;
using target::IsaLevel;

namespace {

llvm::SmallVector<IsaLevel> createLevels() {
  IsaLevel avx2;
  avx2.name = "avx2";
  avx2.features = {"+avx2", "+bmi2", "+f16c", "+fma"};
  avx2.vectorBytes = 32;
  avx2.hasFma = avx2.hasF16c = true;
  IsaLevel avx512 = avx2;
  avx512.name = "avx512";
  // What Cooper Lake, Sapphire Rapids and Zen 4 have in common; processors with
  // AVX-512 but without its dot products run avx2.
  avx512.features.append({"+avx512f", "+avx512bw", "+avx512dq", "+avx512vl",
                          "+avx512vnni", "+avx512bf16"});
  avx512.vectorBytes = 64;
  avx512.hasDotProducts = true;
  return {generic::getBaselineLevel(), avx2, avx512};
}

std::unique_ptr<generic::GemmTile>
createTile(const IsaLevel &level, const generic::GemmOperands &operands) {
  if (level.hasDotProducts)
    for (auto create : {x86::createBf16DotTile, x86::createInt8DotTile})
      if (auto tile = create(level, operands))
        return tile;
  return generic::createAnyTile(level, operands);
}

std::unique_ptr<generic::ScoreArithmetic> createScores(const IsaLevel &level,
                                                       Type compute) {
  if (level.hasDotProducts && compute.isBF16())
    return x86::createBf16DotScores();
  return generic::createPlainScores(level, compute);
}

class X86Backend : public TargetBackend {
public:
  X86Backend() : emitter("x86_64", createLevels(), createTile, createScores) {}

  StringRef getName() const override { return "x86_64"; }
  StringRef getDescription() const override {
    return "x86-64 processors, levels generic, avx2 and avx512";
  }
  const TargetModel &getModel() const override { return model; }
  const target::KernelEmitter &getKernelEmitter() const override {
    return emitter;
  }

private:
  CpuTargetModel model;
  generic::CpuEmitter emitter;
};

TargetRegistration<X86Backend> registration;

} // namespace
