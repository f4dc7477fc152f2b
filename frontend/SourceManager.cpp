//===- SourceManager.cpp - Texts and places in them -----------------------===//

#include "frontend/SourceManager.h"

#include "llvm/Support/MemoryBuffer.h"

#include <algorithm>
#include <cassert>

using namespace moec;
using llvm::StringRef;

SourceRange SourceRange::join(SourceRange first, SourceRange last) {
  if (!first.isValid())
    return last;
  if (!last.isValid() || last.file != first.file)
    return first;
  return {first.file, std::min(first.begin, last.begin),
          std::max(first.end, last.end)};
}

struct SourceManager::Buffer {
  std::string name;
  std::string text;
  std::vector<uint32_t> lineStarts;

  Buffer(StringRef name, StringRef content)
      : name(name.str()), text(content.str()) {
    lineStarts.push_back(0);
    for (size_t i = text.find('\n'); i != std::string::npos;
         i = text.find('\n', i + 1))
      lineStarts.push_back(static_cast<uint32_t>(i + 1));
  }
};

SourceManager::SourceManager() = default;
SourceManager::~SourceManager() = default;

FileId SourceManager::addBuffer(StringRef name, StringRef text) {
  assert(text.size() <= maxBytes && "offsets are 32 bits wide");
  buffers.push_back(std::make_unique<Buffer>(name, text));
  return static_cast<FileId>(buffers.size());
}

std::optional<FileId> SourceManager::addFile(StringRef path,
                                             std::string &error) {
  auto content = llvm::MemoryBuffer::getFileOrSTDIN(
      path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!content) {
    error = content.getError().message();
    return std::nullopt;
  }
  if ((*content)->getBufferSize() > maxBytes) {
    error = "expected at most " + std::to_string(maxBytes) + " bytes, found " +
            std::to_string((*content)->getBufferSize());
    return std::nullopt;
  }
  return addBuffer(path == "-" ? "<stdin>" : path, (*content)->getBuffer());
}

const SourceManager::Buffer &SourceManager::buffer(FileId file) const {
  assert(file != 0 && file <= buffers.size() && "unknown file");
  return *buffers[file - 1];
}

StringRef SourceManager::name(FileId file) const { return buffer(file).name; }

StringRef SourceManager::text(FileId file) const { return buffer(file).text; }

StringRef SourceManager::text(SourceRange range) const {
  return text(range.file).slice(range.begin, range.end);
}

LineColumn SourceManager::lineColumn(FileId file, uint32_t offset) const {
  const std::vector<uint32_t> &starts = buffer(file).lineStarts;
  auto next = std::upper_bound(starts.begin(), starts.end(), offset);
  LineColumn result;
  result.line = static_cast<unsigned>(next - starts.begin());
  result.column = offset - *(next - 1) + 1;
  return result;
}

StringRef SourceManager::lineText(FileId file, unsigned line) const {
  const Buffer &b = buffer(file);
  if (line == 0 || line > b.lineStarts.size())
    return {};
  StringRef rest = StringRef(b.text).substr(b.lineStarts[line - 1]);
  return rest.take_until([](char c) { return c == '\n'; }).rtrim('\r');
}
