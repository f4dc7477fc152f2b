//===- Device.h - Kernels of Inputs/ on the emulated device -----*- C++ -*-===//
#ifndef MOEC_TEST_UNIT_EMULATOR_DEVICE_H
#define MOEC_TEST_UNIT_EMULATOR_DEVICE_H

#include "compiler/targets/nvptx/emulator/CudaApi.h"
#include "gtest/gtest.h"

#include <map>
#include <string>
#include <vector>

namespace moec {
namespace test {

/// The text of Inputs/`file`.
std::string readKernels(const std::string &file);
/// `text` without its one line that ends in the comment "; <mark>". So a
/// kernel is broken on purpose.
std::string without(const std::string &text, const std::string &mark);
/// `text` with its one occurrence of `from` replaced.
std::string replaced(const std::string &text, const std::string &from,
                     const std::string &to);

/// A fresh device for each test.
class DeviceTest : public ::testing::Test {
protected:
  void SetUp() override { start({}); }
  void TearDown() override;

  /// Begins anew with these MOE_CUDA_EMU_ variables (named without that).
  void start(const std::map<std::string, std::string> &settings);
  CUmodule load(const std::string &text);
  CUfunction get(CUmodule module, const char *name);
  template <typename T> CUdeviceptr upload(const std::vector<T> &data) {
    return uploadBytes(data.data(), data.size() * sizeof(T));
  }
  template <typename T> std::vector<T> download(CUdeviceptr at, size_t count) {
    std::vector<T> data(count);
    EXPECT_EQ(cuMemcpyDtoH_v2(data.data(), at, count * sizeof(T)), CUDA_SUCCESS)
        << moeEmuLastError();
    return data;
  }
  CUdeviceptr allocate(size_t bytes);
  /// Launches with arguments of 64 bits and waits.
  CUresult launch(CUfunction function, unsigned blocks, unsigned threads,
                  std::vector<uint64_t> arguments, unsigned sharedBytes = 0);
  /// launch() must fail with this code; the message holds each of `parts`, of
  /// one written "this|that" either.
  void expectFailure(CUfunction function, unsigned blocks, unsigned threads,
                     std::vector<uint64_t> arguments, CUresult code,
                     const std::vector<std::string> &parts,
                     unsigned sharedBytes = 0);

private:
  CUdeviceptr uploadBytes(const void *data, size_t bytes);
  std::vector<std::string> variables;
};

} // namespace test
} // namespace moec

#endif // MOEC_TEST_UNIT_EMULATOR_DEVICE_H
