//===- ModelConfig.cpp - What a config.json says --------------------------===//

#include "frontend/importers/ModelConfig.h"

#include "frontend/SpellCheck.h"

#include "llvm/ADT/STLExtras.h"

#include <cmath>

using namespace moec;
using namespace moec::importers;
using llvm::StringRef;
using llvm::Twine;

/// Keys without influence on the numbers that a model computes, in any family:
/// names and versions, training, generation, tokens with a meaning, and how
/// transformers runs a model. A key belongs here only if that is so for every
/// value it can have.
static constexpr StringRef neutralKeys[] = {
    // Names and versions.
    "_name_or_path", "_commit_hash", "architectures", "auto_map",
    "finetuning_task", "id2label", "label2id", "model_type", "name_or_path",
    "problem_type", "task_specific_params", "tokenizer_class", "torchscript",
    "transformers_version", "_attn_implementation_autoset",
    "_attn_implementation", "_experts_implementation",
    "_experts_implementation_internal",
    // Training.
    "attention_dropout", "attn_pdrop", "aux_loss_alpha", "aux_loss_coef",
    "classifier_dropout", "embd_pdrop", "emb_pdrop", "expert_dropout",
    "hidden_dropout", "hidden_dropout_prob", "initializer_factor",
    "initializer_range", "input_jitter_noise", "load_balance_coeff",
    "lm_head_dropout", "moe_jitter_eps", "moe_loss_weight",
    "output_router_logits", "resid_pdrop", "router_aux_loss_coef",
    "router_dtype_for_loss", "router_jitter_noise", "router_z_loss_coef",
    "seq_aux", "use_aux_loss", "dropout", "z_loss_coef",
    // The tensor-parallel degree of pre-training, and how a run was cut.
    "ep_size", "pretraining_tp", "tp_plan",
    // Tokens with a meaning, and generation.
    "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id",
    "cls_token_id", "eod_token_id", "mask_token_id", "unk_token_id",
    "image_start_token_id", "image_end_token_id", "text_end_id",
    "text_start_id", "decoder_start_token_id", "forced_bos_token_id",
    "forced_eos_token_id", "prefix", "suppress_tokens", "begin_suppress_tokens",
    "bad_words_ids", "max_length", "min_length", "do_sample", "temperature",
    "top_p", "num_beams", "repetition_penalty",
    // How transformers runs a model.
    "chunk_size_feed_forward", "cross_attention_hidden_size", "is_decoder",
    "keys_to_ignore_at_inference", "output_attentions", "output_hidden_states",
    "output_scores", "return_dict", "return_dict_in_generate", "use_bfloat16",
    "use_cache", "use_return_dict", "tie_encoder_decoder", "use_flash_attn",
    "gradient_checkpointing"};

std::string ModelConfig::spelled(StringRef name) const {
  return where.empty() ? name.str() : where + "." + name.str();
}

bool ModelConfig::has(const Names &names) const {
  return llvm::any_of(names, [&](StringRef name) {
    const JsonMember *member = object->find(name);
    return member && member->value.kind != JsonValue::Kind::Null;
  });
}

DiagnosticPlace ModelConfig::placeOf(const Names &names) const {
  for (StringRef name : names)
    if (const JsonMember *member = object->find(name))
      return member->keyRange;
  return place;
}

/// The member under any of the names. Two names with different values leave
/// open which is meant.
const JsonMember *ModelConfig::lookUp(const Names &names) {
  const JsonMember *found = nullptr;
  for (StringRef name : names) {
    const JsonMember *member = object->find(name);
    if (!member)
      continue;
    read.insert(name);
    if (member->value.kind == JsonValue::Kind::Null)
      continue;
    if (!found) {
      found = member;
      continue;
    }
    const JsonValue &a = found->value, &b = member->value;
    bool same = a.kind == b.kind && a.boolean == b.boolean &&
                a.number == b.number && a.string == b.string &&
                a.elements.size() == b.elements.size();
    if (!same && wrong.insert(name).second)
      diagnostics
          ->error(DiagId::E634, member->keyRange,
                  "'" + spelled(name) + "' and '" + spelled(found->key) +
                      "' name the same quantity, with different values")
          .note(found->keyRange, "the other one is here");
  }
  return found;
}

