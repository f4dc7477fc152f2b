//===- IRGenAttention.cpp - Attention and its cache -----------------------===//

#include "frontend/IRGenOps.h"

#include "dialects/nn/NnDialect.h"

#include "llvm/Support/SaveAndRestore.h"

#include <cmath>

using namespace mlir;
using namespace moec;
using namespace moec::irgen;

struct Expander::Rope {
  nn::RopeStyle style;
  double theta;
};

//===----------------------------------------------------------------------===//
// Arguments
//===----------------------------------------------------------------------===//

/// The window of the mask: none for `causal`. Nothing after an error.
std::optional<std::optional<int64_t>>
Expander::attentionWindow(const BoundCall &call) {
  static const OperationSpec window = {
      "window", {{"tokens", ParamKind::Number, true, true}}};
  const ast::Expr *expr = choice(call.get("mask"));
  if (!expr)
    return std::nullopt;
  const auto *name = dyn_cast<ast::NameExpr>(expr);
  const auto *record = dyn_cast<ast::CallExpr>(expr);
  if (name && name->name == "causal")
    return std::optional<int64_t>();
  if (name && name->name == "full") {
    notBuilt(expr->range, "mask 'full'");
    return std::nullopt;
  }
  if (record && record->calleeName() == "window") {
    std::optional<BoundCall> bound =
        bindCall(*record, window, FirstOperand::Written, diagnostics);
    std::optional<int64_t> tokens =
        bound ? size(*bound, "tokens") : std::nullopt;
    if (!tokens)
      return std::nullopt;
    return tokens;
  }
  diagnostics.error(DiagId::E211, expr->range,
                    "'mask' of attention() takes one of causal, window(n)");
  return std::nullopt;
}

/// Reads `rope(theta = .., style = ..)` or `none`. False after an error.
bool Expander::readRope(const BoundCall &call, int64_t headDim,
                        std::optional<Rope> &rope) {
  static const OperationSpec operation = {
      "rope",
      {{"theta", ParamKind::Number, true, false},
       {"style", ParamKind::Choice, true, false},
       {"scaling", ParamKind::NotBuilt, false, false},
       {"dims", ParamKind::NotBuilt, false, false}}};
  const ast::Expr *expr = choice(call.get("rope"));
  if (!expr)
    return false;
  const auto *name = dyn_cast<ast::NameExpr>(expr);
  const auto *record = dyn_cast<ast::CallExpr>(expr);
  if (name && name->name == "none")
    return true;
  if (!record || record->calleeName() != "rope") {
    diagnostics.error(DiagId::E211, expr->range,
                      "'rope' of attention() takes one of none, rope(theta = "
                      "..., style = half | pairs)");
    return false;
  }
  std::optional<BoundCall> bound =
      bindCall(*record, operation, FirstOperand::Written, diagnostics);
  if (!bound)
    return false;
  std::optional<double> theta = real(*bound, "theta");
  std::optional<std::string> style = word(*bound, "style", {"half", "pairs"});
  if (!theta || !style || !needPositive(*bound->get("theta"), "theta", *theta))
    return false;
  if (headDim % 2 != 0) {
    diagnostics.error(DiagId::E304, expr->range,
                      "rotary positions need heads of even width, found " +
                          Twine(headDim));
    return false;
  }
  rope = Rope{*style == "half" ? nn::RopeStyle::Half : nn::RopeStyle::Pairs,
              *theta};
  return true;
}

/// Layers with equal parameters share one table, at the top of the function.
Value Expander::rotaryTable(double theta, int64_t width) {
  Value &table = fn->rotaryTables[{theta, width}];
  if (table)
    return table;
  OpBuilder::InsertionGuard guard(builder);
  Block &entry = fn->function.getBody().front();
  if (fn->prologueEnd)
    builder.setInsertionPointAfter(fn->prologueEnd);
  else
    builder.setInsertionPointToStart(&entry);
  auto op = nn::RotaryTableOp::create(
      builder, fn->function.getLoc(), streamType(width, builder.getF32Type()),
      fn->positions, builder.getF64FloatAttr(theta));
  fn->prologueEnd = op;
  table = op.getResult();
  return table;
}

