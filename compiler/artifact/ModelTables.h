//===- ModelTables.h - The tables of moe_abi.h in LLVM IR -------*- C++ -*-===//
#ifndef MOEC_COMPILER_ARTIFACT_MODELTABLES_H
#define MOEC_COMPILER_ARTIFACT_MODELTABLES_H

#include "compiler/artifact/ObjectEmitter.h"

#include "llvm/IR/Module.h"
#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace moec {

/// The functions of one variant.
struct VariantFunctions {
  std::string step;
  std::string scratch;
};

/// Adds the manifest, the tables of variants, segments and device levels, the model table and
/// `moe_model_query_v1` to `module`, and makes everything else internal.
llvm::Error addModelTables(llvm::Module &module, const ObjectContents &contents,
                           llvm::ArrayRef<VariantFunctions> variants,
                           llvm::ArrayRef<DeviceLevelCode> devices = {});

} // namespace moec

#endif // MOEC_COMPILER_ARTIFACT_MODELTABLES_H
