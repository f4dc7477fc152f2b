//===- Sema.cpp - What the items of a file declare ------------------------===//

#include "frontend/Sema.h"

#include "frontend/SemaOperations.h"
#include "frontend/SpellCheck.h"
#include "frontend/weights/TensorSource.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/SaveAndRestore.h"

#include <limits>

using namespace moec;
using llvm::ArrayRef;
using llvm::cast;
using llvm::dyn_cast;
using llvm::isa;
using llvm::StringRef;
using llvm::Twine;

//===----------------------------------------------------------------------===//
// SemaModel
//===----------------------------------------------------------------------===//

const SemaModel::Constant *SemaModel::findConstant(StringRef name) const {
  auto it = constants.find(name);
  return it == constants.end() ? nullptr : &it->second;
}

const ast::BlockItem *SemaModel::findBlock(StringRef name) const {
  return blocks.lookup(name);
}

const SemaModel::Modality *SemaModel::findModality(StringRef name) const {
  auto it = llvm::find_if(modalities,
                          [&](const Modality &m) { return m.name() == name; });
  return it == modalities.end() ? nullptr : &*it;
}

bool SemaModel::isValueName(StringRef name) const {
  return constants.count(name) || switches.count(name) ||
         plugins.contains(name) || findModality(name);
}

bool moec::isStaticParamType(StringRef name) {
  return name == "index" || name == "bool" || name == "modality";
}

void moec::reportUnknownName(const ast::NameExpr &name,
                             ArrayRef<StringRef> candidates, bool inPlaceholder,
                             Diagnostics &diagnostics) {
  StringRef closest = closestName(name.name, candidates);
  if (inPlaceholder)
    diagnostics
        .error(DiagId::E214, name.range,
               "placeholder '" + name.name + "' names nothing in scope")
        .suggest(name.range, closest);
  else
    diagnostics
        .error(DiagId::E201, name.range, "unknown name '" + name.name + "'")
        .suggest(name.range, closest);
}

void moec::reportUnknownOperation(const ast::CallExpr &call,
                                  const SemaModel &model,
                                  ArrayRef<std::string> routers,
                                  Diagnostics &diagnostics) {
  llvm::SmallVector<StringRef> candidates;
  for (const auto &block : model.blocks)
    candidates.push_back(block.first());
  llvm::sort(candidates); // the order of a hash table is no order
  for (const OperationSpec &operation : builtinOperations())
    candidates.push_back(operation.name);
  candidates.append(routers.begin(), routers.end());
  llvm::append_range(candidates, StaticMath::functionNames());
  StringRef name = call.calleeName();
  SourceRange range = call.callee->range;
  diagnostics.error(DiagId::E202, range, "unknown operation '" + name + "'")
      .suggest(range, closestName(name, candidates));
}

bool moec::bindsName(const ast::Body &body, StringRef name) {
  return llvm::any_of(body, [&](const ast::StmtPtr &stmt) {
    if (const auto *assign = dyn_cast<ast::AssignStmt>(stmt.get()))
      return llvm::any_of(assign->targets, [&](const ast::Name &target) {
        return target.str() == name;
      });
    if (const auto *layers = dyn_cast<ast::LayersStmt>(stmt.get()))
      return bindsName(layers->body, name);
    const auto *when = cast<ast::WhenStmt>(stmt.get());
    return llvm::any_of(when->arms,
                        [&](const ast::WhenStmt::Arm &arm) {
                          return bindsName(arm.body, name);
                        }) ||
           (when->otherwise && bindsName(*when->otherwise, name));
  });
}

//===----------------------------------------------------------------------===//
// Static values of items
//===----------------------------------------------------------------------===//

void detail::GlobalEvaluator::evaluateConstants() {
  for (const ast::ItemPtr &item : model.file->items)
    if (const auto *bindings = dyn_cast<ast::BindingsItem>(item.get()))
      for (const ast::Binding &binding : bindings->bindings)
        if (auto it = model.constants.find(binding.name.str());
            it != model.constants.end() && it->second.binding == &binding)
          evaluateConstant(it->second);
}

