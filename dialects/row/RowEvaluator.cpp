//===- RowEvaluator.cpp - Evaluating row bodies on the host ---------------===//
//
// Written from the descriptions of the operations, not from their lowering.
//
//===----------------------------------------------------------------------===//
#include "dialects/row/RowEvaluator.h"

#include "dialects/row/RowDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/TypeSwitch.h"

#include <algorithm>
#include <cmath>

using namespace mlir;
using namespace moec;

static Type elementType(Type type) {
  if (auto shaped = dyn_cast<ShapedType>(type))
    return shaped.getElementType();
  return type;
}

/// Rounds to the precision of `type`.
static double roundTo(Type type, double value) {
  auto floatType = dyn_cast<FloatType>(elementType(type));
  if (!floatType || floatType.isF64())
    return value;
  if (floatType.isF32())
    return static_cast<float>(value);
  llvm::APFloat number(value);
  bool losesInfo;
  number.convert(floatType.getFloatSemantics(),
                 llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  number.convert(llvm::APFloat::IEEEdouble(),
                 llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  return number.convertToDouble();
}

static int64_t elementsOf(Type type) {
  auto row = dyn_cast<RankedTensorType>(type);
  return row ? row.getNumElements() : 1;
}

namespace {
class Evaluator {
public:
  FailureOr<std::vector<RowValue>> run(Region &body,
                                       ArrayRef<RowValue> arguments) {
    for (auto [argument, value] :
         llvm::zip(body.front().getArguments(), arguments))
      values[argument] = value;
    for (Operation &op : body.front().without_terminator())
      if (failed(evaluate(op)))
        return failure();
    std::vector<RowValue> yielded;
    for (Value value : body.front().getTerminator()->getOperands())
      yielded.push_back(values[value]);
    return yielded;
  }

private:
  LogicalResult evaluate(Operation &op) {
    if (auto map = dyn_cast<row::MapOp>(op))
      return evaluateMap(map);
    if (isa<row::RowDialect>(op.getDialect()))
      return evaluateRow(op);
    std::vector<double> operands;
    for (Value operand : op.getOperands())
      operands.push_back(values[operand][0]);
    FailureOr<double> result = evaluateScalar(op, operands);
    if (failed(result))
      return op.emitOpError("cannot be evaluated in a row body");
    values[op.getResult(0)] = {roundTo(op.getResult(0).getType(), *result)};
    return success();
  }

  LogicalResult evaluateMap(row::MapOp map) {
    int64_t count = map.getResult().getType().getNumElements();
    RowValue result(count);
    Block &body = map.getBody().front();
    for (int64_t i = 0; i < count; ++i) {
      for (auto [input, argument] :
           llvm::zip(map.getInputs(), body.getArguments())) {
        const RowValue &row = values[input];
        values[argument] = {isa<RankedTensorType>(input.getType()) ? row[i]
                                                                   : row[0]};
      }
      for (Operation &op : body.without_terminator())
        if (failed(evaluate(op)))
          return failure();
      result[i] = values[body.getTerminator()->getOperand(0)][0];
    }
    values[map.getResult()] = std::move(result);
    return success();
  }

  LogicalResult evaluateRow(Operation &op) {
    return llvm::TypeSwitch<Operation *, LogicalResult>(&op)
        .Case([&](row::ReduceOp o) { return set(o.getResult(), reduce(o)); })
        .Case([&](row::ArgmaxOp o) {
          return set(o.getIndex(), {largest(values[o.getInput()], {})});
        })
        .Case([&](row::TopKOp o) { return topK(o); })
        .Case([&](row::ScanOp o) {
          RowValue row = values[o.getInput()];
          for (size_t i = 1; i < row.size(); ++i)
            row[i] = roundTo(o.getResult().getType(), row[i - 1] + row[i]);
          return set(o.getResult(), row);
        })
        .Case([&](row::ReshapeOp o) {
          return set(o.getResult(), values[o.getInput()]);
        })
        .Case([&](row::GatherOp o) {
          RowValue result;
          for (double index : values[o.getIndices()])
            result.push_back(index < 0 ? 0.0
                                       : values[o.getSource()].at(
                                             static_cast<size_t>(index)));
          return set(o.getResult(), result);
        })
        .Case([&](row::TableOp o) {
          int64_t line = elementsOf(o.getResult().getType());
          auto first = values[o.getSource()].begin() +
                       static_cast<int64_t>(values[o.getIndex()][0]) * line;
          return set(o.getResult(), RowValue(first, first + line));
        })
        .Case([&](row::ConstantOp o) { return constant(o); })
        .Case([&](row::IotaOp o) {
          RowValue result(elementsOf(o.getResult().getType()));
          for (size_t i = 0; i < result.size(); ++i)
            result[i] = static_cast<double>(i);
          return set(o.getResult(), result);
        })
        .Case([&](row::SplatOp o) {
          return set(o.getResult(), RowValue(elementsOf(o.getResult().getType()),
                                             values[o.getInput()][0]));
        })
        .Case([&](row::SelectOp o) {
          return set(o.getResult(), values[o.getCondition()][0] != 0
                                        ? values[o.getTrueRow()]
                                        : values[o.getFalseRow()]);
        })
        .Default([](Operation *other) {
          return other->emitOpError("cannot be evaluated in a row body");
        });
  }

  LogicalResult set(Value result, RowValue value) {
    values[result] = std::move(value);
    return success();
  }

  LogicalResult constant(row::ConstantOp op) {
    auto dense = cast<DenseElementsAttr>(op.getValue());
    RowValue result;
    if (isa<FloatType>(dense.getElementType())) {
      for (const APFloat &number : dense.getValues<APFloat>())
        result.push_back(toDouble(number));
    } else {
      for (const APInt &number : dense.getValues<APInt>())
        result.push_back(static_cast<double>(number.getSExtValue()));
    }
    return set(op.getResult(), result);
  }

  static double toDouble(APFloat number) {
    bool losesInfo;
    number.convert(llvm::APFloat::IEEEdouble(),
                   llvm::APFloat::rmNearestTiesToEven, &losesInfo);
    return number.convertToDouble();
  }

  RowValue reduce(row::ReduceOp op) {
    const RowValue &input = values[op.getInput()];
    int64_t width = op.getInput().getType().getShape().back();
    Type type = op.getResult().getType();
    RowValue result;
    for (size_t start = 0; start < input.size(); start += width) {
      if (op.getKind() != row::Reduction::Sum) {
        auto [low, high] = std::minmax_element(
            input.begin() + start, input.begin() + start + width);
        result.push_back(op.getKind() == row::Reduction::Max ? *high : *low);
        continue;
      }
      double lanes[16] = {};
      for (int64_t i = 0; i < width; ++i)
        lanes[i % 16] = roundTo(type, lanes[i % 16] + input[start + i]);
      for (int64_t half = 8; half > 0; half /= 2)
        for (int64_t lane = 0; lane < half; ++lane)
          lanes[lane] = roundTo(type, lanes[lane] + lanes[lane + half]);
      result.push_back(lanes[0]);
    }
    return result;
  }

  /// Index of the largest element that is not in `taken`; the lowest one left
  /// when nothing is larger than anything.
  static double largest(const RowValue &row, ArrayRef<double> taken) {
    int64_t best = -1;
    for (size_t i = 0; i < row.size(); ++i) {
      if (llvm::is_contained(taken, double(i)))
        continue;
      if (best < 0 || row[i] > row[best] ||
          (std::isnan(row[best]) && !std::isnan(row[i])))
        best = static_cast<int64_t>(i);
    }
    return static_cast<double>(best);
  }

  LogicalResult topK(row::TopKOp op) {
    const RowValue row = values[op.getInput()];
    int64_t k = op.getValues().getType().getDimSize(0);
    RowValue taken, found;
    for (int64_t i = 0; i < k; ++i) {
      taken.push_back(largest(row, taken));
      found.push_back(row[static_cast<size_t>(taken.back())]);
    }
    values[op.getValues()] = found;
    return set(op.getIndices(), taken);
  }

  FailureOr<double> evaluateScalar(Operation &op, ArrayRef<double> x) {
    if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
      if (auto number = dyn_cast<FloatAttr>(constant.getValue()))
        return toDouble(number.getValue());
      if (auto number = dyn_cast<IntegerAttr>(constant.getValue()))
        return static_cast<double>(number.getValue().getSExtValue());
      return failure();
    }
    if (auto compare = dyn_cast<arith::CmpIOp>(op))
      return compareIntegers(compare.getPredicate(), x);
    if (auto compare = dyn_cast<arith::CmpFOp>(op))
      return compareFloats(compare.getPredicate(), x);
    return llvm::TypeSwitch<Operation *, FailureOr<double>>(&op)
        .Case<arith::AddFOp, arith::AddIOp>([&](auto) { return x[0] + x[1]; })
        .Case<arith::SubFOp, arith::SubIOp>([&](auto) { return x[0] - x[1]; })
        .Case<arith::MulFOp, arith::MulIOp>([&](auto) { return x[0] * x[1]; })
        .Case<arith::DivFOp>([&](auto) { return x[0] / x[1]; })
        .Case<arith::NegFOp>([&](auto) { return -x[0]; })
        .Case<arith::MaximumFOp, arith::MaxNumFOp, arith::MaxSIOp>(
            [&](auto) { return std::max(x[0], x[1]); })
        .Case<arith::MinimumFOp, arith::MinNumFOp, arith::MinSIOp>(
            [&](auto) { return std::min(x[0], x[1]); })
        .Case<arith::SelectOp>([&](auto) { return x[0] != 0 ? x[1] : x[2]; })
        .Case<arith::AndIOp>(
            [&](auto) { return double(int64_t(x[0]) & int64_t(x[1])); })
        .Case<arith::OrIOp>(
            [&](auto) { return double(int64_t(x[0]) | int64_t(x[1])); })
        .Case<arith::ExtFOp, arith::TruncFOp, arith::SIToFPOp, arith::ExtSIOp,
              arith::TruncIOp>([&](auto) { return x[0]; })
        .Case<arith::UIToFPOp>([&](auto convert) {
          unsigned bits = convert.getIn().getType().getIntOrFloatBitWidth();
          return x[0] < 0 ? x[0] + std::ldexp(1.0, bits) : x[0];
        })
        .Case<math::ExpOp>([&](auto) { return std::exp(x[0]); })
        .Case<math::LogOp>([&](auto) { return std::log(x[0]); })
        .Case<math::Log1pOp>([&](auto) { return std::log1p(x[0]); })
        .Case<math::SqrtOp>([&](auto) { return std::sqrt(x[0]); })
        .Case<math::TanhOp>([&](auto) { return std::tanh(x[0]); })
        .Case<math::ErfOp>([&](auto) { return std::erf(x[0]); })
        .Case<math::SinOp>([&](auto) { return std::sin(x[0]); })
        .Case<math::CosOp>([&](auto) { return std::cos(x[0]); })
        .Case<math::AbsFOp>([&](auto) { return std::fabs(x[0]); })
        .Case<math::FloorOp>([&](auto) { return std::floor(x[0]); })
        .Default([](Operation *) { return failure(); });
  }

  static FailureOr<double> compareIntegers(arith::CmpIPredicate predicate,
                                           ArrayRef<double> x) {
    switch (predicate) {
    case arith::CmpIPredicate::eq:
      return double(x[0] == x[1]);
    case arith::CmpIPredicate::ne:
      return double(x[0] != x[1]);
    case arith::CmpIPredicate::slt:
      return double(x[0] < x[1]);
    case arith::CmpIPredicate::sle:
      return double(x[0] <= x[1]);
    case arith::CmpIPredicate::sgt:
      return double(x[0] > x[1]);
    case arith::CmpIPredicate::sge:
      return double(x[0] >= x[1]);
    default:
      return failure(); // unsigned comparisons: no router needs them
    }
  }

  static FailureOr<double> compareFloats(arith::CmpFPredicate predicate,
                                         ArrayRef<double> x) {
    switch (predicate) {
    case arith::CmpFPredicate::OEQ:
      return double(x[0] == x[1]);
    case arith::CmpFPredicate::OGT:
      return double(x[0] > x[1]);
    case arith::CmpFPredicate::OGE:
      return double(x[0] >= x[1]);
    case arith::CmpFPredicate::OLT:
      return double(x[0] < x[1]);
    case arith::CmpFPredicate::OLE:
      return double(x[0] <= x[1]);
    case arith::CmpFPredicate::UNE:
      return double(x[0] != x[1]);
    case arith::CmpFPredicate::UNO:
      return double(std::isnan(x[0]) || std::isnan(x[1]));
    default:
      return failure();
    }
  }

  llvm::DenseMap<Value, RowValue> values;
};
} // namespace

FailureOr<std::vector<RowValue>>
moec::evaluateRowBody(Region &body, ArrayRef<RowValue> arguments) {
  return Evaluator().run(body, arguments);
}

//===----------------------------------------------------------------------===//
// Rows of tensors
//===----------------------------------------------------------------------===//

RowValue moec::rowOf(const HostTensor &tensor, Type type, int64_t row) {
  bool isRow = cast<RankedTensorType>(type).isDynamicDim(0);
  RowValue value;
  if (tensor.isFloat())
    llvm::append_range(value, isRow ? tensor.rowF32(row) : tensor.f32());
  else
    llvm::append_range(value, isRow ? tensor.rowI32(row) : tensor.i32());
  return value;
}

LogicalResult moec::evaluateRows(Region &body, TypeRange types,
                                 ArrayRef<HostTensor> inputs, TypeRange results,
                                 MutableArrayRef<HostTensor> outputs) {
  int64_t rows = 0;
  for (auto [input, type] : llvm::zip(inputs, types))
    if (cast<RankedTensorType>(type).isDynamicDim(0))
      rows = input.getShape()[0];
  for (auto [output, result] : llvm::zip(outputs, results)) {
    auto type = cast<RankedTensorType>(result);
    SmallVector<int64_t> shape(type.getShape());
    shape[0] = rows;
    output = isa<FloatType>(type.getElementType())
                 ? HostTensor::zerosF32(shape)
                 : HostTensor::zerosI32(shape);
  }
  for (int64_t r = 0; r < rows; ++r) {
    std::vector<RowValue> arguments;
    for (auto [input, type] : llvm::zip(inputs, types))
      arguments.push_back(rowOf(input, type, r));
    FailureOr<std::vector<RowValue>> yielded =
        evaluateRowBody(body, arguments);
    if (failed(yielded))
      return failure();
    for (auto [output, value] : llvm::zip(outputs, *yielded)) {
      if (output.isFloat())
        llvm::copy(value, output.rowF32(r).begin());
      else
        llvm::copy(value, output.rowI32(r).begin());
    }
  }
  return success();
}

LogicalResult row::ApplyOp::evaluate(ArrayRef<HostTensor> inputs,
                                     MutableArrayRef<HostTensor> outputs) {
  return evaluateRows(getBody(), getOperandTypes(), inputs, getResultTypes(),
                      outputs);
}
