//===- RunInputs.cpp - Inputs of moe-run as inputs of a step --------------===//

#include "runtime/tools/RunInputs.h"

#include "runtime/tools/ArrayFile.h"

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

#include <algorithm>

using namespace moe;
using namespace moe::tools;

namespace {

constexpr uint32_t kByteIds = 256;

template <typename... Args> [[noreturn]] void fail(const Args &...args) {
  throw Error(MOE_ERROR_INVALID_ARGUMENT, absl::StrCat(args...));
}

/// Modalities that the function of an entry knows.
std::vector<moe_modality_info> modalitiesOf(const Model &model,
                                            const moe_entry_info &entry) {
  std::vector<moe_modality_info> result;
  const uint32_t mask = model.function(entry.function).modalities;
  const uint32_t count = model.info().num_modalities;
  for (uint32_t i = 0; i < count; ++i)
    if (mask >> model.modality(i).id & 1)
      result.push_back(model.modality(i));
  return result;
}

moe_modality_info modalityNamed(const Model &model, const std::string &name) {
  std::vector<std::string> known;
  const uint32_t count = model.info().num_modalities;
  for (uint32_t i = 0; i < count; ++i) {
    const moe_modality_info modality = model.modality(i);
    if (name == modality.name)
      return modality;
    known.push_back(modality.name);
  }
  fail("expected a modality of the model (", absl::StrJoin(known, ", "),
       "), found '", name, "'");
}

/// Trailing extents of 1 say nothing: IDX has no channel axis.
std::vector<uint64_t> withoutTrailingOnes(std::vector<uint64_t> shape) {
  while (!shape.empty() && shape.back() == 1)
    shape.pop_back();
  return shape;
}

std::string describe(const moe_modality_info &modality) {
  const std::vector<uint32_t> shape(modality.shape,
                                    modality.shape + modality.rank);
  return absl::StrCat(elementTypeName(static_cast<ElementType>(modality.dtype)),
                      " [", absl::StrJoin(shape, ", "), "]");
}

/// The file as an array; plain bytes become a list of raw inputs.
Array readArray(const std::string &path, const moe_modality_info &modality) {
  auto bytes = readWholeFile(path);
  if (!bytes.ok())
    fail(bytes.status().message());
  if (looksLikeNpy(*bytes) || looksLikeIdx(*bytes)) {
    auto array =
        looksLikeNpy(*bytes) ? parseNpy(path, *bytes) : parseIdx(path, *bytes);
    if (!array.ok())
      fail(array.status().message());
    return *std::move(array);
  }
  Array array;
  array.type = static_cast<ElementType>(modality.dtype);
  const uint64_t inputBytes = modality.elements * elementBytes(array.type);
  if (bytes->empty() || bytes->size() % inputBytes)
    fail("'", path, "': expected an IDX or npy file, or ", inputBytes,
         " bytes for each ", describe(modality), ", found ", bytes->size(),
         " bytes");
  array.shape.push_back(bytes->size() / inputBytes);
  array.shape.insert(array.shape.end(), modality.shape,
                     modality.shape + modality.rank);
  array.bytes = *std::move(bytes);
  return array;
}

/// Splits "FILE@INDEX"; a file may itself have an '@' in its name.
std::string splitIndex(const std::string &value,
                       std::optional<uint64_t> &index) {
  const size_t at = value.rfind('@');
  uint64_t number = 0;
  if (at == std::string::npos || at + 1 == value.size() ||
      !std::all_of(value.begin() + static_cast<std::ptrdiff_t>(at) + 1,
                   value.end(), absl::ascii_isdigit))
    return value;
  if (!absl::SimpleAtoi(value.substr(at + 1), &number))
    fail("'", value, "': expected an index, found a number that is too large");
  index = number;
  return value.substr(0, at);
}

} // namespace

moe_modality_info moe::tools::byteModality(const Model &model,
                                           const moe_entry_info &entry,
                                           const std::string &what) {
  std::vector<moe_modality_info> found;
  for (const moe_modality_info &modality : modalitiesOf(model, entry))
    if (!modality.is_raw && modality.vocab == kByteIds)
      found.push_back(modality);
  if (found.size() != 1)
    fail(what, ": expected one token modality of ", kByteIds, " ids in entry '",
         entry.name, "', found ", found.size(), "; use --ids");
  return found.front();
}

