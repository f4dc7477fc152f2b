//===- RowBuilder.cpp - Convenient building of row bodies -----------------===//
#include "dialects/row/RowBuilder.h"

#include "dialects/row/RowDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace moec::row;

static Type elementType(Value value) {
  if (auto row = dyn_cast<RankedTensorType>(value.getType()))
    return row.getElementType();
  return value.getType();
}

Value RowBuilder::f32(double value) {
  return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(value));
}

Value RowBuilder::i32(int64_t value) {
  return arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(value));
}

Value RowBuilder::map(ValueRange inputs, Type element,
                      llvm::function_ref<Value(OpBuilder &, ValueRange)> body) {
  RankedTensorType shape;
  SmallVector<Type> arguments;
  for (Value input : inputs) {
    arguments.push_back(elementType(input));
    if (auto row = dyn_cast<RankedTensorType>(input.getType()))
      shape = row;
  }
  if (!shape)
    return body(b, inputs);
  auto op = MapOp::create(
      b, loc, RankedTensorType::get(shape.getShape(), element), inputs);
  OpBuilder::InsertionGuard guard(b);
  Block *block = b.createBlock(&op.getBody(), {}, arguments,
                               SmallVector<Location>(inputs.size(), loc));
  Value result = body(b, block->getArguments());
  YieldOp::create(b, loc, result);
  return op.getResult();
}

Value RowBuilder::add(Value x, Value y) {
  return map({x, y}, elementType(x), [&](OpBuilder &b, ValueRange v) -> Value {
    if (isa<IntegerType>(v[0].getType()))
      return arith::AddIOp::create(b, loc, v[0], v[1]);
    return arith::AddFOp::create(b, loc, v[0], v[1]);
  });
}

Value RowBuilder::sub(Value x, Value y) {
  return map({x, y}, elementType(x), [&](OpBuilder &b, ValueRange v) -> Value {
    return arith::SubFOp::create(b, loc, v[0], v[1]);
  });
}

Value RowBuilder::mul(Value x, Value y) {
  return map({x, y}, elementType(x), [&](OpBuilder &b, ValueRange v) -> Value {
    if (isa<IntegerType>(v[0].getType()))
      return arith::MulIOp::create(b, loc, v[0], v[1]);
    return arith::MulFOp::create(b, loc, v[0], v[1]);
  });
}

Value RowBuilder::div(Value x, Value y) {
  return map({x, y}, elementType(x), [&](OpBuilder &b, ValueRange v) -> Value {
    return arith::DivFOp::create(b, loc, v[0], v[1]);
  });
}

Value RowBuilder::exp(Value x) {
  return map(x, elementType(x), [&](OpBuilder &b, ValueRange v) -> Value {
    return math::ExpOp::create(b, loc, v[0]);
  });
}

Value RowBuilder::sigmoid(Value x) {
  return map(x, elementType(x), [&](OpBuilder &b, ValueRange v) -> Value {
    Value one =
        arith::ConstantOp::create(b, loc, b.getFloatAttr(v[0].getType(), 1.0));
    Value e = math::ExpOp::create(b, loc, arith::NegFOp::create(b, loc, v[0]));
    return arith::DivFOp::create(b, loc, one,
                                 arith::AddFOp::create(b, loc, one, e));
  });
}

Value RowBuilder::softmax(Value x) {
  Value e = exp(sub(x, max(x)));
  return div(e, sum(e));
}

static Type reducedType(Value x) {
  auto row = cast<RankedTensorType>(x.getType());
  if (row.getRank() == 1)
    return row.getElementType();
  return RankedTensorType::get(row.getShape().drop_back(),
                               row.getElementType());
}

Value RowBuilder::sum(Value x) {
  return ReduceOp::create(b, loc, reducedType(x), Reduction::Sum, x);
}

Value RowBuilder::max(Value x) {
  return ReduceOp::create(b, loc, reducedType(x), Reduction::Max, x);
}

std::pair<Value, Value> RowBuilder::topK(Value x, int64_t k) {
  auto op = TopKOp::create(b, loc, RankedTensorType::get({k}, elementType(x)),
                           RankedTensorType::get({k}, b.getI32Type()), x);
  return {op.getValues(), op.getIndices()};
}

Value RowBuilder::gather(Value source, Value indices) {
  auto type = cast<RankedTensorType>(indices.getType());
  return GatherOp::create(
      b, loc, RankedTensorType::get(type.getShape(), elementType(source)),
      source, indices);
}

Value RowBuilder::whereUsed(Value values, Value ids) {
  return map({values, ids}, elementType(values),
             [&](OpBuilder &b, ValueRange v) -> Value {
               Value zeroId =
                   arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(0));
               Value zero = arith::ConstantOp::create(
                   b, loc, b.getZeroAttr(v[0].getType()));
               Value isUsed = arith::CmpIOp::create(
                   b, loc, arith::CmpIPredicate::sge, v[1], zeroId);
               return arith::SelectOp::create(b, loc, isUsed, v[0], zero);
             });
}

Value RowBuilder::constant(ArrayRef<int32_t> values) {
  auto type = RankedTensorType::get({static_cast<int64_t>(values.size())},
                                    b.getI32Type());
  return ConstantOp::create(b, loc, DenseElementsAttr::get(type, values));
}

Value RowBuilder::iota(int64_t width) {
  return IotaOp::create(b, loc, RankedTensorType::get({width}, b.getI32Type()));
}

Value RowBuilder::splat(Value scalar, int64_t width) {
  return SplatOp::create(
      b, loc, RankedTensorType::get({width}, scalar.getType()), scalar);
}

Value moec::row::buildHidden(OpBuilder &b, Location loc,
                             const HiddenFunction &function, ValueRange maps,
                             Type element) {
  auto shape = cast<RankedTensorType>(maps[0].getType()).getShape();
  auto apply =
      ApplyOp::create(b, loc, RankedTensorType::get(shape, element), maps);
  OpBuilder::InsertionGuard guard(b);
  SmallVector<Type> rows;
  for (Value map : maps)
    rows.push_back(ApplyOp::getRowType(map.getType()));
  Block *block = b.createBlock(&apply.getBody(), {}, rows,
                               SmallVector<Location>(maps.size(), loc));
  Value result = RowBuilder(b, loc).map(
      block->getArguments(), element, [&](OpBuilder &b, ValueRange v) -> Value {
        Value h = buildHiddenFunction(b, loc, function, v);
        if (element.isF32())
          return h;
        return arith::TruncFOp::create(b, loc, element, h);
      });
  YieldOp::create(b, loc, result);
  return apply.getResult(0);
}
