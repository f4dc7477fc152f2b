//===- AstFlatWriter.h - Expressions on one line ----------------*- C++ -*-===//
//
// The part of printing that knows precedence; private to AstPrinter.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_FRONTEND_ASTFLATWRITER_H
#define MOEC_FRONTEND_ASTFLATWRITER_H

#include "frontend/Ast.h"

namespace moec {
namespace ast {

/// How tightly an expression holds together; the rules of the grammar from
/// `expr` to `primary`. An operand below the level of its place is bracketed.
enum Level : unsigned {
  LevelExpr,
  LevelOr,
  LevelAnd,
  LevelNot,
  LevelCompare,
  LevelRange,
  LevelSum,
  LevelProduct,
  LevelUnary,
  LevelPostfix
};

Level levelOf(BinaryOp op);
Level levelOf(const Expr &e);
/// Levels that operands must have. Comparisons do not associate; other
/// operators do, to the left.
Level leftLevel(BinaryOp op);
Level rightLevel(BinaryOp op);

/// The text of a string between its quotation marks: braces doubled.
std::string escaped(llvm::StringRef text);

inline unsigned sizeOf(llvm::StringRef s) {
  return static_cast<unsigned>(s.size());
}

/// Writes expressions without line breaks and gives up past `limit` columns, so
/// that asking whether something fits costs no more than a line.
class FlatWriter {
public:
  explicit FlatWriter(size_t limit = size_t(1) << 62) : limit(limit) {}

  bool fits() const { return text.size() <= limit; }
  std::string take() { return std::move(text); }

  void expr(const Expr &e, Level level);
  void argument(const CallArgument &argument);
  void subscripts(const IndexExpr &e);
  void put(llvm::StringRef s) {
    if (fits())
      text += s.take_front(limit + 1 - text.size());
  }

private:
  void string(const StringExpr &e);
  void by(const ByExpr &e);
  void subscript(const Subscript &subscript);
  void bare(const Expr &e);
  template <typename T, typename Fn>
  void list(const std::vector<T> &elements, Fn write) {
    for (const T &element : elements) {
      if (&element != &elements.front())
        put(", ");
      if (!fits())
        return;
      write(element);
    }
  }

  std::string text;
  size_t limit;
};

/// An expression on one line, however long.
std::string flatExpr(const Expr &e, Level level);

} // namespace ast
} // namespace moec

#endif // MOEC_FRONTEND_ASTFLATWRITER_H
