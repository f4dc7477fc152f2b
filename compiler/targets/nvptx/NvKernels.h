//===- NvKernels.h - Kernels of NVIDIA devices ------------------*- C++ -*-===//
//
// One function per family says which launches an operation of `moex` becomes and
// how their code is built; the frames are in kernels/, one file each.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_NVKERNELS_H
#define MOEC_COMPILER_TARGETS_NVPTX_NVKERNELS_H

#include "compiler/targets/nvptx/NvBuilder.h"

#include "dialects/moex/MoexDialect.h"

namespace moec::nvptx {

using target::DeviceLaunch;
using target::KernelArguments;
using target::KernelModule;
using target::KernelOperand;
using target::KernelRequest;

using Launches = llvm::SmallVector<DeviceLaunch>;

/// A grid of `value` blocks along x.
target::DeviceGrid lineGrid(Value value, CodeBuilder &host);
/// One thread per element of rows x `perRow`, `threads` to a block.
target::DeviceGrid elementGrid(CodeBuilder &host, Value rows, int64_t perRow,
                               int64_t threads);

/// Address of row `row` of operand `index`.
Value rowPointer(CodeBuilder &b, const KernelRequest &request,
                 const KernelArguments &arguments, unsigned index, Value row);
/// Address of the weight of expert `expert` in operand `index` (Experts).
Value expertPointer(CodeBuilder &b, const KernelArguments &arguments,
                    unsigned index, Value expert);

mlir::FailureOr<Launches> rowwiseLaunches(const KernelRequest &request);
mlir::FailureOr<Launches> routeSortLaunches(const KernelRequest &request);
mlir::FailureOr<Launches> planLaunches(const KernelRequest &request);
mlir::FailureOr<Launches> limitSlotsLaunches(const KernelRequest &request);
mlir::FailureOr<Launches> exportRoutingLaunches(const KernelRequest &request);
mlir::FailureOr<Launches> combineRowsLaunches(const KernelRequest &request);
mlir::FailureOr<Launches> lookupLaunches(const KernelRequest &request);
mlir::FailureOr<Launches> stateAppendLaunches(const KernelRequest &request);
mlir::FailureOr<Launches>
sequenceLengthsLaunches(const KernelRequest &request);
mlir::FailureOr<Launches> gemmLaunches(const KernelRequest &request);
mlir::FailureOr<Launches> attentionLaunches(const KernelRequest &request);

} // namespace moec::nvptx

#endif // MOEC_COMPILER_TARGETS_NVPTX_NVKERNELS_H
