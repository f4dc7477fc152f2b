//===- Backend.cpp - NVIDIA devices ---------------------------------------===//
//
// Kernels for every moex operation, from sm_80 on. They are LLVM IR of real
// `llvm.nvvm` intrinsics: artifact/DeviceImages.cpp turns them into PTX, the
// emulator runs them as they are.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/TargetBackend.h"
#include "compiler/targets/generic/Kernels.h"
#include "compiler/targets/nvptx/NvKernels.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;
using target::IsaLevel;

//===----------------------------------------------------------------------===//
// Shared by the generators
//===----------------------------------------------------------------------===//

DeviceGrid nvptx::lineGrid(CodeBuilder &host, Value blocks) {
  return {blocks, host.i64(1), host.i64(1)};
}

DeviceGrid nvptx::elementGrid(CodeBuilder &host, Value rows, int64_t perRow,
                              int64_t threads) {
  return lineGrid(host, ceilDiv(host, host.mul(rows, perRow), threads));
}

Value nvptx::rowPointer(CodeBuilder &b, const KernelRequest &request,
                        const KernelArguments &arguments, unsigned index,
                        Value row) {
  const KernelOperand &operand = request.operands[index];
  return b.element(arguments.pointers[index],
                   b.mul(row, operand.getRowElements()),
                   operand.getElementType());
}

Value nvptx::expertPointer(CodeBuilder &b, const KernelArguments &arguments,
                           unsigned index, Value expert) {
  Value ordinal =
      b.widen(b.load(arguments.ordinals[index], expert, b.getI32Type()));
  Value place =
      b.create<LLVM::GEPOp>(b.ptrType(), b.ptrType(), arguments.pointers[index],
                            ArrayRef<LLVM::GEPArg>{LLVM::GEPArg(ordinal)});
  return b.load(place, b.ptrType());
}

void nvptx::remarkPlainUnits(const KernelRequest &request, StringRef reason) {
  request.op->emitRemark("level ")
      << request.level.name
      << " computes this without tensor cores: " << reason;
}

//===----------------------------------------------------------------------===//
// Backend
//===----------------------------------------------------------------------===//

namespace {

llvm::SmallVector<IsaLevel> createLevels() {
  IsaLevel sm80;
  sm80.name = "sm_80";
  // The lowest PTX version that has what is used: it decides the oldest driver.
  sm80.features = {"+ptx80"};
  sm80.device = "cuda";
  sm80.major = 8;
  sm80.hasFma = sm80.hasF16c = true;
  IsaLevel sm90a = sm80;
  sm90a.name = "sm_90a";
  sm90a.major = 9;
  // wgmma is of this architecture alone.
  sm90a.exact = true;
  return {sm80, sm90a};
}

class NvEmitter : public target::KernelEmitter {
public:
  StringRef getName() const override { return "nvptx"; }
  ArrayRef<IsaLevel> getLevels() const override { return levels; }

  FailureOr<std::string>
  getKernelName(const KernelRequest &request) const override {
    return generic::describeKernel(request, getName());
  }

  FailureOr<Launches> getLaunches(const KernelRequest &request) const override {
    for (auto [index, operand] : llvm::enumerate(request.operands)) {
      if (!CodeBuilder::isMemoryType(operand.getElementType()))
        return request.op->emitOpError("operand ")
               << index << " has elements that target 'nvptx' cannot load: "
               << operand.getElementType();
      if (operand.format && !isa<moex::GroupedGemmOp>(request.op))
        return request.op->emitOpError("operand ")
               << index << " is a weight in format " << operand.format
               << ": expected plain numbers";
    }
    using Result = FailureOr<Launches>;
    return llvm::TypeSwitch<Operation *, Result>(request.op)
        .Case([&](moex::RowwiseOp) { return rowwiseLaunches(request); })
        .Case([&](moex::GroupedGemmOp) { return gemmLaunches(request); })
        .Case([&](moex::RouteSortOp) { return routeSortLaunches(request); })
        .Case([&](moex::PlanOp) { return planLaunches(request); })
        .Case([&](moex::LimitSlotsOp) { return limitSlotsLaunches(request); })
        .Case([&](moex::ExportRoutingOp) {
          return exportRoutingLaunches(request);
        })
        .Case([&](moex::RoutingOperandOp) {
          return routingOperandLaunches(request);
        })
        .Case([&](moex::CombineRowsOp) { return combineRowsLaunches(request); })
        .Case([&](moex::LookupOp) { return lookupLaunches(request); })
        .Case([&](moex::StateAppendOp) { return stateAppendLaunches(request); })
        .Case([&](moex::SequenceLengthsOp) {
          return sequenceLengthsLaunches(request);
        })
        .Case([&](moex::AttentionOp) { return attentionLaunches(request); })
        .Default([](Operation *op) -> Result {
          return op->emitOpError("has no kernel on target 'nvptx'");
        });
  }

  Launches getSamplingLaunches() const override { return {samplingLaunch()}; }

private:
  SmallVector<IsaLevel> levels = createLevels();
};

/// Matrices of 16-bit numbers lie in groups of 8 columns by 64 rows: 8 x 8
/// pieces of 128 adjacent bytes, which ldmatrix and wgmma take as they are, and
/// which a bulk copy brings as a whole. Everything else lies as for a
/// processor.
class NvTargetModel : public CpuTargetModel {
public:
  bool isDevice() const override { return true; }
  WeightLayoutAttrInterface layoutFor(QuantFormatAttrInterface format,
                                      WeightUse use) const override {
    if (use == WeightUse::Matmul && !format.getScaleType() &&
        CodeBuilder::isSmallFloat(format.getStorageType()))
      return moeq::RowBlocksLayoutAttr::get(format.getContext(), 64, 8);
    return CpuTargetModel::layoutFor(format, use);
  }
};

class NvBackend : public TargetBackend {
public:
  StringRef getName() const override { return "nvptx"; }
  StringRef getDescription() const override {
    return "NVIDIA devices from sm_80 on";
  }
  const TargetModel &getModel() const override { return model; }
  const target::KernelEmitter &getKernelEmitter() const override {
    return emitter;
  }

private:
  NvTargetModel model;
  NvEmitter emitter;
};

TargetRegistration<NvBackend> registration;

} // namespace
