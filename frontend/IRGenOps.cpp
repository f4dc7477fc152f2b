//===- IRGenOps.cpp - Operations on streams -------------------------------===//

#include "frontend/IRGenOps.h"

#include "dialects/moe/MoeDialect.h"
#include "dialects/nn/NnDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <cmath>

using namespace mlir;
using namespace moec;
using namespace moec::irgen;

//===----------------------------------------------------------------------===//
// Small parts
//===----------------------------------------------------------------------===//

int64_t Expander::width(Value stream) {
  return cast<RankedTensorType>(stream.getType()).getDimSize(1);
}

Type Expander::elementOf(Value stream) {
  return cast<RankedTensorType>(stream.getType()).getElementType();
}

RankedTensorType Expander::streamType(int64_t width, Type element) {
  return RankedTensorType::get({ShapedType::kDynamic, width}, element);
}

/// Keeps a stream of each width at hand, for `zero`.
void Expander::remember(Value stream) {
  if (fn->armDepth == 0)
    fn->streamOfWidth[width(stream)] = stream;
}

Value Expander::map(Location loc, ValueRange inputs, int64_t width,
                    Type element, Body body) {
  auto op = nn::MapOp::create(builder, loc, streamType(width, element), inputs);
  OpBuilder::InsertionGuard guard(builder);
  Block *block = builder.createBlock(&op.getBody());
  SmallVector<Value> arguments;
  for (Value input : inputs) {
    Type element = elementOf(input);
    bool isInteger = isa<IntegerType>(element);
    Type type = isInteger ? element : Type(builder.getF32Type());
    Value argument = block->addArgument(type, loc);
    // Raw bytes are unsigned (docs/ir-conventions.md), positions are not.
    if (element.isInteger(8))
      argument =
          arith::UIToFPOp::create(builder, loc, builder.getF32Type(), argument);
    else if (isInteger)
      argument =
          arith::SIToFPOp::create(builder, loc, builder.getF32Type(), argument);
    arguments.push_back(argument);
  }
  Value result = body(builder, arguments);
  nn::YieldOp::create(builder, loc, result);
  remember(op.getResult());
  return op.getResult();
}

Value Expander::convert(Location loc, Value value, Type element) {
  if (elementOf(value) == element)
    return value;
  return map(loc, value, width(value), element,
             [](OpBuilder &, ValueRange arguments) { return arguments[0]; });
}

static Value constant(OpBuilder &b, Location loc, double value) {
  return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(value));
}

/// Stands for what an error was reported about, so that the walk goes on and
/// finds others; the module is dropped in the end.
Value Expander::placeholder(RankedTensorType type) {
  return UnrealizedConversionCastOp::create(builder, builder.getUnknownLoc(),
                                            type, ValueRange())
      .getResult(0);
}

/// The result of an operation on `x` about which an error was reported, where
/// its width is known: that of the operand, or the one given.
Operand Expander::recover(const Operand &x, std::optional<int64_t> width) {
  if (!x.is(OperandKind::Value))
    return Operand();
  return Operand::ofValue(
      placeholder(streamType(width.value_or(Expander::width(x.value)),
                             elementOf(x.value))),
      x.rows);
}

WeightUse Expander::weightUse(const BoundCall &call, StringRef argument,
                              StringRef formula,
                              SmallVector<DimSource, 2> dims) {
  WeightUse use;
  use.operation = call.operation.name;
  use.argument = argument;
  use.formula = formula;
  use.dims = std::move(dims);
  use.role = argument;
  use.layer = fn->layer;
  return use;
}

Value Expander::weightRef(const WeightTerm &term, WeightUse use) {
  Location where = loc(term.range);
  use.loc = where;
  std::optional<WeightSymbol> symbol = weights.get(term, use);
  if (!symbol)
    return placeholder(RankedTensorType::get(use.shape(), dtype));
  return moe::WeightRefOp::create(builder, where, symbol->type,
                                  symbol->name.getValue());
}

//===----------------------------------------------------------------------===//
// Into the stream
//===----------------------------------------------------------------------===//

