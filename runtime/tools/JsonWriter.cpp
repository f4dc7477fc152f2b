//===- JsonWriter.cpp - JSON in the order in which it is written ----------===//

#include "runtime/tools/JsonWriter.h"

#include "absl/strings/str_format.h"

using namespace moe::tools;

namespace {

/// Bytes of the UTF-8 sequence at `at`; 0 where it is malformed.
size_t utf8Length(const std::string &text, size_t at) {
  const auto byte = [&](size_t i) {
    return static_cast<unsigned char>(text[i]);
  };
  const unsigned char lead = byte(at);
  const size_t length = lead < 0x80                   ? 1
                        : lead >= 0xc2 && lead < 0xe0 ? 2
                        : lead >= 0xe0 && lead < 0xf0 ? 3
                        : lead >= 0xf0 && lead < 0xf5 ? 4
                                                      : 0;
  if (at + length > text.size())
    return 0;
  for (size_t i = 1; i < length; ++i)
    if ((byte(at + i) & 0xc0) != 0x80)
      return 0;
  // Overlong forms, surrogates and numbers beyond Unicode.
  if (length > 2) {
    const unsigned char second = byte(at + 1);
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
        (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f))
      return 0;
  }
  return length;
}

} // namespace

void JsonWriter::quote(const std::string &text) {
  out += '"';
  for (size_t at = 0; at < text.size();) {
    const size_t length = utf8Length(text, at);
    const char c = text[at];
    if (length == 0)
      out += "\\ufffd";
    else if (c == '"' || c == '\\')
      out += {'\\', c};
    else if (static_cast<unsigned char>(c) < 0x20)
      out += absl::StrFormat("\\u%04x", static_cast<unsigned>(c));
    else
      out.append(text, at, length);
    at += length == 0 ? 1 : length;
  }
  out += '"';
}
