//===- Numbers.h - Formats of matrix elements -------------------*- C++ -*-===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_NUMBERS_H
#define MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_NUMBERS_H

#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/StringSwitch.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace moec {
namespace emu {

enum class Number { None, F32, F16, Bf16, Tf32, E4m3, E5m2, S8, U8 };

inline Number parseNumber(llvm::StringRef word) {
  return llvm::StringSwitch<Number>(word)
      .Case("f32", Number::F32)
      .Case("f16", Number::F16)
      .Case("bf16", Number::Bf16)
      .Case("tf32", Number::Tf32)
      .Case("e4m3", Number::E4m3)
      .Case("e5m2", Number::E5m2)
      .Case("s8", Number::S8)
      .Case("u8", Number::U8)
      .Default(Number::None);
}

inline unsigned getBits(Number type) {
  switch (type) {
  case Number::F32:
  case Number::Tf32:
    return 32;
  case Number::F16:
  case Number::Bf16:
    return 16;
  default:
    return 8;
  }
}

/// A small binary float without infinities or with them (IEEE).
inline double decodeSmall(uint32_t bits, unsigned mantissa, unsigned exponent,
                          bool isIeee) {
  uint32_t fraction = bits & ((1u << mantissa) - 1);
  uint32_t power = bits >> mantissa & ((1u << exponent) - 1);
  uint32_t top = (1u << exponent) - 1;
  int bias = (1 << (exponent - 1)) - 1;
  double value;
  if (power == top && isIeee)
    value = fraction ? NAN : INFINITY;
  else if (power == top && fraction == (1u << mantissa) - 1)
    value = NAN; // e4m3: one NaN, no infinity
  else if (power)
    value =
        std::ldexp(1 + std::ldexp(fraction, -int(mantissa)), int(power) - bias);
  else
    value = std::ldexp(fraction, 1 - bias - int(mantissa));
  return bits >> (mantissa + exponent) & 1 ? -value : value;
}

/// Element i, from the low end, of a register.
template <typename T> T decode(Number type, uint32_t bits, unsigned i) {
  float value;
  switch (type) {
  case Number::Bf16:
    bits = bits >> 16 * i << 16;
    std::memcpy(&value, &bits, 4);
    return T(value);
  case Number::Tf32: // the low bits are ignored
    bits &= 0xffffe000;
    std::memcpy(&value, &bits, 4);
    return T(value);
  case Number::F32:
    std::memcpy(&value, &bits, 4);
    return T(value);
  case Number::F16:
    return T(decodeSmall(bits >> 16 * i & 0xffff, 10, 5, true));
  case Number::E4m3:
    return T(decodeSmall(bits >> 8 * i & 0xff, 3, 4, false));
  case Number::E5m2:
    return T(decodeSmall(bits >> 8 * i & 0xff, 2, 5, true));
  case Number::S8:
    return T(int8_t(bits >> 8 * i));
  case Number::U8:
    return T(uint8_t(bits >> 8 * i));
  case Number::None:
    break;
  }
  return T(0);
}

/// To f16, to nearest, ties to even.
inline uint16_t encodeHalf(double value) {
  uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  double size = std::fabs(value);
  if (std::isnan(value))
    return 0x7fff;
  if (size >= 65520)
    return sign | 0x7c00;
  int power;
  std::frexp(size, &power);
  // The spacing of halfs around `size`, 2^-24 below the normal ones.
  int unit = std::max(power - 11, -24);
  auto steps = uint32_t(std::nearbyint(std::ldexp(size, -unit)));
  // Adding to the bits of the binade's first carries into the exponent.
  return sign |
         uint16_t(unit == -24 ? steps
                              : (uint32_t(unit + 25) << 10) + steps - 1024);
}

} // namespace emu
} // namespace moec

#endif // MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_NUMBERS_H
