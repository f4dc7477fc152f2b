//===- WgmmaTest.cpp - wgmma ----------------------------------------------===//
#include "test/unit/emulator/Device.h"

#include <cmath>
#include <cstring>
#include <random>

using namespace moec::test;

namespace {

uint16_t toBf16(int x) {
  float value = float(x);
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return uint16_t(bits >> 16);
}

std::vector<int> draw(size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::vector<int> values(count);
  for (int &value : values)
    value = int(generator() % 15) - 7;
  return values;
}

std::vector<uint16_t> encode(const std::vector<int> &values) {
  std::vector<uint16_t> result;
  for (int value : values)
    result.push_back(toBf16(value));
  return result;
}

class WgmmaTest : public DeviceTest {
protected:
  std::string text = readKernels("wgmma.ll");
  std::vector<int> a = draw(64 * 64, 1), b = draw(16 * 64, 2);

  /// Accumulators of 128 threads against the sums that `expected` gives.
  template <typename F>
  void check(const std::vector<float> &result, F expected) {
    for (unsigned tid = 0; tid < 128; ++tid)
      for (unsigned i = 0; i < 8; ++i) {
        // "Register fragments for D", wgmma.m64nNk16
        unsigned row = tid / 32 * 16 + tid % 32 / 4 + (i % 4 < 2 ? 0 : 8);
        unsigned column = i / 4 * 8 + tid % 4 * 2 + i % 2;
        EXPECT_EQ(result[tid * 8 + i], float(expected(row, column)))
            << row << " " << column;
      }
  }
};

TEST_F(WgmmaTest, MultipliesSwizzledTiles) {
  for (const char *seed : {"1", "2", "3"}) {
    start({{"SEED", seed}});
    CUdeviceptr out = allocate(128 * 8 * 4);
    ASSERT_EQ(launch(get(load(text), "product"), 1, 128,
                     {upload(encode(a)), upload(encode(b)), out, 0}),
              CUDA_SUCCESS)
        << moeEmuLastError();
    check(download<float>(out, 128 * 8), [&](unsigned row, unsigned column) {
      int sum = 0;
      for (unsigned k = 0; k < 64; ++k)
        sum += a[row * 64 + k] * b[column * 64 + k];
      return sum;
    });
  }
}

TEST_F(WgmmaTest, TakesRegistersAndTransposes) {
  std::vector<uint16_t> registers;
  for (unsigned tid = 0; tid < 128; ++tid)
    for (unsigned e = 0; e < 8; ++e) {
      unsigned row = tid / 32 * 16 + tid % 32 / 4 + (e / 2 % 2 ? 8 : 0);
      unsigned column = tid % 4 * 2 + e % 2 + (e < 4 ? 0 : 8);
      registers.push_back(toBf16(a[row * 64 + column]));
    }
  std::vector<int> kn(b.begin(), b.begin() + 16 * 16); // b[k, n]
  CUdeviceptr out = allocate(128 * 8 * 4);
  ASSERT_EQ(launch(get(load(text), "from_registers"), 1, 128,
                   {upload(registers), upload(encode(kn)), out}),
            CUDA_SUCCESS)
      << moeEmuLastError();
  check(download<float>(out, 128 * 8), [&](unsigned row, unsigned column) {
    int sum = 0;
    for (unsigned k = 0; k < 16; ++k)
      sum += a[row * 64 + k] * kn[k * 16 + column];
    return sum;
  });
}

TEST_F(WgmmaTest, ReportsWhatIsMissing) {
  for (auto [mark, part] :
       {std::pair<const char *, const char *>{
            "proxy-fence", "missing fence.proxy.async: the asynchronous proxy "
                           "reads shared offset"},
        {"barrier", "race on shared memory|missing fence.proxy.async"},
        {"fence", "missing wgmma.fence between ordinary writes of registers "
                  "and wgmma"}}) {
    start({});
    expectFailure(get(load(without(text, mark)), "product"), 1, 128,
                  {upload(encode(a)), upload(encode(b)), allocate(4096), 0},
                  CUDA_ERROR_LAUNCH_FAILED, {part});
  }
  start({});
  expectFailure(get(load(text), "product"), 1, 128,
                {upload(encode(a)), upload(encode(b)), allocate(4096), 1},
                CUDA_ERROR_LAUNCH_FAILED,
                {"write of 4 bytes at shared offset 0, which an asynchronous "
                 "operation still reads|race on shared memory"});
}

/// Tiles of a[64, 16] and b[8, 16], as core matrices of 8 x 8.
std::vector<uint16_t> packTiles(const std::vector<int> &a,
                                const std::vector<int> &b, unsigned tiles) {
  std::vector<uint16_t> packed(tiles * 1152);
  for (unsigned t = 0; t < tiles; ++t)
    for (unsigned k = 0; k < 16; ++k) {
      for (unsigned m = 0; m < 64; ++m)
        packed[t * 1152 + (k / 8 * 8 + m / 8) * 64 + m % 8 * 8 + k % 8] =
            toBf16(a[(t * 64 + m) * 16 + k]);
      for (unsigned n = 0; n < 8; ++n)
        packed[t * 1152 + 1024 + k / 8 * 64 + n * 8 + k % 8] =
            toBf16(b[(t * 8 + n) * 16 + k]);
    }
  return packed;
}

TEST_F(WgmmaTest, TakesStagesOfARing) {
  constexpr unsigned tiles = 5;
  std::vector<int> left = draw(tiles * 64 * 16, 3);
  std::vector<int> right = draw(tiles * 8 * 16, 4);
  std::vector<uint16_t> in = packTiles(left, right, tiles);
  for (const char *seed : {"1", "2", "3"}) {
    start({{"SEED", seed}});
    CUdeviceptr out = allocate(2048);
    ASSERT_EQ(launch(get(load(text), "ring"), 1, 256, {upload(in), out, tiles}),
              CUDA_SUCCESS)
        << moeEmuLastError();
    auto result = download<float>(out, 512);
    for (unsigned tid = 0; tid < 128; ++tid)
      for (unsigned i = 0; i < 4; ++i) {
        unsigned row = tid / 32 * 16 + tid % 32 / 4 + i / 2 * 8;
        unsigned column = tid % 4 * 2 + i % 2;
        int sum = 0;
        for (unsigned t = 0; t < tiles; ++t)
          for (unsigned k = 0; k < 16; ++k)
            sum += left[(t * 64 + row) * 16 + k] *
                   right[(t * 8 + column) * 16 + k];
        EXPECT_EQ(result[tid * 4 + i], float(sum)) << row << " " << column;
      }
  }
  // A stage is released while the last wgmma still reads it.
  start({});
  expectFailure(get(load(replaced(text, "wait.4xf32([4 x float] %c, i32 0)",
                                  "wait.4xf32([4 x float] %c, i32 1)")),
                    "ring"),
                1, 256, {upload(in), allocate(2048), tiles},
                CUDA_ERROR_LAUNCH_FAILED,
                {"which an asynchronous operation still reads|was read by an "
                 "asynchronous operation"});
}

TEST_F(WgmmaTest, HandsOutNansBeforeTheWait) {
  std::string broken = replaced(text,
                                "store [8 x float] %done, ptr "
                                "addrspace(1) %o\n  ret void\n}\n\n; The",
                                "store [8 x float] %c3, ptr addrspace(1) %o\n  "
                                "ret void\n}\n\n; The");
  CUdeviceptr out = allocate(128 * 8 * 4);
  ASSERT_EQ(launch(get(load(broken), "product"), 1, 128,
                   {upload(encode(a)), upload(encode(b)), out, 0}),
            CUDA_SUCCESS)
      << moeEmuLastError();
  for (float x : download<float>(out, 128 * 8))
    EXPECT_TRUE(std::isnan(x));
}

TEST_F(WgmmaTest, ChecksRegisters) {
  EXPECT_EQ(launch(get(load(text), "registers"), 1, 384, {}), CUDA_SUCCESS)
      << moeEmuLastError();
  auto expect = [&](const char *from, const char *to, unsigned threads,
                    CUresult code, const char *part) {
    start({});
    expectFailure(get(load(replaced(text, from, to)), "registers"), 1, threads,
                  {}, code, {part});
  };
  expect("(i32 232)", "(i32 240)", 384, CUDA_ERROR_LAUNCH_FAILED,
         "the warps of the block together have 66560 registers, more than "
         "the 64512 at its start");
  expect("(i32 40)\n",
         "(i32 40)\n  call void "
         "@llvm.nvvm.setmaxnreg.dec.sync.aligned.u32(i32 48)\n",
         384, CUDA_ERROR_LAUNCH_FAILED,
         "setmaxnreg to 48 registers: the warp has 40");
  // Not all warps of a warpgroup.
  expect("%is_copier = icmp ult i32 %tid, 128",
         "%is_copier = icmp ult i32 %tid, 96", 384, CUDA_ERROR_LAUNCH_TIMEOUT,
         "deadlock");
  expect("(i32 232)", "(i32 224)", 352, CUDA_ERROR_LAUNCH_FAILED,
         "an operation of a warpgroup by less than 128 threads");
}

} // namespace
