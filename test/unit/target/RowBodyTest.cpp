//===- RowBodyTest.cpp - Row operations against plain C++ -----------------===//
#include "test/unit/target/TargetTestSupport.h"

#include <algorithm>

using namespace moec::test;

namespace {

std::string text(int64_t value) { return std::to_string(value); }

class RowBodyTest : public LevelTest {
protected:
  /// Runs one row body with every team and checks that all agree.
  void run(StepProgram &program, const std::string &ins,
           const std::string &inTypes, const std::string &body,
           const std::string &period, const std::string &extra = "") {
    program.op("moex.rowwise ins(" + ins + " : " + inTypes +
               ") outs(%y : $y) rows #T period = [" + period + "] " + extra +
               " body {\n" + body + "}");
    std::vector<char> first;
    for (unsigned threads : kTeams) {
      ASSERT_EQ(program.run(level(), threads), "");
      if (first.empty())
        first = program.read<char>("y");
      ASSERT_EQ(first, program.read<char>("y")) << threads << " threads";
    }
  }
};

} // namespace

/// x / sqrt(mean(x^2) + eps) * w: a reduction over a fused map, and a map that
/// uses its result.
TEST_P(RowBodyTest, Norm) {
  for (int64_t width : {1, 7, 16, 37, 64, 130}) {
    for (int64_t rows : {1, 17}) {
      for (const char *type : {"f32", "bf16"}) {
        std::string t = type, w = text(width), row = "tensor<" + w + "x" + t + ">";
        Random random(width);
        std::vector<float> x = random.values(rows * width, t, 3);
        std::vector<float> weight = random.values(width, "bf16");
        StepProgram program;
        program.tokens = rows;
        program.buffer("x", "memref<?x" + w + "x" + t + ">", encode(x, t));
        program.buffer("y", "memref<?x" + w + "x" + t + ">",
                       std::vector<char>(encode(x, t).size()));
        program.weight("w", w + "xbf16", "", encode(weight, "bf16"));
        std::string f32Row = "tensor<" + w + "xf32>";
        std::string widen =
            t == "f32" ? "%e = arith.addf %a, %zero : f32\n"
                       : "%e = arith.extf %a : " + t + " to f32\n";
        std::string narrow = t == "f32"
                                 ? "%o = arith.addf %n, %zero : f32\n"
                                 : "%o = arith.truncf %n : f32 to " + t + "\n";
        run(program, "%x, %w", "$x, $w",
            "^bb0(%r: " + row + ", %g: tensor<" + w + "xbf16>):\n"
            "%zero = arith.constant 0.0 : f32\n"
            "%f = row.map %r : (" + row + ") -> " + f32Row + " {\n"
            "^bb0(%a: " + t + "):\n" + widen + "row.yield %e : f32\n}\n"
            "%s = row.map %f : (" + f32Row + ") -> " + f32Row + " {\n"
            "^bb0(%a: f32):\n%q = arith.mulf %a, %a : f32\n"
            "row.yield %q : f32\n}\n"
            "%t = row.reduce sum %s : " + f32Row + " -> f32\n"
            "%count = arith.constant " + w + ".0 : f32\n"
            "%eps = arith.constant 1.0e-5 : f32\n"
            "%m = arith.divf %t, %count : f32\n"
            "%v = arith.addf %m, %eps : f32\n"
            "%d = math.sqrt %v : f32\n"
            "%z = row.map %f, %g, %d : (" + f32Row + ", tensor<" + w +
            "xbf16>, f32) -> " + row + " {\n"
            "^bb0(%a: f32, %b: bf16, %c: f32):\n"
            "%h = arith.extf %b : bf16 to f32\n"
            "%i = arith.divf %a, %c : f32\n%n = arith.mulf %i, %h : f32\n" +
            narrow + "row.yield %o : " + t + "\n}\n"
            "row.yield %z : " + row + "\n",
            "0, 0");
        std::vector<float> expected;
        for (int64_t r = 0; r < rows; ++r) {
          std::vector<float> squares;
          for (int64_t i = 0; i < width; ++i) {
            float a = x[r * width + i] + 0.0f;
            squares.push_back(a * a);
          }
          float mean = laneSum(squares.data(), width) / width;
          float norm = std::sqrt(mean + 1.0e-5f);
          for (int64_t i = 0; i < width; ++i)
            expected.push_back(roundToType(
                (x[r * width + i] + 0.0f) / norm * weight[i] + 0.0f, t));
        }
        ASSERT_TRUE(sameBits(decode(program.read<char>("y"), t), expected))
            << width << " " << t;
      }
    }
  }
}

