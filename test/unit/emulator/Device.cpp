//===- Device.cpp - Kernels of Inputs/ on the emulated device -------------===//
#include "test/unit/emulator/Device.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace moec {
namespace test {

std::string readKernels(const std::string &file) {
  std::ifstream stream(std::string(EMULATOR_INPUTS) + "/" + file);
  EXPECT_TRUE(stream.good()) << file;
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

std::string without(const std::string &text, const std::string &mark) {
  std::istringstream lines(text);
  std::string result, line, end = "; <" + mark + ">";
  unsigned found = 0;
  while (std::getline(lines, line)) {
    bool isIt = line.size() >= end.size() &&
                line.compare(line.size() - end.size(), end.size(), end) == 0;
    found += isIt;
    if (!isIt)
      result += line + "\n";
  }
  EXPECT_EQ(found, 1u) << mark;
  return result;
}

std::string replaced(const std::string &text, const std::string &from,
                     const std::string &to) {
  size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  EXPECT_EQ(text.find(from, at + 1), std::string::npos) << from;
  std::string result = text;
  return result.replace(at, from.size(), to);
}

void DeviceTest::start(const std::map<std::string, std::string> &settings) {
  for (const std::string &name : variables)
    unsetenv(name.c_str());
  variables.clear();
  for (const auto &[name, value] : settings) {
    variables.push_back("MOE_CUDA_EMU_" + name);
    setenv(variables.back().c_str(), value.c_str(), 1);
  }
  ASSERT_EQ(moeEmuReset(), CUDA_SUCCESS) << moeEmuLastError();
  ASSERT_EQ(cuInit(0), CUDA_SUCCESS) << moeEmuLastError();
  CUcontext context;
  ASSERT_EQ(cuDevicePrimaryCtxRetain(&context, 0), CUDA_SUCCESS);
}

void DeviceTest::TearDown() {
  for (const std::string &name : variables)
    unsetenv(name.c_str());
  moeEmuReset();
}

CUmodule DeviceTest::load(const std::string &text) {
  CUmodule module = nullptr;
  EXPECT_EQ(moeEmuModuleLoadIr(&module, text.data(), text.size()), CUDA_SUCCESS)
      << moeEmuLastError();
  return module;
}

CUfunction DeviceTest::get(CUmodule module, const char *name) {
  CUfunction function = nullptr;
  EXPECT_EQ(cuModuleGetFunction(&function, module, name), CUDA_SUCCESS)
      << moeEmuLastError();
  return function;
}

CUdeviceptr DeviceTest::allocate(size_t bytes) {
  CUdeviceptr at = 0;
  EXPECT_EQ(cuMemAlloc_v2(&at, bytes), CUDA_SUCCESS) << moeEmuLastError();
  return at;
}

CUdeviceptr DeviceTest::uploadBytes(const void *data, size_t bytes) {
  CUdeviceptr at = allocate(bytes);
  EXPECT_EQ(cuMemcpyHtoD_v2(at, data, bytes), CUDA_SUCCESS)
      << moeEmuLastError();
  return at;
}

CUresult DeviceTest::launch(CUfunction function, unsigned blocks,
                            unsigned threads, std::vector<uint64_t> arguments,
                            unsigned sharedBytes) {
  std::vector<void *> pointers;
  for (uint64_t &argument : arguments)
    pointers.push_back(&argument);
  if (CUresult code =
          cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1, sharedBytes,
                         nullptr, pointers.data(), nullptr))
    return code;
  return cuCtxSynchronize();
}

void DeviceTest::expectFailure(CUfunction function, unsigned blocks,
                               unsigned threads,
                               std::vector<uint64_t> arguments, CUresult code,
                               const std::vector<std::string> &parts,
                               unsigned sharedBytes) {
  EXPECT_EQ(
      launch(function, blocks, threads, std::move(arguments), sharedBytes),
      code)
      << moeEmuLastError();
  std::string message = moeEmuLastError();
  for (const std::string &part : parts) {
    std::stringstream alternatives(part);
    std::string one;
    bool found = false;
    while (std::getline(alternatives, one, '|'))
      found |= message.find(one) != std::string::npos;
    EXPECT_TRUE(found) << "expected `" << part << "` in: " << message;
  }
}

} // namespace test
} // namespace moec
