//===- IRGenArguments.cpp - Arguments by kind -----------------------------===//

#include "frontend/IRGenExpander.h"

#include "frontend/SpellCheck.h"

#include "llvm/ADT/StringSwitch.h"

#include <cmath>

using namespace mlir;
using namespace moec;
using namespace moec::irgen;

/// "'width' of glu()".
static std::string nameOf(const BoundCall &call, StringRef param) {
  return ("'" + param + "' of " + call.operation.name + "()").str();
}

void Expander::wrongKind(const BoundCall &call, StringRef param,
                         const Operand &found, StringRef expected) {
  if (found)
    diagnostics.error(DiagId::E206, call.get(param)->range,
                      nameOf(call, param) + " must be " + expected +
                          ", found " + found.describe());
}

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

std::optional<int64_t> Expander::size(const BoundCall &call, StringRef param) {
  const ast::Expr &expr = *call.get(param);
  std::optional<StaticValue> value = evaluateStatic(expr, nameOf(call, param));
  if (!value)
    return std::nullopt;
  if (value->isInteger() && value->integer >= 1 &&
      value->integer <= std::numeric_limits<int32_t>::max())
    return value->integer;
  bool large = value->isInteger() && value->integer > 0;
  diagnostics.error(
      large ? DiagId::E307 : DiagId::E301, expr.range,
      nameOf(call, param) +
          (large ? " is too large" : " must be a positive integer") +
          ", found " + value->describe());
  return std::nullopt;
}

std::optional<int64_t> Expander::sizeOr(const BoundCall &call, StringRef param,
                                        int64_t otherwise) {
  return call.find(param) ? size(call, param) : otherwise;
}

std::optional<double> Expander::real(const BoundCall &call, StringRef param) {
  const ast::Expr &expr = *call.get(param);
  std::optional<StaticValue> value = evaluateStatic(expr, nameOf(call, param));
  if (!value)
    return std::nullopt;
  if (value->isNumber() && std::isfinite(value->asReal()))
    return value->asReal();
  diagnostics.error(DiagId::E212, expr.range,
                    nameOf(call, param) + " must be a number, found " +
                        value->describe());
  return std::nullopt;
}

/// The size with the dim that names it, for notes about shapes.
DimSource Expander::dim(const BoundCall &call, StringRef param, int64_t value) {
  DimSource source;
  source.value = value;
  const ast::Expr *expr = call.get(param);
  const auto *name = dyn_cast_or_null<ast::NameExpr>(expr);
  const SemaModel::Constant *constant =
      name ? model.findConstant(name->name) : nullptr;
  if (constant && constant->isDim) {
    source.name = constant->binding->name.str();
    source.range = constant->binding->name.range;
  }
  return source;
}

bool Expander::needPositive(const ast::Expr &expr, const Twine &what,
                            double value) {
  if (value > 0)
    return true;
  diagnostics.error(DiagId::E212, expr.range,
                    what + " must be positive, found " +
                        StaticValue::ofReal(value).describe());
  return false;
}

//===----------------------------------------------------------------------===//
// Words and records
//===----------------------------------------------------------------------===//

/// The word or record that an expression stands for: conditions are decided and
/// consts that hold records are followed. Null after reporting an error.
const ast::Expr *Expander::choice(const ast::Expr *expr) {
  while (expr) {
    if (const auto *conditional = dyn_cast<ast::ConditionalExpr>(expr)) {
      std::optional<bool> holds = condition(*conditional->condition);
      if (!holds)
        return nullptr;
      expr = *holds ? conditional->value.get() : conditional->otherwise.get();
      continue;
    }
    const auto *name = dyn_cast<ast::NameExpr>(expr);
    const SemaModel::Constant *constant =
        name ? model.findConstant(name->name) : nullptr;
    if (!constant || !constant->isRecord)
      return expr;
    expr = constant->binding->value.get();
  }
  return nullptr;
}

/// Whether an argument is there and not `none`.
bool Expander::isGiven(const BoundCall &call, StringRef param) {
  if (!call.find(param))
    return false;
  const auto *word = dyn_cast_or_null<ast::NameExpr>(choice(call.get(param)));
  return !word || word->name != "none";
}

std::optional<std::string> Expander::word(const BoundCall &call,
                                          StringRef param,
                                          ArrayRef<StringRef> words) {
  const ast::Expr *expr = choice(call.get(param));
  if (!expr)
    return std::nullopt;
  const auto *name = dyn_cast<ast::NameExpr>(expr);
  if (name && llvm::is_contained(words, name->name))
    return name->name;
  std::string text = llvm::join(words, ", ");
  DiagnosticBuilder message = diagnostics.error(
      DiagId::E211, expr->range, nameOf(call, param) + " takes one of " + text);
  if (name)
    message.suggest(expr->range, closestName(name->name, words));
  return std::nullopt;
}

/// The one argument of a record such as before(7); null after an error.
const ast::Expr *Expander::soleArgument(const ast::CallExpr &record,
                                        StringRef name) {
  if (record.arguments.size() == 1) {
    const ast::CallArgument &argument = record.arguments[0];
    if (!argument.name || argument.name->str() == name)
      return argument.value.get();
  }
  diagnostics.error(DiagId::E210, record.range,
                    record.calleeName() + "() takes one argument, '" + name +
                        "'");
  return nullptr;
}

