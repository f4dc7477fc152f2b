//===- SafetensorsReader.cpp - Tensor files of that format ----------------===//
//
// The header is read by a small strict parser of its own: llvm::json keeps
// objects in a map, which loses repeated keys, and builds a value for each of
// the several hundred thousand numbers of a large checkpoint.
//
//===----------------------------------------------------------------------===//

#include "frontend/weights/SafetensorsReader.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/ConvertUTF.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MathExtras.h"

#include <limits>
#include <mutex>

using namespace moec;
using llvm::StringRef;
using llvm::Twine;

//===----------------------------------------------------------------------===//
// The header
//===----------------------------------------------------------------------===//

namespace {

class HeaderParser {
public:
  HeaderParser(StringRef json, StringRef path, Diagnostics &diagnostics)
      : json(json), path(path), diagnostics(diagnostics) {}

  bool parse(SafetensorsHeader &header);
  bool checkRanges(SafetensorsHeader &header, uint64_t dataBytes);

private:
  using Entry = SafetensorsHeader::Entry;

  bool fail(DiagId id, const Twine &message);
  bool unexpected(const Twine &expected);
  void skipBlank();
  bool consume(char c);
  bool expect(char c, StringRef what);
  bool members(llvm::function_ref<bool(std::string key)> member);
  bool elements(llvm::function_ref<bool()> element);
  bool string(std::string &text);
  bool escape(std::string &text);
  bool hexUnit(uint32_t &unit);
  bool integer(uint64_t &value);
  bool metadata(SafetensorsHeader &header);
  bool tensor(Entry &entry);
  bool dtype(Entry &entry);
  bool shape(Entry &entry);
  bool offsets(Entry &entry);
  bool checkSize(const Entry &entry);

