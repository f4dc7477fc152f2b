//===- AstEqual.cpp - Comparison of trees, places apart -------------------===//

#include "frontend/Ast.h"

#include "llvm/ADT/STLExtras.h"

using namespace moec;
using namespace moec::ast;
using llvm::cast;

namespace {

// The parts of a node are compared by overloads; declared first, since vectors
// and optionals of them stand inside each other.
bool equal(const StringExpr::Part &a, const StringExpr::Part &b);
bool equal(const CallArgument &a, const CallArgument &b);
bool equal(const Subscript &a, const Subscript &b);
bool equal(const ByExpr::Arm &a, const ByExpr::Arm &b);
bool equal(const Segment &a, const Segment &b);
bool equal(const Type &a, const Type &b);
bool equal(const Param &a, const Param &b);
bool equal(const WhenStmt::Arm &a, const WhenStmt::Arm &b);
bool equal(const Binding &a, const Binding &b);
bool equal(const EntryOption &a, const EntryOption &b);
bool equal(const ItemPtr &a, const ItemPtr &b);
template <typename T>
bool equal(const std::optional<T> &a, const std::optional<T> &b);
template <typename T>
bool equal(const std::vector<T> &a, const std::vector<T> &b);

bool equal(const Name &a, const Name &b) { return a.text == b.text; }
bool equal(const PlainText &a, const PlainText &b) {
  return a.value == b.value;
}

bool equal(const ExprPtr &a, const ExprPtr &b) {
  if (!a || !b)
    return !a && !b;
  return structurallyEqual(*a, *b);
}

bool equal(const StmtPtr &a, const StmtPtr &b) {
  return structurallyEqual(*a, *b);
}

template <typename T>
bool equal(const std::optional<T> &a, const std::optional<T> &b) {
  if (!a || !b)
    return !a && !b;
  return equal(*a, *b);
}

template <typename T>
bool equal(const std::vector<T> &a, const std::vector<T> &b) {
  return a.size() == b.size() && llvm::all_of(llvm::zip(a, b), [](auto pair) {
           return equal(std::get<0>(pair), std::get<1>(pair));
         });
}

bool equal(const StringExpr::Part &a, const StringExpr::Part &b) {
  return a.literal == b.literal && equal(a.placeholder, b.placeholder);
}

bool equal(const StringExpr &a, const StringExpr &b) {
  return equal(a.parts, b.parts);
}

bool equal(const std::unique_ptr<StringExpr> &a,
           const std::unique_ptr<StringExpr> &b) {
  if (!a || !b)
    return !a && !b;
  return equal(*a, *b);
}

bool equal(const CallArgument &a, const CallArgument &b) {
  return equal(a.name, b.name) && equal(a.value, b.value);
}

bool equal(const Subscript &a, const Subscript &b) {
  return a.isSlice == b.isSlice && equal(a.begin, b.begin) &&
         equal(a.end, b.end) && equal(a.step, b.step);
}

bool equal(const ByExpr::Arm &a, const ByExpr::Arm &b) {
  return equal(a.name, b.name) && equal(a.value, b.value);
}

bool equal(const Segment &a, const Segment &b) {
  return a.isAny == b.isAny && a.isOptional == b.isOptional &&
         equal(a.modalities, b.modalities) && equal(a.count, b.count);
}

bool equal(const Type &a, const Type &b) {
  return a.kind == b.kind && equal(a.segments, b.segments) &&
         equal(a.name, b.name) && equal(a.dims, b.dims);
}

bool equal(const Param &a, const Param &b) {
  return equal(a.name, b.name) && equal(a.type, b.type);
}

bool equal(const WhenStmt::Arm &a, const WhenStmt::Arm &b) {
  return equal(a.condition, b.condition) && equal(a.body, b.body);
}

bool equal(const Binding &a, const Binding &b) {
  return equal(a.name, b.name) && equal(a.value, b.value);
}

bool equal(const EntryOption &a, const EntryOption &b) {
  return equal(a.name, b.name) && equal(a.arguments, b.arguments);
}

bool equal(const ItemPtr &a, const ItemPtr &b) {
  return structurallyEqual(*a, *b);
}

} // namespace

