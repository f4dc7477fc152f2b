//===- IRGenRouting.cpp - route() and routers of plugins ------------------===//

#include "frontend/IRGenExpander.h"

#include "dialects/moe/MoeDialect.h"
#include "dialects/nn/NnDialect.h"
#include "frontend/SpellCheck.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"

#include <cmath>

using namespace mlir;
using namespace moec;
using namespace moec::irgen;

/// The value of one stage argument: the stage, its static arguments, and the
/// operand it reads, if any.
struct Expander::StageChoice {
  const Stage *stage = nullptr;
  SmallVector<NamedStatic, 2> statics;
  const ast::Expr *operand = nullptr;
  SourceRange range;
};

/// The stages of a route() in the order in which they act.
struct Expander::StageList {
  SmallVector<StageChoice, 6> choices;
  SmallVector<RoutingStageAttrInterface, 6> attributes;
};

static const StageKind stageOrder[] = {
    StageKind::Score, StageKind::Rank,   StageKind::Groups, StageKind::Select,
    StageKind::Weigh, StageKind::Renorm, StageKind::Scale,  StageKind::Skip};

/// Stages that need not be written.
static bool isOptional(StageKind kind) {
  return kind == StageKind::Groups || kind == StageKind::Skip;
}

/// Stages that do not see the experts that are always selected.
static bool seesSelectableOnly(StageKind kind) {
  return kind == StageKind::Rank || kind == StageKind::Groups ||
         kind == StageKind::Select;
}

//===----------------------------------------------------------------------===//
// Presence and order
//===----------------------------------------------------------------------===//

bool Expander::checkStageOrder(const ast::CallExpr &call) {
  static const StringRef order[] = {"pool",   "always", "score",   "rank",
                                    "groups", "select", "weigh",   "renorm",
                                    "scale",  "skip",   "capacity"};
  const ast::CallArgument *latest = nullptr;
  size_t latestRank = 0;
  for (const ast::CallArgument &argument : call.arguments) {
    if (!argument.name)
      continue;
    const auto *at = llvm::find(order, argument.name->str());
    size_t rank = at - std::begin(order);
    if (at == std::end(order))
      continue;
    if (latest && rank < latestRank) {
      diagnostics
          .error(DiagId::E401, argument.name->range,
                 "stage '" + argument.name->str() + "' stands after '" +
                     latest->name->str() + "', but acts before it")
          .note(latest->name->range, "'" + latest->name->str() + "' is here");
      return false;
    }
    latest = &argument;
    latestRank = rank;
  }
  return true;
}

/// "'renorm = none' or 'renorm = sum'".
static std::string offer(StringRef stage, ArrayRef<StringRef> spellings) {
  std::string text;
  for (auto [i, spelling] : llvm::enumerate(spellings)) {
    if (i != 0)
      text += i + 1 == spellings.size() ? " or " : ", ";
    text += ("'" + stage + " = " + spelling + "'").str();
  }
  return text;
}

bool Expander::reportMissingStages(const BoundCall &call) {
  bool missing = false;
  const ast::CallArgument *before = call.find("logits");
  for (StageKind kind : stageOrder) {
    StringRef name = stringifyStageKind(kind);
    if (const ast::CallArgument *argument = call.find(name)) {
      before = argument;
      continue;
    }
    if (isOptional(kind))
      continue;
    missing = true;
    SourceRange place = before->range;
    std::string advice = "add " + offer(name, catalog.plainSpellings(kind));
    if (kind == StageKind::Scale)
      advice = "add 'scale = 1' or another factor";
    if (before->name)
      advice += (" after '" + before->name->str() + "'").str();
    const ast::Expr *score = call.get("score"), *select = call.get("select");
    const auto *scoreName = dyn_cast_or_null<ast::NameExpr>(score);
    if (kind == StageKind::Renorm && select && scoreName &&
        scoreName->name == "softmax")
      advice += ("; for " + diagnostics.sourceManager().text(select->range) +
                 " of a softmax they give different models")
                    .str();
    diagnostics
        .error(DiagId::E402, call.call.callee->range,
               "route() lacks stage '" + name + "'")
        .hint(place, advice);
  }
  return missing;
}

