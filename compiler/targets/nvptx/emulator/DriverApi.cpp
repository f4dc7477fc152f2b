//===- DriverApi.cpp - Exported: device, memory, modules ------------------===//
#include "compiler/targets/nvptx/emulator/DeviceMemory.h"
#include "compiler/targets/nvptx/emulator/Driver.h"
#include "compiler/targets/nvptx/emulator/DriverEntry.h"

#include <cstring>

using namespace moec::emu;

extern "C" {

CUresult cuInit(unsigned flags) {
  std::lock_guard<std::recursive_mutex> guard(Driver::get().lock);
  if (flags)
    return Driver::get().report(CUDA_ERROR_INVALID_VALUE, "cuInit: flags");
  if (CUresult code = Driver::get().initialise())
    return code;
  return Driver::get().enter("cuInit", /*needsContext=*/false);
}

CUresult cuDriverGetVersion(int *version) {
  std::lock_guard<std::recursive_mutex> guard(Driver::get().lock);
  if (!version)
    return CUDA_ERROR_INVALID_VALUE;
  // May be called before cuInit.
  if (!Driver::get().isInitialised)
    if (std::string problem = getSettings().read(); !problem.empty())
      return Driver::get().report(CUDA_ERROR_INVALID_VALUE, problem);
  *version = getSettings().driverVersion;
  return CUDA_SUCCESS;
}

CUresult cuGetErrorName(CUresult code, const char **text) {
  if (!text)
    return CUDA_ERROR_INVALID_VALUE;
  *text = getResultName(code);
  return *text ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult code, const char **text) {
  // The names say it; moeEmuLastError says more.
  return cuGetErrorName(code, text);
}

const char *moeEmuLastError() {
  std::lock_guard<std::recursive_mutex> guard(Driver::get().lock);
  static thread_local std::string copy;
  copy = Driver::get().lastError;
  return copy.c_str();
}

CUresult moeEmuReset() {
  std::lock_guard<std::recursive_mutex> guard(Driver::get().lock);
  return Driver::get().reset();
}

//===----------------------------------------------------------------------===//
// Devices and contexts
//===----------------------------------------------------------------------===//

CUresult cuDeviceGetCount(int *count) {
  EMU_ENTER_DEVICE(cuDeviceGetCount);
  EMU_REQUIRE(count);
  *count = getSettings().devices;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  EMU_ENTER_DEVICE(cuDeviceGet);
  EMU_REQUIRE(device);
  if (ordinal < 0 || ordinal >= getSettings().devices)
    return driver.report(CUDA_ERROR_INVALID_DEVICE,
                         "cuDeviceGet: no device " + std::to_string(ordinal));
  *device = ordinal;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
  EMU_ENTER_DEVICE(cuDeviceGetName);
  EMU_REQUIRE(name && length > 0);
  const Settings &settings = getSettings();
  std::snprintf(name, size_t(length), "moec emulator of sm_%u%u",
                settings.smMajor, settings.smMinor);
  return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
  EMU_ENTER_DEVICE(cuDeviceTotalMem);
  EMU_REQUIRE(bytes);
  *bytes = getSettings().memoryBytes;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute,
                              CUdevice device) {
  EMU_ENTER_DEVICE(cuDeviceGetAttribute);
  EMU_REQUIRE(value);
  const Settings &settings = getSettings();
  switch (attribute) {
  case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
  case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
  case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y:
    *value = maxThreads;
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z:
    *value = 64;
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X:
    *value = 0x7fffffff;
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
  case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z:
    *value = 65535;
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:
    *value = int(settings.getSharedBytes());
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY:
  case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
  case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR:
    *value = 65536;
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_WARP_SIZE:
    *value = warpSize;
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
    *value = settings.multiprocessors;
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_INTEGRATED:
  case CU_DEVICE_ATTRIBUTE_COMPUTE_MODE:
  case CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH:
    *value = 0;
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
  case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
    *value = 1;
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_CLOCK_RATE:
  case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE:
    *value = 1000000; // kHz; nothing here has the speed of a device
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH:
    *value = 5120;
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE:
    *value = 50 << 20;
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR:
    *value = 2048;
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
    *value = int(settings.smMajor);
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
    *value = int(settings.smMinor);
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
    *value = int(settings.getSharedOptinBytes() + 1024);
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
    *value = int(settings.getSharedOptinBytes());
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR:
    *value = 32;
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK:
    *value = 1024;
    return CUDA_SUCCESS;
  }
  return driver.report(CUDA_ERROR_INVALID_VALUE,
                       "cuDeviceGetAttribute: attribute " +
                           std::to_string(int(attribute)) + " is not emulated");
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  EMU_ENTER_DEVICE(cuDevicePrimaryCtxRetain);
  EMU_REQUIRE(context);
  ++driver.retained;
  *context = reinterpret_cast<CUcontext>(&driver);
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  EMU_ENTER_DEVICE(cuDevicePrimaryCtxRelease);
  if (!driver.retained)
    return driver.report(CUDA_ERROR_INVALID_CONTEXT,
                         "cuDevicePrimaryCtxRelease: not retained");
  if (!--driver.retained)
    driver.releaseContext();
  return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) {
  EMU_ENTER_DEVICE(cuCtxSetCurrent);
  return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *context) {
  EMU_ENTER_DEVICE(cuCtxGetCurrent);
  EMU_REQUIRE(context);
  *context = driver.retained ? reinterpret_cast<CUcontext>(&driver) : nullptr;
  return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent_v2(CUcontext context) {
  EMU_ENTER(cuCtxPushCurrent);
  return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent_v2(CUcontext *context) {
  EMU_ENTER_DEVICE(cuCtxPopCurrent);
  if (context)
    *context = reinterpret_cast<CUcontext>(&driver);
  return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize() {
  EMU_ENTER(cuCtxSynchronize);
  return driver.drainAll();
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

CUresult cuMemGetInfo_v2(size_t *freeBytes, size_t *total) {
  EMU_ENTER(cuMemGetInfo);
  EMU_REQUIRE(freeBytes && total);
  *total = getSettings().memoryBytes;
  *freeBytes = *total - DeviceMemory::get().getUsedBytes();
  return CUDA_SUCCESS;
}

CUresult cuMemAlloc_v2(CUdeviceptr *at, size_t bytes) {
  EMU_ENTER(cuMemAlloc);
  EMU_REQUIRE(at && bytes);
  const Settings &settings = getSettings();
  void *memory = DeviceMemory::get().allocate(bytes, settings.memoryBytes,
                                              settings.poison);
  if (!memory)
    return driver.report(
        CUDA_ERROR_OUT_OF_MEMORY,
        "cuMemAlloc of " + std::to_string(bytes) + " bytes: " +
            std::to_string(DeviceMemory::get().getUsedBytes()) + " of " +
            std::to_string(settings.memoryBytes) + " bytes are in use");
  *at = reinterpret_cast<CUdeviceptr>(memory);
  return CUDA_SUCCESS;
}

CUresult cuMemFree_v2(CUdeviceptr at) {
  EMU_ENTER(cuMemFree);
  if (!at)
    return CUDA_SUCCESS;
  // Waits for the device, as the real one does.
  if (CUresult code = driver.drainAll())
    return code;
  if (!DeviceMemory::get().free(at))
    return driver.report(CUDA_ERROR_INVALID_VALUE,
                         "cuMemFree of what was not allocated");
  return CUDA_SUCCESS;
}

CUresult cuMemAllocHost_v2(void **at, size_t bytes) {
  EMU_ENTER(cuMemAllocHost);
  EMU_REQUIRE(at && bytes);
  void *memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (!memory)
    return driver.report(CUDA_ERROR_OUT_OF_MEMORY, "cuMemAllocHost");
  driver.pinned[reinterpret_cast<uint64_t>(memory)] = bytes;
  *at = memory;
  return CUDA_SUCCESS;
}

CUresult cuMemHostAlloc(void **at, size_t bytes, unsigned) {
  return cuMemAllocHost_v2(at, bytes);
}

CUresult cuMemFreeHost(void *at) {
  EMU_ENTER(cuMemFreeHost);
  if (CUresult code = driver.drainAll())
    return code;
  auto it = driver.pinned.find(reinterpret_cast<uint64_t>(at));
  if (it == driver.pinned.end())
    return driver.report(CUDA_ERROR_INVALID_VALUE,
                         "cuMemFreeHost of what was not allocated");
  driver.pinned.erase(it);
  std::free(at);
  return CUDA_SUCCESS;
}

//===----------------------------------------------------------------------===//
// Modules
//===----------------------------------------------------------------------===//

CUresult moeEmuModuleLoadIr(CUmodule *module, const void *data, size_t bytes) {
  EMU_ENTER(moeEmuModuleLoadIr);
  EMU_REQUIRE(module && data);
  CUresult code;
  std::string message;
  auto loaded = LoadedModule::load(data, bytes, code, message);
  if (!loaded)
    return driver.report(code, "kernels cannot be loaded: " + message);
  auto handle = reinterpret_cast<CUmodule>(loaded.get());
  driver.modules[handle] = std::move(loaded);
  *module = handle;
  return CUDA_SUCCESS;
}

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image,
                            unsigned numOptions, CUjit_option *options,
                            void **values) {
  EMU_ENTER(cuModuleLoadDataEx);
  const char *text = "the emulator runs LLVM IR (moec -femit-kernel-ir), not "
                     "PTX or machine code";
  uint64_t room = 0;
  char *log = nullptr;
  for (unsigned i = 0; i < numOptions; ++i) {
    if (options[i] == CU_JIT_ERROR_LOG_BUFFER)
      log = static_cast<char *>(values[i]);
    else if (options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES)
      room = reinterpret_cast<uint64_t>(values[i]);
  }
  if (log && room)
    std::snprintf(log, room, "%s", text);
  return driver.report(CUDA_ERROR_NOT_SUPPORTED, text);
}

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
  return cuModuleLoadDataEx(module, image, 0, nullptr, nullptr);
}

CUresult cuModuleUnload(CUmodule module) {
  EMU_ENTER(cuModuleUnload);
  if (CUresult code = driver.drainAll())
    return code;
  auto it = driver.modules.find(module);
  if (it == driver.modules.end())
    return driver.report(CUDA_ERROR_INVALID_HANDLE, "not a module");
  for (auto &[name, kernel] : it->second->kernels)
    driver.functions.erase(reinterpret_cast<CUfunction>(&kernel));
  driver.modules.erase(it);
  return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module,
                             const char *name) {
  EMU_ENTER(cuModuleGetFunction);
  EMU_REQUIRE(function && name);
  auto it = driver.modules.find(module);
  if (it == driver.modules.end())
    return driver.report(CUDA_ERROR_INVALID_HANDLE, "not a module");
  Kernel *kernel = it->second->find(name);
  if (!kernel)
    return driver.report(CUDA_ERROR_NOT_FOUND,
                         "no kernel `" + std::string(name) + "`");
  *function = reinterpret_cast<CUfunction>(kernel);
  driver.functions.insert(*function);
  return CUDA_SUCCESS;
}

} // extern "C"
