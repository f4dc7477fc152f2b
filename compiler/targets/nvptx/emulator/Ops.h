//===- Ops.h - Models of NVIDIA instructions --------------------*- C++ -*-===//
//
// An instruction is known by the name of its LLVM intrinsic, without
// "llvm.nvvm.", or of a placeholder, without "moec.nv.". Those that are plain
// arithmetic become IR (expandScalar); the rest is bound to a function of this
// library, by families: each bind function looks at the name, fills `op` and
// returns true where it knows it.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_OPS_H
#define MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_OPS_H

#include "compiler/targets/nvptx/emulator/Block.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/IR/IRBuilder.h"

#include <utility>

namespace moec {
namespace emu {

/// Emits IR that computes what `call` does. False where `name` is not known.
/// `result` is null where the call has none.
bool expandScalar(llvm::IRBuilder<> &builder, llvm::StringRef name,
                  llvm::CallBase &call, llvm::Value *&result);

/// Fills all of `op` but the offsets.
bool bindOp(llvm::StringRef name, const llvm::FunctionType &type, Op &op);

bool bindBarrierOp(llvm::StringRef name, Op &op);
bool bindWarpOp(llvm::StringRef name, Op &op);
bool bindMatrixOp(llvm::StringRef name, Op &op);
bool bindAsyncOp(llvm::StringRef name, const llvm::FunctionType &type, Op &op);
bool bindWgmmaOp(llvm::StringRef name, const llvm::FunctionType &type, Op &op);
bool bindIntegerOp(llvm::StringRef name, Op &op);

/// Forgets the wgmmas of the block before.
void beginWgmma();

/// Functions that compiled code calls: symbol and address.
std::vector<std::pair<const char *, void *>> getHostSymbols();

/// Checks an access before it happens: bounds, alignment, races.
void checkShared(Thread &thread, const Site &site, uint64_t address,
                 uint64_t bytes, uint64_t align, Access access);
void checkGlobal(Thread &thread, const Site &site, uint64_t address,
                 uint64_t bytes, uint64_t align, Access access);
/// Bounds and alignment only: of what an asynchronous operation will access.
void checkSharedBounds(Thread &thread, const Site &site, uint64_t address,
                       uint64_t bytes, uint64_t align, Access access);

inline uint32_t getSharedOffset(uint64_t address) {
  // The arena is aligned to its size.
  return uint32_t(address & 0x3ffff);
}

} // namespace emu
} // namespace moec

#endif // MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_OPS_H
