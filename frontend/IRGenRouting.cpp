//===- IRGenRouting.cpp - route() and routers of plugins ------------------===//

#include "frontend/IRGenRouting.h"

#include "dialects/moe/MoeDialect.h"
#include "dialects/nn/NnDialect.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"

#include <cmath>

using namespace mlir;
using namespace moec;
using namespace moec::irgen;

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
// Routers
//===----------------------------------------------------------------------===//

/// Logits in f32. The map that makes them is marked as a router's.
Value Expander::logits(const BoundCall &call, StringRef param) {
  Operand operand = stream(call, param);
  if (!operand)
    return {};
  if (auto op = operand.value.getDefiningOp<nn::LinearOp>())
    if (auto ref = op.getWeight().getDefiningOp<moe::WeightRefOp>())
      weights.setRole(ref.getWeight(), "router");
  return convert(loc(call.get(param)->range), operand.value,
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
      builder.getI64IntegerAttr(ids->first), ArrayAttr());
  int64_t selected = op.getSlotsPerToken() - op.getNumAlways();
  if (fn->routing.maxExperts > selected ||
      (fn->routing.maxExperts != 0 && !select.ordersSlots())) {
    diagnostics.error(DiagId::E807, call.get("select")->range,
                      "k_override(max = " + Twine(fn->routing.maxExperts) +
                          ") takes the first of a selection in order of rank, "
                          "found one " +
                          (select.ordersSlots()
                               ? "of " + Twine(selected) + " experts"
                               : Twine("in another order")));
    return Operand();
  }
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
      Value value = logits(call, argument.name);
      if (!value)
        return false;
      state.addOperands(value);
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
  if (fn->routing.expertMask || fn->routing.routerBias ||
      fn->routing.maxExperts != 0) {
    diagnostics.error(DiagId::E807, call.range,
                      "expert_mask, router_bias and k_override act on route(), "
                      "found another router");
    return Operand();
  }
  Operand result;
  result.kind = OperandKind::Routing;
  result.routing = {op->getResult(0), op->getResult(1), 0,
                    routing.getNumExperts(), call.range};
  return result;
}
