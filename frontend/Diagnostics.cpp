//===- Diagnostics.cpp - Messages about a user's files --------------------===//

#include "frontend/Diagnostics.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/ConvertUTF.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

using namespace moec;
using llvm::StringRef;
using llvm::Twine;

//===----------------------------------------------------------------------===//
// The table of ids
//===----------------------------------------------------------------------===//

namespace {
struct IdEntry {
  const char *name;
  const char *title;
  const char *explanation;
};

constexpr IdEntry idTable[] = {
#define MOEC_DIAGNOSTIC(ID, TITLE, TEXT) {#ID, TITLE, TEXT},
#include "frontend/DiagnosticIds.def"
};

constexpr DiagId idList[] = {
#define MOEC_DIAGNOSTIC(ID, TITLE, TEXT) DiagId::ID,
#include "frontend/DiagnosticIds.def"
};

const IdEntry &entry(DiagId id) { return idTable[static_cast<unsigned>(id)]; }
} // namespace

StringRef moec::diagnosticName(DiagId id) { return entry(id).name; }
StringRef moec::diagnosticTitle(DiagId id) { return entry(id).title; }
StringRef moec::diagnosticExplanation(DiagId id) {
  return entry(id).explanation;
}

std::optional<DiagId> moec::findDiagnostic(StringRef name) {
  for (DiagId id : idList)
    if (name.equals_insensitive(diagnosticName(id)))
      return id;
  return std::nullopt;
}

llvm::ArrayRef<DiagId> moec::allDiagnostics() { return idList; }

//===----------------------------------------------------------------------===//
// Collecting
//===----------------------------------------------------------------------===//

DiagnosticBuilder &DiagnosticBuilder::add(DiagnosticPlace place,
                                          const Twine &message,
                                          bool showSource) {
  if (target)
    target->notes.push_back({std::move(place), message.str(), showSource});
  return *this;
}

DiagnosticBuilder &DiagnosticBuilder::note(SourceRange range,
                                           const Twine &message) {
  return add(range, message, /*showSource=*/true);
}

DiagnosticBuilder &DiagnosticBuilder::hint(SourceRange range,
                                           const Twine &message) {
  return add(range, message, /*showSource=*/false);
}

DiagnosticBuilder &DiagnosticBuilder::fileNote(StringRef path,
                                               const Twine &message) {
  return add(DiagnosticPlace::wholeFile(path), message, /*showSource=*/false);
}

DiagnosticBuilder &DiagnosticBuilder::suggest(SourceRange range,
                                              StringRef name) {
  if (name.empty())
    return *this;
  return hint(range, "did you mean '" + name + "'?");
}

DiagnosticBuilder Diagnostics::error(DiagId id, DiagnosticPlace place,
                                     const Twine &message) {
  return report(Severity::Error, id, std::move(place), message);
}

DiagnosticBuilder Diagnostics::warning(DiagId id, DiagnosticPlace place,
                                       const Twine &message) {
  return report(Severity::Warning, id, std::move(place), message);
}

DiagnosticBuilder Diagnostics::remark(DiagId id, DiagnosticPlace place,
                                      const Twine &message) {
  return report(Severity::Remark, id, std::move(place), message);
}

DiagnosticBuilder Diagnostics::report(Severity severity, DiagId id,
                                      DiagnosticPlace place,
                                      const Twine &message) {
  if (severity == Severity::Remark && !remarks)
    return DiagnosticBuilder(nullptr);

  std::string text = message.str();
  llvm::SmallString<128> key;
  llvm::raw_svector_ostream(key)
      << diagnosticName(id) << ' ' << place.range.file << ' '
      << place.range.begin << ' ' << place.range.end << ' ' << place.file
      << '\0' << text;
  if (!seen.insert(key).second)
    return DiagnosticBuilder(nullptr);

  if (severity == Severity::Error && errorLimit != 0 && errors == errorLimit) {
    dropped = true;
    return DiagnosticBuilder(nullptr);
  }
  errors += severity == Severity::Error;
  warnings += severity == Severity::Warning;
  messages.push_back({severity, id, std::move(place), std::move(text), {}});
  return DiagnosticBuilder(&messages.back());
}

//===----------------------------------------------------------------------===//
// Printing
//===----------------------------------------------------------------------===//

namespace {
enum class Colour { Reset, Bold, Error, Warning, Remark, Note, Caret };

/// Writes messages to one stream; the escapes are the ones clang uses.
class Printer {
public:
  Printer(const SourceManager &sources, llvm::raw_ostream &os, bool colour)
      : sources(sources), os(os), useColour(colour) {}

  void print(const Diagnostic &diagnostic);

private:
  void colour(Colour c);
  void printPlace(const DiagnosticPlace &place);
  void printHead(const DiagnosticPlace &place, StringRef word, Colour c);
  void printSource(SourceRange range);

  const SourceManager &sources;
  llvm::raw_ostream &os;
  bool useColour;
};
} // namespace