Operand Expander::buildEmbed(const BoundCall &call) {
  Operand ids = evaluate(*call.get("ids"));
  std::optional<WeightMap> table = weight(call, "table", false);
  std::optional<int64_t> to = size(call, "to");
  if (ids && !ids.is(OperandKind::Ids)) {
    wrongKind(call, "ids", ids, "the token ids of a modality");
    return Operand();
  }
  if (!ids || !table || !to)
    return Operand();
  DimSource vocab;
  vocab.value = ids.modality->vocab;
  WeightUse use =
      weightUse(call, "table", "ids x to", {vocab, dim(call, "to", *to)});
  use.role = "embed";
  Value ref = weightRef(table->weight, use);
  if (!ref)
    return Operand();
  // Tokens of other modalities have no id of this one.
  bool alone = fn->modalities.size() == 1;
  auto op = nn::EmbedOp::create(
      builder, loc(call.call.range), streamType(*to, dtype), ids.value, ref,
      alone ? Value() : fn->kinds,
      alone ? IntegerAttr() : builder.getI64IntegerAttr(ids.modality->id));
  remember(op.getResult());
  return Operand::ofValue(op.getResult(), ids.rows);
}

/// Rows of a raw input as tokens: patches of one row each.
Value Expander::cutRows(Value value, ArrayRef<int64_t> dims,
                        SourceRange range) {
  return nn::PatchesOp::create(
      builder, loc(range), streamType(dims[1], elementOf(value)), value,
      dims[0], /*width=*/1, dims[1], /*size=*/1, nn::PatchOrder::Hwc);
}

Operand Expander::buildPatches(const BoundCall &call) {
  const ast::Expr &source = *call.get("pixels");
  Operand pixels = evaluate(source);
  std::optional<int64_t> size = this->size(call, "size");
  std::optional<std::string> order = word(call, "order", {"hwc", "chw"});
  if (!pixels || !size || !order)
    return Operand();
  if (!pixels.is(OperandKind::Raw)) {
    wrongKind(call, "pixels", pixels, "a raw input");
    return Operand();
  }
  ArrayRef<int64_t> dims = pixels.modality->dims;
  if (dims.size() != 3) {
    diagnostics.error(DiagId::E505, source.range,
                      "patches() cuts raw inputs of height, width and "
                      "channels, this one has " +
                          Twine(dims.size()) + " dimensions");
    return Operand();
  }
  if (dims[0] % *size != 0 || dims[1] % *size != 0) {
    diagnostics.error(DiagId::E304, call.get("size")->range,
                      "patches of " + Twine(*size) +
                          " do not divide an image of " + Twine(dims[0]) +
                          " x " + Twine(dims[1]));
    return Operand();
  }
  Location where = loc(call.call.range);
  Value input = convert(where, pixels.value, builder.getF32Type());
  int64_t width = *size * *size * dims[2];
  auto op = nn::PatchesOp::create(
      builder, where, streamType(width, builder.getF32Type()), input, dims[0],
      dims[1], dims[2], *size,
      *order == "hwc" ? nn::PatchOrder::Hwc : nn::PatchOrder::Chw);
  return Operand::ofValue(op.getResult(),
                          (dims[0] / *size) * (dims[1] / *size));
}

Operand Expander::buildAddPositions(const BoundCall &call) {
  Operand x = stream(call, "x");
  std::optional<WeightMap> table = weight(call, "table", false);
  if (!x || !table)
    return recover(x);
  if (x.rows == 0) {
    diagnostics.error(DiagId::E504, call.call.range,
                      "add_positions() counts the tokens of a raw input, so "
                      "it stands in the expression of a modality");
    return Operand();
  }
  DimSource rows, columns;
  rows.value = x.rows;
  columns.value = width(x.value);
  WeightUse use = weightUse(call, "table", "tokens x width", {rows, columns});
  use.role = "position";
  Value ref = weightRef(table->weight, use);
  if (!ref)
    return Operand();
  auto op = nn::AddPositionsOp::create(builder, loc(call.call.range),
                                       x.value.getType(), x.value, ref);
  remember(op.getResult());
  return Operand::ofValue(op.getResult(), x.rows);
}

