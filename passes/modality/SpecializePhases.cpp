//===- SpecializePhases.cpp - Step functions for one modality -------------===//
#include "dialects/moe/MoeDialect.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "llvm/ADT/STLExtras.h"

namespace moec {
#define GEN_PASS_DEF_SPECIALIZEPHASES
#include "passes/modality/Passes.h.inc"
} // namespace moec

using namespace mlir;
using namespace moec;

namespace {

/// Whether a batch of an entry can consist of tokens of `modality` alone.
bool canBeAlone(moe::EntryOp entry, int64_t modality) {
  bool isThere = false;
  for (auto segment : entry.getLayout().getAsRange<moe::SegmentAttr>()) {
    bool takes = llvm::is_contained(segment.getModalities(), modality);
    if (!takes && segment.getMin() > 0)
      return false;
    isThere |= takes;
  }
  return isThere;
}

/// Options of entries with which a step exchanges something with routers.
constexpr StringLiteral exchanges[] = {
    "routing_out", "routing_in", "expert_mask", "router_bias", "k_override"};

struct SpecializePhases
    : public moec::impl::SpecializePhasesBase<SpecializePhases> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    for (auto function :
         llvm::make_early_inc_range(module.getOps<func::FuncOp>())) {
      auto facts = function->getAttrOfType<DictionaryAttr>("moe.function");
      if (function.isExternal() || !facts || facts.contains("variant_of") ||
          // What is exchanged with routers is numbered over the whole function.
          llvm::any_of(exchanges, [&](StringRef option) {
            return facts.contains(option);
          }))
        continue;
      auto modalities = facts.getAs<DenseI64ArrayAttr>("modalities");
      if (!modalities || modalities.size() < 2)
        continue;
      for (auto modality : module.getOps<moe::ModalityOp>())
        if (modality.getVocab() &&
            llvm::is_contained(modalities.asArrayRef(), modality.getId()) &&
            llvm::any_of(module.getOps<moe::EntryOp>(), [&](moe::EntryOp e) {
              return e.getFunction() == function.getSymName() &&
                     canBeAlone(e, modality.getId());
            }))
          specialize(function, facts, modality);
    }
  }

private:
  void specialize(func::FuncOp function, DictionaryAttr facts,
                  moe::ModalityOp modality) {
    OpBuilder b(function);
    auto clone = cast<func::FuncOp>(b.clone(*function));
    SymbolTable symbols(getOperation());
    clone.setSymName(
        (function.getSymName() + "." + modality.getSymName()).str());
    NamedAttrList own(facts);
    own.set("modalities", b.getDenseI64ArrayAttr({int64_t(modality.getId())}));
    own.set("variant_of", FlatSymbolRefAttr::get(function.getSymNameAttr()));
    clone->setAttr("moe.function", own.getDictionary(&getContext()));
    int64_t id = modality.getId();
    clone.walk([&](moe::ByModalityOp op) { takeArm(op, id); });
    clone.walk([&](moe::MergeModalitiesOp op) { takeStream(op, id); });
    ++numSpecialized;
  }

  /// The value of the arm of `modality` for all tokens.
  static void takeArm(moe::ByModalityOp op, int64_t modality) {
    for (auto [id, arm] : llvm::zip(op.getIds(), op.getArms())) {
      if (id != modality)
        continue;
      Block &block = arm.front();
      Operation *yield = block.getTerminator();
      Value result = yield->getOperand(0);
      yield->erase();
      op->getBlock()->getOperations().splice(op->getIterator(),
                                             block.getOperations());
      op.getResult().replaceAllUsesWith(result);
      op->erase();
      return;
    }
  }

  /// The stream of `modality`, where it has a row for every token.
  static void takeStream(moe::MergeModalitiesOp op, int64_t modality) {
    for (auto [id, indexed, stream] :
         llvm::zip(op.getIds(), op.getIndexed(), op.getStreams()))
      if (id == modality && !indexed) {
        op.getResult().replaceAllUsesWith(stream);
        op->erase();
        return;
      }
  }
};
} // namespace
