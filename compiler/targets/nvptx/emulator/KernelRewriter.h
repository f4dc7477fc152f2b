//===- KernelRewriter.h - From device IR to host IR -------------*- C++ -*-===//
//
// Rewrites an optimised module of the NVPTX triple so that the host can run it:
//
//   - the host's triple, data layout and calling convention; address spaces
//     need nothing, the host treats them as one;
//   - variables in shared memory get their place in the arena;
//   - instructions without a counterpart become calls of their model (Ops.h),
//     operands packed into a buffer on the stack, so that no question of ABI
//     comes up;
//   - every access to memory is preceded by a check;
//   - each kernel gets an entry that unpacks its arguments.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_KERNELREWRITER_H
#define MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_KERNELREWRITER_H

#include "compiler/targets/nvptx/emulator/Module.h"

#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/ModuleSlotTracker.h"

namespace moec {
namespace emu {

/// Symbol of the entry of a kernel.
std::string getEntryName(llvm::StringRef kernel);

class KernelRewriter {
public:
  KernelRewriter(llvm::Module &module, LoadedModule &loaded,
                 const llvm::DataLayout &layout, const llvm::Triple &triple)
      : module(module), loaded(loaded), layout(layout), triple(triple),
        slots(&module) {}

  /// Returns what cannot be emulated, or "".
  std::string run();

private:
  void retarget();
  void collectKernels();
  void placeShared();
  void nameVariables();
  void rewriteCalls(llvm::Function &function);
  void rewriteCall(llvm::CallBase &call);
  void noteFence(llvm::FenceInst &fence);
  void callModel(llvm::CallBase &call, const Op &op);
  const Op *getOp(llvm::Function &callee);
  void checkAccesses(llvm::Function &function);
  bool checkAccess(llvm::Instruction &instruction);
  void emitCheck(llvm::Instruction &before, llvm::Value *pointer,
                 llvm::Value *size, Access access, uint64_t bytes,
                 uint64_t align);
  bool isLocal(llvm::Instruction &before, llvm::Value *pointer,
               llvm::Value *size, uint64_t bytes);
  void emitEntry(llvm::Function &kernel);
  void printTexts(llvm::Function &function);
  Site &makeSite(llvm::Instruction &instruction);
  llvm::Constant *getAddress(const void *object);
  llvm::AllocaInst *getBuffer(llvm::Function &function, uint64_t bytes);
  void complain(const llvm::Instruction &at, const llvm::Twine &what);

  llvm::Module &module;
  LoadedModule &loaded;
  llvm::DataLayout layout;
  llvm::Triple triple;
  llvm::ModuleSlotTracker slots;
  std::vector<llvm::Function *> kernelFunctions;
  llvm::DenseMap<llvm::Function *, const Op *> opOf;
  llvm::DenseMap<llvm::Function *, llvm::AllocaInst *> bufferOf;
  /// Instructions as they were, for messages.
  llvm::DenseMap<llvm::Instruction *, std::string> textOf;
  std::string problem;
};

} // namespace emu
} // namespace moec

#endif // MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_KERNELREWRITER_H