//===----------------------------------------------------------------------===//
// Maps and norms
//===----------------------------------------------------------------------===//

Value Expander::linear(const LinearUse &use) {
  DimSource from;
  from.value = width(use.input);
  WeightUse matrixUse =
      weightUse(use.call, use.argument, use.formula, {use.to, from});
  if (use.argument == "weight")
    matrixUse.role = "linear";
  Value matrix = weightRef(use.map.weight, matrixUse);
  Value bias;
  if (use.map.bias) {
    WeightUse biasUse = weightUse(use.call, use.argument, "to", {use.to});
    biasUse.role = "bias";
    bias = weightRef(*use.map.bias, biasUse);
    if (!bias)
      return {};
  }
  if (!matrix)
    return {};
  auto op = nn::LinearOp::create(
      builder, loc(use.range), streamType(use.to.value, use.precision.element),
      use.input, matrix, bias, use.precision.compute);
  remember(op.getResult());
  return op.getResult();
}

/// A linear map of `input` by the weight `param`, or by one of its own for the
/// tokens of each modality. Null after an error.
Value Expander::projection(const BoundCall &call, StringRef param,
                           StringRef formula, Value input, int64_t to,
                           Precision precision) {
  const ast::Expr *expr = choice(call.get(param));
  if (!expr)
    return {};
  bool isLinear = call.operation.name == "linear";
  auto apply = [&](Operand map) -> Operand {
    if (!map.is(OperandKind::Weight)) {
      wrongKind(call, param, map, "a weight");
      return Operand();
    }
    DimSource size = dim(call, isLinear ? "to" : param, to);
    Value rows = linear({call, param, formula, *map.map, input, size, precision,
                         isLinear ? call.call.range : call.get(param)->range});
    return rows ? Operand::ofValue(rows) : Operand();
  };
  if (const auto *family = dyn_cast<ast::FamilyExpr>(expr))
    return evaluateFamily(*family, apply).value;
  if (const auto *by = dyn_cast<ast::ByExpr>(expr))
    return evaluateBy(*by, apply).value;
  return apply(evaluate(*expr)).value;
}

Operand Expander::buildLinear(const BoundCall &call) {
  Operand x = stream(call, "x");
  std::optional<int64_t> to = size(call, "to");
  std::optional<Precision> precision = this->precision(call);
  if (!x || !to || !precision)
    return to ? recover(x, to) : Operand();
  Value result =
      projection(call, "weight", "to x from", x.value, *to, *precision);
  return result ? Operand::ofValue(result, x.rows) : recover(x, to);
}

Operand Expander::buildNorm(const BoundCall &call) {
  bool isLayer = call.operation.name == "layer_norm";
  if (const ast::CallArgument *over = call.find("over")) {
    diagnostics.error(DiagId::E203, over->range,
                      "'over' belongs to the norms of queries and keys");
    return Operand();
  }
  Operand x = stream(call, "x");
  std::optional<WeightMap> map;
  if (call.find("weight") && !(map = weight(call, "weight", isLayer)))
    return recover(x);
  std::optional<double> eps = real(call, "eps");
  std::optional<Precision> precision = this->precision(call);
  if (!x || !eps || !precision)
    return recover(x);
  Value result = norm({call, isLayer, map, x.value, *eps, width(x.value),
                       "norm", precision->element});
  return Operand::ofValue(result, x.rows);
}

Value Expander::norm(const NormUse &use) {
  DimSource size;
  size.value = use.group;
  Value weight, bias;
  if (use.map) {
    WeightUse weightUse = this->weightUse(use.call, "weight", "width", {size});
    weightUse.role = use.role;
    weight = weightRef(use.map->weight, weightUse);
    weightUse.role = "bias";
    if (use.map->bias)
      bias = weightRef(*use.map->bias, weightUse);
  }
  auto op = nn::NormOp::create(
      builder, loc(use.call.call.range),
      streamType(width(use.input), use.element),
      nn::NormKindAttr::get(&context, use.isLayer ? nn::NormKind::Layer
                                                  : nn::NormKind::Rms),
      use.input, weight, bias, builder.getF64FloatAttr(use.eps),
      weight ? IntegerAttr() : builder.getI64IntegerAttr(use.group));
  remember(op.getResult());
  return op.getResult();
}

