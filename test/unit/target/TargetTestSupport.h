//===- TargetTestSupport.h - Numbers for kernel tests -----------*- C++ -*-===//
//
// Reference arithmetic in plain C++. It shares no code with the compiler and
// follows the orders that the operations' descriptions fix.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_TEST_UNIT_TARGET_TARGETTESTSUPPORT_H
#define MOEC_TEST_UNIT_TARGET_TARGETTESTSUPPORT_H

#include "test/lib/KernelJitProgram.h"

#include "gtest/gtest.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace moec::test {

inline const std::vector<unsigned> kTeams = {1, 2, 5};

/// Runs a test for all levels, skipping one that the processor lacks.
class LevelTest : public ::testing::TestWithParam<std::string> {
protected:
  void SetUp() override {
    if (!canRunLevel(GetParam()))
      GTEST_SKIP() << "this processor lacks " << GetParam();
  }
  const std::string &level() const { return GetParam(); }
  bool isFused() const { return level() != "generic"; }
  /// x * y + z as the level computes it.
  float mulAdd(float x, float y, float z) const {
    return isFused() ? std::fma(x, y, z) : x * y + z;
  }
};

#define MOEC_FOR_LEVELS(Suite)                                                 \
  INSTANTIATE_TEST_SUITE_P(Levels, Suite,                                      \
                           ::testing::Values("generic", "avx2", "avx512"),     \
                           [](const auto &info) { return info.param; })

