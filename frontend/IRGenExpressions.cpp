//===- IRGenExpressions.cpp - Expressions of any kind ---------------------===//

#include "frontend/IRGenExpander.h"

#include "frontend/SpellCheck.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/SaveAndRestore.h"

#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::irgen;

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

Operand Operand::ofStatic(std::optional<StaticValue> value) {
  Operand operand;
  if (value) {
    operand.kind = OperandKind::Static;
    operand.constant = std::move(*value);
  }
  return operand;
}

Operand Operand::ofValue(Value value, int64_t rows) {
  Operand operand;
  if (value) {
    operand.kind = OperandKind::Value;
    operand.value = value;
    operand.rows = rows;
  }
  return operand;
}

Operand Operand::ofWeight(WeightMap map) {
  Operand operand;
  operand.kind = OperandKind::Weight;
  operand.map = std::make_shared<WeightMap>(std::move(map));
  return operand;
}

std::string Operand::describe() const {
  switch (kind) {
  case OperandKind::Invalid:
    return "an error";
  case OperandKind::Static:
    return constant.describe();
  case OperandKind::Weight:
    return map->bias ? "a map with a bias" : "a weight";
  case OperandKind::Value:
    return "a value";
  case OperandKind::Ids:
    return "token ids";
  case OperandKind::Raw:
    return "a raw input";
  case OperandKind::Routing:
    return "a routing";
  case OperandKind::Zero:
    return "'zero'";
  case OperandKind::Several:
    return std::to_string(several.size()) + " values";
  }
  return "";
}

//===----------------------------------------------------------------------===//
// Limits
//===----------------------------------------------------------------------===//

bool Expander::spend(uint64_t cost) {
  if (exhausted)
    return false;
  spent += cost;
  if (spent < options.maxSteps)
    return true;
  exhausted = true;
  diagnostics.error(DiagId::E223, model.file->model.range,
                    "the expanded model takes more than " +
                        Twine(options.maxSteps) + " steps");
  return false;
}

//===----------------------------------------------------------------------===//
// Expressions
//===----------------------------------------------------------------------===//

Operand Expander::evaluate(const ast::Expr &expr) {
  if (!spend() || stopped())
    return Operand();
  if (depth == maxDepth) {
    diagnostics.error(DiagId::E108, expr.range,
                      "blocks and expressions are nested too deeply here");
    return Operand();
  }
  llvm::SaveAndRestore<unsigned> guard(depth, depth + 1);
  switch (expr.getKind()) {
  case ast::ExprKind::Number:
    return Operand::ofStatic(math.number(cast<ast::NumberExpr>(expr)));
  case ast::ExprKind::String:
    return weightName(cast<ast::StringExpr>(expr), "");
  case ast::ExprKind::Name:
    return evaluateName(cast<ast::NameExpr>(expr));
  case ast::ExprKind::List:
    return evaluateList(cast<ast::ListExpr>(expr));
  case ast::ExprKind::Call:
    return evaluateCall(cast<ast::CallExpr>(expr));
  case ast::ExprKind::Index:
    return evaluateIndex(cast<ast::IndexExpr>(expr));
  case ast::ExprKind::Member:
    return evaluateMember(cast<ast::MemberExpr>(expr));
  case ast::ExprKind::Unary:
    return evaluateUnary(cast<ast::UnaryExpr>(expr));
  case ast::ExprKind::Binary:
    return evaluateBinary(cast<ast::BinaryExpr>(expr));
  case ast::ExprKind::Range:
    return evaluateRange(cast<ast::RangeExpr>(expr));
  case ast::ExprKind::Conditional: {
    const auto &conditional = cast<ast::ConditionalExpr>(expr);
    std::optional<bool> holds = condition(*conditional.condition);
    if (!holds)
      return Operand();
    return evaluate(*holds ? *conditional.value : *conditional.otherwise);
  }
  case ast::ExprKind::Family:
    return evaluateFamily(cast<ast::FamilyExpr>(expr));
  case ast::ExprKind::By:
    return evaluateBy(cast<ast::ByExpr>(expr));
  }
  return Operand();
}

std::optional<StaticValue> Expander::evaluateStatic(const ast::Expr &expr,
                                                    StringRef what) {
  Operand operand = evaluate(expr);
  if (operand.is(OperandKind::Static))
    return std::move(operand.constant);
  if (operand)
    diagnostics.error(DiagId::E212, expr.range,
                      what +
                          " must be known when the model is compiled, "
                          "found " +
                          operand.describe());
  return std::nullopt;
}

