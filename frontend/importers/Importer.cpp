//===- Importer.cpp - Checkpoints to the language -------------------------===//

#include "frontend/importers/Importer.h"

#include "frontend/AstPrinter.h"
#include "frontend/Frontend.h"
#include "frontend/SpellCheck.h"
#include "frontend/importers/ModelFamily.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <set>

using namespace moec;
using namespace moec::importers;
using llvm::StringRef;
using llvm::Twine;

/// Where composite models keep the configuration of their decoder.
static constexpr StringRef textKeys[] = {"text_config", "llm_config",
                                         "language_config"};
/// Whether a key of a composite model is about other parts than the decoder.
static bool isOfOtherParts(StringRef key) {
  // Cutting of images, their encoder, and the words around them (InternVL).
  static constexpr StringRef images[] = {"vision_soft_tokens_per_image",
                                         "downsample_ratio",
                                         "dynamic_image_size",
                                         "force_image_size",
                                         "max_dynamic_patch",
                                         "min_dynamic_patch",
                                         "pad2square",
                                         "ps_version",
                                         "select_layer",
                                         "template",
                                         "use_thumbnail"};
  return key.ends_with("_config") || key.ends_with("_token_id") ||
         key.ends_with("_token_index") || llvm::is_contained(images, key);
}

namespace {
class CheckpointImport {
public:
  CheckpointImport(StringRef folder, const CheckpointOptions &options,
                   SourceManager &sources, Diagnostics &diagnostics)
      : folder(folder), options(options), sources(sources),
        diagnostics(diagnostics) {}

  std::optional<std::string> run();

private:
  std::optional<JsonValue> readConfig();
  std::optional<JsonValue> readObject(const std::string &path);
  const JsonValue *chooseDecoder(JsonValue &root);
  const ModelFamily *chooseFamily(const JsonValue &decoder);
  bool fits(const ModelFamily &family, const JsonValue &decoder,
            bool isComposite);
  std::vector<StringRef> fittingFamilies(const JsonValue &decoder);
  void ignoreOtherParts(Decoder &decoder);
  void addStopTokens(const JsonValue &object, Decoder &decoder);
  void readStopTokens(const JsonValue &root, const JsonValue &text,
                      Decoder &decoder);
  std::string modelName(const ModelFamily &family) const;
  std::optional<std::vector<std::string>> weightPatterns();
  std::optional<std::string> canonical(const std::string &text);

  std::string pathOf(StringRef name) const {
    llvm::SmallString<256> path(folder);
    llvm::sys::path::append(path, name);
    return path.str().str();
  }

  StringRef folder;
  const CheckpointOptions &options;
  SourceManager &sources;
  Diagnostics &diagnostics;
  Checkpoint tensors;
  bool isComposite = false; ///< the decoder is a part of it
};
} // namespace

std::optional<JsonValue> CheckpointImport::readConfig() {
  std::string path = pathOf("config.json");
  if (!llvm::sys::fs::exists(path)) {
    diagnostics.error(DiagId::E637, DiagnosticPlace::wholeFile(folder),
                      "expected a checkpoint with config.json, found no such "
                      "file in the folder");
    return std::nullopt;
  }
  return readObject(path);
}

std::optional<JsonValue> CheckpointImport::readObject(const std::string &path) {
  std::string reason;
  std::optional<FileId> file = sources.addFile(path, reason);
  if (!file) {
    diagnostics.error(DiagId::E637, DiagnosticPlace::wholeFile(path),
                      "cannot read the file: " + reason);
    return std::nullopt;
  }
  return parseJson(*file, sources, diagnostics);
}

/// The object with the keys of the decoder. A composite model says some of them
/// for all its parts.
const JsonValue *CheckpointImport::chooseDecoder(JsonValue &root) {
  JsonMember *text = nullptr;
  for (JsonMember &member : root.members)
    if (llvm::is_contained(textKeys, StringRef(member.key)) &&
        member.value.kind == JsonValue::Kind::Object)
      text = &member;
  if (!text)
    return &root;
  ModelConfig outer(root, "", SourceRange(), diagnostics);
  for (const JsonMember &member : root.members)
    if (isOfOtherParts(member.key))
      outer.neutral(StringRef(member.key));
  for (StringRef key : {"dtype", "torch_dtype", "tie_word_embeddings"}) {
    outer.neutral(key);
    if (const JsonMember *shared = root.find(key)) {
      llvm::erase_if(text->value.members,
                     [&](const JsonMember &own) { return own.key == key; });
      text->value.members.push_back(*shared);
    }
  }
  outer.reportUnread();
  diagnostics.remark(DiagId::E634, text->keyRange,
                     "only the decoder of text is imported, no image or sound");
  return &text->value;
}

