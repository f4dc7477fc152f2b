//===- SplitExperts.cpp - Ragged and virtual experts apart ----------------===//
#include "dialects/interfaces/ExpertOpInterface.h"
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowBuilder.h"
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
  /// Replaces `op`, of two operands, by a row body that `build` makes.
  static void
  replaceByRows(IRRewriter &rewriter, Operation *op,
                llvm::function_ref<Value(row::RowBuilder &, Block *)> build) {
    Location loc = op->getLoc();
    rewriter.setInsertionPoint(op);
    auto apply = row::ApplyOp::create(rewriter, loc, op->getResultTypes(),
                                      op->getOperands());
    SmallVector<Type> types;
    for (Value operand : op->getOperands())
      types.push_back(row::ApplyOp::getRowType(operand.getType()));
    Block *block = rewriter.createBlock(
        &apply.getBody(), {}, types, SmallVector<Location>(types.size(), loc));
    row::RowBuilder rows(rewriter, loc);
    row::YieldOp::create(rewriter, loc, build(rows, block));
    rewriter.replaceOp(op, apply.getResults());
  }

  /// The row of a table of ids as a row body.
  static void lowerTableRows(IRRewriter &rewriter, moe::TableRowsOp op) {
    auto type = cast<RankedTensorType>(op.getTable().getType());
    auto build = [&](row::RowBuilder &rows, Block *block) -> Value {
      Value token = block->getArgument(0);
      Location loc = op.getLoc();
      Value zero = rows.i32(0), count = rows.i32(type.getDimSize(0));
      Value isLow = arith::CmpIOp::create(
          rewriter, loc, arith::CmpIPredicate::slt, token, zero);
      Value isHigh = arith::CmpIOp::create(
          rewriter, loc, arith::CmpIPredicate::sge, token, count);
      Value isOutside = arith::OrIOp::create(rewriter, loc, isLow, isHigh);
      Value index =
          arith::SelectOp::create(rewriter, loc, isOutside, zero, token);
      return row::TableOp::create(
          rewriter, loc,
          RankedTensorType::get(type.getShape().drop_front(),
                                type.getElementType()),
          block->getArgument(1), index);
    };
    replaceByRows(rewriter, op, build);
  }

  /// The share of an expert as a row body.
  static void lowerShare(IRRewriter &rewriter, moe::ShareOp op) {
    Location loc = op.getLoc();
    replaceByRows(rewriter, op, [&](row::RowBuilder &rows, Block *block) {
      Value kept = rows.map(
          {block->getArgument(0), block->getArgument(1),
           rows.i32(op.getExpert()), rows.f32(0.0)},
          rewriter.getF32Type(), [&](OpBuilder &b, ValueRange v) -> Value {
            Value isWanted = arith::CmpIOp::create(
                b, loc, arith::CmpIPredicate::eq, v[0], v[2]);
            return arith::SelectOp::create(b, loc, isWanted, v[1], v[3]);
          });
      return rows.splat(rows.sum(kept), 1);
    });
  }

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
    SmallVector<moe::ShareOp> shares;
    getOperation().walk([&](moe::ShareOp op) { shares.push_back(op); });
    for (moe::ShareOp op : shares)
      lowerShare(rewriter, op);
    SmallVector<moe::TableRowsOp> lookups;
    getOperation().walk([&](moe::TableRowsOp op) { lookups.push_back(op); });
    for (moe::TableRowsOp op : lookups)
      lowerTableRows(rewriter, op);
    for (Operation *table : tables)
      if (SymbolTable::symbolKnownUseEmpty(table, getOperation()))
        symbols.erase(table);
  }
};
} // namespace
