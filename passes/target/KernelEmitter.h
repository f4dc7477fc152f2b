//===- KernelEmitter.h - How a target provides kernels ----------*- C++ -*-===//
//
// `lower-to-llvm` turns every kernel operation of `moex` into a call of a
// function that is specialised to the operation. The pass owns names, sharing,
// signatures and calls; a target builds the bodies.
//
// Every kernel has the signature
//
//   void kernel(ptr step, ptr worker, i64 rows, ptr operand...)
//
// `step` is the moe_step_v1, `worker` the moe_worker_v1 of the caller, `rows`
// the row count of the operation: its `rows` map, or the tokens of the step.
// Then follows one pointer per operand, and per state: to the memory of a
// buffer, weight or state; for the weights of all experts two pointers, to the
// step's array of weights and to one i32 per expert that indexes it. Kernels of
// devices have no `worker`, of the weights of experts only the second pointer,
// and last a pointer to the operation's scratch, if it has any.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_PASSES_TARGET_KERNELEMITTER_H
#define MOEC_PASSES_TARGET_KERNELEMITTER_H

#include "passes/target/CodeBuilder.h"

#include "dialects/interfaces/WeightInterfaces.h"

#include "llvm/ADT/StringMap.h"

#include <array>
#include <functional>
#include <memory>
#include <string>

namespace moec::target {

/// An instruction-set level: every kernel has one version per level.
struct IsaLevel {
  llvm::StringRef name;
  /// What a processor must have, spelled as LLVM does.
  llvm::SmallVector<llvm::StringRef> features;
  unsigned vectorBytes = 16;
  /// Matrix products and attention use fused multiply-add. They round
  /// differently without, so this belongs to the numerics of the level.
  bool hasFma = false;
  /// f16 is converted by instructions; otherwise by integer arithmetic, with
  /// the same results.
  bool hasF16c = false;
  /// Dot products of bf16 pairs and of groups of four bytes, on 64-byte
  /// vectors. Their order of sums, too, belongs to the numerics of the level.
  bool hasDotProducts = false;

  /// Of a device: what runs the kernels ("cuda"), and from which compute
  /// capability on, or with `exact` on which one only. `features` are then those
  /// that LLVM needs for the level's PTX.
  llvm::StringRef device;
  unsigned major = 0, minor = 0;
  bool exact = false;

  bool isDevice() const { return !device.empty(); }
};

/// What one operand of a kernel operation is.
struct KernelOperand {
  enum Kind { Buffer, Weight, Experts, State };
  Kind kind = Buffer;
  mlir::MemRefType type;
  /// Of weights; null means row-major.
  WeightLayoutAttrInterface layout;
  /// Of weights with scales; null means plain numbers of the element type.
  QuantFormatAttrInterface format;

  mlir::Type getElementType() const { return type.getElementType(); }
  /// Elements of one row: all but the first dimension.
  int64_t getRowElements() const;
};

/// A kernel operation that needs a function.
struct KernelRequest {
  mlir::Operation *op;
  const IsaLevel &level;
  /// One per operand of the operation, then its states.
  llvm::SmallVector<KernelOperand> operands;
};

/// The functions and constants that are built for one level.
class KernelModule {
public:
  KernelModule(mlir::ModuleOp module, const IsaLevel &level);

  /// Creates an internal function with the attributes of the level.
  mlir::LLVM::LLVMFuncOp createFunction(mlir::Location loc,
                                        llvm::StringRef name,
                                        mlir::LLVM::LLVMFunctionType type);

  /// A function that kernels share: `name` identifies it. `build` fills it on
  /// first use; it ends with llvm.return.
  mlir::LLVM::LLVMFuncOp
  getHelper(mlir::Location loc, llvm::StringRef name,
            mlir::LLVM::LLVMFunctionType type,
            llvm::function_ref<void(CodeBuilder &, mlir::ValueRange)> build);

  /// The address of a constant, stored row-major.
  mlir::Value getConstant(CodeBuilder &b, mlir::DenseElementsAttr value);