/// Applies `q_norm` or `k_norm`, a norm without its operand; `over` says
/// whether it spans all heads or each one. Gives the input where there is none.
Value Expander::headNorm(const BoundCall &call, StringRef param, Value input,
                         int64_t headDim, Precision precision) {
  const ast::Expr *expr = choice(call.get(param));
  if (!call.find(param))
    return input;
  const auto *record = dyn_cast_or_null<ast::CallExpr>(expr);
  StringRef name = record ? record->calleeName() : StringRef();
  if (!expr)
    return {};
  if (name != "rms_norm" && name != "layer_norm") {
    diagnostics.error(DiagId::E206, expr->range,
                      "'" + param +
                          "' of attention() must be a norm without its "
                          "operand, such as rms_norm(\"w\", eps = 1e-6, over "
                          "= head)");
    return {};
  }
  std::optional<BoundCall> bound = bindCall(
      *record, *findOperation(name), FirstOperand::FromContext, diagnostics);
  if (!bound)
    return {};
  if (!bound->find("over")) {
    diagnostics.error(DiagId::E204, record->callee->range,
                      name + "() of queries or keys lacks 'over'");
    return {};
  }
  std::optional<std::string> over = word(*bound, "over", {"all", "head"});
  bool isLayer = name == "layer_norm";
  std::optional<WeightMap> map = weight(*bound, "weight", isLayer);
  std::optional<double> eps = real(*bound, "eps");
  if (!over || !map || !eps)
    return {};
  return norm({*bound, isLayer, *map, input, *eps,
               *over == "all" ? width(input) : headDim, param,
               precision.element});
}

//===----------------------------------------------------------------------===//
// Cache
//===----------------------------------------------------------------------===//

