//===- DriverTest.cpp - The driver's functions as a runtime uses them -----===//
#include "test/unit/emulator/Device.h"

#include <cstring>

using namespace moec::test;

namespace {

class DriverTest : public DeviceTest {
protected:
  CUstream makeStream() {
    CUstream stream = nullptr;
    EXPECT_EQ(cuStreamCreate(&stream, 1), CUDA_SUCCESS);
    return stream;
  }
};

TEST_F(DriverTest, DescribesTheDevice) {
  start({{"ARCH", "sm_80"}, {"MEMORY", "64M"}});
  int major = 0, minor = 1, optin = 0, count = 0, version = 0;
  EXPECT_EQ(cuDeviceGetCount(&count), CUDA_SUCCESS);
  EXPECT_EQ(count, 1);
  EXPECT_EQ(cuDriverGetVersion(&version), CUDA_SUCCESS);
  EXPECT_EQ(version, 13000);
  cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0);
  cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 0);
  cuDeviceGetAttribute(
      &optin, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 0);
  EXPECT_EQ(major, 8);
  EXPECT_EQ(minor, 0);
  EXPECT_EQ(optin, 163 << 10);
  size_t left = 0, total = 0;
  allocate(1 << 20);
  EXPECT_EQ(cuMemGetInfo_v2(&left, &total), CUDA_SUCCESS);
  EXPECT_EQ(total, 64u << 20);
  EXPECT_EQ(left, 63u << 20);
  CUdeviceptr at;
  EXPECT_EQ(cuMemAlloc_v2(&at, 64 << 20), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_STREQ(moeEmuLastError(),
               "cuMemAlloc of 67108864 bytes: 1048576 of 67108864 bytes are in "
               "use");
}

TEST_F(DriverTest, ChecksTheArchitectureOfKernels) {
  start({{"ARCH", "sm_80"}});
  std::string text = "define ptx_kernel void @k() #0 { ret void }\n"
                     "attributes #0 = { \"target-cpu\"=\"sm_90a\" }\n";
  CUmodule module;
  EXPECT_EQ(moeEmuModuleLoadIr(&module, text.data(), text.size()),
            CUDA_ERROR_NO_BINARY_FOR_GPU);
  EXPECT_STREQ(moeEmuLastError(), "kernels cannot be loaded: the kernels need "
                                  "sm_90a, the device is sm_80");
  start({{"ARCH", "sm_90"}});
  load(text);
}

