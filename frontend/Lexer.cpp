//===- Lexer.cpp - Splits a text into tokens ------------------------------===//

#include "frontend/Lexer.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/ConvertUTF.h"

using namespace moec;
using llvm::StringRef;
using llvm::Twine;

Lexer::Lexer(const SourceManager &sources, FileId file, uint32_t begin,
             uint32_t end, Diagnostics &diagnostics, bool placeholder)
    : text(sources.text(file)), diagnostics(&diagnostics), file(file),
      position(begin), limit(end),
      // A placeholder never begins a line.
      lineStart(placeholder ? begin - 1 : begin), placeholder(placeholder) {
  if (begin == 0 && text.starts_with("\xEF\xBB\xBF"))
    position = lineStart = 3;
}

static bool isNameStart(char c) { return llvm::isAlpha(c) || c == '_'; }
static bool isNamePart(char c) { return llvm::isAlnum(c) || c == '_'; }

void Lexer::report(DiagId id, uint32_t begin, const Twine &message,
                   StringRef remedy) {
  if (quiet)
    return;
  SourceRange range{file, begin, position};
  DiagnosticBuilder builder = diagnostics->error(id, range, message);
  if (!remedy.empty())
    builder.hint(range, remedy);
  if (diagnostics->limitReached())
    skipToEnd();
}

void Lexer::skipBlank(bool &lineBegins) {
  while (position < limit) {
    char c = text[position];
    if (c == '\n') {
      lineBegins = true;
      lineStart = ++position;
    } else if (c == ' ' || c == '\t' || c == '\r') {
      ++position;
    } else if (c == '/' && at(position + 1) == '/' && !placeholder) {
      size_t end = text.find('\n', position);
      position = end == StringRef::npos || end > limit
                     ? limit
                     : static_cast<uint32_t>(end);
    } else {
      return;
    }
  }
}

Token Lexer::finish(TokenKind kind, uint32_t begin) {
  Token token;
  token.kind = kind;
  token.begin = begin;
  token.end = position;
  return token;
}

Token Lexer::next() {
  bool startsLine = position == lineStart;
  skipBlank(startsLine);
  uint32_t column = position - lineStart;
  Token token;
  if (position >= limit)
    token = finish(TokenKind::EndOfInput, limit);
  else if (isNameStart(text[position]))
    token = word();
  else if (llvm::isDigit(text[position]) ||
           (text[position] == '.' && llvm::isDigit(at(position + 1))))
    token = number();
  else if (text[position] == '"')
    token = string();
  else
    token = sign();
  token.startsLine = startsLine;
  token.column = column;
  return token;
}

Token Lexer::word() {
  uint32_t begin = position;
  while (position < limit && isNamePart(text[position]))
    ++position;
  TokenKind kind = llvm::StringSwitch<TokenKind>(text.slice(begin, position))
                       .Case("layers", TokenKind::KwLayers)
                       .Case("when", TokenKind::KwWhen)
                       .Case("otherwise", TokenKind::KwOtherwise)
                       .Case("return", TokenKind::KwReturn)
                       .Case("carry", TokenKind::KwCarry)
                       .Case("at", TokenKind::KwAt)
                       .Case("if", TokenKind::KwIf)
                       .Case("else", TokenKind::KwElse)
                       .Case("and", TokenKind::KwAnd)
                       .Case("or", TokenKind::KwOr)
                       .Case("not", TokenKind::KwNot)
                       .Case("in", TokenKind::KwIn)
                       .Case("for", TokenKind::KwFor)
                       .Case("by", TokenKind::KwBy)
                       .Case("with", TokenKind::KwWith)
                       .Default(TokenKind::Name);
  return finish(kind, begin);
}

/// Digits, a point between digits, an exponent with digits. Anything else that
/// looks as if it belonged to the number is taken into it and reported, so
/// that `1e`, `2.` and `12px` are one fault each.
Token Lexer::number() {
  uint32_t begin = position;
  auto digits = [&] {
    while (llvm::isDigit(at(position)))
      ++position;
  };
  bool wellFormed = text[position] != '.';
  digits();
  if (at(position) == '.' && llvm::isDigit(at(position + 1))) {
    ++position;
    digits();
  } else if (at(position) == '.' && at(position + 1) != '.' &&
             !isNameStart(at(position + 1))) {
    ++position;
    wellFormed = false;
  }
  if (at(position) == 'e' || at(position) == 'E') {
    uint32_t sign = at(position + 1) == '+' || at(position + 1) == '-';
    if (llvm::isDigit(at(position + 1 + sign))) {
      position += 1 + sign;
      digits();
    }
  }
  while (position < limit && isNamePart(text[position])) {
    ++position;
    wellFormed = false;
  }
  if (!wellFormed) {
    constexpr uint32_t shown = 40;
    bool cut = position - begin > shown;
    report(DiagId::E104, begin,
           "expected a number such as 12, 2.5 or 1e-5, found '" +
               text.slice(begin, cut ? begin + shown : position) +
               (cut ? "...'" : "'"));
  }
  return finish(TokenKind::Number, begin);
}

