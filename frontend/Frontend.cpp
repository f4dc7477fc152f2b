//===- Frontend.cpp - From text to a tree ---------------------------------===//

#include "frontend/Frontend.h"

#include "frontend/Parser.h"

using namespace moec;
using llvm::StringRef;

static std::unique_ptr<ast::File> parse(FileId file, SourceManager &sources,
                                        Diagnostics &diagnostics) {
  unsigned before = diagnostics.errorCount();
  Parser parser(sources, file, diagnostics);
  std::unique_ptr<ast::File> result = parser.parseFile();
  if (diagnostics.errorCount() != before || diagnostics.limitReached())
    return nullptr;
  return result;
}

std::unique_ptr<ast::File> moec::parseFile(StringRef path,
                                           SourceManager &sources,
                                           Diagnostics &diagnostics) {
  std::string reason;
  std::optional<FileId> file = sources.addFile(path, reason);
  if (!file) {
    diagnostics.error(DiagId::E112, DiagnosticPlace::wholeFile(path),
                      "cannot read the file: " + reason);
    return nullptr;
  }
  return parse(*file, sources, diagnostics);
}

std::unique_ptr<ast::File> moec::parseBuffer(StringRef name, StringRef text,
                                             SourceManager &sources,
                                             Diagnostics &diagnostics) {
  if (text.size() > SourceManager::maxBytes) {
    diagnostics.error(DiagId::E112, DiagnosticPlace::wholeFile(name),
                      "cannot read the text: expected at most " +
                          llvm::Twine(SourceManager::maxBytes) +
                          " bytes, found " + llvm::Twine(text.size()));
    return nullptr;
  }
  return parse(sources.addBuffer(name, text), sources, diagnostics);
}
