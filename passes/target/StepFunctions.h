//===- StepFunctions.h - The functions that a host calls --------*- C++ -*-===//
//
// Builds what surrounds the kernels of a step: access to the structs of
// moe_abi.h, sizes from affine maps, the team of threads.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_PASSES_TARGET_STEPFUNCTIONS_H
#define MOEC_PASSES_TARGET_STEPFUNCTIONS_H

#include "passes/target/CodeBuilder.h"

#include "mlir/IR/AffineMap.h"

#include <string>

namespace moec::target {

/// Fields of the structs of moe_abi.h, as values.
namespace abi {
mlir::Value getHost(CodeBuilder &b, mlir::Value step);
mlir::Value getBatch(CodeBuilder &b, mlir::Value step);
mlir::Value getScratch(CodeBuilder &b, mlir::Value step);
/// The array of weights, states or outputs of a step.
mlir::Value getWeights(CodeBuilder &b, mlir::Value step);
mlir::Value getWeight(CodeBuilder &b, mlir::Value step, int64_t ordinal);
mlir::Value getState(CodeBuilder &b, mlir::Value step, int64_t ordinal);
mlir::Value getOutput(CodeBuilder &b, mlir::Value step, int64_t ordinal);

mlir::Value getPositions(CodeBuilder &b, mlir::Value batch);
mlir::Value getCuSeqlens(CodeBuilder &b, mlir::Value batch);
mlir::Value getPageTable(CodeBuilder &b, mlir::Value batch);
mlir::Value getPagesPerSequence(CodeBuilder &b, mlir::Value batch);

/// Index of the participant and number of participants, as i64.
mlir::Value getThread(CodeBuilder &b, mlir::Value worker);
mlir::Value getThreads(CodeBuilder &b, mlir::Value worker);
/// Waits for all participants.
void callBarrier(CodeBuilder &b, mlir::Value step, mlir::Value worker);
} // namespace abi

/// The eleven extents (T, B, R, M0 .. M7) of a step, loaded when needed.
class Extents {
public:
  /// `extents` points to a moe_extents_v1.
  Extents(CodeBuilder &b, mlir::Value extents);
  static Extents ofStep(CodeBuilder &b, mlir::Value step);

  /// The value of a map with one result.
  mlir::Value evaluate(mlir::AffineMap map);
  mlir::Value getTokens();
  mlir::Value getSequences();
  mlir::Value getResultRows();

private:
  mlir::Value evaluate(mlir::AffineExpr expr);

  CodeBuilder &b;
  mlir::Value pointer;
  llvm::SmallVector<mlir::Value> values;
};

/// The text of a map of extents, for people: "T * 512 + R * 64".
std::string printExtentsFormula(mlir::AffineMap map);

/// The array of a field of the batch. `modality` belongs to `raw`.
mlir::Value getBatchField(CodeBuilder &b, mlir::Value step, unsigned field,
                          int64_t modality);

/// Fills `func`: ptr step -> i32. Runs `body` on a team.
void buildStepFunction(mlir::LLVM::LLVMFuncOp func,
                       mlir::LLVM::LLVMFuncOp body);
/// Fills `func`: ptr extents -> i64.
void buildScratchFunction(mlir::LLVM::LLVMFuncOp func, mlir::AffineMap bytes);

} // namespace moec::target

#endif // MOEC_PASSES_TARGET_STEPFUNCTIONS_H
