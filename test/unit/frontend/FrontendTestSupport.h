//===- FrontendTestSupport.h - Parsing for tests ----------------*- C++ -*-===//
#ifndef MOEC_TEST_UNIT_FRONTEND_FRONTENDTESTSUPPORT_H
#define MOEC_TEST_UNIT_FRONTEND_FRONTENDTESTSUPPORT_H

#include "frontend/AstPrinter.h"
#include "frontend/Frontend.h"

#include "llvm/Support/raw_ostream.h"

namespace moec {
namespace test {

/// A text with its messages and, if there were none, its tree.
struct Parsed {
  explicit Parsed(llvm::StringRef text, unsigned errorLimit = 20) {
    diagnostics.setErrorLimit(errorLimit);
    file = parseBuffer("t.moe", text, sources, diagnostics);
  }

  /// What a user sees.
  std::string messages() {
    std::string text;
    llvm::raw_string_ostream os(text);
    diagnostics.flush(os);
    return text;
  }

  /// "E106 3:5, E107 9:1": ids and places of the errors.
  std::string errors() const {
    std::string text;
    for (const Diagnostic &d : diagnostics.all()) {
      LineColumn at = sources.lineColumn(d.place.range);
      text += (text.empty() ? "" : ", ") + diagnosticName(d.id).str() + " " +
              std::to_string(at.line) + ":" + std::to_string(at.column);
    }
    return text;
  }

  SourceManager sources;
  Diagnostics diagnostics{sources};
  std::unique_ptr<ast::File> file;
};

inline std::string printed(const ast::File &file) {
  std::string text;
  llvm::raw_string_ostream os(text);
  ast::print(file, os);
  return text;
}

/// A whole file whose third line is `items`.
inline std::string withHead(llvm::StringRef items) {
  return "moe 1\nmodel m\n" + items.str();
}

/// A whole file with `statements` from line 4 on, in a block.
inline std::string inBlock(llvm::StringRef statements) {
  return withHead("block b(x) {\n") + statements.str() + "\nreturn x\n}\n";
}

/// A whole file with `e` as a constant at 3:11.
inline std::string asConst(llvm::StringRef e) {
  return withHead("const c = ") + e.str() + "\n";
}

/// The expression of asConst.
inline const ast::Expr &constOf(const ast::File &file) {
  return *llvm::cast<ast::BindingsItem>(*file.items.at(0)).bindings.at(0).value;
}

} // namespace test
} // namespace moec

#endif // MOEC_TEST_UNIT_FRONTEND_FRONTENDTESTSUPPORT_H
