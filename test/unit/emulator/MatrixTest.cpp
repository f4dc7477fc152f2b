//===- MatrixTest.cpp - ldmatrix, stmatrix, mma.sync ----------------------===//
//
// Expected values come from plain products of matrices. Where a lane's elements
// lie is written down once more here, element by element as the tables of the
// PTX ISA give it.
//
//===----------------------------------------------------------------------===//
#include "test/unit/emulator/Device.h"

#include <cstring>
#include <random>

using namespace moec::test;

namespace {

uint16_t toBf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return uint16_t(bits >> 16);
}
uint32_t bitsOf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}

/// Small integers, exact in every format here.
std::vector<int> draw(size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::vector<int> values(count);
  for (int &value : values)
    value = int(generator() % 15) - 7;
  return values;
}

class MatrixTest : public DeviceTest {
protected:
  std::string text = readKernels("matrix.ll");

  /// One mma instruction of an 8-bit, 16-bit or 32-bit format against a naive
  /// product. `encode` gives the bits of a small integer.
  template <typename Encode>
  void checkMma(const char *kernel, unsigned depth, unsigned bits,
                bool isInteger, Encode encode);
};

TEST_F(MatrixTest, MultipliesTiles) {
  constexpr unsigned m = 48, k = 64, n = 8;
  std::vector<int> a = draw(m * k, 1), b = draw(k * n, 2);
  std::vector<uint16_t> a16, b16;
  for (int x : a)
    a16.push_back(toBf16(float(x)));
  for (int x : b)
    b16.push_back(toBf16(float(x)));
  for (const char *seed : {"1", "2", "3"}) {
    start({{"SEED", seed}});
    CUdeviceptr c = allocate(m * n * 4);
    ASSERT_EQ(launch(get(load(text), "gemm"), m / 16, 32,
                     {upload(a16), upload(b16), c, k}),
              CUDA_SUCCESS)
        << moeEmuLastError();
    auto result = download<float>(c, m * n);
    for (unsigned i = 0; i < m; ++i)
      for (unsigned j = 0; j < n; ++j) {
        int sum = 0;
        for (unsigned x = 0; x < k; ++x)
          sum += a[i * k + x] * b[x * n + j];
        EXPECT_EQ(result[i * n + j], float(sum)) << i << " " << j;
      }
  }
}

TEST_F(MatrixTest, ReportsMissingBarriers) {
  for (const char *mark : {"before", "after"}) {
    start({});
    std::vector<uint16_t> a(16 * 64), b(64 * 8);
    CUdeviceptr c = allocate(16 * 8 * 4);
    expectFailure(get(load(without(text, mark)), "gemm"), 1, 32,
                  {upload(a), upload(b), c, 64}, CUDA_ERROR_LAUNCH_FAILED,
                  {"kernel `gemm`, block (0, 0, 0), thread (",
                   "race on shared memory", "nothing orders the two"});
  }
}

template <typename Encode>
void MatrixTest::checkMma(const char *kernel, unsigned depth, unsigned bits,
                          bool isInteger, Encode encode) {
  std::vector<int> a = draw(16 * depth, 3), b = draw(depth * 8, 4),
                   c = draw(16 * 8, 5);
  unsigned each = 32 / bits; // elements of a register
  std::vector<uint32_t> in(32 * 10, 0);
  for (unsigned lane = 0; lane < 32; ++lane) {
    unsigned group = lane / 4, inGroup = lane % 4;
    uint32_t *registers = in.data() + lane * 10;
    for (unsigned e = 0; e < 4 * each; ++e) {
      // The tables "row = groupID for ai where ..": rows alternate by
      // register, the upper columns come in the second half.
      unsigned row = e / each % 2 ? group + 8 : group;
      unsigned column = inGroup * each + e % each;
      if (e >= 2 * each)
        column += depth / 2;
      registers[e / each] |= encode(a[row * depth + column])
                             << bits * (e % each);
    }
    for (unsigned e = 0; e < 2 * each; ++e) {
      unsigned row = inGroup * each + e % each;
      if (e >= each)
        row += depth / 2;
      registers[4 + e / each] |= encode(b[row * 8 + group])
                                 << bits * (e % each);
    }
    for (unsigned e = 0; e < 4; ++e) {
      int value = c[(e < 2 ? group : group + 8) * 8 + inGroup * 2 + e % 2];
      registers[6 + e] = isInteger ? uint32_t(value) : bitsOf(float(value));
    }
  }
  CUdeviceptr out = allocate(32 * 4 * 4);
  ASSERT_EQ(launch(get(load(text), kernel), 1, 32, {upload(in), out}),
            CUDA_SUCCESS)
      << moeEmuLastError();
  auto result = download<uint32_t>(out, 32 * 4);
  for (unsigned lane = 0; lane < 32; ++lane)
    for (unsigned e = 0; e < 4; ++e) {
      unsigned row = lane / 4 + (e < 2 ? 0 : 8);
      unsigned column = lane % 4 * 2 + e % 2;
      int sum = c[row * 8 + column];
      for (unsigned x = 0; x < depth; ++x)
        sum += a[row * depth + x] * b[x * 8 + column];
      EXPECT_EQ(result[lane * 4 + e],
                isInteger ? uint32_t(sum) : bitsOf(float(sum)))
          << kernel << " lane " << lane << " element " << e;
    }
}

TEST_F(MatrixTest, KnowsTheFragments) {
  checkMma("mma_s8", 32, 8, true, [](int x) { return uint32_t(x) & 0xff; });
  // The low 13 bits are ignored.
  checkMma("mma_tf32", 8, 32, false,
           [](int x) { return bitsOf(float(x)) | 0x1fff; });
  checkMma("mma_f16", 16, 16, false, [](int x) {
    if (!x)
      return 0u;
    unsigned size = unsigned(x < 0 ? -x : x), power = 0;
    while (size >> (power + 1))
      ++power;
    return (x < 0 ? 0x8000u : 0u) | (power + 15) << 10 |
           ((size << 10 >> power) & 0x3ff);
  });
  checkMma("mma_e4m3", 32, 8, false, [](int x) {
    if (!x)
      return 0u;
    unsigned size = unsigned(x < 0 ? -x : x), power = 0;
    while (size >> (power + 1))
      ++power;
    return (x < 0 ? 0x80u : 0u) | (power + 7) << 3 | ((size << 3 >> power) & 7);
  });
}

TEST_F(MatrixTest, StoresMatrices) {
  // Element (row, column) of matrix i is 64 i + 8 row + column.
  std::vector<uint32_t> in(128);
  for (unsigned lane = 0; lane < 32; ++lane)
    for (unsigned i = 0; i < 4; ++i) {
      unsigned first = 64 * i + 8 * (lane / 4) + lane % 4 * 2;
      in[lane * 4 + i] = first | (first + 1) << 16;
    }
  CUdeviceptr out = allocate(1024);
  ASSERT_EQ(launch(get(load(text), "store_matrix"), 1, 32, {upload(in), out}),
            CUDA_SUCCESS)
      << moeEmuLastError();
  auto result = download<uint16_t>(out, 512);
  for (unsigned i = 0; i < 256; ++i)
    EXPECT_EQ(result[i], i);
  for (unsigned i = 0; i < 256; ++i) {
    // Matrices 0 and 1 were overwritten by their transposes.
    unsigned matrix = i / 64, row = i / 8 % 8, column = i % 8;
    EXPECT_EQ(result[256 + i], matrix < 2 ? 64 * matrix + 8 * column + row : i);
  }
}

} // namespace