//===----------------------------------------------------------------------===//
// One stage
//===----------------------------------------------------------------------===//

/// Stage values of the language that no dialect provides yet.
static bool isKnownStage(StageKind kind, StringRef spelling) {
  return kind == StageKind::Select &&
         (spelling == "hash" || spelling == "grouped_top");
}

static bool isLogitsCall(const ast::CallExpr &call) {
  if (call.arguments.size() != 1 || call.arguments[0].name)
    return false;
  const auto *name = dyn_cast<ast::NameExpr>(call.arguments[0].value.get());
  return name && name->name == "logits";
}

bool Expander::pickStage(StageKind kind, StringRef spelling,
                         StageChoice &choice) {
  SmallVector<const Stage *, 1> found = catalog.findStages(kind, spelling);
  StringRef kindName = stringifyStageKind(kind);
  if (found.size() == 1) {
    choice.stage = found.front();
    return true;
  }
  if (!found.empty()) {
    diagnostics.error(DiagId::E904, choice.range,
                      "two dialects provide a stage '" + kindName + " = " +
                          spelling + "'");
  } else if (isKnownStage(kind, spelling)) {
    notBuilt(choice.range, "'" + kindName + " = " + spelling + "'");
  } else {
    SmallVector<StringRef> known = catalog.stageSpellings(kind);
    diagnostics
        .error(DiagId::E403, choice.range,
               "'" + kindName + "' takes one of " + llvm::join(known, ", "))
        .suggest(choice.range, closestName(spelling, known));
  }
  return false;
}

/// `rank = score + "bias"`, or another sum that is a value.
bool Expander::readRankSum(const ast::BinaryExpr &sum, StageChoice &choice) {
  auto isScore = [](const ast::Expr &expr) {
    const auto *name = dyn_cast<ast::NameExpr>(&expr);
    return name && name->name == "score";
  };
  bool left = isScore(*sum.lhs), right = isScore(*sum.rhs);
  if (sum.op != ast::BinaryOp::Add || left == right) {
    choice.operand = &sum;
    return pickStage(StageKind::Rank, "a value", choice);
  }
  choice.operand = left ? sum.rhs.get() : sum.lhs.get();
  return pickStage(StageKind::Rank, "score + bias", choice);
}

Attribute Expander::staticAttribute(const Argument &argument,
                                    const ast::Expr &expr,
                                    const OperationSpec &operation) {
  std::string what =
      ("'" + argument.name + "' of " + operation.name + "()").str();
  if (argument.kind == ArgumentKind::Word) {
    const ast::Expr *picked = choice(&expr);
    const auto *name = dyn_cast_or_null<ast::NameExpr>(picked);
    // Some are no names: -inf, 0.
    StringRef text =
        picked ? diagnostics.sourceManager().text(picked->range) : "";
    if (llvm::is_contained(argument.words, text))
      return builder.getStringAttr(text);
    if (picked)
      diagnostics
          .error(DiagId::E211, expr.range,
                 what + " takes one of " + llvm::join(argument.words, ", "))
          .suggest(expr.range,
                   name ? closestName(name->name, argument.words) : "");
    return {};
  }
  std::optional<StaticValue> value = evaluateStatic(expr, what);
  if (!value)
    return {};
  if (argument.kind == ArgumentKind::Integer && value->isInteger())
    return builder.getI64IntegerAttr(value->integer);
  if (argument.kind == ArgumentKind::Real && value->isNumber())
    return builder.getF64FloatAttr(value->asReal());
  if (argument.kind == ArgumentKind::Boolean &&
      value->kind == StaticValue::Kind::Boolean)
    return builder.getBoolAttr(value->integer);
  diagnostics.error(DiagId::E212, expr.range,
                    what + " must be " +
                        (argument.kind == ArgumentKind::Integer ? "an integer"
                         : argument.kind == ArgumentKind::Real
                             ? "a number"
                             : "a truth value") +
                        ", found " + value->describe());
  return {};
}