/// A number of a record, such as the slope of silu(slope = 1.7).
std::optional<double> Expander::recordNumber(const ast::CallExpr &record,
                                             StringRef name) {
  const ast::Expr *expr = soleArgument(record, name);
  if (!expr)
    return std::nullopt;
  std::string what = ("'" + name + "' of " + record.calleeName() + "()").str();
  std::optional<StaticValue> value = evaluateStatic(*expr, what);
  if (!value)
    return std::nullopt;
  // These numbers are f32 in the end.
  if (value->isNumber() && std::isfinite(static_cast<float>(value->asReal())))
    return value->asReal();
  diagnostics.error(DiagId::E212, expr->range,
                    what + " must be a number within the range of f32, found " +
                        value->describe());
  return std::nullopt;
}

/// `act`, with its slope.
std::optional<HiddenFunction> Expander::activation(const BoundCall &call) {
  static const StringRef words[] = {"identity", "silu",    "gelu", "relu",
                                    "relu2",    "sigmoid", "tanh"};
  const ast::Expr *expr = choice(call.get("act"));
  if (!expr)
    return std::nullopt;
  if (const auto *record = dyn_cast<ast::CallExpr>(expr)) {
    const auto *argument =
        record->arguments.size() == 1 && !record->arguments[0].name
            ? dyn_cast<ast::NameExpr>(record->arguments[0].value.get())
            : nullptr;
    if (record->calleeName() == "gelu" && argument && argument->name == "tanh")
      return HiddenFunction(Activation::GeluTanh);
    if (record->calleeName() == "silu") {
      std::optional<double> slope = recordNumber(*record, "slope");
      if (!slope)
        return std::nullopt;
      HiddenFunction function(Activation::Silu);
      function.slope = *slope;
      return function;
    }
  }
  std::optional<std::string> name = word(call, "act", words);
  std::optional<Activation> activation =
      name ? symbolizeActivation(*name) : std::nullopt;
  if (!activation)
    return std::nullopt;
  return HiddenFunction(*activation);
}

/// `clamp = before(c)` or `after(c)`. False after an error.
bool Expander::readClamp(const BoundCall &call, HiddenFunction &function) {
  const OperationParam *param = call.operation.find("clamp");
  if (!param || !call.find("clamp"))
    return true;
  const ast::Expr *expr = choice(call.get("clamp"));
  if (!expr)
    return false;
  const auto *name = dyn_cast<ast::NameExpr>(expr);
  if (name && name->name == "none")
    return true;
  const auto *record = dyn_cast<ast::CallExpr>(expr);
  StringRef side = record ? record->calleeName() : StringRef();
  if (side != "before" && side != "after") {
    diagnostics.error(DiagId::E211, expr->range,
                      nameOf(call, "clamp") +
                          " takes one of none, before(c), after(c)");
    return false;
  }
  std::optional<double> limit = recordNumber(*record, "c");
  if (!limit || !needPositive(*expr, "the limit", *limit))
    return false;
  (side == "before" ? function.clampBefore : function.clampAfter) = *limit;
  return true;
}

/// `dtype = f32` overrides both the type of the result and the rounding.
std::optional<Precision> Expander::precision(const BoundCall &call) {
  if (!call.find("dtype"))
    return Precision{dtype, compute};
  std::optional<std::string> name = word(call, "dtype", {"f32", "bf16", "f16"});
  if (!name)
    return std::nullopt;
  Type type = floatOfName(builder, *name);
  return Precision{type, type};
}

//===----------------------------------------------------------------------===//
// Values and weights
//===----------------------------------------------------------------------===//

/// Raw inputs of at most two dimensions are tokens as they stand.
Operand Expander::asStream(Operand operand, SourceRange range) {
  if (!operand.is(OperandKind::Raw))
    return operand;
  ArrayRef<int64_t> dims = operand.modality->dims;
  if (dims.size() > 2) {
    diagnostics.error(DiagId::E505, range,
                      "a raw input of " + Twine(dims.size()) +
                          " dimensions is no token stream; cut it with "
                          "patches()");
    return Operand();
  }
  Value value = convert(loc(range), operand.value, builder.getF32Type());
  return dims.size() == 1
             ? Operand::ofValue(value, 1)
             : Operand::ofValue(cutRows(value, dims, range), dims[0]);
}

Operand Expander::stream(const BoundCall &call, StringRef param) {
  const ast::Expr &expr = *call.get(param);
  Operand operand = asStream(evaluate(expr), expr.range);
  if (operand.is(OperandKind::Value))
    return operand;
  wrongKind(call, param, operand, "a value");
  return Operand();
}

std::optional<WeightMap> Expander::weight(const BoundCall &call,
                                          StringRef param, bool biasAllowed) {
  Operand operand = evaluate(*call.get(param));
  if (!operand.is(OperandKind::Weight)) {
    wrongKind(call, param, operand, "a weight");
    return std::nullopt;
  }
  if (operand.map->bias && !biasAllowed) {
    wrongKind(call, param, operand, "a weight without a bias");
    return std::nullopt;
  }
  return *operand.map;
}
