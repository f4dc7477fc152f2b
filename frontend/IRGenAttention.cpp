//===- IRGenAttention.cpp - Attention and its cache -----------------------===//

#include "frontend/IRGenOps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <cmath>

using namespace mlir;
using namespace moec;
using namespace moec::irgen;

//===----------------------------------------------------------------------===//
// Arguments
//===----------------------------------------------------------------------===//

/// Whether there can be attention where the walk is.
bool Expander::canAttend(const BoundCall &call) {
  if (fn->expression) {
    notBuilt(call.call.range,
             call.operation.name + "() in the expression of a modality");
    return false;
  }
  if (fn->armDepth != 0) {
    notBuilt(call.call.range,
             call.operation.name + "() of the tokens of one modality");
    return false;
  }
  return true;
}

bool Expander::readMask(const BoundCall &call, Mask &mask) {
  static const OperationSpec window = {
      "window", {{"tokens", ParamKind::Number, true, true}}};
  static const OperationSpec chunked = {
      "chunked", {{"tokens", ParamKind::Number, true, true}}};
  const ast::Expr *expr = choice(call.get("mask"));
  if (!expr)
    return false;
  const auto *name = dyn_cast<ast::NameExpr>(expr);
  const auto *record = dyn_cast<ast::CallExpr>(expr);
  mask.isFull = name && name->name == "full";
  if (name && (name->name == "causal" || mask.isFull))
    return true;
  bool isWindow = record && record->calleeName() == "window";
  if (isWindow || (record && record->calleeName() == "chunked")) {
    std::optional<BoundCall> bound =
        bindCall(*record, isWindow ? window : chunked, FirstOperand::Written,
                 diagnostics);
    std::optional<int64_t> tokens =
        bound ? size(*bound, "tokens") : std::nullopt;
    (isWindow ? mask.window : mask.chunk) = tokens;
    return tokens.has_value();
  }
  diagnostics.error(DiagId::E211, expr->range,
                    "'mask' of " + call.operation.name +
                        "() takes one of causal, full, window(n), chunked(n)");
  return false;
}

/// How scores are made: scale, soft cap, and what multiplies the queries.
bool Expander::readScoring(const BoundCall &call, int64_t headDim,
                           AttentionParts &parts) {
  static const OperationSpec temperature = {
      "temperature",
      {{"floor", ParamKind::Number, true, false},
       {"scale", ParamKind::Number, true, false}}};
  parts.scale = 1.0 / std::sqrt(static_cast<double>(headDim));
  if (isGiven(call, "scale")) {
    std::optional<double> scale = real(call, "scale");
    if (!scale)
      return false;
    parts.scale = *scale;
  }
  if (isGiven(call, "softcap")) {
    parts.softcap = real(call, "softcap");
    if (!parts.softcap ||
        !needPositive(*call.get("softcap"), "the cap", *parts.softcap))
      return false;
  }
  if (!isGiven(call, "q_scale"))
    return true;
  const ast::Expr *expr = choice(call.get("q_scale"));
  if (!expr)
    return false;
  const auto *record = dyn_cast<ast::CallExpr>(expr);
  if (!record || record->calleeName() != "temperature") {
    // A number moves from the queries to the scores.
    std::optional<double> factor = real(call, "q_scale");
    if (factor)
      parts.scale *= *factor;
    return factor.has_value();
  }
  std::optional<BoundCall> bound =
      bindCall(*record, temperature, FirstOperand::Written, diagnostics);
  if (!bound)
    return false;
  std::optional<double> floor = real(*bound, "floor");
  std::optional<double> scale = real(*bound, "scale");
  if (!floor || !scale || !needPositive(*bound->get("floor"), "floor", *floor))
    return false;
  parts.temperature = AttentionParts::Temperature{*floor, *scale};
  return true;
}

bool Expander::readAttention(const BoundCall &call, AttentionParts &parts) {
  std::optional<int64_t> heads = size(call, "heads");
  std::optional<int64_t> kvHeads = size(call, "kv_heads");
  std::optional<int64_t> headDim = size(call, "head_dim");
  std::optional<int64_t> valueDim =
      headDim ? sizeOr(call, "value_dim", *headDim) : std::nullopt;
  std::optional<Precision> precision = this->precision(call);
  bool hasMask = readMask(call, parts.mask);
  if (!heads || !kvHeads || !headDim || !valueDim || !precision || !hasMask ||
      !readRope(call, *headDim, parts.rope) ||
      !readScoring(call, *headDim, parts))
    return false;
  if (*heads % *kvHeads != 0) {
    diagnostics.error(DiagId::E304, call.get("kv_heads")->range,
                      Twine(*heads) + " heads are no multiple of " +
                          Twine(*kvHeads) + " key/value heads");
    return false;
  }
  parts.heads = *heads;
  parts.kvHeads = *kvHeads;
  parts.headDim = *headDim;
  parts.valueDim = *valueDim;
  parts.precision = *precision;
  return true;
}

