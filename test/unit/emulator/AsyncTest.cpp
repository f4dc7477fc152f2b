//===- AsyncTest.cpp - Asynchronous copies, mbarriers, proxies ------------===//
//
// Each kernel runs as it is meant to, under three schedules, and once with each
// of its waits, fences and barriers taken away.
//
//===----------------------------------------------------------------------===//
#include "test/unit/emulator/Device.h"

#include <numeric>

using namespace moec::test;

namespace {

constexpr unsigned tiles = 5, tile = 128;

class AsyncTest : public DeviceTest {
protected:
  std::string text = readKernels("async.ll");

  static std::vector<float> getInput() {
    std::vector<float> in(tiles * tile);
    std::iota(in.begin(), in.end(), 1.0f);
    return in;
  }

  /// out[t, l] = 2 in[t, 31 - l] under three schedules.
  void checkReversed(const char *kernel, unsigned threads) {
    for (const char *seed : {"1", "2", "3"}) {
      start({{"SEED", seed}});
      CUdeviceptr out = allocate(tiles * tile * 4);
      ASSERT_EQ(launch(get(load(text), kernel), 1, threads,
                       {upload(getInput()), out, tiles}),
                CUDA_SUCCESS)
          << moeEmuLastError();
      auto result = download<float>(out, tiles * tile);
      std::vector<float> in = getInput();
      for (unsigned i = 0; i < tiles * tile; ++i) {
        unsigned t = i / tile, lane = i % tile / 4, element = i % 4;
        EXPECT_EQ(result[i], 2 * in[t * tile + (31 - lane) * 4 + element]) << i;
      }
    }
  }

