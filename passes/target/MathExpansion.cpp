//===- MathExpansion.cpp - Elementary functions as polynomials ------------===//
//
// Errors, for every f32: exp and log 1 ulp, tanh and erf 1.5 ulp, log1p 2.5 ulp
// (test/unit/target/MathTest.cpp). sin and cos are computed in f64 to 1e-15 for
// arguments up to 1.6e6 and lose precision slowly beyond: rotary tables need
// positions, not astronomical angles. Coefficients come from
// fit-polynomials.py.
//
//===----------------------------------------------------------------------===//
#include "passes/target/ArithmeticExpansion.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::target;

namespace {

/// Builds expressions of one float type, scalar or vector.
class Expression {
public:
  Expression(ImplicitLocOpBuilder &b, Type type, bool fused)
      : b(b), type(type), fused(fused) {
    unsigned bits = getElementTypeOrSelf(type).getIntOrFloatBitWidth();
    intType = b.getIntegerType(bits);
    if (auto vector = dyn_cast<VectorType>(type))
      intType = VectorType::get(vector.getShape(), intType);
  }

  Value constant(double value) {
    return splat(type, b.getFloatAttr(getElementTypeOrSelf(type), value));
  }
  Value integer(int64_t value) {
    return splat(intType,
                 b.getIntegerAttr(getElementTypeOrSelf(intType), value));
  }

  Value add(Value x, Value y) { return b.create<arith::AddFOp>(x, y); }
  Value sub(Value x, Value y) { return b.create<arith::SubFOp>(x, y); }
  Value mul(Value x, Value y) { return b.create<arith::MulFOp>(x, y); }
  Value div(Value x, Value y) { return b.create<arith::DivFOp>(x, y); }
  Value mulAdd(Value x, Value y, Value z) {
    if (fused)
      return b.create<LLVM::FMAOp>(type, x, y, z);
    return add(mul(x, y), z);
  }
  Value less(Value x, Value y) {
    return b.create<arith::CmpFOp>(arith::CmpFPredicate::OLT, x, y);
  }
  Value equal(Value x, Value y) {
    return b.create<arith::CmpFOp>(arith::CmpFPredicate::OEQ, x, y);
  }
  Value select(Value condition, Value x, Value y) {
    return b.create<arith::SelectOp>(condition, x, y);
  }
  Value abs(Value x) { return b.create<LLVM::FAbsOp>(type, x); }
  Value sqrt(Value x) { return b.create<LLVM::SqrtOp>(type, x); }
  Value copySign(Value x, Value sign) {
    return b.create<LLVM::CopySignOp>(type, x, sign);
  }
  Value bits(Value x) { return b.create<arith::BitcastOp>(intType, x); }
  Value number(Value x) { return b.create<arith::BitcastOp>(type, x); }
  Value addInt(Value x, Value y) { return b.create<arith::AddIOp>(x, y); }
  Value subInt(Value x, Value y) { return b.create<arith::SubIOp>(x, y); }
  Value andInt(Value x, Value y) { return b.create<arith::AndIOp>(x, y); }
  Value shiftLeft(Value x, int64_t n) {
    return b.create<arith::ShLIOp>(x, integer(n));
  }
  Value shiftRight(Value x, int64_t n) {
    return b.create<arith::ShRSIOp>(x, integer(n));
  }
  Value isZero(Value x) {
    return b.create<arith::CmpIOp>(arith::CmpIPredicate::eq, x, integer(0));
  }
  /// Lowest power first.
  Value polynomial(Value x, ArrayRef<double> coefficients) {
    Value result = constant(coefficients.back());
    for (double coefficient : llvm::reverse(coefficients.drop_back()))
      result = mulAdd(result, x, constant(coefficient));
    return result;
  }
  /// The integer next to x, ties to even, for |x| below 2^(mantissa bits).
  Value nearest(Value x, Value magic) { return sub(add(x, magic), magic); }

