//===- ObjectEmitter.h - From LLVM dialect to object code -------*- C++ -*-===//
#ifndef MOEC_COMPILER_ARTIFACT_OBJECTEMITTER_H
#define MOEC_COMPILER_ARTIFACT_OBJECTEMITTER_H

#include "compiler/artifact/DeviceImages.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>

namespace moec {

/// What the object holds besides the code of the module.
struct ObjectContents {
  /// Bytes of the manifest.
  llvm::StringRef manifest;
  /// Bytes of the weights, and whether the library maps them itself. Their
  /// addresses are then reserved in the object (ElfPatcher.h).
  uint64_t segmentBytes = 0;
  bool embedded = false;
  DeviceOptions device;
};

/// DeviceText: the PTX of all device levels, one after the other.
enum class CodeKind { LlvmIr, Assembly, Object, DeviceText };

/// Turns a module after phase `target` into code for x86-64 that may be loaded
/// anywhere: erases its declarations, translates it, adds the tables of
/// moe_abi.h and the function `moe_model_query_v1`, optimises at level 0 .. 3
/// and writes it in the given form. Functions keep the processor features that
/// their attributes name; everything else runs on any x86-64. Failure has
/// emitted a diagnostic.
llvm::LogicalResult emitCode(mlir::ModuleOp module,
                             const ObjectContents &contents, unsigned level,
                             CodeKind kind,
                             llvm::SmallVectorImpl<char> &output);

} // namespace moec

#endif // MOEC_COMPILER_ARTIFACT_OBJECTEMITTER_H
