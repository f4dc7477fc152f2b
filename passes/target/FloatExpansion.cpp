//===- FloatExpansion.cpp - 16-bit floats as integers ---------------------===//
//
// Without these patterns LLVM would call compiler-rt (__truncsfbf2 and others)
// for conversions. Rounding is to nearest even; a NaN becomes quiet and keeps
// the upper bits of its payload, as the processors' instructions do.
//
//===----------------------------------------------------------------------===//
#include "passes/target/ArithmeticExpansion.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;
using namespace moec;
using namespace moec::target;

static Type withElement(Type type, Type element) {
  if (auto vector = dyn_cast<VectorType>(type))
    return VectorType::get(vector.getShape(), element);
  return element;
}

namespace {

/// Integer arithmetic on i32 lanes, scalar or vector.
struct Bits {
  ImplicitLocOpBuilder &b;
  Type type, half, number;

  Bits(ImplicitLocOpBuilder &b, Type like)
      : b(b), type(withElement(like, b.getI32Type())),
        half(withElement(like, b.getIntegerType(16))),
        number(withElement(like, b.getF32Type())) {}

  Value constant(uint32_t value) {
    TypedAttr scalar = b.getI32IntegerAttr(static_cast<int32_t>(value));
    if (auto vector = dyn_cast<VectorType>(type))
      return b.create<arith::ConstantOp>(
          cast<TypedAttr>(Attribute(DenseElementsAttr::get(vector, scalar))));
    return b.create<arith::ConstantOp>(scalar);
  }
  Value add(Value x, Value y) { return b.create<arith::AddIOp>(x, y); }
  Value andBits(Value x, uint32_t y) {
    return b.create<arith::AndIOp>(x, constant(y));
  }
  Value orBits(Value x, Value y) { return b.create<arith::OrIOp>(x, y); }
  Value left(Value x, uint32_t n) {
    return b.create<arith::ShLIOp>(x, constant(n));
  }
  Value right(Value x, uint32_t n) {
    return b.create<arith::ShRUIOp>(x, constant(n));
  }
  /// Signed: the operands' top bits are clear.
  Value above(Value x, uint32_t y) {
    return b.create<arith::CmpIOp>(arith::CmpIPredicate::sgt, x, constant(y));
  }
  Value select(Value c, Value x, Value y) {
    return b.create<arith::SelectOp>(c, x, y);
  }
  Value widen(Value x) {
    return b.create<arith::ExtUIOp>(type, b.create<arith::BitcastOp>(half, x));
  }
  Value narrow(Value x, Type result) {
    return b.create<arith::BitcastOp>(result,
                                      b.create<arith::TruncIOp>(half, x));
  }
  Value toNumber(Value x) { return b.create<arith::BitcastOp>(number, x); }
  Value toBits(Value x) { return b.create<arith::BitcastOp>(type, x); }

  Value bf16ToF32(Value x) { return toNumber(left(widen(x), 16)); }

  Value f32ToBf16(Value x, Type result) {
    Value code = toBits(x);
    Value odd = andBits(right(code, 16), 1);
    Value rounded = right(add(add(code, constant(0x7fff)), odd), 16);
    Value quiet = orBits(right(code, 16), constant(0x40));
    Value isNan = above(andBits(code, 0x7fffffff), 0x7f800000);
    return narrow(select(isNan, quiet, rounded), result);
  }

  Value f16ToF32(Value x) {
    Value code = widen(x);
    Value sign = left(andBits(code, 0x8000), 16);
    Value magnitude = andBits(code, 0x7fff);
    // The exponent is rebased by a multiplication, which also makes denormals
    // normal; infinity and NaN get the largest exponent instead.
    Value shifted = left(magnitude, 13);
    Value finite = toBits(b.create<arith::MulFOp>(
        toNumber(shifted), toNumber(constant(0x77800000))));
    Value special = orBits(shifted, constant(0x7f800000));
    special = select(above(magnitude, 0x7c00),
                     orBits(special, constant(0x00400000)), special);
    Value isSpecial = above(magnitude, 0x7bff);
    return toNumber(orBits(select(isSpecial, special, finite), sign));
  }