  Value exp(Value x);
  Value log(Value x);
  Value log1p(Value x);
  Value tanh(Value x);
  Value erf(Value x);
  Value sinOrCos(Value x, bool isCos);
  Value roundEven(Value x);
  Value floor(Value x);

private:
  Value splat(Type type, TypedAttr scalar) {
    if (auto vector = dyn_cast<VectorType>(type))
      return b.create<arith::ConstantOp>(
          cast<TypedAttr>(Attribute(DenseElementsAttr::get(vector, scalar))));
    return b.create<arith::ConstantOp>(scalar);
  }

  ImplicitLocOpBuilder &b;
  Type type, intType;
  bool fused;
};

/// ln 2 as a number of 9 bits, whose small multiples are exact, and a rest.
constexpr double kLn2High = 0.693359375;
constexpr double kLn2Low = -2.12194440e-4;

} // namespace

Value Expression::exp(Value x) {
  // Beyond these the result is infinite or rounds to zero. NaN stays NaN.
  Value high = constant(89.0), low = constant(-104.5);
  x = select(less(high, x), high, x);
  x = select(less(x, low), low, x);
  // x = n ln 2 + r; adding the magic number leaves n in the low bits.
  Value magic = constant(12582912.0);
  Value shifted = mulAdd(x, constant(1.44269504088896341), magic);
  Value n = sub(shifted, magic);
  Value r = mulAdd(n, constant(-kLn2High), x);
  r = mulAdd(n, constant(-kLn2Low), r);
  Value p = polynomial(r, {0.49999994f, 0.166665196f, 0.0416683927f,
                           0.00836878084f, 0.00138144672f});
  Value y = add(mulAdd(mul(r, r), p, r), constant(1.0));
  // 2^n in two factors: neither overflows, and a denormal result is rounded
  // once.
  Value power = subInt(bits(shifted), bits(magic));
  Value half = shiftRight(power, 1);
  Value rest = subInt(power, half);
  Value bias = integer(127);
  y = mul(y, number(shiftLeft(addInt(half, bias), 23)));
  return mul(y, number(shiftLeft(addInt(rest, bias), 23)));
}

Value Expression::log(Value x) {
  // Denormals become normal first.
  Value isSmall = less(x, constant(1.17549435e-38));
  Value scaled = select(isSmall, mul(x, constant(8388608.0)), x);
  Value shift = select(isSmall, constant(-23.0), constant(0.0));
  // x = 2^e m with m in [sqrt(1/2), sqrt(2)).
  Value code = bits(scaled);
  Value exponent = shiftRight(subInt(code, integer(0x3f3504f3)), 23);
  Value f = sub(number(subInt(code, shiftLeft(exponent, 23))), constant(1.0));
  Value e = add(b.create<arith::SIToFPOp>(type, exponent), shift);
  Value z = mul(f, f);
  Value q = polynomial(f, {0.333333135f, -0.250000089f, 0.200021192f,
                           -0.166679963f, 0.142195523f, -0.124055885f,
                           0.11888162f, -0.116756521f, 0.0674664229f});
  Value y = mul(mul(f, z), q);
  y = mulAdd(e, constant(kLn2Low), y);
  y = mulAdd(z, constant(-0.5), y);
  y = mulAdd(e, constant(kLn2High), add(f, y));
  Value zero = constant(0.0);
  Value infinity = constant(std::numeric_limits<double>::infinity());
  Value nan = constant(std::numeric_limits<double>::quiet_NaN());
  Value outside = select(equal(x, zero), sub(zero, infinity), nan);
  y = select(less(zero, x), y, outside);
  return select(equal(x, infinity), infinity, y);
}

Value Expression::log1p(Value x) {
  // The rounding of 1 + x is undone by the quotient.
  Value one = constant(1.0);
  Value u = add(one, x);
  Value y = mul(log(u), div(x, sub(u, one)));
  y = select(equal(u, one), x, y);
  Value infinity = constant(std::numeric_limits<double>::infinity());
  return select(equal(x, infinity), infinity, y);
}

