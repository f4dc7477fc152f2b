//===- IntegerOps.cpp - Integer and bit instructions of one thread --------===//
#include "compiler/targets/nvptx/emulator/Numbers.h"
#include "compiler/targets/nvptx/emulator/Ops.h"

#include "llvm/ADT/StringSwitch.h"

using namespace moec::emu;
using llvm::StringRef;

namespace {

/// prmt: each nibble of the selector names a byte of the pair (b, a); its top
/// bit spreads that byte's sign instead.
void executePermute(Thread &, const Site &site, char *buffer) {
  uint64_t pair = getOperand<uint32_t>(site, buffer, 0) |
                  uint64_t(getOperand<uint32_t>(site, buffer, 1)) << 32;
  auto selector = getOperand<uint32_t>(site, buffer, 2);
  uint32_t result = 0;
  for (unsigned i = 0; i < 4; ++i) {
    unsigned nibble = selector >> 4 * i & 15;
    auto byte = uint32_t(pair >> 8 * (nibble & 7) & 0xff);
    if (nibble & 8)
      byte = byte & 0x80 ? 0xff : 0;
    result |= byte << 8 * i;
  }
  setResult<uint32_t>(site, buffer, result);
}

/// idp4a: four products of bytes, summed onto the third operand.
void executeDotProduct(Thread &, const Site &site, char *buffer) {
  auto a = getOperand<uint32_t>(site, buffer, 0);
  auto b = getOperand<uint32_t>(site, buffer, 1);
  auto typeA = Number(site.op->parameters[0]),
       typeB = Number(site.op->parameters[1]);
  int64_t sum = getOperand<int32_t>(site, buffer, 2);
  for (unsigned i = 0; i < 4; ++i)
    sum += decode<int64_t>(typeA, a, i) * decode<int64_t>(typeB, b, i);
  setResult<uint32_t>(site, buffer, uint32_t(sum));
}

/// f2tf32.rna: to nearest, ties away from zero; .rn: ties to even.
void executeToTf32(Thread &, const Site &site, char *buffer) {
  auto bits = getOperand<uint32_t>(site, buffer, 0);
  if ((bits & 0x7f800000) != 0x7f800000) {
    if (site.op->parameters[0])
      bits += 0xfff + (bits >> 13 & 1);
    else
      bits += 0x1000;
    bits &= 0xffffe000;
  }
  setResult<uint32_t>(site, buffer, bits);
}

/// The 8-bit floats of two values, the first in the upper byte; what does not
/// fit becomes the largest finite value.
template <unsigned mantissa, unsigned exponent>
uint8_t encodeFloat8(float value) {
  constexpr int bias = (1 << (exponent - 1)) - 1;
  constexpr double most = exponent == 4 ? 448 : 57344;
  uint8_t sign = std::signbit(value) ? 0x80 : 0;
  if (std::isnan(value))
    return 0x7f;
  double size = std::min(std::fabs(double(value)), most);
  if (size == 0)
    return sign;
  int power;
  std::frexp(size, &power);
  int unit = std::max(power - 1 - int(mantissa), 1 - bias - int(mantissa));
  auto steps = unsigned(std::nearbyint(std::ldexp(size, -unit)));
  unsigned binade = unsigned(unit + int(mantissa) + bias - 1);
  unsigned bits = (binade << mantissa) + steps;
  // Rounding may have passed the largest.
  unsigned largest = exponent == 4 ? 0x7e : 0x7b;
  return uint8_t(sign | std::min(bits, largest));
}

void executeToFloat8(Thread &, const Site &site, char *buffer) {
  bool isE4m3 = site.op->parameters[0], relu = site.op->parameters[1];
  uint16_t result = 0;
  for (unsigned i = 0; i < 2; ++i) {
    auto value = getOperand<float>(site, buffer, 1 - i);
    if (relu)
      value = std::fmax(value, 0.0f);
    uint8_t bits =
        isE4m3 ? encodeFloat8<3, 4>(value) : encodeFloat8<2, 5>(value);
    result |= uint16_t(bits << 8 * i);
  }
  setResult<uint16_t>(site, buffer, result);
}

void executeFromFloat8(Thread &, const Site &site, char *buffer) {
  auto bits = getOperand<uint16_t>(site, buffer, 0);
  auto type = Number(site.op->parameters[0]);
  for (unsigned i = 0; i < 2; ++i)
    setResult<uint16_t>(site, buffer, encodeHalf(decode<double>(type, bits, i)),
                        i);
}

} // namespace

bool moec::emu::bindIntegerOp(StringRef name, Op &op) {
  if (name == "prmt") {
    op.thread = executePermute;
    return true;
  }
  if (name.consume_front("idp4a.") && name.size() == 3) {
    op.thread = executeDotProduct;
    op.parameters = {int64_t(name[0] == 's' ? Number::S8 : Number::U8),
                     int64_t(name[2] == 's' ? Number::S8 : Number::U8)};
    return true;
  }
  if (name == "f2tf32.rna" || name == "f2tf32.rn") {
    op.thread = executeToTf32;
    op.parameters = {name == "f2tf32.rn"};
    return true;
  }
  if (name.consume_front("ff.to.")) {
    bool relu = name.consume_back(".relu");
    op.thread = executeToFloat8;
    op.parameters = {name == "e4m3x2.rn", relu};
    return name == "e4m3x2.rn" || name == "e5m2x2.rn";
  }
  if (name == "e4m3x2.to.f16x2.rn" || name == "e5m2x2.to.f16x2.rn") {
    op.thread = executeFromFloat8;
    op.parameters = {
        int64_t(name.starts_with("e4") ? Number::E4m3 : Number::E5m2)};
    return true;
  }
  return false;
}
