//===- TensorSource.cpp - Named tensors in files --------------------------===//

#include "frontend/weights/TensorSource.h"

#include "frontend/SpellCheck.h"
#include "frontend/weights/NamePattern.h"
#include "frontend/weights/SafetensorsReader.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Path.h"

using namespace moec;
using llvm::StringRef;
using llvm::Twine;

//===----------------------------------------------------------------------===//
// Element types
//===----------------------------------------------------------------------===//

namespace {
struct DTypeEntry {
  DType dtype;
  const char *name;
  unsigned bits;
};

constexpr DTypeEntry dtypes[] = {
    {DType::Bool, "bool", 8},
    {DType::U8, "u8", 8},
    {DType::I8, "i8", 8},
    {DType::U16, "u16", 16},
    {DType::I16, "i16", 16},
    {DType::U32, "u32", 32},
    {DType::I32, "i32", 32},
    {DType::U64, "u64", 64},
    {DType::I64, "i64", 64},
    {DType::F16, "f16", 16},
    {DType::BF16, "bf16", 16},
    {DType::F32, "f32", 32},
    {DType::F64, "f64", 64},
    {DType::C64, "c64", 64},
    {DType::F8E4M3, "f8_e4m3", 8},
    {DType::F8E5M2, "f8_e5m2", 8},
    {DType::F8E8M0, "f8_e8m0", 8},
    {DType::F8E4M3FNUZ, "f8_e4m3fnuz", 8},
    {DType::F8E5M2FNUZ, "f8_e5m2fnuz", 8},
    {DType::F6E2M3, "f6_e2m3", 6},
    {DType::F6E3M2, "f6_e3m2", 6},
    {DType::F4, "f4", 4},
};

const DTypeEntry &entry(DType dtype) {
  const DTypeEntry &found = dtypes[static_cast<unsigned>(dtype)];
  assert(found.dtype == dtype && "the table follows the enumeration");
  return found;
}
} // namespace

unsigned moec::bitWidth(DType dtype) { return entry(dtype).bits; }
const char *moec::dtypeName(DType dtype) { return entry(dtype).name; }

