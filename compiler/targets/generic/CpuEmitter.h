//===- CpuEmitter.h - Kernels of a CPU target -------------------*- C++ -*-===//
//
// Emits the kernels of this folder for any list of levels. A target for a
// family of processors adds its levels, and its own arithmetic for products.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_GENERIC_CPUEMITTER_H
#define MOEC_COMPILER_TARGETS_GENERIC_CPUEMITTER_H

#include "compiler/targets/generic/AttentionTile.h"
#include "compiler/targets/generic/GemmTile.h"

#include "passes/target/KernelEmitter.h"

namespace moec::generic {

/// What every x86-64 processor has.
target::IsaLevel getBaselineLevel();

class CpuEmitter : public target::KernelEmitter {
public:
  /// `levels`, worst first; `name` must outlive the emitter.
  CpuEmitter(llvm::StringRef name, llvm::SmallVector<target::IsaLevel> levels,
             GemmTileFactory createTile, ScoreArithmeticFactory createScores)
      : name(name), levels(std::move(levels)), createTile(createTile),
        createScores(createScores) {}

  llvm::StringRef getName() const override { return name; }
  llvm::ArrayRef<target::IsaLevel> getLevels() const override { return levels; }

  mlir::FailureOr<std::string>
  getKernelName(const target::KernelRequest &request) const override;
  mlir::LogicalResult emit(const target::KernelRequest &request,
                           const target::KernelArguments &arguments,
                           CodeBuilder &builder,
                           KernelModule &module) const override;

private:
  llvm::StringRef name;
  llvm::SmallVector<target::IsaLevel> levels;
  GemmTileFactory createTile;
  ScoreArithmeticFactory createScores;
};

} // namespace moec::generic

#endif // MOEC_COMPILER_TARGETS_GENERIC_CPUEMITTER_H
