//===- DeviceImages.h - Kernels of devices as images ------------*- C++ -*-===//
//
// Turns the modules of device levels (passes/target/DeviceCode.h) into what an
// artifact carries of them: PTX, which any driver assembles for its device, and
// beside it, on demand, a cubin and the LLVM IR for the emulator.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_ARTIFACT_DEVICEIMAGES_H
#define MOEC_COMPILER_ARTIFACT_DEVICEIMAGES_H

#include "mlir/IR/BuiltinOps.h"

#include <cstdint>
#include <string>
#include <vector>

namespace moec {

struct DeviceOptions {
  /// Keep the IR that became the PTX, for the emulator.
  bool kernelIr = false;
  /// The assembler that makes cubins; empty: none.
  std::string ptxas;
  unsigned optLevel = 2;
};

/// What is known of a kernel when it is launched.
struct DeviceKernel {
  std::string name;
  uint32_t threads = 0;
  uint32_t sharedBytes = 0;
};

struct DeviceImage {
  uint32_t kind = 0; ///< MOE_IMAGE_ of moe_abi.h
  std::string bytes;
};

/// moe_device_level_v1.
struct DeviceLevelCode {
  std::string name;
  uint32_t major = 0, minor = 0;
  bool exact = false;
  std::vector<DeviceKernel> kernels;
  std::vector<DeviceImage> images;
  std::vector<int32_t> constants;
  /// The host code that chooses tokens; empty: there is none.
  std::string sample;

  /// The PTX.
  llvm::StringRef getText() const;
};

/// The levels of `module`, in the order in which it has them. The modules stay.
mlir::FailureOr<std::vector<DeviceLevelCode>>
emitDeviceLevels(mlir::ModuleOp module, const DeviceOptions &options);

/// The modules of the levels.
std::vector<mlir::ModuleOp> findDeviceModules(mlir::ModuleOp module);

} // namespace moec

#endif // MOEC_COMPILER_ARTIFACT_DEVICEIMAGES_H
