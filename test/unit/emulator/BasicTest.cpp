//===- BasicTest.cpp - Threads, barriers, warps, bounds -------------------===//
#include "test/unit/emulator/Device.h"

#include <cmath>
#include <numeric>

using namespace moec::test;

namespace {

class BasicTest : public DeviceTest {
protected:
  std::string text = readKernels("basic.ll");
};

std::vector<float> ramp(size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 1.0f);
  return values;
}

TEST_F(BasicTest, AddsVectors) {
  CUfunction add = get(load(text), "add");
  std::vector<float> a = ramp(1000), b(1000, 0.5f);
  CUdeviceptr c = allocate(4000);
  ASSERT_EQ(launch(add, 8, 128, {upload(a), upload(b), c, 1000}), CUDA_SUCCESS)
      << moeEmuLastError();
  auto result = download<float>(c, 1000);
  for (size_t i = 0; i < 1000; ++i)
    EXPECT_EQ(result[i], a[i] + 0.5f) << i;
}

TEST_F(BasicTest, ReportsAnOffByOne) {
  CUfunction add =
      get(load(replaced(text, "icmp ult i64 %i, %n", "icmp ule i64 %i, %n")),
          "add");
  std::vector<float> a = ramp(1000);
  CUdeviceptr pa = upload(a), pb = upload(a), pc = allocate(4000);
  expectFailure(add, 8, 128, {pa, pb, pc, 1000}, CUDA_ERROR_ILLEGAL_ADDRESS,
                {"kernel `add`, block (7, 0, 0), thread (104, 0, 0)",
                 "global read of 4 bytes",
                 "0 bytes past the end of the "
                 "allocation of 4000 bytes",
                 "`%x = load float, ptr addrspace(1) %pa"});
  // The context is lost with it, as on hardware.
  CUdeviceptr more;
  EXPECT_EQ(cuMemAlloc_v2(&more, 16), CUDA_ERROR_ILLEGAL_ADDRESS);
}

TEST_F(BasicTest, ReportsAMisalignedAccess) {
  CUfunction add = get(load(text), "add");
  CUdeviceptr a = upload(ramp(64));
  expectFailure(add, 1, 32, {a + 2, a, a, 32}, CUDA_ERROR_MISALIGNED_ADDRESS,
                {"misaligned: expected a multiple of 4"});
}

TEST_F(BasicTest, NamesTheSource) {
  std::string kernel = R"(
define ptx_kernel void @k(ptr addrspace(1) %p) !dbg !3 {
  store i32 1, ptr addrspace(1) %p, !dbg !5
  ret void
}
!llvm.dbg.cu = !{!0}
!llvm.module.flags = !{!2}
!0 = distinct !DICompileUnit(language: DW_LANG_C, file: !1, emissionKind: LineTablesOnly)
!1 = !DIFile(filename: "model.moe", directory: ".")
!2 = !{i32 2, !"Debug Info Version", i32 3}
!3 = distinct !DISubprogram(name: "k", file: !1, line: 1, type: !4, unit: !0, spFlags: DISPFlagDefinition)
!4 = !DISubroutineType(types: !{null})
!5 = !DILocation(line: 7, column: 3, scope: !3)
)";
  expectFailure(get(load(kernel), "k"), 1, 1, {0}, CUDA_ERROR_ILLEGAL_ADDRESS,
                {"global write of 4 bytes at 0x0 is out of bounds: nothing is "
                 "allocated; `store i32 1, ptr addrspace(1) %p, align 4` at "
                 "model.moe:7:3"});
}

TEST_F(BasicTest, ReducesInSharedMemory) {
  for (const char *seed : {"1", "2", "3"}) {
    start({{"SEED", seed}});
    CUfunction reduce = get(load(text), "reduce");
    CUdeviceptr out = allocate(16);
    ASSERT_EQ(launch(reduce, 4, 128, {upload(ramp(512)), out}), CUDA_SUCCESS)
        << moeEmuLastError();
    auto sums = download<float>(out, 4);
    for (unsigned i = 0; i < 4; ++i)
      EXPECT_EQ(sums[i], 128 * (128 * i + 64.5f));
  }
}

TEST_F(BasicTest, ReportsAMissingBarrier) {
  CUfunction reduce = get(load(without(text, "barrier")), "reduce");
  expectFailure(reduce, 1, 128, {upload(ramp(128)), allocate(4)},
                CUDA_ERROR_LAUNCH_FAILED,
                {"kernel `reduce`, block (0, 0, 0), thread (",
                 "race on shared memory: ", " of 4 bytes at shared offset ",
                 "by thread ", "nothing orders the two (there: `"});
}

