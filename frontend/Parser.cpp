//===- Parser.cpp - Tokens, messages, recovery ----------------------------===//

#include "frontend/Parser.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSwitch.h"

using namespace moec;
using llvm::StringRef;
using llvm::Twine;

//===----------------------------------------------------------------------===//
// Brackets
//===----------------------------------------------------------------------===//

static TokenKind closingOf(TokenKind opening) {
  switch (opening) {
  case TokenKind::LeftParen:
    return TokenKind::RightParen;
  case TokenKind::LeftBracket:
    return TokenKind::RightBracket;
  default:
    return TokenKind::RightBrace;
  }
}

static StringRef bracketText(TokenKind kind) {
  switch (kind) {
  case TokenKind::LeftParen:
    return "'('";
  case TokenKind::RightParen:
    return "')'";
  case TokenKind::LeftBracket:
    return "'['";
  case TokenKind::RightBracket:
    return "']'";
  case TokenKind::LeftBrace:
    return "'{'";
  default:
    return "'}'";
  }
}

unsigned &Parser::BracketStack::count(TokenKind opening) {
  switch (opening) {
  case TokenKind::LeftParen:
    return parens;
  case TokenKind::LeftBracket:
    return squares;
  default:
    return braces;
  }
}

void Parser::BracketStack::push(Bracket bracket) {
  ++count(bracket.kind);
  stack.push_back(bracket);
}

void Parser::BracketStack::pop() {
  --count(stack.back().kind);
  stack.pop_back();
}

void Parser::BracketStack::clear() {
  stack.clear();
  parens = squares = braces = 0;
}

bool Parser::BracketStack::close(TokenKind closing) {
  TokenKind opening = closing == TokenKind::RightParen ? TokenKind::LeftParen
                      : closing == TokenKind::RightBracket
                          ? TokenKind::LeftBracket
                          : TokenKind::LeftBrace;
  if (count(opening) == 0)
    return false;
  while (stack.back().kind != opening)
    pop();
  pop();
  return true;
}

//===----------------------------------------------------------------------===//
// Tokens
//===----------------------------------------------------------------------===//

Parser::Parser(const SourceManager &sources, FileId file,
               Diagnostics &diagnostics)
    : sources(sources), file(file), diagnostics(diagnostics),
      lexer(sources, file, 0, static_cast<uint32_t>(sources.text(file).size()),
            diagnostics, /*placeholder=*/false) {}

void Parser::advance() {
  previousEnd = token.end;
  token = ahead;
  ahead = lexer.next();
}

bool Parser::consumeIf(TokenKind kind) {
  if (!token.is(kind))
    return false;
  advance();
  return true;
}

bool Parser::expect(TokenKind kind, StringRef expected) {
  if (consumeIf(kind))
    return true;
  unexpected(expected);
  return false;
}

/// A reserved word in the place of a name is reported and taken as the name:
/// what follows is most likely fine.
bool Parser::expectName(ast::Name &name, const Twine &what) {
  if (!token.isWord() || atOuterItem()) {
    unexpected(what);
    return false;
  }
  if (token.isReserved()) {
    diagnostics.error(DiagId::E109, rangeOf(token),
                      "expected " + what + ", found reserved word '" +
                          spelling(token) + "'");
    stopAtLimit();
  }
  name = ast::Name(spelling(token), rangeOf(token));
  advance();
  return true;
}

bool Parser::atWord(StringRef word) const {
  return token.is(TokenKind::Name) && spelling(token) == word;
}

StringRef Parser::spelling(const Token &t) const {
  return sources.text(rangeOf(t));
}

std::string Parser::describe(const Token &t) const {
  constexpr size_t shown = 40;
  std::string text = spelling(t).take_front(shown).str();
  if (t.end - t.begin > shown)
    text += "...";
  switch (t.kind) {
  case TokenKind::EndOfInput:
    return lexer.inPlaceholder() ? "end of the placeholder" : "end of file";
  case TokenKind::Name:
    return "name '" + text + "'";
  case TokenKind::Number:
    return "number " + text;
  case TokenKind::String:
    return "a string";
  default:
    return "'" + text + "'";
  }
}

//===----------------------------------------------------------------------===//
// Messages
//===----------------------------------------------------------------------===//

