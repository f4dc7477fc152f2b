//===- SafetensorsTest.cpp - Headers and files ----------------------------===//

#include "frontend/weights/SafetensorsReader.h"

#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

#include <gtest/gtest.h>

using namespace moec;

namespace {

/// Messages of reading a header in front of `dataBytes` bytes.
std::string headerErrors(llvm::StringRef json, uint64_t dataBytes) {
  SourceManager sources;
  Diagnostics diagnostics(sources);
  bool ok =
      parseSafetensorsHeader(json, dataBytes, "f.st", diagnostics).has_value();
  EXPECT_EQ(ok, !diagnostics.hasErrors());
  EXPECT_LE(diagnostics.errorCount(), 1u);
  std::string text;
  llvm::raw_string_ostream os(text);
  diagnostics.flush(os);
  return text;
}

std::string tensor(llvm::StringRef name, llvm::StringRef dtype,
                   llvm::StringRef shape, uint64_t begin, uint64_t end) {
  return ("\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
          ",\"data_offsets\":[" + llvm::Twine(begin) + "," + llvm::Twine(end) +
          "]}")
      .str();
}

TEST(SafetensorsHeader, Good) {
  SourceManager sources;
  Diagnostics diagnostics(sources);
  std::string json = "{" + tensor("b", "F32", "[2, 3]", 8, 32) +
                     " , \"__metadata__\" : { \"format\":\"pt\" }, " +
                     tensor("a\\u00e9\\ud83d\\ude00\\n", "BF16", "[4]", 0, 8) +
                     "," + tensor("scalar", "U8", "[]", 32, 33) + "," +
                     tensor("none", "I64", "[0,7]", 33, 33) + "}    ";
  auto header = parseSafetensorsHeader(json, 33, "f.st", diagnostics);
  ASSERT_TRUE(header);
  ASSERT_EQ(header->entries.size(), 4u);
  EXPECT_EQ(header->entries[0].name, "a\xC3\xA9\xF0\x9F\x98\x80\n");
  EXPECT_EQ(header->entries[0].dtype, DType::BF16);
  EXPECT_EQ(header->entries[1].name, "b");
  EXPECT_EQ(header->entries[1].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(header->entries[3].name, "none");
  EXPECT_EQ(header->metadata.at("format"), "pt");
  EXPECT_EQ(headerErrors("{}", 0), "");
}

TEST(SafetensorsHeader, SubByteTypes) {
  EXPECT_EQ(headerErrors("{" + tensor("a", "F4", "[3,2]", 0, 3) + "}", 3), "");
  EXPECT_EQ(headerErrors("{" + tensor("a", "F6_E2M3", "[4]", 0, 3) + "}", 3),
            "");
  EXPECT_EQ(headerErrors("{" + tensor("a", "F4", "[3]", 0, 2) + "}", 2),
            "f.st: error: tensor 'a': expected whole bytes, found 12 bits for "
            "shape [3] [E610]\n");
}

TEST(SafetensorsHeader, EveryTypeHasItsWidth) {
  for (const char *name :
       {"BOOL",        "U8",  "I8",      "I16",     "U16",     "F16",
        "BF16",        "I32", "U32",     "F32",     "I64",     "U64",
        "F64",         "C64", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ",
        "F8_E5M2FNUZ", "F4",  "F6_E2M3", "F6_E3M2"}) {
    std::optional<DType> dtype = findDType(name);
    ASSERT_TRUE(dtype) << name;
    uint64_t bytes = bitWidth(*dtype);
    EXPECT_EQ(
        headerErrors("{" + tensor("a", name, "[8]", 0, bytes) + "}", bytes), "")
        << name;
    EXPECT_EQ(findDType(dtypeName(*dtype)), dtype);
  }
  EXPECT_FALSE(findDType("Bf16"));
}

struct BadHeader {
  std::string json;
  uint64_t dataBytes;
  const char *message;
};

class BadHeaders : public testing::TestWithParam<BadHeader> {};

TEST_P(BadHeaders, AreReported) {
  EXPECT_EQ(headerErrors(GetParam().json, GetParam().dataBytes),
            "f.st: error: " + std::string(GetParam().message) + "\n");
}

std::string field(llvm::StringRef members) {
  return ("{\"a\":{" + members + "}}").str();
}

INSTANTIATE_TEST_SUITE_P(
    Safetensors, BadHeaders,
    testing::Values(
        BadHeader{"", 0, "expected '{', found the end of the header [E608]"},
        BadHeader{" {}", 0, "expected '{', found ' ' at byte 8 [E608]"},
        BadHeader{"[]", 0, "expected '{', found '[' at byte 8 [E608]"},
        BadHeader{"{", 0,
                  "expected a string, found the end of the header [E608]"},
        BadHeader{"{} x", 0,
                  "expected blanks after the header, found 'x' at byte 11 "
                  "[E608]"},
        BadHeader{"{\"a\" 1}", 0, "expected ':', found '1' at byte 13 [E608]"},
        BadHeader{"{\"a\":1}", 0,
                  "tensor 'a': expected '{', found '1' at byte "
                  "13 [E608]"},
        BadHeader{"{\"a\xff\":1}", 0,
                  "expected UTF-8 text, found byte 0xff at byte 11 [E608]"},
        BadHeader{"{\"a\n\":1}", 0,
                  "expected no control character in a string, found byte 0xa "
                  "at byte 11 [E608]"},
        BadHeader{"{\"a", 0,
                  "expected '\"' to end a string, found the end of the header "
                  "[E608]"},
        BadHeader{"{\"\\x\":1}", 0,
                  "expected an escape, found 'x' at byte 11 [E608]"},
        BadHeader{"{\"\\u12\":1}", 0,
                  "expected four hexadecimal digits after '\\u', found '1' at "
                  "byte 12 [E608]"},
        BadHeader{"{\"\\ud800x\":1}", 0,
                  "expected the second half of a surrogate pair, found 'x' at "
                  "byte 16 [E608]"},
        BadHeader{"{\"\\ud800\\u0020\":1}", 0,
                  "expected the second half of a surrogate pair before byte 22 "
                  "[E608]"},
        BadHeader{"{\"\\udc00\":1}", 0,
                  "expected the first half of a surrogate pair before byte 16 "
                  "[E608]"}));

INSTANTIATE_TEST_SUITE_P(
    SafetensorsTensor, BadHeaders,
    testing::Values(
        BadHeader{field("\"shape\":[]"), 0,
                  "tensor 'a': expected 'dtype', found none [E608]"},
        BadHeader{field("\"dtype\":\"U8\""), 0,
                  "tensor 'a': expected 'shape', found none [E608]"},
        BadHeader{field("\"dtype\":\"U8\",\"shape\":[]"), 0,
                  "tensor 'a': expected 'data_offsets', found none [E608]"},
        BadHeader{field("\"dtype\":\"U8\",\"dtype\":\"U8\""), 0,
                  "tensor 'a': expected 'dtype' once, found it a second time "
                  "[E608]"},
        BadHeader{field("\"size\":3"), 0,
                  "tensor 'a': expected 'dtype', 'shape' or 'data_offsets', "
                  "found 'size' [E608]"},
        BadHeader{field("\"dtype\":\"f32\""), 0,
                  "tensor 'a': expected an element type such as BF16 or F32, "
                  "found 'f32' [E609]"},
        BadHeader{field("\"dtype\":\"Q4\""), 0,
                  "tensor 'a': expected an element type such as BF16 or F32, "
                  "found 'Q4' [E609]"},
        BadHeader{field("\"shape\":[-1]"), 0,
                  "tensor 'a': expected a non-negative integer, found '-' at "
                  "byte 23 [E608]"},
        BadHeader{field("\"shape\":[1.5]"), 0,
                  "tensor 'a': expected a non-negative integer, found '1' at "
                  "byte 23 [E608]"},
        BadHeader{field("\"shape\":[01]"), 0,
                  "tensor 'a': expected a non-negative integer, found '0' at "
                  "byte 23 [E608]"},
        BadHeader{field("\"shape\":[1"), 0,
                  "tensor 'a': expected ',' or ']', found '}' at byte 24 "
                  "[E608]"},
        BadHeader{field("\"shape\":[9223372036854775808]"), 0,
                  "tensor 'a': expected a number below 2^63, found "
                  "9223372036854775808 [E610]"},
        BadHeader{field("\"data_offsets\":[0]"), 0,
                  "tensor 'a': expected two numbers in 'data_offsets', found 1 "
                  "[E608]"},
        BadHeader{
            "{" + tensor("a", "U8", "[4294967296,4294967296]", 0, 1) + "}", 1,
            "tensor 'a': expected fewer than 2^64 bits, found shape "
            "[4294967296, 4294967296] [E610]"},
        BadHeader{"{" + tensor("a", "U8", "[1]", 2, 1) + "}", 1,
                  "tensor 'a': expected 'data_offsets' in ascending order, "
                  "found [2, 1] [E610]"},
        BadHeader{"{" + tensor("a", "F32", "[2,2]", 0, 8) + "}", 8,
                  "tensor 'a': expected 16 bytes for f32 [2, 2], found 8 "
                  "[E610]"}));

INSTANTIATE_TEST_SUITE_P(
    SafetensorsFile, BadHeaders,
    testing::Values(
        BadHeader{"{" + tensor("a", "U8", "[1]", 0, 1) + "," +
                      tensor("a", "U8", "[1]", 1, 2) + "}",
                  2,
                  "expected each tensor once, found 'a' a second time [E603]"},
        BadHeader{"{\"__metadata__\":{},\"__metadata__\":{}}", 0,
                  "expected '__metadata__' once, found it a second time "
                  "[E608]"},
        BadHeader{"{\"__metadata__\":{\"a\":1}}", 0,
                  "expected a string, found '1' at byte 29 [E608]"},
        BadHeader{"{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", 0,
                  "expected each key of '__metadata__' once, found 'a' a "
                  "second time [E608]"},
        BadHeader{"{" + tensor("a", "U8", "[1]", 1, 2) + "}", 2,
                  "tensor 'a': expected data from byte 0, found from byte 1, "
                  "after a hole [E610]"},
        BadHeader{"{" + tensor("a", "U8", "[2]", 0, 2) + "," +
                      tensor("b", "U8", "[2]", 1, 3) + "}",
                  3,
                  "tensor 'b': expected data from byte 2, found from byte 1, "
                  "inside the tensor before [E610]"},
        BadHeader{"{" + tensor("a", "U8", "[2]", 0, 2) + "}", 1,
                  "expected 2 bytes after the header, found 1 [E607]"},
        BadHeader{"{" + tensor("a", "U8", "[2]", 0, 2) + "}", 3,
                  "expected 2 bytes after the header, found 3 [E607]"}));

//===----------------------------------------------------------------------===//
// Whole files
//===----------------------------------------------------------------------===//

std::string lengthBytes(uint64_t length) {
  char bytes[8];
  llvm::support::endian::write64le(bytes, length);
  return std::string(bytes, 8);
}

class SafetensorsFiles : public testing::Test {
protected:
  void SetUp() override {
    llvm::SmallString<128> made;
    ASSERT_FALSE(llvm::sys::fs::createTemporaryFile("st", "safetensors", made));
    path = made.str().str();
  }
  void TearDown() override { llvm::sys::fs::remove(path); }

  void write(llvm::StringRef content) {
    std::error_code error;
    llvm::raw_fd_ostream os(path, error);
    os << content;
  }
  /// Opens the file; the message without the path, or nothing.
  std::string open(llvm::StringRef content) {
    write(content);
    SourceManager sources;
    Diagnostics diagnostics(sources);
    source = openTensorFile(path, SourceRange(), diagnostics);
    EXPECT_EQ(source != nullptr, !diagnostics.hasErrors());
    if (diagnostics.all().empty())
      return {};
    const Diagnostic &d = diagnostics.all().front();
    EXPECT_EQ(d.place.file, path);
    return diagnosticName(d.id).str() + " " + d.message;
  }

  std::string path;
  std::unique_ptr<TensorSource> source;
};

TEST_F(SafetensorsFiles, DataIsMapped) {
  std::string json = "{" + tensor("b", "U8", "[2]", 3, 5) + "," +
                     tensor("a", "U8", "[3]", 0, 3) +
                     ",\"__metadata__\":{\"k\":\"v\"}}";
  ASSERT_EQ(open(lengthBytes(json.size()) + json + "abcde"), "");
  ASSERT_EQ(source->tensors().size(), 2u);
  EXPECT_EQ(source->path(), path);
  EXPECT_EQ(source->metadata("k"), "v");
  EXPECT_EQ(source->metadata("l"), "");
  const TensorInfo &b = source->tensors()[1];
  EXPECT_EQ(b.name, "b");
  EXPECT_EQ(b.elementCount(), 2u);
  EXPECT_EQ(describe(b), "u8 [2]");
  EXPECT_EQ(b.begin, 8 + json.size() + 3);
  llvm::Expected<llvm::ArrayRef<uint8_t>> bytes = source->data(b);
  ASSERT_TRUE(bool(bytes));
  EXPECT_EQ(std::string(bytes->begin(), bytes->end()), "de");
}

TEST_F(SafetensorsFiles, FileCutAfterOpening) {
  std::string json = "{" + tensor("a", "U8", "[3]", 0, 3) + "}";
  std::string content = lengthBytes(json.size()) + json;
  ASSERT_EQ(open(content + "abc"), "");
  write(content + "a");
  llvm::Expected<llvm::ArrayRef<uint8_t>> bytes =
      source->data(source->tensors()[0]);
  ASSERT_FALSE(bool(bytes));
  std::string message = llvm::toString(bytes.takeError());
  EXPECT_NE(message.find("tensor 'a': expected data up to byte"),
            std::string::npos)
      << message;
}

TEST_F(SafetensorsFiles, EmptyFileAndOtherContent) {
  EXPECT_EQ(open(""), "E606 expected a safetensors file, found other content");
  EXPECT_EQ(open("hello, world"),
            "E606 expected a safetensors file, found other content");
  EXPECT_EQ(open("GGUF\3\0\0\0xxxxxxxx"),
            "E217 reading GGUF files is not built yet");
}

TEST_F(SafetensorsFiles, LengthOfTheHeader) {
  EXPECT_EQ(open(lengthBytes(100000001) + "{}"),
            "E608 expected a header of at most 100000000 bytes, found a length "
            "of 100000001");
  EXPECT_EQ(open(lengthBytes(~uint64_t(0)) + "{}"),
            "E608 expected a header of at most 100000000 bytes, found a length "
            "of 18446744073709551615");
  EXPECT_EQ(open(lengthBytes(3) + "{}"),
            "E607 expected a header of 3 bytes, found 2");
}

TEST_F(SafetensorsFiles, DirectOpeningChecksTheLength) {
  write("abc");
  SourceManager sources;
  Diagnostics diagnostics(sources);
  EXPECT_FALSE(openSafetensors(path, diagnostics));
  ASSERT_EQ(diagnostics.all().size(), 1u);
  EXPECT_EQ(diagnostics.all()[0].message, "expected at least 8 bytes, found 3");
  EXPECT_FALSE(openSafetensors("/nonexistent/f", diagnostics));
  EXPECT_EQ(diagnostics.all()[1].id, DiagId::E611);
}

TEST_F(SafetensorsFiles, MissingFileAndDirectory) {
  SourceManager sources;
  Diagnostics diagnostics(sources);
  EXPECT_FALSE(openTensorFile("/nonexistent/f", SourceRange(), diagnostics));
  EXPECT_FALSE(openTensorFile("/", SourceRange(), diagnostics));
  ASSERT_EQ(diagnostics.all().size(), 2u);
  EXPECT_EQ(diagnostics.all()[0].id, DiagId::E611);
  EXPECT_EQ(diagnostics.all()[1].message,
            "expected a tensor file, found a directory");
}

TEST_F(SafetensorsFiles, NinetyThousandTensors) {
  std::string json = "{";
  for (unsigned i = 0; i < 90000; ++i)
    json += (i ? "," : "") + tensor("model.layers.60.mlp.experts." +
                                        std::to_string(i) + ".down_proj.weight",
                                    "U8", "[1,2]", 2 * i, 2 * i + 2);
  json += "}";
  ASSERT_EQ(open(lengthBytes(json.size()) + json + std::string(180000, 'x')),
            "");
  EXPECT_EQ(source->tensors().size(), 90000u);
}

} // namespace
