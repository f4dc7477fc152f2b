//===- Plain.cpp - One number per weight ----------------------------------===//
#include "dialects/moeq/MoeqDialect.h"

#include "llvm/ADT/APFloat.h"

#include <cstring>

using namespace mlir;
using namespace moec::moeq;

LogicalResult
PlainFormatAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                        FloatType type) {
  if (type.isF32() || type.isBF16() || type.isF16()) // C1
    return success();
  return emitError() << "expected f32, bf16 or f16, found " << type;
}

SmallVector<StringRef> PlainFormatAttr::getSpellings() { return {}; }
Attribute PlainFormatAttr::getBySpelling(MLIRContext *, StringRef) {
  return {};
}

Type PlainFormatAttr::getStorageType() const { return getType(); }
int64_t PlainFormatAttr::getGroupColumns() const { return 1; }
unsigned PlainFormatAttr::getCodeBits() const {
  return getType().getIntOrFloatBitWidth();
}
Type PlainFormatAttr::getScaleType() const { return {}; }
bool PlainFormatAttr::isInteger() const { return false; }

Value PlainFormatAttr::emitDequantize(OpBuilder &, Location, Value,
                                      Value) const {
  return {}; // has no scale
}

void PlainFormatAttr::decode(ArrayRef<char> codes, int64_t,
                             MutableArrayRef<float> numbers) const {
  if (getType().isF32()) {
    std::memcpy(numbers.data(), codes.data(), numbers.size() * sizeof(float));
    return;
  }
  const llvm::fltSemantics &semantics = getType().getFloatSemantics();
  for (size_t i = 0; i < numbers.size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, codes.data() + i * sizeof(bits), sizeof(bits));
    numbers[i] =
        llvm::APFloat(semantics, llvm::APInt(16, bits)).convertToFloat();
  }
}

void PlainFormatAttr::encode(ArrayRef<float> numbers, int64_t,
                             MutableArrayRef<char> codes) const {
  if (getType().isF32()) {
    std::memcpy(codes.data(), numbers.data(), numbers.size() * sizeof(float));
    return;
  }
  const llvm::fltSemantics &semantics = getType().getFloatSemantics();
  const bool isBF16 = getType().isBF16();
  for (size_t i = 0; i < numbers.size(); ++i) {
    uint16_t bits;
    uint32_t word;
    std::memcpy(&word, &numbers[i], sizeof(word));
    if (isBF16 && (word & 0x7f800000u) != 0x7f800000u) {
      // The common case by hand: a checkpoint has billions of weights.
      bits = (word + 0x7fffu + ((word >> 16) & 1u)) >> 16;
    } else {
      llvm::APFloat value(numbers[i]);
      bool losesInfo;
      value.convert(semantics, llvm::APFloat::rmNearestTiesToEven, &losesInfo);
      bits = value.bitcastToAPInt().getZExtValue();
    }
    std::memcpy(codes.data() + i * sizeof(bits), &bits, sizeof(bits));
  }
}