/// Past the limit of errors nothing more can be reported: ends the text.
void Parser::stopAtLimit() {
  if (!diagnostics.limitReached())
    return;
  lexer.skipToEnd();
  ahead = lexer.next();
  token = ahead;
}

void Parser::unexpected(const Twine &expected) {
  if (token.is(TokenKind::Invalid))
    return;
  if (token.is(TokenKind::EndOfInput) && !brackets.empty())
    return unclosed(brackets.back(), expected);
  diagnostics.error(DiagId::E106, rangeOf(token),
                    "expected " + expected + ", found " + describe(token));
  stopAtLimit();
}

void Parser::unclosed(const Bracket &open, const Twine &expected) {
  if (token.is(TokenKind::Invalid))
    return;
  diagnostics
      .error(DiagId::E107, rangeOf(token),
             "expected " + expected + ", found " + describe(token))
      .note(open.range, "to close this " + bracketText(open.kind));
  stopAtLimit();
}

bool Parser::tooDeep(SourceRange range) {
  // Once a file: what is too deep on the way in is so on the way out.
  if (reportedDepth)
    return false;
  reportedDepth = true;
  diagnostics.error(DiagId::E108, range,
                    "expected at most " + Twine(maxDepth) +
                        " levels of nesting and chains of at most " +
                        Twine(maxHeight) + " links");
  stopAtLimit();
  return false;
}

//===----------------------------------------------------------------------===//
// Recovery
//===----------------------------------------------------------------------===//

/// Whether the next tokens can only be the beginning of an item: an item word
/// alone may also be a value's name.
bool Parser::atItemStart() const {
  if (token.is(TokenKind::Name) && token.startsLine &&
      ahead.is(TokenKind::Number))
    return spelling(token) == "stop_tokens";
  if (!token.is(TokenKind::Name) || !token.startsLine ||
      !(ahead.is(TokenKind::Name) || ahead.is(TokenKind::String)))
    return false;
  return llvm::StringSwitch<bool>(spelling(token))
      .Cases({"use", "weights", "storage", "keep", "ignore", "dtype"}, true)
      .Cases({"dim", "const", "switch", "modality", "block", "entry"}, true)
      .Default(false);
}

/// Whether an item begins here although a name is expected: the word could be
/// that name, but on a line of its own, no further right than the construct
/// around it, it means that something was forgotten.
bool Parser::atOuterItem() const {
  return atItemStart() && token.column <= constructColumn;
}

static bool beginsStatement(const Token &token, const Token &ahead) {
  return (token.is(TokenKind::KwLayers) || token.is(TokenKind::KwWhen) ||
          token.is(TokenKind::KwReturn)) &&
         !ahead.is(TokenKind::Assign);
}

/// Whether the expression being parsed has most likely ended without its
/// closing brackets.
bool Parser::startsNewConstruct() const {
  return token.is(TokenKind::EndOfInput) || token.is(TokenKind::RightBrace) ||
         beginsStatement(token, ahead) || atItemStart() ||
         (token.startsLine && token.column <= constructColumn);
}

bool Parser::atResumePoint(bool inBody) const {
  if (atItemStart())
    return true;
  // Outside blocks two words side by side at the margin are a misspelt item.
  if (!inBody)
    return token.is(TokenKind::Name) && token.startsLine &&
           token.column <= constructColumn && ahead.is(TokenKind::Name);
  if (token.is(TokenKind::RightBrace))
    return !brackets.hasBrace();
  if (beginsStatement(token, ahead))
    return true;
  if (!token.isWord())
    return false;
  // `NAME =` inside brackets is an argument, unless its line begins no further
  // right than the statement at fault: then a bracket was forgotten.
  if (token.startsLine && token.column <= constructColumn)
    return ahead.is(TokenKind::Assign) || ahead.is(TokenKind::Comma);
  return brackets.empty() && ahead.is(TokenKind::Assign);
}

void Parser::skipToken() {
  switch (token.kind) {
  case TokenKind::LeftParen:
  case TokenKind::LeftBracket:
  case TokenKind::LeftBrace:
    brackets.push({token.kind, rangeOf(token)});
    break;
  case TokenKind::RightParen:
  case TokenKind::RightBracket:
  case TokenKind::RightBrace:
    brackets.close(token.kind);
    break;
  default:
    break;
  }
  advance();
}

