//===- Weight.h - How probable tokens are, in whole numbers ---------------===//
//
// A token's weight is its probability relative to the most probable one, in
// units of 2^-unitBits: a whole number. Sums of weights are exact, so a device
// that adds them in any order chooses the same tokens as the loop here.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_RUNTIME_LIB_SAMPLE_WEIGHT_H
#define MOEC_RUNTIME_LIB_SAMPLE_WEIGHT_H

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <iterator>

namespace moe::rt {

/// The weights of `width` tokens are at most 2^62 together.
inline uint32_t weightUnitBits(uint64_t width) {
  uint32_t bits = 62;
  while (bits > 0 && width > uint64_t{1} << (62 - bits))
    --bits;
  return bits;
}

/// By what the distance to the largest logit is multiplied, to be an exponent
/// of 2.
inline double weightScale(double temperature) {
  constexpr double kLog2E = 0x1.71547652b82fep+0;
  const double scale = kLog2E / temperature;
  return std::isfinite(scale) ? scale : DBL_MAX;
}

/// 2^(distance * scale + unitBits) for a distance of 0 or less; 0 where that
/// would be rounded to 0. The kernel `sample` of devices does these very
/// operations (compiler/targets/nvptx/kernels/Sample.cpp): each is rounded.
inline double weightOf(double distance, double scale, uint32_t unitBits) {
  static constexpr double kTerms[] = {
#define MOE_EXP2_TERM(coefficient) coefficient,
#include "runtime/abi/moe_exp2.def"
#undef MOE_EXP2_TERM
  };
  constexpr double kMagic = 6755399441055744.0; // rounds to whole numbers
  constexpr int64_t kMagicBits = 0x4338000000000000;
  const double exponent = distance * scale;
  if (!(exponent > -64))
    return 0;
  const double shifted = exponent + kMagic;
  const double rest = exponent - (shifted - kMagic);
  double power = kTerms[std::size(kTerms) - 1];
  for (size_t i = std::size(kTerms) - 1; i-- > 0;)
    power = power * rest + kTerms[i];
  int64_t bits = 0;
  std::memcpy(&bits, &shifted, sizeof(bits));
  bits = (bits - kMagicBits + unitBits + 1023) * (int64_t{1} << 52);
  double factor = 0;
  std::memcpy(&factor, &bits, sizeof(factor));
  return power * factor;
}

inline uint64_t roundWeight(double weight) {
  return static_cast<uint64_t>(weight + 0.5);
}

/// The part of a sum of weights that the most probable tokens must reach.
inline uint64_t weightToReach(double topP, uint64_t total) {
  const auto part = static_cast<uint64_t>(topP * static_cast<double>(total));
  return part ? part : 1;
}

/// `total` times a random number in [0, 1), given as its first 64 bits.
inline uint64_t drawBelow(uint64_t random, uint64_t total) {
  const uint64_t low = random & UINT32_MAX, high = random >> 32;
  const uint64_t totalLow = total & UINT32_MAX, totalHigh = total >> 32;
  const uint64_t middle = high * totalLow + (low * totalLow >> 32);
  const uint64_t other = low * totalHigh + (middle & UINT32_MAX);
  return high * totalHigh + (middle >> 32) + (other >> 32);
}

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_SAMPLE_WEIGHT_H