/// Reads a stage written as a call or, without arguments, as a word.
bool Expander::readStageArguments(const ast::CallExpr *call,
                                  StageChoice &choice) {
  const Stage &stage = *choice.stage;
  if (!call) {
    for (const Argument &argument : stage.entry.signature.arguments)
      if (argument.mandatory && !choice.operand) {
        diagnostics.error(DiagId::E204, choice.range,
                          stage.entry.spelling + " lacks '" + argument.name +
                              "'");
        return false;
      }
    return true;
  }
  std::optional<BoundCall> bound =
      bindCall(*call, stage.operation, FirstOperand::Written, diagnostics);
  if (!bound)
    return false;
  for (const Argument &argument : stage.entry.signature.arguments) {
    const ast::Expr *expr = bound->get(argument.name);
    if (!expr)
      continue;
    if (argument.kind == ArgumentKind::Weight ||
        argument.kind == ArgumentKind::Value) {
      choice.operand = expr;
      continue;
    }
    Attribute value = staticAttribute(argument, *expr, stage.operation);
    if (!value)
      return false;
    choice.statics.push_back({argument.name, value});
  }
  return true;
}

/// A factor, factors, or `weigh = 1`.
bool Expander::readNumberStage(const ast::Expr &expr, StageKind kind,
                               StageChoice &choice) {
  Operand operand = evaluate(expr);
  if (kind == StageKind::Scale &&
      (operand.is(OperandKind::Weight) || operand.is(OperandKind::Value))) {
    choice.operand = &expr;
    return pickStage(kind, "a weight", choice);
  }
  bool isNumber =
      operand.is(OperandKind::Static) && operand.constant.isNumber();
  if (isNumber && kind == StageKind::Scale) {
    if (!pickStage(kind, "number", choice))
      return false;
    choice.statics.push_back(
        {"value", builder.getF64FloatAttr(operand.constant.asReal())});
    return true;
  }
  if (isNumber && kind == StageKind::Weigh && operand.constant.asReal() == 1.0)
    return pickStage(kind, "one", choice);
  if (operand.is(OperandKind::Value)) {
    notBuilt(expr.range, "a value as '" + stringifyStageKind(kind) + "'");
    return false;
  }
  if (operand)
    diagnostics.error(DiagId::E403, expr.range,
                      "'" + stringifyStageKind(kind) + "' cannot be " +
                          operand.describe());
  return false;
}

bool Expander::readStage(const BoundCall &call, StageKind kind,
                         StageChoice &choice) {
  const ast::Expr *expr = this->choice(call.get(stringifyStageKind(kind)));
  if (!expr)
    return false;
  choice.range = expr->range;
  if (const auto *sum = dyn_cast<ast::BinaryExpr>(expr);
      sum && kind == StageKind::Rank)
    return readRankSum(*sum, choice);
  const auto *name = dyn_cast<ast::NameExpr>(expr);
  if (name && kind == StageKind::Scale)
    name = catalog.findStages(kind, name->name).empty() ? nullptr : name;
  const auto *record = dyn_cast<ast::CallExpr>(expr);
  if (name && frame->names.contains(name->name) &&
      catalog.findStages(kind, name->name).empty() &&
      !isKnownStage(kind, name->name)) {
    if (kind == StageKind::Rank) {
      choice.operand = expr;
      return pickStage(kind, "a value", choice);
    }
    notBuilt(expr->range, "a value as '" + stringifyStageKind(kind) + "'");
    return false;
  }
  if (name && name->name == "none" && kind == StageKind::Rank) {
    if (selectsWithoutRank(call))
      return pickStage(kind, "score", choice);
    diagnostics
        .error(
            DiagId::E403, expr->range,
            "'rank = none' goes with a selection that looks at nothing, such "
            "as 'select = all'")
        .note(call.get("select")->range, "this one looks at the rank");
    return false;
  }
  if (name)
    return pickStage(kind, StringRef(name->name), choice) &&
           readStageArguments(nullptr, choice);
  if (record && !record->calleeName().empty() &&
      (!findOperation(record->calleeName()) || isLogitsCall(*record)) &&
      !model.findBlock(record->calleeName()) &&
      !(kind == StageKind::Scale &&
        StaticMath::isFunction(record->calleeName()))) {
    if (!pickStage(kind, record->calleeName(), choice))
      return false;
    return readStageArguments(isLogitsCall(*record) ? nullptr : record, choice);
  }
  if (kind == StageKind::Rank) {
    choice.operand = expr;
    return pickStage(kind, "a value", choice);
  }
  return readNumberStage(*expr, kind, choice);
}