//===----------------------------------------------------------------------===//
// Feed-forward networks
//===----------------------------------------------------------------------===//

/// The arguments of glu and mlp, on a value or as an expert of `hidden` inputs.
std::optional<Expander::FeedForward>
Expander::feedForward(const BoundCall &call, int64_t hidden, bool gated) {
  FeedForward ffn;
  std::optional<HiddenFunction> function = activation(call);
  std::optional<int64_t> width = size(call, "width");
  std::optional<int64_t> to = sizeOr(call, "to", hidden);
  std::optional<Precision> precision = this->precision(call);
  bool ok = function && width && to && precision;
  ok &= function && readClamp(call, *function);
  if (gated && call.find("up_offset")) {
    std::optional<double> offset = real(call, "up_offset");
    if (offset && !std::isfinite(static_cast<float>(*offset))) {
      diagnostics.error(DiagId::E212, call.get("up_offset")->range,
                        "'up_offset' of glu() must be within the range of f32");
      offset.reset();
    }
    ok &= offset.has_value();
    if (ok)
      function->upOffset = *offset;
  }
  for (StringRef param : {"gate", "up", "down"}) {
    if (param == "gate" && !gated)
      continue;
    std::optional<WeightMap> map = weight(call, param, true);
    if (!map) {
      ok = false;
      continue;
    }
    (param == "gate" ? ffn.gate
     : param == "up" ? ffn.up
                     : ffn.down) = std::move(*map);
  }
  if (!ok)
    return std::nullopt;
  ffn.function = *function;
  ffn.width = dim(call, "width", *width);
  ffn.hidden.value = hidden;
  ffn.to = dim(call, "to", *to);
  ffn.precision = *precision;
  return ffn;
}

/// The bias of a map, or null if it has none. Nothing after an error.
std::optional<Value> Expander::biasRef(const BoundCall &call,
                                       StringRef argument, const WeightMap &map,
                                       DimSource size) {
  if (!map.bias)
    return Value();
  WeightUse use = weightUse(call, argument, "to", {size});
  use.role = "bias";
  Value ref = weightRef(*map.bias, use);
  return ref ? std::optional<Value>(ref) : std::nullopt;
}

Operand Expander::buildFeedForward(const BoundCall &call) {
  bool gated = call.operation.name == "glu";
  Operand x = stream(call, "x");
  if (!x)
    return Operand();
  std::optional<FeedForward> ffn = feedForward(call, width(x.value), gated);
  if (!ffn)
    return call.find("to") ? Operand() : recover(x);
  bool ok = true;
  auto map = [&](StringRef argument, StringRef formula, const WeightMap &map,
                 DimSource to, DimSource from) {
    std::pair<Value, Value> result;
    result.first =
        weightRef(map.weight, weightUse(call, argument, formula, {to, from}));
    std::optional<Value> bias = biasRef(call, argument, map, to);
    ok &= result.first && bias;
    result.second = bias.value_or(Value());
    return result;
  };
  std::pair<Value, Value> gate;
  if (gated)
    gate = map("gate", "width x hidden", ffn->gate, ffn->width, ffn->hidden);
  auto up = map("up", "width x hidden", ffn->up, ffn->width, ffn->hidden);
  auto down = map("down", "to x width", ffn->down, ffn->to, ffn->width);
  if (!ok)
    return Operand();
  Location where = loc(call.call.range);
  Type type = streamType(ffn->to.value, ffn->precision.element);
  Value result;
  FloatAttr none;
  if (gated) {
    auto op = nn::GluOp::create(builder, where, type, x.value, gate.first,
                                gate.second, up.first, up.second, down.first,
                                down.second, ffn->function.activation, none,
                                none, none, none, ffn->precision.compute);
    setHiddenFunction(op, ffn->function);
    result = op.getResult();
  } else {
    auto op =
        nn::MlpOp::create(builder, where, type, x.value, up.first, up.second,
                          down.first, down.second, ffn->function.activation,
                          none, none, none, none, ffn->precision.compute);
    setHiddenFunction(op, ffn->function);
    result = op.getResult();
  }
  remember(result);
  return Operand::ofValue(result, x.rows);
}

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

