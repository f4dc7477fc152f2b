//===- KernelTable.h - Which kernels run between two barriers ---*- C++ -*-===//
//
// A host that takes the time at every barrier of a step knows how long each
// interval between them took. The table says what ran in it: what the kernels
// are, of which layer, and which weights they read.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_PASSES_TARGET_KERNELTABLE_H
#define MOEC_PASSES_TARGET_KERNELTABLE_H

#include "passes/target/Declarations.h"

#include <optional>

namespace moec::target {

class KernelTable {
public:
  /// The kernels of `target`, which must outlive this.
  KernelTable(const Declarations &declarations, llvm::StringRef target)
      : declarations(&declarations), target(target) {}

  /// A barrier between kernels.
  void addBarrier() { ++interval; }
  /// A kernel, in the order in which they run. `barriers` are those inside of
  /// it; nothing where their number depends on the batch.
  void addKernel(mlir::Operation *op, std::optional<unsigned> barriers);

  /// A kernel of a device: each launch is an interval.
  void addLaunches(mlir::Operation *op, size_t launches);

  /// One record per kernel and interval, as docs/ir-conventions.md says. Empty
  /// where intervals cannot be numbered.
  mlir::ArrayAttr getKernels(mlir::MLIRContext *context) const;
  int64_t getIntervals() const { return numbered ? interval + 1 : 0; }

private:
  void addWeights(mlir::Operation *op, mlir::NamedAttrList &record);

  const Declarations *declarations;
  llvm::StringRef target;
  llvm::SmallVector<mlir::Attribute> records;
  int64_t interval = 0;
  /// Of the kernel before, for those that say nothing of their layer.
  int64_t layer = -1;
  bool numbered = true;
};

/// What people call a kernel: "attention", "experts gate+up", "norm", ..
std::string getKernelKind(mlir::Operation *op,
                          const Declarations &declarations);

} // namespace moec::target

#endif // MOEC_PASSES_TARGET_KERNELTABLE_H