/// False while the constant is being evaluated: it depends on itself.
bool detail::GlobalEvaluator::evaluateConstant(SemaModel::Constant &constant) {
  StringRef name = constant.binding->name.str();
  if (done.contains(name))
    return true;
  if (!active.insert(name).second)
    return false;
  const ast::Expr &expr = *constant.binding->value;
  const auto *call = dyn_cast<ast::CallExpr>(&expr);
  if (isa<ast::ByExpr>(expr)) {
    reportNotBuilt(diagnostics, expr.range,
                   "a " + Twine(constant.isDim ? "dim" : "const") +
                       " by modality");
  } else if (!constant.isDim && call &&
             !StaticMath::isFunction(call->calleeName())) {
    constant.isRecord = true;
  } else {
    constant.value = evaluate(expr);
    if (constant.isDim && constant.value &&
        !(constant.value->isInteger() && constant.value->integer > 0)) {
      diagnostics.error(DiagId::E301, expr.range,
                        "dim '" + name +
                            "' must be a positive integer, found " +
                            constant.value->describe());
      constant.value.reset();
    }
  }
  active.erase(name);
  done.insert(name);
  return true;
}

std::optional<StaticValue>
detail::GlobalEvaluator::constant(const ast::NameExpr &name) {
  if (name.name == "true" || name.name == "false")
    return StaticValue::ofBoolean(name.name == "true");
  if (name.name == "inf")
    return StaticValue::ofReal(std::numeric_limits<double>::infinity());
  auto it = model.constants.find(name.name);
  if (it == model.constants.end()) {
    llvm::SmallVector<StringRef> candidates;
    for (const auto &constant : model.constants)
      candidates.push_back(constant.first());
    llvm::sort(candidates);
    reportUnknownName(name, candidates, /*inPlaceholder=*/false, diagnostics);
    return std::nullopt;
  }
  if (!evaluateConstant(it->second)) {
    diagnostics.error(DiagId::E221, name.range,
                      "the value of '" + name.name + "' depends on itself");
    return std::nullopt;
  }
  if (it->second.isRecord)
    diagnostics.error(DiagId::E212, name.range,
                      "expected a number, found the record '" + name.name +
                          "'");
  return it->second.value;
}

std::optional<StaticValue>
detail::GlobalEvaluator::evaluate(const ast::Expr &expr) {
  // Constants refer to each other, so a chain of them can be deeper than any
  // expression.
  if (depth == maxDepth) {
    diagnostics.error(DiagId::E108, expr.range,
                      "the value depends on too long a chain of others");
    return std::nullopt;
  }
  llvm::SaveAndRestore<unsigned> guard(depth, depth + 1);
  switch (expr.getKind()) {
  case ast::ExprKind::Number:
    return math.number(cast<ast::NumberExpr>(expr));
  case ast::ExprKind::Name:
    return constant(cast<ast::NameExpr>(expr));
  case ast::ExprKind::Call:
    return call(cast<ast::CallExpr>(expr));
  case ast::ExprKind::List:
  case ast::ExprKind::Index:
  case ast::ExprKind::Unary:
  case ast::ExprKind::Binary:
  case ast::ExprKind::Range:
  case ast::ExprKind::Conditional:
    return compound(expr);
  default:
    diagnostics.error(DiagId::E212, expr.range,
                      "expected a static value, found " +
                          ast::kindName(expr.getKind()));
    return std::nullopt;
  }
}