/// Applies a norm without its operand, such as `q_norm`. Gives the input where
/// there is none. With `headDim` the norm says by `over` whether it spans all
/// heads or each one.
Value Expander::partNorm(const BoundCall &call, StringRef param, Value input,
                         std::optional<int64_t> headDim, Type element) {
  if (!isGiven(call, param))
    return input;
  const ast::Expr *expr = choice(call.get(param));
  if (!expr)
    return {};
  const auto *record = dyn_cast<ast::CallExpr>(expr);
  StringRef name = record ? record->calleeName() : StringRef();
  if (name != "rms_norm" && name != "layer_norm") {
    StringRef example = headDim ? "rms_norm(\"w\", eps = 1e-6, over = head)"
                                : "rms_norm(\"w\", eps = 1e-6)";
    diagnostics.error(DiagId::E206, expr->range,
                      "'" + param + "' of " + call.operation.name +
                          "() must be a norm without its operand, such as " +
                          example);
    return {};
  }
  std::optional<BoundCall> bound = bindCall(
      *record, *findOperation(name), FirstOperand::FromContext, diagnostics);
  if (!bound)
    return {};
  int64_t group = width(input);
  if (headDim) {
    if (!bound->find("over")) {
      diagnostics.error(DiagId::E204, record->callee->range,
                        name + "() of queries or keys lacks 'over'");
      return {};
    }
    std::optional<std::string> over =
        this->word(*bound, "over", {"all", "head"});
    if (!over)
      return {};
    if (*over == "head")
      group = *headDim;
  } else if (const ast::CallArgument *over = bound->find("over")) {
    diagnostics.error(DiagId::E203, over->range,
                      "'over' belongs to the norms of queries and keys");
    return {};
  }
  bool isLayer = name == "layer_norm";
  std::optional<WeightMap> map;
  if (bound->find("weight") && !(map = weight(*bound, "weight", isLayer)))
    return {};
  std::optional<double> eps = real(*bound, "eps");
  if (!eps)
    return {};
  return norm({*bound, isLayer, map, input, *eps, group, param, element});
}

//===----------------------------------------------------------------------===//
// Cache
//===----------------------------------------------------------------------===//

