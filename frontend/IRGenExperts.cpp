//===- IRGenExperts.cpp - Sets of experts ---------------------------------===//

#include "frontend/IRGenOps.h"

#include "dialects/moe/MoeDialect.h"

using namespace mlir;
using namespace moec;
using namespace moec::irgen;

/// The experts of one call, as its arms are read.
struct Expander::ExpertSet {
  struct Range {
    int64_t first, end;
    SourceRange range;
  };

  int64_t hidden = 0;
  SmallVector<Range, 2> arms;
  SmallVector<std::pair<int64_t, Attribute>> experts;
  /// Experts without matrices, by id: "identity", "null".
  SmallVector<std::pair<int64_t, Attribute>> virtuals;
  SourceRange virtualRange;
  /// What the first expert is; the others must be alike.
  bool gated = false;
  std::optional<FeedForward> first;
  SourceRange firstRange;
};

/// The symbol of one weight of expert `id`.
FlatSymbolRefAttr Expander::expertWeight(const BoundCall &call, StringRef param,
                                         const WeightTerm &term,
                                         ArrayRef<DimSource> dims, int64_t id) {
  WeightUse use =
      weightUse(call, param, param == "down" ? "to x width" : "width x hidden",
                SmallVector<DimSource, 2>(dims));
  use.expert = id;
  use.loc = loc(term.range);
  std::optional<WeightSymbol> symbol = weights.get(term, use);
  // After an error any symbol will do: the module is dropped.
  return FlatSymbolRefAttr::get(symbol ? symbol->name
                                       : builder.getStringAttr(term.name));
}

bool Expander::sameAsFirst(const BoundCall &call, const FeedForward &expert,
                           ExpertSet &set) {
  bool gated = call.operation.name == "glu";
  if (!set.first) {
    set.first = expert;
    set.gated = gated;
    set.firstRange = call.call.range;
    return true;
  }
  const FeedForward &first = *set.first;
  if (first.to.value != expert.to.value) {
    diagnostics
        .error(DiagId::E412, call.call.range,
               "expected an expert of " + Twine(first.to.value) +
                   " outputs, found " + Twine(expert.to.value))
        .note(set.firstRange, "the first expert is here");
    return false;
  }
  StringRef difference;
  if (gated != set.gated)
    difference = "glu() and mlp() as experts of one set";
  else if (first.activation != expert.activation)
    difference = "experts of one set with different activations";
  else if (first.precision.compute != expert.precision.compute ||
           first.precision.element != expert.precision.element)
    difference = "experts of one set with different types";
  if (difference.empty())
    return true;
  notBuilt(call.call.range, difference);
  return false;
}

/// Reads the body of expert `id`: glu or mlp without the operand.
bool Expander::readExpert(const ast::Expr &body, int64_t id, ExpertSet &set) {
  const ast::Expr *expr = choice(&body);
  if (!expr)
    return false;
  const auto *record = dyn_cast<ast::CallExpr>(expr);
  StringRef name = record ? record->calleeName() : StringRef();
  if (model.findBlock(name)) {
    notBuilt(expr->range, "a block as an expert");
    return false;
  }
  const OperationSpec *operation = findOperation(name);
  if (operation && !operation->built) {
    notBuilt(expr->range, "'" + name + "' as an expert");
    return false;
  }
  if (operation && operation->isExpertOnly) {
    set.virtuals.push_back({id, builder.getStringAttr(name)});
    set.virtualRange = expr->range;
    return bindCall(*record, *operation, FirstOperand::FromContext, diagnostics)
        .has_value();
  }
  if (name != "glu" && name != "mlp") {
    diagnostics.error(DiagId::E206, expr->range,
                      "an expert is a call without its operand, such as "
                      "glu(act = silu, ...)");
    return false;
  }
  std::optional<BoundCall> call =
      bindCall(*record, *operation, FirstOperand::FromContext, diagnostics);
  if (!call)
    return false;
  std::optional<FeedForward> ffn =
      feedForward(*call, set.hidden, name == "glu");
  if (!ffn || !sameAsFirst(*call, *ffn, set))
    return false;
  for (const WeightMap *map : {&ffn->up, &ffn->down})
    if (map->bias) {
      notBuilt(map->bias->range, "a bias in an expert");
      return false;
    }
  SmallVector<NamedAttribute, 3> roles;
  auto add = [&](StringRef param, const WeightMap &map, DimSource to,
                 DimSource from) {
    roles.push_back(builder.getNamedAttr(
        param, expertWeight(*call, param, map.weight, {to, from}, id)));
  };
  if (set.gated)
    add("gate", ffn->gate, ffn->width, ffn->hidden);
  add("up", ffn->up, ffn->width, ffn->hidden);
  add("down", ffn->down, ffn->to, ffn->width);
  set.experts.push_back(
      {id, moe::ExpertAttr::get(&context, ffn->width.value,
                                builder.getDictionaryAttr(roles))});
  return true;
}

/// Reads `for e in a..b: body`.
bool Expander::readArm(const ast::Expr &arm, ExpertSet &set) {
  const auto *family = dyn_cast<ast::FamilyExpr>(&arm);
  if (!family) {
    diagnostics.error(DiagId::E206, arm.range,
                      "an arm of experts() is a family, such as 'for e in "
                      "0..8: glu(...)'");
    return false;
  }
  std::optional<StaticValue> range = counted(*family->domain);
  if (!range)
    return false;
  for (const ExpertSet::Range &other : set.arms)
    if (range->integer < other.end && other.first < range->end) {
      diagnostics
          .error(DiagId::E409, family->domain->range,
                 "expert " + Twine(std::max(range->integer, other.first)) +
                     " has two arms")
          .note(other.range, "the other one is here");
      return false;
    }
  set.arms.push_back({range->integer, range->end, family->domain->range});
  bool ok = true;
  for (int64_t e = range->integer; e < range->end && !stopped(); ++e) {
    if (!spend() || !bindVariable(family->variable, StaticValue::ofInteger(e)))
      return false;
    ok &= readExpert(*family->body, e, set);
    unbind(family->variable.str());
  }
  return ok;
}

