//===- JsonWriter.h - JSON in the order in which it is written ------------===//
#ifndef MOEC_RUNTIME_TOOLS_JSONWRITER_H
#define MOEC_RUNTIME_TOOLS_JSONWRITER_H

#include <cstdint>
#include <string>
#include <type_traits>

namespace moe::tools {

/// Objects and arrays are written by bodies, so they always end:
///   json.object([&] { json.field("name", "x"); });
class JsonWriter {
public:
  template <typename Body> void object(Body body) { nest('{', '}', body); }
  template <typename Body> void object(const char *name, Body body) {
    key(name);
    nest('{', '}', body);
  }
  template <typename Body> void array(const char *name, Body body) {
    key(name);
    nest('[', ']', body);
  }

  void field(const char *name, const std::string &text) {
    key(name);
    value(text);
  }
  template <typename Number,
            typename = std::enable_if_t<std::is_arithmetic_v<Number>>>
  void field(const char *name, Number number) {
    key(name);
    value(number);
  }

  void value(const std::string &text) {
    separate();
    quote(text);
  }
  template <typename Number,
            typename = std::enable_if_t<std::is_arithmetic_v<Number>>>
  void value(Number number) {
    separate();
    if constexpr (std::is_same_v<Number, bool>)
      out += number ? "true" : "false";
    else
      out += std::to_string(number);
  }

  const std::string &text() const { return out; }

private:
  template <typename Body> void nest(char open, char close, Body body) {
    separate();
    out += open;
    first = true;
    depth += 2;
    body();
    depth -= 2;
    if (!first)
      newline();
    first = false;
    out += close;
  }
  void newline() {
    out += '\n';
    out.append(depth, ' ');
  }
  /// Before a value: its comma, unless a key has just been written.
  void separate() {
    if (afterKey) {
      afterKey = false;
      return;
    }
    if (!first)
      out += ',';
    first = false;
    if (depth)
      newline();
  }
  void key(const char *name) {
    separate();
    quote(name);
    out += ": ";
    afterKey = true;
  }
  void quote(const std::string &text);

  std::string out;
  std::size_t depth = 0;
  bool first = true;
  bool afterKey = false;
};

} // namespace moe::tools

#endif // MOEC_RUNTIME_TOOLS_JSONWRITER_H