TEST_F(DriverTest, RefusesPtx) {
  CUmodule module;
  char log[128] = "";
  CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER,
                            CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void *values[] = {log, reinterpret_cast<void *>(sizeof log)};
  EXPECT_EQ(cuModuleLoadDataEx(&module, ".version 8.0", 2, options, values),
            CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_NE(std::strstr(log, "not PTX"), nullptr) << log;
}

TEST_F(DriverTest, ExecutesWhenSomebodyWaits) {
  CUstream stream = makeStream();
  CUdeviceptr at = allocate(64);
  void *host = nullptr;
  ASSERT_EQ(cuMemAllocHost_v2(&host, 64), CUDA_SUCCESS);
  std::memset(host, 1, 64);
  ASSERT_EQ(cuMemsetD8Async(at, 7, 64, stream), CUDA_SUCCESS);
  ASSERT_EQ(cuMemcpyDtoHAsync_v2(host, at, 64, stream), CUDA_SUCCESS);
  EXPECT_EQ(static_cast<char *>(host)[5], 1);
  ASSERT_EQ(cuStreamSynchronize(stream), CUDA_SUCCESS);
  EXPECT_EQ(static_cast<char *>(host)[5], 7);

  start({{"BLOCKING", "1"}});
  stream = makeStream();
  at = allocate(64);
  ASSERT_EQ(cuMemAllocHost_v2(&host, 64), CUDA_SUCCESS);
  ASSERT_EQ(cuMemsetD8Async(at, 7, 64, stream), CUDA_SUCCESS);
  ASSERT_EQ(cuMemcpyDtoHAsync_v2(host, at, 64, stream), CUDA_SUCCESS);
  EXPECT_EQ(static_cast<char *>(host)[5], 7);
}

TEST_F(DriverTest, ReplaysGraphs) {
  CUfunction add = get(load(readKernels("basic.ll")), "add");
  CUstream stream = makeStream();
  CUdeviceptr x = upload(std::vector<float>(32, 1.0f));
  uint64_t n = 32;
  void *arguments[] = {&x, &x, &x, &n};
  ASSERT_EQ(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED),
            CUDA_SUCCESS);
  ASSERT_EQ(
      cuLaunchKernel(add, 1, 1, 1, 32, 1, 1, 0, stream, arguments, nullptr),
      CUDA_SUCCESS);
  EXPECT_EQ(cuStreamSynchronize(stream), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  CUgraph graph;
  CUgraphExec executable;
  ASSERT_EQ(cuStreamEndCapture(stream, &graph), CUDA_SUCCESS);
  ASSERT_EQ(cuGraphInstantiateWithFlags(&executable, graph, 0), CUDA_SUCCESS);
  ASSERT_EQ(cuGraphDestroy(graph), CUDA_SUCCESS);
  EXPECT_EQ(download<float>(x, 1)[0], 1.0f);
  for (int i = 0; i < 3; ++i)
    ASSERT_EQ(cuGraphLaunch(executable, stream), CUDA_SUCCESS);
  ASSERT_EQ(cuStreamSynchronize(stream), CUDA_SUCCESS) << moeEmuLastError();
  EXPECT_EQ(download<float>(x, 1)[0], 8.0f);
  ASSERT_EQ(cuGraphExecDestroy(executable), CUDA_SUCCESS);
}

TEST_F(DriverTest, RefusesGraphsWhoseKernelsAreGone) {
  CUmodule module = load(readKernels("basic.ll"));
  CUfunction add = get(module, "add");
  CUstream stream = makeStream();
  CUdeviceptr x = upload(std::vector<float>(32, 1.0f));
  uint64_t n = 32;
  void *arguments[] = {&x, &x, &x, &n};
  CUgraph graph;
  CUgraphExec executable;
  ASSERT_EQ(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED),
            CUDA_SUCCESS);
  ASSERT_EQ(
      cuLaunchKernel(add, 1, 1, 1, 32, 1, 1, 0, stream, arguments, nullptr),
      CUDA_SUCCESS);
  ASSERT_EQ(cuStreamEndCapture(stream, &graph), CUDA_SUCCESS);
  ASSERT_EQ(cuGraphInstantiateWithFlags(&executable, graph, 0), CUDA_SUCCESS);
  ASSERT_EQ(cuModuleUnload(module), CUDA_SUCCESS);
  ASSERT_EQ(cuGraphLaunch(executable, stream), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamSynchronize(stream), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_STREQ(moeEmuLastError(),
               "launch of a kernel whose module was unloaded");
}

TEST_F(DriverTest, ReachesEventsInOrder) {
  CUstream stream = makeStream();
  CUdeviceptr at = allocate(64);
  void *host = nullptr;
  ASSERT_EQ(cuMemAllocHost_v2(&host, 64), CUDA_SUCCESS);
  std::memset(host, 0, 64);
  CUevent first, second;
  ASSERT_EQ(cuEventCreate(&first, 0), CUDA_SUCCESS);
  ASSERT_EQ(cuEventCreate(&second, 0), CUDA_SUCCESS);
  ASSERT_EQ(cuMemsetD8Async(at, 7, 64, stream), CUDA_SUCCESS);
  ASSERT_EQ(cuMemcpyDtoHAsync_v2(host, at, 64, stream), CUDA_SUCCESS);
  ASSERT_EQ(cuEventRecord(first, stream), CUDA_SUCCESS);
  ASSERT_EQ(cuMemsetD8Async(at, 8, 64, stream), CUDA_SUCCESS);
  ASSERT_EQ(cuMemcpyDtoHAsync_v2(host, at, 64, stream), CUDA_SUCCESS);
  ASSERT_EQ(cuEventRecord(second, stream), CUDA_SUCCESS);
  float time = -1;
  EXPECT_EQ(cuEventElapsedTime(&time, first, second), CUDA_ERROR_NOT_READY);
  ASSERT_EQ(cuEventSynchronize(first), CUDA_SUCCESS);
  EXPECT_EQ(static_cast<char *>(host)[0], 7);
  ASSERT_EQ(cuEventSynchronize(second), CUDA_SUCCESS);
  EXPECT_EQ(static_cast<char *>(host)[0], 8);
  EXPECT_EQ(cuEventElapsedTime(&time, first, second), CUDA_SUCCESS);
  EXPECT_GE(time, 0.0f);
}

TEST_F(DriverTest, ChecksLaunches) {
  std::string text = readKernels("basic.ll");
  CUfunction add = get(load(text), "add");
  EXPECT_EQ(launch(add, 1, 2048, {0, 0, 0, 0}), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(launch(add, 0, 32, {0, 0, 0, 0}), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(launch(add, 1, 32, {0, 0, 0, 0}, 64 << 10),
            CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuFuncSetAttribute(
                add, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 64 << 10),
            CUDA_SUCCESS);
  EXPECT_EQ(launch(add, 1, 32, {0, 0, 0, 0}, 64 << 10), CUDA_SUCCESS);
  EXPECT_EQ(cuFuncSetAttribute(add,
                               CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                               228 << 10),
            CUDA_ERROR_INVALID_VALUE);
}

TEST_F(DriverTest, FailsWhereAskedTo) {
  start({{"FAIL", "cuMemAlloc@2=CUDA_ERROR_OUT_OF_MEMORY,"
                  "cuLaunchKernel=CUDA_ERROR_LAUNCH_FAILED"}});
  CUdeviceptr at;
  EXPECT_EQ(cuMemAlloc_v2(&at, 16), CUDA_SUCCESS);
  EXPECT_EQ(cuMemAlloc_v2(&at, 16), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_STREQ(moeEmuLastError(), "cuMemAlloc, call 2: failure asked for by "
                                  "MOE_CUDA_EMU_FAIL");
  EXPECT_EQ(cuMemAlloc_v2(&at, 16), CUDA_SUCCESS);
  CUfunction add = get(load(readKernels("basic.ll")), "add");
  EXPECT_EQ(launch(add, 1, 32, {0, 0, 0, 0}), CUDA_ERROR_LAUNCH_FAILED);
  EXPECT_EQ(cuMemAlloc_v2(&at, 16), CUDA_ERROR_LAUNCH_FAILED);
}

TEST(SettingsTest, RefusesNonsense) {
  for (auto [name, value] :
       {std::pair<const char *, const char *>{"MOE_CUDA_EMU_ARCH", "ampere"},
        {"MOE_CUDA_EMU_MEMORY", "lots"},
        {"MOE_CUDA_EMU_CHECKS", "some"},
        {"MOE_CUDA_EMU_FAIL", "cuInit@1=oops"}}) {
    setenv(name, value, 1);
    EXPECT_EQ(moeEmuReset(), CUDA_ERROR_INVALID_VALUE) << name;
    EXPECT_EQ(std::string(moeEmuLastError()).find(name), 0u)
        << moeEmuLastError();
    unsetenv(name);
  }
  setenv("MOE_CUDA_EMU_DEVICES", "0", 1);
  moeEmuReset();
  EXPECT_EQ(cuInit(0), CUDA_ERROR_NO_DEVICE);
  unsetenv("MOE_CUDA_EMU_DEVICES");
  moeEmuReset();
}

} // namespace
