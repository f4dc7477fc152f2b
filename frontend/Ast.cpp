//===- Ast.cpp - The tree of a .moe file ----------------------------------===//

#include "frontend/Ast.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

#include <cstdlib>

using namespace moec;
using namespace moec::ast;
using llvm::cast;
using llvm::StringRef;

Expr::~Expr() = default;
Stmt::~Stmt() = default;
Item::~Item() = default;

StringRef ast::kindName(ExprKind kind) {
  switch (kind) {
  case ExprKind::Number:
    return "a number";
  case ExprKind::String:
    return "a string";
  case ExprKind::Name:
    return "a name";
  case ExprKind::List:
    return "a list";
  case ExprKind::Call:
    return "a call";
  case ExprKind::Index:
    return "an indexed expression";
  case ExprKind::Member:
    return "a member";
  case ExprKind::Unary:
  case ExprKind::Binary:
    return "an operator expression";
  case ExprKind::Range:
    return "a range";
  case ExprKind::Conditional:
    return "a conditional expression";
  case ExprKind::Family:
    return "a 'for' family";
  case ExprKind::By:
    return "a 'by' expression";
  }
  return {};
}

StringRef ast::spelling(BinaryOp op) {
  switch (op) {
  case BinaryOp::Or:
    return "or";
  case BinaryOp::And:
    return "and";
  case BinaryOp::Equal:
    return "==";
  case BinaryOp::NotEqual:
    return "!=";
  case BinaryOp::Less:
    return "<";
  case BinaryOp::LessEqual:
    return "<=";
  case BinaryOp::Greater:
    return ">";
  case BinaryOp::GreaterEqual:
    return ">=";
  case BinaryOp::In:
    return "in";
  case BinaryOp::Add:
    return "+";
  case BinaryOp::Subtract:
    return "-";
  case BinaryOp::Multiply:
    return "*";
  case BinaryOp::Divide:
    return "/";
  case BinaryOp::Modulo:
    return "%";
  }
  return {};
}

NumberExpr::NumberExpr(uint64_t value)
    : NumberExpr(StringRef(std::to_string(value))) {}

bool NumberExpr::isInteger() const {
  return llvm::all_of(spelling, [](char c) { return llvm::isDigit(c); });
}

std::optional<int64_t> NumberExpr::asInteger() const {
  int64_t value = 0;
  if (!isInteger() || StringRef(spelling).getAsInteger(10, value))
    return std::nullopt;
  return value;
}

double NumberExpr::asReal() const {
  return std::strtod(spelling.c_str(), nullptr);
}

StringExpr::StringExpr(StringRef text, SourceRange range) : StringExpr(range) {
  if (!text.empty())
    parts.push_back({text.str(), nullptr, {}});
}

bool StringExpr::isPlain() const {
  return llvm::none_of(
      parts, [](const Part &part) { return part.placeholder != nullptr; });
}

StringRef StringExpr::plainText() const {
  return parts.empty() ? StringRef() : StringRef(parts.front().literal);
}

StringRef CallExpr::calleeName() const {
  if (const auto *name = llvm::dyn_cast<NameExpr>(callee.get()))
    return name->name;
  return {};
}

const CallArgument *CallExpr::findArgument(StringRef name) const {
  for (const CallArgument &argument : arguments)
    if (argument.name && argument.name->text == name)
      return &argument;
  return nullptr;
}

const ByExpr::Arm *ByExpr::findArm(StringRef name) const {
  for (const Arm &arm : arms)
    if (arm.name.text == name)
      return &arm;
  return nullptr;
}

//===----------------------------------------------------------------------===//
// Copies
//===----------------------------------------------------------------------===//

namespace {

ExprPtr cloneOrNull(const ExprPtr &expr) {
  return expr ? clone(*expr) : nullptr;
}

ExprPtr cloneString(const StringExpr &e) {
  auto copy = std::make_unique<StringExpr>(e.range);
  for (const StringExpr::Part &part : e.parts)
    copy->parts.push_back(
        {part.literal, cloneOrNull(part.placeholder), part.range});
  return copy;
}

ExprPtr cloneList(const ListExpr &e) {
  auto copy = std::make_unique<ListExpr>(e.range);
  for (const ExprPtr &element : e.elements)
    copy->elements.push_back(clone(*element));
  return copy;
}

ExprPtr cloneCall(const CallExpr &e) {
  auto copy = std::make_unique<CallExpr>(clone(*e.callee), e.range);
  for (const CallArgument &a : e.arguments)
    copy->arguments.push_back({a.name, clone(*a.value), a.range});
  return copy;
}

ExprPtr cloneIndex(const IndexExpr &e) {
  auto copy = std::make_unique<IndexExpr>(clone(*e.base), e.range);
  for (const Subscript &s : e.subscripts)
    copy->subscripts.push_back({s.isSlice, cloneOrNull(s.begin),
                                cloneOrNull(s.end), cloneOrNull(s.step),
                                s.range});
  return copy;
}

ExprPtr cloneBy(const ByExpr &e) {
  auto copy = std::make_unique<ByExpr>(e.subject, e.range);
  for (const ByExpr::Arm &arm : e.arms)
    copy->arms.push_back({arm.name, clone(*arm.value)});
  return copy;
}

} // namespace

ExprPtr ast::clone(const Expr &expr) {
  switch (expr.getKind()) {
  case ExprKind::Number:
    return std::make_unique<NumberExpr>(
        StringRef(cast<NumberExpr>(expr).spelling), expr.range);
  case ExprKind::String:
    return cloneString(cast<StringExpr>(expr));
  case ExprKind::Name:
    return std::make_unique<NameExpr>(cast<NameExpr>(expr).name, expr.range);
  case ExprKind::List:
    return cloneList(cast<ListExpr>(expr));
  case ExprKind::Call:
    return cloneCall(cast<CallExpr>(expr));
  case ExprKind::Index:
    return cloneIndex(cast<IndexExpr>(expr));
  case ExprKind::Member: {
    const auto &e = cast<MemberExpr>(expr);
    return std::make_unique<MemberExpr>(clone(*e.base), e.member, e.range);
  }
  case ExprKind::Unary: {
    const auto &e = cast<UnaryExpr>(expr);
    return std::make_unique<UnaryExpr>(e.op, clone(*e.operand), e.range);
  }
  case ExprKind::Binary: {
    const auto &e = cast<BinaryExpr>(expr);
    return std::make_unique<BinaryExpr>(e.op, clone(*e.lhs), clone(*e.rhs),
                                        e.range, e.opRange);
  }
  case ExprKind::Range: {
    const auto &e = cast<RangeExpr>(expr);
    return std::make_unique<RangeExpr>(clone(*e.first), clone(*e.last),
                                       e.range);
  }
  case ExprKind::Conditional: {
    const auto &e = cast<ConditionalExpr>(expr);
    return std::make_unique<ConditionalExpr>(
        clone(*e.value), clone(*e.condition), clone(*e.otherwise), e.range);
  }
  case ExprKind::Family: {
    const auto &e = cast<FamilyExpr>(expr);
    return std::make_unique<FamilyExpr>(e.variable, clone(*e.domain),
                                        clone(*e.body), e.range);
  }
  case ExprKind::By:
    return cloneBy(cast<ByExpr>(expr));
  }
  return nullptr;
}