/// The states of this attention's rows, by name. Functions on one block share
/// them: a session may be prefilled by one and continued by another.
std::optional<std::vector<std::string>>
Expander::attentionStates(const BoundCall &call,
                          ArrayRef<std::pair<StringRef, Value>> rows) {
  auto rowType = [&](Value rows) {
    return RankedTensorType::get({width(rows)}, elementOf(rows));
  };
  unsigned number = fn->attentions[fn->layer]++;
  auto [it, isNew] =
      stateIndex.try_emplace({fn->block, fn->layer, number}, states.size());
  if (isNew)
    for (auto [name, value] : rows)
      states.push_back({symbols.take(symbolBase(name), "."), rowType(value),
                        fn->cacheTokens, fn->layer, loc(call.call.range)});
  std::vector<std::string> result;
  for (auto [i, row] : llvm::enumerate(rows)) {
    size_t index = it->second + i;
    if (index >= states.size() || states[index].type != rowType(row.second)) {
      diagnostics.error(DiagId::E804, call.call.range,
                        "the cache of this attention has another shape in "
                        "another entry on the same block");
      return std::nullopt;
    }
    result.push_back(states[index].symbol);
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// What multiplies queries by their position.
Value Expander::scaleQueries(const BoundCall &call, Value query,
                             const AttentionParts &parts) {
  if (!parts.temperature)
    return query;
  Location where = loc(call.get("q_scale")->range);
  return map(where, {query, fn->positions}, width(query), elementOf(query),
             [&](OpBuilder &b, ValueRange v) -> Value {
               auto constant = [&](double x) -> Value {
                 return arith::ConstantOp::create(b, where,
                                                  b.getF32FloatAttr(x));
               };
               Value one = constant(1.0);
               Value count = arith::AddFOp::create(b, where, v[1], one);
               Value steps = math::FloorOp::create(
                   b, where,
                   arith::DivFOp::create(b, where, count,
                                         constant(parts.temperature->floor)));
               Value grown = arith::MulFOp::create(
                   b, where, math::Log1pOp::create(b, where, steps),
                   constant(parts.temperature->scale));
               Value factor = arith::AddFOp::create(b, where, grown, one);
               return arith::MulFOp::create(b, where, v[0], factor);
             });
}

/// Builds queries, keys and values with their norms and positions.
bool Expander::projectAttention(const BoundCall &call, Value x,
                                AttentionParts &parts) {
  Type element = parts.precision.element;
  std::optional<double> clip;
  bool normAfterRope = false;
  if (isGiven(call, "clip")) {
    clip = real(call, "clip");
    if (!clip || !needPositive(*call.get("clip"), "'clip'", *clip))
      return false;
  }
  if (isGiven(call, "norm_after_rope")) {
    std::optional<bool> after = flag(call, "norm_after_rope");
    if (!after)
      return false;
    normAfterRope = *after;
  }
  auto clamp = [&](Value rows) {
    if (!clip)
      return rows;
    Location where = loc(call.get("clip")->range);
    return map(
        where, rows, width(rows), element,
        [&](OpBuilder &b, ValueRange v) -> Value {
          auto bound = [&](double x) -> Value {
            return arith::ConstantOp::create(b, where, b.getF32FloatAttr(x));
          };
          Value low = arith::MaximumFOp::create(b, where, v[0], bound(-*clip));
          return arith::MinimumFOp::create(b, where, low, bound(*clip));
        });
  };
  // The steps of one of the three, in the order of published models: OLMoE
  // clips what is normed.
  auto finish = [&](StringRef param, Value rows, int64_t dim) -> Value {
    std::string name = (param + "_norm").str();
    bool isValue = param == "v", isLate = normAfterRope && !isValue;
    if (rows && !isLate)
      rows = partNorm(call, name, rows, dim, element);
    if (!rows)
      return {};
    rows = clamp(rows);
    if (!isValue && parts.rope)
      rows = rotate(loc(parts.rope->range), rows, *parts.rope, dim);
    return isLate ? partNorm(call, name, rows, dim, element) : rows;
  };
  auto project = [&](StringRef param, int64_t heads, int64_t dim,
                     StringRef formula) -> Value {
    Value rows =
        projection(call, param, formula, x, heads * dim, parts.precision);
    return rows ? finish(param, rows, dim) : Value();
  };
  parts.query = parts.routing
                    ? routedQueries(call, x, parts,
                                    [&](Value rows) {
                                      return finish("q", rows, parts.headDim);
                                    })
                    : project("q", parts.heads, parts.headDim,
                              "heads * head_dim x hidden");
  parts.key = project("k", parts.kvHeads, parts.headDim,
                      "kv_heads * head_dim x hidden");
  parts.value = project("v", parts.kvHeads, parts.valueDim,
                        "kv_heads * value_dim x hidden");
  if (!parts.query || !parts.key || !parts.value)
    return false;
  parts.query = scaleQueries(call, parts.query, parts);
  return true;
}

/// `key_bias`: one more element of each key head, which meets one over the
/// scale in the queries.
bool Expander::biasKeys(const BoundCall &call, AttentionParts &parts) {
  if (!isGiven(call, "key_bias"))
    return true;
  const ast::Expr &expr = *call.get("key_bias");
  if (parts.softcap) {
    notBuilt(expr.range, "'key_bias' beside 'softcap'");
    return false;
  }
  Operand bias = stream(call, "key_bias");
  if (!bias)
    return false;
  if (width(bias.value) != parts.kvHeads) {
    diagnostics.error(DiagId::E302, expr.range,
                      "expected a 'key_bias' of " + Twine(parts.kvHeads) +
                          " numbers, one for each key head, found " +
                          Twine(width(bias.value)));
    return false;
  }
  Location where = loc(expr.range);
  Type element = parts.precision.element;
  auto join = [&](Value rows, Value more, int64_t heads) -> Value {
    return nn::ConcatOp::create(builder, where,
                                streamType(width(rows) + heads, element), rows,
                                more, heads);
  };
  Value unit = map(where, bias.value, parts.heads, element,
                   [&](OpBuilder &b, ValueRange) -> Value {
                     return arith::ConstantOp::create(
                         b, where, b.getF32FloatAttr(1.0 / parts.scale));
                   });
  parts.key =
      join(parts.key, convert(where, bias.value, element), parts.kvHeads);
  parts.query = join(parts.query, unit, parts.heads);
  return true;
}

/// Stores the new rows, if there is a cache, and attends. One value as keys and
/// values is one state.
Value Expander::attend(const BoundCall &call, AttentionParts &parts) {
  Location where = loc(call.call.range);
  Value key = parts.key, value = parts.value, sinks;
  if (isGiven(call, "sinks")) {
    std::optional<WeightMap> map = weight(call, "sinks", false);
    if (!map)
      return {};
    DimSource size;
    size.value = parts.heads;
    sinks = weightRef(map->weight, weightUse(call, "sinks", "heads", {size}));
  }
  FlatSymbolRefAttr keyState, valueState;
  if (fn->cacheTokens != 0) {
    SmallVector<std::pair<StringRef, Value>, 2> rows;
    if (key == value)
      rows = {{"kv", key}};
    else
      rows = {{"k", key}, {"v", value}};
    auto names = attentionStates(call, rows);
    if (!names)
      return {};
    for (auto [name, row] : llvm::zip(*names, rows))
      nn::StateAppendOp::create(builder, where,
                                FlatSymbolRefAttr::get(&context, name),
                                row.second, fn->positions, fn->cuSeqlens);
    keyState = FlatSymbolRefAttr::get(&context, names->front());
    valueState = FlatSymbolRefAttr::get(&context, names->back());
    key = value = Value();
  }
  auto optional = [&](std::optional<int64_t> size) {
    return size ? builder.getI64IntegerAttr(*size) : IntegerAttr();
  };
  FloatAttr softcap;
  if (parts.softcap)
    softcap = builder.getF64FloatAttr(*parts.softcap);
  return nn::AttentionOp::create(
      builder, where,
      streamType(parts.heads * parts.valueDim, parts.precision.element),
      parts.query, key, value, fn->positions, fn->cuSeqlens, keyState,
      valueState, sinks, builder.getI64IntegerAttr(parts.heads),
      builder.getI64IntegerAttr(parts.kvHeads),
      builder.getF64FloatAttr(parts.scale), softcap,
      optional(parts.mask.window), optional(parts.mask.chunk),
      parts.mask.isFull ? builder.getUnitAttr() : UnitAttr(),
      TypeAttr::get(parts.precision.compute));
}

/// `gate`: the result times the sigmoid of a map of the input.
Value Expander::gateOutput(const BoundCall &call, Value x, Value output,
                           const AttentionParts &parts) {
  bool perHead = false;
  if (call.find("gate_per")) {
    std::optional<std::string> per =
        word(call, "gate_per", {"element", "head"});
    if (!per)
      return {};
    perHead = *per == "head";
    if (!call.find("gate")) {
      diagnostics.error(DiagId::E204, call.call.callee->range,
                        "attention() with 'gate_per' lacks 'gate'");
      return {};
    }
  }
  if (!isGiven(call, "gate"))
    return output;
  Value gate = projection(
      call, "gate", perHead ? "heads x hidden" : "heads * value_dim x hidden",
      x, perHead ? parts.heads : width(output), parts.precision);
  if (!gate)
    return {};
  Location where = loc(call.get("gate")->range);
  return map(where, {output, gate}, width(output), elementOf(output),
             [&](OpBuilder &b, ValueRange v) -> Value {
               Value open =
                   buildActivation(b, where, Activation::Sigmoid, v[1]);
               return arith::MulFOp::create(b, where, v[0], open);
             });
}

/// The map `o` back to the width of the input.
Value Expander::projectOutput(const BoundCall &call, Value x, Value output,
                              Precision precision) {
  return projection(call, "o", "hidden x heads * value_dim", output, width(x),
                    precision);
}

Operand Expander::buildAttention(const BoundCall &call) {
  if (!canAttend(call))
    return Operand();
  Operand x = stream(call, "x");
  AttentionParts parts;
  if (!x || !readAttention(call, parts) || !readRouting(call, parts) ||
      !projectAttention(call, x.value, parts) || !biasKeys(call, parts))
    return recover(x);
  Value output = attend(call, parts);
  if (output)
    output = gateOutput(call, x.value, output, parts);
  if (output)
    output = parts.routing
                 ? routedOutput(call, x.value, output, parts)
                 : projectOutput(call, x.value, output, parts.precision);
  return output ? Operand::ofValue(output) : recover(x);
}
