//===- Json.cpp - JSON with places ----------------------------------------===//

#include "frontend/importers/Json.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/JSON.h"

#include <cmath>
#include <limits>

using namespace moec;
using namespace moec::importers;
using llvm::StringRef;
using llvm::Twine;

const JsonMember *JsonValue::find(StringRef key) const {
  for (const JsonMember &member : members)
    if (member.key == key)
      return &member;
  return nullptr;
}

StringRef importers::describe(const JsonValue &value) {
  switch (value.kind) {
  case JsonValue::Kind::Null:
    return "null";
  case JsonValue::Kind::Boolean:
    return value.boolean ? "true" : "false";
  case JsonValue::Kind::Number:
    return value.integer ? "an integer" : "a real number";
  case JsonValue::Kind::String:
    return "a string";
  case JsonValue::Kind::Array:
    return "a list";
  case JsonValue::Kind::Object:
    return "an object";
  }
  return "";
}

namespace {
class JsonParser {
public:
  JsonParser(FileId file, StringRef text, Diagnostics &diagnostics)
      : file(file), text(text), diagnostics(diagnostics) {}

  std::optional<JsonValue> parse();

private:
  /// Of arrays and objects within each other: configurations have about five.
  static constexpr unsigned maxDepth = 64;

  bool value(JsonValue &result);
  bool object(JsonValue &result);
  bool array(JsonValue &result);
  bool string(std::string &result);
  bool number(JsonValue &result);
  bool word(JsonValue &result);

  char peek() const { return position < text.size() ? text[position] : '\0'; }
  void skipBlank() {
    while (position < text.size() &&
           StringRef(" \t\r\n").contains(text[position]))
      ++position;
  }
  SourceRange since(size_t begin) const {
    return {file, static_cast<uint32_t>(begin),
            static_cast<uint32_t>(position)};
  }
  bool fail(size_t begin, size_t end, const Twine &message) {
    SourceRange range{file, static_cast<uint32_t>(begin),
                      static_cast<uint32_t>(std::min(end, text.size()))};
    diagnostics.error(DiagId::E630, range, message);
    return false;
  }
  bool expected(const Twine &what) {
    return fail(position, position + 1,
                "expected " + what +
                    (position < text.size() ? "" : ", found the end"));
  }

  FileId file;
  StringRef text;
  Diagnostics &diagnostics;
  size_t position = 0;
  unsigned depth = 0;
};
} // namespace

bool JsonParser::string(std::string &result) {
  size_t begin = position;
  if (peek() != '"')
    return expected("a string");
  for (++position; peek() != '"'; ++position) {
    if (position >= text.size() || peek() == '\n')
      return fail(begin, position, "expected '\"' to end a string");
    if (peek() == '\\')
      ++position;
  }
  ++position;
  // Escapes and UTF-8 are the library's business.
  llvm::Expected<llvm::json::Value> parsed =
      llvm::json::parse(text.slice(begin, position));
  if (!parsed) {
    llvm::consumeError(parsed.takeError());
    return fail(begin, position,
                "expected a string in UTF-8 with escapes of "
                "JSON");
  }
  result = parsed->getAsString()->str();
  return true;
}

/// The grammar of numbers, which the library does not insist on.
static bool isNumber(StringRef text) {
  auto digits = [&] {
    size_t before = text.size();
    text = text.drop_while(llvm::isDigit);
    return text.size() != before;
  };
  text.consume_front("-");
  if (!text.consume_front("0") && !digits())
    return false;
  if (text.consume_front(".") && !digits())
    return false;
  if (text.consume_front_insensitive("e")) {
    if (!text.consume_front("+"))
      text.consume_front("-");
    if (!digits())
      return false;
  }
  return text.empty();
}

bool JsonParser::number(JsonValue &result) {
  size_t begin = position;
  while (llvm::isAlnum(peek()) || (peek() && StringRef("+-.").contains(peek())))
    ++position;
  StringRef spelling = text.slice(begin, position);
  std::optional<double> real;
  if (isNumber(spelling)) {
    if (llvm::Expected<llvm::json::Value> value = llvm::json::parse(spelling)) {
      real = value->getAsNumber();
      result.integer = value->getAsInteger();
    } else {
      llvm::consumeError(value.takeError());
    }
  }
  if (spelling == "NaN")
    real = std::nan("");
  else if (spelling == "Infinity" || spelling == "-Infinity")
    real =
        (spelling[0] == '-' ? -1 : 1) * std::numeric_limits<double>::infinity();
  if (!real)
    return fail(begin, std::max(position, begin + 1), "expected a value");
  result.kind = JsonValue::Kind::Number;
  result.number = *real;
  return true;
}

bool JsonParser::word(JsonValue &result) {
  for (StringRef name : {"true", "false", "null"}) {
    if (!text.substr(position).starts_with(name))
      continue;
    position += name.size();
    result.kind =
        name == "null" ? JsonValue::Kind::Null : JsonValue::Kind::Boolean;
    result.boolean = name == "true";
    return true;
  }
  return number(result);
}

bool JsonParser::object(JsonValue &result) {
  result.kind = JsonValue::Kind::Object;
  llvm::StringMap<SourceRange> seen;
  ++position;
  for (skipBlank(); peek() != '}'; skipBlank()) {
    if (!result.members.empty()) {
      if (peek() != ',')
        return expected("',' or '}'");
      ++position;
      skipBlank();
    }
    JsonMember member;
    size_t begin = position;
    if (!string(member.key))
      return false;
    member.keyRange = since(begin);
    auto [known, isNew] = seen.try_emplace(member.key, member.keyRange);
    if (!isNew) {
      diagnostics
          .error(DiagId::E630, member.keyRange,
                 "expected each key once, found '" + member.key +
                     "' a second time")
          .note(known->second, "it is also here");
      return false;
    }
    skipBlank();
    if (peek() != ':')
      return expected("':'");
    ++position;
    if (!value(member.value))
      return false;
    result.members.push_back(std::move(member));
  }
  ++position;
  return true;
}

bool JsonParser::array(JsonValue &result) {
  result.kind = JsonValue::Kind::Array;
  ++position;
  for (skipBlank(); peek() != ']'; skipBlank()) {
    if (!result.elements.empty()) {
      if (peek() != ',')
        return expected("',' or ']'");
      ++position;
    }
    if (!value(result.elements.emplace_back()))
      return false;
  }
  ++position;
  return true;
}

bool JsonParser::value(JsonValue &result) {
  skipBlank();
  size_t begin = position;
  if (depth == maxDepth)
    return expected("at most " + Twine(maxDepth) +
                    " lists and objects within each other");
  ++depth;
  bool ok;
  switch (peek()) {
  case '{':
    ok = object(result);
    break;
  case '[':
    ok = array(result);
    break;
  case '"':
    result.kind = JsonValue::Kind::String;
    ok = string(result.string);
    break;
  default:
    ok = word(result);
  }
  --depth;
  result.range = since(begin);
  return ok;
}

std::optional<JsonValue> JsonParser::parse() {
  JsonValue result;
  skipBlank();
  if (peek() != '{') {
    expected("'{'");
    return std::nullopt;
  }
  if (!value(result))
    return std::nullopt;
  skipBlank();
  if (position != text.size()) {
    expected("nothing after the object");
    return std::nullopt;
  }
  return result;
}

std::optional<JsonValue> importers::parseJson(FileId file,
                                              const SourceManager &sources,
                                              Diagnostics &diagnostics) {
  return JsonParser(file, sources.text(file), diagnostics).parse();
}
