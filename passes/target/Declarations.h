//===- Declarations.h - What generated code refers to by number -*- C++ -*-===//
#ifndef MOEC_PASSES_TARGET_DECLARATIONS_H
#define MOEC_PASSES_TARGET_DECLARATIONS_H

#include "dialects/moe/MoeDialect.h"
#include "dialects/nn/NnDialect.h"
#include "passes/schedule/TargetModel.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"

namespace moec::target {

/// The declarations of a module, by symbol. The ordinals are the manifest's.
struct Declarations {
  llvm::StringMap<moe::WeightOp> weights;
  llvm::StringMap<int64_t> weightOrdinals;
  llvm::StringMap<nn::StateOp> states;
  llvm::StringMap<int64_t> stateOrdinals;
  llvm::StringMap<moe::ExpertTableOp> tables;

  /// The weight that `target` reads for the weight called `name`: its copy for
  /// that target, or itself (assign-layouts).
  llvm::StringRef resolve(llvm::StringRef target, llvm::StringRef name) const {
    auto copies = copiesFor.find(target);
    if (copies == copiesFor.end())
      return name;
    auto copy = copies->second.find(name);
    return copy == copies->second.end() ? name : copy->second;
  }

  explicit Declarations(mlir::ModuleOp module) {
    for (auto weight : module.getOps<moe::WeightOp>()) {
      auto of = weight->getAttrOfType<mlir::FlatSymbolRefAttr>(
          kCopyOfAttrName);
      auto target =
          weight->getAttrOfType<mlir::StringAttr>(kCopyForAttrName);
      if (of && target)
        copiesFor[target.getValue()][of.getValue()] = weight.getSymName();
      weightOrdinals[weight.getSymName()] = weightOrdinals.size();
      weights[weight.getSymName()] = weight;
    }
    for (auto state : module.getOps<nn::StateOp>()) {
      stateOrdinals[state.getSymName()] = stateOrdinals.size();
      states[state.getSymName()] = state;
    }
    for (auto table : module.getOps<moe::ExpertTableOp>())
      tables[table.getSymName()] = table;
  }

private:
  llvm::StringMap<llvm::StringMap<llvm::StringRef>> copiesFor;
};

} // namespace moec::target

#endif // MOEC_PASSES_TARGET_DECLARATIONS_H
