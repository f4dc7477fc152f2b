//===- Philox.h - Random numbers by counter -------------------------------===//
//
// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy
// as 1, 2, 3; SC 2011): 128 bits that depend on a counter and a key and on
// nothing else.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_RUNTIME_LIB_SAMPLE_PHILOX_H
#define MOEC_RUNTIME_LIB_SAMPLE_PHILOX_H

#include <array>
#include <cstdint>

namespace moe::rt {

using PhiloxCounter = std::array<uint32_t, 4>;
using PhiloxKey = std::array<uint32_t, 2>;

inline PhiloxCounter philox(PhiloxCounter counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t first = uint64_t{0xD2511F53} * counter[0];
    const uint64_t second = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(second >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(second),
               static_cast<uint32_t>(first >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(first)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

/// The first 64 bits of a number that is uniform in [0, 1), a multiple of
/// 2^-53: the upper bits of the first two words for counter (position, stream)
/// and key seed, low words first.
inline uint64_t randomAt(uint64_t seed, uint64_t stream, uint64_t position) {
  const auto low = [](uint64_t x) { return static_cast<uint32_t>(x); };
  const auto high = [](uint64_t x) { return static_cast<uint32_t>(x >> 32); };
  const PhiloxCounter bits =
      philox({low(position), high(position), low(stream), high(stream)},
             {low(seed), high(seed)});
  const uint64_t word = uint64_t{bits[0]} << 32 | bits[1];
  return word >> 11 << 11;
}

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_SAMPLE_PHILOX_H