TEST_P(RowBodyTest, Softmax) {
  for (int64_t width : {2, 8, 60, 130}) {
    std::string w = text(width), row = "tensor<" + w + "xf32>";
    Random random(width);
    std::vector<float> x = random.values(17 * width, "f32", 9);
    StepProgram program;
    program.tokens = 17;
    program.buffer("x", "memref<?x" + w + "xf32>", x);
    program.buffer("y", "memref<?x" + w + "xf32>", std::vector<float>(x.size()));
    run(program, "%x", "$x",
        "^bb0(%r: " + row + "):\n%m = row.reduce max %r : " + row + " -> f32\n"
        "%e = row.map %r, %m : (" + row + ", f32) -> " + row + " {\n"
        "^bb0(%a: f32, %b: f32):\n%c = arith.subf %a, %b : f32\n"
        "%d = math.exp %c : f32\nrow.yield %d : f32\n}\n"
        "%s = row.reduce sum %e : " + row + " -> f32\n"
        "%p = row.map %e : (" + row + ") -> " + row + " {\n"
        "^bb0(%a: f32):\n%c = arith.divf %a, %s : f32\nrow.yield %c : f32\n}\n"
        "row.yield %p : " + row + "\n",
        "0");
    std::vector<float> y = program.read<float>("y");
    for (int64_t r = 0; r < 17; ++r) {
      const float *in = &x[r * width];
      double largest = *std::max_element(in, in + width), sum = 0;
      for (int64_t i = 0; i < width; ++i)
        sum += std::exp(in[i] - largest);
      for (int64_t i = 0; i < width; ++i)
        EXPECT_NEAR(y[r * width + i], std::exp(in[i] - largest) / sum, 1e-6);
    }
  }
}

namespace {
/// Order of row.top_k: NaN below everything, ties to the lower index.
std::vector<int32_t> topK(const float *x, int64_t width, int64_t k) {
  std::vector<int32_t> order(width);
  for (int64_t i = 0; i < width; ++i)
    order[i] = static_cast<int32_t>(i);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    if (std::isnan(x[a]) || std::isnan(x[b]))
      return std::isnan(x[b]) && !std::isnan(x[a]);
    return x[a] > x[b];
  });
  order.resize(k);
  return order;
}
} // namespace

TEST_P(RowBodyTest, TopK) {
  for (auto [width, k] : {std::pair<int64_t, int64_t>{1, 1},
                          {8, 2},
                          {8, 8},
                          {37, 5},
                          {130, 8}}) {
    std::string w = text(width), n = text(k);
    Random random(width + k);
    std::vector<float> x = random.values(60 * width);
    for (float &v : x) // many ties, zeros of both signs, infinities, NaN
      switch (random.integer(0, 12)) {
      case 0:
        v = NAN;
        break;
      case 1:
        v = -0.0f;
        break;
      case 2:
        v = 0.0f;
        break;
      case 3:
        v = random.integer(0, 1) ? INFINITY : -INFINITY;
        break;
      default:
        v = std::floor(v * 3);
      }
    std::fill_n(x.begin(), width, NAN);
    StepProgram program;
    program.tokens = 60;
    program.buffer("x", "memref<?x" + w + "xf32>", x);
    program.buffer("i", "memref<?x" + n + "xi32>",
                   std::vector<int32_t>(60 * k));
    program.buffer("a", "memref<?xi32>", std::vector<int32_t>(60));
    program.buffer("y", "memref<?x" + n + "xf32>", std::vector<float>(60 * k));
    program.op("moex.rowwise ins(%x : $x) outs(%y, %i, %a : $y, $i, $a) "
               "rows #T period = [0] body {\n^bb0(%r: tensor<" + w + "xf32>):\n"
               "%v, %p = row.top_k %r : tensor<" + w + "xf32> -> tensor<" + n +
               "xf32>, tensor<" + n + "xi32>\n"
               "%b = row.argmax %r : tensor<" + w + "xf32>\n"
               "row.yield %v, %p, %b : tensor<" + n + "xf32>, tensor<" + n +
               "xi32>, i32\n}");
    for (unsigned threads : kTeams) {
      ASSERT_EQ(program.run(level(), threads), "");
      std::vector<int32_t> indices, best;
      std::vector<float> values;
      for (int64_t r = 0; r < 60; ++r) {
        for (int32_t i : topK(&x[r * width], width, k)) {
          indices.push_back(i);
          values.push_back(x[r * width + i]);
        }
        best.push_back(topK(&x[r * width], width, 1)[0]);
      }
      EXPECT_EQ(program.read<int32_t>("i"), indices);
      EXPECT_EQ(program.read<int32_t>("a"), best);
      EXPECT_TRUE(sameBits(program.read<float>("y"), values));
    }
  }
}

