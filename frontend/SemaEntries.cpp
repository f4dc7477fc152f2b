//===- SemaEntries.cpp - Entries and their layouts ------------------------===//

#include "frontend/Sema.h"
#include "frontend/SemaOperations.h"
#include "frontend/SpellCheck.h"

#include "llvm/ADT/STLExtras.h"

#include <limits>

using namespace moec;
using llvm::cast;
using llvm::dyn_cast;
using llvm::isa;
using llvm::StringRef;
using llvm::Twine;

namespace {
/// Reads one entry item.
class EntryReader {
public:
  EntryReader(SemaModel &model, detail::GlobalEvaluator &evaluator,
              const ast::EntryItem &item, Diagnostics &diagnostics)
      : model(model), evaluator(evaluator), item(item),
        diagnostics(diagnostics) {
    entry.item = &item;
  }

  std::optional<SemaModel::Entry> read();

private:
  bool readLayout();
  bool readSegment(const ast::Segment &source);
  bool readCount(const ast::Expr &count, SemaModel::Segment &segment);
  bool readOptions();
  bool readCache(const ast::EntryOption &option);
  bool readSwitch(const ast::EntryOption &option, bool &isThere);
  bool readMaxExperts(const ast::EntryOption &option);
  bool readCall();
  bool readArgument(const ast::Param &param, const ast::Expr &argument,
                    std::optional<StaticValue> &value);

  SemaModel &model;
  detail::GlobalEvaluator &evaluator;
  const ast::EntryItem &item;
  Diagnostics &diagnostics;
  SemaModel::Entry entry;
};
} // namespace

std::optional<SemaModel::Entry> EntryReader::read() {
  bool layout = readLayout(), call = readCall(), options = readOptions();
  if (!layout || !call || !options)
    return std::nullopt;
  return std::move(entry);
}

bool EntryReader::readLayout() {
  const ast::Param *param = item.params.empty() ? nullptr : &item.params[0];
  if (item.params.size() != 1 || !param->type ||
      param->type->kind != ast::TypeKind::Sequence) {
    SourceRange where = param ? param->name.range : item.name.range;
    diagnostics.error(DiagId::E805, where,
                      "entry '" + item.name.str() +
                          "' must take one sequence, such as "
                          "s: seq(text[1..512])");
    return false;
  }
  bool ok = true;
  for (const ast::Segment &segment : param->type->segments)
    ok &= readSegment(segment);
  return ok;
}

bool EntryReader::readSegment(const ast::Segment &source) {
  SemaModel::Segment segment;
  segment.source = &source;
  for (const ast::Name &name : source.modalities) {
    const SemaModel::Modality *modality = model.findModality(name.str());
    if (!modality) {
      llvm::SmallVector<StringRef> known;
      for (const SemaModel::Modality &m : model.modalities)
        known.push_back(m.name());
      diagnostics
          .error(DiagId::E501, name.range,
                 "'" + name.str() + "' is no modality of the file")
          .suggest(name.range, closestName(name.str(), known));
      return false;
    }
    if (llvm::is_contained(segment.modalities, modality->id)) {
      diagnostics.error(DiagId::E503, name.range,
                        "modality '" + name.str() + "' stands twice in 'any'");
      return false;
    }
    segment.modalities.push_back(modality->id);
  }
  if (source.count && !readCount(*source.count, segment))
    return false;
  if (source.isAny && !source.count) {
    diagnostics.error(DiagId::E805, source.range,
                      "'any' needs a count of tokens: any(...)[1..n]");
    return false;
  }
  if (source.isOptional)
    segment.min = 0;
  entry.layout.push_back(std::move(segment));
  return true;
}

/// `[n]` is exactly n, `[a..b]` is a to b, both included: the brackets count
/// things, they do not enumerate them.
bool EntryReader::readCount(const ast::Expr &count,
                            SemaModel::Segment &segment) {
  std::optional<StaticValue> value = evaluator.evaluate(count);
  if (!value)
    return false;
  int64_t first = value->integer;
  int64_t last =
      value->kind == StaticValue::Kind::Range ? value->end : value->integer;
  if (value->kind != StaticValue::Kind::Range && !value->isInteger()) {
    diagnostics.error(DiagId::E212, count.range,
                      "expected an integer or a range, found " +
                          value->describe());
    return false;
  }
  if (first < 0 || last < 1 || last < first ||
      last > std::numeric_limits<int32_t>::max()) {
    diagnostics.error(DiagId::E705, count.range,
                      "a count needs at least one input, found " +
                          value->describe());
    return false;
  }
  segment.min = first;
  segment.max = last;
  return true;
}

