//===- GroupGemmTest.cpp - Products of weights with scales ----------------===//
//
// Weights in formats with groups, at every level, against plain C++ that follows
// the descriptions of the format, the layout and `compute`. The orders of sums are
// fixed, so results are compared bit for bit.
//
//===----------------------------------------------------------------------===//
#include "test/unit/target/TargetTestSupport.h"

#include <cmath>

using namespace moec::test;

namespace {

std::string text(int64_t value) { return std::to_string(value); }

struct Format {
  int64_t bits, group;
  bool isBf16Scale;
  bool isNf4 = false;

  /// What a code without offset stands for, before it is scaled.
  float value(int code) const {
    // arXiv 2305.14314, appendix E.
    static const double table[16] = {
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
        -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
        0.07958029955625534, 0.16093020141124725, 0.24611230194568634,
        0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
        0.7229568362236023, 1.0};
    return static_cast<float>(isNf4 ? table[code + 8] : code);
  }
  std::string spelling() const {
    if (isNf4)
      return "#moeq.nf4<" + text(group) + ">";
    return "#moeq.affine<" + text(bits) + ", " + text(group) + ", " +
           (isBf16Scale ? "bf16" : "f32") + ">";
  }
};

/// A matrix in a format: codes without offset, and scales.
struct Matrix {
  Format format;
  int64_t rows, columns, groups;
  std::vector<int> codes;
  std::vector<float> scales;

  Matrix(const Format &format, int64_t rows, int64_t columns, Random &random)
      : format(format), rows(rows), columns(columns),
        groups((columns + format.group - 1) / format.group) {
    int half = 1 << (format.bits - 1);
    for (int64_t i = 0; i < rows * columns; ++i)
      codes.push_back(static_cast<int>(random.integer(-half, half - 1)));
    scales = random.values(rows * groups, format.isBf16Scale ? "bf16" : "f32");
  }

  int code(int64_t row, int64_t column) const {
    return codes[row * columns + column];
  }
  float scale(int64_t row, int64_t column) const {
    return scales[row * groups + column / format.group];
  }

  /// `#moeq.group_blocks`.
  std::vector<char> storage() const {
    int64_t scaleBytes = format.isBf16Scale ? 2 : 4, unitGroups = 4 / scaleBytes;
    int64_t groupBytes = format.group * format.bits * 2;
    int64_t unitBytes = 64 + unitGroups * groupBytes;
    int64_t units = (groups + unitGroups - 1) / unitGroups;
    std::vector<char> bytes((rows + 15) / 16 * units * unitBytes);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t g = 0; g < groups; ++g) {
        char *unit = &bytes[(r / 16 * units + g / unitGroups) * unitBytes];
        uint32_t word = bitsOf(scales[r * groups + g]);
        if (format.isBf16Scale)
          word >>= 16;
        std::memcpy(unit + (r % 16 * unitGroups + g % unitGroups) * scaleBytes,
                    &word, scaleBytes);
        for (int64_t c = 0; c < format.group; ++c) {
          int64_t column = g * format.group + c;
          int value = (column < columns ? code(r, column) : 0) +
                      (1 << (format.bits - 1));
          char *line = unit + 64 + g % unitGroups * groupBytes;
          if (format.bits == 8)
            line[c / 4 * 64 + r % 16 * 4 + c % 4] = static_cast<char>(value);
          else
            line[c / 8 * 64 + r % 16 * 4 + c % 4] |=
                static_cast<char>(value << (c % 8 / 4 * 4));
        }
      }
    }
    return bytes;
  }
};

class GroupGemmTest : public LevelTest {
protected:
  /// One output in integers.
  float integerDot(const float *x, const Matrix &w, int64_t row) {
    float sum = 0;
    for (int64_t first = 0; first < w.columns; first += w.format.group) {
      int64_t last = std::min(first + w.format.group, w.columns);
      float largest = 0;
      for (int64_t k = first; k < last; ++k)
        largest = std::max(largest, std::fabs(x[k]));
      float scale = largest / 127.0f;
      float inverse = largest == 0 ? 0 : 127.0f / largest;
      int64_t products = 0;
      for (int64_t k = first; k < last; ++k)
        products +=
            static_cast<int64_t>(std::nearbyint(x[k] * inverse)) * w.code(row, k);
      sum = mulAdd(static_cast<float>(products), w.scale(row, first) * scale,
                   sum);
    }
    return sum;
  }