void Printer::colour(Colour c) {
  if (!useColour)
    return;
  switch (c) {
  case Colour::Reset:
    os << "\033[0m";
    break;
  case Colour::Bold:
    os << "\033[1m";
    break;
  case Colour::Error:
    os << "\033[1;31m";
    break;
  case Colour::Warning:
    os << "\033[1;35m";
    break;
  case Colour::Remark:
    os << "\033[1;34m";
    break;
  case Colour::Note:
    os << "\033[1;36m";
    break;
  case Colour::Caret:
    os << "\033[1;32m";
    break;
  }
}

void Printer::printPlace(const DiagnosticPlace &place) {
  if (place.range.isValid()) {
    LineColumn at = sources.lineColumn(place.range);
    os << sources.name(place.range.file) << ':' << at.line << ':' << at.column
       << ": ";
  } else if (!place.file.empty()) {
    os << place.file << ": ";
  } else {
    os << "moec: ";
  }
}

void Printer::printHead(const DiagnosticPlace &place, StringRef word,
                        Colour c) {
  colour(Colour::Bold);
  printPlace(place);
  colour(c);
  os << word << ": ";
  colour(Colour::Reset);
}

void Printer::print(const Diagnostic &diagnostic) {
  switch (diagnostic.severity) {
  case Severity::Error:
    printHead(diagnostic.place, "error", Colour::Error);
    break;
  case Severity::Warning:
    printHead(diagnostic.place, "warning", Colour::Warning);
    break;
  case Severity::Remark:
    printHead(diagnostic.place, "remark", Colour::Remark);
    break;
  }
  colour(Colour::Bold);
  os << diagnostic.message;
  colour(Colour::Reset);
  os << " [" << diagnosticName(diagnostic.id) << "]\n";
  if (diagnostic.place.range.isValid())
    printSource(diagnostic.place.range);

  for (const DiagnosticNote &note : diagnostic.notes) {
    printHead(note.place, "note", Colour::Note);
    os << note.message << '\n';
    if (note.showSource && note.place.range.isValid())
      printSource(note.place.range);
  }
}

/// Appends `c`, the character or ill-formed byte at the start of `rest`, in a
/// form that any terminal shows, and returns the bytes it took. `width` is
/// increased by the columns the form takes.
static size_t appendShown(StringRef rest, std::string &shown, size_t &width) {
  unsigned char c = static_cast<unsigned char>(rest.front());
  if (c >= 0x20 && c < 0x7f) {
    shown += static_cast<char>(c);
    ++width;
    return 1;
  }
  unsigned length = c < 0x80 ? 1 : llvm::getNumBytesForUTF8(c);
  const auto *bytes = reinterpret_cast<const llvm::UTF8 *>(rest.data());
  if (c >= 0xa0 && length <= rest.size() &&
      llvm::isLegalUTF8Sequence(bytes, bytes + length)) {
    shown.append(rest.data(), length);
    ++width;
    return length;
  }
  std::string escape = c == '\t' ? " " : "<" + llvm::utohexstr(c) + ">";
  width += escape.size();
  shown += escape;
  return 1;
}

/// Prints the line of a range and a caret with tildes under the range. A range
/// over several lines is marked on the first. Of a very long line a window
/// round the caret is shown.
void Printer::printSource(SourceRange range) {
  constexpr size_t windowBefore = 80, windowAfter = 120;
  LineColumn at = sources.lineColumn(range);
  StringRef line = sources.lineText(range.file, at.line);
  size_t caret = std::min<size_t>(at.column - 1, line.size());
  size_t last =
      std::min<size_t>(caret + (range.end - range.begin), line.size());
  size_t from = caret > 2 * windowBefore ? caret - windowBefore : 0;
  size_t to = std::min(line.size(), caret + windowAfter);
  if (to + windowAfter >= line.size() && from == 0)
    to = line.size();

  std::string shown = from ? "..." : "";
  size_t width = shown.size(), caretColumn = 0, lastColumn = 0;
  for (size_t i = from; i < to;) {
    if (i <= caret)
      caretColumn = width;
    i += appendShown(line.substr(i), shown, width);
    if (i <= last)
      lastColumn = width;
  }
  if (caret >= to)
    caretColumn = width;
  if (to != line.size())
    shown += "...";

  os << llvm::format("%5u | ", at.line) << shown << "\n      | ";
  os.indent(static_cast<unsigned>(caretColumn));
  colour(Colour::Caret);
  os << '^';
  for (size_t i = caretColumn + 1; i < lastColumn; ++i)
    os << '~';
  colour(Colour::Reset);
  os << '\n';
}

void Diagnostics::flush(llvm::raw_ostream &os, bool colour) {
  Printer printer(sources, os, colour);
  for (; printed != messages.size(); ++printed)
    printer.print(messages[printed]);
  if (dropped && !limitPrinted) {
    os << "moec: note: more than " << errorLimit
       << " errors; the others are not shown\n";
    limitPrinted = true;
  }
}

void Diagnostics::printCounts(llvm::raw_ostream &os) const {
  if (errors == 0 && warnings == 0)
    return;
  auto count = [&](unsigned n, StringRef word) {
    os << n << ' ' << word << (n == 1 ? "" : "s");
  };
  if (errors != 0)
    count(errors, "error");
  if (errors != 0 && warnings != 0)
    os << ", ";
  if (warnings != 0)
    count(warnings, "warning");
  os << '\n';
}