std::optional<DType> moec::findDType(StringRef name) {
  // "Bf16" is neither spelling.
  bool upper = name == name.upper(), lower = name == name.lower();
  for (const DTypeEntry &e : dtypes)
    if ((upper || lower) && name.equals_insensitive(e.name))
      return e.dtype;
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Tensors and files
//===----------------------------------------------------------------------===//

uint64_t TensorInfo::elementCount() const {
  uint64_t count = 1;
  for (int64_t size : shape)
    count *= static_cast<uint64_t>(size);
  return count;
}

std::string moec::describeShape(llvm::ArrayRef<int64_t> shape) {
  std::string text = "[";
  for (int64_t size : shape)
    text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

std::string moec::describe(const TensorInfo &tensor) {
  return std::string(dtypeName(tensor.dtype)) + " " +
         describeShape(tensor.shape);
}

TensorSource::~TensorSource() = default;

StringRef TensorSource::metadata(StringRef key) const {
  auto found = metadataEntries.find(key.str());
  return found == metadataEntries.end() ? StringRef()
                                        : StringRef(found->second);
}

/// Says on the `weights` line why the file was opened.
static void addUser(DiagnosticBuilder &builder, SourceRange user) {
  if (user.isValid())
    builder.note(user, "the file is named here");
}

std::unique_ptr<TensorSource> moec::openTensorFile(StringRef path,
                                                   SourceRange user,
                                                   Diagnostics &diagnostics) {
  auto fail = [&](DiagId id, const Twine &message) {
    DiagnosticBuilder error =
        diagnostics.error(id, DiagnosticPlace::wholeFile(path), message);
    addUser(error, user);
    return nullptr;
  };
  if (llvm::sys::fs::is_directory(path))
    return fail(DiagId::E611, "expected a tensor file, found a directory");
  llvm::Expected<llvm::sys::fs::file_t> file =
      llvm::sys::fs::openNativeFileForRead(path);
  if (!file)
    return fail(DiagId::E611,
                "cannot open the file: " + toString(file.takeError()));
  char first[16];
  llvm::Expected<size_t> count =
      llvm::sys::fs::readNativeFile(*file, llvm::MutableArrayRef<char>(first));
  llvm::sys::fs::closeFile(*file);
  if (!count)
    return fail(DiagId::E611,
                "cannot read the file: " + toString(count.takeError()));

  StringRef head(first, *count);
  if (looksLikeSafetensors(head))
    return openSafetensors(path, diagnostics);
  if (head.starts_with("GGUF"))
    return fail(DiagId::E217, "reading GGUF files is not built yet");
  return fail(DiagId::E606, "expected a safetensors file, found other content");
}

//===----------------------------------------------------------------------===//
// Collections of files
//===----------------------------------------------------------------------===//

/// The files that `pattern` stands for, by name. Only the last part of a path
/// may hold `*`.
static std::vector<std::string> expandPattern(StringRef pattern) {
  namespace path = llvm::sys::path;
  if (!pattern.contains('*'))
    return {pattern.str()};
  StringRef folder = path::parent_path(pattern);
  StringRef namePattern = path::filename(pattern);
  std::vector<std::string> found;
  std::error_code error;
  for (llvm::sys::fs::directory_iterator
           it(folder.empty() ? "." : folder, error),
       end;
       it != end && !error; it.increment(error)) {
    StringRef name = path::filename(it->path());
    if (!matchPattern(namePattern, name) ||
        llvm::sys::fs::is_directory(it->path()))
      continue;
    llvm::SmallString<128> full(folder);
    path::append(full, name);
    found.push_back(full.str().str());
  }
  llvm::sort(found);
  return found;
}

bool TensorFiles::add(StringRef alias, StringRef pattern, StringRef directory,
                      SourceRange user, Diagnostics &diagnostics) {
  llvm::SmallString<256> full(pattern);
  if (!llvm::sys::path::is_absolute(pattern) && !directory.empty()) {
    full = directory;
    llvm::sys::path::append(full, pattern);
  }
  std::vector<std::string> paths = expandPattern(full);
  if (paths.empty()) {
    diagnostics.error(DiagId::E605, user,
                      "expected files matching '" + full.str() +
                          "', found none");
    return false;
  }
  bool ok = true;
  for (const std::string &path : paths) {
    std::unique_ptr<TensorSource> source =
        openTensorFile(path, user, diagnostics);
    ok &= source && add(alias, std::move(source), user, diagnostics);
  }
  return ok;
}

bool TensorFiles::add(StringRef alias, std::unique_ptr<TensorSource> source,
                      SourceRange user, Diagnostics &diagnostics) {
  NameSpace &space = nameSpaces[alias.str()];
  bool ok = true;
  for (const TensorInfo &tensor : source->tensors()) {
    uint32_t place = static_cast<uint32_t>(space.order.size());
    auto [known, isNew] = space.byName.try_emplace(tensor.name, place);
    if (isNew) {
      space.order.push_back({&tensor, source.get()});
      continue;
    }
    const FoundTensor &other = space.order[known->second];
    DiagnosticBuilder error = diagnostics.error(
        DiagId::E603, DiagnosticPlace::wholeFile(source->path()),
        "expected each tensor once, found '" + tensor.name + "' a second time");
    error.fileNote(other.source->path(),
                   "it is also here, as " + describe(*other.info));
    addUser(error, user);
    ok = false;
  }
  sources.push_back(std::move(source));
  return ok;
}

bool TensorFiles::hasAlias(StringRef alias) const {
  return nameSpaces.count(alias.str()) != 0;
}

FoundTensor TensorFiles::find(StringRef alias, StringRef name) const {
  auto space = nameSpaces.find(alias.str());
  if (space == nameSpaces.end())
    return {};
  auto place = space->second.byName.find(name);
  if (place == space->second.byName.end())
    return {};
  return space->second.order[place->second];
}

StringRef TensorFiles::suggest(StringRef alias, StringRef name) const {
  auto space = nameSpaces.find(alias.str());
  if (space == nameSpaces.end())
    return {};
  return closestName(name, [&](llvm::function_ref<void(StringRef)> visit) {
    for (const FoundTensor &tensor : space->second.order)
      visit(tensor.info->name);
  });
}

void TensorFiles::forEach(
    llvm::function_ref<void(StringRef, FoundTensor)> visit) const {
  for (const auto &[alias, space] : nameSpaces)
    for (const FoundTensor &tensor : space.order)
      visit(alias, tensor);
}

size_t TensorFiles::tensorCount() const {
  size_t count = 0;
  for (const auto &space : nameSpaces)
    count += space.second.order.size();
  return count;
}
