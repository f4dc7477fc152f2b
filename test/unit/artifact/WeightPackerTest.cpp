//===- WeightPackerTest.cpp - Recipes, formats, layouts -------------------===//

#include "compiler/artifact/WeightPacker.h"

#include "ArtifactTestSupport.h"

#include "llvm/Support/xxhash.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

using namespace moec;
using namespace moec::test;

namespace {

/// Packs the weights of a module from tensors in memory.
class Packing : public ::testing::Test {
protected:
  Packing() : diagnostics(sources) {}

  std::vector<float> floats(int64_t count) {
    std::vector<float> result(count);
    for (int64_t i = 0; i < count; ++i)
      result[i] = static_cast<float>(i) - 3.5f;
    return result;
  }

  /// The segment of `text`, empty after an error.
  std::vector<char> pack(llvm::StringRef text, WeightSupply &supply) {
    module = test.parse(text);
    auto planned = planWeights(*module);
    if (failed(planned))
      return {};
    plan = *planned;
    std::vector<char> segment(plan.segmentBytes);
    auto sink = [&](uint64_t offset, llvm::StringRef bytes) {
      EXPECT_LE(offset + bytes.size(), segment.size());
      std::memcpy(segment.data() + offset, bytes.data(), bytes.size());
      return llvm::Error::success();
    };
    if (failed(packWeights(plan, supply, sink)))
      return {};
    return segment;
  }

  std::vector<char> pack(llvm::StringRef text) {
    TensorFiles files;
    EXPECT_TRUE(files.add("", std::move(source), SourceRange(), diagnostics));
    FileWeights supply(files);
    return pack(text, supply);
  }

  template <typename T> std::vector<T> packAs(llvm::StringRef text) {
    std::vector<char> bytes = pack(text);
    std::vector<T> result(bytes.size() / sizeof(T));
    std::memcpy(result.data(), bytes.data(), bytes.size());
    return result;
  }

  TestContext test;
  SourceManager sources;
  Diagnostics diagnostics;
  std::unique_ptr<MemorySource> source = std::make_unique<MemorySource>();
  mlir::OwningOpRef<mlir::ModuleOp> module;
  WeightPlan plan;
};

TEST_F(Packing, PlainTensorKeepsItsBits) {
  std::vector<uint16_t> bits = {0x3f80, 0x7fc1, 0x8000, 0x0001};
  source->add("w", DType::BF16, {2, 2}, bits);
  EXPECT_EQ(packAs<uint16_t>(
                R"(moe.weight @w : tensor<2x2xbf16> from [#moe.tensor<"w">])"),
            bits);
  EXPECT_EQ(plan.weights[0].checksum,
            llvm::xxh3_64bits(llvm::StringRef(
                reinterpret_cast<const char *>(bits.data()), 8)));
}

TEST_F(Packing, SliceTakesAStridedPart) {
  std::vector<float> all = floats(4 * 6 * 5);
  source->add("w", DType::F32, {4, 6, 5}, all);
  std::vector<float> expected;
  for (int i = 1; i < 6; i += 2)
    for (int j = 2; j < 5; ++j)
      expected.push_back(all[(3 * 6 + i) * 5 + j]);
  EXPECT_EQ(packAs<float>(R"(moe.weight @w : tensor<3x3xf32> from [
      #moe.tensor<"w">,
      #moe.slice<starts = [3, 1, 2], sizes = [1, 3, 3], steps = [1, 2, 1],
                 drop = [1, 0, 0]>])"),
            expected);
}

TEST_F(Packing, SliceToAScalar) {
  source->add("w", DType::F32, {2, 3}, floats(6));
  EXPECT_EQ(packAs<float>(R"(moe.weight @w : tensor<f32> from [
      #moe.tensor<"w">,
      #moe.slice<starts = [1, 2], sizes = [1, 1], steps = [1, 1],
                 drop = [1, 1]>])"),
            std::vector<float>{1.5f});
}

TEST_F(Packing, IntegersOf64BitsBecome32) {
  source->add("t", DType::I64, {2, 2},
              std::vector<int64_t>{3, -1, 7, 2147483647});
  EXPECT_EQ(packAs<int32_t>(
                R"(moe.weight @t : tensor<2x2xi32> from [#moe.tensor<"t">])"),
            (std::vector<int32_t>{3, -1, 7, 2147483647}));
}

