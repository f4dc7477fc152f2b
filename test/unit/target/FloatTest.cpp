//===- FloatTest.cpp - 16-bit floats --------------------------------------===//
#include "test/unit/target/TargetTestSupport.h"

using namespace moec::test;

namespace {

/// Converts each element of %x, of type `from`, to type `to`.
template <typename From, typename To>
std::vector<To> convert(const std::string &level, const std::string &from,
                        const std::string &to, const std::vector<From> &x,
                        std::string &error) {
  StepProgram program;
  program.tokens = x.size() / 64;
  program.buffer("x", "memref<?x64x" + from + ">", x);
  program.buffer("y", "memref<?x64x" + to + ">", std::vector<To>(x.size()));
  std::string op = from == "f32" ? "arith.truncf" : "arith.extf";
  program.op("moex.rowwise ins(%x : $x) outs(%y : $y) rows #T period = [0] "
             "body {\n^bb0(%r: tensor<64x" + from + ">):\n"
             "%m = row.map %r : (tensor<64x" + from + ">) -> tensor<64x" + to +
             "> {\n^bb0(%a: " + from + "):\n%b = " + op + " %a : " + from +
             " to " + to + "\nrow.yield %b : " + to + "\n}\n"
             "row.yield %m : tensor<64x" + to + ">\n}");
  error = program.run(level, 1);
  return error.empty() ? program.read<To>("y") : std::vector<To>();
}

class FloatTest : public LevelTest {
protected:
  void checkWidening(const std::string &type, float (*value)(uint16_t)) {
    std::vector<uint16_t> codes(1 << 16);
    for (size_t i = 0; i < codes.size(); ++i)
      codes[i] = static_cast<uint16_t>(i);
    std::string error;
    auto found = convert<uint16_t, float>(level(), type, "f32", codes, error);
    ASSERT_EQ(error, "");
    std::vector<float> expected;
    for (uint16_t code : codes)
      expected.push_back(value(code));
    EXPECT_TRUE(sameBits(found, expected));
  }

  void checkNarrowing(const std::string &type, uint16_t (*code)(float),
                      float (*value)(uint16_t)) {
    Random random(5);
    std::vector<float> x;
    for (int i = 0; i < 1 << 18; ++i)
      x.push_back(floatOf(random.bits()));
    for (int i = 0; i < 1 << 17; ++i)
      x.push_back(std::ldexp(random.uniform(-2, 2), random.integer(-30, 17)));
    // Halves between two codes, and their neighbours.
    for (uint32_t i = 0; i < 1 << 16; ++i) {
      uint32_t middle = bitsOf(
          (value(i) + value(static_cast<uint16_t>(i + 1))) / 2);
      x.insert(x.end(), {floatOf(middle), floatOf(middle + 1),
                         floatOf(middle - 1), value(i)});
    }
    std::string error;
    auto found = convert<float, uint16_t>(level(), "f32", type, x, error);
    ASSERT_EQ(error, "");
    for (size_t i = 0; i < x.size(); ++i) {
      if (std::isnan(x[i]))
        ASSERT_TRUE(std::isnan(value(found[i]))) << x[i];
      else
        ASSERT_EQ(found[i], code(x[i])) << x[i] << " element " << i;
    }
  }
};

} // namespace

TEST_P(FloatTest, Bf16ToF32) { checkWidening("bf16", bf16Value); }
TEST_P(FloatTest, F16ToF32) { checkWidening("f16", f16Value); }
TEST_P(FloatTest, F32ToBf16) { checkNarrowing("bf16", bf16Code, bf16Value); }
TEST_P(FloatTest, F32ToF16) { checkNarrowing("f16", f16Code, f16Value); }

/// Arithmetic directly on 16-bit values is rounded after every operation.
TEST_P(FloatTest, Arithmetic) {
  Random random(11);
  for (const char *type : {"bf16", "f16"}) {
    std::string t = type;
    std::vector<float> x = random.values(13 * 21, t, 4);
    StepProgram program;
    program.tokens = 13;
    program.buffer("x", "memref<?x21x" + t + ">", encode(x, t));
    program.buffer("y", "memref<?x21x" + t + ">",
                   std::vector<uint16_t>(x.size()));
    std::string row = "tensor<21x" + t + ">";
    program.op("moex.rowwise ins(%x : $x) outs(%y : $y) rows #T period = [0] "
               "body {\n^bb0(%r: " + row + "):\n"
               "%m = row.map %r : (" + row + ") -> " + row + " {\n"
               "^bb0(%a: " + t + "):\n"
               "%c = arith.constant 1.5 : " + t + "\n"
               "%p = arith.mulf %a, %c : " + t + "\n"
               "%q = arith.addf %p, %a : " + t + "\n"
               "%g = arith.cmpf ogt, %q, %c : " + t + "\n"
               "%s = arith.select %g, %q, %a : " + t + "\n"
               "row.yield %s : " + t + "\n}\n"
               "row.yield %m : " + row + "\n}");
    ASSERT_EQ(program.run(level(), 1), "");
    std::vector<float> expected;
    for (float a : x) {
      float q = roundToType(roundToType(a * 1.5f, t) + a, t);
      expected.push_back(q > 1.5f ? q : a);
    }
    EXPECT_TRUE(sameBits(decode(program.read<char>("y"), t), expected));
  }
}

MOEC_FOR_LEVELS(FloatTest);