/// Whether nothing is selected by rank, so that there is nothing to rank by.
bool Expander::selectsWithoutRank(const BoundCall &call) {
  const ast::Expr *expr = choice(call.get("select"));
  const auto *name = dyn_cast_or_null<ast::NameExpr>(expr);
  const auto *record = dyn_cast_or_null<ast::CallExpr>(expr);
  return (name && name->name == "all") ||
         (record &&
          (record->calleeName() == "fixed" || record->calleeName() == "hash"));
}

//===----------------------------------------------------------------------===//
// All stages
//===----------------------------------------------------------------------===//

/// Runs code of a dialect that reports through MLIR and gives what it said.
std::string Expander::takeMessages(function_ref<void()> run) {
  std::string text;
  ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &message) {
    if (text.empty())
      text = message.str();
    return success();
  });
  run();
  return text;
}

bool Expander::readStages(const BoundCall &call, StageList &stages) {
  bool ok = true;
  for (StageKind kind : stageOrder) {
    if (isOptional(kind) && !call.find(stringifyStageKind(kind)))
      continue;
    StageChoice choice;
    if (!readStage(call, kind, choice)) {
      ok = false;
      continue;
    }
    Attribute attribute;
    Location where = loc(choice.range);
    std::string said = takeMessages([&] {
      attribute = choice.stage->entry.build(&context, choice.statics,
                                            [&] { return emitError(where); });
    });
    auto stage = dyn_cast_or_null<RoutingStageAttrInterface>(attribute);
    if (!stage) {
      diagnostics.error(DiagId::E413, choice.range,
                        said.empty() ? "the stage refuses its arguments"
                                     : said);
      ok = false;
      continue;
    }
    stages.choices.push_back(std::move(choice));
    stages.attributes.push_back(stage);
  }
  return ok;
}

bool Expander::checkStages(const BoundCall &call, const StageList &stages,
                           int64_t pool, int64_t always) {
  RoutingGuarantees guarantees;
  int64_t width = pool - always, slots = 0;
  for (auto [choice, stage] : llvm::zip(stages.choices, stages.attributes)) {
    if (stage.getStageKind() == StageKind::Select)
      slots = stage.getSlots(width);
    if (slots > width) {
      diagnostics
          .error(DiagId::E404, choice.range,
                 "expected at most " + Twine(width) +
                     " experts per token, the pool, found " + Twine(slots))
          .note(call.get("logits")->range,
                "the pool has " + Twine(width) + " experts here");
      return false;
    }
    if (stage.getStageKind() == StageKind::Renorm && guarantees.normalized &&
        choice.stage->entry.spelling != "none")
      diagnostics.remark(DiagId::E410, choice.range,
                         "the weights sum to one already, so 'renorm = " +
                             choice.stage->entry.spelling +
                             "' changes nothing but rounding");
    stage.updateGuarantees(guarantees);
  }
  bool ok = true;
  for (size_t i = 0; i < stages.choices.size(); ++i) {
    const StageChoice &choice = stages.choices[i];
    RoutingStageAttrInterface stage = stages.attributes[i];
    Location where = loc(choice.range);
    bool accepted = true;
    std::string said = takeMessages([&] {
      accepted =
          succeeded(seesSelectableOnly(stage.getStageKind())
                        ? stage.verifyStage(width, slots,
                                            [&] { return emitError(where); })
                        : stage.verifyStage(pool, slots + always,
                                            [&] { return emitError(where); }));
    });
    if (accepted)
      continue;
    ok = false;
    diagnostics.error(DiagId::E413, choice.range,
                      said.empty() ? "the stage does not fit the pool" : said);
  }
  return ok;
}

