//===- IRGenStages.cpp - The stages of route() ----------------------------===//

#include "frontend/IRGenRouting.h"

#include "dialects/moe/MoeDialect.h"
#include "frontend/SpellCheck.h"

#include "mlir/IR/Diagnostics.h"

using namespace mlir;
using namespace moec;
using namespace moec::irgen;

//===----------------------------------------------------------------------===//
// One stage
//===----------------------------------------------------------------------===//

/// Stage values of the language that no dialect provides yet.
static bool isKnownStage(StageKind kind, StringRef spelling) {
  return kind == StageKind::Select && spelling == "grouped_top";
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
      // A stage with both looks the value up in the weight.
      choice.table = choice.operand;
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
  if (stage.readsIds())
    return tableOperand(choice, stage, operands);
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

/// The rows of the table that the ids name.
bool Expander::tableOperand(const StageChoice &choice,
                            RoutingStageAttrInterface stage,
                            SmallVectorImpl<Value> &operands) {
  Operand ids = evaluate(*choice.operand), table = evaluate(*choice.table);
  if (!ids || !table)
    return false;
  if (!ids.is(OperandKind::Ids) || !table.is(OperandKind::Weight) ||
      table.map->bias) {
    diagnostics.error(DiagId::E206, choice.range,
                      "expected a tensor and the token ids of a modality, "
                      "found " +
                          table.describe() + " and " + ids.describe());
    return false;
  }
  int64_t slots = stage.getSlots(0);
  WeightUse use;
  use.operation = "route()";
  use.argument = "select";
  use.formula = "ids x k";
  use.dims.push_back({ids.modality->vocab, {}, {}});
  use.dims.push_back({slots, {}, {}});
  use.role = "router_table";
  use.layer = fn->layer;
  use.isIds = true;
  Value ref = weightRef(table.map->weight, use);
  if (!ref)
    return false;
  operands.push_back(moe::TableRowsOp::create(
      builder, loc(choice.range), streamType(slots, builder.getI32Type()),
      ids.value, ref));
  return true;
}