std::optional<StaticValue>
detail::GlobalEvaluator::compound(const ast::Expr &expr) {
  if (const auto *list = dyn_cast<ast::ListExpr>(&expr)) {
    StaticValue result;
    result.kind = StaticValue::Kind::List;
    for (const ast::ExprPtr &element : list->elements) {
      std::optional<StaticValue> value = evaluate(*element);
      if (!value)
        return std::nullopt;
      result.elements.push_back(std::move(*value));
    }
    return result;
  }
  if (const auto *conditional = dyn_cast<ast::ConditionalExpr>(&expr)) {
    std::optional<StaticValue> condition = evaluate(*conditional->condition);
    if (!condition)
      return std::nullopt;
    if (condition->kind != StaticValue::Kind::Boolean) {
      diagnostics.error(DiagId::E212, conditional->condition->range,
                        "expected a truth value, found " +
                            condition->describe());
      return std::nullopt;
    }
    return evaluate(condition->integer ? *conditional->value
                                       : *conditional->otherwise);
  }
  const ast::Expr *first = nullptr, *second = nullptr;
  if (const auto *unary = dyn_cast<ast::UnaryExpr>(&expr)) {
    std::optional<StaticValue> operand = evaluate(*unary->operand);
    return operand ? math.unary(unary->op, *operand, expr.range) : std::nullopt;
  }
  if (const auto *binary = dyn_cast<ast::BinaryExpr>(&expr)) {
    first = binary->lhs.get();
    second = binary->rhs.get();
  } else if (const auto *range = dyn_cast<ast::RangeExpr>(&expr)) {
    first = range->first.get();
    second = range->last.get();
  } else {
    const auto &index = cast<ast::IndexExpr>(expr);
    if (index.subscripts.size() != 1 || index.subscripts[0].isSlice) {
      diagnostics.error(DiagId::E212, expr.range,
                        "a list is indexed with one integer");
      return std::nullopt;
    }
    first = index.base.get();
    second = index.subscripts[0].begin.get();
  }
  std::optional<StaticValue> lhs = evaluate(*first);
  const auto *binary = dyn_cast<ast::BinaryExpr>(&expr);
  if (lhs && binary && decides(binary->op, *lhs))
    return lhs;
  std::optional<StaticValue> rhs = evaluate(*second);
  if (!lhs || !rhs)
    return std::nullopt;
  if (binary)
    return math.binary(binary->op, *lhs, *rhs, expr.range);
  if (isa<ast::RangeExpr>(expr))
    return math.range(*lhs, *rhs, expr.range);
  return math.element(*lhs, *rhs, expr.range);
}

std::optional<StaticValue>
detail::GlobalEvaluator::call(const ast::CallExpr &call) {
  StringRef name = call.calleeName();
  if (!StaticMath::isFunction(name)) {
    diagnostics.error(DiagId::E212, call.range,
                      "expected a static value; '" + name +
                          "' is no function of numbers");
    return std::nullopt;
  }
  llvm::SmallVector<StaticValue, 2> arguments;
  for (const ast::CallArgument &argument : call.arguments) {
    std::optional<StaticValue> value = evaluate(*argument.value);
    if (!value)
      return std::nullopt;
    arguments.push_back(std::move(*value));
  }
  return math.call(name, arguments, call.range);
}

