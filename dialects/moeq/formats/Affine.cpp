//===- Affine.cpp - Integer codes with one scale per group ----------------===//
#include "dialects/moeq/MoeqDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

using namespace mlir;
using namespace moec::moeq;

LogicalResult
AffineFormatAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                         unsigned bits, int64_t group, FloatType scale) {
  if (bits != 4 && bits != 8) // C1
    return emitError() << "expected codes of 4 or 8 bits, found " << bits;
  if (group != 32 && group != 64 && group != 128 && group != 256) // C2
    return emitError() << "expected groups of 32, 64, 128 or 256 columns, found "
                       << group;
  if (!scale.isF32() && !scale.isBF16()) // C3
    return emitError() << "expected a scale of f32 or bf16, found " << scale;
  return success();
}

SmallVector<StringRef> AffineFormatAttr::getSpellings() {
  return {"int8", "int4"};
}

Attribute AffineFormatAttr::getBySpelling(MLIRContext *context,
                                          StringRef spelling) {
  if (spelling == "int8")
    return get(context, 8, 128, Float32Type::get(context));
  return get(context, 4, 32, BFloat16Type::get(context));
}

Type AffineFormatAttr::getStorageType() const { return {}; }
int64_t AffineFormatAttr::getGroupColumns() const { return getGroup(); }
unsigned AffineFormatAttr::getCodeBits() const { return getBits(); }
Type AffineFormatAttr::getScaleType() const { return getScale(); }
bool AffineFormatAttr::isInteger() const { return true; }

Value AffineFormatAttr::emitDequantize(OpBuilder &builder, Location loc,
                                       Value codes, Value scale) const {
  auto type = cast<VectorType>(codes.getType());
  auto zero = DenseElementsAttr::get(
      type, builder.getI32IntegerAttr(1 << (getBits() - 1)));
  Value offset =
      arith::ConstantOp::create(builder, loc, cast<TypedAttr>(Attribute(zero)));
  Value signedCodes = arith::SubIOp::create(builder, loc, codes, offset);
  Value numbers =
      arith::SIToFPOp::create(builder, loc, scale.getType(), signedCodes);
  return arith::MulFOp::create(builder, loc, numbers, scale);
}

//===----------------------------------------------------------------------===//
// Coding
//===----------------------------------------------------------------------===//

static float roundToBf16(float number) {
  uint32_t word;
  std::memcpy(&word, &number, sizeof(word));
  word = (word + 0x7fffu + ((word >> 16) & 1u)) & 0xffff0000u;
  std::memcpy(&number, &word, sizeof(word));
  return number;
}

namespace {
/// Codes one group.
class GroupCoder {
public:
  GroupCoder(unsigned bits, bool isBf16Scale)
      : bits(bits), isBf16Scale(isBf16Scale),
        low(-static_cast<float>(1 << (bits - 1))), high(-low - 1) {}

  /// The scale; fills `codes`, without offset.
  float code(const float *numbers, int64_t count, int8_t *codes) const {
    float extreme = 0;
    bool isFinite = true;
    for (int64_t i = 0; i < count; ++i) {
      isFinite &= std::isfinite(numbers[i]);
      if (std::fabs(numbers[i]) > std::fabs(extreme))
        extreme = numbers[i];
    }
    if (extreme == 0 || !isFinite) {
      std::fill_n(codes, count, static_cast<int8_t>(0));
      // What was not a number shows in the results.
      return isFinite ? 0.0f : std::numeric_limits<float>::quiet_NaN();
    }
    float best = rounded(bits == 8 ? std::fabs(extreme) / high : extreme / low);
    if (bits != 8) {
      float least = error(numbers, count, best), first = best;
      // The extreme number may be coded with the one code more on the negative
      // side, or others gain by clipping it.
      for (float factor : {1.14f, 1.07f, 0.93f, 0.86f, 0.79f}) {
        float scale = rounded(first * factor);
        float found = error(numbers, count, scale);
        if (found < least) {
          least = found;
          best = scale;
        }
      }
    }
    float inverse = best == 0 ? 0 : 1 / best;
    for (int64_t i = 0; i < count; ++i)
      codes[i] = static_cast<int8_t>(quantize(numbers[i] * inverse));
    return best;
  }

private:
  float rounded(float scale) const {
    return isBf16Scale ? roundToBf16(scale) : scale;
  }
  /// Nearest even by adding and taking away: what the compiler can vectorise.
  float quantize(float x) const {
    constexpr float kShift = 12582912.0f; // 1.5 * 2^23
    x = std::min(std::max(x, low), high);
    return (x + kShift) - kShift;
  }
  float error(const float *numbers, int64_t count, float scale) const {
    if (scale == 0)
      return INFINITY;
    float inverse = 1 / scale, lanes[8] = {};
    for (int64_t i = 0; i < count; i += 8)
      for (int64_t lane = 0; lane < 8; ++lane) {
        float x = numbers[i + lane];
        float difference = x - scale * quantize(x * inverse);
        lanes[lane] += difference * difference;
      }
    float sum = 0;
    for (float lane : lanes)
      sum += lane;
    return sum;
  }

  unsigned bits;
  bool isBf16Scale;
  float low, high;
};
} // namespace

void AffineFormatAttr::encode(ArrayRef<float> numbers, int64_t columns,
                              MutableArrayRef<char> codes) const {
  int64_t group = getGroup(), scaleBytes = getScale().getWidth() / 8;
  GroupCoder coder(getBits(), getScale().isBF16());
  std::vector<float> padded(group);
  std::vector<int8_t> integers(group);
  char *to = codes.data();
  int64_t rows = columns == 0 ? 0 : numbers.size() / columns;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; column += group) {
      int64_t count = std::min(group, columns - column);
      std::fill(padded.begin(), padded.end(), 0.0f);
      std::copy_n(numbers.begin() + row * columns + column, count,
                  padded.begin());
      float scale = coder.code(padded.data(), group, integers.data());
      uint32_t word;
      std::memcpy(&word, &scale, sizeof(word));
      if (scaleBytes == 2)
        word >>= 16;
      std::memcpy(to, &word, scaleBytes);
      to += scaleBytes;
      for (int64_t i = 0; i < group; ++i) {
        unsigned code = integers[i] + (1 << (getBits() - 1));
        if (getBits() == 8)
          *to++ = static_cast<char>(code);
        else if (i % 2 == 0)
          *to = static_cast<char>(code);
        else
          *to++ |= static_cast<char>(code << 4);
      }
    }
}

void AffineFormatAttr::decode(ArrayRef<char> codes, int64_t columns,
                              MutableArrayRef<float> numbers) const {
  int64_t group = getGroup(), scaleBytes = getScale().getWidth() / 8;
  const char *from = codes.data();
  int64_t rows = columns == 0 ? 0 : numbers.size() / columns;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; column += group) {
      uint32_t word = 0;
      std::memcpy(&word, from, scaleBytes);
      if (scaleBytes == 2)
        word <<= 16;
      float scale;
      std::memcpy(&scale, &word, sizeof(scale));
      from += scaleBytes;
      for (int64_t i = 0; i < group && column + i < columns; ++i) {
        unsigned byte = static_cast<unsigned char>(from[i * getBits() / 8]);
        if (getBits() == 4)
          byte = i % 2 ? byte >> 4 : byte & 15;
        int code = static_cast<int>(byte) - (1 << (getBits() - 1));
        numbers[row * columns + column + i] = scale * static_cast<float>(code);
      }
      from += group * getBits() / 8;
    }
}