  Value f32ToF16(Value x, Type result) {
    Value code = toBits(x);
    Value sign = right(andBits(code, 0x80000000), 16);
    Value magnitude = andBits(code, 0x7fffffff);
    Value odd = andBits(right(magnitude, 13), 1);
    Value normal = add(add(magnitude, constant(0xfffu - 0x38000000u)), odd);
    normal = right(normal, 13);
    // Adding 0.5 aligns a small number so that its f16 denormal code, rounded,
    // stands in the low bits.
    Value small = toBits(b.create<arith::AddFOp>(
        toNumber(magnitude), toNumber(constant(0x3f000000))));
    small = add(small, constant(-0x3f000000));
    Value nan = orBits(andBits(right(magnitude, 13), 0x3ff), constant(0x7e00));
    Value code16 = select(above(magnitude, 0x387fffff), normal, small);
    code16 = select(above(magnitude, 0x477fefff), constant(0x7c00), code16);
    code16 = select(above(magnitude, 0x7f800000), nan, code16);
    return narrow(orBits(code16, sign), result);
  }
};

struct ExpandExtF : OpRewritePattern<arith::ExtFOp> {
  ExpandExtF(MLIRContext *context, bool hasF16c)
      : OpRewritePattern(context), hasF16c(hasF16c) {}

  LogicalResult matchAndRewrite(arith::ExtFOp op,
                                PatternRewriter &rewriter) const override {
    Value x = op.getIn();
    if (!CodeBuilder::isSmallFloat(x.getType()))
      return failure();
    bool isF16 = getElementTypeOrSelf(x.getType()).isF16();
    bool toF32 = getElementTypeOrSelf(op.getType()).isF32();
    if (isF16 && hasF16c && toF32)
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Bits bits(b, x.getType());
    Value y;
    if (isF16 && hasF16c)
      y = b.create<arith::ExtFOp>(bits.number, x);
    else
      y = isF16 ? bits.f16ToF32(x) : bits.bf16ToF32(x);
    if (!toF32)
      y = b.create<arith::ExtFOp>(op.getType(), y);
    rewriter.replaceOp(op, y);
    return success();
  }

  bool hasF16c;
};

struct ExpandTruncF : OpRewritePattern<arith::TruncFOp> {
  ExpandTruncF(MLIRContext *context, bool hasF16c)
      : OpRewritePattern(context), hasF16c(hasF16c) {}

  LogicalResult matchAndRewrite(arith::TruncFOp op,
                                PatternRewriter &rewriter) const override {
    Value x = op.getIn();
    if (!CodeBuilder::isSmallFloat(op.getType()) ||
        !getElementTypeOrSelf(x.getType()).isF32())
      return failure();
    bool isF16 = getElementTypeOrSelf(op.getType()).isF16();
    if (isF16 && hasF16c)
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Bits bits(b, x.getType());
    rewriter.replaceOp(op, isF16 ? bits.f32ToF16(x, op.getType())
                                 : bits.f32ToBf16(x, op.getType()));
    return success();
  }

  bool hasF16c;
};

/// Whether any operand or result is a 16-bit float.
bool touchesSmallFloat(Operation *op) {
  return llvm::any_of(op->getOperandTypes(), CodeBuilder::isSmallFloat) ||
         llvm::any_of(op->getResultTypes(), CodeBuilder::isSmallFloat);
}

/// Whether an operation only moves values.
bool isMove(Operation *op) {
  return isa<arith::SelectOp, vector::BroadcastOp, vector::ExtractOp,
             vector::InsertOp, vector::ShuffleOp>(op);
}

/// Moves 16-bit floats as integers: instruction selection for vectors of them
/// goes through f32 and back.
struct MoveAsBits : RewritePattern {
  MoveAsBits(MLIRContext *context)
      : RewritePattern(MatchAnyOpTypeTag(), /*benefit=*/1, context) {}

  LogicalResult matchAndRewrite(Operation *op,
                                PatternRewriter &rewriter) const override {
    if (!isMove(op) || !touchesSmallFloat(op))
      return failure();
    ImplicitLocOpBuilder b(op->getLoc(), rewriter);
    OperationState state(op->getLoc(), op->getName());
    for (Value operand : op->getOperands()) {
      Type storage = CodeBuilder::storageType(operand.getType());
      if (storage != operand.getType())
        operand = b.create<arith::BitcastOp>(storage, operand);
      state.addOperands(operand);
    }
    Type type = op->getResult(0).getType();
    state.addTypes(CodeBuilder::storageType(type));
    state.addAttributes(op->getAttrs());
    Value bits = rewriter.create(state)->getResult(0);
    rewriter.replaceOpWithNewOp<arith::BitcastOp>(op, type, bits);
    return success();
  }
};

/// Operations on 16-bit floats in f32. One f32 operation, rounded, is the
/// correctly rounded result: f32 has more than twice the bits.
struct Promote : RewritePattern {
  Promote(MLIRContext *context)
      : RewritePattern(MatchAnyOpTypeTag(), /*benefit=*/1, context) {}