std::optional<int64_t> detail::GlobalEvaluator::integer(const ast::Expr &expr,
                                                        StringRef what,
                                                        int64_t least) {
  std::optional<StaticValue> value = evaluate(expr);
  if (!value)
    return std::nullopt;
  if (value->isInteger() && value->integer >= least)
    return value->integer;
  diagnostics.error(DiagId::E301, expr.range,
                    what + " must be an integer of at least " + Twine(least) +
                        ", found " + value->describe());
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Items
//===----------------------------------------------------------------------===//

namespace {
/// Collects the items of a file into a model.
class ItemCollector {
public:
  ItemCollector(SemaModel &model, Diagnostics &diagnostics)
      : model(model), diagnostics(diagnostics) {}

  void run();

private:
  bool declare(llvm::StringMap<SourceRange> &space, const ast::Name &name,
               StringRef what);
  void collect(const ast::Item &item);
  void collectBlock(const ast::BlockItem &item);
  void collectModality(const ast::ModalityItem &item);
  void collectDtype(const ast::DtypeItem &item);
  void checkStorage(const ast::StorageItem &item);

  SemaModel &model;
  Diagnostics &diagnostics;
  llvm::StringMap<SourceRange> values;
  llvm::StringMap<SourceRange> operations;
  const ast::DtypeItem *dtype = nullptr;
};
} // namespace

bool ItemCollector::declare(llvm::StringMap<SourceRange> &space,
                            const ast::Name &name, StringRef what) {
  auto [it, isNew] = space.try_emplace(name.str(), name.range);
  if (!isNew)
    diagnostics
        .error(DiagId::E208, name.range,
               what + " '" + name.str() + "' is declared twice")
        .note(it->second, "the first declaration is here");
  return isNew;
}

void ItemCollector::run() {
  for (const ast::ItemPtr &item : model.file->items)
    collect(*item);
  if (!dtype)
    diagnostics.error(DiagId::E216, model.file->model.range,
                      "the file lacks 'dtype', the type of values between "
                      "operations: 'dtype bf16' or 'dtype f32'");
}

void ItemCollector::collect(const ast::Item &item) {
  switch (item.getKind()) {
  case ast::ItemKind::Weights:
    model.weights.push_back(cast<ast::WeightsItem>(&item));
    break;
  case ast::ItemKind::Storage:
    checkStorage(cast<ast::StorageItem>(item));
    break;
  case ast::ItemKind::Keep: {
    const auto &keep = cast<ast::KeepItem>(item);
    model.keeps.push_back(&keep);
    if (!findDType(keep.dtype.str()))
      diagnostics.error(DiagId::E219, keep.dtype.range,
                        "'" + keep.dtype.str() + "' is no element type");
    break;
  }
  case ast::ItemKind::Ignore:
    for (const ast::PlainText &text : cast<ast::IgnoreItem>(item).patterns)
      model.ignored.push_back(&text);
    break;
  case ast::ItemKind::StopTokens: // the vocabularies are not known yet
    break;
  case ast::ItemKind::Dtype:
    collectDtype(cast<ast::DtypeItem>(item));
    break;
  case ast::ItemKind::Bindings: {
    const auto &bindings = cast<ast::BindingsItem>(item);
    for (const ast::Binding &binding : bindings.bindings)
      if (declare(values, binding.name, bindings.isDim ? "dim" : "const"))
        model.constants[binding.name.str()] = {&binding, bindings.isDim,
                                               std::nullopt, false};
    break;
  }
  case ast::ItemKind::Switch: {
    const auto &theSwitch = cast<ast::SwitchItem>(item);
    if (declare(values, theSwitch.name, "switch"))
      model.switches[theSwitch.name.str()] = &theSwitch;
    break;
  }
  case ast::ItemKind::Modality:
    collectModality(cast<ast::ModalityItem>(item));
    break;
  case ast::ItemKind::Block:
    collectBlock(cast<ast::BlockItem>(item));
    break;
  case ast::ItemKind::Use: // plugins were loaded before
    if (const auto &use = cast<ast::UseItem>(item);
        use.alias && declare(values, *use.alias, "plugin"))
      model.plugins.insert(use.alias->str());
    break;
  case ast::ItemKind::Entry:
    break; // entries are read after all other items
  }
}

void ItemCollector::collectBlock(const ast::BlockItem &item) {
  if (findOperation(item.name.str()) || item.name.str() == "last" ||
      StaticMath::isFunction(item.name.str())) {
    diagnostics.error(DiagId::E208, item.name.range,
                      "block '" + item.name.str() +
                          "' has the name of a built-in operation");
    return;
  }
  if (!declare(operations, item.name, "block"))
    return;
  model.blocks[item.name.str()] = &item;
  llvm::StringMap<SourceRange> params;
  for (const ast::Param &param : item.params) {
    declare(params, param.name, "parameter");
    if (!param.type)
      continue;
    const ast::Type &type = *param.type;
    if (type.kind != ast::TypeKind::Named || !type.dims.empty() ||
        !isStaticParamType(type.name.str()))
      diagnostics.error(DiagId::E211, type.range,
                        "a parameter of a block is a value (no type) or one of "
                        "index, bool, modality");
  }
}

void ItemCollector::collectModality(const ast::ModalityItem &item) {
  if (!declare(values, item.name, "modality"))
    return;
  if (model.modalities.size() == maxModalities)
    reportNotBuilt(diagnostics, item.name.range,
                   "a model with more than " + Twine(maxModalities) +
                       " modalities");
  SemaModel::Modality modality;
  modality.item = &item;
  modality.id = static_cast<int64_t>(model.modalities.size());
  model.modalities.push_back(modality);
}

void ItemCollector::collectDtype(const ast::DtypeItem &item) {
  if (dtype) {
    diagnostics.error(DiagId::E208, item.range, "dtype is given twice")
        .note(dtype->range, "the first is here");
    return;
  }
  dtype = &item;
  StringRef name = item.dtype.str();
  if (name == "f32" || name == "bf16" || name == "f16") {
    model.dtype = name.str();
    return;
  }
  StringRef known[] = {"f32", "bf16", "f16"};
  diagnostics
      .error(DiagId::E219, item.dtype.range,
             "values are computed in f32, bf16 or f16, found '" + name + "'")
      .suggest(item.dtype.range, closestName(name, known));
}

void ItemCollector::checkStorage(const ast::StorageItem &item) {
  const auto *call = dyn_cast<ast::CallExpr>(item.format.get());
  const auto *name = dyn_cast<ast::NameExpr>(item.format.get());
  StringRef format = call   ? call->calleeName()
                     : name ? StringRef(name->name)
                            : StringRef();
  if (format == "plain" && (!call || call->arguments.empty()))
    return;
  reportNotBuilt(diagnostics, item.format->range, "storage '" + format + "'");
}

/// Reads `token[n]`, `u8[28, 28, 1]` or `f32[49, 64]`.
static void analyseRawType(SemaModel::Modality &modality,
                           detail::GlobalEvaluator &evaluator,
                           Diagnostics &diagnostics) {
  const ast::ModalityItem &item = *modality.item;
  if (item.params.size() != 1) {
    diagnostics.error(DiagId::E507, item.name.range,
                      "a modality has one raw input, found " +
                          Twine(item.params.size()));
    return;
  }
  const ast::Param &param = item.params.front();
  const ast::Type *type = param.type ? &*param.type : nullptr;
  StringRef name = type && type->kind == ast::TypeKind::Named ? type->name.str()
                                                              : StringRef();
  SourceRange where = type ? type->range : param.name.range;
  if ((name != "token" && name != "u8" && name != "f32") ||
      type->dims.empty() || (name == "token" && type->dims.size() != 1)) {
    diagnostics.error(DiagId::E507, where,
                      "a raw input is token[n], or u8 or f32 with sizes, such "
                      "as u8[28, 28, 1]");
    return;
  }
  int64_t elements = 1;
  for (const ast::ExprPtr &dim : type->dims) {
    std::optional<int64_t> size =
        evaluator.integer(*dim, "a size of a raw input");
    if (!size)
      return;
    if (llvm::MulOverflow(elements, *size, elements) ||
        elements > std::numeric_limits<int32_t>::max()) {
      diagnostics.error(DiagId::E307, where, "the raw input is too large");
      return;
    }
    modality.dims.push_back(*size);
  }
  modality.isToken = name == "token";
  modality.isUnsigned8 = name == "u8";
  if (modality.isToken)
    modality.vocab = modality.dims.front();
  modality.valid = true;
}

/// Every id is a token of some modality, and stands once.
static void analyseStopTokens(SemaModel &model, Diagnostics &diagnostics) {
  int64_t vocab = 0;
  for (const SemaModel::Modality &modality : model.modalities) {
    if (!modality.valid)
      return; // reported, and its vocabulary is not known
    if (modality.isToken)
      vocab = std::max(vocab, modality.vocab);
  }
  for (const ast::ItemPtr &item : model.file->items) {
    const auto *stop = dyn_cast<ast::StopTokensItem>(item.get());
    if (!stop)
      continue;
    for (const ast::ExprPtr &expr : stop->ids) {
      const auto &number = cast<ast::NumberExpr>(*expr);
      std::optional<int64_t> id = number.asInteger();
      if (!id || *id >= vocab)
        diagnostics.error(DiagId::E224, number.range,
                          "expected the id of a token, an integer below " +
                              Twine(vocab) + ", found " + number.spelling);
      else if (llvm::is_contained(model.stopTokens, *id))
        diagnostics.error(DiagId::E224, number.range,
                          "stop token " + Twine(*id) + " is given twice");
      else
        model.stopTokens.push_back(*id);
    }
  }
}

SemaModel moec::analyseModel(const ast::File &file,
                             ArrayRef<std::string> routers,
                             Diagnostics &diagnostics) {
  SemaModel model;
  model.file = &file;
  ItemCollector(model, diagnostics).run();
  detail::GlobalEvaluator evaluator(model, diagnostics);
  evaluator.evaluateConstants();
  for (SemaModel::Modality &modality : model.modalities)
    analyseRawType(modality, evaluator, diagnostics);
  analyseStopTokens(model, diagnostics);
  detail::analyseEntries(model, evaluator, diagnostics);
  detail::checkNames(model, routers, diagnostics);
  return model;
}