  /// One output in numbers rounded to `compute`.
  float floatDot(const float *x, const Matrix &w, int64_t row,
                 const std::string &compute) {
    float sum = 0;
    for (int64_t k = 0; k < w.columns; ++k) {
      float number = w.format.value(w.code(row, k)) * w.scale(row, k);
      sum = mulAdd(roundToType(x[k], compute), roundToType(number, compute),
                   sum);
    }
    return sum;
  }

  void check(const Format &format, int64_t rows, int64_t depth, int64_t width,
             const std::string &x, const std::string &compute,
             const std::vector<unsigned> &teams = {1, 2, 5}) {
    std::string what = text(rows) + "x" + text(depth) + "x" + text(width) +
                       " " + x + " " + format.spelling() + " " + compute;
    Random random(rows * 7 + depth * 3 + width);
    std::vector<float> input = random.values(rows * depth, x, 2);
    if (rows > 1) // a group of zeros
      std::fill_n(input.begin(), std::min<int64_t>(depth, format.group), 0.0f);
    Matrix w(format, width, depth, random);
    StepProgram program;
    program.tokens = rows;
    program.buffer("x", "memref<?x" + text(depth) + "x" + x + ">",
                   encode(input, x));
    program.weight("w", text(width) + "x" + text(depth) + "xbf16",
                   "#moeq.group_blocks", w.storage(), format.spelling());
    program.buffer("y", "memref<?x" + text(width) + "xf32>",
                   std::vector<float>(rows * width));
    program.op("moex.grouped_gemm ins(%x : $x) weights(%w : $w) outs(%y : $y) "
               "rows #T compute = " + compute);
    std::vector<float> expected;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t n = 0; n < width; ++n)
        expected.push_back(compute == "i8"
                               ? integerDot(&input[r * depth], w, n)
                               : floatDot(&input[r * depth], w, n, compute));
    for (unsigned threads : teams) {
      ASSERT_EQ(program.run(level(), threads), "") << what;
      ASSERT_TRUE(sameBits(program.read<float>("y"), expected))
          << what << ", " << threads << " threads";
    }
  }
};

const Format kInt8 = {8, 128, false}, kInt4 = {4, 32, true};

} // namespace

TEST_P(GroupGemmTest, Rows) {
  for (const Format &format : {kInt8, kInt4})
    for (int64_t rows : {1, 2, 4, 6, 19})
      check(format, rows, 256, 80, "bf16", "i8", {2});
}

TEST_P(GroupGemmTest, Sizes) {
  for (const Format &format : {kInt8, kInt4}) {
    for (int64_t depth : {32, 129, 300})
      check(format, 2, depth, 37, "f32", "i8");
  }
  // More than one panel.
  check(kInt8, 2, 4500, 16, "f32", "i8", {1});
  check(kInt4, 1, 9000, 20, "bf16", "i8", {2});
}

TEST_P(GroupGemmTest, Formats) {
  for (int64_t bits : {4, 8})
    for (int64_t group : {64, 256})
      for (bool isBf16 : {false, true})
        check({bits, group, isBf16}, 3, 520, 20, "f32", "i8", {1});
}

TEST_P(GroupGemmTest, Types) {
  check(kInt4, 4, 160, 33, "f16", "i8", {2});
  for (const char *compute : {"f32", "bf16", "f16"})
    for (const Format &format : {kInt8, kInt4, Format{4, 64, true, true}})
      check(format, 3, 160, 33, "bf16", compute, {2});
}

/// What is no number is none afterwards.
TEST_P(GroupGemmTest, NotNumbers) {
  for (const Format &format : {kInt4})
    for (float strange : {-INFINITY, NAN}) {
      Random random(1);
      std::vector<float> input = random.values(2 * 256);
      input[256 + 200] = strange;
      Matrix w(format, 16, 256, random);
      StepProgram program;
      program.tokens = 2;
      program.buffer("x", "memref<?x256xf32>", input);
      program.weight("w", "16x256xbf16", "#moeq.group_blocks", w.storage(),
                     format.spelling());
      program.buffer("y", "memref<?x16xf32>", std::vector<float>(32));
      program.op("moex.grouped_gemm ins(%x : $x) weights(%w : $w) "
                 "outs(%y : $y) rows #T compute = i8");
      ASSERT_EQ(program.run(level(), 1), "");
      std::vector<float> y = program.read<float>("y");
      for (int64_t i = 0; i < 16; ++i) {
        EXPECT_EQ(y[i], integerDot(&input[0], w, i));
        EXPECT_FALSE(std::isfinite(y[16 + i]));
      }
    }
}

MOEC_FOR_LEVELS(GroupGemmTest);