std::vector<int32_t> moe::tools::parseIds(const std::string &text,
                                          const std::string &what) {
  std::vector<int32_t> ids;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    int32_t id = 0;
    if (!absl::SimpleAtoi(part, &id))
      fail(what, ": expected numbers with commas between, found '", text, "'");
    ids.push_back(id);
  }
  return ids;
}

RunInputs RunInputs::load(const Model &model, const moe_entry_info &entry,
                          const std::vector<InputOption> &options) {
  RunInputs result;
  for (const InputOption &option : options) {
    switch (option.kind) {
    case InputOption::Text:
      result.addText(model, entry, option.value);
      break;
    case InputOption::Ids:
      result.addIds(model, entry, option.value);
      break;
    case InputOption::Raw:
      result.addRaw(model, option.value);
      break;
    }
  }
  return result;
}

void RunInputs::addText(const Model &model, const moe_entry_info &entry,
                        const std::string &text) {
  const moe_modality_info modality = byteModality(model, entry, "--text");
  if (text.empty())
    fail("--text: expected at least one byte, found none");
  bytes.emplace_back(text.begin(), text.end());
  inputs.push_back(
      input(modality.name, MOE_U8, bytes.back().data(), text.size()));
}

void RunInputs::addIds(const Model &model, const moe_entry_info &entry,
                       const std::string &value) {
  const size_t equals = value.find('=');
  moe_modality_info modality = {};
  if (equals != std::string::npos) {
    modality = modalityNamed(model, value.substr(0, equals));
  } else {
    std::vector<moe_modality_info> tokens = modalitiesOf(model, entry);
    tokens.erase(std::remove_if(tokens.begin(), tokens.end(),
                                [](const moe_modality_info &each) {
                                  return each.is_raw != 0;
                                }),
                 tokens.end());
    if (tokens.size() != 1)
      fail("--ids: expected NAME=1,2,3, for entry '", entry.name, "' has ",
           tokens.size(), " token modalities");
    modality = tokens.front();
  }
  if (modality.is_raw)
    fail("--ids: expected a token modality, found '", modality.name,
         "', which is raw");
  const std::vector<int32_t> &list = ids.emplace_back(parseIds(
      equals == std::string::npos ? value : value.substr(equals + 1), "--ids"));
  inputs.push_back(input(modality.name, MOE_I32, list.data(), list.size()));
}

void RunInputs::addRaw(const Model &model, const std::string &value) {
  const size_t equals = value.find('=');
  if (equals == std::string::npos)
    fail("--raw: expected NAME=FILE, found '", value, "'");
  const moe_modality_info modality =
      modalityNamed(model, value.substr(0, equals));
  if (!modality.is_raw)
    fail("--raw: expected a raw modality, found '", modality.name,
         "', which takes ids");
  std::optional<uint64_t> index;
  const std::string path = splitIndex(value.substr(equals + 1), index);
  Array array = readArray(path, modality);

  const std::vector<uint64_t> expected = withoutTrailingOnes(
      std::vector<uint64_t>(modality.shape, modality.shape + modality.rank));
  const bool isOne = withoutTrailingOnes(array.shape) == expected;
  const bool isList =
      !array.shape.empty() &&
      withoutTrailingOnes(std::vector<uint64_t>(array.shape.begin() + 1,
                                                array.shape.end())) == expected;
  if (static_cast<uint32_t>(array.type) != modality.dtype ||
      (!isOne && !isList))
    fail("'", path, "': expected ", describe(modality), " for '", modality.name,
         "', or a list of them, found ", array.describe());
  if (index) {
    const uint64_t inputBytes = modality.elements * elementBytes(array.type);
    const uint64_t count = array.bytes.size() / inputBytes;
    if (*index >= count)
      fail("'", path, "': expected an index below ", count, ", found ", *index);
    const auto first =
        array.bytes.begin() + static_cast<std::ptrdiff_t>(*index * inputBytes);
    array.bytes = std::vector<uint8_t>(
        first, first + static_cast<std::ptrdiff_t>(inputBytes));
  }
  bytes.push_back(std::move(array.bytes));
  inputs.push_back(input(modality.name, modality.dtype, bytes.back().data(),
                         bytes.back().size() / elementBytes(array.type)));
}