bool EntryReader::readOptions() {
  static const StringRef known[] = {"cache",       "routing_out", "routing_in",
                                    "expert_mask", "router_bias", "k_override"};
  bool ok = true;
  for (const ast::EntryOption &option : item.options) {
    StringRef name = option.name.str();
    if (name == "cache") {
      ok &= readCache(option);
      continue;
    }
    if (name == "routing_out") {
      ok &= readSwitch(option, entry.routing.out);
      continue;
    }
    if (name == "routing_in") {
      ok &= readSwitch(option, entry.routing.in);
      continue;
    }
    if (name == "expert_mask") {
      ok &= readSwitch(option, entry.routing.expertMask);
      continue;
    }
    if (name == "router_bias") {
      ok &= readSwitch(option, entry.routing.routerBias);
      continue;
    }
    if (name == "k_override") {
      ok &= readMaxExperts(option);
      continue;
    }
    ok = false;
    diagnostics
        .error(DiagId::E803, option.name.range,
               "unknown entry option '" + name + "'")
        .suggest(option.name.range, closestName(name, known));
  }
  return ok;
}

bool EntryReader::readCache(const ast::EntryOption &option) {
  if (entry.cacheRange.isValid() || entry.cacheTokens) {
    diagnostics.error(DiagId::E205, option.range, "cache is given twice");
    return false;
  }
  entry.cacheRange = option.range;
  if (option.arguments.size() != 1 || option.arguments[0].name) {
    diagnostics.error(DiagId::E204, option.range,
                      "cache lacks the number of tokens: cache(n)");
    return false;
  }
  entry.cacheTokens =
      evaluator.integer(*option.arguments[0].value, "the size of a cache");
  return entry.cacheTokens.has_value();
}

bool EntryReader::readSwitch(const ast::EntryOption &option, bool &isThere) {
  StringRef name = option.name.str();
  if (isThere) {
    diagnostics.error(DiagId::E205, option.range, name + " is given twice");
    return false;
  }
  if (!option.arguments.empty()) {
    diagnostics.error(DiagId::E204, option.range, name + " takes no arguments");
    return false;
  }
  isThere = true;
  return true;
}

bool EntryReader::readMaxExperts(const ast::EntryOption &option) {
  if (entry.routing.maxExperts != 0) {
    diagnostics.error(DiagId::E205, option.range, "k_override is given twice");
    return false;
  }
  if (option.arguments.size() != 1 || !option.arguments[0].name ||
      option.arguments[0].name->str() != "max") {
    diagnostics.error(DiagId::E204, option.range,
                      "k_override lacks the most experts of a token: "
                      "k_override(max = n)");
    return false;
  }
  entry.routing.maxExperts =
      evaluator
          .integer(*option.arguments[0].value, "the most experts of a token")
          .value_or(0);
  return entry.routing.maxExperts > 0;
}

bool EntryReader::readCall() {
  const ast::Expr *value = item.value.get();
  if (const auto *last = dyn_cast<ast::CallExpr>(value);
      last && last->calleeName() == "last" && last->arguments.size() == 1 &&
      !last->arguments[0].name) {
    entry.last = true;
    value = last->arguments[0].value.get();
  }
  entry.call = dyn_cast<ast::CallExpr>(value);
  entry.block =
      entry.call ? model.findBlock(entry.call->calleeName()) : nullptr;
  if (!entry.block) {
    diagnostics.error(DiagId::E806, value->range,
                      "an entry returns a call of one block, or last(...) of "
                      "it");
    return false;
  }
  const std::vector<ast::Param> &params = entry.block->params;
  entry.arguments.assign(params.size(), std::nullopt);
  std::vector<bool> given(params.size(), false);
  size_t next = 0, streams = 0;
  for (const ast::CallArgument &argument : entry.call->arguments) {
    size_t index = next++;
    if (argument.name)
      index = llvm::find_if(params,
                            [&](const ast::Param &p) {
                              return p.name.str() == argument.name->str();
                            }) -
              params.begin();
    if (index >= params.size() || given[index]) {
      diagnostics.error(DiagId::E218, argument.range,
                        "block '" + entry.block->name.str() +
                            "' has no parameter for this argument");
      return false;
    }
    given[index] = true;
    if (!params[index].type)
      ++streams;
    if (!readArgument(params[index], *argument.value, entry.arguments[index]))
      return false;
  }
  if (streams == 1 && !llvm::is_contained(given, false))
    return true;
  diagnostics.error(DiagId::E218, entry.call->range,
                    "expected " + Twine(params.size()) +
                        " arguments, one of them the sequence, found " +
                        Twine(entry.call->arguments.size()));
  return false;
}