Token Lexer::string() {
  uint32_t begin = position++;
  while (position < limit && text[position] != '"' && text[position] != '\n')
    ++position;
  if (at(position) == '"') {
    ++position;
    return finish(TokenKind::String, begin);
  }
  if (position > begin + 1 && text[position - 1] == '\r')
    --position;
  report(DiagId::E103, begin, "expected '\"' before the end of the line");
  return invalid(begin);
}

Token Lexer::invalid(uint32_t begin) {
  return finish(TokenKind::Invalid, begin);
}

/// Says what to write instead of a sign that other languages have.
static StringRef remedyFor(char c) {
  switch (c) {
  case ';':
    return "statements need no separator";
  case '#':
    return "comments begin with '//'";
  case '&':
    return "write 'and'";
  case '!':
    return "write 'not'";
  case '\'':
    return "strings stand between double quotation marks";
  default:
    return {};
  }
}

Token Lexer::sign() {
  struct Sign {
    StringRef spelling;
    TokenKind kind;
  };
  // Longer signs first.
  static constexpr Sign signs[] = {
      {"..", TokenKind::DotDot},       {"==", TokenKind::EqualEqual},
      {"!=", TokenKind::NotEqual},     {"<=", TokenKind::LessEqual},
      {">=", TokenKind::GreaterEqual}, {"(", TokenKind::LeftParen},
      {")", TokenKind::RightParen},    {"[", TokenKind::LeftBracket},
      {"]", TokenKind::RightBracket},  {"{", TokenKind::LeftBrace},
      {"}", TokenKind::RightBrace},    {",", TokenKind::Comma},
      {":", TokenKind::Colon},         {".", TokenKind::Dot},
      {"?", TokenKind::Question},      {"|", TokenKind::Pipe},
      {"=", TokenKind::Assign},        {"<", TokenKind::Less},
      {">", TokenKind::Greater},       {"+", TokenKind::Plus},
      {"-", TokenKind::Minus},         {"*", TokenKind::Star},
      {"/", TokenKind::Slash},         {"%", TokenKind::Percent},
  };
  uint32_t begin = position;
  StringRef rest = text.slice(position, limit);
  for (const Sign &sign : signs)
    if (rest.starts_with(sign.spelling)) {
      position += static_cast<uint32_t>(sign.spelling.size());
      return finish(sign.kind, begin);
    }

  // A row of strange characters is one fault.
  auto isStrange = [](char c) {
    return !isNamePart(c) && !llvm::isSpace(c) &&
           !StringRef("\"()[]{},:.?|=<>+-*/%").contains(c);
  };
  while (position < limit && isStrange(text[position]))
    ++position;
  // Control characters that isSpace takes for blanks, such as a form feed.
  if (position == begin)
    ++position;
  unsigned char first = static_cast<unsigned char>(text[begin]);
  uint32_t length = first < 0x80 ? 1 : llvm::getNumBytesForUTF8(first);
  std::string shown = first < 0x20 || first == 0x7f
                          ? "U+00" + llvm::utohexstr(first, false, 2)
                          : "'" + text.substr(begin, length).str() + "'";
  report(DiagId::E101, begin, "unexpected character " + shown,
         remedyFor(text[begin]));
  return invalid(begin);
}

bool moec::checkEncoding(const SourceManager &sources, FileId file,
                         Diagnostics &diagnostics) {
  StringRef text = sources.text(file);
  const auto *begin = reinterpret_cast<const llvm::UTF8 *>(text.data());
  const llvm::UTF8 *bad = begin, *end = begin + text.size();
  bool legal = llvm::isLegalUTF8String(&bad, end);
  size_t nul = text.find('\0');
  size_t offset = legal ? text.size() : static_cast<size_t>(bad - begin);
  if (legal && nul == StringRef::npos)
    return true;
  offset = std::min(offset, nul);
  unsigned char byte = static_cast<unsigned char>(text[offset]);
  diagnostics.error(DiagId::E102,
                    SourceRange{file, static_cast<uint32_t>(offset),
                                static_cast<uint32_t>(offset + 1)},
                    "expected UTF-8 text, found byte 0x" +
                        llvm::utohexstr(byte, /*LowerCase=*/true, 2));
  return false;
}
