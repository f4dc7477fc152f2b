//===- IRGenExperts.cpp - Sets of experts ---------------------------------===//

#include "frontend/IRGenOps.h"

#include "dialects/moe/MoeDialect.h"
#include "dialects/nn/NnDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace moec;
using namespace moec::irgen;

/// Experts of one set with the same body, activation and types.
struct Expander::ExpertKind {
  StringRef body = "mlp";
  FeedForward first;
  SmallVector<std::pair<int64_t, Attribute>> experts; ///< by id
};

/// The experts of one call, as its arms are read.
struct Expander::ExpertSet {
  struct Range {
    int64_t first, end;
    SourceRange range;
  };
  /// An expert without matrices. Its vector, if any, is known before the width
  /// that it must have.
  struct Virtual {
    int64_t id;
    StringRef kind;
    std::optional<WeightTerm> vector;
    std::optional<WeightUse> use;
    SourceRange range;
    Attribute attribute;
  };

  /// An expert that is a block, computed for all tokens.
  struct Expanded {
    int64_t id;
    Value result;
    SourceRange range;
  };

  Operand operand;
  int64_t hidden = 0;
  SmallVector<Range, 2> arms;
  std::vector<Expanded> blocks;
  std::vector<ExpertKind> kinds;
  std::vector<Virtual> virtuals;
  SourceRange firstRange; ///< of the first expert with matrices

  /// Width of the results; experts without matrices keep the operand's.
  int64_t to() const {
    if (!kinds.empty())
      return kinds.front().first.to.value;
    return blocks.empty() ? hidden : Expander::width(blocks.front().result);
  }
  /// The number of ids.
  int64_t size() const {
    int64_t end = 0;
    for (const Range &arm : arms)
      end = std::max(end, arm.end);
    return end;
  }
};

/// The symbol of one weight of expert `id`.
FlatSymbolRefAttr Expander::expertWeight(const BoundCall &call, StringRef param,
                                         StringRef formula,
                                         const WeightTerm &term,
                                         ArrayRef<DimSource> dims, int64_t id) {
  WeightUse use =
      weightUse(call, param, formula, SmallVector<DimSource, 2>(dims));
  if (dims.size() == 1)
    use.role = "bias";
  use.expert = id;
  use.loc = loc(term.range);
  std::optional<WeightSymbol> symbol = weights.get(term, use);
  // After an error any symbol will do: the module is dropped.
  return FlatSymbolRefAttr::get(symbol ? symbol->name
                                       : builder.getStringAttr(term.name));
}

/// The kind of an expert in its set; null after an error.
Expander::ExpertKind *Expander::kindOf(const BoundCall &call,
                                       const FeedForward &expert,
                                       ExpertSet &set) {
  StringRef body = call.operation.name;
  if (set.kinds.empty())
    set.firstRange = call.call.range;
  else if (set.to() != expert.to.value) {
    diagnostics
        .error(DiagId::E412, call.call.range,
               "expected an expert of " + Twine(set.to()) + " outputs, found " +
                   Twine(expert.to.value))
        .note(set.firstRange, "the first expert is here");
    return nullptr;
  }
  for (ExpertKind &kind : set.kinds)
    if (kind.body == body && kind.first.function == expert.function &&
        kind.first.precision.compute == expert.precision.compute &&
        kind.first.precision.element == expert.precision.element)
      return &kind;
  set.kinds.push_back({body, expert, {}});
  return &set.kinds.back();
}

/// Reads identity(), null() or constant("v").
bool Expander::readVirtual(const ast::CallExpr &record,
                           const OperationSpec &operation, int64_t id,
                           ExpertSet &set) {
  std::optional<BoundCall> call =
      bindCall(record, operation, FirstOperand::FromContext, diagnostics);
  if (!call)
    return false;
  ExpertSet::Virtual expert{id, operation.name, {}, {}, record.range, {}};
  if (operation.find("vector")) {
    std::optional<WeightMap> vector = weight(*call, "vector", false);
    if (!vector)
      return false;
    expert.vector = vector->weight;
    expert.use = weightUse(*call, "vector", "to", {DimSource()});
    expert.use->role = "constant";
    expert.use->expert = id;
  }
  set.virtuals.push_back(std::move(expert));
  return true;
}