bool EntryReader::readArgument(const ast::Param &param,
                               const ast::Expr &argument,
                               std::optional<StaticValue> &value) {
  if (!param.type) {
    const auto *name = dyn_cast<ast::NameExpr>(&argument);
    if (name && !item.params.empty() && name->name == item.params[0].name.str())
      return true;
    diagnostics.error(DiagId::E806, argument.range,
                      "expected the sequence of the entry here");
    return false;
  }
  StringRef type = param.type->name.str();
  if (type == "modality") {
    const auto *name = dyn_cast<ast::NameExpr>(&argument);
    const SemaModel::Modality *modality =
        name ? model.findModality(name->name) : nullptr;
    if (modality) {
      value = StaticValue::ofModality(modality->id);
      return true;
    }
    diagnostics.error(DiagId::E501, argument.range,
                      "expected a modality of the file");
    return false;
  }
  value = evaluator.evaluate(argument);
  if (!value)
    return false;
  bool fits = type == "bool" ? value->kind == StaticValue::Kind::Boolean
                             : value->isInteger();
  if (!fits)
    diagnostics.error(DiagId::E212, argument.range,
                      "'" + param.name.str() + "' takes " +
                          (type == "bool" ? "a truth value" : "an integer") +
                          ", found " + value->describe());
  return fits;
}

/// Entries with a cache on one block share its state.
static void checkCaches(const SemaModel &model, Diagnostics &diagnostics) {
  llvm::DenseMap<const ast::BlockItem *, const SemaModel::Entry *> first;
  for (const SemaModel::Entry &entry : model.entries) {
    if (!entry.cacheTokens)
      continue;
    auto [it, isNew] = first.try_emplace(entry.block, &entry);
    if (isNew || it->second->cacheTokens == entry.cacheTokens)
      continue;
    diagnostics
        .error(DiagId::E804, entry.cacheRange,
               "entry '" + entry.item->name.str() + "' has a cache of " +
                   Twine(*entry.cacheTokens) + " tokens, entry '" +
                   it->second->item->name.str() +
                   "' on the same block one of " +
                   Twine(*it->second->cacheTokens))
        .note(it->second->cacheRange, "the other cache is given here");
  }
}

void detail::analyseEntries(SemaModel &model, GlobalEvaluator &evaluator,
                            Diagnostics &diagnostics) {
  llvm::StringMap<SourceRange> names;
  bool any = false;
  for (const ast::ItemPtr &item : model.file->items) {
    const auto *source = dyn_cast<ast::EntryItem>(item.get());
    if (!source)
      continue;
    any = true;
    auto [it, isNew] =
        names.try_emplace(source->name.str(), source->name.range);
    if (!isNew) {
      diagnostics
          .error(DiagId::E208, source->name.range,
                 "entry '" + source->name.str() + "' is declared twice")
          .note(it->second, "the first declaration is here");
      continue;
    }
    if (const SemaModel::Modality *modality =
            model.findModality(source->name.str())) {
      diagnostics
          .error(DiagId::E208, source->name.range,
                 "entry '" + source->name.str() +
                     "' has the name of a modality")
          .note(modality->item->name.range, "the modality is here");
      continue;
    }
    if (std::optional<SemaModel::Entry> entry =
            EntryReader(model, evaluator, *source, diagnostics).read())
      model.entries.push_back(std::move(*entry));
  }
  if (!any)
    diagnostics.error(DiagId::E801, model.file->model.range,
                      "the model has no entry, so nothing of it can be called");
  checkCaches(model, diagnostics);
}