/// Groups: reshape, reductions of the last dimension, table, selection by index.
TEST_P(RowBodyTest, Groups) {
  for (auto [groups, size] : {std::pair<int64_t, int64_t>{4, 2},
                              {3, 5},
                              {4, 16},
                              {2, 33}}) {
    int64_t width = groups * size;
    std::string w = text(width), g = text(groups),
                gs = g + "x" + text(size);
    Random random(width);
    std::vector<float> x = random.values(9 * width);
    StepProgram program;
    program.tokens = 9;
    program.buffer("x", "memref<?x" + w + "xf32>", x);
    program.buffer("s", "memref<?x" + g + "xf32>",
                   std::vector<float>(9 * groups));
    program.buffer("m", "memref<?x" + text(size) + "xf32>",
                   std::vector<float>(9 * size));
    program.buffer("y", "memref<?x" + g + "xf32>",
                   std::vector<float>(9 * groups));
    program.op(
        "moex.rowwise ins(%x : $x) outs(%y, %s, %m : $y, $s, $m) rows #T "
        "period = [0] body {\n^bb0(%r: tensor<" + w + "xf32>):\n"
        "%d = row.map %r : (tensor<" + w + "xf32>) -> tensor<" + w + "xf32> {\n"
        "^bb0(%a: f32):\n%b = arith.addf %a, %a : f32\nrow.yield %b : f32\n}\n"
        "%q = row.group_reshape %d : tensor<" + w + "xf32> -> tensor<" + gs +
        "xf32>\n"
        "%low = row.reduce min %q : tensor<" + gs + "xf32> -> tensor<" + g +
        "xf32>\n"
        "%sum = row.reduce sum %q : tensor<" + gs + "xf32> -> tensor<" + g +
        "xf32>\n"
        "%best = row.argmax %sum : tensor<" + g + "xf32>\n"
        "%line = row.table %q[%best] : tensor<" + gs + "xf32> -> tensor<" +
        text(size) + "xf32>\n"
        "row.yield %low, %sum, %line : tensor<" + g + "xf32>, tensor<" + g +
        "xf32>, tensor<" + text(size) + "xf32>\n}");
    for (unsigned threads : kTeams) {
      ASSERT_EQ(program.run(level(), threads), "");
      std::vector<float> lows, sums, lines;
      for (int64_t r = 0; r < 9; ++r) {
        std::vector<float> twice(width);
        for (int64_t i = 0; i < width; ++i)
          twice[i] = x[r * width + i] + x[r * width + i];
        std::vector<float> rowSums;
        for (int64_t i = 0; i < groups; ++i) {
          const float *part = &twice[i * size];
          lows.push_back(*std::min_element(part, part + size));
          rowSums.push_back(laneSum(part, size));
        }
        int32_t best = topK(rowSums.data(), groups, 1)[0];
        sums.insert(sums.end(), rowSums.begin(), rowSums.end());
        lines.insert(lines.end(), &twice[best * size],
                     &twice[best * size] + size);
      }
      EXPECT_TRUE(sameBits(program.read<float>("y"), lows));
      EXPECT_TRUE(sameBits(program.read<float>("s"), sums));
      EXPECT_TRUE(sameBits(program.read<float>("m"), lines));
    }
  }
}

