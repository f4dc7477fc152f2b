//===- CudaApi.h - The driver's types, as far as we use them --------------===//
//
// Declarations of our own, so that building the runtime needs no CUDA toolkit.
// Names and numbers are those of cuda.h, which promises not to change them.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_RUNTIME_LIB_DEVICE_CUDAAPI_H
#define MOEC_RUNTIME_LIB_DEVICE_CUDAAPI_H

#include <cstddef>
#include <cstdint>

namespace moe::rt::cuda {

using Device = int;
using DevicePointer = unsigned long long;
using Context = struct ContextHandle *;
using Module = struct ModuleHandle *;
using Function = struct FunctionHandle *;
using Stream = struct StreamHandle *;
using Event = struct EventHandle *;
using Graph = struct GraphHandle *;
using GraphExec = struct GraphExecHandle *;

enum Result : int {
  Success = 0,
  OutOfMemory = 2,
  Deinitialized = 4,
  DeviceUnavailable = 46,
  NoDevice = 100,
  InvalidImage = 200,
  InvalidContext = 201,
  NoBinaryForGpu = 209,
  EccUncorrectable = 214,
  InvalidPtx = 218,
  NvlinkUncorrectable = 220,
  JitCompilerNotFound = 221,
  UnsupportedPtxVersion = 222,
  Contained = 226,
  IllegalAddress = 700,
  LaunchTimeout = 702,
  ContextIsDestroyed = 709,
  Assert = 710,
  HardwareStackError = 714,
  IllegalInstruction = 715,
  MisalignedAddress = 716,
  InvalidAddressSpace = 717,
  InvalidPc = 718,
  LaunchFailed = 719,
  TensorMemoryLeak = 721,
  ExternalDevice = 911,
  Unknown = 999
};

enum DeviceAttribute : int {
  ComputeCapabilityMajor = 75,
  ComputeCapabilityMinor = 76
};

enum FunctionAttribute : int { MaxDynamicSharedBytes = 8 };

enum JitOption : int { ErrorLogBuffer = 5, ErrorLogBufferBytes = 6 };

enum CaptureMode : int { CaptureThreadLocal = 1 };

constexpr unsigned kStreamNonBlocking = 1;

/// Dynamic shared memory that a kernel may have without asking.
constexpr uint32_t kPlainSharedBytes = 48 * 1024;

/// The functions of a driver; NULL where it lacks an optional one.
struct Api {
#define MOE_CUDA(NAME, SYMBOL, PARAMETERS) Result(*NAME) PARAMETERS = nullptr;
#include "runtime/lib/device/CudaFunctions.def"
  const char *(*moeEmuLastError)() = nullptr;
};

} // namespace moe::rt::cuda

#endif // MOEC_RUNTIME_LIB_DEVICE_CUDAAPI_H