Value Expression::tanh(Value x) {
  Value z = mul(x, x);
  Value p = polynomial(z, {-0.333333313f, 0.133332103f, -0.0539472029f,
                           0.0217029694f, -0.00818267744f, 0.00214753998f});
  Value inner = mulAdd(mul(x, z), p, x);
  Value magnitude = abs(x);
  Value one = constant(1.0), two = constant(2.0);
  Value power = exp(add(magnitude, magnitude));
  Value outer = copySign(sub(one, div(two, add(power, one))), x);
  return select(less(magnitude, constant(0.625)), inner, outer);
}

Value Expression::erf(Value x) {
  Value z = mul(x, x);
  Value p = polynomial(z, {0.128379166f, -0.376126379f, 0.112837829f,
                           -0.0268654451f, 0.00522107491f, -0.000848471187f,
                           0.000112705457f, -9.68014047e-06f});
  Value inner = mulAdd(x, p, x);
  // 1 - exp(-L); from 4 on the result rounds to 1.
  Value magnitude = abs(x), four = constant(4.0), one = constant(1.0);
  Value t = select(less(four, magnitude), four, magnitude);
  Value l = polynomial(t, {-0.000188036487f, 1.12957835f, 0.633219898f,
                           0.108418547f, -0.0252082385f, 0.00420455541f,
                           -0.000441335142f, 2.16867502e-05f});
  Value outer = copySign(sub(one, exp(sub(constant(0.0), l))), x);
  return select(less(magnitude, one), inner, outer);
}

Value Expression::sinOrCos(Value x, bool isCos) {
  // x = n pi/2 + r. The first two parts of pi/2 have 33 bits, so their
  // multiples are exact for n below 2^20.
  Value magic = constant(6755399441055744.0);
  Value shifted = mulAdd(x, constant(0.63661977236758134308), magic);
  Value n = sub(shifted, magic);
  Value r = mulAdd(n, constant(-0x1.921fb54400000p+0), x);
  r = mulAdd(n, constant(-0x1.0b4611a600000p-34), r);
  r = mulAdd(n, constant(-0x1.3198a2e037073p-69), r);
  Value z = mul(r, r);
  Value s = polynomial(z, {-0.16666666666666666, 0.0083333333333309254,
                           -0.00019841269836722418, 2.7557316083816358e-06,
                           -2.5051127944014188e-08, 1.5917848524808262e-10});
  Value sine = mulAdd(mul(r, z), s, r);
  Value c = polynomial(z, {0.041666666666666664, -0.0013888888888887382,
                           2.480158729874307e-05, -2.7557317260008837e-07,
                           2.0876143827993133e-09, -1.1382456778061306e-11});
  Value cosine = add(mulAdd(mul(z, z), c, mul(z, constant(-0.5))),
                     constant(1.0));
  Value quadrant = bits(shifted);
  if (isCos)
    quadrant = addInt(quadrant, integer(1));
  Value y = select(isZero(andInt(quadrant, integer(1))), sine, cosine);
  Value isPositive = isZero(andInt(quadrant, integer(2)));
  return select(isPositive, y, b.create<arith::NegFOp>(y));
}

Value Expression::roundEven(Value x) {
  bool isDouble = getElementTypeOrSelf(type).isF64();
  Value limit = constant(isDouble ? 4503599627370496.0 : 8388608.0);
  Value magnitude = abs(x);
  Value rounded = copySign(nearest(magnitude, limit), x);
  // Large numbers are integers already; NaN compares false.
  return select(less(magnitude, limit), rounded, x);
}

Value Expression::floor(Value x) {
  Value rounded = roundEven(x);
  // Rounding may have gone up.
  return select(less(x, rounded), sub(rounded, constant(1.0)), rounded);
}

