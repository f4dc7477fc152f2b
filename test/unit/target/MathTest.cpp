//===- MathTest.cpp - Accuracy of elementary functions --------------------===//
#include "test/unit/target/TargetTestSupport.h"

#include <functional>

using namespace moec::test;

namespace {

/// y = op(x) for elements of a type, in rows of 1024.
std::vector<float> evaluate(const std::string &level, const std::string &op,
                            const std::vector<float> &x, std::string &error) {
  StepProgram program;
  program.tokens = x.size() / 1024;
  program.buffer("x", "memref<?x1024xf32>", x);
  program.buffer("y", "memref<?x1024xf32>", std::vector<float>(x.size()));
  program.op("moex.rowwise ins(%x : $x) outs(%y : $y) rows #T period = [0] "
             "body {\n"
             "^bb0(%r: tensor<1024xf32>):\n"
             "%m = row.map %r : (tensor<1024xf32>) -> tensor<1024xf32> {\n"
             "^bb0(%a: f32):\n"
             "%b = " +
             op +
             " %a : f32\n"
             "row.yield %b : f32\n"
             "}\n"
             "row.yield %m : tensor<1024xf32>\n"
             "}");
  error = program.run(level, 1);
  return error.empty() ? program.read<float>("y") : std::vector<float>();
}

/// Every exponent and special value, and random numbers of a range.
std::vector<float> samples(float low, float high) {
  std::vector<float> x = {0.0f,      -0.0f,      INFINITY, -INFINITY, NAN,
                          1e-45f,    -1e-45f,    1.17549435e-38f,
                          3.4028235e38f, -3.4028235e38f, 1.0f, -1.0f,
                          88.72283f, 88.7229f, -103.972f, -103.98f, -87.33655f,
                          0.625f,    0.62499994f, 0.99999994f, 4.0f};
  Random random(7);
  for (int i = 0; i < 1 << 16; ++i)
    x.push_back(floatOf(random.bits()));
  for (int i = 0; i < 1 << 18; ++i)
    x.push_back(random.uniform(low, high));
  x.resize(x.size() / 1024 * 1024);
  return x;
}

class MathTest : public LevelTest {
protected:
  void check(const std::string &op, float low, float high, double bound,
             const std::function<double(double)> &reference) {
    std::vector<float> x = samples(low, high);
    std::string error;
    std::vector<float> y = evaluate(level(), op, x, error);
    ASSERT_EQ(error, "");
    double worst = 0;
    float where = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      double distance = ulps(y[i], reference(x[i]));
      if (distance > worst) {
        worst = distance;
        where = x[i];
      }
    }
    RecordProperty("ulps", std::to_string(worst));
    EXPECT_LE(worst, bound) << "at " << where;
  }
};

} // namespace

TEST_P(MathTest, Exp) {
  check("math.exp", -104, 89, 1, [](double x) { return std::exp(x); });
}
TEST_P(MathTest, Log) {
  check("math.log", 0, 4, 1, [](double x) { return std::log(x); });
}
TEST_P(MathTest, Log1p) {
  check("math.log1p", -1, 4, 2.5, [](double x) { return std::log1p(x); });
}
TEST_P(MathTest, Tanh) {
  check("math.tanh", -10, 10, 1.5, [](double x) { return std::tanh(x); });
}
TEST_P(MathTest, Erf) {
  check("math.erf", -5, 5, 1.5, [](double x) { return std::erf(x); });
}
TEST_P(MathTest, Sqrt) {
  check("math.sqrt", 0, 4, 0.5, [](double x) { return std::sqrt(x); });
}
TEST_P(MathTest, Rsqrt) {
  check("math.rsqrt", 0, 4, 1.5, [](double x) { return 1 / std::sqrt(x); });
}
TEST_P(MathTest, Rounding) {
  check("math.absf", -4, 4, 0, [](double x) { return std::fabs(x); });
  check("math.floor", -9, 9, 0, [](double x) { return std::floor(x); });
  check("math.ceil", -9, 9, 0, [](double x) { return std::ceil(x); });
  check("math.roundeven", -9, 9, 0,
        [](double x) { return std::nearbyint(x); });
}

/// Angles of rotary tables, in f64.
TEST_P(MathTest, Angles) {
  constexpr int64_t width = 24;
  Random random(3);
  std::vector<double> x;
  for (int i = 0; i < 2000 * width; ++i)
    x.push_back(random.uniform(-1, 1) * std::pow(10.0, random.uniform(-6, 6)));
  for (const char *op : {"sin", "cos"}) {
    StepProgram program;
    program.tokens = 2000;
    program.buffer("x", "memref<?x24xf64>", x);
    program.buffer("y", "memref<?x24xf64>", std::vector<double>(x.size()));
    program.op("moex.rowwise ins(%x : $x) outs(%y : $y) rows #T period = [0] "
               "body {\n"
               "^bb0(%r: tensor<24xf64>):\n"
               "%m = row.map %r : (tensor<24xf64>) -> tensor<24xf64> {\n"
               "^bb0(%a: f64):\n"
               "%b = math." +
               std::string(op) +
               " %a : f64\n"
               "row.yield %b : f64\n"
               "}\n"
               "row.yield %m : tensor<24xf64>\n"
               "}");
    ASSERT_EQ(program.run(level(), 2), "");
    std::vector<double> y = program.read<double>("y");
    double worst = 0;
    for (size_t i = 0; i < x.size(); ++i)
      worst = std::max(worst, std::fabs(y[i] - (op[0] == 's' ? std::sin(x[i])
                                                             : std::cos(x[i]))));
    EXPECT_LE(worst, 1e-14);
  }
}

MOEC_FOR_LEVELS(MathTest);