/// Whether the family understands all keys, and names all tensors.
bool CheckpointImport::fits(const ModelFamily &family, const JsonValue &object,
                            bool isComposite) {
  Diagnostics silent(sources);
  ModelConfig config(object, "", object.range, silent);
  Decoder decoder(config, tensors, "guess", /*contextLimit=*/0);
  family.describe(decoder);
  if (isComposite)
    ignoreOtherParts(decoder);
  config.neutral("quantization_config");
  config.reportUnread();
  return !silent.hasErrors() && decoder.namesAllTensors();
}

/// The families that the checkpoint could be of, whatever it says.
std::vector<StringRef>
CheckpointImport::fittingFamilies(const JsonValue &decoder) {
  std::vector<StringRef> found;
  Diagnostics silent(sources);
  if (!tensors.open(folder, sources, silent))
    return found;
  for (const ModelFamily *family : modelFamilies())
    if (fits(*family, decoder, isComposite))
      found.push_back(family->name());
  return found;
}

const ModelFamily *CheckpointImport::chooseFamily(const JsonValue &decoder) {
  std::vector<StringRef> known;
  for (const ModelFamily *family : modelFamilies())
    known.insert(known.end(), family->modelTypes.begin(),
                 family->modelTypes.end());
  llvm::sort(known);
  if (!options.family.empty()) {
    const ModelFamily *family = findModelFamily(options.family);
    if (!family)
      diagnostics.error(DiagId::E635, DiagnosticPlace::wholeFile(folder),
                        "--family: no importer knows the model family '" +
                            options.family + "'; known are " +
                            llvm::join(known, ", "));
    return family;
  }
  const JsonMember *type = decoder.find("model_type");
  if (!type || type->value.kind != JsonValue::Kind::String) {
    diagnostics.error(type ? DiagId::E632 : DiagId::E631,
                      type ? type->keyRange : decoder.range,
                      "expected a string 'model_type'");
    return nullptr;
  }
  StringRef name = type->value.string;
  if (const ModelFamily *family = findModelFamily(name))
    return family;
  std::vector<StringRef> fitting = fittingFamilies(decoder);
  DiagnosticBuilder error =
      diagnostics.error(DiagId::E635, type->value.range,
                        "no importer knows the model family '" + name + "'");
  error.suggest(type->value.range, closestName(name, known))
      .hint(type->value.range, "known are " + llvm::join(known, ", "));
  if (!fitting.empty())
    error.hint(type->value.range,
               "its keys and tensors are those of " +
                   llvm::join(fitting, " or ") + ": '--family=" + fitting[0] +
                   "' imports it so, if it computes the same");
  return nullptr;
}

/// The tensors of a composite model that are not of its decoder, by the first
/// parts of their names.
void CheckpointImport::ignoreOtherParts(Decoder &decoder) {
  std::set<std::string> patterns;
  tensors.forEach([&](const TensorInfo &tensor) {
    StringRef name = tensor.name, rest = name;
    bool inside = rest.consume_front(decoder.prefix);
    StringRef part = rest.split('.').first;
    if (name.ends_with("lm_head.weight") ||
        llvm::is_contained(decoder.ownNames, name) ||
        (inside &&
         (part == "layers" || part == "embed_tokens" || part == "norm")))
      return;
    if (!inside) {
      part = name.split('.').first;
      if (part == "model")
        part = name.take_front(name.find('.', part.size() + 1));
      patterns.insert((part + ".*").str());
    } else {
      patterns.insert(decoder.prefix + (part + ".*").str());
    }
  });
  for (const std::string &pattern : patterns)
    decoder.ignore(pattern);
}

/// Takes `eos_token_id`, a number or a list of them. Checkpoints name ids that
/// their vocabulary lacks (-1, those of a larger tokenizer); they never come.
void CheckpointImport::addStopTokens(const JsonValue &object,
                                     Decoder &decoder) {
  const JsonMember *member = object.find("eos_token_id");
  if (!member || member->value.kind == JsonValue::Kind::Null)
    return;
  llvm::ArrayRef<JsonValue> ids = member->value;
  if (member->value.kind == JsonValue::Kind::Array)
    ids = member->value.elements;
  for (const JsonValue &id : ids) {
    if (!id.integer) {
      diagnostics.error(DiagId::E632, member->keyRange,
                        "expected 'eos_token_id' to be an integer or a list of "
                        "integers, found " +
                            describe(id) + " in it");
      return;
    }
    if (!llvm::is_contained(decoder.stopTokens, *id.integer))
      decoder.stopTokens.push_back(*id.integer);
  }
}

