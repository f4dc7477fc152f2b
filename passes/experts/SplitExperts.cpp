//===- SplitExperts.cpp - Ragged and virtual experts apart ----------------===//
#include "dialects/interfaces/ExpertOpInterface.h"
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Pass/Pass.h"

namespace moec {
#define GEN_PASS_DEF_SPLITEXPERTS
#include "passes/experts/Passes.h.inc"
} // namespace moec

using namespace mlir;
using namespace moec;

namespace {
struct SplitExperts : public moec::impl::SplitExpertsBase<SplitExperts> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    SmallVector<ExpertOpInterface> sets;
    getOperation().walk([&](ExpertOpInterface op) { sets.push_back(op); });
    IRRewriter rewriter(&getContext());
    llvm::SetVector<Operation *> tables;
    for (ExpertOpInterface op : sets) {
      rewriter.setInsertionPoint(op);
      Operation *table = symbols.lookup(op.getExpertTable().getValue());
      Value result = op.splitExperts(rewriter, symbols);
      if (!result)
        continue;
      rewriter.replaceOp(op, result);
      tables.insert(table);
      ++numSplit;
    }
    for (Operation *table : tables)
      if (SymbolTable::symbolKnownUseEmpty(table, getOperation()))
        symbols.erase(table);
  }
};
} // namespace
