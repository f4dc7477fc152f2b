//===- ParserStrings.cpp - Strings and their placeholders -----------------===//

#include "frontend/Parser.h"

using namespace moec;
using namespace moec::ast;
using llvm::StringRef;
using llvm::Twine;

bool Parser::badBrace(uint32_t begin, uint32_t end, const Twine &message) {
  diagnostics.error(DiagId::E105, SourceRange{file, begin, end}, message);
  stopAtLimit();
  return false;
}

/// Takes the string token apart; the next token is one.
std::unique_ptr<StringExpr> Parser::parseString() {
  SourceRange range = rangeOf(token);
  auto result = std::make_unique<StringExpr>(range);
  StringRef text = sources.text(file);
  std::string literal;
  unsigned below = 0;
  auto endLiteral = [&] {
    if (literal.empty())
      return;
    result->parts.push_back({std::move(literal), nullptr, {}});
    literal.clear();
  };

  uint32_t last = range.end - 1; // of the closing quotation mark
  for (uint32_t i = range.begin + 1; i < last;) {
    char c = text[i];
    bool doubled = i + 1 < last && text[i + 1] == c;
    if (c != '{' && c != '}') {
      literal += c;
      ++i;
    } else if (doubled) {
      literal += c;
      i += 2;
    } else if (c == '}') {
      badBrace(i, i + 1, "expected '{' before '}', or '}}' for the brace");
      return nullptr;
    } else {
      size_t close = text.find_first_of("{}", i + 1);
      if (close >= last || text[close] == '{') {
        badBrace(i, i + 1,
                 "expected '}' to end the placeholder, or '{{' for "
                 "the brace");
        return nullptr;
      }
      endLiteral();
      uint32_t end = static_cast<uint32_t>(close);
      if (!parsePlaceholder(*result, i, end + 1))
        return nullptr;
      below = std::max(below, height);
      i = end + 1;
    }
  }
  endLiteral();
  advance();
  if (!growHeight(below, range))
    return nullptr;
  return result;
}

/// Parses the bytes between the braces of [begin, end) as an expression of rule
/// `sum`, with a lexer of their own.
bool Parser::parsePlaceholder(StringExpr &string, uint32_t begin,
                              uint32_t end) {
  SourceRange range{file, begin, end};
  if (sources.text(file).slice(begin + 1, end - 1).trim(" \t").empty())
    return badBrace(begin, end, "expected an expression between the braces");

  Lexer outerLexer = lexer;
  Token outerToken = token, outerAhead = ahead;
  uint32_t outerEnd = previousEnd;
  BracketStack outerBrackets = std::move(brackets);
  brackets.clear();
  lexer = Lexer(sources, file, begin + 1, end - 1, diagnostics,
                /*placeholder=*/true);
  token = lexer.next();
  ahead = lexer.next();

  ExprPtr value = parseSum();
  if (value && !token.is(TokenKind::EndOfInput)) {
    unexpected("an operator or '}'");
    value = nullptr;
  }

  lexer = outerLexer;
  token = outerToken;
  ahead = outerAhead;
  previousEnd = outerEnd;
  brackets = std::move(outerBrackets);
  stopAtLimit();
  if (!value)
    return false;
  string.parts.push_back({{}, std::move(value), range});
  return true;
}
