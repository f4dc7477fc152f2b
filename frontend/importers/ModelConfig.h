//===- ModelConfig.h - What a config.json says ------------------*- C++ -*-===//
//
// Typed access to the keys of a configuration, by any of the names under which
// a quantity is known, and a record of what was read: a key that was not read
// and is not known to change nothing is an error, since it may change numbers
// (E633). Messages point to the key.
//
// Getters report at once and return something harmless, so that one run finds
// all faults; ask hasErrors() of the diagnostics at the end.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_FRONTEND_IMPORTERS_MODELCONFIG_H
#define MOEC_FRONTEND_IMPORTERS_MODELCONFIG_H

#include "frontend/importers/Json.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringSet.h"

#include <initializer_list>

namespace moec::importers {

/// Names of one quantity; the first is the one messages use.
class Names {
public:
  Names(const char *name) : names{name} {}
  Names(llvm::StringRef name) : names{name} {}
  Names(std::initializer_list<llvm::StringRef> names) : names(names) {}

  llvm::StringRef front() const { return names.front(); }
  auto begin() const { return names.begin(); }
  auto end() const { return names.end(); }

private:
  llvm::SmallVector<llvm::StringRef, 4> names;
};

/// An object of a config.json. Objects within it are ModelConfigs of their own.
class ModelConfig {
public:
  /// `where` is "" for the whole file, "rope_parameters" for such an object.
  ModelConfig(const JsonValue &object, llvm::StringRef where,
              DiagnosticPlace place, Diagnostics &diagnostics)
      : object(&object), where(where.str()), place(place),
        diagnostics(&diagnostics) {}

  //===--------------------------------------------------------------------===//
  // Values. With a fallback the key may be absent or null.
  //===--------------------------------------------------------------------===//

  int64_t integer(const Names &names,
                  std::optional<int64_t> fallback = std::nullopt);
  /// A positive integer: a size.
  int64_t size(const Names &names,
               std::optional<int64_t> fallback = std::nullopt);
  double real(const Names &names,
              std::optional<double> fallback = std::nullopt);
  bool boolean(const Names &names, std::optional<bool> fallback = std::nullopt);
  std::string word(const Names &names,
                   std::optional<llvm::StringRef> fallback = std::nullopt);
  /// Nothing where the key is absent or null.
  std::optional<int64_t> maybeInteger(const Names &names);
  std::optional<double> maybeReal(const Names &names);
  std::vector<int64_t> integers(const Names &names);
  std::vector<double> reals(const Names &names);
  std::vector<std::string> words(const Names &names);
  /// The object under a name, nothing where it is absent or null. Ask once.
  std::optional<ModelConfig> child(llvm::StringRef name);

  /// Whether one of the keys has a value other than null.
  bool has(const Names &names) const;
  /// Whether the key stands there, perhaps with null.
  bool mentions(llvm::StringRef name) const { return object->find(name); }
  /// The value as it stands, for what has several forms; it counts as read.
  const JsonValue *raw(const Names &names);

  /// The names change nothing whatever their value.
  void neutral(const Names &names);
  /// The key must be absent, null, or have this value: others are not built.
  void expect(llvm::StringRef name, bool value);
  void expect(llvm::StringRef name, int64_t value);
  void expect(llvm::StringRef name, llvm::StringRef value);
  /// The key must be absent, null, 0, false, or empty.
  void expectNone(const Names &names);

  /// Reports E634 at a key: it is understood, but this value is not built.
  void unsupported(const Names &names, const llvm::Twine &message);

  //===--------------------------------------------------------------------===//

  /// Reports every key that nobody asked for.
  void reportUnread();
  bool hasErrors() const { return diagnostics->hasErrors(); }
  Diagnostics &getDiagnostics() { return *diagnostics; }
  /// The place of a key, or of the whole object where it is absent.
  DiagnosticPlace placeOf(const Names &names) const;

private:
  const JsonMember *lookUp(const Names &names);
  /// The value where it is neither absent nor null; reports E631 otherwise if
  /// `required`.
  const JsonValue *get(const Names &names, bool required);
  void wrongType(const Names &names, llvm::StringRef expected);
  std::string spelled(llvm::StringRef name) const;

  const JsonValue *object;
  std::string where;
  DiagnosticPlace place;
  Diagnostics *diagnostics;
  llvm::StringSet<> read;
  llvm::StringSet<> wrong; ///< reported already
};

} // namespace moec::importers

#endif // MOEC_FRONTEND_IMPORTERS_MODELCONFIG_H
