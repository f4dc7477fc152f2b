//===- SpecializeModalities.cpp - Join the experts of modality groups -----===//
#include "dialects/moe/MoeDialect.h"
#include "passes/PassRemarks.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Pass/Pass.h"

namespace moec {
#define GEN_PASS_DEF_SPECIALIZEMODALITIES
#include "passes/modality/Passes.h.inc"
} // namespace moec

using namespace mlir;
using namespace moec;

namespace {
/// The experts op that an arm yields, if the arm is only that and pure
/// operations before it.
static moe::ExpertsOp expertsOf(Region &arm) {
  Block &block = arm.front();
  auto experts =
      block.getTerminator()->getOperand(0).getDefiningOp<moe::ExpertsOp>();
  if (!experts || experts->getBlock() != &block)
    return {};
  for (Operation &op : block.without_terminator())
    if (!isMemoryEffectFree(&op))
      return {};
  return experts;
}

struct SpecializeModalities
    : public moec::impl::SpecializeModalitiesBase<SpecializeModalities> {
  void runOnOperation() override {
    SmallVector<moe::ByModalityOp> ops;
    getOperation().walk([&](moe::ByModalityOp op) { ops.push_back(op); });
    IRRewriter rewriter(&getContext());
    SymbolTable symbols(getOperation());
    for (moe::ByModalityOp op : ops) {
      SmallVector<moe::ExpertsOp> arms;
      if (!canJoin(op, symbols, arms)) {
        remarkMissed(*this, op.getLoc(), "arms")
            << "the arms are not routed experts of the same kind";
        continue;
      }
      remarkPassed(*this, op.getLoc(), "joined") << remark::add(
          "joined the experts of {0} arms in one set", arms.size());
      join(rewriter, symbols, op, arms);
      ++joined;
    }
    // Tables that only joined arms used are gone from the program.
    eraseUnusedTables(symbols);
  }

  bool canJoin(moe::ByModalityOp op, SymbolTable &symbols,
               SmallVectorImpl<moe::ExpertsOp> &arms) {
    for (Region &arm : op.getArms()) {
      moe::ExpertsOp experts = expertsOf(arm);
      if (!experts)
        return false;
      arms.push_back(experts);
    }
    auto tableOf = [&](moe::ExpertsOp experts) {
      return symbols.lookup<moe::ExpertTableOp>(experts.getTable());
    };
    auto bodyOf = [&](moe::ExpertsOp experts) {
      return tableOf(experts).getBody();
    };
    // Experts without matrices would come between those of the arms and be
    // taken apart again.
    if (llvm::any_of(arms, [&](moe::ExpertsOp experts) {
          return tableOf(experts).hasVirtualExperts();
        }))
      return false;
    return llvm::all_of(arms, [&](moe::ExpertsOp experts) {
      return experts.getTokens() == arms[0].getTokens() &&
             getHiddenFunction(experts) == getHiddenFunction(arms[0]) &&
             experts.getApplyInput() == arms[0].getApplyInput() &&
             !experts.getSlot() &&
             experts.getCompute() == arms[0].getCompute() &&
             bodyOf(experts) == bodyOf(arms[0]);
    });
  }

  /// A table with the experts of all arms, one range after the other.
  moe::ExpertTableOp joinTables(IRRewriter &rewriter, SymbolTable &symbols,
                                ArrayRef<moe::ExpertsOp> arms,
                                SmallVectorImpl<int64_t> &offsets) {
    SmallVector<Attribute> experts;
    moe::ExpertTableOp last;
    for (moe::ExpertsOp arm : arms) {
      auto table = symbols.lookup<moe::ExpertTableOp>(arm.getTable());
      offsets.push_back(experts.size());
      llvm::append_range(experts, table.getExperts());
      if (!last || last->isBeforeInBlock(table))
        last = table;
    }
    moe::ExpertsOp first = arms[0];
    rewriter.setInsertionPointAfter(last);
    auto joined = moe::ExpertTableOp::create(
        rewriter, last.getLoc(), (first.getTable() + ".joined").str(),
        last.getBody(), rewriter.getArrayAttr(experts));
    symbols.insert(joined, std::next(Block::iterator(last)));
    return joined;
  }

  void join(IRRewriter &rewriter, SymbolTable &symbols, moe::ByModalityOp op,
            ArrayRef<moe::ExpertsOp> arms) {
    SmallVector<int64_t> offsets;
    moe::ExpertTableOp table = joinTables(rewriter, symbols, arms, offsets);
    moe::ExpertsOp first = arms[0];
    SmallVector<Value> ids, weights;
    int64_t slots = 0;
    for (moe::ExpertsOp arm : arms) {
      ids.push_back(arm.getIds());
      weights.push_back(arm.getWeights());
      slots = std::max(slots, arm.getIds().getType().getDimSize(1));
    }
    for (Region &arm : op.getArms())
      for (Operation &inner :
           llvm::make_early_inc_range(arm.front().without_terminator()))
        if (!isa<moe::ExpertsOp>(inner))
          rewriter.moveOpBefore(&inner, op);
    rewriter.setInsertionPoint(op);
    auto perSlot = [&](Type element) {
      return RankedTensorType::get({ShapedType::kDynamic, slots}, element);
    };
    auto routing = moe::SelectRoutingOp::create(
        rewriter, op.getLoc(), perSlot(rewriter.getI32Type()),
        perSlot(rewriter.getF32Type()), op.getKinds(), ids, weights,
        op.getIds(), offsets, table.getNumExperts());
    auto result = cast<moe::ExpertsOp>(rewriter.clone(*first));
    result.setTable(table.getSymName());
    result.getIdsMutable().assign(routing.getIds());
    result.getWeightsMutable().assign(routing.getWeights());
    rewriter.replaceOp(op, result.getResult());
  }

  void eraseUnusedTables(SymbolTable &symbols) {
    llvm::DenseSet<StringRef> used;
    getOperation().walk([&](Operation *op) {
      if (isa<moe::ExpertTableOp>(op))
        return;
      op->getAttrDictionary().walk(
          [&](FlatSymbolRefAttr symbol) { used.insert(symbol.getValue()); });
    });
    for (auto table : llvm::make_early_inc_range(
             getOperation().getOps<moe::ExpertTableOp>()))
      if (!used.contains(table.getSymName()))
        symbols.erase(table);
  }
};
} // namespace