/// Skips to where parsing can go on. What is skipped was not understood, so the
/// lexer is silent about it.
void Parser::recover(bool inBody) {
  lexer.setQuiet(true);
  while (!token.is(TokenKind::EndOfInput) && !atResumePoint(inBody))
    skipToken();
  lexer.setQuiet(false);
  brackets.clear();
}

/// After a fault in the head of a statement or block: skips to its `{`, so that
/// the body is still checked and its end is not taken for another's. False if a
/// new statement or item comes first.
bool Parser::recoverToBody() {
  lexer.setQuiet(true);
  while (!token.is(TokenKind::EndOfInput) && !atResumePoint(/*inBody=*/true) &&
         !(token.is(TokenKind::LeftBrace) && !brackets.hasBrace()))
    skipToken();
  lexer.setQuiet(false);
  brackets.clear();
  return token.is(TokenKind::LeftBrace);
}

/// Skips a body whose opening brace was consumed, with everything in it.
void Parser::skipToClosingBrace(const Bracket &brace) {
  lexer.setQuiet(true);
  brackets.push(brace);
  while (!token.is(TokenKind::EndOfInput) && brackets.hasBrace())
    skipToken();
  lexer.setQuiet(false);
  brackets.clear();
}

/// Parses `open element , element ... close`; the next token is `open`.
bool Parser::parseList(TokenKind open, bool mayBeEmpty, bool trailingComma,
                       llvm::function_ref<bool()> element) {
  Bracket bracket{open, rangeOf(token)};
  TokenKind close = closingOf(open);
  brackets.push(bracket);
  advance();
  bool mayClose = mayBeEmpty;
  while (!(mayClose && token.is(close))) {
    if (!element())
      return false;
    if (!consumeIf(TokenKind::Comma))
      break;
    mayClose = trailingComma;
  }
  if (!token.is(close)) {
    std::string expected = ("',' or " + bracketText(close)).str();
    if (startsNewConstruct())
      unclosed(bracket, expected);
    else
      unexpected(expected);
    return false;
  }
  brackets.pop();
  advance();
  return true;
}

//===----------------------------------------------------------------------===//
// The file
//===----------------------------------------------------------------------===//

/// `moe 1 model NAME`. False where the text is not a file of this language, or
/// of a version this compiler does not know: its faults would mean nothing.
bool Parser::parseHeader(ast::File &result) {
  if (!atWord("moe")) {
    if (!token.is(TokenKind::Invalid))
      diagnostics.error(
          DiagId::E110, rangeOf(token),
          "expected 'moe 1' at the beginning of the file, found " +
              describe(token));
    return false;
  }
  advance();
  if (!token.is(TokenKind::Number)) {
    if (!token.is(TokenKind::Invalid))
      diagnostics.error(DiagId::E110, rangeOf(token),
                        "expected the version of the language after 'moe', "
                        "found " +
                            describe(token));
    return false;
  }
  ast::NumberExpr version(spelling(token));
  if (version.asInteger() != 1) {
    diagnostics.error(DiagId::E111, rangeOf(token),
                      "expected language version 1, found " +
                          spelling(token).take_front(40));
    return false;
  }
  advance();
  if (!atWord("model")) {
    if (!token.is(TokenKind::Invalid))
      diagnostics.error(DiagId::E110, rangeOf(token),
                        "expected 'model' and the name of the model, found " +
                            describe(token));
    recover(/*inBody=*/false);
    return true;
  }
  advance();
  if (!expectName(result.model, "the name of the model"))
    recover(/*inBody=*/false);
  return true;
}

std::unique_ptr<ast::File> Parser::parseFile() {
  if (!checkEncoding(sources, file, diagnostics))
    return nullptr;
  token = lexer.next();
  ahead = lexer.next();
  auto result = std::make_unique<ast::File>();
  if (!parseHeader(*result))
    return nullptr;
  while (!token.is(TokenKind::EndOfInput)) {
    uint32_t begin = token.begin;
    if (ast::ItemPtr item = parseItem()) {
      result->items.push_back(std::move(item));
      continue;
    }
    if (token.begin == begin)
      skipToken();
    recover(/*inBody=*/false);
  }
  result->range = {file, 0, static_cast<uint32_t>(sources.text(file).size())};
  return result;
}
