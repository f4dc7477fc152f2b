//===- LowerNn.cpp - Norms, rotary positions and maps as row bodies -------===//
#include "dialects/nn/NnDialect.h"
#include "dialects/row/RowBuilder.h"
#include "dialects/row/RowDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Pass/Pass.h"
#include "llvm/ADT/TypeSwitch.h"

#include <algorithm>

namespace moec {
#define GEN_PASS_DEF_LOWERNN
#include "passes/experts/Passes.h.inc"
} // namespace moec

using namespace mlir;
using namespace moec;

namespace {
/// Builds the bodies. All arithmetic is f32 between one widening of the
/// operands and one rounding of the result.
struct BodyBuilder {
  OpBuilder &b;
  Location loc;
  row::RowBuilder rows;

  BodyBuilder(OpBuilder &b, Location loc) : b(b), loc(loc), rows(b, loc) {}

  Value widenScalar(OpBuilder &b, Value v) {
    if (v.getType().isF32())
      return v;
    return arith::ExtFOp::create(b, loc, b.getF32Type(), v);
  }
  Value widen(Value row) {
    if (cast<RankedTensorType>(row.getType()).getElementType().isF32())
      return row;
    return rows.map(row, b.getF32Type(), [&](OpBuilder &b, ValueRange v) {
      return widenScalar(b, v[0]);
    });
  }
  Value round(Value row, Type element) {
    if (element.isF32())
      return row;
    return rows.map(row, element, [&](OpBuilder &b, ValueRange v) -> Value {
      return arith::TruncFOp::create(b, loc, element, v[0]);
    });
  }
  /// Element i of the result is source[index(i)].
  template <typename F> Value permute(Value source, int64_t width, F index) {
    SmallVector<int32_t> indices;
    for (int64_t i = 0; i < width; ++i)
      indices.push_back(index(i));
    return rows.gather(source, rows.constant(indices));
  }
};

int64_t widthOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape().back();
}

struct LowerNn : public moec::impl::LowerNnBase<LowerNn> {
  void runOnOperation() override {
    SmallVector<Operation *> ops;
    getOperation().walk([&](Operation *op) {
      if (isa<nn::NormOp, nn::SliceOp, nn::ConcatOp, nn::RotaryTableOp,
              nn::RopeOp, nn::MapOp, nn::GluOp, nn::MlpOp>(op))
        ops.push_back(op);
    });
    IRRewriter rewriter(&getContext());
    for (Operation *op : ops) {
      rewriter.setInsertionPoint(op);
      TypeSwitch<Operation *>(op)
          .Case<nn::NormOp, nn::SliceOp, nn::ConcatOp, nn::RotaryTableOp,
                nn::RopeOp, nn::MapOp, nn::GluOp, nn::MlpOp>(
              [&](auto concrete) { lower(rewriter, concrete); });
      ++lowered;
    }
  }

  /// Replaces `op` by a row.apply over its operands whose body `build` makes
  /// from the operands' rows.
  void replaceByApply(
      IRRewriter &rewriter, Operation *op,
      llvm::function_ref<Value(BodyBuilder &, Block::BlockArgListType)> build) {
    auto apply = row::ApplyOp::create(rewriter, op->getLoc(),
                                      op->getResultTypes(), op->getOperands());
    SmallVector<Type> rows;
    for (Value operand : op->getOperands())
      rows.push_back(row::ApplyOp::getRowType(operand.getType()));
    Block *block =
        rewriter.createBlock(&apply.getBody(), {}, rows,
                             SmallVector<Location>(rows.size(), op->getLoc()));
    BodyBuilder body(rewriter, op->getLoc());
    row::YieldOp::create(rewriter, op->getLoc(),
                         build(body, block->getArguments()));
    rewriter.replaceOp(op, apply.getResults());
  }

