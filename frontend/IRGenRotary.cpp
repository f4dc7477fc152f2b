//===- IRGenRotary.cpp - Rotary positions ---------------------------------===//
//
// Reads `rope(...)` and computes the frequencies of its pairs. Published models
// compute them in f32, and positions multiply the difference, so every step
// here rounds as they do (docs/rationale/rotary-positions.md).
//
//===----------------------------------------------------------------------===//

#include "frontend/IRGenOps.h"

#include "frontend/SpellCheck.h"

#include <algorithm>
#include <cmath>

using namespace mlir;
using namespace moec;
using namespace moec::irgen;

bool RotaryParameters::operator<(const RotaryParameters &other) const {
  auto key = [](const RotaryParameters &p) {
    return std::tie(p.frequencies, p.magnitude, p.limit, p.growth,
                    p.longFrequencies, p.longMagnitude);
  };
  return key(*this) < key(other);
}

//===----------------------------------------------------------------------===//
// Frequencies
//===----------------------------------------------------------------------===//

/// theta^(2i / dims) for the first `count` pairs, in f32.
static std::vector<float> wavelengths(double theta, int64_t dims,
                                      int64_t count) {
  std::vector<float> result;
  for (int64_t i = 0; i < count; ++i) {
    float exponent = static_cast<float>(2 * i) / static_cast<float>(dims);
    result.push_back(static_cast<float>(
        std::pow(double(static_cast<float>(theta)), double(exponent))));
  }
  return result;
}

static std::vector<float> plainFrequencies(double theta, int64_t dims) {
  std::vector<float> result = wavelengths(theta, dims, dims / 2);
  for (float &f : result)
    f = 1.0f / f;
  return result;
}

namespace {
struct Yarn {
  double factor, original, fast, slow;
  bool truncate;
};
} // namespace

/// arXiv:2309.00071: pairs that turn more than `fast` times within the original
/// length stay, those that turn less than `slow` times are stretched, a ramp
/// lies between.
static std::vector<float> yarnFrequencies(double theta, int64_t dims,
                                          const Yarn &yarn) {
  auto pairThatTurns = [&](double times) {
    return double(dims) * std::log(yarn.original / (times * 2.0 * M_PI)) /
           (2.0 * std::log(theta));
  };
  double low = pairThatTurns(yarn.fast), high = pairThatTurns(yarn.slow);
  if (yarn.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, double(dims - 1));
  if (low == high)
    high += 0.001;
  std::vector<float> result;
  float factor = static_cast<float>(yarn.factor);
  for (auto [i, length] : llvm::enumerate(wavelengths(theta, dims, dims / 2))) {
    float ramp = (static_cast<float>(i) - static_cast<float>(low)) /
                 static_cast<float>(high - low);
    float kept = 1.0f - std::clamp(ramp, 0.0f, 1.0f);
    float stretched = 1.0f / (factor * length), plain = 1.0f / length;
    result.push_back(stretched * (1.0f - kept) + plain * kept);
  }
  return result;
}

namespace {
struct Llama3 {
  double factor, low, high, original;
};
} // namespace

