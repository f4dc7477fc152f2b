//===- ArrayFile.cpp - Arrays in IDX, npy and plain files -----------------===//

#include "runtime/tools/ArrayFile.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <unistd.h>
#include <zlib.h>

using namespace moe::tools;

namespace {

template <typename... Args>
absl::Status badFile(const std::string &path, const Args &...args) {
  return absl::InvalidArgumentError(absl::StrCat("'", path, "': ", args...));
}

constexpr uint8_t kNpyMagic[] = {0x93, 'N', 'U', 'M', 'P', 'Y'};

struct NpyType {
  const char *descr;
  ElementType type;
};
/// numpy has no bf16; extensions save it as two opaque bytes.
constexpr NpyType kNpyTypes[] = {
    {"<f4", ElementType::F32},  {"<f8", ElementType::F64},
    {"<f2", ElementType::F16},  {"|u1", ElementType::U8},
    {"|i1", ElementType::I8},   {"<i4", ElementType::I32},
    {"<V2", ElementType::BF16}, {"|V2", ElementType::BF16},
};

/// IDX type codes; elements are big-endian.
struct IdxType {
  uint8_t code;
  ElementType type;
};
constexpr IdxType kIdxTypes[] = {{0x08, ElementType::U8},
                                 {0x09, ElementType::I8},
                                 {0x0c, ElementType::I32},
                                 {0x0d, ElementType::F32},
                                 {0x0e, ElementType::F64}};

uint32_t bigEndian32(const uint8_t *bytes) {
  return static_cast<uint32_t>(bytes[0]) << 24 |
         static_cast<uint32_t>(bytes[1]) << 16 |
         static_cast<uint32_t>(bytes[2]) << 8 | bytes[3];
}

/// Bytes of an array of this shape, or UINT64_MAX when no file is that large.
uint64_t bytesOf(const std::vector<uint64_t> &shape, ElementType type) {
  uint64_t bytes = elementBytes(type);
  for (const uint64_t extent : shape)
    if (__builtin_mul_overflow(bytes, extent, &bytes))
      return UINT64_MAX;
  return bytes;
}

/// What follows "'key':" in a header of npy, up to the end of the header.
absl::string_view npyField(absl::string_view header, absl::string_view key) {
  const std::string quoted = absl::StrCat("'", key, "':");
  const size_t at = header.find(quoted);
  return at == absl::string_view::npos ? absl::string_view()
                                       : absl::StripLeadingAsciiWhitespace(
                                             header.substr(at + quoted.size()));
}

/// The text between two marks at the beginning of `text`.
std::string between(absl::string_view text, char open, char close) {
  const size_t end = text.find(close, 1);
  return text.empty() || text[0] != open || end == absl::string_view::npos
             ? ""
             : std::string(text.substr(1, end - 1));
}

absl::Status parseNpyShape(const std::string &path, absl::string_view text,
                           std::vector<uint64_t> &shape) {
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const absl::string_view digits = absl::StripAsciiWhitespace(part);
    uint64_t extent = 0;
    if (digits.empty())
      continue; // the comma of a tuple of one
    if (!absl::SimpleAtoi(digits, &extent))
      return badFile(path, "expected a shape of numbers, found '",
                     std::string(text), "'");
    shape.push_back(extent);
  }
  return absl::OkStatus();
}

} // namespace

const char *moe::tools::elementTypeName(ElementType type) {
  static const char *const names[] = {"f32", "bf16", "f16", "i8",
                                      "u8",  "i32",  "f64"};
  return names[static_cast<size_t>(type)];
}

size_t moe::tools::elementBytes(ElementType type) {
  static const size_t bytes[] = {4, 2, 2, 1, 1, 4, 8};
  return bytes[static_cast<size_t>(type)];
}

uint64_t Array::elements() const { return bytes.size() / elementBytes(type); }

std::string Array::describe() const {
  return absl::StrCat(elementTypeName(type), " [", absl::StrJoin(shape, ", "),
                      "]");
}

absl::StatusOr<std::vector<uint8_t>>
moe::tools::readWholeFile(const std::string &path) {
  // zlib passes files through that are not gzipped.
  errno = 0;
  gzFile file = gzopen(path.c_str(), "rb");
  if (!file)
    return badFile(
        path, "cannot open: ", errno ? std::strerror(errno) : "out of memory");
  std::vector<uint8_t> bytes;
  constexpr size_t kChunk = 1 << 20;
  int got = 0;
  do {
    const size_t before = bytes.size();
    bytes.resize(before + kChunk);
    errno = 0;
    got = gzread(file, bytes.data() + before, kChunk);
    bytes.resize(before + static_cast<size_t>(std::max(got, 0)));
  } while (got > 0);
  int code = Z_OK;
  const std::string reason = gzerror(file, &code);
  const std::string system = errno ? std::strerror(errno) : "";
  const int closed = gzclose_r(file);
  if (got < 0)
    return badFile(path, "cannot read: ",
                   code == Z_ERRNO && !system.empty() ? system : reason);
  if (closed == Z_BUF_ERROR)
    return badFile(path, "cannot unpack: the gzip file is cut short");
  return bytes;
}

bool moe::tools::looksLikeNpy(const std::vector<uint8_t> &bytes) {
  return bytes.size() >= sizeof(kNpyMagic) &&
         std::equal(std::begin(kNpyMagic), std::end(kNpyMagic), bytes.begin());
}

bool moe::tools::looksLikeIdx(const std::vector<uint8_t> &bytes) {
  if (bytes.size() < 4 || bytes[0] != 0 || bytes[1] != 0)
    return false;
  const size_t header = 4 + 4 * size_t{bytes[3]};
  if (bytes.size() < header)
    return false;
  for (const IdxType &known : kIdxTypes) {
    if (known.code != bytes[2])
      continue;
    std::vector<uint64_t> shape;
    for (size_t at = 4; at < header; at += 4)
      shape.push_back(bigEndian32(bytes.data() + at));
    return bytesOf(shape, known.type) == bytes.size() - header;
  }
  return false;
}

