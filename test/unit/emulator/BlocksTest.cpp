//===- BlocksTest.cpp - Several blocks, loops, scalar instructions --------===//
#include "test/unit/emulator/Device.h"

using namespace moec::test;

namespace {

class BlocksTest : public DeviceTest {
protected:
  std::string text = readKernels("blocks.ll");
};

TEST_F(BlocksTest, LetsTheLastBlockSumUp) {
  for (const char *seed : {"1", "2", "3"}) {
    start({{"SEED", seed}});
    CUdeviceptr parts = allocate(64), sum = allocate(4);
    CUdeviceptr count = upload(std::vector<int>{0});
    ASSERT_EQ(
        launch(get(load(text), "last_block"), 16, 32, {parts, count, sum}),
        CUDA_SUCCESS)
        << moeEmuLastError();
    EXPECT_EQ(download<int>(sum, 1)[0], 120);
  }
}

TEST_F(BlocksTest, ReportsRacesBetweenBlocks) {
  CUdeviceptr parts = allocate(64), sum = allocate(4);
  CUdeviceptr count = upload(std::vector<int>{0});
  expectFailure(get(load(without(text, "fence")), "last_block"), 16, 32,
                {parts, count, sum}, CUDA_ERROR_LAUNCH_FAILED,
                {"kernel `last_block`, block (",
                 "race between blocks: read of "
                 "4 bytes of global memory",
                 "bytes into the allocation of 64"});
  start({});
  expectFailure(get(load(text), "clash"), 2, 1, {allocate(4)},
                CUDA_ERROR_LAUNCH_FAILED,
                {"race between blocks: write of 4 bytes of global memory, 0 "
                 "bytes into the allocation of 4"});
  start({{"CHECKS", "bounds,races"}});
  EXPECT_EQ(launch(get(load(text), "clash"), 2, 1, {allocate(4)}), CUDA_SUCCESS)
      << moeEmuLastError();
}

TEST_F(BlocksTest, EndsLoopsThatNeverWould) {
  expectFailure(get(load(text), "spin"), 1, 1, {0}, CUDA_ERROR_LAUNCH_TIMEOUT,
                {"kernel `spin`, block (0, 0, 0): deadlock; thread 0 poll at "
                 "`%x = load atomic i32"});
  start({{"TIMEOUT", "1"}, {"CHECKS", "bounds"}});
  expectFailure(
      get(load(replaced(text, "load volatile i32", "load i32")), "endless"), 1,
      1, {allocate(4)}, CUDA_ERROR_LAUNCH_TIMEOUT,
      {"kernel `endless` ran longer than 1 s"});
}

TEST_F(BlocksTest, ChecksLocalMemory) {
  CUfunction local = get(load(text), "local");
  CUdeviceptr out = allocate(4);
  ASSERT_EQ(launch(local, 1, 1, {out, 0}), CUDA_SUCCESS) << moeEmuLastError();
  EXPECT_EQ(download<int>(out, 1)[0], 7);
  expectFailure(local, 1, 1, {out, 4}, CUDA_ERROR_ILLEGAL_ADDRESS,
                {"local access of 4 bytes at offset 16 of a variable of 16 "
                 "bytes is out of bounds"});
}

TEST_F(BlocksTest, ComputesScalars) {
  CUdeviceptr out = allocate(20);
  ASSERT_EQ(launch(get(load(text), "scalars"), 1, 1, {out}), CUDA_SUCCESS)
      << moeEmuLastError();
  // Bytes 0 and 3 of a, 7 of the pair, and the sign of byte 1.
  // 1 in the upper half. -1.5 is 0xbc, 1000 saturates to 448 = 0x7e.
  EXPECT_EQ(download<uint32_t>(out, 5),
            (std::vector<uint32_t>{0x00881144, 0x3f804000, 0xbc7e, 0xbe005f00,
                                   0x3e800000}));
}

TEST_F(BlocksTest, ComputesOverWarps) {
  CUdeviceptr out = allocate(64 * 32);
  ASSERT_EQ(launch(get(load(text), "warps"), 1, 64, {out}), CUDA_SUCCESS)
      << moeEmuLastError();
  auto result = download<uint32_t>(out, 64 * 8);
  for (unsigned tid = 0; tid < 64; ++tid) {
    unsigned lane = tid % 32;
    const uint32_t *r = result.data() + tid * 8;
    EXPECT_EQ(r[0], 0xfff00000u);
    EXPECT_EQ(r[1], 0u);
    EXPECT_EQ(r[2], lane / 3 == 10 ? 0xc0000000u : 7u << lane / 3 * 3);
    EXPECT_EQ(r[3], lane == 0);
    EXPECT_EQ(r[4], lane < 3 ? tid : tid - 3);
    EXPECT_EQ(r[5], lane >= 3);
    EXPECT_EQ(r[6], 24u);
  }
}

} // namespace
