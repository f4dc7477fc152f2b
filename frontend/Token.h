//===- Token.h - Words and signs of a .moe file -----------------*- C++ -*-===//
#ifndef MOEC_FRONTEND_TOKEN_H
#define MOEC_FRONTEND_TOKEN_H

#include "frontend/SourceManager.h"

namespace moec {

enum class TokenKind : uint8_t {
  EndOfInput, ///< of the file or of a placeholder
  Invalid,    ///< already reported; the parser stays silent about it
  Name,
  Number,
  String,
  // Reserved words; keep them together, see Token::isWord.
  KwLayers,
  KwWhen,
  KwOtherwise,
  KwReturn,
  KwCarry,
  KwAt,
  KwIf,
  KwElse,
  KwAnd,
  KwOr,
  KwNot,
  KwIn,
  KwFor,
  KwBy,
  KwWith,
  // Signs.
  LeftParen,
  RightParen,
  LeftBracket,
  RightBracket,
  LeftBrace,
  RightBrace,
  Comma,
  Colon,
  Dot,
  DotDot,
  Question,
  Pipe,
  Assign,
  EqualEqual,
  NotEqual,
  Less,
  LessEqual,
  Greater,
  GreaterEqual,
  Plus,
  Minus,
  Star,
  Slash,
  Percent
};

struct Token {
  TokenKind kind = TokenKind::EndOfInput;
  /// First of its line: what recovery from errors goes by.
  bool startsLine = false;
  uint32_t begin = 0;
  uint32_t end = 0;
  /// Bytes between the start of the line and the token.
  uint32_t column = 0;

  bool is(TokenKind k) const { return kind == k; }
  bool isReserved() const {
    return kind >= TokenKind::KwLayers && kind <= TokenKind::KwWith;
  }
  /// A name or a reserved word: what may name an argument.
  bool isWord() const { return kind == TokenKind::Name || isReserved(); }
};

} // namespace moec

#endif // MOEC_FRONTEND_TOKEN_H