TEST_F(Packing, TransposeSwapsDimensions) {
  std::vector<float> all = floats(3 * 4);
  source->add("w", DType::F32, {3, 4}, all);
  std::vector<float> expected;
  for (int j = 0; j < 4; ++j)
    for (int i = 0; i < 3; ++i)
      expected.push_back(all[i * 4 + j]);
  EXPECT_EQ(packAs<float>(R"(moe.weight @w : tensor<4x3xf32> from [
      #moe.tensor<"w">, #moe.transpose])"),
            expected);
}

TEST_F(Packing, TransposeOfAStridedPartInManySquares) {
  // Every second column of one expert, from [expert, hidden, columns].
  std::vector<float> all = floats(2 * 130 * 150);
  source->add("w", DType::F32, {2, 130, 150}, all);
  std::vector<float> expected;
  for (int i = 0; i < 75; ++i)
    for (int j = 0; j < 130; ++j)
      expected.push_back(all[(130 + j) * 150 + 2 * i + 1]);
  llvm::StringRef recipe = R"([#moe.tensor<"w">,
      #moe.slice<starts = [1, 0, 1], sizes = [1, 130, 75], steps = [1, 1, 2],
                 drop = [1, 0, 0]>, #moe.transpose)";
  EXPECT_EQ(
      packAs<float>(
          ("moe.weight @w : tensor<75x130xf32> from " + recipe + "]").str()),
      expected);
  // The same as numbers.
  for (float &x : expected)
    x += 1.0f;
  source = std::make_unique<MemorySource>();
  source->add("w", DType::F32, {2, 130, 150}, all);
  EXPECT_EQ(packAs<float>(("moe.weight @w : tensor<75x130xf32> from " + recipe +
                           ", #moe.add_constant<1.0>]")
                              .str()),
            expected);
}

TEST_F(Packing, ReshapeAfterTransposeReordersElements) {
  std::vector<float> all = floats(3 * 4);
  source->add("w", DType::F32, {3, 4}, all);
  std::vector<float> expected;
  for (int j = 0; j < 4; ++j)
    for (int i = 0; i < 3; ++i)
      expected.push_back(all[i * 4 + j]);
  EXPECT_EQ(packAs<float>(R"(moe.weight @w : tensor<2x6xf32> from [
      #moe.tensor<"w">, #moe.transpose, #moe.reshape<[2, 6]>])"),
            expected);
}

TEST_F(Packing, TransposeOfSeveralMatrices) {
  std::vector<float> all = floats(2 * 3 * 4);
  source->add("w", DType::F32, {2, 3, 4}, all);
  std::vector<float> expected;
  for (int h = 0; h < 2; ++h)
    for (int j = 0; j < 4; ++j)
      for (int i = 0; i < 3; ++i)
        expected.push_back(all[(h * 3 + i) * 4 + j]);
  EXPECT_EQ(packAs<float>(R"(moe.weight @w : tensor<8x3xf32> from [
      #moe.tensor<"w">, #moe.transpose, #moe.reshape<[8, 3]>])"),
            expected);
}

TEST_F(Packing, ReshapeThenSliceSplitsRows) {
  // Gate and up interleaved in one tensor, as gpt-oss stores them.
  std::vector<float> all = floats(8 * 3);
  source->add("w", DType::F32, {8, 3}, all);
  std::vector<float> expected;
  for (int row = 1; row < 8; row += 2)
    for (int j = 0; j < 3; ++j)
      expected.push_back(all[row * 3 + j]);
  EXPECT_EQ(packAs<float>(R"(moe.weight @w : tensor<4x3xf32> from [
      #moe.tensor<"w">, #moe.reshape<[4, 2, 3]>,
      #moe.slice<starts = [0, 1, 0], sizes = [4, 1, 3], steps = [1, 1, 1],
                 drop = [0, 1, 0]>])"),
            expected);
}

TEST_F(Packing, AddConstantIsDoneInF32) {
  source->add("w", DType::BF16, {3},
              std::vector<uint16_t>{0x3f80, 0x3b80, 0xbf80}); // 1, 2^-8, -1
  EXPECT_EQ(packAs<float>(R"(moe.weight @w : tensor<3xf32> from [
      #moe.tensor<"w">, #moe.add_constant<1.0>])"),
            (std::vector<float>{2.0f, 1.00390625f, 0.0f}));
}

TEST_F(Packing, HalfIsWidenedExactly) {
  source->add("w", DType::F16, {5},
              std::vector<uint16_t>{0x3c00, 0x0001, 0x83ff, 0x7c00, 0xfbff});
  EXPECT_EQ(
      packAs<float>(R"(moe.weight @w : tensor<5xf16> from [
      #moe.tensor<"w">] format = #moeq.plain<f32>)"),
      (std::vector<float>{1.0f, 0x1p-24f, -0x1.ff8p-15f,
                          std::numeric_limits<float>::infinity(), -65504.0f}));
}

TEST_F(Packing, FormatRoundsToNearestEven) {
  source->add("w", DType::F32, {3},
              std::vector<float>{1.0f, 1.00390625f, 1.01171875f});
  EXPECT_EQ(packAs<uint16_t>(R"(moe.weight @w : tensor<3xf32> from [
      #moe.tensor<"w">] format = #moeq.plain<bf16>)"),
            (std::vector<uint16_t>{0x3f80, 0x3f80, 0x3f82}));
}

TEST_F(Packing, RowBlocksAreTransposedAndPadded) {
  const int rows = 21, columns = 5, block = 16;
  std::vector<float> all = floats(rows * columns);
  source->add("w", DType::F32, {rows, columns}, all);
  std::vector<float> expected(2 * block * columns, 0.0f);
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < columns; ++c)
      expected[(r / block * columns + c) * block + r % block] =
          all[r * columns + c];
  EXPECT_EQ(packAs<float>(R"(moe.weight @w : tensor<21x5xf32> from [
      #moe.tensor<"w">] layout = #moeq.row_blocks<16>)"),
            expected);
}

TEST_F(Packing, GroupsOfColumnsStayTogether) {
  const int rows = 19, columns = 7, block = 16, pack = 2, groups = 4;
  std::vector<float> all = floats(rows * columns);
  source->add("w", DType::F32, {rows, columns}, all);
  std::vector<float> expected(2 * block * groups * pack, 0.0f);
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < columns; ++c)
      expected[((r / block * groups + c / pack) * block + r % block) * pack +
               c % pack] = all[r * columns + c];
  EXPECT_EQ(packAs<float>(R"(moe.weight @w : tensor<19x7xf32> from [
      #moe.tensor<"w">] layout = #moeq.row_blocks<16, 2>)"),
            expected);
}

TEST_F(Packing, IntegersStayIntegers) {
  std::vector<int32_t> ids = {3, -1, 7};
  source->add("w", DType::I32, {3}, ids);
  EXPECT_EQ(packAs<int32_t>(
                R"(moe.weight @w : tensor<3xi32> from [#moe.tensor<"w">])"),
            ids);
}

TEST_F(Packing, OffsetsAreMultiplesOf64) {
  source->add("a", DType::F32, {3}, std::vector<float>{1, 2, 3});
  source->add("b", DType::F32, {1}, std::vector<float>{4});
  std::vector<char> segment = pack(R"(
      moe.weight @a : tensor<3xf32> from [#moe.tensor<"a">]
      moe.weight @b : tensor<1xf32> from [#moe.tensor<"b">])");
  ASSERT_EQ(segment.size(), 68u);
  EXPECT_EQ(plan.weights[0].bytes, 12u);
  EXPECT_EQ(plan.weights[1].offset, 64u);
  float last;
  std::memcpy(&last, segment.data() + 64, sizeof(last));
  EXPECT_EQ(last, 4.0f);
}

TEST_F(Packing, MissingTensorIsNamedWithASuggestion) {
  source->add("layers.0.up", DType::F32, {1}, std::vector<float>{1});
  pack(R"(moe.weight @w : tensor<1xf32> from [#moe.tensor<"layers.0.ub">])");
  EXPECT_EQ(test.errors, "tensor 'layers.0.ub' is in no weight file\n"
                         "did you mean 'layers.0.up'?\n");
}

TEST_F(Packing, WrongShapeOrTypeIsAnError) {
  source->add("w", DType::F32, {2, 3}, floats(6));
  pack(R"(moe.weight @w : tensor<3x2xbf16> from [#moe.tensor<"w">])");
  EXPECT_EQ(test.errors,
            "tensor 'w': expected bf16 [3, 2], found f32 [2, 3]\n");
}

TEST_F(Packing, UnusableElementTypeIsAnError) {
  source->add("w", DType::I8, {2}, std::vector<uint8_t>{1, 2});
  pack(R"(moe.weight @w : tensor<2xf32> from [#moe.tensor<"w">])");
  EXPECT_EQ(test.errors, "tensor 'w' of 'memory': expected f32, bf16, f16, "
                         "i32 or i64, found i8\n");
}

TEST_F(Packing, WideIntegersAreErrors) {
  source->add("t", DType::I64, {2}, std::vector<int64_t>{1, int64_t(1) << 31});
  pack(R"(moe.weight @t : tensor<2xi32> from [#moe.tensor<"t">])");
  EXPECT_EQ(test.errors,
            "tensor 't': expected integers of 32 bits, found 2147483648\n");
}

TEST_F(Packing, StepsThatDoNotFitAreErrors) {
  struct Case {
    const char *step, *error;
  };
  const Case cases[] = {
      {"#moe.reshape<[6]>, #moe.transpose",
       "tensor 'w': transpose expected two dimensions or more, found [6]\n"},
      {"#moe.reshape<[7]>", "tensor 'w': reshape to [7] expected as many "
                            "elements, found [2, 3, 1]\n"},
      {"#moe.reshape<[4611686018427387904, 4]>",
       "tensor 'w': reshape to [4611686018427387904, 4] expected as many "
       "elements, found [2, 3, 1]\n"},
      {"#moe.slice<starts = [0], sizes = [1], steps = [1], drop = [0]>",
       "tensor 'w': slice expected a tensor of rank 1, found [2, 3, 1]\n"},
      {"#moe.slice<starts = [0, 1, 0], sizes = [2, 2, 1], steps = [1, 2, 1], "
       "drop = [0, 0, 0]>",
       "tensor 'w': slice of 2 elements from 1 in steps of 2 leaves dimension "
       "1 of [2, 3, 1]\n"},
  };
  for (const Case &each : cases) {
    source = std::make_unique<MemorySource>();
    source->add("w", DType::F32, {2, 3, 1}, floats(6));
    test.errors.clear();
    pack((llvm::Twine(
              "moe.weight @w : tensor<6xf32> from [#moe.tensor<\"w\">, ") +
          each.step + "]")
             .str());
    EXPECT_EQ(test.errors, each.error);
  }
}

TEST_F(Packing, SyntheticWeightsDependOnSeedAndName) {
  const char *text = R"(
      moe.weight @a : tensor<64x256xf32> from [#moe.tensor<"a">]
      moe.weight @b : tensor<64x256xf32> from [#moe.tensor<"b">]
      moe.weight @norm : tensor<16xf32> from [#moe.tensor<"n">] role = "norm"
      moe.weight @ids : tensor<16xi32> from [#moe.tensor<"i">])";
  SyntheticWeights seven(7), eight(8);
  std::vector<char> first = pack(text, seven);
  ASSERT_FALSE(first.empty());
  EXPECT_EQ(first, pack(text, seven));
  EXPECT_NE(first, pack(text, eight));

  const int64_t count = 64 * 256;
  auto number = [&](uint64_t offset, int64_t i) {
    float value;
    std::memcpy(&value, first.data() + offset + i * sizeof(float),
                sizeof(value));
    return value;
  };
  double sum = 0, squares = 0;
  int equal = 0;
  for (int64_t i = 0; i < count; ++i) {
    float a = number(plan.weights[0].offset, i);
    sum += a;
    squares += a * a;
    equal += a == number(plan.weights[1].offset, i);
  }
  // Deviation 1/sqrt(256); the bounds are six of theirs.
  EXPECT_NEAR(sum / count, 0.0, 6.0 / 16 / std::sqrt(count));
  EXPECT_NEAR(squares / count * 256, 1.0, 6.0 * std::sqrt(2.0 / count));
  EXPECT_LT(equal, 16);
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(number(plan.weights[2].offset, i), 1.0f);
    EXPECT_EQ(number(plan.weights[3].offset, i), 0.0f);
  }
}

} // namespace