  StringRef json;
  StringRef path;
  Diagnostics &diagnostics;
  size_t position = 0;
  /// The tensor being read, for messages; empty outside.
  std::string current;
};

bool HeaderParser::fail(DiagId id, const Twine &message) {
  std::string prefix = current.empty() ? "" : "tensor '" + current + "': ";
  diagnostics.error(id, DiagnosticPlace::wholeFile(path), prefix + message);
  return false;
}

bool HeaderParser::unexpected(const Twine &expected) {
  if (position >= json.size())
    return fail(DiagId::E608,
                "expected " + expected + ", found the end of the header");
  unsigned char c = static_cast<unsigned char>(json[position]);
  std::string found = llvm::isPrint(c) ? "'" + std::string(1, c) + "'"
                                       : "byte 0x" + llvm::utohexstr(c, true);
  return fail(DiagId::E608, "expected " + expected + ", found " + found +
                                " at byte " + Twine(8 + position));
}

void HeaderParser::skipBlank() {
  position = std::min(json.find_first_not_of(" \t\r\n", position), json.size());
}

bool HeaderParser::consume(char c) {
  skipBlank();
  if (position >= json.size() || json[position] != c)
    return false;
  ++position;
  return true;
}

bool HeaderParser::expect(char c, StringRef what) {
  return consume(c) || unexpected(what);
}

/// `{ "key": member , ... }`.
bool HeaderParser::members(llvm::function_ref<bool(std::string)> member) {
  if (!expect('{', "'{'"))
    return false;
  if (consume('}'))
    return true;
  do {
    std::string key;
    if (!string(key) || !expect(':', "':'") || !member(std::move(key)))
      return false;
  } while (consume(','));
  return expect('}', "',' or '}'");
}

/// `[ element , ... ]`.
bool HeaderParser::elements(llvm::function_ref<bool()> element) {
  if (!expect('[', "'['"))
    return false;
  if (consume(']'))
    return true;
  do {
    if (!element())
      return false;
  } while (consume(','));
  return expect(']', "',' or ']'");
}

bool HeaderParser::hexUnit(uint32_t &unit) {
  StringRef digits = json.substr(position, 4);
  if (digits.size() != 4 || !llvm::all_of(digits, llvm::isHexDigit) ||
      digits.getAsInteger(16, unit))
    return unexpected("four hexadecimal digits after '\\u'");
  position += 4;
  return true;
}

/// The part of an escape after its backslash.
bool HeaderParser::escape(std::string &text) {
  static constexpr StringRef letters = "\"\\/bfnrt";
  static constexpr StringRef values = "\"\\/\b\f\n\r\t";
  char c = position < json.size() ? json[position] : '\0';
  size_t letter = letters.find(c);
  if (letter != StringRef::npos && position < json.size()) {
    ++position;
    text += values[letter];
    return true;
  }
  if (c != 'u')
    return unexpected("an escape");
  ++position;
  uint32_t code = 0, low = 0;
  if (!hexUnit(code))
    return false;
  if (code >= 0xD800 && code < 0xDC00) {
    if (!json.substr(position).starts_with("\\u"))
      return unexpected("the second half of a surrogate pair");
    position += 2;
    if (!hexUnit(low))
      return false;
    if (low < 0xDC00 || low >= 0xE000)
      return fail(DiagId::E608, "expected the second half of a surrogate pair "
                                "before byte " +
                                    Twine(8 + position));
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  } else if (code >= 0xDC00 && code < 0xE000) {
    return fail(DiagId::E608,
                "expected the first half of a surrogate pair before byte " +
                    Twine(8 + position));
  }
  char buffer[4], *end = buffer;
  llvm::ConvertCodePointToUTF8(code, end);
  text.append(buffer, end);
  return true;
}

bool HeaderParser::string(std::string &text) {
  if (!expect('"', "a string"))
    return false;
  while (position < json.size()) {
    size_t run = position;
    while (run < json.size() && json[run] != '"' && json[run] != '\\' &&
           static_cast<unsigned char>(json[run]) >= 0x20)
      ++run;
    text.append(json.data() + position, run - position);
    position = run;
    if (position >= json.size())
      break;
    if (json[position] == '"') {
      ++position;
      return true;
    }
    if (json[position] != '\\')
      return unexpected("no control character in a string");
    ++position;
    if (!escape(text))
      return false;
  }
  return unexpected("'\"' to end a string");
}

/// A number without sign, point or exponent: sizes and offsets have none.
bool HeaderParser::integer(uint64_t &value) {
  skipBlank();
  size_t end = position;
  while (end < json.size() && llvm::isDigit(json[end]))
    ++end;
  StringRef digits = json.slice(position, end);
  bool goesOn = end < json.size() && StringRef(".eE").contains(json[end]);
  if (digits.empty() || goesOn || (digits.size() > 1 && digits[0] == '0'))
    return unexpected("a non-negative integer");
  if (digits.getAsInteger(10, value) ||
      value > uint64_t(std::numeric_limits<int64_t>::max()))
    return fail(DiagId::E610,
                "expected a number below 2^63, found " + digits.take_front(40));
  position = end;
  return true;
}

bool HeaderParser::metadata(SafetensorsHeader &header) {
  return members([&](std::string key) {
    std::string value;
    if (!string(value))
      return false;
    if (!header.metadata.try_emplace(key, std::move(value)).second)
      return fail(DiagId::E608,
                  "expected each key of '__metadata__' once, found '" + key +
                      "' a second time");
    return true;
  });
}

bool HeaderParser::dtype(Entry &entry) {
  std::string name;
  if (!string(name))
    return false;
  // The format's names are upper case.
  std::optional<DType> found = findDType(name);
  if (!found || StringRef(name).upper() != name)
    return fail(DiagId::E609, "expected an element type such as BF16 or F32, "
                              "found '" +
                                  name + "'");
  entry.dtype = *found;
  return true;
}

bool HeaderParser::shape(Entry &entry) {
  return elements([&] {
    uint64_t size = 0;
    if (!integer(size))
      return false;
    entry.shape.push_back(static_cast<int64_t>(size));
    return true;
  });
}

bool HeaderParser::offsets(Entry &entry) {
  llvm::SmallVector<uint64_t, 2> values;
  if (!elements([&] { return integer(values.emplace_back()); }))
    return false;
  if (values.size() != 2)
    return fail(DiagId::E608, "expected two numbers in 'data_offsets', found " +
                                  Twine(values.size()));
  entry.begin = values[0];
  entry.end = values[1];
  return true;
}

bool HeaderParser::checkSize(const Entry &entry) {
  bool overflow = false;
  uint64_t bits = bitWidth(entry.dtype);
  bool isEmpty = llvm::is_contained(entry.shape, 0);
  for (int64_t size : entry.shape)
    bits = isEmpty || overflow
               ? bits
               : llvm::SaturatingMultiply(bits, static_cast<uint64_t>(size),
                                          &overflow);
  if (overflow)
    return fail(DiagId::E610, "expected fewer than 2^64 bits, found shape " +
                                  describeShape(entry.shape));
  bits = isEmpty ? 0 : bits;
  if (bits % 8 != 0)
    return fail(DiagId::E610, "expected whole bytes, found " + Twine(bits) +
                                  " bits for shape " +
                                  describeShape(entry.shape));
  if (entry.begin > entry.end)
    return fail(DiagId::E610,
                "expected 'data_offsets' in ascending order, found [" +
                    Twine(entry.begin) + ", " + Twine(entry.end) + "]");
  if (entry.end - entry.begin != bits / 8)
    return fail(DiagId::E610, "expected " + Twine(bits / 8) + " bytes for " +
                                  dtypeName(entry.dtype) + " " +
                                  describeShape(entry.shape) + ", found " +
                                  Twine(entry.end - entry.begin));
  return true;
}

bool HeaderParser::tensor(Entry &entry) {
  bool hasDType = false, hasShape = false, hasOffsets = false;
  bool ok = members([&](std::string key) {
    bool *seen = key == "dtype"          ? &hasDType
                 : key == "shape"        ? &hasShape
                 : key == "data_offsets" ? &hasOffsets
                                         : nullptr;
    if (!seen)
      return fail(DiagId::E608,
                  "expected 'dtype', 'shape' or 'data_offsets', found '" + key +
                      "'");
    if (*seen)
      return fail(DiagId::E608,
                  "expected '" + key + "' once, found it a second time");
    *seen = true;
    if (seen == &hasDType)
      return dtype(entry);
    return seen == &hasShape ? shape(entry) : offsets(entry);
  });
  if (!ok)
    return false;
  if (!hasDType || !hasShape || !hasOffsets)
    return fail(DiagId::E608, Twine("expected '") +
                                  (!hasDType   ? "dtype"
                                   : !hasShape ? "shape"
                                               : "data_offsets") +
                                  "', found none");
  return checkSize(entry);
}

bool HeaderParser::parse(SafetensorsHeader &header) {
  const auto *begin = reinterpret_cast<const llvm::UTF8 *>(json.data());
  const llvm::UTF8 *bad = begin;
  if (!llvm::isLegalUTF8String(&bad, begin + json.size())) {
    position = static_cast<size_t>(bad - begin);
    return unexpected("UTF-8 text");
  }
  if (!json.starts_with("{"))
    return unexpected("'{'");

  llvm::StringSet<> names;
  bool hasMetadata = false;
  bool ok = members([&](std::string key) {
    if (key == "__metadata__") {
      if (hasMetadata)
        return fail(DiagId::E608,
                    "expected '__metadata__' once, found it a second time");
      hasMetadata = true;
      return metadata(header);
    }
    if (!names.insert(key).second)
      return fail(DiagId::E603, "expected each tensor once, found '" + key +
                                    "' a second time");
    Entry entry;
    entry.name = key;
    current = std::move(key);
    if (!tensor(entry))
      return false;
    current.clear();
    header.entries.push_back(std::move(entry));
    return true;
  });
  if (!ok)
    return false;
  skipBlank();
  return position == json.size() || unexpected("blanks after the header");
}

/// Sorts the tensors by their bytes and checks that these follow each other up
/// to the end of the file.
bool HeaderParser::checkRanges(SafetensorsHeader &header, uint64_t dataBytes) {
  llvm::sort(header.entries, [](const Entry &a, const Entry &b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  uint64_t end = 0;
  for (const Entry &entry : header.entries) {
    current = entry.name;
    if (entry.begin != end)
      return fail(DiagId::E610,
                  "expected data from byte " + Twine(end) +
                      ", found from byte " + Twine(entry.begin) +
                      (entry.begin < end ? ", inside the tensor before"
                                         : ", after a hole"));
    end = entry.end;
  }
  current.clear();
  if (end != dataBytes)
    return fail(DiagId::E607, "expected " + Twine(end) +
                                  " bytes after the header, found " +
                                  Twine(dataBytes));
  return true;
}

} // namespace

std::optional<SafetensorsHeader>
moec::parseSafetensorsHeader(StringRef json, uint64_t dataBytes, StringRef path,
                             Diagnostics &diagnostics) {
  SafetensorsHeader header;
  HeaderParser parser(json, path, diagnostics);
  if (!parser.parse(header) || !parser.checkRanges(header, dataBytes))
    return std::nullopt;
  return header;
}

//===----------------------------------------------------------------------===//
// The file
//===----------------------------------------------------------------------===//

namespace {

class SafetensorsFile : public TensorSource {
public:
  SafetensorsFile(StringRef path, SafetensorsHeader parsed, uint64_t dataStart)
      : TensorSource(path), header(std::move(parsed)) {
    metadataEntries = std::move(header.metadata);
    infos.reserve(header.entries.size());
    for (const SafetensorsHeader::Entry &e : header.entries)
      infos.push_back(
          {e.name, e.dtype, e.shape, dataStart + e.begin, dataStart + e.end});
    fileBytes = dataStart + (infos.empty() ? 0 : header.entries.back().end);
  }

  llvm::Expected<llvm::ArrayRef<uint8_t>>
  data(const TensorInfo &tensor) const override;

private:
  std::error_code map() const;

  SafetensorsHeader header; ///< owns the names and shapes of `infos`
  uint64_t fileBytes = 0;
  mutable std::mutex mapping;
  mutable llvm::sys::fs::mapped_file_region region;
};

} // namespace

/// Maps the file on first use. The descriptor is closed at once: a checkpoint
/// has more files than a process may keep open.
std::error_code SafetensorsFile::map() const {
  std::lock_guard<std::mutex> lock(mapping);
  if (region)
    return {};
  llvm::Expected<llvm::sys::fs::file_t> file =
      llvm::sys::fs::openNativeFileForRead(filePath);
  if (!file)
    return llvm::errorToErrorCode(file.takeError());
  std::error_code error;
  region = llvm::sys::fs::mapped_file_region(
      *file, llvm::sys::fs::mapped_file_region::readonly, fileBytes, 0, error);
  llvm::sys::fs::closeFile(*file);
  return error;
}

llvm::Expected<llvm::ArrayRef<uint8_t>>
SafetensorsFile::data(const TensorInfo &tensor) const {
  if (tensor.byteSize() == 0)
    return llvm::ArrayRef<uint8_t>();
  // Bytes of a mapping past the end of its file cannot be read without a
  // signal, so the length is asked for again.
  uint64_t now = 0;
  std::error_code error = llvm::sys::fs::file_size(filePath, now);
  if (!error && now < tensor.end)
    return llvm::createStringError(
        std::errc::io_error,
        "%s: tensor '%s': expected data up to byte %llu, found %llu bytes; the "
        "file was cut after it was opened",
        filePath.c_str(), tensor.name.str().c_str(),
        static_cast<unsigned long long>(tensor.end),
        static_cast<unsigned long long>(now));
  if (!error)
    error = map();
  if (error)
    return llvm::createStringError(error, "%s: cannot map the file: %s",
                                   filePath.c_str(), error.message().c_str());
  const auto *bytes = reinterpret_cast<const uint8_t *>(region.const_data());
  return llvm::ArrayRef<uint8_t>(bytes + tensor.begin, tensor.byteSize());
}

bool moec::looksLikeSafetensors(StringRef firstBytes) {
  return firstBytes.size() > 8 && firstBytes[8] == '{';
}

/// Reads bytes [offset, offset + size) of an open file.
static bool readBytes(llvm::sys::fs::file_t file, uint64_t offset, size_t size,
                      std::string &bytes) {
  bytes.resize(size);
  size_t done = 0;
  while (done < size) {
    llvm::Expected<size_t> count = llvm::sys::fs::readNativeFileSlice(
        file, llvm::MutableArrayRef<char>(bytes.data() + done, size - done),
        offset + done);
    if (!count) {
      llvm::consumeError(count.takeError());
      return false;
    }
    if (*count == 0)
      return false;
    done += *count;
  }
  return true;
}

std::unique_ptr<TensorSource> moec::openSafetensors(StringRef path,
                                                    Diagnostics &diagnostics) {
  auto fail = [&](DiagId id, const Twine &message) {
    diagnostics.error(id, DiagnosticPlace::wholeFile(path), message);
    return nullptr;
  };
  llvm::Expected<llvm::sys::fs::file_t> file =
      llvm::sys::fs::openNativeFileForRead(path);
  if (!file)
    return fail(DiagId::E611,
                "cannot open the file: " + toString(file.takeError()));
  llvm::scope_exit close([&] { llvm::sys::fs::closeFile(*file); });
  llvm::sys::fs::file_status status;
  std::string length, json;
  if (llvm::sys::fs::status(*file, status))
    return fail(DiagId::E611, "cannot read the length of the file");
  uint64_t fileBytes = status.getSize();
  if (fileBytes < 8)
    return fail(DiagId::E607,
                "expected at least 8 bytes, found " + Twine(fileBytes));
  if (!readBytes(*file, 0, 8, length))
    return fail(DiagId::E611, "cannot read the file");
  uint64_t headerBytes = llvm::support::endian::read64le(length.data());
  if (headerBytes > maxSafetensorsHeader)
    return fail(DiagId::E608,
                "expected a header of at most " + Twine(maxSafetensorsHeader) +
                    " bytes, found a length of " + Twine(headerBytes));
  if (headerBytes > fileBytes - 8)
    return fail(DiagId::E607, "expected a header of " + Twine(headerBytes) +
                                  " bytes, found " + Twine(fileBytes - 8));
  if (!readBytes(*file, 8, headerBytes, json))
    return fail(DiagId::E611, "cannot read the file");

  uint64_t dataStart = 8 + headerBytes;
  std::optional<SafetensorsHeader> header =
      parseSafetensorsHeader(json, fileBytes - dataStart, path, diagnostics);
  if (!header)
    return nullptr;
  return std::make_unique<SafetensorsFile>(path, std::move(*header), dataStart);
}
