//===- IRGenAttentionExperts.cpp - Experts inside attention ---------------===//
//
// attention(route = r, q = for e in 0..E: .., o = for e in 0..E: ..): a token
// has the queries of each expert that it selected, all of which meet the same
// keys and values; what they give goes through the last map of their expert,
// and the results are added with the weights of the routing.
//
//===----------------------------------------------------------------------===//

#include "frontend/IRGenOps.h"

#include "dialects/moe/MoeDialect.h"
#include "dialects/nn/NnDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace moec;
using namespace moec::irgen;

/// Reads `route` and counts the heads of all slots.
bool Expander::readRouting(const BoundCall &call, AttentionParts &parts) {
  parts.slotHeads = parts.heads;
  if (!isGiven(call, "route"))
    return true;
  Operand routing = evaluate(*call.get("route"));
  if (!routing)
    return false;
  if (!routing.is(OperandKind::Routing)) {
    wrongKind(call, "route", routing, "a routing");
    return false;
  }
  for (StringRef other : {"sinks", "gate"})
    if (isGiven(call, other)) {
      notBuilt(call.get(other)->range, "'" + other + "' beside 'route'");
      return false;
    }
  parts.routing = routing.routing;
  parts.slots = width(routing.routing.ids);
  parts.heads *= parts.slots;
  return true;
}

/// The table of the maps `use.argument` of all experts.
std::optional<std::string> Expander::mapTable(const RoleUse &use,
                                              const RoutingValue &routing) {
  const ast::Expr *expr = choice(use.call.get(use.argument));
  if (!expr)
    return std::nullopt;
  const auto *family = dyn_cast<ast::FamilyExpr>(expr);
  if (!family) {
    diagnostics.error(DiagId::E206, expr->range,
                      "with 'route' attention() has '" + use.argument +
                          "' for each expert, such as 'for e in 0..8: \"" +
                          use.argument + "\"[e]'");
    return std::nullopt;
  }
  std::optional<StaticValue> range = counted(*family->domain);
  if (!range)
    return std::nullopt;
  if (range->integer > routing.first || range->end < routing.end) {
    diagnostics
        .error(DiagId::E407, family->domain->range,
               "expected '" + use.argument + "' for experts " +
                   Twine(routing.first) + " to " + Twine(routing.end - 1) +
                   ", which the routing can select")
        .note(routing.range, "the routing is here");
    return std::nullopt;
  }
  SmallVector<Attribute> experts(
      range->end,
      moe::VirtualExpertAttr::get(&context, "null", FlatSymbolRefAttr()));
  for (int64_t e = range->integer; e < range->end && !stopped(); ++e) {
    if (!spend() || !bindVariable(family->variable, StaticValue::ofInteger(e)))
      return std::nullopt;
    Operand map = evaluate(*family->body);
    unbind(family->variable.str());
    if (map && !map.is(OperandKind::Weight))
      wrongKind(use.call, use.argument, map, "weights");
    if (!map.is(OperandKind::Weight))
      return std::nullopt;
    SmallVector<NamedAttribute, 2> roles;
    addRole(roles, "up", use, *map.map, e);
    experts[e] = moe::ExpertAttr::get(&context, use.to.value,
                                      builder.getDictionaryAttr(roles));
  }
  return declareTable(builder.getStringAttr("linear"), experts,
                      loc(expr->range));
}

/// The map of each token's expert in `slot`.
Value Expander::mapSlot(const BoundCall &call, StringRef table, Value input,
                        const RoutingValue &routing, int64_t slot,
                        RankedTensorType type, Type compute) {
  FloatAttr none;
  auto op = moe::ExpertsOp::create(
      builder, loc(call.call.range), type, table, input, routing.ids,
      routing.weights, Activation::Identity, none, none, none, none, compute,
      /*apply_input=*/false, builder.getI64IntegerAttr(slot));
  remember(op.getResult());
  return op.getResult();
}

/// The queries of all slots; those that meet one key head lie side by side.
/// `finish` norms and rotates.
Value Expander::routedQueries(const BoundCall &call, Value x,
                              const AttentionParts &parts,
                              function_ref<Value(Value)> finish) {
  DimSource to, from;
  to.value = parts.slotHeads * parts.headDim;
  from.value = width(x);
  std::optional<std::string> table = mapTable(
      {call, "q", "heads * head_dim", "hidden", to, from}, *parts.routing);
  if (!table)
    return {};
  // Weights count once, in the end.
  Location where = loc(call.get("route")->range);
  RoutingValue routing = *parts.routing;
  routing.weights =
      map(where, routing.weights, parts.slots, builder.getF32Type(),
          [&](OpBuilder &b, ValueRange) {
            return arith::ConstantOp::create(b, where, b.getF32FloatAttr(1.0));
          });
  Type element = parts.precision.element;
  Value all;
  for (int64_t s = 0; s < parts.slots; ++s) {
    Value rows =
        finish(mapSlot(call, *table, x, routing, s,
                       streamType(to.value, element), parts.precision.compute));
    if (!rows)
      return {};
    all = all ? nn::ConcatOp::create(builder, loc(call.call.range),
                                     streamType(width(all) + to.value, element),
                                     all, rows, parts.kvHeads)
                    .getResult()
              : rows;
  }
  return all;
}

/// The sum of what the slots give, each through the last map of its expert.
Value Expander::routedOutput(const BoundCall &call, Value x, Value output,
                             const AttentionParts &parts) {
  DimSource to, from;
  to.value = width(x);
  from.value = parts.slotHeads * parts.valueDim;
  std::optional<std::string> table = mapTable(
      {call, "o", "hidden", "heads * value_dim", to, from}, *parts.routing);
  if (!table)
    return {};
  Location where = loc(call.call.range);
  Type element = parts.precision.element;
  int64_t part = from.value / parts.kvHeads; // of a key head's queries
  SmallVector<Value> terms;
  for (int64_t s = 0; s < parts.slots; ++s) {
    Value rows =
        nn::SliceOp::create(builder, where, streamType(from.value, element),
                            output, parts.kvHeads, s * part);
    terms.push_back(mapSlot(call, *table, rows, *parts.routing, s,
                            streamType(to.value, builder.getF32Type()),
                            parts.precision.compute));
  }
  return map(where, terms, to.value, element,
             [&](OpBuilder &b, ValueRange v) -> Value {
               Value sum = v[0];
               for (Value term : v.drop_front())
                 sum = arith::AddFOp::create(b, where, sum, term);
               return sum;
             });
}
