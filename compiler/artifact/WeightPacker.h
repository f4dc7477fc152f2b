//===- WeightPacker.h - Weights of a module as bytes ------------*- C++ -*-===//
//
// Executes the recipes of `moe.weight` declarations and writes the results, in
// their format and layout, one after the other. Streaming: at no time is more
// than one weight in memory, and checkpoints are mapped, not read.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_ARTIFACT_WEIGHTPACKER_H
#define MOEC_COMPILER_ARTIFACT_WEIGHTPACKER_H

#include "dialects/moe/MoeDialect.h"
#include "frontend/weights/TensorSource.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/STLFunctionalExtras.h"

#include <cstdint>
#include <vector>

namespace moec {

/// Where one weight lies in the segment.
struct PlacedWeight {
  moe::WeightOp op;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  uint64_t checksum = 0; ///< XXH3-64 of the stored bytes, after packing
};

/// All weights of a module, in the order of their declarations: the ordinals of
/// the manifest. Known before a single byte is read.
struct WeightPlan {
  std::vector<PlacedWeight> weights;
  uint64_t segmentBytes = 0;
};

/// Computes sizes and offsets. Failure has emitted a diagnostic.
mlir::FailureOr<WeightPlan> planWeights(mlir::ModuleOp module);

/// Element type of the numbers that are stored for `op`: that of its format if
/// it stores plain numbers, else its own.
mlir::Type getStoredElementType(moe::WeightOp op);

/// Gives the codes of weights in canonical order, before they are laid out.
class WeightSupply {
public:
  virtual ~WeightSupply();
  /// Writes the codes of all elements of `op`. Failure has emitted a diagnostic
  /// at it.
  virtual llvm::LogicalResult supply(moe::WeightOp op,
                                     llvm::MutableArrayRef<char> codes) = 0;
};

/// Weights made from the tensors of a checkpoint by their recipes.
class FileWeights : public WeightSupply {
public:
  /// `files` must outlive this object.
  explicit FileWeights(const TensorFiles &files) : files(files) {}
  llvm::LogicalResult supply(moe::WeightOp op,
                             llvm::MutableArrayRef<char> codes) override;

private:
  const TensorFiles &files;
};

/// Weights without a checkpoint, for trying a model out: matrices normally
/// distributed with deviation 1/sqrt(fan-in), norms ones, integers zero. The
/// values depend on the seed and the name of the weight alone, and are the same
/// on every machine.
class SyntheticWeights : public WeightSupply {
public:
  explicit SyntheticWeights(uint64_t seed) : seed(seed) {}
  llvm::LogicalResult supply(moe::WeightOp op,
                             llvm::MutableArrayRef<char> codes) override;

private:
  uint64_t seed;
};

/// Writes `bytes` at `offset` of the segment.
using SegmentSink =
    llvm::function_ref<llvm::Error(uint64_t offset, llvm::StringRef bytes)>;

/// Packs every weight of `plan` and sets the checksums. Failure has emitted a
/// diagnostic.
llvm::LogicalResult packWeights(WeightPlan &plan, WeightSupply &supply,
                                SegmentSink sink);

} // namespace moec

#endif // MOEC_COMPILER_ARTIFACT_WEIGHTPACKER_H