/// Evaluates the operand that a stage reads: a weight of the pool's width, or a
/// value of that width. Some stages take one number as well.
bool Expander::stageOperand(const StageChoice &choice,
                            RoutingStageAttrInterface stage, int64_t width,
                            SmallVectorImpl<Value> &operands) {
  if (!choice.operand)
    return true;
  SourceRange range = choice.operand->range;
  Operand operand = asStream(evaluate(*choice.operand), range);
  if (!operand)
    return false;
  if (operand.is(OperandKind::Weight) && !operand.map->bias) {
    WeightUse use;
    use.operation = "route()";
    use.argument = stringifyStageKind(choice.stage->entry.kind);
    use.formula = "pool";
    std::optional<int64_t> stored = weights.lengthOf(operand.map->weight);
    bool isOther = stored && stage.acceptsOperandWidth(width, *stored);
    use.dims.push_back({isOther ? *stored : width, {}, {}});
    use.role = choice.stage->entry.kind == StageKind::Scale ? "router_scale"
                                                            : "router_bias";
    use.layer = fn->layer;
    Value ref = weightRef(operand.map->weight, use);
    if (ref)
      operands.push_back(ref);
    return static_cast<bool>(ref);
  }
  if (!operand.is(OperandKind::Value)) {
    diagnostics.error(DiagId::E206, range,
                      "expected a weight or a value of the pool's width, "
                      "found " +
                          operand.describe());
    return false;
  }
  if (!stage.acceptsOperandWidth(width, Expander::width(operand.value))) {
    diagnostics.error(DiagId::E411, range,
                      "expected a value of the pool's width " + Twine(width) +
                          ", found one of " +
                          Twine(Expander::width(operand.value)));
    return false;
  }
  operands.push_back(operand.value);
  return true;
}

//===----------------------------------------------------------------------===//
// Routers
//===----------------------------------------------------------------------===//

/// The logits in f32. The map that makes them is marked as a router's.
Value Expander::logits(const BoundCall &call) {
  Operand operand = stream(call, "logits");
  if (!operand)
    return {};
  if (auto op = operand.value.getDefiningOp<nn::LinearOp>())
    if (auto ref = op.getWeight().getDefiningOp<moe::WeightRefOp>())
      weights.setRole(ref.getWeight(), "router");
  return convert(loc(call.get("logits")->range), operand.value,
                 builder.getF32Type());
}

/// The expert ids that the columns stand for.
std::optional<std::pair<int64_t, int64_t>> Expander::pool(const BoundCall &call,
                                                          int64_t width) {
  if (!call.find("pool"))
    return std::pair<int64_t, int64_t>(0, width);
  std::optional<StaticValue> range = counted(*call.get("pool"));
  if (!range)
    return std::nullopt;
  if (range->end - range->integer == width)
    return std::pair(range->integer, range->end);
  diagnostics
      .error(DiagId::E408, call.get("pool")->range,
             "a pool of " + Twine(range->end - range->integer) +
                 " experts needs as many logits, found " + Twine(width))
      .hint(call.get("logits")->range, "the logits are here");
  return std::nullopt;
}

/// `always` as columns of the pool; null where it is not written.
bool Expander::readAlways(const BoundCall &call,
                          std::pair<int64_t, int64_t> pool,
                          DenseI64ArrayAttr &columns) {
  if (!call.find("always"))
    return true;
  const ast::Expr &expr = *call.get("always");
  std::optional<StaticValue> range = counted(expr);
  if (!range)
    return false;
  int64_t first = range->integer, end = range->end;
  bool isPart = first < end && first >= pool.first && end <= pool.second &&
                (first == pool.first) != (end == pool.second);
  if (!isPart) {
    diagnostics.error(
        DiagId::E408, expr.range,
        "expected a part of the pool at one of its ends, experts " +
            Twine(pool.first) + " to " + Twine(pool.second - 1) + ", found " +
            Twine(first) + ".." + Twine(end));
    return false;
  }
  columns =
      builder.getDenseI64ArrayAttr({first - pool.first, end - pool.first});
  return true;
}