  const IsaLevel &getLevel() const { return level; }
  llvm::ArrayRef<mlir::LLVM::LLVMFuncOp> getFunctions() const {
    return functions;
  }

private:
  mlir::ModuleOp module;
  const IsaLevel &level;
  llvm::SmallVector<mlir::LLVM::LLVMFuncOp> functions;
  llvm::StringMap<mlir::LLVM::LLVMFuncOp> helpers;
  llvm::DenseMap<mlir::Attribute, mlir::LLVM::GlobalOp> constants;
};

/// The arguments of a kernel under construction. Of a device kernel, `step` is
/// moe_step_v1.on_device, and there is no worker.
struct KernelArguments {
  mlir::Value step, worker, rows;
  /// Of a device kernel: the operation's DeviceLaunch.scratchBytes, aligned to
  /// MOE_ALIGNMENT; null where no launch of it has any.
  mlir::Value scratch;
  /// One per operand of the request.
  llvm::SmallVector<mlir::Value> pointers;
  /// The indices into `pointers[i]` where operand i is Experts, else null.
  llvm::SmallVector<mlir::Value> ordinals;
};

/// Blocks of a launch along x, y and z, as i64.
using DeviceGrid = std::array<mlir::Value, 3>;

/// What a host knows of a step: nothing of these has to be read from a device,
/// and steps of equal sizes may be one graph.
struct StepSizes {
  /// i64: the operation's rows, the sequences of the step, and the pages of a
  /// sequence in the page table, 0 without one.
  mlir::Value rows, sequences, pages;
};

/// One launch of a kernel operation on a device. What follows it sees what it
/// wrote.
struct DeviceLaunch {
  /// Tells the kernels of one operation apart: "route", "plan"; empty where
  /// there is one.
  std::string part;
  /// Threads of a block, along x.
  unsigned threads = 0;
  /// Dynamic shared memory of a block.
  int64_t sharedBytes = 0;
  /// Builds host code: the grid for the operation's row count, an i64.
  std::function<DeviceGrid(CodeBuilder &host, mlir::Value rows)> grid;
  /// The same from all sizes of the step; instead of `grid`.
  std::function<DeviceGrid(CodeBuilder &host, const StepSizes &sizes)> stepGrid;
  /// Memory in which the launches of an operation hand results to each other.
  /// It lies behind the buffers in the step's scratch, and is that of the next
  /// operation afterwards.
  int64_t scratchBytes = 0;
  /// Builds the body of the kernel, up to and without the return.
  std::function<mlir::LogicalResult(const KernelArguments &arguments,
                                    CodeBuilder &builder,
                                    KernelModule &module)>
      emit;
};

/// A target's generator of kernels. Stateless: used by several threads.
class KernelEmitter {
public:
  virtual ~KernelEmitter();

  /// The name of the target, as in `lower-to-llvm{target=...}`.
  virtual llvm::StringRef getName() const = 0;

  /// The levels, worst first.
  virtual llvm::ArrayRef<IsaLevel> getLevels() const = 0;

  /// `moe_<family>_<in>_<weight>_<shape>` of the request's kernel; failure
  /// after an error where the target has no such kernel.
  virtual mlir::FailureOr<std::string>
  getKernelName(const KernelRequest &request) const = 0;

  /// Builds the body of the kernel, up to and without the return. Of targets
  /// whose levels are processors.
  virtual mlir::LogicalResult emit(const KernelRequest &request,
                                   const KernelArguments &arguments,
                                   CodeBuilder &builder,
                                   KernelModule &module) const;

  /// The launches, in order, that the operation becomes; failure after an
  /// error. Of targets whose levels are devices. The request lives as long as
  /// they do.
  virtual mlir::FailureOr<llvm::SmallVector<DeviceLaunch>>
  getLaunches(const KernelRequest &request) const;

  /// The launches that choose tokens behind the results of a step
  /// (moe_sampling_v1), one row each; none: the host does it. Their kernels have
  /// no operands. Of targets whose levels are devices.
  virtual llvm::SmallVector<DeviceLaunch> getSamplingLaunches() const;
};

/// Makes an emitter known by its name; it lives as long as the process.
/// In-tree targets and plugins do it from a static initialiser.
void registerKernelEmitter(const KernelEmitter *emitter);
const KernelEmitter *lookupKernelEmitter(llvm::StringRef name);
llvm::SmallVector<llvm::StringRef> getKernelEmitterNames();

} // namespace moec::target

#endif // MOEC_PASSES_TARGET_KERNELEMITTER_H
