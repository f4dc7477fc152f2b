//===- ParserExpressions.cpp - Expressions --------------------------------===//

#include "frontend/Parser.h"

#include "llvm/ADT/STLExtras.h"

using namespace moec;
using namespace moec::ast;
using llvm::StringRef;
using llvm::Twine;

/// Says that a node stands above subtrees of height `below`.
bool Parser::growHeight(unsigned below, SourceRange range) {
  height = below + 1;
  return height <= maxHeight || tooDeep(range);
}

bool Parser::parseRequired(ExprPtr &into, ExprPtr (Parser::*rule)()) {
  into = (this->*rule)();
  return into != nullptr;
}

//===----------------------------------------------------------------------===//
// Operators, loosest first
//===----------------------------------------------------------------------===//

ExprPtr Parser::parseExpr() {
  DepthGuard guard(*this);
  if (guard.exceeded()) {
    tooDeep(rangeOf(token));
    return nullptr;
  }
  if (token.is(TokenKind::KwFor))
    return parseFamily();
  uint32_t begin = token.begin;
  ExprPtr value = parseOr(), condition, otherwise;
  if (!value || !consumeIf(TokenKind::KwIf))
    return value;
  unsigned below = height;
  if (!parseRequired(condition, &Parser::parseOr))
    return nullptr;
  below = std::max(below, height);
  if (!expect(TokenKind::KwElse, "'else'") ||
      !parseRequired(otherwise, &Parser::parseExpr))
    return nullptr;
  SourceRange range = rangeFrom(begin);
  if (!growHeight(std::max(below, height), range))
    return nullptr;
  return std::make_unique<ConditionalExpr>(
      std::move(value), std::move(condition), std::move(otherwise), range);
}

ExprPtr Parser::parseFamily() {
  uint32_t begin = token.begin;
  advance();
  Name variable;
  ExprPtr domain, body;
  if (!expectName(variable, "the name of an index") ||
      !expect(TokenKind::KwIn, "'in'") ||
      !parseRequired(domain, &Parser::parseRange))
    return nullptr;
  unsigned below = height;
  if (!expect(TokenKind::Colon, "':'") ||
      !parseRequired(body, &Parser::parseExpr))
    return nullptr;
  SourceRange range = rangeFrom(begin);
  if (!growHeight(std::max(below, height), range))
    return nullptr;
  return std::make_unique<FamilyExpr>(std::move(variable), std::move(domain),
                                      std::move(body), range);
}

static BinaryOp binaryOp(TokenKind kind) {
  switch (kind) {
  case TokenKind::KwOr:
    return BinaryOp::Or;
  case TokenKind::KwAnd:
    return BinaryOp::And;
  case TokenKind::EqualEqual:
    return BinaryOp::Equal;
  case TokenKind::NotEqual:
    return BinaryOp::NotEqual;
  case TokenKind::Less:
    return BinaryOp::Less;
  case TokenKind::LessEqual:
    return BinaryOp::LessEqual;
  case TokenKind::Greater:
    return BinaryOp::Greater;
  case TokenKind::GreaterEqual:
    return BinaryOp::GreaterEqual;
  case TokenKind::KwIn:
    return BinaryOp::In;
  case TokenKind::Plus:
    return BinaryOp::Add;
  case TokenKind::Minus:
    return BinaryOp::Subtract;
  case TokenKind::Star:
    return BinaryOp::Multiply;
  case TokenKind::Slash:
    return BinaryOp::Divide;
  default:
    return BinaryOp::Modulo;
  }
}

ExprPtr Parser::makeBinary(BinaryOp op, SourceRange opRange, ExprPtr lhs,
                           ExprPtr rhs) {
  SourceRange range = SourceRange::join(lhs->range, rhs->range);
  return std::make_unique<BinaryExpr>(op, std::move(lhs), std::move(rhs), range,
                                      opRange);
}

/// Left-associative operators of one precedence.
ExprPtr Parser::parseChain(ExprPtr (Parser::*operand)(),
                           llvm::ArrayRef<TokenKind> operators) {
  ExprPtr lhs = (this->*operand)();
  while (lhs && llvm::is_contained(operators, token.kind)) {
    unsigned below = height;
    BinaryOp op = binaryOp(token.kind);
    SourceRange opRange = rangeOf(token);
    advance();
    ExprPtr rhs;
    if (!parseRequired(rhs, operand) ||
        !growHeight(std::max(below, height), opRange))
      return nullptr;
    lhs = makeBinary(op, opRange, std::move(lhs), std::move(rhs));
  }
  return lhs;
}

ExprPtr Parser::parseOr() {
  return parseChain(&Parser::parseAnd, TokenKind::KwOr);
}

ExprPtr Parser::parseAnd() {
  return parseChain(&Parser::parseNot, TokenKind::KwAnd);
}