namespace {

/// Replaces a unary operation by what `build` makes of its operand.
template <typename Op> struct ExpandUnary : OpRewritePattern<Op> {
  using Build = Value (*)(Expression &, Value);

  ExpandUnary(MLIRContext *context, Build build, bool fused)
      : OpRewritePattern<Op>(context), build(build), fused(fused) {}

  LogicalResult matchAndRewrite(Op op,
                                PatternRewriter &rewriter) const override {
    Type element = getElementTypeOrSelf(op.getType());
    if (!element.isF32() && !element.isF64())
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Expression expression(b, op.getType(), fused);
    rewriter.replaceOp(op, build(expression, op.getOperand()));
    return success();
  }

  Build build;
  bool fused;
};

/// Angles in f64, whatever the type.
template <typename Op, bool isCos> struct ExpandAngle : OpRewritePattern<Op> {
  ExpandAngle(MLIRContext *context, bool fused)
      : OpRewritePattern<Op>(context), fused(fused) {}

  LogicalResult matchAndRewrite(Op op,
                                PatternRewriter &rewriter) const override {
    Type type = op.getType();
    Type element = getElementTypeOrSelf(type);
    if (!element.isF32() && !element.isF64())
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Type wide = b.getF64Type();
    if (auto vector = dyn_cast<VectorType>(type))
      wide = VectorType::get(vector.getShape(), wide);
    Value x = op.getOperand();
    if (element.isF32())
      x = b.create<arith::ExtFOp>(wide, x);
    Value y = Expression(b, wide, fused).sinOrCos(x, isCos);
    if (element.isF32())
      y = b.create<arith::TruncFOp>(type, y);
    rewriter.replaceOp(op, y);
    return success();
  }

  bool fused;
};

struct LowerFma : OpRewritePattern<math::FmaOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(math::FmaOp op,
                                PatternRewriter &rewriter) const override {
    rewriter.replaceOpWithNewOp<LLVM::FMAOp>(op, op.getType(), op.getA(),
                                             op.getB(), op.getC());
    return success();
  }
};

} // namespace

bool moec::target::hasMathExpansion(Operation *op) {
  Type element = getElementTypeOrSelf(op->getResult(0).getType());
  bool isDouble = element.isF64();
  if (isa<math::SqrtOp, math::RsqrtOp, math::AbsFOp, math::FloorOp,
          math::CeilOp, math::RoundEvenOp, math::SinOp, math::CosOp>(op))
    return true;
  return !isDouble && isa<math::ExpOp, math::LogOp, math::Log1pOp,
                          math::TanhOp, math::ErfOp>(op);
}

void moec::target::populateMathExpansionPatterns(RewritePatternSet &patterns,
                                                 const IsaLevel &level) {
  MLIRContext *context = patterns.getContext();
  bool fused = level.hasFma;
  using E = Expression;
  patterns.add<ExpandUnary<math::ExpOp>>(
      context, +[](E &e, Value x) { return e.exp(x); }, fused);
  patterns.add<ExpandUnary<math::LogOp>>(
      context, +[](E &e, Value x) { return e.log(x); }, fused);
  patterns.add<ExpandUnary<math::Log1pOp>>(
      context, +[](E &e, Value x) { return e.log1p(x); }, fused);
  patterns.add<ExpandUnary<math::TanhOp>>(
      context, +[](E &e, Value x) { return e.tanh(x); }, fused);
  patterns.add<ExpandUnary<math::ErfOp>>(
      context, +[](E &e, Value x) { return e.erf(x); }, fused);
  patterns.add<ExpandUnary<math::AbsFOp>>(
      context, +[](E &e, Value x) { return e.abs(x); }, fused);
  patterns.add<ExpandUnary<math::FloorOp>>(
      context, +[](E &e, Value x) { return e.floor(x); }, fused);
  patterns.add<ExpandUnary<math::RoundEvenOp>>(
      context, +[](E &e, Value x) { return e.roundEven(x); }, fused);
  patterns.add<ExpandUnary<math::CeilOp>>(
      context,
      +[](E &e, Value x) {
        Value sign = e.constant(-1.0);
        return e.mul(e.floor(e.mul(x, sign)), sign);
      },
      fused);
  patterns.add<ExpandUnary<math::SqrtOp>>(
      context, +[](E &e, Value x) { return e.sqrt(x); }, fused);
  patterns.add<ExpandUnary<math::RsqrtOp>>(
      context,
      +[](E &e, Value x) { return e.div(e.constant(1.0), e.sqrt(x)); }, fused);
  patterns.add<ExpandAngle<math::SinOp, false>, ExpandAngle<math::CosOp, true>>(
      context, fused);
  patterns.add<LowerFma>(context);
}
