//===- Parser.h - From tokens to a tree -------------------------*- C++ -*-===//
//
// Recursive descent over the grammar of docs/language.md with one token of
// lookahead. After a fault the parser goes on at the next statement or item, so
// that a run reports several faults, each once. Any bytes are fine as input:
// recursion is limited and time is linear in the length of the text.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_FRONTEND_PARSER_H
#define MOEC_FRONTEND_PARSER_H

#include "frontend/Ast.h"
#include "frontend/Lexer.h"

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/SmallVector.h"

namespace moec {

class Parser {
public:
  /// Deepest nesting of brackets, prefix operators, families and bodies.
  static constexpr unsigned maxDepth = 256;
  /// Longest path from the root of an expression to a leaf; chains of operators
  /// and postfix forms count, each link once.
  static constexpr unsigned maxHeight = 512;

  Parser(const SourceManager &sources, FileId file, Diagnostics &diagnostics);

  /// Parses the whole text. The tree is complete only if no error was reported;
  /// null if there is nothing to show at all.
  std::unique_ptr<ast::File> parseFile();

private:
  struct Bracket {
    TokenKind kind; ///< of the opening token
    SourceRange range;
  };
  /// The brackets open in the expression being parsed or skipped. Counts by
  /// kind keep a closing bracket without partner from costing a search.
  class BracketStack {
  public:
    bool empty() const { return stack.empty(); }
    const Bracket &back() const { return stack.back(); }
    void push(Bracket bracket);
    void pop();
    void clear();
    bool hasBrace() const { return braces != 0; }
    /// Closes the innermost bracket that `closing` fits, with those inside it;
    /// false if there is none.
    bool close(TokenKind closing);

  private:
    unsigned &count(TokenKind opening);
    llvm::SmallVector<Bracket, 16> stack;
    unsigned parens = 0, squares = 0, braces = 0;
  };
  class DepthGuard;

  // Parser.cpp: tokens, messages, recovery.
  void advance();
  bool consumeIf(TokenKind kind);
  bool expect(TokenKind kind, llvm::StringRef after);
  bool expectName(ast::Name &name, const llvm::Twine &what);
  bool atWord(llvm::StringRef word) const;
  bool atItemStart() const;
  bool atOuterItem() const;
  llvm::StringRef spelling(const Token &t) const;
  std::string describe(const Token &t) const;
  SourceRange rangeOf(const Token &t) const { return {file, t.begin, t.end}; }
  SourceRange rangeFrom(uint32_t begin) const {
    return {file, begin, previousEnd > begin ? previousEnd : begin};
  }
  void unexpected(const llvm::Twine &expected);
  void unclosed(const Bracket &open, const llvm::Twine &expected);
  void stopAtLimit();
  bool tooDeep(SourceRange range);
  bool startsNewConstruct() const;
  void recover(bool inBody);
  bool recoverToBody();
  void skipToken();
  void skipToClosingBrace(const Bracket &brace);
  bool atResumePoint(bool inBody) const;
  bool parseList(TokenKind open, bool mayBeEmpty, bool trailingComma,
                 llvm::function_ref<bool()> element);

  // Parser.cpp: the file.
  bool parseHeader(ast::File &result);

  // ParserItems.cpp.
  ast::ItemPtr parseItem();
  ast::ItemPtr parseUse();
  ast::ItemPtr parseWeights();
  ast::ItemPtr parseStorage();
  ast::ItemPtr parseKeep();
  ast::ItemPtr parseIgnore();
  ast::ItemPtr parseStopTokens();
  ast::ItemPtr parseDtype();
  ast::ItemPtr parseBindings(bool isDim);
  ast::ItemPtr parseSwitch();
  ast::ItemPtr parseModality();
  ast::ItemPtr parseBlock();
  ast::ItemPtr parseEntry();
  bool parseBlockEnd(ast::BlockItem &block, const Bracket &brace);
  bool parseOption(ast::EntryOption &option);
  bool parseParams(std::vector<ast::Param> &params);
  bool parseType(ast::Type &type);
  bool parseSegment(ast::Segment &segment);
  bool parsePlainText(ast::PlainText &text, llvm::StringRef what);
  bool parsePrefix(std::unique_ptr<ast::StringExpr> &prefix);

  // ParserStatements.cpp.
  void parseStatements(ast::Body &body);
  bool parseBody(ast::Body &body);
  bool closeBody(const Bracket &brace);
  ast::StmtPtr parseStatement();
  ast::StmtPtr parseAssign();
  ast::StmtPtr parseLayers();
  ast::StmtPtr parseWhen();
  void misplacedReturn();

  // ParserExpressions.cpp. Null or false after a fault, which was reported.
  // Each leaves the height of what it parsed in `height`.
  ast::ExprPtr parseExpr();
  ast::ExprPtr parseFamily();
  ast::ExprPtr parseOr();
  ast::ExprPtr parseAnd();
  ast::ExprPtr parseNot();
  ast::ExprPtr parseCompare();
  ast::ExprPtr parseRange();
  ast::ExprPtr parseSum();
  ast::ExprPtr parseProduct();
  ast::ExprPtr parseUnary();
  ast::ExprPtr parsePostfix();
  ast::ExprPtr parsePrimary();
  ast::ExprPtr parseParenthesised();
  ast::ExprPtr parseListLiteral();
  ast::ExprPtr parseBy();
  bool parseArguments(std::vector<ast::CallArgument> &arguments);
  bool parseSubscript(ast::Subscript &subscript);
  ast::ExprPtr parseChain(ast::ExprPtr (Parser::*operand)(),
                          llvm::ArrayRef<TokenKind> operators);
  ast::ExprPtr makeBinary(ast::BinaryOp op, SourceRange opRange,
                          ast::ExprPtr lhs, ast::ExprPtr rhs);
  bool parseRequired(ast::ExprPtr &into, ast::ExprPtr (Parser::*rule)());
  bool growHeight(unsigned below, SourceRange range);

  // ParserStrings.cpp.
  std::unique_ptr<ast::StringExpr> parseString();
  bool parsePlaceholder(ast::StringExpr &string, uint32_t begin, uint32_t end);
  bool badBrace(uint32_t begin, uint32_t end, const llvm::Twine &message);

  const SourceManager &sources;
  FileId file;
  Diagnostics &diagnostics;
  Lexer lexer;
  Token token;              ///< the next token to parse
  Token ahead;              ///< the one after it
  uint32_t previousEnd = 0; ///< where the last consumed token ended
  unsigned depth = 0;
  unsigned height = 0;
  bool reportedDepth = false;
  /// Column at which the current statement or item began.
  uint32_t constructColumn = 0;
  BracketStack brackets;
};

/// Counts one level of nesting while it lives.
class Parser::DepthGuard {
public:
  explicit DepthGuard(Parser &parser) : parser(parser) { ++parser.depth; }
  ~DepthGuard() { --parser.depth; }
  DepthGuard(const DepthGuard &) = delete;
  DepthGuard &operator=(const DepthGuard &) = delete;
  bool exceeded() const { return parser.depth > maxDepth; }

private:
  Parser &parser;
};

} // namespace moec

#endif // MOEC_FRONTEND_PARSER_H