bool ast::structurallyEqual(const Expr &x, const Expr &y) {
  if (x.getKind() != y.getKind())
    return false;
  switch (x.getKind()) {
  case ExprKind::Number:
    return cast<NumberExpr>(x).spelling == cast<NumberExpr>(y).spelling;
  case ExprKind::String:
    return equal(cast<StringExpr>(x), cast<StringExpr>(y));
  case ExprKind::Name:
    return cast<NameExpr>(x).name == cast<NameExpr>(y).name;
  case ExprKind::List:
    return equal(cast<ListExpr>(x).elements, cast<ListExpr>(y).elements);
  case ExprKind::Call: {
    const auto &a = cast<CallExpr>(x), &b = cast<CallExpr>(y);
    return equal(a.callee, b.callee) && equal(a.arguments, b.arguments);
  }
  case ExprKind::Index: {
    const auto &a = cast<IndexExpr>(x), &b = cast<IndexExpr>(y);
    return equal(a.base, b.base) && equal(a.subscripts, b.subscripts);
  }
  case ExprKind::Member: {
    const auto &a = cast<MemberExpr>(x), &b = cast<MemberExpr>(y);
    return equal(a.base, b.base) && equal(a.member, b.member);
  }
  case ExprKind::Unary: {
    const auto &a = cast<UnaryExpr>(x), &b = cast<UnaryExpr>(y);
    return a.op == b.op && equal(a.operand, b.operand);
  }
  case ExprKind::Binary: {
    const auto &a = cast<BinaryExpr>(x), &b = cast<BinaryExpr>(y);
    return a.op == b.op && equal(a.lhs, b.lhs) && equal(a.rhs, b.rhs);
  }
  case ExprKind::Range: {
    const auto &a = cast<RangeExpr>(x), &b = cast<RangeExpr>(y);
    return equal(a.first, b.first) && equal(a.last, b.last);
  }
  case ExprKind::Conditional: {
    const auto &a = cast<ConditionalExpr>(x), &b = cast<ConditionalExpr>(y);
    return equal(a.value, b.value) && equal(a.condition, b.condition) &&
           equal(a.otherwise, b.otherwise);
  }
  case ExprKind::Family: {
    const auto &a = cast<FamilyExpr>(x), &b = cast<FamilyExpr>(y);
    return equal(a.variable, b.variable) && equal(a.domain, b.domain) &&
           equal(a.body, b.body);
  }
  case ExprKind::By: {
    const auto &a = cast<ByExpr>(x), &b = cast<ByExpr>(y);
    return equal(a.subject, b.subject) && equal(a.arms, b.arms);
  }
  }
  return false;
}

bool ast::structurallyEqual(const Stmt &x, const Stmt &y) {
  if (x.getKind() != y.getKind())
    return false;
  switch (x.getKind()) {
  case StmtKind::Assign: {
    const auto &a = cast<AssignStmt>(x), &b = cast<AssignStmt>(y);
    return equal(a.targets, b.targets) && equal(a.value, b.value);
  }
  case StmtKind::Layers: {
    const auto &a = cast<LayersStmt>(x), &b = cast<LayersStmt>(y);
    return equal(a.variable, b.variable) && equal(a.domain, b.domain) &&
           equal(a.carried, b.carried) && equal(a.prefix, b.prefix) &&
           equal(a.body, b.body);
  }
  case StmtKind::When: {
    const auto &a = cast<WhenStmt>(x), &b = cast<WhenStmt>(y);
    return equal(a.arms, b.arms) && equal(a.otherwise, b.otherwise);
  }
  }
  return false;
}

bool ast::structurallyEqual(const Item &x, const Item &y) {
  if (x.getKind() != y.getKind())
    return false;
  switch (x.getKind()) {
  case ItemKind::Use: {
    const auto &a = cast<UseItem>(x), &b = cast<UseItem>(y);
    return equal(a.plugin, b.plugin) && equal(a.alias, b.alias);
  }
  case ItemKind::Weights: {
    const auto &a = cast<WeightsItem>(x), &b = cast<WeightsItem>(y);
    return equal(a.alias, b.alias) && equal(a.pattern, b.pattern);
  }
  case ItemKind::Storage: {
    const auto &a = cast<StorageItem>(x), &b = cast<StorageItem>(y);
    return equal(a.pattern, b.pattern) && equal(a.format, b.format);
  }
  case ItemKind::Keep: {
    const auto &a = cast<KeepItem>(x), &b = cast<KeepItem>(y);
    return equal(a.dtype, b.dtype) && equal(a.pattern, b.pattern);
  }
  case ItemKind::Ignore:
    return equal(cast<IgnoreItem>(x).patterns, cast<IgnoreItem>(y).patterns);
  case ItemKind::StopTokens:
    return equal(cast<StopTokensItem>(x).ids, cast<StopTokensItem>(y).ids);
  case ItemKind::Dtype:
    return equal(cast<DtypeItem>(x).dtype, cast<DtypeItem>(y).dtype);
  case ItemKind::Bindings: {
    const auto &a = cast<BindingsItem>(x), &b = cast<BindingsItem>(y);
    return a.isDim == b.isDim && equal(a.bindings, b.bindings);
  }
  case ItemKind::Switch: {
    const auto &a = cast<SwitchItem>(x), &b = cast<SwitchItem>(y);
    return equal(a.name, b.name) && equal(a.alternatives, b.alternatives);
  }
  case ItemKind::Modality: {
    const auto &a = cast<ModalityItem>(x), &b = cast<ModalityItem>(y);
    return equal(a.name, b.name) && equal(a.params, b.params) &&
           equal(a.value, b.value);
  }
  case ItemKind::Block: {
    const auto &a = cast<BlockItem>(x), &b = cast<BlockItem>(y);
    return equal(a.name, b.name) && equal(a.params, b.params) &&
           equal(a.prefix, b.prefix) && equal(a.body, b.body) &&
           equal(a.results, b.results);
  }
  case ItemKind::Entry: {
    const auto &a = cast<EntryItem>(x), &b = cast<EntryItem>(y);
    return equal(a.name, b.name) && equal(a.params, b.params) &&
           equal(a.value, b.value) && equal(a.options, b.options);
  }
  }
  return false;
}

bool ast::structurallyEqual(const File &a, const File &b) {
  return a.version == b.version && equal(a.model, b.model) &&
         equal(a.items, b.items);
}
