//===- Decoder.cpp - The text of an imported model ------------------------===//
//
// Sizes, names, schedules, and the file as a whole. DecoderParts.cpp has the
// parts of a layer, DecoderRope.cpp the rotary positions.
//
//===----------------------------------------------------------------------===//

#include "frontend/importers/Decoder.h"

#include "frontend/weights/NamePattern.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

#include <charconv>
#include <cmath>

using namespace moec;
using namespace moec::importers;
using llvm::StringRef;
using llvm::Twine;

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

std::string importers::spell(int64_t value) { return std::to_string(value); }

std::string importers::spell(double value) {
  if (std::isinf(value))
    return value < 0 ? "-inf" : "inf";
  // 10000 is 1e4 to people.
  double power = std::log10(std::abs(value));
  if (value > 0 && power >= 4 && power < 15) {
    int exponent = static_cast<int>(power);
    double mantissa = value / std::pow(10.0, exponent);
    if (mantissa == std::floor(mantissa) && mantissa < 10)
      return std::to_string(static_cast<int>(mantissa)) + "e" +
             std::to_string(exponent);
  }
  char buffer[32];
  auto [end, code] = std::to_chars(buffer, buffer + sizeof(buffer), value);
  std::string text(buffer, end);
  // "1e-05" and "1e+20" have digits that say nothing.
  size_t e = text.find('e');
  if (e == std::string::npos)
    return text;
  std::string digits = text.substr(e + 1);
  bool negative = digits[0] == '-';
  digits.erase(0, digits.find_first_not_of("+-0"));
  return text.substr(0, e) + "e" + (negative ? "-" : "") + digits;
}

//===----------------------------------------------------------------------===//
// Schedules
//===----------------------------------------------------------------------===//

bool Schedule::all() const {
  return llvm::all_of(layers, [](bool b) { return b; });
}
bool Schedule::none() const {
  return llvm::none_of(layers, [](bool b) { return b; });
}
int64_t Schedule::first() const {
  auto it = llvm::find(layers, true);
  return it == layers.end() ? 0 : it - layers.begin();
}
Schedule Schedule::operator!() const {
  std::vector<bool> result;
  for (bool layer : layers)
    result.push_back(!layer);
  return Schedule(std::move(result));
}

std::string Decoder::condition(const Schedule &schedule, StringRef name) {
  auto size = static_cast<int64_t>(schedule.size());
  auto is = [&](auto predicate) {
    return schedule == Schedule::where(size, predicate);
  };
  int64_t first = schedule.first();
  if (is([&](int64_t l) { return l >= first; }))
    return "l >= " + spell(first);
  int64_t end = (!schedule).first();
  if (is([&](int64_t l) { return l < end; }))
    return "l < " + spell(end);
  if (is([&](int64_t l) { return l == first; }))
    return "l == " + spell(first);
  if (is([&](int64_t l) { return l != end; }))
    return "l != " + spell(end);
  for (int64_t n = 2; n <= 8; ++n)
    for (int64_t r = 0; r < n; ++r) {
      std::string rest =
          r == n - 1 ? "(l + 1) % " + spell(n) + " " : "l % " + spell(n) + " ";
      std::string value = r == n - 1 ? "0" : spell(r);
      if (is([&](int64_t l) { return l % n == r; }))
        return rest + "== " + value;
      if (is([&](int64_t l) { return l % n != r; }))
        return rest + "!= " + value;
    }
  std::string list;
  for (int64_t l = 0; l < size; ++l)
    list += (l ? ", " : "") + std::string(schedule[l] ? "1" : "0");
  return constant(name, "[" + list + "]") + "[l] == 1";
}

std::string Decoder::choose(const Schedule &schedule, StringRef name,
                            const std::string &a, const std::string &b) {
  if (schedule.all() || a == b)
    return a;
  if (schedule.none())
    return b;
  return a + " if " + condition(schedule, name) + " else " + b;
}

