//===- Json.h - JSON with places --------------------------------*- C++ -*-===//
//
// Reads the small JSON files of a checkpoint into a tree that knows where
// every key and value stands, so that messages about a configuration point to
// its line and column. llvm::json, which checks single strings and numbers
// here, keeps neither places nor repeated keys.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_FRONTEND_IMPORTERS_JSON_H
#define MOEC_FRONTEND_IMPORTERS_JSON_H

#include "frontend/Diagnostics.h"

#include <optional>
#include <string>
#include <vector>

namespace moec::importers {

struct JsonMember;

struct JsonValue {
  enum class Kind { Null, Boolean, Number, String, Array, Object };

  Kind kind = Kind::Null;
  SourceRange range;
  bool boolean = false;
  double number = 0;
  /// Set where a number is an integer of 64 bits: also for "2.0".
  std::optional<int64_t> integer;
  std::string string;
  std::vector<JsonValue> elements;
  std::vector<JsonMember> members; ///< in the order written

  /// The member called `key`, null if there is none.
  const JsonMember *find(llvm::StringRef key) const;
};

struct JsonMember {
  std::string key;
  SourceRange keyRange;
  JsonValue value;
};

/// "a number", "an object": for messages.
llvm::StringRef describe(const JsonValue &value);

/// Parses a text of `sources`, which must be an object. Nothing after reporting
/// an error (E630): broken syntax, or a key that stands twice in an object.
/// Python's NaN and Infinity are taken as numbers.
std::optional<JsonValue> parseJson(FileId file, const SourceManager &sources,
                                   Diagnostics &diagnostics);

} // namespace moec::importers

#endif // MOEC_FRONTEND_IMPORTERS_JSON_H