Operand Expander::buildRoute(const BoundCall &call) {
  bool ordered = checkStageOrder(call.call);
  if (reportMissingStages(call) || !ordered)
    return Operand();
  Value z = logits(call);
  StageList stages;
  if (!readStages(call, stages) || !z)
    return Operand();
  std::optional<std::pair<int64_t, int64_t>> ids = pool(call, width(z));
  DenseI64ArrayAttr always;
  if (!ids || !readAlways(call, *ids, always))
    return Operand();
  int64_t numAlways = always ? always[1] - always[0] : 0;
  if (!checkStages(call, stages, width(z), numAlways))
    return Operand();
  SmallVector<Value> operands;
  for (auto [choice, attribute] : llvm::zip(stages.choices, stages.attributes))
    if (!stageOperand(choice, attribute,
                      seesSelectableOnly(attribute.getStageKind())
                          ? width(z) - numAlways
                          : width(z),
                      operands))
      return Operand();
  auto stage = [&](StageKind kind) {
    const auto *found =
        llvm::find_if(stages.attributes, [&](RoutingStageAttrInterface s) {
          return s.getStageKind() == kind;
        });
    return found == stages.attributes.end() ? RoutingStageAttrInterface()
                                            : *found;
  };
  RoutingStageAttrInterface select = stage(StageKind::Select);
  if (stage(StageKind::Weigh).takesGivenWeights() &&
      (!select.givesWeights() || always)) {
    diagnostics
        .error(DiagId::E413, call.get("weigh")->range,
               "these weights are made by the selection")
        .note(call.get("select")->range, always
                                             ? "beside 'always' none are made"
                                             : "this selection makes none");
    return Operand();
  }
  auto op = moe::RouteOp::create(
      builder, loc(call.call.range), z, operands, stage(StageKind::Score),
      stage(StageKind::Rank), stage(StageKind::Groups), select,
      stage(StageKind::Weigh), stage(StageKind::Renorm),
      stage(StageKind::Scale), stage(StageKind::Skip), always,
      builder.getI64IntegerAttr(ids->first));
  Operand result;
  result.kind = OperandKind::Routing;
  result.routing = {op.getIds(), op.getWeights(), ids->first, ids->second,
                    call.call.range};
  return limitSlots(call, result);
}

/// `capacity = slots(factor, multiple, order = token, overflow = drop)`.
Operand Expander::limitSlots(const BoundCall &call, Operand routing) {
  if (!call.find("capacity"))
    return routing;
  const ast::Expr *expr = choice(call.get("capacity"));
  if (!expr)
    return Operand();
  const auto *name = dyn_cast<ast::NameExpr>(expr);
  if (name && name->name == "none")
    return routing;
  const auto *record = dyn_cast<ast::CallExpr>(expr);
  if (!record || record->calleeName() != "slots") {
    diagnostics.error(DiagId::E211, expr->range,
                      "'capacity' of route() takes one of none, slots(...)");
    return Operand();
  }
  std::optional<BoundCall> slots =
      bindCall(*record, slotsRecord(), FirstOperand::Written, diagnostics);
  if (!slots)
    return Operand();
  std::optional<double> factor = real(*slots, "factor");
  std::optional<int64_t> multiple = sizeOr(*slots, "multiple", 1);
  std::optional<std::string> order =
      word(*slots, "order", {"token", "batch_priority", "probs", "position"});
  std::optional<std::string> overflow =
      word(*slots, "overflow", {"drop", "identity"});
  if (!factor || !multiple || !order || !overflow)
    return Operand();
  double millionths = std::round(*factor * 1e6);
  if (!(millionths >= 1.0 && millionths <= 1e9)) {
    diagnostics.error(DiagId::E212, slots->get("factor")->range,
                      "a capacity factor must be between 0.000001 and 1000, "
                      "found " +
                          StaticValue::ofReal(*factor).describe());
    return Operand();
  }
  if (*order != "token" || *overflow != "drop") {
    notBuilt(expr->range, "a capacity with order = " + *order +
                              " and overflow = " + *overflow);
    return Operand();
  }
  if (fn->expression || fn->present.size() != fn->modalities.size()) {
    notBuilt(expr->range, "a capacity for the tokens of one modality");
    return Operand();
  }
  RoutingValue &values = routing.routing;
  if (values.end > 65536) {
    diagnostics.error(DiagId::E413, expr->range,
                      "expected at most 65536 experts with a capacity, found " +
                          Twine(values.end));
    return Operand();
  }
  auto op = moe::LimitSlotsOp::create(
      builder, loc(expr->range), values.ids.getType(), values.weights.getType(),
      values.ids, values.weights, fn->cuSeqlens, values.end,
      static_cast<int64_t>(millionths), *multiple);
  values.ids = op.getLimitedIds();
  values.weights = op.getLimitedWeights();
  return routing;
}