/// The states of this attention's keys and values. Functions on one block share
/// them: a session may be prefilled by one and continued by another.
std::optional<std::pair<std::string, std::string>>
Expander::attentionStates(const BoundCall &call, Value key, Value value) {
  auto rowType = [&](Value rows) {
    return RankedTensorType::get({width(rows)}, elementOf(rows));
  };
  unsigned number = fn->attentions[fn->layer]++;
  auto [it, isNew] = stateIndex.try_emplace({fn->block, fn->layer, number},
                                            states.size(), states.size() + 1);
  if (isNew) {
    for (auto [name, rows] : {std::pair("k", key), std::pair("v", value)})
      states.push_back({symbols.take(symbolBase(name), "."), rowType(rows),
                        fn->cacheTokens, fn->layer, loc(call.call.range)});
  }
  const State &k = states[it->second.first], &v = states[it->second.second];
  if (k.type == rowType(key) && v.type == rowType(value))
    return std::pair(k.symbol, v.symbol);
  diagnostics.error(DiagId::E804, call.call.range,
                    "the cache of this attention has another shape in another "
                    "entry on the same block");
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// Sizes, precision and projections of one attention.
struct Expander::AttentionParts {
  int64_t heads, kvHeads, headDim, valueDim;
  Precision precision;
  std::optional<int64_t> window;
  std::optional<Rope> rope;
  double scale;
  Value query, key, value;
};

bool Expander::readAttention(const BoundCall &call, AttentionParts &parts) {
  std::optional<int64_t> heads = size(call, "heads");
  std::optional<int64_t> kvHeads = size(call, "kv_heads");
  std::optional<int64_t> headDim = size(call, "head_dim");
  std::optional<int64_t> valueDim =
      headDim ? sizeOr(call, "value_dim", *headDim) : std::nullopt;
  std::optional<Precision> precision = this->precision(call);
  std::optional<std::optional<int64_t>> window = attentionWindow(call);
  if (!heads || !kvHeads || !headDim || !valueDim || !precision || !window ||
      !readRope(call, *headDim, parts.rope))
    return false;
  if (*heads % *kvHeads != 0) {
    diagnostics.error(DiagId::E304, call.get("kv_heads")->range,
                      Twine(*heads) + " heads are no multiple of " +
                          Twine(*kvHeads) + " key/value heads");
    return false;
  }
  parts.scale = 1.0 / std::sqrt(static_cast<double>(*headDim));
  if (call.find("scale")) {
    std::optional<double> scale = real(call, "scale");
    if (!scale)
      return false;
    parts.scale = *scale;
  }
  parts.heads = *heads;
  parts.kvHeads = *kvHeads;
  parts.headDim = *headDim;
  parts.valueDim = *valueDim;
  parts.precision = *precision;
  parts.window = *window;
  return true;
}

/// Builds queries, keys and values with their norms and positions.
bool Expander::projectAttention(const BoundCall &call, Value x,
                                AttentionParts &parts) {
  auto project = [&](StringRef param, int64_t heads, int64_t dim,
                     StringRef formula) -> Value {
    std::optional<WeightMap> map = weight(call, param, true);
    if (!map)
      return {};
    DimSource to;
    to.value = heads * dim;
    return linear({call, param, formula, *map, x, to, parts.precision,
                   call.get(param)->range});
  };
  parts.query =
      project("q", parts.heads, parts.headDim, "heads * head_dim x hidden");
  parts.key = project("k", parts.kvHeads, parts.headDim,
                      "kv_heads * head_dim x hidden");
  parts.value = project("v", parts.kvHeads, parts.valueDim,
                        "kv_heads * value_dim x hidden");
  if (!parts.query || !parts.key || !parts.value)
    return false;
  parts.query =
      headNorm(call, "q_norm", parts.query, parts.headDim, parts.precision);
  parts.key =
      headNorm(call, "k_norm", parts.key, parts.headDim, parts.precision);
  if (!parts.query || !parts.key)
    return false;
  if (!parts.rope)
    return true;
  Value table = rotaryTable(parts.rope->theta, parts.headDim);
  Location where = loc(call.get("rope")->range);
  for (Value *rows : {&parts.query, &parts.key})
    *rows = nn::RopeOp::create(builder, where, rows->getType(),
                               parts.rope->style, *rows, table);
  return true;
}

Operand Expander::buildAttention(const BoundCall &call) {
  SourceRange range = call.call.range;
  if (fn->expression) {
    notBuilt(range, "attention() in the expression of a modality");
    return Operand();
  }
  if (fn->armDepth != 0) {
    notBuilt(range, "attention() of the tokens of one modality");
    return Operand();
  }
  Operand x = stream(call, "x");
  AttentionParts parts;
  if (!x || !readAttention(call, parts) ||
      !projectAttention(call, x.value, parts))
    return recover(x);

  Location where = loc(range);
  Value key = parts.key, value = parts.value;
  FlatSymbolRefAttr keyState, valueState;
  if (fn->cacheTokens != 0) {
    auto states = attentionStates(call, key, value);
    if (!states)
      return recover(x);
    keyState = FlatSymbolRefAttr::get(&context, states->first);
    valueState = FlatSymbolRefAttr::get(&context, states->second);
    nn::StateAppendOp::create(builder, where, keyState, key, fn->positions,
                              fn->cuSeqlens);
    nn::StateAppendOp::create(builder, where, valueState, value, fn->positions,
                              fn->cuSeqlens);
    key = value = Value();
  }
  IntegerAttr window;
  if (parts.window)
    window = builder.getI64IntegerAttr(*parts.window);
  auto op = nn::AttentionOp::create(
      builder, where,
      streamType(parts.heads * parts.valueDim, parts.precision.element),
      parts.query, key, value, fn->positions, fn->cuSeqlens, keyState,
      valueState, builder.getI64IntegerAttr(parts.heads),
      builder.getI64IntegerAttr(parts.kvHeads),
      builder.getF64FloatAttr(parts.scale), window,
      TypeAttr::get(parts.precision.compute));

  std::optional<WeightMap> output = weight(call, "o", true);
  if (!output)
    return recover(x);
  DimSource to;
  to.value = width(x.value);
  return Operand::ofValue(
      linear({call, "o", "hidden x heads * value_dim", *output, op.getResult(),
              to, parts.precision, call.get("o")->range}));
}