const JsonValue *ModelConfig::get(const Names &names, bool required) {
  if (const JsonMember *member = lookUp(names))
    return &member->value;
  if (required && wrong.insert(names.front()).second) {
    DiagnosticBuilder error = diagnostics->error(
        DiagId::E631, place,
        "no key '" + spelled(names.front()) + "', and it has no default");
    StringRef near = closestName(
        names.front(), [&](llvm::function_ref<void(StringRef)> visit) {
          for (const JsonMember &member : object->members)
            if (!read.contains(member.key))
              visit(member.key);
        });
    if (!near.empty())
      error.suggest(object->find(near)->keyRange, names.front());
  }
  return nullptr;
}

void ModelConfig::wrongType(const Names &names, StringRef expected) {
  const JsonMember *member = lookUp(names);
  if (!wrong.insert(member->key).second)
    return;
  diagnostics->error(DiagId::E632, member->keyRange,
                     "'" + spelled(member->key) + "' must be " + expected +
                         ", found " + describe(member->value));
}

int64_t ModelConfig::integer(const Names &names,
                             std::optional<int64_t> fallback) {
  const JsonValue *value = get(names, !fallback);
  if (!value)
    return fallback.value_or(1);
  if (value->integer)
    return *value->integer;
  wrongType(names, "an integer");
  return 1;
}

int64_t ModelConfig::size(const Names &names, std::optional<int64_t> fallback) {
  const JsonValue *value = get(names, !fallback);
  if (!value)
    return fallback.value_or(1);
  if (value->integer && *value->integer > 0 &&
      *value->integer <= std::numeric_limits<int32_t>::max())
    return *value->integer;
  wrongType(names, "a positive integer");
  return 1;
}

double ModelConfig::real(const Names &names, std::optional<double> fallback) {
  const JsonValue *value = get(names, !fallback);
  if (!value)
    return fallback.value_or(1);
  if (value->kind == JsonValue::Kind::Number && std::isfinite(value->number))
    return value->number;
  wrongType(names, "a number");
  return 1;
}

bool ModelConfig::boolean(const Names &names, std::optional<bool> fallback) {
  const JsonValue *value = get(names, !fallback);
  if (!value)
    return fallback.value_or(false);
  if (value->kind == JsonValue::Kind::Boolean)
    return value->boolean;
  wrongType(names, "true or false");
  return false;
}

std::string ModelConfig::word(const Names &names,
                              std::optional<StringRef> fallback) {
  const JsonValue *value = get(names, !fallback);
  if (!value)
    return fallback.value_or("").str();
  if (value->kind == JsonValue::Kind::String)
    return value->string;
  wrongType(names, "a string");
  return "";
}

std::optional<int64_t> ModelConfig::maybeInteger(const Names &names) {
  if (!get(names, /*required=*/false))
    return std::nullopt;
  return integer(names);
}

std::optional<double> ModelConfig::maybeReal(const Names &names) {
  if (!get(names, /*required=*/false))
    return std::nullopt;
  return real(names);
}

template <typename Element, typename Take>
static std::optional<std::vector<Element>> takeList(const JsonValue &list,
                                                    Take take) {
  std::vector<Element> result;
  if (list.kind != JsonValue::Kind::Array)
    return std::nullopt;
  for (const JsonValue &element : list.elements) {
    std::optional<Element> taken = take(element);
    if (!taken)
      return std::nullopt;
    result.push_back(*taken);
  }
  return result;
}