/// ln(1 + exp(x)), without overflow.
static Value buildSoftplus(OpBuilder &b, Location loc, Value x) {
  Value size = math::AbsFOp::create(b, loc, x);
  Value small =
      math::ExpOp::create(b, loc, arith::NegFOp::create(b, loc, size));
  Value positive = arith::MaximumFOp::create(b, loc, x, constant(b, loc, 0.0));
  return arith::AddFOp::create(b, loc, positive,
                               math::Log1pOp::create(b, loc, small));
}

Operand Expander::buildActivationMap(const BoundCall &call) {
  Operand x = stream(call, "x");
  std::optional<Activation> activation =
      symbolizeActivation(call.operation.name);
  if (!x)
    return Operand();
  Location where = loc(call.call.range);
  Value result =
      map(where, x.value, width(x.value), elementOf(x.value),
          [&](OpBuilder &b, ValueRange arguments) -> Value {
            if (activation)
              return buildActivation(b, where, *activation, arguments[0]);
            if (call.operation.name == "exp")
              return math::ExpOp::create(b, where, arguments[0]);
            return buildSoftplus(b, where, arguments[0]);
          });
  return Operand::ofValue(result, x.rows);
}

/// cap * tanh(x / cap).
Operand Expander::buildSoftcap(const BoundCall &call) {
  Operand x = stream(call, "x");
  std::optional<double> cap = real(call, "cap");
  if (!x || !cap || !needPositive(*call.get("cap"), "the cap", *cap))
    return Operand();
  Location where = loc(call.call.range);
  Value result = map(where, x.value, width(x.value), elementOf(x.value),
                     [&](OpBuilder &b, ValueRange arguments) -> Value {
                       Value limit = constant(b, where, *cap);
                       Value scaled =
                           arith::DivFOp::create(b, where, arguments[0], limit);
                       Value bent = math::TanhOp::create(b, where, scaled);
                       return arith::MulFOp::create(b, where, bent, limit);
                     });
  return Operand::ofValue(result, x.rows);
}

Operand Expander::negate(const Operand &operand, SourceRange range) {
  Location where = loc(range);
  Value result =
      map(where, operand.value, width(operand.value), elementOf(operand.value),
          [&](OpBuilder &b, ValueRange arguments) -> Value {
            return arith::NegFOp::create(b, where, arguments[0]);
          });
  return Operand::ofValue(result, operand.rows);
}

static Value buildArithmetic(OpBuilder &b, Location loc, ast::BinaryOp op,
                             Value lhs, Value rhs) {
  switch (op) {
  case ast::BinaryOp::Add:
    return arith::AddFOp::create(b, loc, lhs, rhs);
  case ast::BinaryOp::Subtract:
    return arith::SubFOp::create(b, loc, lhs, rhs);
  case ast::BinaryOp::Multiply:
    return arith::MulFOp::create(b, loc, lhs, rhs);
  default:
    return arith::DivFOp::create(b, loc, lhs, rhs);
  }
}

static bool isArithmetic(ast::BinaryOp op) {
  return op == ast::BinaryOp::Add || op == ast::BinaryOp::Subtract ||
         op == ast::BinaryOp::Multiply || op == ast::BinaryOp::Divide;
}

/// A value with a stored vector on either side, as wide as the value or of one
/// number. The result is of the value's type.
Operand Expander::withStored(const ast::BinaryExpr &binary,
                             const Operand &value, const Operand &stored,
                             bool isLeft) {
  if (stored.map->bias) {
    diagnostics.error(DiagId::E206, binary.range,
                      "'" + ast::spelling(binary.op) +
                          "' of a value takes one stored vector, found " +
                          stored.describe());
    return Operand();
  }
  const WeightTerm &term = stored.map->weight;
  bool isNumber = weights.lengthOf(term) == 1;
  DimSource size;
  size.value = isNumber ? 1 : width(value.value);
  WeightUse use;
  std::string sign = ("'" + ast::spelling(binary.op) + "'").str();
  use.operation = sign;
  use.argument = "vector";
  use.formula = isNumber ? "1" : "width";
  use.dims = {size};
  use.role = "vector";
  use.layer = fn->layer;
  Value vector = weightRef(term, use);
  Location where = loc(binary.range);
  Operand result = value;
  result.value =
      map(where, {value.value, vector}, width(value.value),
          elementOf(value.value), [&](OpBuilder &b, ValueRange v) {
            return buildArithmetic(b, where, binary.op, v[isLeft], v[!isLeft]);
          });
  return result;
}

