//===- CudaDriver.h - The driver's library, opened when asked for ---------===//
//
// libcuda.so.1 by dlopen; MOE_CUDA_DRIVER in the environment names another
// library, the emulator mostly. That there is none is a normal state of a
// machine, and a status here. A library that was opened is never closed.
//
// Threads: immutable after open.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_RUNTIME_LIB_DEVICE_CUDADRIVER_H
#define MOEC_RUNTIME_LIB_DEVICE_CUDADRIVER_H

#include "runtime/lib/base/Error.h"
#include "runtime/lib/device/CudaApi.h"

#include <memory>
#include <string>

namespace moe::rt {

class CudaDriver {
public:
  /// Opens and initialises it.
  static absl::StatusOr<std::shared_ptr<const CudaDriver>> open();

  const cuda::Api &api() const { return functions; }
  const std::string &path() const { return library; }
  /// As cuDriverGetVersion says: 1000 * major + 10 * minor.
  int version() const { return driverVersion; }
  std::string versionText() const;
  /// Whether it runs LLVM IR in place of PTX.
  bool isEmulator() const {
    return static_cast<bool>(functions.moeEmuModuleLoadIr);
  }
  bool hasGraphs() const;
  bool hasEvents() const;

  /// "cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY (out of memory)", and what the
  /// emulator has to say.
  std::string describe(const char *function, cuda::Result result) const;

private:
  CudaDriver() = default;
  absl::Status load(const std::string &path);

  std::string library;
  cuda::Api functions;
  int driverVersion = 0;
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_DEVICE_CUDADRIVER_H
