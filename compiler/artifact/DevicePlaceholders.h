//===- DevicePlaceholders.h - Calls that become inline PTX ------*- C++ -*-===//
#ifndef MOEC_COMPILER_ARTIFACT_DEVICEPLACEHOLDERS_H
#define MOEC_COMPILER_ARTIFACT_DEVICEPLACEHOLDERS_H

#include "llvm/IR/Module.h"

namespace moec {

/// Replaces calls of `moec.nv.wgmma.*`, for which LLVM has no intrinsics, by
/// inline PTX. What they mean is said in
/// compiler/targets/nvptx/emulator/Placeholders.h; they are calls until all
/// optimisation is done, so that the emulator runs the same code. Returns the
/// first name that is not known, or nothing.
std::string replacePlaceholders(llvm::Module &module);

} // namespace moec

#endif // MOEC_COMPILER_ARTIFACT_DEVICEPLACEHOLDERS_H