/// What ends a text: generation_config.json says it where there is one, as
/// transformers' generate() has it, the configuration otherwise.
void CheckpointImport::readStopTokens(const JsonValue &root,
                                      const JsonValue &text, Decoder &decoder) {
  std::string path = pathOf("generation_config.json");
  if (llvm::sys::fs::exists(path)) {
    std::optional<JsonValue> generation = readObject(path);
    if (!generation)
      return;
    addStopTokens(*generation, decoder);
  }
  for (const JsonValue *object : {&text, &root})
    if (decoder.stopTokens.empty())
      addStopTokens(*object, decoder);
}

std::string CheckpointImport::modelName(const ModelFamily &family) const {
  llvm::SmallString<256> path(folder);
  llvm::sys::fs::make_absolute(path);
  llvm::sys::path::remove_dots(path, /*remove_dot_dot=*/true);
  StringRef base = llvm::sys::path::filename(path);
  std::string name;
  for (char c : base)
    name += llvm::isAlnum(c) ? llvm::toLower(c) : '_';
  if (name.empty() || !llvm::isAlpha(name.front()))
    name = (family.name() + "_" + name).str();
  return name;
}

/// The files as strings of the language; nothing after reporting one that is
/// none.
std::optional<std::vector<std::string>> CheckpointImport::weightPatterns() {
  std::vector<std::string> result;
  for (const std::string &pattern : tensors.patterns()) {
    llvm::SmallString<256> path(options.weightsFolder);
    llvm::sys::path::append(path, pattern);
    if (llvm::is_contained(path, '"') || llvm::any_of(path, [](char c) {
          return static_cast<unsigned char>(c) < 0x20;
        })) {
      diagnostics.error(DiagId::E637, DiagnosticPlace::wholeFile(folder),
                        "expected a path to the tensors without quotation "
                        "marks and control characters, which no text can "
                        "name: '" +
                            path +
                            "'; a text in the folder of the checkpoint does "
                            "not name that folder");
      return std::nullopt;
    }
    std::string text;
    for (char c : path) // braces of strings are written twice
      text += std::string(c == '{' || c == '}' ? 2 : 1, c);
    result.push_back(text);
  }
  return result;
}

/// The one text of what the family wrote.
std::optional<std::string>
CheckpointImport::canonical(const std::string &text) {
  std::unique_ptr<ast::File> file =
      parseBuffer("text of the importer", text, sources, diagnostics);
  if (!file)
    return std::nullopt;
  std::string result;
  llvm::raw_string_ostream stream(result);
  ast::print(*file, stream);
  return result;
}

std::optional<std::string> CheckpointImport::run() {
  std::optional<JsonValue> root = readConfig();
  if (!root)
    return std::nullopt;
  const JsonValue *object = chooseDecoder(*root);
  isComposite = object != &*root;
  const ModelFamily *family = chooseFamily(*object);
  if (!family || !tensors.open(folder, sources, diagnostics))
    return std::nullopt;
  ModelConfig config(*object, "", object->range, diagnostics);
  // Messages about missing keys point to the beginning, not to all of it.
  if (config.has("quantization_config"))
    config.unsupported("quantization_config",
                       "quantised checkpoints are not read");
  Decoder decoder(config, tensors, modelName(*family), options.context);
  family->describe(decoder);
  if (isComposite)
    ignoreOtherParts(decoder);
  readStopTokens(*root, *object, decoder);
  config.neutral("quantization_config");
  config.reportUnread();
  if (diagnostics.hasErrors())
    return std::nullopt;
  std::optional<std::vector<std::string>> patterns = weightPatterns();
  if (!patterns)
    return std::nullopt;
  return canonical(decoder.finish(*patterns));
}

std::optional<std::string>
moec::importCheckpoint(StringRef folder, const CheckpointOptions &options,
                       SourceManager &sources, Diagnostics &diagnostics) {
  return CheckpointImport(folder, options, sources, diagnostics).run();
}

void moec::printModelFamilies(llvm::raw_ostream &os) {
  for (const ModelFamily *family : modelFamilies())
    os << llvm::join(family->modelTypes, ", ") << ": " << family->summary
       << '\n';
}
