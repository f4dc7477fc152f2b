//===- SemaStatic.h - Values known when a model is compiled -----*- C++ -*-===//
//
// Numbers, truth values, ranges and lists of a .moe file, and the arithmetic on
// them. Integers are exact: what leaves 64 bits or does not divide is an error,
// never a rounded value.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_FRONTEND_SEMASTATIC_H
#define MOEC_FRONTEND_SEMASTATIC_H

#include "frontend/Ast.h"
#include "frontend/Diagnostics.h"

#include "llvm/ADT/DenseSet.h"

#include <optional>
#include <string>
#include <vector>

namespace moec {

/// A value known at compile time.
struct StaticValue {
  enum class Kind { Integer, Real, Boolean, Range, List, Modality };

  Kind kind = Kind::Integer;
  int64_t integer = 0; ///< Integer; Boolean as 0 or 1; Range: the first number;
                       ///< Modality: its id
  int64_t end = 0;     ///< Range: one past the last number
  double real = 0.0;   ///< Real
  std::vector<StaticValue> elements; ///< List

  static StaticValue ofInteger(int64_t value);
  static StaticValue ofReal(double value);
  static StaticValue ofBoolean(bool value);
  static StaticValue ofRange(int64_t first, int64_t end);
  static StaticValue ofModality(int64_t id);

  bool isInteger() const { return kind == Kind::Integer; }
  bool isNumber() const { return isInteger() || kind == Kind::Real; }
  /// The number as a double; integers are converted.
  double asReal() const {
    return isInteger() ? static_cast<double>(integer) : real;
  }
  /// "the integer 3", "a list of 8": for messages.
  std::string describe() const;
  /// A text that is equal exactly for equal values.
  std::string key() const;
};

/// True if `lhs and ...` or `lhs or ...` has the value of `lhs` whatever
/// follows: `l > 0 and widths[l - 1] > 8` asks for no element -1.
bool decides(ast::BinaryOp op, const StaticValue &lhs);

/// Static arithmetic. Each function gives nothing after reporting an error at
/// `range`.
class StaticMath {
public:
  explicit StaticMath(Diagnostics &diagnostics) : diagnostics(diagnostics) {}

  std::optional<StaticValue> number(const ast::NumberExpr &number);
  std::optional<StaticValue> unary(ast::UnaryOp op, const StaticValue &operand,
                                   SourceRange range);
  /// With `floorDivision` (weight names) `/` of integers rounds down;
  /// elsewhere it must be exact.
  std::optional<StaticValue> binary(ast::BinaryOp op, const StaticValue &lhs,
                                    const StaticValue &rhs, SourceRange range,
                                    bool floorDivision = false);
  std::optional<StaticValue> range(const StaticValue &first,
                                   const StaticValue &end, SourceRange range);
  std::optional<StaticValue>
  element(const StaticValue &list, const StaticValue &index, SourceRange range);

  /// The functions of numbers: ln, log2, exp, sqrt, abs, floor, ceil, min, max.
  static bool isFunction(llvm::StringRef name);
  static llvm::ArrayRef<llvm::StringRef> functionNames();
  std::optional<StaticValue> call(llvm::StringRef function,
                                  llvm::ArrayRef<StaticValue> arguments,
                                  SourceRange range);

private:
  std::nullopt_t wrongType(llvm::StringRef what, const StaticValue &found,
                           SourceRange range);
  std::optional<StaticValue> integerBinary(ast::BinaryOp op, int64_t a,
                                           int64_t b, SourceRange range,
                                           bool floorDivision);
  std::optional<StaticValue> realBinary(ast::BinaryOp op, double a, double b,
                                        SourceRange range);
  std::optional<StaticValue>
  contains(const StaticValue &set, const StaticValue &value, SourceRange range);

  Diagnostics &diagnostics;
  /// Indices already reported: a place is expanded once per layer.
  llvm::DenseSet<uint32_t> outsideList;
};

} // namespace moec

#endif // MOEC_FRONTEND_SEMASTATIC_H