std::string Decoder::when(const Schedule &schedule, StringRef name,
                          const std::string &a, const std::string &b) {
  if (schedule.all() || a == b)
    return a;
  if (schedule.none())
    return b;
  return "when " + condition(schedule, name) + " {\n" + a +
         "\n} otherwise {\n" + b + "\n}\n";
}

Schedule Decoder::layerTypes(StringRef type, const Schedule &fallback) {
  if (!config.has("layer_types"))
    return fallback;
  std::vector<std::string> types = config.words("layer_types");
  if (static_cast<int64_t>(types.size()) != depth) {
    config.unsupported("layer_types", "'layer_types' must have " +
                                          Twine(depth) + " entries, found " +
                                          Twine(types.size()));
    return fallback;
  }
  return Schedule::where(depth, [&](int64_t l) { return types[l] == type; });
}

//===----------------------------------------------------------------------===//
// Sizes
//===----------------------------------------------------------------------===//

Decoder::Decoder(ModelConfig &config, const Checkpoint &tensors,
                 std::string name, int64_t contextLimit)
    : config(config), tensors(tensors), name(std::move(name)),
      contextLimit(contextLimit) {
  // Composite models put their decoder into another module.
  for (StringRef each :
       {"model.language_model.", "language_model.model.", "model.text_model.",
        "language_model.", "model.", ""}) {
    prefix = each.str();
    if (tensors.has(prefix + "embed_tokens.weight"))
      break;
  }
  if (prefix.empty() && !tensors.has("embed_tokens.weight"))
    prefix = "model.";
  embedding = "embed(ids, \"" + prefix + "embed_tokens.weight\", to = hidden)";
  finalNorm = norm("x", prefix + "norm.weight");
  layersAt = prefix + "layers.{l}.";
}

std::string Decoder::dim(StringRef name, int64_t value) {
  for (auto &[known, text] : dims)
    if (known == name)
      return known;
  dims.emplace_back(name.str(), spell(value));
  return name.str();
}

std::string Decoder::constant(StringRef name, const Twine &text) {
  for (auto &[known, value] : constants)
    if (known == name)
      return known;
  constants.emplace_back(name.str(), text.str());
  return name.str();
}

void Decoder::readDtype() {
  std::string word = config.word({"dtype", "torch_dtype"}, "");
  if (word.empty()) {
    FoundTensor found = tensors.find(prefix + "embed_tokens.weight");
    word = found && found.info->dtype == DType::BF16 ? "bfloat16" : "float32";
  }
  if (word == "bfloat16")
    dtype = "bf16";
  else if (word == "float32" || word == "float16")
    dtype = "f32"; // bf16 would lose bits of float16
  else
    config.unsupported({"dtype", "torch_dtype"},
                       "expected 'float32', 'bfloat16' or 'float16', found '" +
                           word + "'");
}

void Decoder::readSizes(const Names &vocabKeys, const Names &hiddenKeys,
                        const Names &depthKeys, const Names &headKeys,
                        const Names &contextKeys) {
  dim("vocab", config.size(vocabKeys));
  hidden = config.size(hiddenKeys);
  depth = config.size(depthKeys);
  heads = config.size(headKeys);
  context = config.size(contextKeys);
  if (contextLimit > context)
    config.unsupported(contextKeys,
                       "--context asks for " + Twine(contextLimit) +
                           " tokens; the model takes " + Twine(context));
  else if (contextLimit > 0)
    context = contextLimit;
  dim("hidden", hidden);
  dim("depth", depth);
  dim("heads", heads);
  readDtype();
}

