//===- RandomTree.h - Trees for property tests ------------------*- C++ -*-===//
#ifndef MOEC_TEST_UNIT_FRONTEND_RANDOMTREE_H
#define MOEC_TEST_UNIT_FRONTEND_RANDOMTREE_H

#include "frontend/Ast.h"

#include <random>

namespace moec {
namespace test {

/// Makes trees that the grammar allows, with every construct and odd nesting;
/// what they would mean is of no interest.
class RandomTree {
public:
  explicit RandomTree(unsigned seed) : random(seed) {}

  std::unique_ptr<ast::File> file();
  ast::ExprPtr expr(unsigned depth);

private:
  unsigned below(unsigned n) { return static_cast<unsigned>(random() % n); }
  bool chance(unsigned percent) { return below(100) < percent; }
  std::string word();
  ast::Name name() { return ast::Name(word()); }
  std::string literal();
  ast::PlainText text() { return ast::PlainText(literal()); }
  ast::ExprPtr leaf();
  ast::ExprPtr string(unsigned depth);
  ast::ExprPtr call(unsigned depth);
  ast::ExprPtr index(unsigned depth);
  ast::ExprPtr list(unsigned depth);
  ast::ExprPtr by(unsigned depth);
  std::vector<ast::CallArgument> arguments(unsigned depth);
  std::vector<ast::Name> names();
  ast::Type type();
  std::vector<ast::Param> params();
  std::unique_ptr<ast::StringExpr> prefix();
  ast::Body body(unsigned depth);
  ast::StmtPtr statement(unsigned depth);
  ast::ItemPtr item();
  ast::ItemPtr declaration();
  ast::ItemPtr definition();

  std::mt19937 random;
};

} // namespace test
} // namespace moec

#endif // MOEC_TEST_UNIT_FRONTEND_RANDOMTREE_H
