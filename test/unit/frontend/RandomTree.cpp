//===- RandomTree.cpp - Trees for property tests --------------------------===//

#include "RandomTree.h"

using namespace moec;
using namespace moec::ast;
using namespace moec::test;

std::string RandomTree::word() {
  // Item words and words of types are ordinary names.
  static const char *const words[] = {
      "x",     "hidden", "e5",  "_",     "block",    "dim",
      "entry", "seq",    "any", "model", "modality", "a_rather_long_name_1"};
  return words[below(std::size(words))];
}

std::string RandomTree::literal() {
  static const char *const pieces[] = {
      "a", ".weight", "{",        "}", "*",   "//",
      "/", " ",       "\xC3\xA9", "'", "{x}", "model.layers.0.mlp.experts"};
  std::string result = "w";
  for (unsigned n = below(5); n != 0; --n)
    result += pieces[below(std::size(pieces))];
  return result;
}

ExprPtr RandomTree::leaf() {
  static const char *const numbers[] = {
      "0", "12", "2.5", "1e-5", "1E+5", "00.10", "123456789012345678901234567"};
  switch (below(3)) {
  case 0:
    return std::make_unique<NumberExpr>(
        llvm::StringRef(numbers[below(std::size(numbers))]));
  case 1:
    return std::make_unique<NameExpr>(word());
  default:
    return std::make_unique<StringExpr>(chance(10) ? std::string() : literal());
  }
}

ExprPtr RandomTree::string(unsigned depth) {
  auto result = std::make_unique<StringExpr>();
  bool literalBefore = false;
  for (unsigned n = 1 + below(4); n != 0; --n) {
    StringExpr::Part part;
    literalBefore = !literalBefore && chance(50);
    if (literalBefore) {
      part.literal = literal();
    } else {
      // No strings and no braces inside placeholders.
      part.placeholder = std::make_unique<BinaryExpr>(
          static_cast<BinaryOp>(below(14)), std::make_unique<NameExpr>(word()),
          std::make_unique<UnaryExpr>(chance(50) ? UnaryOp::Negate
                                                 : UnaryOp::Not,
                                      std::make_unique<NameExpr>(word())));
      if (depth % 2 != 0)
        part.placeholder = std::make_unique<NameExpr>(word());
    }
    result->parts.push_back(std::move(part));
  }
  return result;
}

std::vector<CallArgument> RandomTree::arguments(unsigned depth) {
  std::vector<CallArgument> result;
  for (unsigned n = below(5); n != 0; --n) {
    CallArgument argument;
    if (chance(60))
      argument.name = chance(15) ? Name("for") : name();
    argument.value = expr(depth);
    result.push_back(std::move(argument));
  }
  return result;
}

ExprPtr RandomTree::call(unsigned depth) {
  auto result = std::make_unique<CallExpr>(
      chance(80) ? std::make_unique<NameExpr>(word()) : expr(depth));
  result->arguments = arguments(depth);
  return result;
}

ExprPtr RandomTree::index(unsigned depth) {
  auto result = std::make_unique<IndexExpr>(expr(depth));
  for (unsigned n = 1 + below(3); n != 0; --n) {
    Subscript s;
    s.isSlice = chance(50);
    if (!s.isSlice || chance(50))
      s.begin = expr(depth);
    if (s.isSlice && chance(50))
      s.end = expr(depth);
    if (s.isSlice && chance(50))
      s.step = expr(depth);
    result->subscripts.push_back(std::move(s));
  }
  return result;
}

ExprPtr RandomTree::list(unsigned depth) {
  auto result = std::make_unique<ListExpr>();
  for (unsigned n = below(12); n != 0; --n)
    result->elements.push_back(expr(depth));
  return result;
}

ExprPtr RandomTree::by(unsigned depth) {
  auto result = std::make_unique<ByExpr>(name());
  for (unsigned n = 1 + below(3); n != 0; --n)
    result->arms.push_back({name(), expr(depth)});
  return result;
}

ExprPtr RandomTree::expr(unsigned depth) {
  if (depth == 0 || chance(15))
    return leaf();
  --depth;
  switch (below(12)) {
  case 0:
    return string(depth);
  case 1:
    return list(depth);
  case 2:
    return index(depth);
  case 3:
    return std::make_unique<MemberExpr>(expr(depth), name());
  case 4:
    return std::make_unique<UnaryExpr>(
        chance(50) ? UnaryOp::Negate : UnaryOp::Not, expr(depth));
  case 5:
    return std::make_unique<RangeExpr>(expr(depth), expr(depth));
  case 6:
    return std::make_unique<ConditionalExpr>(expr(depth), expr(depth),
                                             expr(depth));
  case 7:
    return std::make_unique<FamilyExpr>(name(), expr(depth), expr(depth));
  case 8:
    return by(depth);
  case 9:
    return call(depth);
  default:
    return std::make_unique<BinaryExpr>(static_cast<BinaryOp>(below(14)),
                                        expr(depth), expr(depth));
  }
}

