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

#if defined(__clang__)
#define MOE_FOREIGN_CALL __attribute__((no_sanitize("function")))
#else
#define MOE_FOREIGN_CALL
#endif

/// A function of the driver, whose types have other names there than here,
/// which the sanitizer of function types must not mind.
template <typename Type> class ForeignFunction;
template <typename To, typename... From> class ForeignFunction<To(From...)> {
public:
  using Pointer = To (*)(From...);
  void set(void *symbol) { pointer = reinterpret_cast<Pointer>(symbol); }
  explicit operator bool() const { return pointer != nullptr; }
  MOE_FOREIGN_CALL To operator()(From... values) const {
    return pointer(values...);
  }

private:
  Pointer pointer = nullptr;
};

/// The functions of a driver; false where it lacks an optional one.
struct Api {
#define MOE_CUDA(NAME, SYMBOL, PARAMETERS)                                     \
  ForeignFunction<Result PARAMETERS> NAME;
#include "runtime/lib/device/CudaFunctions.def"
  ForeignFunction<const char *()> moeEmuLastError;
};

} // namespace moe::rt::cuda

#endif // MOEC_RUNTIME_LIB_DEVICE_CUDAAPI_H
