//===- Frontend.h - From text to a tree -------------------------*- C++ -*-===//
//
// What drivers and tests call; it knows no command line.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_FRONTEND_FRONTEND_H
#define MOEC_FRONTEND_FRONTEND_H

#include "frontend/Ast.h"
#include "frontend/Diagnostics.h"

namespace moec {

/// Reads and parses a file ("-" is standard input). Returns null and reports at
/// least one error where it is not a .moe file. `sources` must be the manager
/// that `diagnostics` was made with.
std::unique_ptr<ast::File> parseFile(llvm::StringRef path,
                                     SourceManager &sources,
                                     Diagnostics &diagnostics);

/// The same for a text in memory; `name` stands for it in messages.
std::unique_ptr<ast::File> parseBuffer(llvm::StringRef name,
                                       llvm::StringRef text,
                                       SourceManager &sources,
                                       Diagnostics &diagnostics);

} // namespace moec

#endif // MOEC_FRONTEND_FRONTEND_H