/// Operands and attributes of a router, from its signature.
bool Expander::readRouter(const Router &router, const BoundCall &call,
                          OperationState &state) {
  Value z = logits(call);
  if (!z)
    return false;
  state.addOperands(z);
  for (const Argument &argument : router.signature.arguments) {
    const ast::Expr *expr = call.get(argument.name);
    if (!expr)
      continue;
    if (argument.kind == ArgumentKind::Value) {
      Operand operand = stream(call, argument.name);
      if (!operand)
        return false;
      state.addOperands(operand.value);
    } else if (argument.kind == ArgumentKind::Weight) {
      notBuilt(expr->range, "a weight as an argument of a plugin's router");
      return false;
    } else {
      Attribute value = staticAttribute(argument, *expr, router.operation);
      if (!value)
        return false;
      state.addAttribute(argument.name, value);
    }
  }
  return true;
}

/// Result types from InferTypeOpInterface, with the attributes as properties
/// where the operation keeps them so.
static LogicalResult inferTypes(OperationState &state,
                                RegisteredOperationName name) {
  auto *interface = name.getInterface<InferTypeOpInterface>();
  MLIRContext *context = name.getContext();
  if (!interface)
    return emitError(state.location)
           << "'" << name << "' does not infer its result types";
  DictionaryAttr attributes = state.attributes.getDictionary(context);
  auto storage = std::make_unique<char[]>(
      std::max<size_t>(name.getOpPropertyByteSize(), 1));
  OpaqueProperties properties(storage.get());
  if (name.getOpPropertyByteSize() == 0)
    return interface->inferReturnTypes(context, state.location, state.operands,
                                       attributes, nullptr, state.regions,
                                       state.types);
  name.initOpProperties(properties, nullptr);
  auto failed = [&] { return emitError(state.location); };
  LogicalResult result =
      name.setOpPropertiesFromAttribute(name, properties, attributes, failed);
  if (succeeded(result))
    result = interface->inferReturnTypes(context, state.location,
                                         state.operands, attributes, properties,
                                         state.regions, state.types);
  name.destroyOpProperties(properties);
  return result;
}

Operand Expander::buildRouter(const Router &router, const ast::CallExpr &call) {
  std::optional<BoundCall> bound =
      bindCall(call, router.operation, FirstOperand::Written, diagnostics);
  if (!bound)
    return Operand();
  OperationState state(loc(call.range), router.name);
  if (!readRouter(router, *bound, state))
    return Operand();
  mlir::Operation *op = nullptr;
  std::string said = takeMessages([&] {
    if (failed(inferTypes(state, router.name)))
      return;
    op = builder.create(state);
    if (failed(mlir::verify(op)))
      op = nullptr;
  });
  // "'acme.margin' op expected ..." names what the place shows.
  if (size_t prefix = said.find("' op "); prefix != std::string::npos)
    said.erase(0, prefix + 5);
  auto routing = dyn_cast_or_null<RoutingOpInterface>(op);
  if (!routing || op->getNumResults() != 2) {
    diagnostics.error(DiagId::E413, call.range,
                      said.empty() ? "the router refuses its arguments" : said);
    return Operand();
  }
  Operand result;
  result.kind = OperandKind::Routing;
  result.routing = {op->getResult(0), op->getResult(1), 0,
                    routing.getNumExperts(), call.range};
  return result;
}
