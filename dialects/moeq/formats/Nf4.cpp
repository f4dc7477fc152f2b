//===- Nf4.cpp - Codes of 4 bits for normal weights -----------------------===//
#include "dialects/moeq/MoeqDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

using namespace mlir;
using namespace moec::moeq;

/// arXiv 2305.14314, appendix E; ascending.
static constexpr float kTable[16] = {
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f};

LogicalResult Nf4FormatAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                    int64_t group) {
  if (group == 32 || group == 64 || group == 128 || group == 256) // C1
    return success();
  return emitError() << "expected groups of 32, 64, 128 or 256 columns, found "
                     << group;
}

SmallVector<StringRef> Nf4FormatAttr::getSpellings() { return {"nf4"}; }
Attribute Nf4FormatAttr::getBySpelling(MLIRContext *context, StringRef) {
  return get(context, 64);
}

Type Nf4FormatAttr::getStorageType() const { return {}; }
int64_t Nf4FormatAttr::getGroupColumns() const { return getGroup(); }
unsigned Nf4FormatAttr::getCodeBits() const { return 4; }
Type Nf4FormatAttr::getScaleType() const {
  return BFloat16Type::get(getContext());
}
bool Nf4FormatAttr::isInteger() const { return false; }

Value Nf4FormatAttr::emitDequantize(OpBuilder &builder, Location loc,
                                    Value codes, Value scale) const {
  auto codeType = cast<VectorType>(codes.getType());
  auto splat = [&](VectorType type, TypedAttr value) -> Value {
    return arith::ConstantOp::create(
        builder, loc,
        cast<TypedAttr>(Attribute(DenseElementsAttr::get(type, value))));
  };
  auto floats = cast<VectorType>(scale.getType());
  Value number = splat(floats, builder.getF32FloatAttr(kTable[0]));
  for (int32_t code = 1; code < 16; ++code) {
    Value reached = arith::CmpIOp::create(
        builder, loc, arith::CmpIPredicate::sge, codes,
        splat(codeType, builder.getI32IntegerAttr(code)));
    number = arith::SelectOp::create(
        builder, loc, reached,
        splat(floats, builder.getF32FloatAttr(kTable[code])), number);
  }
  return arith::MulFOp::create(builder, loc, number, scale);
}

/// The code of the nearest entry; the lower one of two at equal distance.
static unsigned nearest(float x) {
  const float *above = std::lower_bound(kTable, kTable + 16, x);
  if (above == kTable)
    return 0;
  if (above == kTable + 16)
    return 15;
  return above - kTable - (x - above[-1] <= above[0] - x ? 1 : 0);
}

void Nf4FormatAttr::encode(ArrayRef<float> numbers, int64_t columns,
                           MutableArrayRef<char> codes) const {
  int64_t group = getGroup();
  char *to = codes.data();
  int64_t rows = columns == 0 ? 0 : numbers.size() / columns;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; column += group) {
      const float *from = numbers.data() + row * columns + column;
      int64_t count = std::min(group, columns - column);
      float scale = 0;
      bool isFinite = true;
      for (int64_t i = 0; i < count; ++i) {
        isFinite &= std::isfinite(from[i]);
        scale = std::max(scale, std::fabs(from[i]));
      }
      if (!isFinite) // what was not a number shows in the results
        scale = std::numeric_limits<float>::quiet_NaN();
      uint32_t word;
      std::memcpy(&word, &scale, sizeof(word));
      if (std::isfinite(scale))
        word += 0x7fffu + ((word >> 16) & 1u);
      word &= 0xffff0000u;
      std::memcpy(&scale, &word, sizeof(word));
      uint16_t half = word >> 16;
      std::memcpy(to, &half, sizeof(half));
      to += sizeof(half);
      for (int64_t i = 0; i < group; ++i) {
        bool isCoded = i < count && scale > 0;
        unsigned code = nearest(isCoded ? from[i] / scale : 0.0f);
        if (i % 2 == 0)
          *to = static_cast<char>(code);
        else
          *to++ |= static_cast<char>(code << 4);
      }
    }
}

void Nf4FormatAttr::decode(ArrayRef<char> codes, int64_t columns,
                           MutableArrayRef<float> numbers) const {
  int64_t group = getGroup();
  const char *from = codes.data();
  int64_t rows = columns == 0 ? 0 : numbers.size() / columns;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; column += group) {
      uint16_t half;
      std::memcpy(&half, from, sizeof(half));
      uint32_t word = static_cast<uint32_t>(half) << 16;
      float scale;
      std::memcpy(&scale, &word, sizeof(scale));
      from += sizeof(half);
      for (int64_t i = 0; i < group && column + i < columns; ++i) {
        unsigned byte = static_cast<unsigned char>(from[i / 2]);
        numbers[row * columns + column + i] =
            scale * kTable[i % 2 ? byte >> 4 : byte & 15];
      }
      from += group / 2;
    }
}
