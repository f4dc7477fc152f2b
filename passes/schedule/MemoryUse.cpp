//===- MemoryUse.cpp - What kernel operations read and write --------------===//
#include "passes/schedule/MemoryUse.h"

#include "dialects/moex/MoexDialect.h"

#include "mlir/IR/AffineMap.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moec;

Value moec::getRoot(Value buffer) {
  while (auto view = buffer.getDefiningOp<moex::ViewOp>())
    buffer = view.getSource();
  return buffer;
}

bool moec::isMemoryOp(Operation *op) {
  return isa<moex::InputOp, moex::OutputOp, moex::WeightOp,
             moex::ExpertWeightsOp, moex::AllocOp, moex::ArenaSliceOp,
             moex::ViewOp>(op);
}

static StringAttr stateOf(FlatSymbolRefAttr symbol) { return symbol.getAttr(); }

static void addWrites(MemoryUse &use, ValueRange written, Operation *op) {
  for (Value value : written)
    use.writes.push_back(getRoot(value));
  for (Value operand : op->getOperands())
    if (!llvm::is_contained(written, operand))
      use.reads.push_back(getRoot(operand));
}

MemoryUse moec::getMemoryUse(Operation *op) {
  MemoryUse use;
  llvm::TypeSwitch<Operation *>(op)
      .Case<moex::RowwiseOp>([&](auto rowwise) {
        addWrites(use, rowwise.getOuts(), op);
        use.rows = rowwise.getRows();
        for (auto [in, period] :
             llvm::zip(rowwise.getIns(), rowwise.getPeriod()))
          if (period == 0 && cast<MemRefType>(in.getType()).isDynamicDim(0))
            use.ownRows.push_back(getRoot(in));
        for (Value out : rowwise.getOuts())
          use.ownRows.push_back(getRoot(out));
      })
      .Case<moex::GroupedGemmOp, moex::CombineRowsOp, moex::AttentionOp,
            moex::SequenceLengthsOp>(
          [&](auto kernel) { addWrites(use, kernel.getOut(), op); })
      .Case<moex::LookupOp>([&](auto lookup) {
        addWrites(use, lookup.getOut(), op);
        // A predicated lookup leaves other rows as they are: two of them may
        // fill one buffer, each participant its own rows.
        use.rows = lookup.getRows();
        use.ownRows.push_back(getRoot(lookup.getOut()));
        if (!lookup.getIndices())
          use.ownRows.push_back(getRoot(lookup.getTable()));
      })
      .Case<moex::RouteSortOp>([&](auto sort) {
        addWrites(use,
                  {sort.getIds(), sort.getWeights(), sort.getRows(),
                   sort.getOffsets(), sort.getSlotRows()},
                  op);
      })
      .Case<moex::PlanOp>([&](auto plan) {
        addWrites(use, {plan.getRows(), plan.getOffsets(), plan.getSlotRows()},
                  op);
      })
      .Case<moex::LimitSlotsOp>([&](auto limit) {
        addWrites(use, {limit.getLimitedIds(), limit.getLimitedWeights()}, op);
      })
      .Case<moex::ExportRoutingOp>([&](auto) {
        // What it writes is the caller's and read by nobody here.
        addWrites(use, {}, op);
        use.rows = AffineMap::get(moex::kNumExtents, 0,
                                  getAffineDimExpr(0, op->getContext()));
        use.ownRows = use.reads;
      })
      .Case<moex::RoutingOperandOp>([&](auto operand) {
        addWrites(use, operand.getOut(), op);
        if (!cast<MemRefType>(operand.getOut().getType()).isDynamicDim(0))
          return; // one participant's
        use.rows = AffineMap::get(moex::kNumExtents, 0,
                                  getAffineDimExpr(0, op->getContext()));
        use.ownRows = use.writes;
      })
      .Case<moex::StateAppendOp>([&](auto append) {
        addWrites(use, {}, op);
        use.stateWrites.push_back(stateOf(append.getStateAttr()));
      });
  if (auto attention = dyn_cast<moex::AttentionOp>(op))
    if (attention.getKeyState()) {
      use.stateReads.push_back(stateOf(attention.getKeyStateAttr()));
      use.stateReads.push_back(stateOf(attention.getValueStateAttr()));
    }
  return use;
}