/// Every id of the routing needs an arm, and the ids of the set are 0 to its
/// size: they are the rows of its table.
bool Expander::checkCoverage(const BoundCall &call, const RoutingValue &routing,
                             ExpertSet &set) {
  llvm::sort(set.arms,
             [](const ExpertSet::Range &a, const ExpertSet::Range &b) {
               return a.first < b.first;
             });
  int64_t covered = routing.first;
  for (const ExpertSet::Range &arm : set.arms)
    if (arm.first <= covered && covered < arm.end)
      covered = arm.end;
  if (covered < routing.end) {
    diagnostics
        .error(DiagId::E407, call.call.callee->range,
               "no arm of experts() covers expert " + Twine(covered) +
                   ", which the routing can select")
        .note(routing.range, "the routing selects from experts " +
                                 Twine(routing.first) + " to " +
                                 Twine(routing.end - 1));
    return false;
  }
  int64_t next = 0;
  for (const ExpertSet::Range &arm : set.arms) {
    if (arm.first != next) {
      notBuilt(arm.range,
               "a set of experts whose ids leave out " + Twine(next));
      return false;
    }
    next = arm.end;
  }
  llvm::sort(set.experts, llvm::less_first());
  llvm::sort(set.virtuals, llvm::less_first());
  return checkVirtuals(call, set);
}

/// Experts without matrices follow those that have some.
bool Expander::checkVirtuals(const BoundCall &call, const ExpertSet &set) {
  if (set.experts.empty()) {
    notBuilt(call.call.callee->range, "a set of experts without matrices");
    return false;
  }
  if (set.virtuals.empty())
    return true;
  if (set.virtuals.front().first < set.experts.back().first) {
    notBuilt(set.virtualRange,
             "an expert without matrices before one that has some");
    return false;
  }
  bool hasIdentity = llvm::any_of(set.virtuals, [](const auto &expert) {
    return cast<StringAttr>(expert.second) == "identity";
  });
  if (!hasIdentity || set.first->to.value == set.hidden)
    return true;
  diagnostics
      .error(DiagId::E412, set.virtualRange,
             "expected an expert of " + Twine(set.first->to.value) +
                 " outputs, found an identity of " + Twine(set.hidden))
      .note(set.firstRange, "the first expert is here");
  return false;
}

/// The table of a set. Functions that use the same experts share one.
std::string Expander::declareTable(const ExpertSet &set, Location where) {
  StringAttr body = builder.getStringAttr(set.gated ? "glu" : "mlp");
  auto listOf = [&](ArrayRef<std::pair<int64_t, Attribute>> experts) {
    return builder.getArrayAttr(llvm::map_to_vector(
        experts, [](const auto &expert) { return expert.second; }));
  };
  ArrayAttr experts = listOf(set.experts);
  ArrayAttr virtuals =
      set.virtuals.empty() ? ArrayAttr() : listOf(set.virtuals);
  Attribute all =
      virtuals ? builder.getArrayAttr({experts, virtuals}) : experts;
  auto [it, isNew] =
      tableIndex.try_emplace({Attribute(body), all}, tables.size());
  if (isNew)
    tables.push_back({symbols.take(symbolBase("experts"), "."), body, experts,
                      virtuals, where});
  return tables[it->second].symbol;
}

Operand Expander::buildExperts(const BoundCall &call) {
  Operand x = stream(call, "x");
  if (const ast::Expr *apply = choice(call.get("apply"))) {
    const auto *name = dyn_cast<ast::NameExpr>(apply);
    if (!name || (name->name != "output" && name->name != "input")) {
      diagnostics.error(DiagId::E211, apply->range,
                        "'apply' of experts() takes one of output, input");
      return recover(x);
    }
    if (name->name == "input") {
      notBuilt(apply->range, "'apply = input'");
      return recover(x);
    }
  }
  const ast::Expr &routingExpr = *call.get("r");
  Operand routing = evaluate(routingExpr);
  if (routing && !routing.is(OperandKind::Routing)) {
    wrongKind(call, "r", routing, "a routing");
    return recover(x);
  }
  if (call.arms.empty()) {
    diagnostics.error(DiagId::E204, call.call.callee->range,
                      "experts() lacks the experts, such as 'for e in 0..8: "
                      "glu(...)'");
    return recover(x);
  }
  if (!x)
    return Operand();
  ExpertSet set;
  set.hidden = width(x.value);
  bool ok = true;
  for (const ast::CallArgument *arm : call.arms)
    ok &= readArm(*arm->value, set);
  if (!ok || !routing || !checkCoverage(call, routing.routing, set))
    return recover(x);
  Location where = loc(call.call.range);
  auto op = moe::ExpertsOp::create(
      builder, where,
      streamType(set.first->to.value, set.first->precision.element),
      declareTable(set, where), x.value, routing.routing.ids,
      routing.routing.weights, set.first->activation,
      set.first->precision.compute);
  remember(op.getResult());
  return Operand::ofValue(op.getResult(), x.rows);
}
