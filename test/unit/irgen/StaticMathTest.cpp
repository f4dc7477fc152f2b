//===- StaticMathTest.cpp - Static values ---------------------------------===//

#include "frontend/SemaStatic.h"

#include <gtest/gtest.h>

#include <limits>

using namespace moec;
using ast::BinaryOp;

namespace {

class StaticMathTest : public testing::Test {
protected:
  std::string binary(BinaryOp op, StaticValue a, StaticValue b,
                     bool floorDivision = false) {
    auto result = math.binary(op, a, b, {}, floorDivision);
    return result ? result->describe() : "error";
  }
  static StaticValue integer(int64_t value) {
    return StaticValue::ofInteger(value);
  }
  static StaticValue real(double value) { return StaticValue::ofReal(value); }

  SourceManager sources;
  Diagnostics diagnostics{sources};
  StaticMath math{diagnostics};
};

TEST_F(StaticMathTest, IntegersAreExact) {
  constexpr int64_t least = std::numeric_limits<int64_t>::min();
  constexpr int64_t most = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(binary(BinaryOp::Add, integer(most), integer(1)), "error");
  EXPECT_EQ(binary(BinaryOp::Subtract, integer(least), integer(1)), "error");
  EXPECT_EQ(binary(BinaryOp::Multiply, integer(most), integer(2)), "error");
  EXPECT_EQ(binary(BinaryOp::Divide, integer(least), integer(-1)), "error");
  EXPECT_EQ(binary(BinaryOp::Modulo, integer(least), integer(-1)),
            "the integer 0");
  EXPECT_EQ(binary(BinaryOp::Divide, integer(12), integer(4)),
            "the integer 3");
  EXPECT_EQ(binary(BinaryOp::Divide, integer(12), integer(5)), "error");
  EXPECT_EQ(binary(BinaryOp::Divide, integer(12), integer(0)), "error");
}

TEST_F(StaticMathTest, DivisionInNamesRoundsDown) {
  EXPECT_EQ(binary(BinaryOp::Divide, integer(7), integer(2), true),
            "the integer 3");
  EXPECT_EQ(binary(BinaryOp::Divide, integer(-7), integer(2), true),
            "the integer -4");
  EXPECT_EQ(binary(BinaryOp::Modulo, integer(-7), integer(2)),
            "the integer 1");
}

TEST_F(StaticMathTest, RealsMixWithIntegers) {
  EXPECT_EQ(binary(BinaryOp::Divide, integer(1), real(4)), "the number 0.25");
  EXPECT_EQ(binary(BinaryOp::Less, integer(1), real(1.5)), "true");
  EXPECT_EQ(binary(BinaryOp::Divide, real(1), real(0)), "error");
}

TEST_F(StaticMathTest, ContainsTakesRangesAndLists) {
  StaticValue list;
  list.kind = StaticValue::Kind::List;
  list.elements = {integer(3), real(0.5)};
  EXPECT_EQ(binary(BinaryOp::In, integer(3), StaticValue::ofRange(0, 3)),
            "false");
  EXPECT_EQ(binary(BinaryOp::In, integer(2), StaticValue::ofRange(0, 3)),
            "true");
  EXPECT_EQ(binary(BinaryOp::In, real(3), list), "true");
  EXPECT_EQ(binary(BinaryOp::In, integer(4), list), "false");
  EXPECT_EQ(binary(BinaryOp::In, integer(4), integer(4)), "error");
}

TEST_F(StaticMathTest, FunctionsOfNumbers) {
  auto call = [&](llvm::StringRef name, std::vector<StaticValue> arguments) {
    auto result = math.call(name, arguments, {});
    return result ? result->describe() : "error";
  };
  EXPECT_EQ(call("sqrt", {integer(16)}), "the number 4");
  EXPECT_EQ(call("floor", {real(2.5)}), "the integer 2");
  EXPECT_EQ(call("ceil", {real(2.5)}), "the integer 3");
  EXPECT_EQ(call("abs", {integer(-2)}), "the integer 2");
  EXPECT_EQ(call("min", {integer(2), real(1.5)}), "the number 1.5");
  EXPECT_EQ(call("max", {integer(2), real(1.5)}), "the integer 2");
  EXPECT_EQ(call("ln", {integer(0)}), "error");
  EXPECT_EQ(call("sqrt", {integer(-1)}), "error");
  EXPECT_EQ(call("floor", {real(1e300)}), "error");
  EXPECT_EQ(call("sqrt", {}), "error");
}

TEST_F(StaticMathTest, KeysAreEqualForEqualValuesOnly) {
  EXPECT_EQ(integer(1).key(), integer(1).key());
  EXPECT_NE(integer(1).key(), real(1).key());
  EXPECT_NE(real(0.1).key(), real(0.1 + 1e-17 + 1e-16).key());
  EXPECT_NE(integer(1).key(), StaticValue::ofBoolean(true).key());
}

} // namespace