/// Scan, iota, splat, select, gather with negative indices, uniform operands.
TEST_P(RowBodyTest, Indices) {
  for (int64_t width : {3, 16, 45}) {
    std::string w = text(width), row = "tensor<" + w + "xi32>";
    Random random(width);
    std::vector<int32_t> x, table;
    for (int64_t i = 0; i < 8 * width; ++i)
      x.push_back(random.integer(-3, width - 1));
    for (int64_t i = 0; i < width; ++i)
      table.push_back(random.integer(-100, 100));
    std::vector<int8_t> kinds = {0, 1, 0, 0, 1, 1, 0, 1};
    StepProgram program;
    program.tokens = 8;
    program.kinds = kinds;
    program.buffer("x", "memref<?x" + w + "xi32>", x);
    program.buffer("t", "memref<" + w + "xi32>", table);
    program.buffer("y", "memref<?x" + w + "xi32>",
                   std::vector<int32_t>(x.size()));
    program.define("k", "memref<?xi8>", "moex.input kinds : memref<?xi8>");
    run(program, "%x, %t, %k", "$x, $t, $k",
        "^bb0(%r: " + row + ", %u: " + row + ", %kind: i8):\n"
        "%g = row.gather %u[%r] : " + row + ", " + row + " -> " + row + "\n"
        "%s = row.scan %g : " + row + "\n"
        "%i = row.iota : " + row + "\n"
        "%c = arith.constant 7 : i32\n"
        "%f = row.splat %c : i32 -> " + row + "\n"
        "%m = row.map %i, %f : (" + row + ", " + row + ") -> " + row + " {\n"
        "^bb0(%a: i32, %b: i32):\n%p = arith.muli %a, %b : i32\n"
        "%q = arith.divsi %p, %c : i32\nrow.yield %q : i32\n}\n"
        "%zero = arith.constant 0 : i8\n"
        "%is = arith.cmpi eq, %kind, %zero : i8\n"
        "%o = row.select %is, %s, %m : " + row + "\n"
        "row.yield %o : " + row + "\n",
        "0, 0, 0");
    std::vector<int32_t> expected;
    for (int64_t r = 0; r < 8; ++r) {
      int32_t sum = 0;
      for (int64_t i = 0; i < width; ++i) {
        int32_t index = x[r * width + i];
        sum += index < 0 ? 0 : table[index];
        expected.push_back(kinds[r] == 0 ? sum : static_cast<int32_t>(i));
      }
    }
    EXPECT_EQ(program.read<int32_t>("y"), expected);
  }
}