inline uint32_t bitsOf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}
inline float floatOf(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

/// Rounds to nearest even by arithmetic on the value, not on its bits.
inline float roundTo(float x, int precision, int minExponent, float largest) {
  if (x == 0 || std::isnan(x) || std::isinf(x))
    return x;
  int exponent;
  std::frexp(x, &exponent);
  int unit = std::max(exponent - precision, minExponent);
  double scaled = std::ldexp(static_cast<double>(x), -unit);
  double rounded = std::ldexp(std::nearbyint(scaled), unit);
  if (std::fabs(rounded) > largest)
    return std::copysign(INFINITY, x);
  return static_cast<float>(rounded == 0 ? std::copysign(0.0, x) : rounded);
}
inline float roundToBf16(float x) {
  return roundTo(x, 8, -133, 3.3895313892515355e38f);
}
inline float roundToF16(float x) { return roundTo(x, 11, -24, 65504.0f); }

/// Codes of numbers that are exact in the format.
inline uint16_t bf16Code(float x) { return bitsOf(roundToBf16(x)) >> 16; }
inline float bf16Value(uint16_t code) { return floatOf(uint32_t(code) << 16); }
inline float f16Value(uint16_t code) {
  int exponent = (code >> 10) & 31, mantissa = code & 1023;
  float magnitude = exponent == 31
                        ? (mantissa ? NAN : INFINITY)
                        : exponent == 0 ? std::ldexp(float(mantissa), -24)
                                        : std::ldexp(float(mantissa + 1024),
                                                     exponent - 25);
  return code & 0x8000 ? -magnitude : magnitude;
}
inline uint16_t f16Code(float x) {
  x = roundToF16(x);
  uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  float magnitude = std::fabs(x);
  if (std::isinf(magnitude))
    return sign | 0x7c00;
  if (magnitude < 6.103515625e-05f)
    return sign | static_cast<uint16_t>(std::ldexp(magnitude, 24));
  int exponent;
  float mantissa = std::frexp(magnitude, &exponent);
  return sign | static_cast<uint16_t>((exponent + 14) << 10) |
         static_cast<uint16_t>(std::ldexp(mantissa, 11) - 1024);
}

/// A number format by its spelling.
inline float roundToType(float x, const std::string &type) {
  return type == "bf16" ? roundToBf16(x) : type == "f16" ? roundToF16(x) : x;
}
/// Numbers that are exact in `type`, as its memory.
inline std::vector<char> encode(const std::vector<float> &values,
                                const std::string &type) {
  if (type == "f32")
    return StepProgram::bytesOf(values);
  std::vector<uint16_t> codes;
  for (float x : values)
    codes.push_back(type == "bf16" ? bf16Code(x) : f16Code(x));
  return StepProgram::bytesOf(codes);
}
inline std::vector<float> decode(const std::vector<char> &bytes,
                                 const std::string &type) {
  std::vector<float> values(bytes.size() / (type == "f32" ? 4 : 2));
  for (size_t i = 0; i < values.size(); ++i) {
    if (type == "f32") {
      std::memcpy(&values[i], &bytes[4 * i], 4);
      continue;
    }
    uint16_t code;
    std::memcpy(&code, &bytes[2 * i], 2);
    values[i] = type == "bf16" ? bf16Value(code) : f16Value(code);
  }
  return values;
}

/// Numbers for tests, the same in each run.
class Random {
public:
  explicit Random(unsigned seed) : engine(seed) {}
  float uniform(float low, float high) {
    return std::uniform_real_distribution<float>(low, high)(engine);
  }
  int64_t integer(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(engine);
  }
  uint32_t bits() { return static_cast<uint32_t>(engine()); }
  /// Numbers that are exact in `type`.
  std::vector<float> values(size_t count, const std::string &type = "f32",
                            float scale = 1) {
    std::vector<float> result(count);
    for (float &x : result)
      x = roundToType(uniform(-scale, scale), type);
    return result;
  }

private:
  std::mt19937 engine;
};

/// Elements of a matrix [rows, columns] in blocks of 16 rows.
/// Groups of `pack` columns stay together.
inline std::vector<float> rowBlocks(const std::vector<float> &matrix,
                                    int64_t rows, int64_t columns,
                                    int64_t pack) {
  int64_t groups = (columns + pack - 1) / pack;
  std::vector<float> storage((rows + 15) / 16 * 16 * groups * pack, 0.0f);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      storage[(((r / 16) * groups + c / pack) * 16 + r % 16) * pack +
              c % pack] = matrix[r * columns + c];
  return storage;
}
/// The layout of the weights of a product, and a weight in it.
inline int64_t packOf(const std::string &type) { return type == "bf16" ? 2 : 1; }
inline std::string blockLayout(const std::string &type) {
  return type == "bf16" ? "#moeq.row_blocks<16, 2>" : "#moeq.row_blocks<16>";
}
inline std::vector<char> encodeBlocks(const std::vector<float> &matrix,
                                      int64_t rows, int64_t columns,
                                      const std::string &type) {
  return encode(rowBlocks(matrix, rows, columns, packOf(type)), type);
}

/// The sum of `row.reduce`.
template <typename T> T laneSum(const T *x, int64_t count) {
  T lanes[16] = {};
  for (int64_t i = 0; i < count; ++i)
    lanes[i % 16] = lanes[i % 16] + x[i];
  for (int half = 8; half > 0; half /= 2)
    for (int lane = 0; lane < half; ++lane)
      lanes[lane] = lanes[lane] + lanes[lane + half];
  return lanes[0];
}

/// Distance in units of the last place of the f32 next to `expected`.
inline double ulps(float found, double expected) {
  if (std::isnan(expected) || std::isnan(found))
    return std::isnan(expected) && std::isnan(found) ? 0 : INFINITY;
  float nearest = static_cast<float>(expected);
  if (std::isinf(nearest) || std::isinf(found))
    return nearest == found ? 0 : INFINITY;
  int exponent;
  std::frexp(nearest, &exponent);
  double unit = std::ldexp(1.0, std::max(exponent - 24, -149));
  return std::fabs(found - expected) / unit;
}

/// Compares bit for bit, naming the first difference; two NaNs are equal.
inline ::testing::AssertionResult sameBits(const std::vector<float> &found,
                                           const std::vector<float> &expected) {
  if (found.size() != expected.size())
    return ::testing::AssertionFailure()
           << found.size() << " elements instead of " << expected.size();
  for (size_t i = 0; i < found.size(); ++i)
    if (bitsOf(found[i]) != bitsOf(expected[i]) &&
        !(std::isnan(found[i]) && std::isnan(expected[i])))
      return ::testing::AssertionFailure()
             << "element " << i << " is " << found[i] << " instead of "
             << expected[i];
  return ::testing::AssertionSuccess();
}

} // namespace moec::test

#endif // MOEC_TEST_UNIT_TARGET_TARGETTESTSUPPORT_H
