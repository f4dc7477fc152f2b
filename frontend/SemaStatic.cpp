//===- SemaStatic.cpp - Values known when a model is compiled -------------===//

#include "frontend/SemaStatic.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/raw_ostream.h"

#include <cmath>

using namespace moec;
using llvm::ArrayRef;
using llvm::StringRef;
using llvm::Twine;

//===----------------------------------------------------------------------===//
// StaticValue
//===----------------------------------------------------------------------===//

StaticValue StaticValue::ofInteger(int64_t value) {
  StaticValue result;
  result.integer = value;
  return result;
}

StaticValue StaticValue::ofReal(double value) {
  StaticValue result;
  result.kind = Kind::Real;
  result.real = value;
  return result;
}

StaticValue StaticValue::ofBoolean(bool value) {
  StaticValue result;
  result.kind = Kind::Boolean;
  result.integer = value;
  return result;
}

StaticValue StaticValue::ofRange(int64_t first, int64_t end) {
  StaticValue result;
  result.kind = Kind::Range;
  result.integer = first;
  result.end = end;
  return result;
}

StaticValue StaticValue::ofModality(int64_t id) {
  StaticValue result;
  result.kind = Kind::Modality;
  result.integer = id;
  return result;
}

std::string StaticValue::describe() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  switch (kind) {
  case Kind::Integer:
    os << "the integer " << integer;
    break;
  case Kind::Real:
    os << "the number " << llvm::format("%g", real);
    break;
  case Kind::Boolean:
    os << (integer ? "true" : "false");
    break;
  case Kind::Range:
    os << "the range " << integer << ".." << end;
    break;
  case Kind::List:
    os << "a list of " << elements.size();
    break;
  case Kind::Modality:
    os << "a modality";
    break;
  }
  return text;
}

std::string StaticValue::key() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << static_cast<int>(kind) << ':';
  if (kind == Kind::Real)
    os << llvm::format("%a", real);
  else
    os << integer << ',' << end;
  for (const StaticValue &element : elements)
    os << '[' << element.key() << ']';
  return text;
}