/// Rotary positions: constant gathers that become loads and shuffles, or not,
/// in place.
TEST_P(RowBodyTest, ConstantGathers) {
  struct Case {
    int64_t heads, size;
    bool pairs;
  };
  for (auto [heads, size, pairs] :
       {Case{2, 64, false}, {4, 32, true}, {3, 10, false}, {1, 6, true}}) {
    int64_t width = heads * size;
    std::string w = text(width), row = "tensor<" + w + "xf32>";
    std::vector<int64_t> other, angle;
    for (int64_t i = 0; i < width; ++i) {
      int64_t head = i / size * size, e = i % size;
      other.push_back(pairs ? i ^ 1 : head + (e + size / 2) % size);
      angle.push_back(pairs ? e / 2 : e % (size / 2));
    }
    auto list = [](const std::vector<int64_t> &values) {
      std::string result;
      for (int64_t value : values)
        result += (result.empty() ? "" : ", ") + text(value);
      return result;
    };
    Random random(width);
    std::vector<float> x = random.values(5 * width);
    std::vector<float> table = random.values(5 * size);
    StepProgram program;
    program.tokens = 5;
    program.buffer("y", "memref<?x" + w + "xf32>", x);
    program.buffer("t", "memref<?x" + text(size) + "xf32>", table);
    run(program, "%y, %t", "$y, $t",
        "^bb0(%r: " + row + ", %a: tensor<" + text(size) + "xf32>):\n"
        "%oi = row.constant dense<[" + list(other) + "]> : tensor<" + w +
        "xi32>\n%ai = row.constant dense<[" + list(angle) + "]> : tensor<" + w +
        "xi32>\n"
        "%o = row.gather %r[%oi] : " + row + ", tensor<" + w + "xi32> -> " +
        row + "\n"
        "%c = row.gather %a[%ai] : tensor<" + text(size) + "xf32>, tensor<" + w +
        "xi32> -> " + row + "\n"
        "%m = row.map %r, %o, %c : (" + row + ", " + row + ", " + row + ") -> " +
        row + " {\n^bb0(%p: f32, %q: f32, %s: f32):\n"
        "%h = arith.mulf %q, %s : f32\n%i = arith.subf %p, %h : f32\n"
        "row.yield %i : f32\n}\n"
        "row.yield %m : " + row + "\n",
        "0, 0");
    std::vector<float> expected;
    for (int64_t r = 0; r < 5; ++r)
      for (int64_t i = 0; i < width; ++i)
        expected.push_back(x[r * width + i] - x[r * width + other[i]] *
                                                  table[r * size + angle[i]]);
    EXPECT_TRUE(sameBits(program.read<float>("y"), expected)) << width;
  }
}

/// Rows by period, one participant, 8-bit and f64 elements.
TEST_P(RowBodyTest, PeriodAndTypes) {
  constexpr int64_t width = 21, rows = 17, period = 5;
  Random random(1);
  std::vector<uint8_t> pixels;
  for (int64_t i = 0; i < rows * width; ++i)
    pixels.push_back(static_cast<uint8_t>(random.bits()));
  std::vector<float> table = random.values(period * width);
  StepProgram program;
  program.tokens = rows;
  program.raw[2] = {rows, StepProgram::bytesOf(pixels)};
  program.define("x", "memref<?x21xi8>", "moex.input raw of 2 : memref<?x21xi8>");
  program.weight("w", "5x21xf32", "#moeq.row_major", table);
  program.buffer("y", "memref<?x21xf64>", std::vector<double>(rows * width));
  run(program, "%x, %w", "$x, $w",
      "^bb0(%r: tensor<21xi8>, %t: tensor<21xf32>):\n"
      "%m = row.map %r, %t : (tensor<21xi8>, tensor<21xf32>) -> tensor<21xf64> "
      "{\n^bb0(%a: i8, %b: f32):\n%f = arith.uitofp %a : i8 to f32\n"
      "%p = arith.mulf %f, %b : f32\n%q = arith.extf %p : f32 to f64\n"
      "row.yield %q : f64\n}\nrow.yield %m : tensor<21xf64>\n",
      "0, 5", "tasks = one");
  std::vector<double> y = program.read<double>("y");
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < width; ++i)
      ASSERT_EQ(y[r * width + i],
                double(float(pixels[r * width + i]) *
                       table[r % period * width + i]));
}

/// Rows joined and split.
TEST_P(RowBodyTest, View) {
  Random random(2);
  std::vector<float> x = random.values(6 * 10);
  StepProgram program;
  program.tokens = 6;
  program.buffer("b", "memref<?x2x5xf32>", x);
  program.define("x", "memref<?x5xf32>",
                 "moex.view %b : memref<?x2x5xf32> to memref<?x5xf32>");
  program.buffer("y", "memref<?x5xf32>", std::vector<float>(6 * 5));
  run(program, "%x", "$x",
      "^bb0(%r: tensor<5xf32>):\nrow.yield %r : tensor<5xf32>\n", "0");
  EXPECT_TRUE(sameBits(program.read<float>("y"),
                       std::vector<float>(x.begin(), x.begin() + 30)));
}

MOEC_FOR_LEVELS(RowBodyTest);