/// Expands a block as expert `id`. It is computed for all tokens, and what it
/// gives is weighed.
bool Expander::readBlockExpert(const ast::BlockItem &block,
                               const ast::CallExpr &record, int64_t id,
                               ExpertSet &set) {
  Block *into = builder.getInsertionBlock();
  mlir::Operation *before = into->empty() ? nullptr : &into->back();
  Operand result = callBlock(block, record, set.operand);
  if (!result)
    return false;
  if (!result.is(OperandKind::Value)) {
    diagnostics.error(DiagId::E206, record.range,
                      "a block as an expert gives a value, found " +
                          result.describe());
    return false;
  }
  bool mixesTokens = false;
  for (auto it = before ? std::next(Block::iterator(before)) : into->begin();
       it != into->end(); ++it)
    it->walk([&](mlir::Operation *op) {
      mixesTokens |=
          isa<nn::AttentionOp, nn::StateAppendOp, moe::LimitSlotsOp>(op);
    });
  if (mixesTokens) {
    notBuilt(record.range, "a block that mixes tokens, as an expert,");
    return false;
  }
  if (set.blocks.empty() && set.kinds.empty())
    set.firstRange = record.range;
  set.blocks.push_back({id, result.value, record.range});
  return true;
}

/// The result of the block that is expert `id`, times its weight, in f32.
Value Expander::weighBlock(const BoundCall &call, int64_t id, Value result,
                           const RoutingValue &routing) {
  Location where = loc(call.call.range);
  Type f32 = builder.getF32Type();
  Value share = moe::ShareOp::create(builder, where, streamType(1, f32),
                                     routing.ids, routing.weights, id);
  return map(where, {share, result}, width(result), f32,
             [&](OpBuilder &b, ValueRange v) -> Value {
               return arith::MulFOp::create(b, where, v[0], v[1]);
             });
}

/// The arguments of linear() as an expert: the map alone, which is `up`.
std::optional<Expander::FeedForward>
Expander::linearExpert(const BoundCall &call, int64_t hidden) {
  FeedForward expert;
  std::optional<int64_t> to = size(call, "to");
  std::optional<Precision> precision = this->precision(call);
  std::optional<WeightMap> map = weight(call, "weight", true);
  if (!to || !precision || !map)
    return std::nullopt;
  expert.up = std::move(*map);
  expert.to = expert.width = dim(call, "to", *to);
  expert.hidden.value = hidden;
  expert.precision = *precision;
  return expert;
}

/// Adds the weight of `role`, and its bias, to those of expert `id`.
void Expander::addRole(SmallVectorImpl<NamedAttribute> &roles, StringRef role,
                       const RoleUse &use, const WeightMap &map, int64_t id) {
  std::string formula = (use.toName + " x " + use.fromName).str();
  roles.push_back(builder.getNamedAttr(
      role, expertWeight(use.call, use.argument, formula, map.weight,
                         {use.to, use.from}, id)));
  if (map.bias)
    roles.push_back(builder.getNamedAttr(
        (role + "_bias").str(), expertWeight(use.call, use.argument, use.toName,
                                             *map.bias, use.to, id)));
}