absl::StatusOr<Array> moe::tools::parseIdx(const std::string &path,
                                           const std::vector<uint8_t> &bytes) {
  if (!looksLikeIdx(bytes))
    return badFile(path, "expected an IDX file");
  Array array;
  for (const IdxType &known : kIdxTypes)
    if (known.code == bytes[2])
      array.type = known.type;
  const size_t header = 4 + 4 * size_t{bytes[3]};
  for (size_t at = 4; at < header; at += 4)
    array.shape.push_back(bigEndian32(bytes.data() + at));
  array.bytes.assign(bytes.begin() + static_cast<std::ptrdiff_t>(header),
                     bytes.end());
  const size_t width = elementBytes(array.type);
  for (size_t at = 0; at < array.bytes.size(); at += width)
    std::reverse(array.bytes.begin() + static_cast<std::ptrdiff_t>(at),
                 array.bytes.begin() + static_cast<std::ptrdiff_t>(at + width));
  return array;
}

absl::StatusOr<Array> moe::tools::parseNpy(const std::string &path,
                                           const std::vector<uint8_t> &bytes) {
  // Magic, version, length of the header: 2 bytes in version 1, then 4.
  if (!looksLikeNpy(bytes) || bytes.size() < 12)
    return badFile(path, "expected an npy file, found ", bytes.size(),
                   " bytes of another format");
  const bool isFirst = bytes[6] == 1;
  const size_t begin = isFirst ? 10 : 12;
  uint64_t length = bytes[8] | uint64_t{bytes[9]} << 8;
  if (!isFirst)
    length |= uint64_t{bytes[10]} << 16 | uint64_t{bytes[11]} << 24;
  if (begin + length > bytes.size())
    return badFile(path, "npy file cut short: expected a header of ", length,
                   " bytes, found ", bytes.size() - begin);
  const absl::string_view header(
      reinterpret_cast<const char *>(bytes.data()) + begin, length);

  Array array;
  const std::string descr = between(npyField(header, "descr"), '\'', '\'');
  const auto known =
      std::find_if(std::begin(kNpyTypes), std::end(kNpyTypes),
                   [&](const NpyType &each) { return descr == each.descr; });
  if (known == std::end(kNpyTypes))
    return badFile(path, "expected elements of type <f4, <f8, <f2, |u1, |i1 ",
                   "or <i4, found '", descr, "'");
  array.type = known->type;
  const absl::string_view order = npyField(header, "fortran_order");
  if (order.substr(0, 5) != "False")
    return badFile(path, "expected row-major order (fortran_order False)");
  const absl::string_view shape = npyField(header, "shape");
  if (shape.empty() || shape[0] != '(' ||
      shape.find(')') == absl::string_view::npos)
    return badFile(path, "expected a shape in the header, found none");
  const absl::Status status =
      parseNpyShape(path, between(shape, '(', ')'), array.shape);
  if (!status.ok())
    return status;
  const uint64_t expected = bytesOf(array.shape, array.type);
  const uint64_t found = bytes.size() - begin - length;
  if (expected != found)
    return badFile(path, "expected ", expected, " bytes of ", array.describe(),
                   ", found ", found);
  array.bytes.assign(
      bytes.begin() + static_cast<std::ptrdiff_t>(begin + length), bytes.end());
  return array;
}

namespace {

/// `type` is that of NumPy, of 4 bytes.
absl::Status writeArray(const std::string &path, const char *type,
                        const void *data, const std::vector<uint64_t> &shape) {
  constexpr size_t kElementBytes = 4;
  std::string header =
      absl::StrCat("{'descr': '", type, "', 'fortran_order': False, 'shape': (",
                   absl::StrJoin(shape, ", "), "), }");
  constexpr size_t kPrefix = 10;
  constexpr size_t kAlignment = 64;
  while ((kPrefix + header.size() + 1) % kAlignment != 0)
    header += ' ';
  header += '\n';
  std::string prefix(std::begin(kNpyMagic), std::end(kNpyMagic));
  prefix += {1, 0, static_cast<char>(header.size() & 0xff),
             static_cast<char>(header.size() >> 8)};
  const std::string temporary = absl::StrCat(path, ".tmp", getpid());
  std::FILE *out = std::fopen(temporary.c_str(), "wb");
  if (!out)
    return badFile(path, "cannot write: ", std::strerror(errno));
  size_t count = 1;
  for (const uint64_t extent : shape)
    count *= extent;
  bool written =
      std::fwrite(prefix.data(), 1, prefix.size(), out) == prefix.size() &&
      std::fwrite(header.data(), 1, header.size(), out) == header.size() &&
      std::fwrite(data, kElementBytes, count, out) == count;
  int error = errno;
  if (std::fclose(out) != 0 && written) {
    written = false;
    error = errno;
  }
  if (written && std::rename(temporary.c_str(), path.c_str()) != 0) {
    written = false;
    error = errno;
  }
  if (written)
    return absl::OkStatus();
  std::remove(temporary.c_str());
  return badFile(path, "cannot write: ", std::strerror(error));
}

} // namespace

absl::Status moe::tools::writeNpy(const std::string &path, const float *data,
                                  const std::vector<uint64_t> &shape) {
  return writeArray(path, "<f4", data, shape);
}

absl::Status moe::tools::writeNpy(const std::string &path, const int32_t *data,
                                  const std::vector<uint64_t> &shape) {
  return writeArray(path, "<i4", data, shape);
}
