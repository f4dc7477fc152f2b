//===- AstFlatWriter.cpp - Expressions on one line ------------------------===//

#include "frontend/AstFlatWriter.h"

using namespace moec;
using namespace moec::ast;
using llvm::cast;
using llvm::StringRef;

Level ast::levelOf(BinaryOp op) {
  switch (op) {
  case BinaryOp::Or:
    return LevelOr;
  case BinaryOp::And:
    return LevelAnd;
  case BinaryOp::Add:
  case BinaryOp::Subtract:
    return LevelSum;
  case BinaryOp::Multiply:
  case BinaryOp::Divide:
  case BinaryOp::Modulo:
    return LevelProduct;
  default:
    return LevelCompare;
  }
}

Level ast::levelOf(const Expr &e) {
  switch (e.getKind()) {
  case ExprKind::Conditional:
  case ExprKind::Family:
    return LevelExpr;
  case ExprKind::Binary:
    return levelOf(cast<BinaryExpr>(e).op);
  case ExprKind::Unary:
    return cast<UnaryExpr>(e).op == UnaryOp::Not ? LevelNot : LevelUnary;
  case ExprKind::Range:
    return LevelRange;
  default:
    return LevelPostfix;
  }
}

Level ast::leftLevel(BinaryOp op) {
  Level level = levelOf(op);
  return level == LevelCompare ? LevelRange : level;
}

Level ast::rightLevel(BinaryOp op) {
  return static_cast<Level>(levelOf(op) + 1);
}

std::string ast::escaped(StringRef text) {
  std::string result;
  for (char c : text) {
    result += c;
    if (c == '{' || c == '}')
      result += c;
  }
  return result;
}

void FlatWriter::expr(const Expr &e, Level level) {
  if (!fits())
    return;
  bool brackets = levelOf(e) < level;
  if (brackets)
    put("(");
  bare(e);
  if (brackets)
    put(")");
}

void FlatWriter::string(const StringExpr &e) {
  put("\"");
  for (const StringExpr::Part &part : e.parts) {
    if (!part.placeholder) {
      put(escaped(StringRef(part.literal).take_front(limit)));
      continue;
    }
    put("{");
    expr(*part.placeholder, LevelSum);
    put("}");
  }
  put("\"");
}

void FlatWriter::by(const ByExpr &e) {
  put("by ");
  put(e.subject.text);
  put(" { ");
  list(e.arms, [&](const ByExpr::Arm &arm) {
    put(arm.name.text);
    put(": ");
    expr(*arm.value, LevelExpr);
  });
  put(" }");
}

void FlatWriter::argument(const CallArgument &argument) {
  if (argument.name) {
    put(argument.name->text);
    put(" = ");
  }
  expr(*argument.value, LevelExpr);
}

void FlatWriter::subscript(const Subscript &s) {
  if (s.begin)
    expr(*s.begin, LevelExpr);
  if (!s.isSlice)
    return;
  put(":");
  if (s.end)
    expr(*s.end, LevelExpr);
  if (s.step) {
    put(":");
    expr(*s.step, LevelExpr);
  }
}

/// `[...]` without the base. Never broken: a view reads as one thing.
void FlatWriter::subscripts(const IndexExpr &e) {
  put("[");
  list(e.subscripts, [&](const Subscript &s) { subscript(s); });
  put("]");
}

void FlatWriter::bare(const Expr &expression) {
  switch (expression.getKind()) {
  case ExprKind::Number:
    return put(cast<NumberExpr>(expression).spelling);
  case ExprKind::String:
    return string(cast<StringExpr>(expression));
  case ExprKind::Name:
    return put(cast<NameExpr>(expression).name);
  case ExprKind::List: {
    put("[");
    list(cast<ListExpr>(expression).elements,
         [&](const ExprPtr &e) { expr(*e, LevelExpr); });
    return put("]");
  }
  case ExprKind::Call: {
    const auto &e = cast<CallExpr>(expression);
    expr(*e.callee, LevelPostfix);
    put("(");
    list(e.arguments, [&](const CallArgument &a) { argument(a); });
    return put(")");
  }
  case ExprKind::Index: {
    const auto &e = cast<IndexExpr>(expression);
    expr(*e.base, LevelPostfix);
    return subscripts(e);
  }
  case ExprKind::Member: {
    const auto &e = cast<MemberExpr>(expression);
    expr(*e.base, LevelPostfix);
    put(".");
    return put(e.member.text);
  }
  case ExprKind::Unary: {
    const auto &e = cast<UnaryExpr>(expression);
    put(e.op == UnaryOp::Not ? "not " : "-");
    return expr(*e.operand, levelOf(e));
  }
  case ExprKind::Binary: {
    const auto &e = cast<BinaryExpr>(expression);
    expr(*e.lhs, leftLevel(e.op));
    put(" ");
    put(spelling(e.op));
    put(" ");
    return expr(*e.rhs, rightLevel(e.op));
  }
  case ExprKind::Range: {
    const auto &e = cast<RangeExpr>(expression);
    expr(*e.first, LevelSum);
    put("..");
    return expr(*e.last, LevelSum);
  }
  case ExprKind::Conditional: {
    const auto &e = cast<ConditionalExpr>(expression);
    expr(*e.value, LevelOr);
    put(" if ");
    expr(*e.condition, LevelOr);
    put(" else ");
    return expr(*e.otherwise, LevelExpr);
  }
  case ExprKind::Family: {
    const auto &e = cast<FamilyExpr>(expression);
    put("for ");
    put(e.variable.text);
    put(" in ");
    expr(*e.domain, LevelRange);
    put(": ");
    return expr(*e.body, LevelExpr);
  }
  case ExprKind::By:
    return by(cast<ByExpr>(expression));
  }
}

std::string ast::flatExpr(const Expr &e, Level level) {
  FlatWriter flat;
  flat.expr(e, level);
  return flat.take();
}