  void lower(IRRewriter &rewriter, nn::NormOp op) {
    int64_t width = widthOf(op.getInput()), group = op.getGroupSize();
    bool isLayer = op.getKind() == nn::NormKind::Layer;
    double eps = op.getEps().convertToDouble();
    Type element = op.getResult().getType().getElementType();
    replaceByApply(rewriter, op, [&](BodyBuilder &body, auto arguments) {
      row::RowBuilder &rows = body.rows;
      Value size = rows.f32(double(group));
      auto perGroup = [&](Value row) -> Value {
        if (group == width)
          return row;
        return row::ReshapeOp::create(
            body.b, body.loc,
            RankedTensorType::get({width / group, group}, body.b.getF32Type()),
            row);
      };
      // A number per group, spread over the elements of the group again.
      auto spread = [&](Value number) -> Value {
        if (group == width)
          return number;
        return body.permute(number, width,
                            [&](int64_t i) { return i / group; });
      };
      auto mean = [&](Value row) {
        return rows.div(rows.sum(perGroup(row)), size);
      };
      Value x = body.widen(arguments[0]);
      if (isLayer)
        x = rows.sub(x, spread(mean(x)));
      Value variance = mean(rows.mul(x, x));
      SmallVector<Value> scaleInputs{variance};
      Value scale = rows.map(
          scaleInputs, body.b.getF32Type(), [&](OpBuilder &b, ValueRange v) {
            auto constant = [&](double value) -> Value {
              return arith::ConstantOp::create(b, body.loc,
                                               b.getF32FloatAttr(value));
            };
            Value root = math::SqrtOp::create(
                b, body.loc,
                arith::AddFOp::create(b, body.loc, v[0], constant(eps)));
            return arith::DivFOp::create(b, body.loc, constant(1.0), root)
                .getResult();
          });
      Value y = rows.mul(x, spread(scale));
      auto parameter = [&](Value row) {
        Value wide = body.widen(row);
        if (group == width)
          return wide;
        return body.permute(wide, width, [&](int64_t i) { return i % group; });
      };
      if (op.getWeight())
        y = rows.mul(y, parameter(arguments[1]));
      if (op.getBias())
        y = rows.add(y, parameter(arguments[2]));
      return body.round(y, element);
    });
  }

  void lower(IRRewriter &rewriter, nn::SliceOp op) {
    int64_t heads = op.getHeads(), from = op.getFrom();
    int64_t head = widthOf(op.getInput()) / heads;
    int64_t part = widthOf(op.getResult()) / heads;
    replaceByApply(rewriter, op, [&](BodyBuilder &body, auto arguments) {
      return body.permute(arguments[0], heads * part, [&](int64_t i) {
        return i / part * head + from + i % part;
      });
    });
  }

  /// Each element from one of two gathers; a constant says from which.
  void lower(IRRewriter &rewriter, nn::ConcatOp op) {
    int64_t heads = op.getHeads(), width = widthOf(op.getResult());
    int64_t left = widthOf(op.getLhs()) / heads;
    int64_t right = widthOf(op.getRhs()) / heads, head = left + right;
    Type element = op.getResult().getType().getElementType();
    replaceByApply(rewriter, op, [&](BodyBuilder &body, auto arguments) {
      SmallVector<int32_t> isRight;
      for (int64_t i = 0; i < width; ++i)
        isRight.push_back(i % head >= left);
      Value lhs = body.permute(arguments[0], width, [&](int64_t i) {
        return i / head * left + std::min(i % head, left - 1);
      });
      Value rhs = body.permute(arguments[1], width, [&](int64_t i) {
        return i / head * right + std::max<int64_t>(i % head - left, 0);
      });
      return body.rows.map(
          {lhs, rhs, body.rows.constant(isRight)}, element,
          [&](OpBuilder &b, ValueRange v) -> Value {
            Value zero =
                arith::ConstantOp::create(b, body.loc, b.getI32IntegerAttr(0));
            Value isLeft = arith::CmpIOp::create(
                b, body.loc, arith::CmpIPredicate::eq, v[2], zero);
            return arith::SelectOp::create(b, body.loc, isLeft, v[0], v[1]);
          });
    });
  }

  /// A constant row that holds `list` twice: for cosines and for sines.
  template <typename Range> static Value twice(BodyBuilder &body, Range list) {
    SmallVector<float> values(list.begin(), list.end());
    values.append(list.begin(), list.end());
    auto type = RankedTensorType::get({int64_t(values.size())},
                                      body.b.getF32Type());
    return row::ConstantOp::create(
        body.b, body.loc,
        DenseElementsAttr::get(type, ArrayRef<float>(values)));
  }

  /// What the frequencies of a token are multiplied by in its row: stretch^-e, e
  /// growing with the frequency, and 1 up to the limit.
  static Value growthOf(BodyBuilder &body, nn::RotaryTableOp op, Value length,
                        Value isLong) {
    int64_t width = widthOf(op.getResult()), half = width / 2;
    double growth = op.getGrowth()->convertToDouble();
    SmallVector<float> exponents;
    for (int64_t i = 0; i < half; ++i)
      exponents.push_back(-2.0 * double(i) / double(width - 2));
    OpBuilder &b = body.b;
    row::RowBuilder &rows = body.rows;
    Value number = arith::SIToFPOp::create(b, body.loc, b.getF32Type(), length);
    Value limit = rows.f32(double(int64_t(*op.getLimit())));
    Value stretch = arith::SubFOp::create(
        b, body.loc,
        arith::DivFOp::create(
            b, body.loc,
            arith::MulFOp::create(b, body.loc, rows.f32(growth), number),
            limit),
        rows.f32(growth - 1.0));
    stretch = arith::SelectOp::create(b, body.loc, isLong, stretch,
                                      rows.f32(1.0));
    Value logarithm = math::LogOp::create(b, body.loc, stretch);
    return rows.exp(rows.mul(twice(body, exponents), logarithm));
  }

