//===- AssignLayouts.cpp - Give every weight its one layout ---------------===//
#include "dialects/interfaces/QuantizableOpInterface.h"
#include "dialects/moe/MoeDialect.h"
#include "dialects/moeq/MoeqDialect.h"
#include "passes/schedule/TargetModel.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace moec {
#define GEN_PASS_DECL_ASSIGNLAYOUTS
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
  using AssignLayoutsBase::AssignLayoutsBase;

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
    SmallVector<std::string> names = llvm::to_vector(targets);
    if (names.empty())
      names.push_back("x86_64");
    // What weights lie for: processors, else the first target. Other devices get
    // copies where they want another layout.
    const TargetModel *first = nullptr;
    SmallVector<std::pair<StringRef, const TargetModel *>> devices;
    for (const std::string &name : names) {
      const TargetModel *model = lookupTargetModel(name);
      if (!model) {
        getOperation().emitError("unknown target '") << name << "'";
        return signalPassFailure();
      }
      if (model->isDevice())
        devices.push_back({name, model});
      else if (!first)
        first = model;
    }
    if (!first)
      first = devices.front().second;
    for (auto weight :
         llvm::make_early_inc_range(getOperation().getOps<moe::WeightOp>())) {
      if (weight.getLayout())
        continue;
      bool isMatrix = weight.getTensorType().getRank() == 2 &&
                      matmul.contains(weight.getSymName());
      // Integers have no format and lie in row-major order.
      QuantFormatAttrInterface format = weight.getFormatAttr();
      if (format)
        assign(weight, *first, devices,
               isMatrix ? WeightUse::Matmul : WeightUse::Rows);
      else
        weight.setLayoutAttr(moeq::RowMajorLayoutAttr::get(&getContext()));
    }
  }

  void assign(moe::WeightOp weight, const TargetModel &first,
              ArrayRef<std::pair<StringRef, const TargetModel *>> devices,
              WeightUse use) {
    QuantFormatAttrInterface format = weight.getFormatAttr();
    weight.setLayoutAttr(first.layoutFor(format, use));
    for (auto [name, model] : devices) {
      WeightLayoutAttrInterface layout = model->layoutFor(format, use);
      if (layout == weight.getLayoutAttr())
        continue;
      OpBuilder b(&getContext());
      b.setInsertionPointAfter(weight);
      auto copy = cast<moe::WeightOp>(b.clone(*weight));
      copy.setSymName((weight.getSymName() + "." + name).str());
      copy.setLayoutAttr(layout);
      copy->setAttr(kCopyOfAttrName,
                    FlatSymbolRefAttr::get(weight.getSymNameAttr()));
      copy->setAttr(kCopyForAttrName, b.getStringAttr(name));
      ++numCopies;
    }
  }
};
} // namespace
