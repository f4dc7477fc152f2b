//===- IRGen.h - From a tree to IR ------------------------------*- C++ -*-===//
//
// Expands the entries of a .moe file into a module of phase `import`
// (docs/ir-conventions.md). Blocks, layers and families are expanded forward
// from the text; every shape is computed on the way and compared with the
// checkpoint, whose numbers are never read.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_FRONTEND_IRGEN_H
#define MOEC_FRONTEND_IRGEN_H

#include "frontend/Ast.h"
#include "frontend/Diagnostics.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/Error.h"

#include <functional>
#include <optional>
#include <string>

namespace moec {

/// The type of values between operations, and of rounded matmul operands.
enum class ComputeType { F32, BF16, F16 };

/// Where the shapes of weights are checked.
enum class WeightsMode {
  File, ///< the files of `weights` items are opened
  None  ///< no checkpoint: the text alone fixes every shape
};

struct ImportOptions {
  /// Folder at which relative paths of `weights` items start.
  std::string folder = ".";
  /// Replaces the file's `dtype`; stored weights keep theirs.
  std::optional<ComputeType> compute;
  WeightsMode weights = WeightsMode::File;
  /// Statements, expressions and expert bodies that are expanded before the
  /// model is refused (E223). A large model takes a few hundred thousand.
  uint64_t maxSteps = 16u << 20;
  /// Provides the plugin of `use "name"`: loads it and appends its dialects to
  /// the context's registry. Called before any name is resolved. An error of
  /// code no_such_file_or_directory means that there is no such plugin, one of
  /// code executable_format_error that it was built for another compiler.
  std::function<llvm::Error(llvm::StringRef name)> loadPlugin;
};

/// Builds the module of a file. Returns null after reporting at least one
/// error; warnings and remarks go to `diagnostics` as well. `context` must know
/// the dialects moe, nn, func, arith and math, and those of plugins.
mlir::OwningOpRef<mlir::ModuleOp> importModel(const ast::File &file,
                                              Diagnostics &diagnostics,
                                              mlir::MLIRContext &context,
                                              const ImportOptions &options);

} // namespace moec

#endif // MOEC_FRONTEND_IRGEN_H
