//===- MlirDiagnostics.cpp - Messages of passes to people -----------------===//

#include "compiler/driver/MlirDiagnostics.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

using namespace moec;
using llvm::StringRef;

MlirDiagnostics::MlirDiagnostics(mlir::MLIRContext &context,
                                 SourceManager &sources, llvm::raw_ostream &os,
                                 Style style)
    : sources(sources), os(os), style(style),
      handler(&context, [this](mlir::Diagnostic &diagnostic) {
        handle(diagnostic);
        return mlir::success();
      }) {}

void MlirDiagnostics::handle(mlir::Diagnostic &diagnostic) {
  std::lock_guard<std::mutex> lock(mutex);
  switch (diagnostic.getSeverity()) {
  case mlir::DiagnosticSeverity::Error:
    ++errors;
    return print(diagnostic, "error", "\033[1;31m");
  case mlir::DiagnosticSeverity::Warning:
    return print(diagnostic, "warning", "\033[1;35m");
  case mlir::DiagnosticSeverity::Remark:
    if (style.remarks)
      print(diagnostic, "remark", "\033[1;34m");
    return;
  case mlir::DiagnosticSeverity::Note:
    return print(diagnostic, "note", "\033[1;36m");
  }
}

void MlirDiagnostics::print(mlir::Diagnostic &diagnostic, StringRef word,
                            StringRef colour) {
  StringRef bold = style.colour ? "\033[1m" : "";
  StringRef reset = style.colour ? "\033[0m" : "";
  auto place = diagnostic.getLocation()->findInstanceOf<mlir::FileLineColLoc>();
  os << bold;
  if (place)
    os << place.getFilename().getValue() << ':' << place.getLine() << ':'
       << place.getColumn() << ": ";
  else
    os << "moec: ";
  os << (style.colour ? colour : "") << word << ": " << reset << bold
     << diagnostic << reset << '\n';
  if (place)
    printSource(place);
  for (mlir::Diagnostic &note : diagnostic.getNotes())
    print(note, "note", "\033[1;36m");
}

std::optional<FileId> MlirDiagnostics::findText(StringRef path) {
  auto [entry, isNew] = texts.try_emplace(path);
  if (isNew && path != "-") {
    std::string reason; // a file that is gone is just not shown
    entry->second = sources.addFile(path, reason);
  }
  return entry->second;
}

void MlirDiagnostics::printSource(mlir::FileLineColLoc place) {
  std::optional<FileId> file = findText(place.getFilename().getValue());
  if (!file || place.getLine() == 0)
    return;
  StringRef line = sources.lineText(*file, place.getLine());
  // IR has lines of any length.
  constexpr size_t longest = 200;
  if (line.empty() || line.size() > longest ||
      !llvm::all_of(line, [](char c) { return llvm::isPrint(c) || c == '\t'; }))
    return;
  std::string shown = line.str();
  std::replace(shown.begin(), shown.end(), '\t', ' ');
  size_t column = place.getColumn() == 0 ? 0 : place.getColumn() - 1;
  os << llvm::format("%5u | ", place.getLine()) << shown << "\n      | ";
  os.indent(static_cast<unsigned>(std::min(column, line.size())));
  os << (style.colour ? "\033[1;32m^\033[0m" : "^") << '\n';
}