bool moec::decides(ast::BinaryOp op, const StaticValue &lhs) {
  if (lhs.kind != StaticValue::Kind::Boolean)
    return false;
  return op == ast::BinaryOp::And ? !lhs.integer
                                  : op == ast::BinaryOp::Or && lhs.integer;
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

std::nullopt_t StaticMath::wrongType(StringRef what, const StaticValue &found,
                                     SourceRange range) {
  diagnostics.error(DiagId::E212, range,
                    "expected " + what + ", found " + found.describe());
  return std::nullopt;
}

std::optional<StaticValue> StaticMath::number(const ast::NumberExpr &number) {
  if (!number.isInteger()) {
    double value = number.asReal();
    if (std::isfinite(value))
      return StaticValue::ofReal(value);
  } else if (std::optional<int64_t> value = number.asInteger()) {
    return StaticValue::ofInteger(*value);
  }
  diagnostics.error(DiagId::E213, number.range,
                    "the number does not fit into 64 bits");
  return std::nullopt;
}

std::optional<StaticValue> StaticMath::unary(ast::UnaryOp op,
                                             const StaticValue &operand,
                                             SourceRange range) {
  if (op == ast::UnaryOp::Not) {
    if (operand.kind != StaticValue::Kind::Boolean)
      return wrongType("a truth value", operand, range);
    return StaticValue::ofBoolean(!operand.integer);
  }
  if (operand.isInteger())
    return integerBinary(ast::BinaryOp::Subtract, 0, operand.integer, range,
                         false);
  if (operand.kind == StaticValue::Kind::Real)
    return StaticValue::ofReal(-operand.real);
  return wrongType("a number", operand, range);
}

static bool isComparison(ast::BinaryOp op) {
  return op >= ast::BinaryOp::Equal && op <= ast::BinaryOp::GreaterEqual;
}

template <typename T> static bool compare(ast::BinaryOp op, T a, T b) {
  switch (op) {
  case ast::BinaryOp::Equal:
    return a == b;
  case ast::BinaryOp::NotEqual:
    return a != b;
  case ast::BinaryOp::Less:
    return a < b;
  case ast::BinaryOp::LessEqual:
    return a <= b;
  case ast::BinaryOp::Greater:
    return a > b;
  default:
    return a >= b;
  }
}

std::optional<StaticValue> StaticMath::binary(ast::BinaryOp op,
                                              const StaticValue &lhs,
                                              const StaticValue &rhs,
                                              SourceRange range,
                                              bool floorDivision) {
  using Kind = StaticValue::Kind;
  if (op == ast::BinaryOp::And || op == ast::BinaryOp::Or) {
    for (const StaticValue *side : {&lhs, &rhs})
      if (side->kind != Kind::Boolean)
        return wrongType("a truth value", *side, range);
    return StaticValue::ofBoolean(op == ast::BinaryOp::And
                                      ? lhs.integer && rhs.integer
                                      : lhs.integer || rhs.integer);
  }
  if (op == ast::BinaryOp::In)
    return contains(rhs, lhs, range);
  bool equality = op == ast::BinaryOp::Equal || op == ast::BinaryOp::NotEqual;
  if (equality && lhs.kind == rhs.kind &&
      (lhs.kind == Kind::Boolean || lhs.kind == Kind::Modality))
    return StaticValue::ofBoolean(compare(op, lhs.integer, rhs.integer));
  for (const StaticValue *side : {&lhs, &rhs}) {
    if (side->kind == Kind::Modality) {
      diagnostics.error(DiagId::E506, range,
                        "a modality has no value to compute with");
      return std::nullopt;
    }
    if (!side->isNumber())
      return wrongType("a number", *side, range);
  }
  if (lhs.isInteger() && rhs.isInteger())
    return integerBinary(op, lhs.integer, rhs.integer, range, floorDivision);
  return realBinary(op, lhs.asReal(), rhs.asReal(), range);
}

/// Division rounding towards minus infinity; b is not 0.
static int64_t floorDivide(int64_t a, int64_t b) {
  int64_t quotient = a / b;
  return quotient - ((a % b != 0) && ((a < 0) != (b < 0)));
}

std::optional<StaticValue> StaticMath::integerBinary(ast::BinaryOp op,
                                                     int64_t a, int64_t b,
                                                     SourceRange range,
                                                     bool floorDivision) {
  if (isComparison(op))
    return StaticValue::ofBoolean(compare(op, a, b));
  int64_t result = 0;
  bool overflow = false;
  switch (op) {
  case ast::BinaryOp::Add:
    overflow = llvm::AddOverflow(a, b, result);
    break;
  case ast::BinaryOp::Subtract:
    overflow = llvm::SubOverflow(a, b, result);
    break;
  case ast::BinaryOp::Multiply:
    overflow = llvm::MulOverflow(a, b, result);
    break;
  default:
    if (b == 0) {
      diagnostics.error(DiagId::E213, range, "division by zero");
      return std::nullopt;
    }
    // The one quotient of two integers that is no 64-bit integer.
    if (b == -1) {
      overflow = llvm::SubOverflow(int64_t(0), a, result);
      if (op == ast::BinaryOp::Modulo)
        return StaticValue::ofInteger(0);
      break;
    }
    if (op == ast::BinaryOp::Modulo)
      return StaticValue::ofInteger(a - floorDivide(a, b) * b);
    if (!floorDivision && a % b != 0) {
      diagnostics
          .error(DiagId::E213, range,
                 Twine(a) + " is not a multiple of " + Twine(b))
          .hint(range, "write one of them as a real number, such as " +
                           Twine(b) + ".0, if a fraction is meant");
      return std::nullopt;
    }
    result = floorDivide(a, b);
    break;
  }
  if (!overflow)
    return StaticValue::ofInteger(result);
  diagnostics.error(DiagId::E213, range,
                    "the result does not fit into 64 bits");
  return std::nullopt;
}

std::optional<StaticValue> StaticMath::realBinary(ast::BinaryOp op, double a,
                                                  double b, SourceRange range) {
  if (isComparison(op))
    return StaticValue::ofBoolean(compare(op, a, b));
  switch (op) {
  case ast::BinaryOp::Add:
    return StaticValue::ofReal(a + b);
  case ast::BinaryOp::Subtract:
    return StaticValue::ofReal(a - b);
  case ast::BinaryOp::Multiply:
    return StaticValue::ofReal(a * b);
  default:
    break;
  }
  if (b == 0.0) {
    diagnostics.error(DiagId::E213, range, "division by zero");
    return std::nullopt;
  }
  if (op == ast::BinaryOp::Modulo)
    return StaticValue::ofReal(a - std::floor(a / b) * b);
  return StaticValue::ofReal(a / b);
}

std::optional<StaticValue> StaticMath::contains(const StaticValue &set,
                                                const StaticValue &value,
                                                SourceRange range) {
  if (set.kind == StaticValue::Kind::Range) {
    if (!value.isInteger())
      return wrongType("an integer before 'in'", value, range);
    return StaticValue::ofBoolean(set.integer <= value.integer &&
                                  value.integer < set.end);
  }
  if (set.kind != StaticValue::Kind::List)
    return wrongType("a range or a list after 'in'", set, range);
  for (const StaticValue &element : set.elements) {
    bool same = element.isNumber() && value.isNumber()
                    ? element.asReal() == value.asReal()
                    : element.key() == value.key();
    if (same)
      return StaticValue::ofBoolean(true);
  }
  return StaticValue::ofBoolean(false);
}

std::optional<StaticValue> StaticMath::range(const StaticValue &first,
                                             const StaticValue &end,
                                             SourceRange where) {
  for (const StaticValue *side : {&first, &end})
    if (!side->isInteger())
      return wrongType("an integer", *side, where);
  return StaticValue::ofRange(first.integer, end.integer);
}

std::optional<StaticValue> StaticMath::element(const StaticValue &list,
                                               const StaticValue &index,
                                               SourceRange range) {
  if (list.kind != StaticValue::Kind::List)
    return wrongType("a list before '['", list, range);
  if (!index.isInteger())
    return wrongType("an integer index", index, range);
  if (index.integer >= 0 &&
      static_cast<uint64_t>(index.integer) < list.elements.size())
    return list.elements[index.integer];
  if (!range.isValid() || outsideList.insert(range.begin).second)
    diagnostics.error(DiagId::E703, range,
                      "index " + Twine(index.integer) +
                          " is outside the list, which has " +
                          Twine(list.elements.size()) + " elements");
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

static const StringRef functions[] = {"abs",  "ceil", "exp", "floor", "ln",
                                      "log2", "max",  "min", "sqrt"};

ArrayRef<StringRef> StaticMath::functionNames() { return functions; }

bool StaticMath::isFunction(StringRef name) {
  return llvm::is_contained(functions, name);
}

/// floor and ceil give integers; nothing where the result is none.
static std::optional<StaticValue> toInteger(double value) {
  if (!(std::fabs(value) < 9.2e18))
    return std::nullopt;
  return StaticValue::ofInteger(static_cast<int64_t>(value));
}

static std::optional<StaticValue> callOnReal(StringRef function, double x) {
  if (function == "floor")
    return toInteger(std::floor(x));
  if (function == "ceil")
    return toInteger(std::ceil(x));
  if (function == "abs")
    return StaticValue::ofReal(std::fabs(x));
  if (function == "exp")
    x = std::exp(x);
  else if (function == "sqrt")
    x = std::sqrt(x);
  else
    x = function == "ln" ? std::log(x) : std::log2(x);
  if (!std::isfinite(x))
    return std::nullopt;
  return StaticValue::ofReal(x);
}

std::optional<StaticValue> StaticMath::call(StringRef function,
                                            ArrayRef<StaticValue> arguments,
                                            SourceRange range) {
  size_t wanted = function == "min" || function == "max" ? 2 : 1;
  if (arguments.size() != wanted) {
    diagnostics.error(DiagId::E218, range,
                      "expected " + Twine(wanted) + " argument" +
                          (wanted == 1 ? "" : "s") + " of " + function +
                          "(), found " + Twine(arguments.size()));
    return std::nullopt;
  }
  for (const StaticValue &argument : arguments)
    if (!argument.isNumber())
      return wrongType("a number", argument, range);
  if (wanted == 2) {
    bool firstSmaller = arguments[0].asReal() <= arguments[1].asReal();
    return arguments[firstSmaller == (function == "min") ? 0 : 1];
  }
  const StaticValue &x = arguments[0];
  if (x.isInteger() && (function == "floor" || function == "ceil"))
    return x;
  if (x.isInteger() && function == "abs")
    return x.integer < 0 ? unary(ast::UnaryOp::Negate, x, range) : x;
  if (std::optional<StaticValue> result = callOnReal(function, x.asReal()))
    return result;
  diagnostics.error(DiagId::E213, range,
                    function + "() of " + x.describe() + " has no value");
  return std::nullopt;
}