std::vector<int64_t> ModelConfig::integers(const Names &names) {
  const JsonValue *value = get(names, /*required=*/false);
  if (!value)
    return {};
  auto list = takeList<int64_t>(
      *value, [](const JsonValue &element) -> std::optional<int64_t> {
        if (element.kind == JsonValue::Kind::Boolean)
          return element.boolean;
        return element.integer;
      });
  if (!list)
    wrongType(names, "a list of integers");
  return list.value_or(std::vector<int64_t>());
}

std::vector<double> ModelConfig::reals(const Names &names) {
  const JsonValue *value = get(names, /*required=*/false);
  if (!value)
    return {};
  auto list = takeList<double>(
      *value, [](const JsonValue &element) -> std::optional<double> {
        if (element.kind != JsonValue::Kind::Number)
          return std::nullopt;
        return element.number;
      });
  if (!list)
    wrongType(names, "a list of numbers");
  return list.value_or(std::vector<double>());
}

std::vector<std::string> ModelConfig::words(const Names &names) {
  const JsonValue *value = get(names, /*required=*/false);
  if (!value)
    return {};
  auto list = takeList<std::string>(
      *value, [](const JsonValue &element) -> std::optional<std::string> {
        if (element.kind != JsonValue::Kind::String)
          return std::nullopt;
        return element.string;
      });
  if (!list)
    wrongType(names, "a list of strings");
  return list.value_or(std::vector<std::string>());
}

std::optional<ModelConfig> ModelConfig::child(StringRef name) {
  const JsonValue *value = get(name, /*required=*/false);
  if (!value)
    return std::nullopt;
  if (value->kind != JsonValue::Kind::Object) {
    wrongType(name, "an object");
    return std::nullopt;
  }
  return ModelConfig(*value, spelled(name), object->find(name)->keyRange,
                     *diagnostics);
}

const JsonValue *ModelConfig::raw(const Names &names) {
  return get(names, /*required=*/false);
}

void ModelConfig::neutral(const Names &names) {
  for (StringRef name : names)
    read.insert(name);
}

void ModelConfig::unsupported(const Names &names, const Twine &message) {
  if (wrong.insert(names.front()).second)
    diagnostics->error(DiagId::E634, placeOf(names), message);
}

void ModelConfig::expect(StringRef name, bool value) {
  if (get(name, /*required=*/false) && boolean(name) != value)
    unsupported(name, "'" + spelled(name) + "' must be " +
                          (value ? "true" : "false") +
                          ": the other way is not built");
}

void ModelConfig::expect(StringRef name, int64_t value) {
  if (!get(name, /*required=*/false))
    return;
  int64_t found = integer(name);
  if (found != value)
    unsupported(name, "'" + spelled(name) + "' must be " + Twine(value) + ": " +
                          Twine(found) + " is not built");
}

void ModelConfig::expect(StringRef name, StringRef value) {
  if (!get(name, /*required=*/false))
    return;
  std::string found = word(name);
  if (found != value)
    unsupported(name, "'" + spelled(name) + "' must be '" + value + "': '" +
                          found + "' is not built");
}

void ModelConfig::expectNone(const Names &names) {
  for (StringRef name : names) {
    const JsonValue *value = get(name, /*required=*/false);
    if (!value)
      continue;
    bool none = (value->kind == JsonValue::Kind::Boolean && !value->boolean) ||
                (value->kind == JsonValue::Kind::Number && value->number == 0);
    none |= (value->kind == JsonValue::Kind::Array && value->elements.empty());
    none |= (value->kind == JsonValue::Kind::Object && value->members.empty());
    if (!none)
      unsupported(name, "'" + spelled(name) +
                            "' changes the numbers and is not built");
  }
}

void ModelConfig::reportUnread() {
  for (const JsonMember &member : object->members) {
    if (read.contains(member.key) ||
        llvm::is_contained(neutralKeys, StringRef(member.key)) ||
        member.value.kind == JsonValue::Kind::Null)
      continue;
    diagnostics->error(DiagId::E633, member.keyRange,
                       "'" + spelled(member.key) +
                           "' is not understood and may change the numbers");
  }
}