void Decoder::readHead(bool tied) {
  std::string embed = prefix + "embed_tokens.weight";
  std::string own = "lm_head.weight";
  for (StringRef each : {"lm_head.weight", "language_model.lm_head.weight"})
    if (tensors.has(each))
      own = each.str();
  headMap = "\"" + (tied ? embed : own) + "\"";
  if (!tied || !tensors.has(own))
    return;
  // A copy of the embeddings does no harm; anything else is a contradiction.
  FoundTensor a = tensors.find(embed), b = tensors.find(own);
  auto one = a ? a.source->data(*a.info) : llvm::ArrayRef<uint8_t>();
  auto two = b.source->data(*b.info);
  bool same = one && two && *one == *two;
  if (!one)
    llvm::consumeError(one.takeError());
  if (!two)
    llvm::consumeError(two.takeError());
  if (!same)
    config.unsupported("tie_word_embeddings",
                       "'tie_word_embeddings' is true, but tensor '" + own +
                           "' differs from '" + embed + "'");
  ignore(own);
}

void Decoder::readCommon(bool tiedByDefault) {
  readSizes("vocab_size", "hidden_size", "num_hidden_layers",
            "num_attention_heads", "max_position_embeddings");
  kvHeads = config.size("num_key_value_heads", heads);
  head = config.size("head_dim", std::max<int64_t>(1, hidden / heads));
  dim("kv_heads", kvHeads);
  dim("head", head);
  Names other = {"layer_norm_eps", "norm_eps", "layer_norm_epsilon"};
  bool isOther = !config.has("rms_norm_eps") && config.has(other);
  constant("eps", spell(config.real(isOther ? other : Names("rms_norm_eps"))));
  readHead(config.boolean("tie_word_embeddings", tiedByDefault));
}

//===----------------------------------------------------------------------===//
// Names of tensors
//===----------------------------------------------------------------------===//

std::string Decoder::layerPrefix(int64_t layer) const {
  std::string text = layersAt;
  size_t place = text.find("{l}");
  if (place != std::string::npos)
    text.replace(place, 3, spell(layer));
  return text;
}

bool Decoder::hasInLayer(int64_t layer, StringRef name) const {
  return tensors.has(layerPrefix(layer) + name.str());
}

llvm::ArrayRef<int64_t> Decoder::shapeInLayer(int64_t layer,
                                              StringRef name) const {
  return tensors.shape(layerPrefix(layer) + name.str());
}

std::string Decoder::pick(int64_t layer,
                          llvm::ArrayRef<std::string> names) const {
  for (const std::string &name : names)
    if (hasInLayer(layer, name))
      return name;
  return names.front();
}

void Decoder::keep(StringRef pattern) {
  bool used = false;
  tensors.forEach([&](const TensorInfo &tensor) {
    used = used || matchPattern(pattern, tensor.name);
  });
  if (used)
    keeps.push_back(pattern.str());
}

void Decoder::ignore(StringRef pattern) {
  bool used = false;
  tensors.forEach([&](const TensorInfo &tensor) {
    used = used || matchPattern(pattern, tensor.name);
  });
  if (used)
    ignores.push_back(pattern.str());
}

void Decoder::ignoreExtraLayers(const Names &countKeys) {
  int64_t count = config.integer(countKeys, 0);
  for (int64_t layer = depth; layer < depth + count; ++layer)
    ignore(layerPrefix(layer) + "*");
  ignore("mtp.*");
  ignore(prefix + "mtp.*");
}

std::string Decoder::norm(StringRef input, StringRef name) const {
  return ("rms_norm(" + input + ", \"" + name + "\", eps = eps)").str();
}

//===----------------------------------------------------------------------===//
// The file
//===----------------------------------------------------------------------===//

/// Whether `text` has `word` with no letter, digit or _ beside it.
static bool namesWord(StringRef text, StringRef word) {
  auto isPart = [](char c) { return llvm::isAlnum(c) || c == '_'; };
  for (size_t at = text.find(word); at != StringRef::npos;
       at = text.find(word, at + 1)) {
    size_t end = at + word.size();
    if ((at == 0 || !isPart(text[at - 1])) &&
        (end == text.size() || !isPart(text[end])))
      return true;
  }
  return false;
}

static std::string
declarations(StringRef item, StringRef text,
             llvm::ArrayRef<std::pair<std::string, std::string>> bindings) {
  std::string result;
  for (const auto &[name, value] : bindings)
    if (namesWord(text, name))
      result += (result.empty() ? item + " " : Twine(", ")).str() + name +
                " = " + value;
  return result.empty() ? "" : result + "\n";
}