  LogicalResult matchAndRewrite(Operation *op,
                                PatternRewriter &rewriter) const override {
    if (!isa_and_nonnull<arith::ArithDialect, math::MathDialect>(
            op->getDialect()) ||
        isa<arith::ExtFOp, arith::TruncFOp, arith::BitcastOp,
            arith::ConstantOp>(op) ||
        isMove(op) || !touchesSmallFloat(op))
      return failure();
    ImplicitLocOpBuilder b(op->getLoc(), rewriter);
    OperationState state(op->getLoc(), op->getName());
    for (Value operand : op->getOperands()) {
      if (CodeBuilder::isSmallFloat(operand.getType()))
        operand = b.create<arith::ExtFOp>(
            withElement(operand.getType(), b.getF32Type()), operand);
      state.addOperands(operand);
    }
    for (Type type : op->getResultTypes())
      state.addTypes(CodeBuilder::isSmallFloat(type)
                         ? withElement(type, b.getF32Type())
                         : type);
    state.addAttributes(op->getAttrs());
    Operation *wide = rewriter.create(state);
    SmallVector<Value> results;
    for (auto [from, to] : llvm::zip(op->getResults(), wide->getResults())) {
      Value value = to;
      if (from.getType() != to.getType())
        value = b.create<arith::TruncFOp>(from.getType(), value);
      results.push_back(value);
    }
    rewriter.replaceOp(op, results);
    return success();
  }
};

} // namespace

void moec::target::populateFloatExpansionPatterns(RewritePatternSet &patterns,
                                                  const IsaLevel &level) {
  patterns.add<ExpandExtF, ExpandTruncF>(patterns.getContext(), level.hasF16c);
  patterns.add<MoveAsBits, Promote>(patterns.getContext());
}

//===----------------------------------------------------------------------===//
// All of it
//===----------------------------------------------------------------------===//

LogicalResult moec::target::checkArithmetic(Operation *kernel) {
  for (Region &region : kernel->getRegions()) {
    WalkResult result = region.walk([](Operation *op) {
      auto isUnknownFloat = [](Type type) {
        Type element = getElementTypeOrSelf(type);
        return isa<FloatType>(element) && !element.isF32() &&
               !element.isF64() && !element.isBF16() && !element.isF16();
      };
      bool supported = true;
      if (isa<math::MathDialect>(op->getDialect()))
        supported = hasMathExpansion(op);
      else if (isa<arith::RemFOp>(op))
        supported = false;
      else if (auto trunc = dyn_cast<arith::TruncFOp>(op))
        // Two roundings in a row would not be the one that is asked for.
        supported = !CodeBuilder::isSmallFloat(trunc.getType()) ||
                    trunc.getIn().getType().isF32();
      else if (isa<arith::SIToFPOp, arith::UIToFPOp>(op))
        supported = !CodeBuilder::isSmallFloat(op->getResult(0).getType()) ||
                    op->getOperand(0).getType().getIntOrFloatBitWidth() <= 16;
      supported &= llvm::none_of(op->getOperandTypes(), isUnknownFloat) &&
                   llvm::none_of(op->getResultTypes(), isUnknownFloat);
      if (supported)
        return WalkResult::advance();
      op->emitOpError("on ")
          << op->getResult(0).getType() << " is not supported by CPU targets";
      return WalkResult::interrupt();
    });
    if (result.wasInterrupted())
      return failure();
  }
  return success();
}

LogicalResult moec::target::expandArithmetic(LLVM::LLVMFuncOp func,
                                             const IsaLevel &level) {
  RewritePatternSet patterns(func.getContext());
  populateMathExpansionPatterns(patterns, level);
  populateFloatExpansionPatterns(patterns, level);
  arith::populateCeilFloorDivExpandOpsPatterns(patterns);
  if (failed(applyPatternsGreedily(func, std::move(patterns))))
    return func.emitError("expanding the arithmetic of ")
           << func.getSymName() << " does not end";
  WalkResult result = func.walk([&](Operation *op) {
    bool isConversion = isa<arith::ExtFOp, arith::TruncFOp>(op);
    bool isArithmetic =
        isa_and_nonnull<arith::ArithDialect, vector::VectorDialect>(
            op->getDialect());
    bool rest = isa_and_nonnull<math::MathDialect>(op->getDialect()) ||
                (isArithmetic && touchesSmallFloat(op) && !isConversion &&
                 !isa<arith::BitcastOp, arith::ConstantOp>(op));
    if (!rest)
      return WalkResult::advance();
    op->emitOpError("is not supported by CPU targets");
    return WalkResult::interrupt();
  });
  return failure(result.wasInterrupted());
}
