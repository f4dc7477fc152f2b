//===- AstPrinter.h - The one text of a tree --------------------*- C++ -*-===//
//
// Every tree has exactly one text: two-space indentation, lines of at most 80
// columns where a break can be put, brackets only where precedence asks for
// them. Parsing it gives an equal tree (structurallyEqual). Comments and the
// line breaks of the source are not part of a tree and are not printed.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_FRONTEND_ASTPRINTER_H
#define MOEC_FRONTEND_ASTPRINTER_H

#include "frontend/Ast.h"

namespace llvm {
class raw_ostream;
} // namespace llvm

namespace moec {
namespace ast {

/// Prints a whole file, ending with a line end.
void print(const File &file, llvm::raw_ostream &os);

/// Prints an expression on one line: for messages.
void print(const Expr &expr, llvm::raw_ostream &os);
std::string toString(const Expr &expr);

} // namespace ast
} // namespace moec

#endif // MOEC_FRONTEND_ASTPRINTER_H
