//===- CodeGeneration.h - LLVM IR to machine code ---------------*- C++ -*-===//
#ifndef MOEC_COMPILER_ARTIFACT_CODEGENERATION_H
#define MOEC_COMPILER_ARTIFACT_CODEGENERATION_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/IR/Module.h"
#include "llvm/Target/TargetMachine.h"

#include <memory>
#include <string>

namespace moec {

/// A machine for LLVM's `triple`; null with a message where LLVM has none.
std::unique_ptr<llvm::TargetMachine>
createTargetMachine(llvm::StringRef triple, llvm::StringRef cpu,
                    llvm::StringRef features, unsigned level,
                    std::string &error);

/// Takes the conventions of the machine over, and runs LLVM's passes of level
/// 0 to 3, verifying before and after. Errors are reported at `source`.
llvm::LogicalResult optimise(mlir::ModuleOp source, llvm::Module &module,
                             llvm::TargetMachine &machine, unsigned level);

/// Writes an object, or the target's text.
llvm::LogicalResult writeMachineCode(mlir::ModuleOp source,
                                     llvm::Module &module,
                                     llvm::TargetMachine &machine,
                                     llvm::CodeGenFileType type,
                                     llvm::raw_pwrite_stream &stream);

} // namespace moec

#endif // MOEC_COMPILER_ARTIFACT_CODEGENERATION_H
