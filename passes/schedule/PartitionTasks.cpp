//===- PartitionTasks.cpp - How tasks are divided -------------------------===//
#include "dialects/moex/MoexDialect.h"
#include "passes/schedule/TargetModel.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace moec {
#define GEN_PASS_DEF_PARTITIONTASKS
#include "passes/schedule/Passes.h.inc"
} // namespace moec

using namespace mlir;
using namespace moec;

namespace {
struct PartitionTasks : public moec::impl::PartitionTasksBase<PartitionTasks> {
  void runOnOperation() override {
    CpuTargetModel target;
    getOperation().walk([&](moex::GroupedGemmOp gemm) {
      int64_t columns =
          cast<MemRefType>(gemm.getOut().getType()).getDimSize(1);
      gemm.setTasks(columns > target.getColumnBlock() ? moex::Tasks::Columns
                                                      : moex::Tasks::Rows);
    });
  }
};
} // namespace
