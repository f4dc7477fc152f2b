//===- Checkpoint.cpp - The tensors of a folder ---------------------------===//

#include "frontend/importers/Checkpoint.h"

#include "frontend/weights/NamePattern.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace moec;
using namespace moec::importers;
using llvm::StringRef;
using llvm::Twine;

/// Messages of one kind that are shown; the last says how many more there are.
static constexpr size_t maxShown = 8;

static std::string pathIn(StringRef folder, StringRef name) {
  llvm::SmallString<256> path(folder);
  llvm::sys::path::append(path, name);
  return path.str().str();
}

llvm::ArrayRef<int64_t> Checkpoint::shape(StringRef name) const {
  FoundTensor found = find(name);
  return found ? found.info->shape : llvm::ArrayRef<int64_t>();
}

void Checkpoint::forEach(
    llvm::function_ref<void(const TensorInfo &)> visit) const {
  files.forEach([&](StringRef, FoundTensor found) { visit(*found.info); });
}

bool Checkpoint::hasPrefix(StringRef prefix) const {
  bool found = false;
  forEach([&](const TensorInfo &tensor) {
    found |= tensor.name.starts_with(prefix);
  });
  return found;
}

bool Checkpoint::hasSuffix(StringRef suffix) const {
  bool found = false;
  forEach([&](const TensorInfo &tensor) {
    found |= tensor.name.ends_with(suffix);
  });
  return found;
}

/// One pattern where it stands for exactly these files, as for the shards
/// model-00001-of-00003.safetensors; all names otherwise.
void Checkpoint::choosePatterns(llvm::ArrayRef<std::string> names) {
  filePatterns.assign(names.begin(), names.end());
  if (names.size() < 2)
    return;
  StringRef first = names.front();
  size_t dash = first.find('-');
  if (dash == StringRef::npos)
    return;
  std::string pattern = (first.take_front(dash) + "-*.safetensors").str();
  std::error_code error;
  size_t matching = 0;
  for (llvm::sys::fs::directory_iterator it(path, error), end;
       it != end && !error; it.increment(error))
    matching += matchPattern(pattern, llvm::sys::path::filename(it->path()))
                    .has_value();
  bool all = llvm::all_of(names, [&](const std::string &name) {
    return matchPattern(pattern, name).has_value();
  });
  if (!error && all && matching == names.size())
    filePatterns = {pattern};
}

bool Checkpoint::checkIndex(const JsonValue &map, Diagnostics &diagnostics) {
  size_t wrong = 0;
  for (const JsonMember &member : map.members) {
    FoundTensor found = files.find("", member.key);
    StringRef expected = member.value.string;
    if (found && llvm::sys::path::filename(found.source->path()) == expected)
      continue;
    if (++wrong > maxShown)
      continue;
    DiagnosticBuilder error = diagnostics.error(
        DiagId::E636, member.keyRange,
        "the index says that '" + expected + "' holds tensor '" + member.key +
            "'; it does not");
    if (found)
      error.fileNote(found.source->path(), "it is here");
  }
  if (wrong > maxShown)
    diagnostics.error(DiagId::E636, map.range,
                      Twine(wrong) + " tensors are not where the index says");
  return wrong == 0;
}

bool Checkpoint::openIndex(StringRef indexPath, SourceManager &sources,
                           Diagnostics &diagnostics) {
  std::string reason;
  std::optional<FileId> file = sources.addFile(indexPath, reason);
  if (!file) {
    diagnostics.error(DiagId::E637, DiagnosticPlace::wholeFile(indexPath),
                      "cannot read the index: " + reason);
    return false;
  }
  std::optional<JsonValue> index = parseJson(*file, sources, diagnostics);
  if (!index)
    return false;
  const JsonMember *map = index->find("weight_map");
  if (!map || map->value.kind != JsonValue::Kind::Object) {
    diagnostics.error(DiagId::E631, map ? map->keyRange : index->range,
                      "expected an object 'weight_map'");
    return false;
  }
  llvm::MapVector<StringRef, SourceRange, llvm::StringMap<unsigned>> shards;
  for (const JsonMember &member : map->value.members) {
    StringRef name = member.value.string;
    if (member.value.kind != JsonValue::Kind::String || name.empty() ||
        name != llvm::sys::path::filename(name)) {
      diagnostics.error(DiagId::E632, member.value.range,
                        "expected the name of a file in the same folder");
      return false;
    }
    shards.insert({name, member.value.range});
  }
  std::vector<std::string> names;
  bool ok = true;
  for (const auto &[name, range] : shards) {
    names.push_back(name.str());
    if (llvm::sys::fs::exists(pathIn(path, name)))
      continue;
    diagnostics.error(DiagId::E636, range,
                      "the index names a file that is not there");
    ok = false;
  }
  llvm::sort(names);
  for (const std::string &name : names)
    ok = ok && files.add("", name, path, SourceRange(), diagnostics);
  if (!ok || !checkIndex(map->value, diagnostics))
    return false;
  choosePatterns(names);
  return true;
}

bool Checkpoint::open(StringRef folder, SourceManager &sources,
                      Diagnostics &diagnostics) {
  path = folder.str();
  std::string index = pathIn(folder, "model.safetensors.index.json");
  if (llvm::sys::fs::exists(index))
    return openIndex(index, sources, diagnostics);
  constexpr StringRef single = "model.safetensors";
  if (llvm::sys::fs::exists(pathIn(folder, single))) {
    filePatterns = {single.str()};
    return files.add("", single, folder, SourceRange(), diagnostics);
  }
  DiagnosticBuilder error = diagnostics.error(
      DiagId::E637, DiagnosticPlace::wholeFile(folder),
      "expected model.safetensors or model.safetensors.index.json, found "
      "neither");
  if (llvm::sys::fs::exists(pathIn(folder, "pytorch_model.bin")) ||
      llvm::sys::fs::exists(pathIn(folder, "pytorch_model.bin.index.json")))
    error.fileNote(folder, "pytorch_model.bin holds Python objects and is not "
                           "read; convert it to safetensors");
  return false;
}