/// As Llama 3.1: by the wavelength, in parts of the original length.
static std::vector<float> llama3Frequencies(double theta, int64_t dims,
                                            const Llama3 &scaling) {
  std::vector<float> result = plainFrequencies(theta, dims);
  float factor = static_cast<float>(scaling.factor);
  float low = static_cast<float>(scaling.low);
  float original = static_cast<float>(scaling.original);
  for (float &f : result) {
    float length = static_cast<float>(2.0 * M_PI) / f;
    if (length < static_cast<float>(scaling.original / scaling.high))
      continue;
    if (length > static_cast<float>(scaling.original / scaling.low)) {
      f /= factor;
      continue;
    }
    float smooth = (original / length - low) /
                   static_cast<float>(scaling.high - scaling.low);
    f = (1.0f - smooth) * f / factor + smooth * f;
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Arguments
//===----------------------------------------------------------------------===//

/// A list of `count` positive numbers.
std::optional<std::vector<float>>
Expander::factors(const BoundCall &call, StringRef param, int64_t count) {
  const ast::Expr &expr = *call.get(param);
  std::string what = ("'" + param + "' of " + call.operation.name + "()").str();
  std::optional<StaticValue> list = evaluateStatic(expr, what);
  if (!list)
    return std::nullopt;
  bool isList = list->kind == StaticValue::Kind::List;
  if (!isList || int64_t(list->elements.size()) != count) {
    diagnostics.error(DiagId::E304, expr.range,
                      what + " must be a list of " + Twine(count) +
                          " numbers, one for each pair, found " +
                          list->describe());
    return std::nullopt;
  }
  std::vector<float> result;
  for (const StaticValue &element : list->elements) {
    if (!element.isNumber() || !(element.asReal() > 0)) {
      diagnostics.error(DiagId::E212, expr.range,
                        what + " must be positive numbers, found " +
                            element.describe());
      return std::nullopt;
    }
    result.push_back(static_cast<float>(element.asReal()));
  }
  return result;
}

std::optional<bool> Expander::flag(const BoundCall &call, StringRef param) {
  const ast::Expr &expr = *call.get(param);
  std::string what = ("'" + param + "' of " + call.operation.name + "()").str();
  std::optional<StaticValue> value = evaluateStatic(expr, what);
  if (!value)
    return std::nullopt;
  if (value->kind == StaticValue::Kind::Boolean)
    return value->integer != 0;
  diagnostics.error(DiagId::E212, expr.range,
                    what + " must be true or false, found " +
                        value->describe());
  return std::nullopt;
}

static OperationParam number(StringRef name, bool mandatory = true) {
  return {name, ParamKind::Number, mandatory, false};
}

/// The records that `scaling` takes.
static ArrayRef<OperationSpec> scalings() {
  static const std::vector<OperationSpec> specs = {
      {"linear", {number("factor")}},
      {"yarn",
       {number("factor"), number("original"), number("fast"), number("slow"),
        number("magnitude"), number("truncate", false)}},
      {"llama3",
       {number("factor"), number("low"), number("high"), number("original")}},
      {"dynamic_ntk", {number("factor"), number("original")}},
      {"longrope",
       {number("short"), number("long"), number("original"),
        number("magnitude"), number("long_magnitude", false)}},
      {"proportional", {number("dims"), number("factor", false)}},
  };
  return specs;
}

bool Expander::readScaling(const ast::Expr &argument, double theta,
                           int64_t dims, RotaryParameters &parameters) {
  const ast::Expr *expr = choice(&argument);
  if (!expr)
    return false;
  if (const auto *name = dyn_cast<ast::NameExpr>(expr))
    if (name->name == "none")
      return true;
  const auto *record = dyn_cast<ast::CallExpr>(expr);
  StringRef name = record ? record->calleeName() : StringRef();
  const OperationSpec *spec = llvm::find_if(
      scalings(), [&](const OperationSpec &s) { return s.name == name; });
  if (spec == scalings().end()) {
    SmallVector<StringRef> names = {"none"};
    for (const OperationSpec &s : scalings())
      names.push_back(s.name);
    diagnostics
        .error(DiagId::E211, expr->range,
               "'scaling' of rope() takes one of " + llvm::join(names, ", "))
        .suggest(record ? record->callee->range : expr->range,
                 closestName(name, names));
    return false;
  }
  std::optional<BoundCall> bound =
      bindCall(*record, *spec, FirstOperand::Written, diagnostics);
  if (!bound)
    return false;
  bool ok = true;
  auto positive = [&](StringRef param, double otherwise = 1.0) -> double {
    if (!bound->find(param))
      return otherwise;
    std::optional<double> value = real(*bound, param);
    if (value && needPositive(*bound->get(param), param, *value))
      return *value;
    ok = false;
    return 1.0;
  };
  auto length = [&]() -> int64_t {
    std::optional<int64_t> value = size(*bound, "original");
    ok &= value.has_value();
    return value.value_or(1);
  };
  auto ascending = [&](StringRef less, double a, StringRef more, double b,
                       bool orEqual) {
    if (!ok || a < b || (orEqual && a == b))
      return;
    ok = false;
    diagnostics.error(DiagId::E212, bound->get(more)->range,
                      "'" + more + "' of " + name + "() must " +
                          (orEqual ? "not be less" : "be larger") + " than '" +
                          less + "'");
  };

  if (name == "linear") {
    float factor = static_cast<float>(positive("factor"));
    for (float &f : parameters.frequencies)
      f /= factor;
  } else if (name == "yarn") {
    Yarn yarn = {positive("factor"), double(length()), positive("fast"),
                 positive("slow"), true};
    // Kimi-K2 has 1 for both: no ramp but a step.
    ascending("slow", yarn.slow, "fast", yarn.fast, /*orEqual=*/true);
    if (ok && theta <= 1.0) {
      ok = false;
      diagnostics.error(DiagId::E212, expr->range,
                        "yarn() needs a theta above 1, found " +
                            StaticValue::ofReal(theta).describe());
    }
    parameters.magnitude = positive("magnitude");
    if (bound->find("truncate")) {
      std::optional<bool> truncate = flag(*bound, "truncate");
      ok &= truncate.has_value();
      yarn.truncate = truncate.value_or(true);
    }
    if (ok)
      parameters.frequencies = yarnFrequencies(theta, dims, yarn);
  } else if (name == "llama3") {
    Llama3 scaling = {positive("factor"), positive("low"), positive("high"),
                      double(length())};
    ascending("low", scaling.low, "high", scaling.high, /*orEqual=*/false);
    if (ok)
      parameters.frequencies = llama3Frequencies(theta, dims, scaling);
  } else if (name == "dynamic_ntk") {
    parameters.growth = positive("factor");
    parameters.limit = length();
    if (dims < 4) {
      ok = false;
      diagnostics.error(DiagId::E304, expr->range,
                        "dynamic_ntk() needs at least 4 rotated elements, "
                        "found " +
                            Twine(dims));
    }
  } else if (name == "longrope") {
    auto shortFactors = factors(*bound, "short", dims / 2);
    auto longFactors = factors(*bound, "long", dims / 2);
    parameters.limit = length();
    parameters.magnitude = positive("magnitude");
    parameters.longMagnitude = positive("long_magnitude", parameters.magnitude);
    if (!shortFactors || !longFactors)
      return false;
    parameters.longFrequencies.clear();
    for (auto [i, wave] : llvm::enumerate(wavelengths(theta, dims, dims / 2))) {
      parameters.frequencies[i] = 1.0f / ((*shortFactors)[i] * wave);
      parameters.longFrequencies.push_back(1.0f / ((*longFactors)[i] * wave));
    }
  } else {
    std::optional<int64_t> turned = size(*bound, "dims");
    float factor = static_cast<float>(positive("factor"));
    if (!turned)
      return false;
    if (*turned % 2 != 0 || *turned > dims) {
      diagnostics.error(DiagId::E304, bound->get("dims")->range,
                        "'dims' of proportional() must be even and at most " +
                            Twine(dims) + ", found " + Twine(*turned));
      return false;
    }
    for (auto [i, f] : llvm::enumerate(parameters.frequencies))
      f = int64_t(i) < *turned / 2 ? f / factor : 0.0f;
  }
  return ok;
}

/// Reads `rope(theta = .., style = .., ...)` or `none` for heads of `headDim`
/// elements. False after an error.
bool Expander::readRope(const BoundCall &call, int64_t headDim,
                        std::optional<Rope> &rope) {
  static const OperationSpec operation = {
      "rope",
      {{"theta", ParamKind::Number, true, false},
       {"style", ParamKind::Choice, true, false},
       {"dims", ParamKind::Number, false, false},
       {"scaling", ParamKind::Choice, false, false}}};
  const ast::Expr *expr = choice(call.get("rope"));
  if (!expr)
    return false;
  const auto *name = dyn_cast<ast::NameExpr>(expr);
  const auto *record = dyn_cast<ast::CallExpr>(expr);
  if (name && name->name == "none")
    return true;
  if (!record || record->calleeName() != "rope") {
    diagnostics.error(DiagId::E211, expr->range,
                      "'rope' of " + call.operation.name +
                          "() takes one of none, rope(theta = "
                          "..., style = half | pairs)");
    return false;
  }
  std::optional<BoundCall> bound =
      bindCall(*record, operation, FirstOperand::Written, diagnostics);
  if (!bound)
    return false;
  std::optional<double> theta = real(*bound, "theta");
  std::optional<std::string> style = word(*bound, "style", {"half", "pairs"});
  std::optional<int64_t> dims = sizeOr(*bound, "dims", headDim);
  if (!theta || !style || !dims ||
      !needPositive(*bound->get("theta"), "theta", *theta))
    return false;
  if (*dims % 2 != 0 || *dims > headDim) {
    bool isWhole = !bound->find("dims");
    diagnostics.error(
        DiagId::E304, isWhole ? expr->range : bound->get("dims")->range,
        isWhole ? "rotary positions need heads of even width, found " +
                      Twine(headDim)
                : "'dims' of rope() must be even and at most the " +
                      Twine(headDim) + " elements of a head, found " +
                      Twine(*dims));
    return false;
  }
  // Each pair has a number in the IR.
  constexpr int64_t maxDims = 65536;
  if (*dims > maxDims) {
    diagnostics.error(DiagId::E307, expr->range,
                      "rotary positions of " + Twine(*dims) +
                          " elements of a head; at most " + Twine(maxDims) +
                          " are possible");
    return false;
  }
  rope.emplace();
  rope->style = *style == "half" ? nn::RopeStyle::Half : nn::RopeStyle::Pairs;
  rope->range = call.get("rope")->range;
  rope->parameters.frequencies = plainFrequencies(*theta, *dims);
  return !bound->find("scaling") ||
         readScaling(*bound->get("scaling"), *theta, *dims, rope->parameters);
}

//===----------------------------------------------------------------------===//
// Building
//===----------------------------------------------------------------------===//

/// Layers with equal parameters share one table, at the top of the function.
Value Expander::rotaryTable(const RotaryParameters &parameters) {
  Value &table = fn->rotaryTables[parameters];
  if (table)
    return table;
  OpBuilder::InsertionGuard guard(builder);
  Block &entry = fn->function.getBody().front();
  if (fn->prologueEnd)
    builder.setInsertionPointAfter(fn->prologueEnd);
  else
    builder.setInsertionPointToStart(&entry);
  Location where = fn->function.getLoc();
  Value lengths;
  IntegerAttr limit;
  if (parameters.dependsOnLength()) {
    if (!fn->sequenceLengths)
      fn->sequenceLengths =
          nn::SequenceLengthsOp::create(builder, where, fn->positions.getType(),
                                        fn->positions, fn->cuSeqlens);
    lengths = fn->sequenceLengths;
    limit = builder.getI64IntegerAttr(parameters.limit);
  }
  auto real = [&](double value) { return builder.getF64FloatAttr(value); };
  auto numbers = [&](ArrayRef<float> list) {
    auto type =
        RankedTensorType::get({int64_t(list.size())}, builder.getF32Type());
    return DenseElementsAttr::get(type, list);
  };
  DenseElementsAttr longFrequencies;
  FloatAttr growth, longMagnitude;
  if (parameters.growth)
    growth = real(*parameters.growth);
  if (!parameters.longFrequencies.empty()) {
    longFrequencies = numbers(parameters.longFrequencies);
    longMagnitude = real(parameters.longMagnitude);
  }
  int64_t width = 2 * parameters.frequencies.size();
  auto op = nn::RotaryTableOp::create(
      builder, where, streamType(width, builder.getF32Type()), fn->positions,
      lengths, numbers(parameters.frequencies), real(parameters.magnitude),
      limit, growth, longFrequencies, longMagnitude);
  fn->prologueEnd = op;
  table = op.getResult();
  return table;
}

/// Rotates the first elements of each head of `headDim` elements.
Value Expander::rotate(Location where, Value rows, const Rope &rope,
                       int64_t headDim) {
  Value table = rotaryTable(rope.parameters);
  IntegerAttr head;
  if (width(table) != headDim)
    head = builder.getI64IntegerAttr(headDim);
  return nn::RopeOp::create(builder, where, rows.getType(), rope.style, rows,
                            table, head, IntegerAttr());
}