ExprPtr Parser::parseNot() {
  if (!token.is(TokenKind::KwNot))
    return parseCompare();
  DepthGuard guard(*this);
  uint32_t begin = token.begin;
  if (guard.exceeded()) {
    tooDeep(rangeOf(token));
    return nullptr;
  }
  advance();
  ExprPtr operand;
  if (!parseRequired(operand, &Parser::parseNot) ||
      !growHeight(height, operand->range))
    return nullptr;
  return std::make_unique<UnaryExpr>(UnaryOp::Not, std::move(operand),
                                     rangeFrom(begin));
}

static bool isComparison(TokenKind kind) {
  return (kind >= TokenKind::Less && kind <= TokenKind::GreaterEqual) ||
         kind == TokenKind::EqualEqual || kind == TokenKind::NotEqual ||
         kind == TokenKind::KwIn;
}

ExprPtr Parser::parseCompare() {
  ExprPtr lhs = parseRange(), rhs;
  if (!lhs || !isComparison(token.kind))
    return lhs;
  unsigned below = height;
  BinaryOp op = binaryOp(token.kind);
  SourceRange opRange = rangeOf(token);
  advance();
  if (!parseRequired(rhs, &Parser::parseRange) ||
      !growHeight(std::max(below, height), opRange))
    return nullptr;
  ExprPtr result = makeBinary(op, opRange, std::move(lhs), std::move(rhs));
  if (!isComparison(token.kind))
    return result;
  diagnostics
      .error(DiagId::E116, rangeOf(token),
             "expected one comparison, found a second one")
      .hint(result->range, "join comparisons with 'and', or put brackets "
                           "round one");
  stopAtLimit();
  return nullptr;
}

ExprPtr Parser::parseRange() {
  uint32_t begin = token.begin;
  ExprPtr first = parseSum(), last;
  if (!first || !consumeIf(TokenKind::DotDot))
    return first;
  unsigned below = height;
  if (!parseRequired(last, &Parser::parseSum))
    return nullptr;
  SourceRange range = rangeFrom(begin);
  if (!growHeight(std::max(below, height), range))
    return nullptr;
  if (token.is(TokenKind::DotDot)) {
    diagnostics.error(DiagId::E116, rangeOf(token),
                      "expected one '..' in a range, found a second one");
    stopAtLimit();
    return nullptr;
  }
  return std::make_unique<RangeExpr>(std::move(first), std::move(last), range);
}

ExprPtr Parser::parseSum() {
  return parseChain(&Parser::parseProduct, {TokenKind::Plus, TokenKind::Minus});
}

ExprPtr Parser::parseProduct() {
  return parseChain(&Parser::parseUnary,
                    {TokenKind::Star, TokenKind::Slash, TokenKind::Percent});
}

ExprPtr Parser::parseUnary() {
  if (!token.is(TokenKind::Minus))
    return parsePostfix();
  DepthGuard guard(*this);
  uint32_t begin = token.begin;
  if (guard.exceeded()) {
    tooDeep(rangeOf(token));
    return nullptr;
  }
  advance();
  ExprPtr operand;
  if (!parseRequired(operand, &Parser::parseUnary) ||
      !growHeight(height, operand->range))
    return nullptr;
  return std::make_unique<UnaryExpr>(UnaryOp::Negate, std::move(operand),
                                     rangeFrom(begin));
}

//===----------------------------------------------------------------------===//
// Postfix forms and primaries
//===----------------------------------------------------------------------===//

ExprPtr Parser::parsePostfix() {
  uint32_t begin = token.begin;
  ExprPtr base = parsePrimary();
  while (base) {
    unsigned below = height;
    if (token.is(TokenKind::LeftParen)) {
      auto call = std::make_unique<CallExpr>(std::move(base));
      if (!parseArguments(call->arguments))
        return nullptr;
      base = std::move(call);
    } else if (token.is(TokenKind::LeftBracket)) {
      auto index = std::make_unique<IndexExpr>(std::move(base));
      unsigned inside = 0;
      if (!parseList(TokenKind::LeftBracket, /*mayBeEmpty=*/false,
                     /*trailingComma=*/false, [&] {
                       bool ok =
                           parseSubscript(index->subscripts.emplace_back());
                       inside = std::max(inside, height);
                       return ok;
                     }))
        return nullptr;
      height = inside;
      base = std::move(index);
    } else if (token.is(TokenKind::Dot)) {
      advance();
      Name member;
      if (!expectName(member, "a name after '.'"))
        return nullptr;
      base = std::make_unique<MemberExpr>(std::move(base), std::move(member));
      height = 0;
    } else {
      return base;
    }
    base->range = rangeFrom(begin);
    if (!growHeight(std::max(below, height), base->range))
      return nullptr;
  }
  return nullptr;
}

