//===- DeviceCode.h - Kernels of a device level -----------------*- C++ -*-===//
//
// The kernels of a device level live in a module of their own inside the
// model's: `module @moe_device__L attributes {moex.level = .., moex.kernels =
// [..], moex.constants = ..}`. The step function of the level stays in the
// model's module; it is host code that launches them (runtime/abi/moe_abi.h).
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_PASSES_TARGET_DEVICECODE_H
#define MOEC_PASSES_TARGET_DEVICECODE_H

#include "passes/target/KernelEmitter.h"

#include "mlir/IR/BuiltinOps.h"

#include <map>
#include <vector>

namespace moec::target {

class DeviceCode {
public:
  /// Creates the nested module. `model` and `level` outlive this.
  DeviceCode(mlir::ModuleOp model, const KernelEmitter &emitter,
             const IsaLevel &level);

  /// A launch whose kernel exists.
  struct Launch {
    unsigned kernel;
    int64_t sharedBytes;
    std::function<DeviceGrid(CodeBuilder &host, const StepSizes &sizes)> grid;
  };
  /// The launches of an operation, and the scratch that they share.
  struct Launches {
    llvm::SmallVector<Launch> launches;
    int64_t scratchBytes = 0;
  };

  /// Builds the kernels of an operation.
  mlir::FailureOr<Launches> addKernels(const KernelRequest &request,
                                       llvm::StringRef name);

  /// Builds the kernels that choose tokens; none where the target has none.
  /// `function` is host code that launches them, which the model's table names.
  mlir::FailureOr<llvm::SmallVector<Launch>>
  addSampling(mlir::Location loc, llvm::StringRef function);

  /// The offset in bytes of `values` among the level's constants.
  int64_t addConstants(llvm::ArrayRef<int32_t> values);

  /// Expands the arithmetic of the kernels and writes down what they are.
  mlir::LogicalResult finish();

private:
  using Arguments =
      llvm::function_ref<KernelArguments(CodeBuilder &, mlir::Block &)>;
  mlir::FailureOr<Launch> addKernel(mlir::Location loc,
                                    const DeviceLaunch &part,
                                    llvm::StringRef name, size_t operands,
                                    Arguments readArguments);

  const KernelEmitter &emitter;
  const IsaLevel &level;
  mlir::ModuleOp module;
  KernelModule functions;
  llvm::SmallVector<mlir::Attribute> kernels;
  std::vector<int32_t> constants;
  std::map<std::vector<int32_t>, int64_t> knownConstants;
};

/// Builds the launches of one step function. They share the memory in which
/// arguments are handed over.
class LaunchBuilder {
public:
  /// `most` arguments of a launch.
  LaunchBuilder(CodeBuilder &host, mlir::Value step, int64_t most);

  /// Launches a kernel on rows, operands' addresses and, if the operation has
  /// any, that of its scratch.
  void launch(const DeviceCode::Launch &launch, mlir::Value rows,
              mlir::ValueRange operands);
  /// 0, or what launches that failed have returned, an i32.
  mlir::Value getStatus() const { return status; }

private:
  CodeBuilder &b;
  mlir::Value step, values, record, status;
};

} // namespace moec::target

#endif // MOEC_PASSES_TARGET_DEVICECODE_H
