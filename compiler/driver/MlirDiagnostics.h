//===- MlirDiagnostics.h - Messages of passes to people ---------*- C++ -*-===//
#ifndef MOEC_COMPILER_DRIVER_MLIRDIAGNOSTICS_H
#define MOEC_COMPILER_DRIVER_MLIRDIAGNOSTICS_H

#include "frontend/SourceManager.h"

#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/StringMap.h"

#include <mutex>

namespace moec {

/// Prints what MLIR reports in the form of frontend/Diagnostics.h: the place in
/// the .moe file (or the IR) that an operation came from, and its line. Lives
/// as long as messages of `context` are wanted; may be called from the threads
/// of a pass manager.
class MlirDiagnostics {
public:
  struct Style {
    bool colour = false;
    bool remarks = true;
  };

  MlirDiagnostics(mlir::MLIRContext &context, SourceManager &sources,
                  llvm::raw_ostream &os, Style style);

  unsigned errorCount() const { return errors; }

private:
  void handle(mlir::Diagnostic &diagnostic);
  void print(mlir::Diagnostic &diagnostic, llvm::StringRef word,
             llvm::StringRef colour);
  void printSource(mlir::FileLineColLoc place);
  std::optional<FileId> findText(llvm::StringRef path);

  SourceManager &sources;
  llvm::raw_ostream &os;
  Style style;
  std::mutex mutex;
  unsigned errors = 0;
  llvm::StringMap<std::optional<FileId>> texts;
  mlir::ScopedDiagnosticHandler handler;
};

} // namespace moec

#endif // MOEC_COMPILER_DRIVER_MLIRDIAGNOSTICS_H
