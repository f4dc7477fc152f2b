//===- Lexer.h - Splits a text into tokens ----------------------*- C++ -*-===//
#ifndef MOEC_FRONTEND_LEXER_H
#define MOEC_FRONTEND_LEXER_H

#include "frontend/Diagnostics.h"
#include "frontend/Token.h"

namespace moec {

/// Gives the tokens of a text one by one. Faults are reported when they are
/// met; the token then is Invalid, or one of the kind that was meant, so that
/// one fault gives one message. The text must be valid UTF-8 without NUL
/// (checkEncoding). A small value: copying one saves its place.
class Lexer {
public:
  /// Where `placeholder` is set, [begin, end) is the inside of a placeholder:
  /// there are no comments, so that `//` cannot swallow the rest.
  Lexer(const SourceManager &sources, FileId file, uint32_t begin, uint32_t end,
        Diagnostics &diagnostics, bool placeholder);

  Token next();

  /// Switches reports off, while the parser skips text after a fault.
  void setQuiet(bool value) { quiet = value; }
  void skipToEnd() { position = limit; }
  bool inPlaceholder() const { return placeholder; }

private:
  void skipBlank(bool &lineBegins);
  Token sign();
  Token word();
  Token number();
  Token string();
  Token invalid(uint32_t begin);
  Token finish(TokenKind kind, uint32_t begin);
  void report(DiagId id, uint32_t begin, const llvm::Twine &message,
              llvm::StringRef remedy = {});
  char at(uint32_t offset) const { return offset < limit ? text[offset] : 0; }

  llvm::StringRef text;
  Diagnostics *diagnostics;
  FileId file;
  uint32_t position;
  uint32_t limit;
  uint32_t lineStart;
  bool placeholder;
  bool quiet = false;
};

/// Reports the first byte of the file that is not UTF-8 text, if any; false
/// then. One message says more about a binary file than many.
bool checkEncoding(const SourceManager &sources, FileId file,
                   Diagnostics &diagnostics);

} // namespace moec

#endif // MOEC_FRONTEND_LEXER_H