std::optional<int64_t> Expander::evaluateInteger(const ast::Expr &expr,
                                                 StringRef what) {
  std::optional<StaticValue> value = evaluateStatic(expr, what);
  if (!value)
    return std::nullopt;
  if (value->isInteger())
    return value->integer;
  diagnostics.error(DiagId::E212, expr.range,
                    what + " must be an integer, found " + value->describe());
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

Operand Expander::evaluateName(const ast::NameExpr &name) {
  if (auto it = frame->names.find(name.name); it != frame->names.end())
    return it->second.operand;
  if (const SemaModel::Constant *constant = model.findConstant(name.name)) {
    if (constant->isRecord)
      diagnostics.error(DiagId::E206, name.range,
                        "the record '" + name.name +
                            "' has no value of its own");
    return Operand::ofStatic(constant->value);
  }
  if (const SemaModel::Modality *modality = model.findModality(name.name))
    return Operand::ofStatic(StaticValue::ofModality(modality->id));
  if (name.name == "true" || name.name == "false")
    return Operand::ofStatic(StaticValue::ofBoolean(name.name == "true"));
  if (name.name == "inf")
    return Operand::ofStatic(
        StaticValue::ofReal(std::numeric_limits<double>::infinity()));
  if (name.name == "zero") {
    Operand zero;
    zero.kind = OperandKind::Zero;
    return zero;
  }
  reportUnbound(name);
  return Operand();
}

void Expander::reportUnbound(const ast::NameExpr &name) {
  if (frame->block && bindsName(frame->block->body, name.name)) {
    if (isCarried(name.name))
      diagnostics.error(DiagId::E701, name.range,
                        "carried '" + name.name +
                            "' has no value yet in the first layer");
    else if (fn->layer >= 0 && name.range.isValid() &&
             !unboundNames.insert(name.range.begin).second)
      return; // one message for all layers
    else if (fn->layer >= 0)
      diagnostics.error(DiagId::E702, name.range,
                        "'" + name.name + "' has no value in layer " +
                            Twine(fn->layer));
    else
      diagnostics
          .error(DiagId::E702, name.range,
                 "'" + name.name + "' has no value here")
          .hint(name.range, "a name that is bound in a layer and not carried "
                            "ends with the layer");
    return;
  }
  SmallVector<StringRef> candidates;
  for (const auto &bound : frame->names)
    candidates.push_back(bound.first());
  for (const auto &constant : model.constants)
    candidates.push_back(constant.first());
  llvm::sort(candidates);
  reportUnknownName(name, candidates, inPlaceholder, diagnostics);
}

//===----------------------------------------------------------------------===//
// Static expressions
//===----------------------------------------------------------------------===//

Operand Expander::evaluateList(const ast::ListExpr &list) {
  StaticValue result;
  result.kind = StaticValue::Kind::List;
  for (const ast::ExprPtr &element : list.elements) {
    std::optional<StaticValue> value =
        evaluateStatic(*element, "an element of a list");
    if (!value)
      return Operand();
    result.elements.push_back(std::move(*value));
  }
  return Operand::ofStatic(std::move(result));
}

Operand Expander::evaluateRange(const ast::RangeExpr &range) {
  std::optional<StaticValue> first =
      evaluateStatic(*range.first, "the start of a range");
  std::optional<StaticValue> last =
      evaluateStatic(*range.last, "the end of a range");
  if (!first || !last)
    return Operand();
  return Operand::ofStatic(math.range(*first, *last, range.range));
}

Operand Expander::evaluateFunction(const ast::CallExpr &call) {
  SmallVector<StaticValue, 2> arguments;
  for (const ast::CallArgument &argument : call.arguments) {
    std::optional<StaticValue> value = evaluateStatic(
        *argument.value, ("the argument of " + call.calleeName() + "()").str());
    if (!value)
      return Operand();
    arguments.push_back(std::move(*value));
  }
  return Operand::ofStatic(math.call(call.calleeName(), arguments, call.range));
}

Operand Expander::evaluateUnary(const ast::UnaryExpr &unary) {
  Operand operand = evaluate(*unary.operand);
  if (operand.is(OperandKind::Static))
    return Operand::ofStatic(
        math.unary(unary.op, operand.constant, unary.range));
  if (!operand)
    return operand;
  if (operand.is(OperandKind::Value) && unary.op == ast::UnaryOp::Negate)
    return negate(operand, unary.range);
  diagnostics.error(DiagId::E206, unary.range,
                    (unary.op == ast::UnaryOp::Not ? "expected a truth value "
                                                     "after 'not', found "
                                                   : "expected a number or a "
                                                     "value after '-', "
                                                     "found ") +
                        operand.describe());
  return Operand();
}

Operand Expander::evaluateBinary(const ast::BinaryExpr &binary) {
  Operand lhs = evaluate(*binary.lhs);
  if (lhs.is(OperandKind::Static) && decides(binary.op, lhs.constant))
    return lhs;
  Operand rhs = evaluate(*binary.rhs);
  if (!lhs || !rhs)
    return Operand();
  if (lhs.is(OperandKind::Static) && rhs.is(OperandKind::Static))
    return Operand::ofStatic(math.binary(binary.op, lhs.constant, rhs.constant,
                                         binary.range, inPlaceholder));
  if (binary.op == ast::BinaryOp::Add &&
      (lhs.is(OperandKind::Weight) || rhs.is(OperandKind::Weight)))
    return addWeights(binary, lhs, rhs);
  if (binary.op == ast::BinaryOp::Add || binary.op == ast::BinaryOp::Subtract) {
    if (rhs.is(OperandKind::Zero) && lhs.is(OperandKind::Value))
      return lhs;
    if (lhs.is(OperandKind::Zero) && rhs.is(OperandKind::Value) &&
        binary.op == ast::BinaryOp::Add)
      return rhs;
  }
  return elementwise(binary, std::move(lhs), std::move(rhs));
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

Operand Expander::evaluateCall(const ast::CallExpr &call) {
  if (const auto *member = dyn_cast<ast::MemberExpr>(call.callee.get())) {
    const auto *base = dyn_cast<ast::NameExpr>(member->base.get());
    if (!base || !catalog.hasAlias(base->name))
      return evaluateView(call, *member);
    SmallVector<const Router *, 1> routers =
        catalog.findRouters(member->member.str(), base->name);
    if (routers.size() == 1)
      return buildRouter(*routers.front(), call);
    diagnostics.error(DiagId::E202, member->member.range,
                      "plugin '" + base->name + "' has no router '" +
                          member->member.str() + "'");
    return Operand();
  }
  if (const ast::BlockItem *block = model.findBlock(call.calleeName()))
    return callBlock(*block, call);
  return evaluateOperation(call);
}

Operand Expander::evaluateOperation(const ast::CallExpr &call) {
  StringRef name = call.calleeName();
  const OperationSpec *operation = findOperation(name);
  if (!operation) {
    if (StaticMath::isFunction(name))
      return evaluateFunction(call);
    SmallVector<const Router *, 1> routers = catalog.findRouters(name, "");
    if (routers.size() == 1)
      return buildRouter(*routers.front(), call);
    if (routers.empty())
      reportUnknownOperation(call, model, catalog.routerSpellings(),
                             diagnostics);
    else
      diagnostics.error(DiagId::E904, call.callee->range,
                        "two plugins provide a router '" + name + "'");
    return Operand();
  }
  if (!operation->built) {
    notBuilt(call.callee->range, "'" + name + "'");
    return Operand();
  }
  if (operation->isExpertOnly) {
    diagnostics.error(DiagId::E206, call.range,
                      "'" + name +
                          "' stands only as an expert, such as 'for e "
                          "in 8..12: " +
                          name + "()'");
    return Operand();
  }
  std::optional<BoundCall> bound =
      bindCall(call, *operation, FirstOperand::Written, diagnostics);
  if (!bound)
    return Operand();
  if (differsByModality(*bound))
    return evaluateByModality(call);
  OperationBuilder build =
      llvm::StringSwitch<OperationBuilder>(name)
          .Case("embed", &Expander::buildEmbed)
          .Case("patches", &Expander::buildPatches)
          .Case("add_positions", &Expander::buildAddPositions)
          .Case("linear", &Expander::buildLinear)
          .Cases({"rms_norm", "layer_norm"}, &Expander::buildNorm)
          .Case("attention", &Expander::buildAttention)
          .Case("mla", &Expander::buildMla)
          .Case("glu", &Expander::buildFeedForward)
          .Case("mlp", &Expander::buildFeedForward)
          .Case("softcap", &Expander::buildSoftcap)
          .Case("route", &Expander::buildRoute)
          .Case("experts", &Expander::buildExperts)
          .Default(&Expander::buildActivationMap);
  return (this->*build)(*bound);
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

/// The text of a name with its placeholders put in.
std::optional<std::string> Expander::text(const ast::StringExpr &string) {
  llvm::SaveAndRestore<bool> guard(inPlaceholder, true);
  std::string result;
  for (const ast::StringExpr::Part &part : string.parts) {
    if (!part.placeholder) {
      result += part.literal;
      continue;
    }
    std::optional<StaticValue> value =
        evaluateStatic(*part.placeholder, "a placeholder");
    if (!value)
      return std::nullopt;
    if (value->kind == StaticValue::Kind::Modality) {
      result += model.modalities[value->integer].name();
    } else if (value->isInteger()) {
      result += std::to_string(value->integer);
    } else {
      diagnostics.error(DiagId::E212, part.range,
                        "a placeholder must be an integer or a modality, "
                        "found " +
                            value->describe());
      return std::nullopt;
    }
  }
  return result;
}

Operand Expander::weightName(const ast::StringExpr &string, StringRef alias) {
  std::optional<std::string> name = text(string);
  if (!name)
    return Operand();
  WeightMap map;
  StringRef full = *name;
  map.weight.name =
      full.consume_front("/") ? full.str() : frame->prefix + *name;
  map.weight.alias = alias.str();
  map.weight.range = string.range;
  return Operand::ofWeight(std::move(map));
}

/// `"w" + "b"` is a map with a bias, `1 + "w"` a weight stored as an offset.
Operand Expander::addWeights(const ast::BinaryExpr &binary, const Operand &lhs,
                             const Operand &rhs) {
  bool both = lhs.is(OperandKind::Weight) && rhs.is(OperandKind::Weight);
  const Operand &weight = lhs.is(OperandKind::Weight) ? lhs : rhs;
  const Operand &other = lhs.is(OperandKind::Weight) ? rhs : lhs;
  if (other.is(OperandKind::Value))
    return elementwise(binary, lhs, rhs);
  if (both && !lhs.map->bias && !rhs.map->bias && !rhs.map->weight.offset) {
    WeightMap map = *lhs.map;
    map.bias = rhs.map->weight;
    return Operand::ofWeight(std::move(map));
  }
  if (!both && other.is(OperandKind::Static) && other.constant.isNumber() &&
      !weight.map->bias && !weight.map->weight.offset) {
    WeightMap map = *weight.map;
    map.weight.offset = other.constant.asReal();
    map.weight.range = binary.range;
    return Operand::ofWeight(std::move(map));
  }
  diagnostics.error(
      DiagId::E206, binary.range,
      "'+' joins a weight with a bias, a number or a value, found " +
          lhs.describe() + " and " + rhs.describe());
  return Operand();
}

Operand Expander::evaluateIndex(const ast::IndexExpr &index) {
  if (const auto *name = dyn_cast<ast::NameExpr>(index.base.get()))
    for (const ast::WeightsItem *item : model.weights)
      if (item->alias && item->alias->str() == name->name &&
          !frame->names.contains(name->name)) {
        const auto *string =
            index.subscripts.size() == 1 && !index.subscripts[0].isSlice
                ? dyn_cast<ast::StringExpr>(index.subscripts[0].begin.get())
                : nullptr;
        if (string)
          return weightName(*string, name->name);
        diagnostics.error(DiagId::E206, index.range,
                          "expected a tensor name after the weights alias '" +
                              name->name + "'");
        return Operand();
      }
  if (const auto *name = dyn_cast<ast::NameExpr>(index.base.get());
      name && index.subscripts.size() == 1 &&
      isa_and_nonnull<ast::StringExpr>(index.subscripts[0].begin.get()) &&
      !frame->names.contains(name->name) && !model.findConstant(name->name)) {
    SmallVector<StringRef> aliases;
    for (const ast::WeightsItem *item : model.weights)
      if (item->alias)
        aliases.push_back(item->alias->str());
    diagnostics
        .error(DiagId::E614, name->range,
               "no 'weights' item has the alias '" + name->name + "'")
        .suggest(name->range, closestName(name->name, aliases));
    return Operand();
  }
  Operand base = evaluate(*index.base);
  if (!base)
    return base;
  if (base.is(OperandKind::Weight))
    return evaluateSlice(std::move(base), index);
  if (!base.is(OperandKind::Static) || index.subscripts.size() != 1 ||
      index.subscripts[0].isSlice) {
    diagnostics.error(DiagId::E206, index.range,
                      "only weights and lists have subscripts, found " +
                          base.describe());
    return Operand();
  }
  std::optional<StaticValue> at =
      evaluateStatic(*index.subscripts[0].begin, "an index");
  if (!at)
    return Operand();
  return Operand::ofStatic(math.element(base.constant, *at, index.range));
}

/// The range of the view alone: from the end of what it is a view of.
static SourceRange viewRange(SourceRange base, SourceRange whole) {
  if (base.isValid() && base.file == whole.file && base.end <= whole.end)
    return {whole.file, base.end, whole.end};
  return whole;
}

Operand Expander::evaluateSlice(Operand base, const ast::IndexExpr &index) {
  WeightMap map = *base.map;
  if (map.bias || map.weight.offset) {
    diagnostics.error(DiagId::E206, index.range,
                      "a view is of a named tensor, found " + base.describe());
    return Operand();
  }
  WeightView view;
  view.kind = WeightView::Kind::Slice;
  view.range = viewRange(index.base->range, index.range);
  llvm::SaveAndRestore<bool> guard(inPlaceholder, false);
  for (const ast::Subscript &subscript : index.subscripts) {
    WeightView::Dim dim;
    dim.isIndex = !subscript.isSlice;
    auto read = [&](const ast::ExprPtr &part, int64_t &into) {
      if (!part)
        return true;
      std::optional<int64_t> value = evaluateInteger(*part, "a subscript");
      into = value.value_or(0);
      return value.has_value();
    };
    int64_t end = 0;
    if (!read(subscript.begin, dim.begin) || !read(subscript.end, end) ||
        !read(subscript.step, dim.step))
      return Operand();
    if (subscript.end)
      dim.end = end;
    view.dims.push_back(dim);
  }
  map.weight.views.push_back(std::move(view));
  map.weight.range = index.range;
  return Operand::ofWeight(std::move(map));
}

Operand Expander::evaluateView(const ast::CallExpr &call,
                               const ast::MemberExpr &member) {
  Operand base = evaluate(*member.base);
  if (!base)
    return base;
  if (!base.is(OperandKind::Weight) || base.map->bias ||
      base.map->weight.offset || member.member.str() != "view") {
    diagnostics.error(DiagId::E206, call.range,
                      "'." + member.member.str() + "(...)' of " +
                          base.describe() +
                          " is nothing; named tensors have '.view(sizes)'");
    return Operand();
  }
  WeightMap map = *base.map;
  WeightView view;
  view.kind = WeightView::Kind::Reshape;
  view.range = viewRange(member.base->range, call.range);
  for (const ast::CallArgument &argument : call.arguments) {
    std::optional<int64_t> value =
        evaluateInteger(*argument.value, "a size of '.view'");
    if (!value)
      return Operand();
    if (argument.name || *value < 1) {
      diagnostics.error(DiagId::E301, argument.range,
                        "'.view' takes positive sizes without names");
      return Operand();
    }
    view.shape.push_back(*value);
  }
  map.weight.views.push_back(std::move(view));
  map.weight.range = call.range;
  return Operand::ofWeight(std::move(map));
}

Operand Expander::evaluateMember(const ast::MemberExpr &member) {
  const auto *name = dyn_cast<ast::NameExpr>(member.base.get());
  const SemaModel::Modality *modality =
      name && !frame->names.contains(name->name)
          ? model.findModality(name->name)
          : nullptr;
  if (modality) {
    if (!modality->valid)
      return Operand();
    if (!modality->isToken || modality->param() != member.member.str() ||
        fn->expression || fn->present.size() != 1 ||
        fn->present.front() != modality->id) {
      diagnostics
          .error(DiagId::E504, member.range,
                 "'" + name->name + "." + member.member.str() +
                     "' is no raw input that exists here")
          .hint(member.range, "it exists where all tokens are of modality '" +
                                  name->name + "', which takes ids '" +
                                  modality->param() + "'");
      return Operand();
    }
    Operand ids;
    ids.kind = OperandKind::Ids;
    ids.value = fn->tokens;
    ids.modality = modality;
    return ids;
  }
  Operand base = evaluate(*member.base);
  if (!base)
    return base;
  if (!base.is(OperandKind::Weight) || base.map->bias ||
      base.map->weight.offset || member.member.str() != "T") {
    diagnostics.error(DiagId::E206, member.range,
                      "'." + member.member.str() + "' of " + base.describe() +
                          " is nothing; named tensors have '.T'");
    return Operand();
  }
  WeightMap map = *base.map;
  WeightView view;
  view.kind = WeightView::Kind::Transpose;
  view.range = viewRange(member.base->range, member.range);
  map.weight.views.push_back(std::move(view));
  map.weight.range = member.range;
  return Operand::ofWeight(std::move(map));
}