ExprPtr Parser::parsePrimary() {
  SourceRange range = rangeOf(token);
  height = 1;
  switch (token.kind) {
  case TokenKind::Number: {
    auto number = std::make_unique<NumberExpr>(spelling(token), range);
    advance();
    return number;
  }
  case TokenKind::String:
    return parseString();
  case TokenKind::Name: {
    if (atOuterItem()) {
      unexpected("an expression");
      return nullptr;
    }
    auto name = std::make_unique<NameExpr>(spelling(token), range);
    advance();
    return name;
  }
  case TokenKind::LeftParen:
    return parseParenthesised();
  case TokenKind::LeftBracket:
    return parseListLiteral();
  case TokenKind::KwBy:
    return parseBy();
  case TokenKind::KwFor:
    // A family reaches as far to the right as it can, so that it needs brackets
    // wherever something may follow or precede it.
    diagnostics.error(DiagId::E106, range, "expected an operand, found 'for'")
        .hint(range, "put brackets round the 'for' expression");
    stopAtLimit();
    return nullptr;
  default:
    break;
  }
  if (token.isReserved()) {
    diagnostics.error(DiagId::E109, range,
                      "expected an expression, found reserved word '" +
                          spelling(token) + "'");
    stopAtLimit();
  } else {
    unexpected("an expression");
  }
  return nullptr;
}

/// Brackets leave no node, but the place of what they enclose takes them in.
ExprPtr Parser::parseParenthesised() {
  uint32_t begin = token.begin;
  Bracket paren{TokenKind::LeftParen, rangeOf(token)};
  brackets.push(paren);
  advance();
  ExprPtr inside = parseExpr();
  if (!inside)
    return nullptr;
  if (!token.is(TokenKind::RightParen)) {
    if (startsNewConstruct())
      unclosed(paren, "')'");
    else
      unexpected("')'");
    return nullptr;
  }
  brackets.pop();
  advance();
  inside->range = rangeFrom(begin);
  return inside;
}

ExprPtr Parser::parseListLiteral() {
  uint32_t begin = token.begin;
  auto list = std::make_unique<ListExpr>();
  unsigned below = 0;
  if (!parseList(TokenKind::LeftBracket, /*mayBeEmpty=*/true,
                 /*trailingComma=*/true, [&] {
                   if (!parseRequired(list->elements.emplace_back(),
                                      &Parser::parseExpr))
                     return false;
                   below = std::max(below, height);
                   return true;
                 }))
    return nullptr;
  list->range = rangeFrom(begin);
  if (!growHeight(below, list->range))
    return nullptr;
  return list;
}

ExprPtr Parser::parseBy() {
  uint32_t begin = token.begin;
  advance();
  auto by = std::make_unique<ByExpr>(Name());
  if (!expectName(by->subject, "'modality' or a switch after 'by'"))
    return nullptr;
  if (!token.is(TokenKind::LeftBrace)) {
    unexpected("'{'");
    return nullptr;
  }
  unsigned below = 0;
  if (!parseList(TokenKind::LeftBrace, /*mayBeEmpty=*/false,
                 /*trailingComma=*/true, [&] {
                   ByExpr::Arm &arm = by->arms.emplace_back();
                   if (!expectName(arm.name, "the name of an arm") ||
                       !expect(TokenKind::Colon, "':'") ||
                       !parseRequired(arm.value, &Parser::parseExpr))
                     return false;
                   below = std::max(below, height);
                   return true;
                 }))
    return nullptr;
  by->range = rangeFrom(begin);
  if (!growHeight(below, by->range))
    return nullptr;
  return by;
}

/// `( [ arg , ... ] )`; leaves the height of the highest argument.
bool Parser::parseArguments(std::vector<CallArgument> &arguments) {
  unsigned below = 0;
  bool ok = parseList(TokenKind::LeftParen, /*mayBeEmpty=*/true,
                      /*trailingComma=*/true, [&] {
                        CallArgument &argument = arguments.emplace_back();
                        uint32_t begin = token.begin;
                        if (token.isWord() && ahead.is(TokenKind::Assign)) {
                          argument.name = Name(spelling(token), rangeOf(token));
                          advance();
                          advance();
                        }
                        if (!parseRequired(argument.value, &Parser::parseExpr))
                          return false;
                        argument.range = rangeFrom(begin);
                        below = std::max(below, height);
                        return true;
                      });
  height = below;
  return ok;
}

/// `e` or `[e] : [e] [ : [e] ]`; leaves the height of the highest part.
bool Parser::parseSubscript(Subscript &subscript) {
  uint32_t begin = token.begin;
  unsigned below = 0;
  auto part = [&](ExprPtr &into) {
    if (!parseRequired(into, &Parser::parseExpr))
      return false;
    below = std::max(below, height);
    return true;
  };
  auto partMissing = [&] {
    return token.is(TokenKind::Colon) || token.is(TokenKind::Comma) ||
           token.is(TokenKind::RightBracket);
  };
  if (!token.is(TokenKind::Colon) && !part(subscript.begin))
    return false;
  if (consumeIf(TokenKind::Colon)) {
    subscript.isSlice = true;
    if (!partMissing() && !part(subscript.end))
      return false;
    if (consumeIf(TokenKind::Colon) && !partMissing() && !part(subscript.step))
      return false;
  }
  height = below;
  subscript.range = rangeFrom(begin);
  return true;
}