  void expectBroken(const std::string &broken, const char *kernel,
                    unsigned threads, CUresult code,
                    const std::vector<std::string> &parts) {
    start({});
    CUdeviceptr out = allocate(tiles * tile * 4);
    expectFailure(get(load(broken), kernel), 1, threads,
                  {upload(getInput()), out, tiles}, code, parts);
  }
};

TEST_F(AsyncTest, PipelinesCopies) { checkReversed("pipeline", 32); }

TEST_F(AsyncTest, ReportsBrokenPipelines) {
  expectBroken(without(text, "wait"), "pipeline", 32, CUDA_ERROR_LAUNCH_FAILED,
               {"kernel `pipeline`, block (0, 0, 0), thread (",
                "read of 16 bytes at shared offset",
                "to which an asynchronous copy is under way that nobody has "
                "waited for",
                "cp.async.cg.shared.global.16"});
  // Who only waits for his own copies does not know of the others'; which side
  // comes first depends on the schedule.
  expectBroken(without(text, "filled"), "pipeline", 32,
               CUDA_ERROR_LAUNCH_FAILED,
               {"race on shared memory|an asynchronous copy is under way"});
  expectBroken(without(text, "read"), "pipeline", 32, CUDA_ERROR_LAUNCH_FAILED,
               {"race on shared memory|an asynchronous copy is under way"});
}

TEST_F(AsyncTest, LeavesStaleDataWithoutAWait) {
  // Without the checks the data shows it: the pattern of fresh memory.
  start({{"CHECKS", "poison"}});
  CUdeviceptr out = allocate(tiles * tile * 4);
  ASSERT_EQ(launch(get(load(without(text, "wait")), "pipeline"), 1, 32,
                   {upload(getInput()), out, 1}),
            CUDA_SUCCESS)
      << moeEmuLastError();
  for (uint32_t bits : download<uint32_t>(out, tile))
    EXPECT_EQ(bits & 0x7fc00000, 0x7fc00000u);
}

TEST_F(AsyncTest, FillsWithZeros) {
  CUdeviceptr out = allocate(128);
  // The source ends at 20 floats, too: what is not copied is not read.
  std::vector<float> in = getInput();
  in.resize(20);
  ASSERT_EQ(launch(get(load(text), "zero_fill"), 1, 32, {upload(in), out, 20}),
            CUDA_SUCCESS)
      << moeEmuLastError();
  auto result = download<float>(out, 32);
  for (unsigned i = 0; i < 32; ++i)
    EXPECT_EQ(result[i], i < 20 ? in[i] : 0.0f);
}

TEST_F(AsyncTest, ArrivesWhenCopiesAreDone) {
  CUdeviceptr out = allocate(512);
  ASSERT_EQ(
      launch(get(load(text), "copy_arrive"), 1, 32, {upload(getInput()), out}),
      CUDA_SUCCESS)
      << moeEmuLastError();
  auto result = download<float>(out, tile);
  for (unsigned i = 0; i < tile; ++i)
    EXPECT_EQ(result[i], getInput()[(31 - i / 4) * 4 + i % 4]);
}

TEST_F(AsyncTest, RunsARingOfBulkCopies) { checkReversed("ring", 64); }

TEST_F(AsyncTest, ReportsBrokenRings) {
  auto expectTx = [&](const char *bytes) {
    return replaced(text, "ptr addrspace(3) %pfull, i32 512)",
                    std::string("ptr addrspace(3) %pfull, i32 ") + bytes + ")");
  };
  expectBroken(expectTx("528"), "ring", 64, CUDA_ERROR_LAUNCH_TIMEOUT,
               {"kernel `ring`, block (0, 0, 0): deadlock",
                "threads 32-63 wait for the mbarrier at shared offset",
                "16 bytes expected that no copy brings",
                "threads 1-31 exited"});
  expectBroken(expectTx("496"), "ring", 64, CUDA_ERROR_LAUNCH_TIMEOUT,
               {"deadlock", "16 bytes copied that nobody expected"});
  expectBroken(replaced(text,
                        "br label %cwait\ncwait:\n  %try = call i1 "
                        "@llvm.nvvm.mbarrier.try.wait.parity.scope.cta.space."
                        "cta(ptr addrspace(3) %cfull, i32 %parity)",
                        "br label %cwait\ncwait:\n  %try = or i1 true, true"),
               "ring", 64, CUDA_ERROR_LAUNCH_FAILED,
               {"race on shared memory|an asynchronous copy is under way"});
  expectBroken(without(text, "init-fence"), "ring", 64,
               CUDA_ERROR_LAUNCH_FAILED,
               {"missing fence after the init of the mbarrier at shared "
                "offset",
                "expected fence.mbarrier_init or fence.proxy.async by thread "
                "0"});
  expectBroken(without(text, "init-barrier"), "ring", 64,
               CUDA_ERROR_LAUNCH_FAILED, {"mbarrier"});
  expectBroken(
      without(text, "release"), "ring", 64, CUDA_ERROR_LAUNCH_FAILED,
      {"race on shared memory: write of 512 bytes", "which was read by"});
}

TEST_F(AsyncTest, StoresInBulk) {
  CUdeviceptr out = allocate(128);
  ASSERT_EQ(
      launch(get(load(text), "bulk_store"), 1, 32, {upload(getInput()), out}),
      CUDA_SUCCESS)
      << moeEmuLastError();
  auto result = download<float>(out, 32);
  for (unsigned i = 0; i < 32; ++i)
    EXPECT_EQ(result[i], 3.0f * (i + 1));
}

TEST_F(AsyncTest, ReportsMissingFencesAndWaitsOfBulkStores) {
  for (auto [mark, part] :
       {std::pair<const char *, const char *>{
            "fence", "missing fence.proxy.async: the asynchronous proxy reads "
                     "shared offset 0, which thread 0 wrote by ordinary means"},
        {"stored", "the block ends while a bulk copy of 128 bytes from shared "
                   "offset 0 is under way that nobody has waited for"}}) {
    start({});
    CUdeviceptr out = allocate(128);
    expectFailure(get(load(without(text, mark)), "bulk_store"), 1, 32,
                  {upload(getInput()), out}, CUDA_ERROR_LAUNCH_FAILED, {part});
  }
}

} // namespace
