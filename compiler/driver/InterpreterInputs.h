//===- InterpreterInputs.h - Inputs of moe-interp as operands ---*- C++ -*-===//
#ifndef MOEC_COMPILER_DRIVER_INTERPRETERINPUTS_H
#define MOEC_COMPILER_DRIVER_INTERPRETERINPUTS_H

#include "dialects/interfaces/HostTensor.h"
#include "dialects/moe/MoeDialect.h"
#include "passes/verify/ModelEvaluator.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"

#include <map>
#include <string>
#include <vector>

namespace moec {

/// One sequence, put together from the inputs of the command line in their
/// order, and the operands of a step function for parts of it. Failure has
/// emitted a diagnostic.
class InterpreterInputs {
public:
  InterpreterInputs(mlir::ModuleOp module, mlir::func::FuncOp function)
      : module(module), function(function) {}

  /// "[NAME=]1,2,3".
  llvm::LogicalResult addIds(llvm::StringRef text);
  /// "NAME=FILE".
  llvm::LogicalResult addRaw(llvm::StringRef text);
  /// A npy file [routers, tokens, slots] or [routers, experts]: what
  /// `moe.routing_operand` reads as `field`.
  llvm::LogicalResult addRouting(RoutingField field, llvm::StringRef path);
  /// Gives it to the routers of tokens `first` .. `first + count - 1`.
  llvm::LogicalResult giveRouting(ModelEvaluator &evaluator, int64_t first,
                                  int64_t count);
  int64_t tokenCount() const { return static_cast<int64_t>(tokens.size()); }
  /// For tokens `first` .. `first + count - 1`, all of which give logits.
  mlir::FailureOr<std::vector<HostTensor>> operands(int64_t first,
                                                    int64_t count);

private:
  moe::ModalityOp findModality(llvm::StringRef name, bool isRaw);
  mlir::FailureOr<HostTensor> operand(unsigned index, int64_t first,
                                      int64_t count);

  struct Array {
    llvm::SmallVector<int64_t> shape;
    std::vector<float> numbers;
    std::string path;
  };

  mlir::ModuleOp module;
  mlir::func::FuncOp function;
  std::vector<int32_t> tokens, kinds;
  /// Raw inputs by modality id, one after the other.
  std::map<int64_t, std::vector<float>> raw;
  std::map<RoutingField, Array> routing;
};

} // namespace moec

#endif // MOEC_COMPILER_DRIVER_INTERPRETERINPUTS_H