/// A name without what tells layers and experts apart: "layers.#.mlp".
static std::string withoutNumbers(StringRef name) {
  llvm::SmallVector<StringRef, 12> parts;
  name.split(parts, '.');
  for (StringRef &part : parts)
    if (part.contains('{') || llvm::all_of(part, llvm::isDigit))
      part = "#";
  return llvm::join(parts, ".");
}

bool Decoder::namesAllTensors() const {
  std::string text =
      embedding + before + blockText + layerText + finalNorm + headMap + logits;
  llvm::StringSet<> stored, named;
  tensors.forEach([&](const TensorInfo &tensor) {
    bool isIgnored = llvm::any_of(ignores, [&](const std::string &pattern) {
      return matchPattern(pattern, tensor.name).has_value();
    });
    if (!isIgnored && !matchPattern("*.rotary_emb.inv_freq", tensor.name))
      stored.insert(withoutNumbers(tensor.name));
  });
  // A name stands for itself or, in a layer, behind the layer's prefix.
  for (StringRef rest = text;;) {
    size_t open = rest.find('"');
    if (open == StringRef::npos)
      break;
    auto [name, behind] = rest.drop_front(open + 1).split('"');
    std::string whole = withoutNumbers(name);
    if (!stored.contains(whole))
      whole = withoutNumbers((layersAt + name).str());
    if (!stored.contains(whole))
      return false;
    named.insert(whole);
    rest = behind;
  }
  return named.size() == stored.size();
}

/// The item that says what ends a text; empty for nothing.
std::string Decoder::stopItem() const {
  int64_t vocab = 0;
  for (const auto &[name, value] : dims)
    if (name == "vocab")
      llvm::StringRef(value).getAsInteger(10, vocab);
  std::vector<std::string> ids;
  for (int64_t id : stopTokens)
    if (id >= 0 && id < vocab)
      ids.push_back(spell(id));
  return ids.empty() ? "" : "stop_tokens " + llvm::join(ids, ", ") + "\n";
}

std::string Decoder::finish(llvm::ArrayRef<std::string> weights) {
  dim("context", context);
  ignore("*.rotary_emb.inv_freq");
  std::string head = "linear(" + finalNorm + ", " + headMap + ", to = vocab)";
  std::string result = logits;
  if (size_t place = result.find("$head"); place != std::string::npos)
    result.replace(place, 5, head);
  std::string sequence = "text", modalities;
  if (!otherModality.empty()) {
    StringRef other = StringRef(otherModality).split('(').first;
    sequence = ("any(text, " + other + ")").str();
    modalities = "modality " + otherModality + "\n";
  }
  std::string body =
      "modality text(ids: token[vocab]) = " + embedding + "\n" + modalities +
      blockText + "block decoder(x) {\n" + before +
      "layers l in 0..depth carry " + carried + " at \"" + layersAt + "\" {\n" +
      layerText + "}\nreturn " + result +
      "\n}\n"
      "entry prefill(s: seq(" +
      sequence +
      "[1..context])) = last(decoder(s)) with cache(context)\n"
      "entry decode(s: seq(text[1])) = decoder(s) with cache(context)\n"
      "entry score(s: seq(" +
      sequence + "[1..context])) = decoder(s)\n";
  std::string text = "moe 1\nmodel " + name + "\n";
  for (const std::string &pattern : weights)
    text += "weights \"" + pattern + "\"\n";
  for (const std::string &pattern : keeps)
    text += "keep f32 for \"" + pattern + "\"\n";
  for (const std::string &pattern : ignores)
    text += "ignore \"" + pattern + "\"\n";
  text += stopItem();
  text += "dtype " + dtype + "\n";
  std::string constantText = declarations("const", body, constants);
  text += declarations("dim", body + constantText, dims);
  return text + constantText + body;
}
