//===- AssignLayouts.cpp - Give every weight its one layout ---------------===//
#include "dialects/interfaces/QuantizableOpInterface.h"
#include "dialects/moe/MoeDialect.h"
#include "dialects/moeq/MoeqDialect.h"
#include "passes/schedule/TargetModel.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace moec {
#define GEN_PASS_DEF_ASSIGNLAYOUTS
#include "passes/compress/Passes.h.inc"
} // namespace moec

using namespace mlir;
using namespace moec;

/// Whether `use` reads the weight as the matrix of a matmul.
static bool isMatmulUse(OpOperand &use) {
  auto op = dyn_cast<QuantizableOpInterface>(use.getOwner());
  return op && llvm::is_contained(op.getMatrixOperands(), &use);
}

namespace {
struct AssignLayouts : public moec::impl::AssignLayoutsBase<AssignLayouts> {
  void runOnOperation() override {
    llvm::DenseSet<StringRef> matmul;
    getOperation().walk([&](Operation *op) {
      if (auto reference = dyn_cast<moe::WeightRefOp>(op)) {
        if (llvm::any_of(reference->getUses(), isMatmulUse))
          matmul.insert(reference.getWeight());
      } else if (auto table = dyn_cast<moe::ExpertTableOp>(op)) {
        for (int64_t e = 0; e < table.getNumExperts(); ++e)
          if (moe::ExpertAttr expert = table.getExpert(e))
            for (NamedAttribute role : expert.getWeights())
              matmul.insert(
                  cast<FlatSymbolRefAttr>(role.getValue()).getValue());
      }
    });
    CpuTargetModel target;
    for (auto weight : getOperation().getOps<moe::WeightOp>()) {
      if (weight.getLayout())
        continue;
      bool isMatrix = weight.getTensorType().getRank() == 2 &&
                      matmul.contains(weight.getSymName());
      // Integers have no format and lie in row-major order.
      QuantFormatAttrInterface format = weight.getFormatAttr();
      if (format)
        weight.setLayoutAttr(target.layoutFor(
            format, isMatrix ? WeightUse::Matmul : WeightUse::Rows));
      else
        weight.setLayoutAttr(moeq::RowMajorLayoutAttr::get(&getContext()));
    }
  }
};
} // namespace