  void lower(IRRewriter &rewriter, nn::RotaryTableOp op) {
    int64_t width = widthOf(op.getResult());
    replaceByApply(rewriter, op, [&](BodyBuilder &body, auto arguments) {
      OpBuilder &b = body.b;
      Location loc = body.loc;
      auto f64 = [&](double value) -> Value {
        return arith::ConstantOp::create(b, loc, b.getF64FloatAttr(value));
      };
      SmallVector<int32_t> isSine;
      for (int64_t i = 0; i < width; ++i)
        isSine.push_back(i >= width / 2);
      Value frequency = twice(body, op.getFrequencies().getValues<float>());
      Value magnitude = f64(op.getMagnitude().convertToDouble());
      if (op.getLengths()) {
        Value isLong = arith::CmpIOp::create(
            b, loc, arith::CmpIPredicate::sgt, arguments[1],
            body.rows.i32(int64_t(*op.getLimit())));
        if (op.getGrowth()) {
          frequency = body.rows.mul(
              frequency, growthOf(body, op, arguments[1], isLong));
        } else {
          frequency = row::SelectOp::create(
              b, loc, isLong,
              twice(body, op.getLongFrequencies()->getValues<float>()),
              frequency);
          magnitude = arith::SelectOp::create(
              b, loc, isLong, f64(op.getLongMagnitude()->convertToDouble()),
              magnitude);
        }
      }
      Value position =
          arith::SIToFPOp::create(b, loc, b.getF32Type(), arguments[0]);
      return body.rows.map(
          {frequency, body.rows.constant(isSine), position, magnitude},
          b.getF32Type(), [&](OpBuilder &b, ValueRange v) -> Value {
            Value rounded = arith::MulFOp::create(b, loc, v[0], v[2]);
            Value angle =
                arith::ExtFOp::create(b, loc, b.getF64Type(), rounded);
            Value zero =
                arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(0));
            Value isCosine = arith::CmpIOp::create(
                b, loc, arith::CmpIPredicate::eq, v[1], zero);
            Value cosine = math::CosOp::create(b, loc, angle);
            Value sine = math::SinOp::create(b, loc, angle);
            Value chosen =
                arith::SelectOp::create(b, loc, isCosine, cosine, sine);
            Value scaled = arith::MulFOp::create(b, loc, chosen, v[3]);
            return arith::TruncFOp::create(b, loc, b.getF32Type(), scaled);
          });
    });
  }

  void lower(IRRewriter &rewriter, nn::RopeOp op) {
    int64_t width = widthOf(op.getInput()), head = op.getHeadSize();
    int64_t turned = widthOf(op.getTable()), half = turned / 2;
    int64_t first = op.getFirst();
    bool isHalf = op.getStyle() == nn::RopeStyle::Half;
    Type element = op.getResult().getType().getElementType();
    replaceByApply(rewriter, op, [&](BodyBuilder &body, auto arguments) {
      row::RowBuilder &rows = body.rows;
      // Place among the rotated elements of its head; the others have none.
      auto place = [&](int64_t i) { return i % head - first; };
      auto passes = [&](int64_t i) {
        return place(i) < 0 || place(i) >= turned;
      };
      // Element i of a head is the first or the second of its pair.
      auto isSecond = [&](int64_t i) {
        return isHalf ? place(i) >= half : place(i) % 2 == 1;
      };
      auto pairOf = [&](int64_t i) {
        if (passes(i))
          return int64_t(0);
        return isHalf ? place(i) % half : place(i) / 2;
      };
      Value x = body.widen(arguments[0]), table = body.widen(arguments[1]);
      Value partner = body.permute(x, width, [&](int64_t i) {
        if (passes(i))
          return i;
        int64_t distance = isHalf ? half : 1;
        return isSecond(i) ? i - distance : i + distance;
      });
      Value cosine =
          body.permute(table, width, [&](int64_t i) { return pairOf(i); });
      Value sine = body.permute(table, width,
                                [&](int64_t i) { return half + pairOf(i); });
      SmallVector<float> signs;
      bool isPartial = false;
      for (int64_t i = 0; i < width; ++i) {
        isPartial |= passes(i);
        signs.push_back(passes(i) ? 0.0f : isSecond(i) ? 1.0f : -1.0f);
      }
      Value sign = row::ConstantOp::create(
          body.b, body.loc,
          DenseElementsAttr::get(
              RankedTensorType::get({width}, body.b.getF32Type()),
              llvm::ArrayRef<float>(signs)));
      Value y = rows.add(rows.mul(x, cosine),
                         rows.mul(sign, rows.mul(partner, sine)));
      if (isPartial)
        y = rows.map({y, x, sign}, body.b.getF32Type(),
                     [&](OpBuilder &b, ValueRange v) -> Value {
                       Value zero = arith::ConstantOp::create(
                           b, body.loc, b.getF32FloatAttr(0.0));
                       Value isPassed = arith::CmpFOp::create(
                           b, body.loc, arith::CmpFPredicate::OEQ, v[2], zero);
                       return arith::SelectOp::create(b, body.loc, isPassed,
                                                      v[1], v[0]);
                     });
      return body.round(y, element);
    });
  }

  void lower(IRRewriter &rewriter, nn::MapOp op) {
    Type element = op.getResult().getType().getElementType();
    int64_t width = widthOf(op.getResult());
    replaceByApply(rewriter, op, [&](BodyBuilder &body, auto arguments) {
      OpBuilder &b = body.b;
      SmallVector<Value> inputs;
      for (Value argument : arguments) {
        auto type = dyn_cast<RankedTensorType>(argument.getType());
        if (type && type.getDimSize(0) == 1 && width != 1) {
          // One wide: the same scalar for all elements.
          argument = row::TableOp::create(b, body.loc, type.getElementType(),
                                          argument, body.rows.i32(0));
        } else if (type && type.getDimSize(0) != width) {
          int64_t run = width / type.getDimSize(0);
          argument = body.permute(argument, width,
                                  [&](int64_t i) { return i / run; });
        }
        inputs.push_back(argument);
      }
      Value result = body.rows.map(
          inputs, element, [&](OpBuilder &b, ValueRange v) -> Value {
            IRMapping mapping;
            for (auto [value, argument] :
                 llvm::zip(v, op.getBody().front().getArguments()))
              mapping.map(argument, isa<FloatType>(value.getType())
                                        ? body.widenScalar(b, value)
                                        : value);
            for (Operation &inner : op.getBody().front().without_terminator())
              b.clone(inner, mapping);
            Value result = mapping.lookupOrDefault(
                op.getBody().front().getTerminator()->getOperand(0));
            if (element.isF32())
              return result;
            return arith::TruncFOp::create(b, body.loc, element, result);
          });
      // Operands that are all one wide give one number.
      return isa<RankedTensorType>(result.getType())
                 ? result
                 : body.rows.splat(result, width);
    });
  }

  template <typename Op>
  static Value linear(IRRewriter &rewriter, Op op, Value input, Value weight,
                      Value bias, Type element) {
    auto type = RankedTensorType::get(
        {ShapedType::kDynamic,
         cast<RankedTensorType>(weight.getType()).getDimSize(0)},
        element);
    return nn::LinearOp::create(rewriter, op.getLoc(), type, input, weight,
                                bias, op.getCompute());
  }

  void lower(IRRewriter &rewriter, nn::GluOp op) {
    Type f32 = rewriter.getF32Type();
    Value gate = linear(rewriter, op, op.getInput(), op.getGate(),
                        op.getGateBias(), f32);
    Value up =
        linear(rewriter, op, op.getInput(), op.getUp(), op.getUpBias(), f32);
    Value h =
        row::buildHidden(rewriter, op.getLoc(), getHiddenFunction(op),
                         {gate, up}, op.getInput().getType().getElementType());
    rewriter.replaceOp(op,
                       linear(rewriter, op, h, op.getDown(), op.getDownBias(),
                              op.getResult().getType().getElementType()));
  }

  void lower(IRRewriter &rewriter, nn::MlpOp op) {
    Value up = linear(rewriter, op, op.getInput(), op.getUp(), op.getUpBias(),
                      rewriter.getF32Type());
    Value h = row::buildHidden(rewriter, op.getLoc(), getHiddenFunction(op), up,
                               op.getInput().getType().getElementType());
    rewriter.replaceOp(op,
                       linear(rewriter, op, h, op.getDown(), op.getDownBias(),
                              op.getResult().getType().getElementType()));
  }
};
} // namespace