std::vector<Name> RandomTree::names() {
  std::vector<Name> result;
  for (unsigned n = 1 + below(3); n != 0; --n)
    result.push_back(name());
  return result;
}

Type RandomTree::type() {
  Type result;
  if (chance(50)) {
    result.name = name();
    for (unsigned n = below(4); n != 0; --n)
      result.dims.push_back(expr(2));
    return result;
  }
  result.kind = TypeKind::Sequence;
  for (unsigned n = 1 + below(3); n != 0; --n) {
    Segment segment;
    segment.isAny = chance(30);
    segment.modalities = names();
    if (!segment.isAny)
      segment.modalities.resize(1);
    if (chance(50))
      segment.count = expr(2);
    segment.isOptional = chance(30);
    result.segments.push_back(std::move(segment));
  }
  return result;
}

std::vector<Param> RandomTree::params() {
  std::vector<Param> result;
  for (unsigned n = below(4); n != 0; --n) {
    Param param;
    param.name = name();
    if (chance(60))
      param.type = type();
    result.push_back(std::move(param));
  }
  return result;
}

std::unique_ptr<StringExpr> RandomTree::prefix() {
  if (chance(40))
    return nullptr;
  ExprPtr made = string(below(2));
  return std::unique_ptr<StringExpr>(llvm::cast<StringExpr>(made.release()));
}

Body RandomTree::body(unsigned depth) {
  Body result;
  for (unsigned n = below(4); n != 0; --n)
    result.push_back(statement(depth));
  return result;
}

StmtPtr RandomTree::statement(unsigned depth) {
  if (depth == 0 || chance(60)) {
    auto result = std::make_unique<AssignStmt>(name(), expr(4));
    if (chance(20))
      result->targets.push_back(name());
    return result;
  }
  --depth;
  if (chance(50)) {
    auto result = std::make_unique<LayersStmt>(name(), expr(2));
    result->carried = names();
    result->prefix = prefix();
    result->body = body(depth);
    return result;
  }
  auto result = std::make_unique<WhenStmt>();
  for (unsigned n = 1 + below(3); n != 0; --n)
    result->arms.push_back({expr(3), body(depth), {}});
  if (chance(50))
    result->otherwise = body(depth);
  return result;
}

ItemPtr RandomTree::declaration() {
  switch (below(9)) {
  case 0: {
    auto result = std::make_unique<UseItem>(text());
    if (chance(50))
      result->alias = name();
    return result;
  }
  case 1: {
    auto result = std::make_unique<WeightsItem>(text());
    if (chance(50))
      result->alias = name();
    return result;
  }
  case 2:
    return std::make_unique<StorageItem>(text(), expr(3));
  case 3:
    return std::make_unique<KeepItem>(name(), text());
  case 4: {
    auto result = std::make_unique<IgnoreItem>();
    for (unsigned n = 1 + below(4); n != 0; --n)
      result->patterns.push_back(text());
    return result;
  }
  case 5:
    return std::make_unique<DtypeItem>(name());
  case 7: {
    auto result = std::make_unique<StopTokensItem>();
    for (unsigned n = 1 + below(4); n != 0; --n)
      result->ids.push_back(std::make_unique<NumberExpr>(below(100000)));
    return result;
  }
  case 6: {
    auto result = std::make_unique<SwitchItem>(name());
    result->alternatives = names();
    return result;
  }
  default: {
    auto result = std::make_unique<BindingsItem>(chance(50));
    for (unsigned n = 1 + below(8); n != 0; --n)
      result->bindings.push_back({name(), expr(3)});
    return result;
  }
  }
}

ItemPtr RandomTree::definition() {
  switch (below(3)) {
  case 0: {
    auto result = std::make_unique<ModalityItem>(name());
    result->params = params();
    result->value = expr(4);
    return result;
  }
  case 1: {
    auto result = std::make_unique<BlockItem>(name());
    result->params = params();
    result->prefix = prefix();
    result->body = body(3);
    for (unsigned n = 1 + below(2); n != 0; --n)
      result->results.push_back(expr(4));
    return result;
  }
  default: {
    auto result = std::make_unique<EntryItem>(name());
    result->params = params();
    result->value = expr(4);
    for (unsigned n = below(3); n != 0; --n)
      result->options.push_back({name(), arguments(2), {}});
    return result;
  }
  }
}

std::unique_ptr<File> RandomTree::file() {
  auto result = std::make_unique<File>();
  result->model = name();
  for (unsigned n = below(8); n != 0; --n)
    result->items.push_back(chance(50) ? declaration() : definition());
  return result;
}
