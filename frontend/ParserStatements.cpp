//===- ParserStatements.cpp - Statements and bodies -----------------------===//

#include "frontend/Parser.h"

using namespace moec;
using namespace moec::ast;

/// Statements up to something that is none: `}`, `return`, an item, the end.
void Parser::parseStatements(Body &body) {
  while (!token.is(TokenKind::RightBrace) && !token.is(TokenKind::EndOfInput) &&
         !atItemStart()) {
    if (token.is(TokenKind::KwReturn) && !ahead.is(TokenKind::Assign))
      return;
    uint32_t begin = token.begin;
    if (StmtPtr statement = parseStatement()) {
      body.push_back(std::move(statement));
      continue;
    }
    if (token.begin == begin)
      skipToken();
    recover(/*inBody=*/true);
  }
}

/// `{ ... }`. False after a fault in its brackets; faults of statements inside
/// are reported and leave the statement out.
bool Parser::parseBody(Body &body) {
  Bracket brace{TokenKind::LeftBrace, rangeOf(token)};
  if (!expect(TokenKind::LeftBrace, "'{'"))
    return false;
  DepthGuard guard(*this);
  if (guard.exceeded()) {
    tooDeep(brace.range);
    skipToClosingBrace(brace);
    return true;
  }
  parseStatements(body);
  while (token.is(TokenKind::KwReturn)) {
    misplacedReturn();
    parseStatements(body);
  }
  return closeBody(brace);
}

bool Parser::closeBody(const Bracket &brace) {
  if (consumeIf(TokenKind::RightBrace))
    return true;
  unclosed(brace, "'}'");
  return false;
}

void Parser::misplacedReturn() {
  diagnostics.error(DiagId::E106, rangeOf(token),
                    "expected a statement, found 'return', which stands only "
                    "at the end of a block");
  stopAtLimit();
  skipToken();
  recover(/*inBody=*/true);
}

StmtPtr Parser::parseStatement() {
  uint32_t begin = token.begin;
  uint32_t outerColumn = constructColumn;
  constructColumn = token.column;
  brackets.clear();
  StmtPtr statement;
  if (token.is(TokenKind::KwLayers) && !ahead.is(TokenKind::Assign))
    statement = parseLayers();
  else if (token.is(TokenKind::KwWhen) && !ahead.is(TokenKind::Assign))
    statement = parseWhen();
  else if (token.is(TokenKind::Name) ||
           (token.isReserved() && ahead.is(TokenKind::Assign)))
    statement = parseAssign();
  else
    unexpected("a statement or '}'");
  if (!statement)
    return nullptr; // recovery goes by the column of this statement
  constructColumn = outerColumn;
  statement->range = rangeFrom(begin);
  return statement;
}

StmtPtr Parser::parseAssign() {
  auto statement = std::make_unique<AssignStmt>();
  do {
    if (!expectName(statement->targets.emplace_back(), "a name"))
      return nullptr;
  } while (consumeIf(TokenKind::Comma));
  if (!expect(TokenKind::Assign, statement->targets.size() == 1
                                     ? "',' or '=' after a name"
                                     : "',' or '=' after names") ||
      !parseRequired(statement->value, &Parser::parseExpr))
    return nullptr;
  return statement;
}

StmtPtr Parser::parseLayers() {
  advance();
  auto statement = std::make_unique<LayersStmt>(Name(), nullptr);
  auto head = [&] {
    if (!expectName(statement->variable, "the name of the layer's number") ||
        !expect(TokenKind::KwIn, "'in'") ||
        !parseRequired(statement->domain, &Parser::parseRange) ||
        !expect(TokenKind::KwCarry, "'carry' and the names that layers hand "
                                    "on"))
      return false;
    do {
      if (!expectName(statement->carried.emplace_back(), "a carried name"))
        return false;
    } while (consumeIf(TokenKind::Comma));
    if (!parsePrefix(statement->prefix))
      return false;
    if (token.is(TokenKind::LeftBrace))
      return true;
    unexpected(statement->prefix ? "'{'" : "',', 'at' or '{'");
    return false;
  };
  bool headIsFine = head();
  // With the body parsed, parsing is in step again: an incomplete statement is
  // a better answer than none, which would skip the next one.
  if ((!headIsFine && !recoverToBody()) || !parseBody(statement->body))
    return nullptr;
  return statement;
}

/// `when c body { otherwise when c body } [ otherwise body ]`, in a loop, so
/// that a long chain needs no deep recursion.
StmtPtr Parser::parseWhen() {
  auto statement = std::make_unique<WhenStmt>();
  while (true) {
    WhenStmt::Arm arm;
    uint32_t begin = token.begin;
    advance();
    bool headIsFine = parseRequired(arm.condition, &Parser::parseExpr);
    if (headIsFine && !token.is(TokenKind::LeftBrace)) {
      unexpected("'{'");
      headIsFine = false;
    }
    if (!headIsFine && !recoverToBody())
      return nullptr;
    if (!parseBody(arm.body))
      return nullptr;
    arm.range = rangeFrom(begin);
    statement->arms.push_back(std::move(arm));
    if (!consumeIf(TokenKind::KwOtherwise))
      break;
    if (token.is(TokenKind::KwWhen))
      continue;
    if (!token.is(TokenKind::LeftBrace)) {
      unexpected("'when' or '{' after 'otherwise'");
      if (!recoverToBody())
        return nullptr;
    }
    if (!parseBody(statement->otherwise.emplace()))
      return nullptr;
    break;
  }
  return statement;
}