/// Reads the body of expert `id`: glu, mlp or linear without the operand.
bool Expander::readExpert(const ast::Expr &body, int64_t id, ExpertSet &set) {
  const ast::Expr *expr = choice(&body);
  if (!expr)
    return false;
  const auto *record = dyn_cast<ast::CallExpr>(expr);
  StringRef name = record ? record->calleeName() : StringRef();
  if (const ast::BlockItem *block = model.findBlock(name))
    return readBlockExpert(*block, *record, id, set);
  const OperationSpec *operation = findOperation(name);
  if (operation && !operation->built) {
    notBuilt(expr->range, "'" + name + "' as an expert");
    return false;
  }
  if (operation && operation->isExpertOnly)
    return readVirtual(*record, *operation, id, set);
  if (name != "glu" && name != "mlp" && name != "linear") {
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
      name == "linear" ? linearExpert(*call, set.hidden)
                       : feedForward(*call, set.hidden, name == "glu");
  ExpertKind *kind = ffn ? kindOf(*call, *ffn, set) : nullptr;
  if (!kind)
    return false;
  SmallVector<NamedAttribute, 6> roles;
  auto add = [&](StringRef role, StringRef argument, const WeightMap &map,
                 std::pair<StringRef, DimSource> to,
                 std::pair<StringRef, DimSource> from) {
    addRole(roles, role,
            {*call, argument, to.first, from.first, to.second, from.second},
            map, id);
  };
  std::pair<StringRef, DimSource> hidden("hidden", ffn->hidden),
      width("width", ffn->width), to("to", ffn->to);
  if (name == "glu")
    add("gate", "gate", ffn->gate, width, hidden);
  if (name == "linear")
    add("up", "weight", ffn->up, to, hidden);
  else
    add("up", "up", ffn->up, width, hidden);
  if (name != "linear")
    add("down", "down", ffn->down, to, width);
  kind->experts.push_back(
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

/// Every id of the routing needs an arm.
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
  if (covered >= routing.end)
    return true;
  diagnostics
      .error(DiagId::E407, call.call.callee->range,
             "no arm of experts() covers expert " + Twine(covered) +
                 ", which the routing can select")
      .note(routing.range, "the routing selects from experts " +
                               Twine(routing.first) + " to " +
                               Twine(routing.end - 1));
  return false;
}

/// Gives experts without matrices their attributes, now that the width of the
/// results is known, and compares it with that of blocks.
bool Expander::placeVirtuals(ExpertSet &set) {
  for (const ExpertSet::Expanded &block : set.blocks)
    if (width(block.result) != set.to()) {
      diagnostics
          .error(DiagId::E412, block.range,
                 "expected an expert of " + Twine(set.to()) +
                     " outputs, found " + Twine(width(block.result)))
          .note(set.firstRange, "the first expert is here");
      return false;
    }
  for (ExpertSet::Virtual &expert : set.virtuals) {
    if (expert.kind == "identity" && set.to() != set.hidden) {
      diagnostics
          .error(DiagId::E412, expert.range,
                 "expected an expert of " + Twine(set.to()) +
                     " outputs, found an identity of " + Twine(set.hidden))
          .note(set.firstRange, "the first expert is here");
      return false;
    }
    FlatSymbolRefAttr symbol;
    if (expert.vector) {
      expert.use->dims[0].value = set.to();
      expert.use->loc = loc(expert.vector->range);
      std::optional<WeightSymbol> found =
          weights.get(*expert.vector, *expert.use);
      if (!found)
        return false;
      symbol = FlatSymbolRefAttr::get(found->name);
    }
    expert.attribute =
        moe::VirtualExpertAttr::get(&context, expert.kind, symbol);
  }
  return true;
}

/// A table. Functions that use the same experts share one.
std::string Expander::declareTable(StringAttr body, ArrayRef<Attribute> experts,
                                   Location where) {
  ArrayAttr list = builder.getArrayAttr(experts);
  auto [it, isNew] =
      tableIndex.try_emplace({Attribute(body), Attribute(list)}, tables.size());
  if (isNew)
    tables.push_back(
        {symbols.take(symbolBase("experts"), "."), body, list, where});
  return tables[it->second].symbol;
}

/// The experts of one kind on the whole routing. Ids of other kinds, and ids
/// that nothing selects, stand for experts that give nothing.
Value Expander::buildKind(const BoundCall &call, const ExpertSet &set,
                          const ExpertKind &kind, bool withVirtuals,
                          const Operand &x, const RoutingValue &routing,
                          Type element) {
  Attribute null =
      moe::VirtualExpertAttr::get(&context, "null", FlatSymbolRefAttr());
  SmallVector<Attribute> entries(set.size(), null);
  for (auto &[id, expert] : kind.experts)
    entries[id] = expert;
  if (withVirtuals)
    for (const ExpertSet::Virtual &expert : set.virtuals)
      entries[expert.id] = expert.attribute;
  Location where = loc(call.call.range);
  StringAttr body = builder.getStringAttr(kind.body);
  FloatAttr none;
  auto op = moe::ExpertsOp::create(
      builder, where, streamType(set.to(), element),
      declareTable(body, entries, where), x.value, routing.ids, routing.weights,
      kind.first.function.activation, none, none, none, none,
      kind.first.precision.compute, /*apply_input=*/false,
      /*slot=*/IntegerAttr());
  setHiddenFunction(op, kind.first.function);
  remember(op.getResult());
  return op.getResult();
}

/// `apply`; nothing after an error.
std::optional<bool> Expander::appliesToInput(const BoundCall &call) {
  if (!call.find("apply"))
    return false;
  std::optional<std::string> apply = word(call, "apply", {"output", "input"});
  if (!apply)
    return std::nullopt;
  return *apply == "input";
}

Operand Expander::buildExperts(const BoundCall &call) {
  Operand x = stream(call, "x");
  std::optional<bool> appliesToInput = this->appliesToInput(call);
  if (!appliesToInput)
    return recover(x);
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
  set.operand = x;
  set.hidden = width(x.value);
  bool ok = true;
  for (const ast::CallArgument *arm : call.arms)
    ok &= readArm(*arm->value, set);
  if (!ok || !routing || !checkCoverage(call, routing.routing, set) ||
      !placeVirtuals(set))
    return recover(x);
  // Ids that no arm covers take room in the tables, too.
  if (!spend(set.size()))
    return recover(x);
  if (!set.blocks.empty() && *appliesToInput) {
    notBuilt(set.blocks.front().range, "'apply = input' of a block");
    return recover(x);
  }
  if (set.kinds.empty() && (set.blocks.empty() || !set.virtuals.empty())) {
    ExpertKind none;
    none.first.precision = {dtype, compute};
    none.first.to.value = set.to();
    set.kinds.push_back(none);
  }
  return joinExperts(call, set, x, routing.routing, *appliesToInput);
}

/// The sum of all experts: those of each kind, then blocks in order of id.
Operand Expander::joinExperts(const BoundCall &call, const ExpertSet &set,
                              const Operand &x, const RoutingValue &routing,
                              bool appliesToInput) {
  // Kinds of several types give the file's.
  Type f32 = builder.getF32Type();
  Type element =
      set.kinds.empty() ? dtype : set.kinds[0].first.precision.element;
  for (const ExpertKind &kind : set.kinds)
    if (kind.first.precision.element != element)
      element = dtype;
  bool isOne = set.kinds.size() == 1 && set.blocks.empty();
  SmallVector<Value> terms;
  for (auto [i, kind] : llvm::enumerate(set.kinds)) {
    // Experts without matrices are added last.
    bool isLast = i + 1 == set.kinds.size();
    Value term =
        buildKind(call, set, kind, isLast, x, routing, isOne ? element : f32);
    cast<moe::ExpertsOp>(term.getDefiningOp()).setApplyInput(appliesToInput);
    terms.push_back(term);
  }
  for (const ExpertSet::Expanded &block : set.blocks)
    terms.push_back(weighBlock(call, block.id, block.result, routing));
  Location where = loc(call.call.range);
  Value result = terms[0];
  if (!isOne)
    result = map(where, terms, set.to(), element,
                 [&](OpBuilder &b, ValueRange v) -> Value {
                   Value total = v[0];
                   for (Value term : v.drop_front())
                     total = arith::AddFOp::create(b, where, total, term);
                   return total;
                 });
  return Operand::ofValue(result, x.rows);
}
