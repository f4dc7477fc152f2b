//===- Diagnostics.h - Messages about a user's files ------------*- C++ -*-===//
//
// Collects errors, warnings, remarks and their notes, and prints them in the
// form
//
//   mixtral.moe:20:9: error: route() lacks stage 'renorm' [E402]
//      20 |     r = route(linear(f, "gate.weight", to = experts),
//         |         ^~~~~
//   mixtral.moe:22:15: note: add 'renorm = none' or 'renorm = sum'
//
// Messages are lower case, without a full stop, expected before found. How to
// report:
//
//   diagnostics.error(DiagId::E604, view.range,
//                     "'gate' of glu must be [2880, 2880], this view is ...")
//       .hint(dim.range, "'ffn' is 2880 here")          // place, no source
//       .note(entry.range, "entry 'prefill' takes ...") // place and source
//       .fileNote("model-00001.safetensors", "tensor 'w' is [32, 5760]");
//
// A class with state of its own and no globals: two compilations in one
// process do not see each other.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_FRONTEND_DIAGNOSTICS_H
#define MOEC_FRONTEND_DIAGNOSTICS_H

#include "frontend/SourceManager.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/Twine.h"

#include <deque>
#include <string>
#include <vector>

namespace llvm {
class raw_ostream;
} // namespace llvm

namespace moec {

/// Stable numbers of messages; DiagnosticIds.def is the list. The class of a
/// number is its first digit: 1 syntax, 2 names and kinds, 3 dimensions,
/// 4 routing, 5 modality, 6 weights, 7 layers, 8 entries and caches, 9 plugins.
enum class DiagId : uint16_t {
#define MOEC_DIAGNOSTIC(ID, TITLE, TEXT) ID,
#include "frontend/DiagnosticIds.def"
};

/// "E402".
llvm::StringRef diagnosticName(DiagId id);
/// One line: what went wrong in general.
llvm::StringRef diagnosticTitle(DiagId id);
/// The paragraph that `moec --explain E402` prints.
llvm::StringRef diagnosticExplanation(DiagId id);
/// The id called `name` ("E402" or "e402"), if there is one.
std::optional<DiagId> findDiagnostic(llvm::StringRef name);
/// Every id, in order.
llvm::ArrayRef<DiagId> allDiagnostics();

enum class Severity { Error, Warning, Remark };

/// Where a message points: bytes of a text, a file as a whole (a tensor file
/// has no lines), or nowhere. A SourceRange converts to it.
struct DiagnosticPlace {
  SourceRange range;
  std::string file; ///< used when the range is unknown

  DiagnosticPlace() = default;
  DiagnosticPlace(SourceRange range) : range(range) {}
  static DiagnosticPlace wholeFile(llvm::StringRef path) {
    DiagnosticPlace place;
    place.file = path.str();
    return place;
  }
};

struct DiagnosticNote {
  DiagnosticPlace place;
  std::string message;
  bool showSource = false;
};

struct Diagnostic {
  Severity severity;
  DiagId id;
  DiagnosticPlace place;
  std::string message;
  std::vector<DiagnosticNote> notes;
};

/// Handle on the message just reported, to which notes are added. Cheap, for
/// immediate use; it stays valid as long as its Diagnostics.
class DiagnosticBuilder {
public:
  /// Adds a note with its place and the source line below it.
  DiagnosticBuilder &note(SourceRange range, const llvm::Twine &message);
  /// Adds a note with its place but without the source line: for a remedy, or
  /// for a place that needs no showing.
  DiagnosticBuilder &hint(SourceRange range, const llvm::Twine &message);
  /// Adds a note about a file as a whole: "model.safetensors: note: ...".
  DiagnosticBuilder &fileNote(llvm::StringRef path, const llvm::Twine &message);
  /// Adds "did you mean 'rms_norm'?" at `range`; nothing if `name` is empty.
  DiagnosticBuilder &suggest(SourceRange range, llvm::StringRef name);

private:
  friend class Diagnostics;
  /// Null for a message that was dropped (a repetition, or past the limit).
  explicit DiagnosticBuilder(Diagnostic *target) : target(target) {}
  DiagnosticBuilder &add(DiagnosticPlace place, const llvm::Twine &message,
                         bool showSource);
  Diagnostic *target;
};

/// The messages of one compilation, in order of emission.
///
/// A message with the same id, place and text as an earlier one is dropped with
/// its notes: a fault in a body that is expanded once per layer is one fault.
class Diagnostics {
public:
  explicit Diagnostics(const SourceManager &sources) : sources(sources) {}
  Diagnostics(const Diagnostics &) = delete;
  Diagnostics &operator=(const Diagnostics &) = delete;

  DiagnosticBuilder error(DiagId id, DiagnosticPlace place,
                          const llvm::Twine &message);
  DiagnosticBuilder warning(DiagId id, DiagnosticPlace place,
                            const llvm::Twine &message);
  DiagnosticBuilder remark(DiagId id, DiagnosticPlace place,
                           const llvm::Twine &message);

  bool hasErrors() const { return errors != 0; }
  unsigned errorCount() const { return errors; }
  unsigned warningCount() const { return warnings; }

  /// Errors kept before the rest is dropped; 0 means no limit.
  void setErrorLimit(unsigned limit) { errorLimit = limit; }
  /// True once an error was dropped: work that only finds more may stop.
  bool limitReached() const { return dropped; }

  /// Whether remarks are kept; they are unless switched off.
  void setRemarks(bool enabled) { remarks = enabled; }

  /// All messages so far, for tools that show them in another way.
  const std::deque<Diagnostic> &all() const { return messages; }
  const SourceManager &sourceManager() const { return sources; }

  /// Prints what has not been printed yet. `colour` adds terminal escapes; the
  /// caller decides, since only it knows the terminal.
  void flush(llvm::raw_ostream &os, bool colour = false);

  /// Prints "2 errors, 1 warning" and a line end, or nothing.
  void printCounts(llvm::raw_ostream &os) const;

private:
  DiagnosticBuilder report(Severity severity, DiagId id, DiagnosticPlace place,
                           const llvm::Twine &message);

  const SourceManager &sources;
  /// A deque, so that builders keep pointing at their message.
  std::deque<Diagnostic> messages;
  llvm::StringSet<> seen;
  size_t printed = 0;
  unsigned errors = 0;
  unsigned warnings = 0;
  unsigned errorLimit = 20;
  bool remarks = true;
  bool dropped = false;
  bool limitPrinted = false;
};

} // namespace moec

#endif // MOEC_FRONTEND_DIAGNOSTICS_H
