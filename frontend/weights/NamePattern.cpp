//===- NamePattern.cpp - Patterns of tensor and file names ----------------===//

#include "frontend/weights/NamePattern.h"

using namespace moec;
using llvm::StringRef;

std::optional<llvm::SmallVector<StringRef, 2>>
moec::matchPattern(StringRef pattern, StringRef text) {
  llvm::SmallVector<StringRef, 2> found;
  size_t star = pattern.find('*');
  if (star == StringRef::npos) {
    if (pattern != text)
      return std::nullopt;
    return found;
  }
  if (!text.consume_front(pattern.take_front(star)))
    return std::nullopt;
  pattern = pattern.drop_front(star + 1);

  // Each piece between two stars goes to the first place it fits; a later one
  // could not help the pieces after it. The last piece ends the text.
  while (true) {
    star = pattern.find('*');
    if (star == StringRef::npos)
      break;
    StringRef piece = pattern.take_front(star);
    size_t place = text.find(piece);
    if (place == StringRef::npos)
      return std::nullopt;
    found.push_back(text.take_front(place));
    text = text.drop_front(place + piece.size());
    pattern = pattern.drop_front(star + 1);
  }
  if (!text.consume_back(pattern))
    return std::nullopt;
  found.push_back(text);
  return found;
}

std::optional<std::string>
moec::substitutePattern(StringRef pattern, llvm::ArrayRef<StringRef> texts) {
  if (pattern.count('*') != texts.size())
    return std::nullopt;
  std::string result;
  for (char c : pattern) {
    if (c != '*') {
      result += c;
      continue;
    }
    result += texts.front();
    texts = texts.drop_front();
  }
  return result;
}