TEST_F(BasicTest, ShufflesAndReadsConstants) {
  std::vector<int> in(64);
  std::iota(in.begin(), in.end(), 0);
  CUdeviceptr out = allocate(256);
  ASSERT_EQ(launch(get(load(text), "warp_sum"), 1, 64, {upload(in), out}),
            CUDA_SUCCESS)
      << moeEmuLastError();
  auto sums = download<int>(out, 64);
  const int table[] = {2, 3, 5, 7};
  for (int i = 0; i < 64; ++i)
    EXPECT_EQ(sums[i], (i < 32 ? 496 : 1520) + table[i % 4]) << i;
}

TEST_F(BasicTest, HasDynamicSharedMemory) {
  CUfunction reverse = get(load(text), "reverse");
  CUdeviceptr in = upload(ramp(96)), out = allocate(384);
  ASSERT_EQ(launch(reverse, 1, 96, {in, out}, 384), CUDA_SUCCESS)
      << moeEmuLastError();
  auto result = download<float>(out, 96);
  for (unsigned i = 0; i < 96; ++i)
    EXPECT_EQ(result[i], 96.0f - i);
  expectFailure(reverse, 1, 96, {in, out}, CUDA_ERROR_ILLEGAL_ADDRESS,
                {"shared write of 4 bytes", "is out of bounds",
                 "the block has 380 bytes"},
                380);
}

TEST_F(BasicTest, ReportsDivergentBarriers) {
  CUmodule module = load(text);
  CUdeviceptr out = allocate(512);
  expectFailure(get(module, "divergent"), 1, 128, {out},
                CUDA_ERROR_LAUNCH_TIMEOUT,
                {"kernel `divergent`, block (0, 0, 0): deadlock (divergent "
                 "barrier)",
                 "threads 0-63 wait at barrier 0, where 64 of 128 threads have "
                 "arrived",
                 "threads 64-127 exited"});
  start({});
  expectFailure(get(load(text), "split"), 1, 128, {allocate(512)},
                CUDA_ERROR_LAUNCH_FAILED,
                {"divergent barrier 0: other threads of warp"});
}

TEST_F(BasicTest, RoundsToBf16) {
  // 0.5, 3, -1 and a value whose power needs rounding.
  std::vector<uint16_t> x = {0x3f00, 0x4040, 0xbf80, 0x3dcd};
  CUdeviceptr at = upload(x);
  ASSERT_EQ(launch(get(load(text), "exp2_bf16"), 1, 4, {at}), CUDA_SUCCESS)
      << moeEmuLastError();
  // 1.4142 -> 1.4140625, 8, 0.5, 2 ** 0.10009765625 = 1.0718.. -> 1.0703125
  EXPECT_EQ(download<uint16_t>(at, 4),
            (std::vector<uint16_t>{0x3fb5, 0x4100, 0x3f00, 0x3f89}));
}

TEST_F(BasicTest, KnowsTheInstructions) {
  // Names and operands are LLVM's; what they do is checked elsewhere.
  EXPECT_NE(get(load(readKernels("instructions.ll")), "all"), nullptr);
}

TEST_F(BasicTest, NamesWhatItCannotRun) {
  CUmodule module;
  std::string bad = replaced(text, "call float @llvm.nvvm.ex2.approx.ftz.f32",
                             "call float asm \"ex2.approx.f32 $0, $1;\", "
                             "\"=f,f\"");
  EXPECT_EQ(moeEmuModuleLoadIr(&module, bad.data(), bad.size()),
            CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_NE(std::string(moeEmuLastError())
                .find("function `exp2_bf16`: inline PTX cannot be emulated"),
            std::string::npos);
  bad = "declare void @llvm.nvvm.tcgen05.wait.ld()\n"
        "define ptx_kernel void @k() {\n"
        "  call void @llvm.nvvm.tcgen05.wait.ld()\n  ret void\n}\n";
  EXPECT_EQ(moeEmuModuleLoadIr(&module, bad.data(), bad.size()),
            CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_NE(std::string(moeEmuLastError())
                .find("`llvm.nvvm.tcgen05.wait.ld` is not emulated"),
            std::string::npos)
      << moeEmuLastError();
}

} // namespace