/// A value with a value, or with a number on either side. The result is f32
/// where all values are; otherwise it is of the file's dtype.
Operand Expander::elementwise(const ast::BinaryExpr &binary, Operand lhs,
                              Operand rhs) {
  for (bool isLeft : {true, false}) {
    const Operand &value = isLeft ? rhs : lhs, &stored = isLeft ? lhs : rhs;
    if (value.is(OperandKind::Value) && stored.is(OperandKind::Weight) &&
        isArithmetic(binary.op))
      return withStored(binary, value, stored, isLeft);
  }
  auto isValue = [](const Operand &o) {
    return o.is(OperandKind::Value) || o.is(OperandKind::Raw);
  };
  auto isNumber = [](const Operand &o) {
    return o.is(OperandKind::Static) && o.constant.isNumber();
  };
  bool fits = (isValue(lhs) || isNumber(lhs)) &&
              (isValue(rhs) || isNumber(rhs)) && (isValue(lhs) || isValue(rhs));
  if (!fits || !isArithmetic(binary.op)) {
    diagnostics.error(DiagId::E206, binary.range,
                      "'" + ast::spelling(binary.op) +
                          "' takes values and numbers, found " +
                          lhs.describe() + " and " + rhs.describe());
    return Operand();
  }
  if (isValue(lhs) && isValue(rhs) && lhs.kind != rhs.kind) {
    lhs = asStream(std::move(lhs), binary.lhs->range);
    rhs = asStream(std::move(rhs), binary.rhs->range);
    if (!lhs || !rhs)
      return Operand();
  }
  SmallVector<Value, 2> inputs;
  int64_t result = 1;
  bool allF32 = true;
  for (const Operand *side : {&lhs, &rhs})
    if (isValue(*side)) {
      inputs.push_back(side->value);
      result = std::max(result, width(side->value));
      Type element = elementOf(side->value);
      allF32 &= element.isF32() || element.isInteger();
    }
  if (inputs.size() == 2 && !sameStreams(binary, lhs, rhs, result))
    return Operand();
  Location where = loc(binary.range);
  Value value =
      map(where, inputs, result, allF32 ? Type(builder.getF32Type()) : dtype,
          [&](OpBuilder &b, ValueRange arguments) {
            size_t next = 0;
            auto element = [&](const Operand &side) {
              return isValue(side) ? arguments[next++]
                                   : constant(b, where, side.constant.asReal());
            };
            Value left = element(lhs), right = element(rhs);
            return buildArithmetic(b, where, binary.op, left, right);
          });
  Operand operand = isValue(lhs) ? lhs : rhs;
  operand.value = value;
  return operand;
}

bool Expander::sameStreams(const ast::BinaryExpr &binary, const Operand &lhs,
                           const Operand &rhs, int64_t width) {
  auto fits = [&](const Operand &side) {
    int64_t w = Expander::width(side.value);
    return w == width || w == 1;
  };
  if (!fits(lhs) || !fits(rhs)) {
    diagnostics.error(DiagId::E302, binary.range,
                      "'" + ast::spelling(binary.op) + "' of values that are " +
                          Twine(Expander::width(lhs.value)) + " and " +
                          Twine(Expander::width(rhs.value)) + " wide");
    return false;
  }
  if (lhs.rows == rhs.rows)
    return true;
  diagnostics.error(DiagId::E302, binary.range,
                    "'" + ast::spelling(binary.op) + "' of " + Twine(lhs.rows) +
                        " and " + Twine(rhs.rows) + " tokens per raw input");
  return false;
}
