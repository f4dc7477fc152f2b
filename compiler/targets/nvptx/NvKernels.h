//===- NvKernels.h - Kernels of NVIDIA devices ------------------*- C++ -*-===//
//
// One function per family says which launches an operation of `moex` becomes
// and how their code is built; the frames are in kernels/, one file each.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_NVKERNELS_H
#define MOEC_COMPILER_TARGETS_NVPTX_NVKERNELS_H

#include "compiler/targets/nvptx/NvBuilder.h"

#include "dialects/moex/MoexDialect.h"

#include <optional>

namespace moec::nvptx {

using target::DeviceLaunch;
using target::KernelArguments;
using target::KernelModule;
using target::KernelOperand;
using target::KernelRequest;

using Launches = llvm::SmallVector<DeviceLaunch>;

using target::DeviceGrid;

/// A grid of `blocks` blocks along x.
DeviceGrid lineGrid(CodeBuilder &host, Value blocks);
/// One thread per element of rows x `perRow`, `threads` to a block.
DeviceGrid elementGrid(CodeBuilder &host, Value rows, int64_t perRow,
                       int64_t threads);

/// Address of row `row` of operand `index`.
Value rowPointer(CodeBuilder &b, const KernelRequest &request,
                 const KernelArguments &arguments, unsigned index, Value row);
/// Address of the weight of expert `expert` in operand `index` (Experts).
Value expertPointer(CodeBuilder &b, const KernelArguments &arguments,
                    unsigned index, Value expert);

/// Part of a segment: `rows` rows, at most those of a tile, from `row` on.
struct SegmentTile {
  Value isThere, expert, row, rows;
};
/// Tile `tile` of all tiles of `tileRows` rows, segment after segment; it is
/// not there when there are fewer. Every warp finds it by itself; all its lanes
/// take part. `segments` are the offsets of `count` segments; those of at most
/// `fewRows` rows, and of more than `mostRows`, an i32, have no tiles.
SegmentTile findSegmentTile(CodeBuilder &b, Value segments, Value count,
                            int64_t tileRows, Value tile, int64_t fewRows = 0,
                            Value mostRows = {});
/// As many tiles as `rows` rows in segments may need.
Value countSegmentTiles(CodeBuilder &host, Value rows, int64_t experts,
                        int64_t tileRows);

/// What one output of a product becomes, before it is rounded to the out's
/// type: biases, the epilogue. `sums` has one f32 per weight.
mlir::FailureOr<Value> buildEpilogue(CodeBuilder &b, moex::GroupedGemmOp op,
                                     const KernelRequest &request,
                                     llvm::ArrayRef<Value> sums,
                                     llvm::ArrayRef<Value> biases,
                                     Value column);

mlir::FailureOr<Launches> rowwiseLaunches(const KernelRequest &request);
/// The part of moex.route_sort that runs its body.
mlir::FailureOr<DeviceLaunch> routeLaunch(const KernelRequest &request);
mlir::FailureOr<Launches> routeSortLaunches(const KernelRequest &request);
mlir::FailureOr<Launches> planLaunches(const KernelRequest &request);
mlir::FailureOr<Launches> limitSlotsLaunches(const KernelRequest &request);
mlir::FailureOr<Launches> exportRoutingLaunches(const KernelRequest &request);
mlir::FailureOr<Launches> routingOperandLaunches(const KernelRequest &request);
mlir::FailureOr<Launches> combineRowsLaunches(const KernelRequest &request);
mlir::FailureOr<Launches> lookupLaunches(const KernelRequest &request);
mlir::FailureOr<Launches> stateAppendLaunches(const KernelRequest &request);
mlir::FailureOr<Launches> sequenceLengthsLaunches(const KernelRequest &request);
/// Tells the user that an operation is computed on plain units, which is many
/// times slower, and why.
void remarkPlainUnits(const KernelRequest &request, llvm::StringRef reason);

mlir::FailureOr<Launches> gemmLaunches(const KernelRequest &request);
/// gemmLaunches() on tensor cores, where that is possible.
std::optional<Launches> mmaGemmLaunches(const KernelRequest &request);
mlir::FailureOr<Launches> attentionLaunches(const KernelRequest &request);

/// Chooses tokens behind rows of logits (moe_sampling_v1).
DeviceLaunch samplingLaunch();

} // namespace moec::nvptx

#endif // MOEC_COMPILER_TARGETS_NVPTX_NVKERNELS_H
