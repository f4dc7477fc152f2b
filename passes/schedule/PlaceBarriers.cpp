//===- PlaceBarriers.cpp - A team, and barriers where needed --------------===//
#include "dialects/moex/MoexDialect.h"
#include "passes/schedule/MemoryUse.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/AffineMap.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace moec {
#define GEN_PASS_DEF_PLACEBARRIERS
#include "passes/schedule/Passes.h.inc"
} // namespace moec

using namespace mlir;
using namespace moec;

namespace {
/// Accesses since the last barrier.
class PendingAccesses {
public:
  bool conflictsWith(const MemoryUse &use) const {
    for (Value buffer : use.reads)
      if (conflicts(writes, buffer, use))
        return true;
    for (Value buffer : use.writes)
      if (conflicts(writes, buffer, use) || conflicts(reads, buffer, use))
        return true;
    auto touches = [](const llvm::DenseSet<StringAttr> &set, auto &symbols) {
      return llvm::any_of(symbols, [&](StringAttr s) { return set.contains(s); });
    };
    return touches(stateWrites, use.stateReads) ||
           touches(stateWrites, use.stateWrites) ||
           touches(stateReads, use.stateWrites);
  }

  void add(const MemoryUse &use) {
    for (Value buffer : use.reads)
      record(reads, buffer, use);
    for (Value buffer : use.writes)
      record(writes, buffer, use);
    stateReads.insert(use.stateReads.begin(), use.stateReads.end());
    stateWrites.insert(use.stateWrites.begin(), use.stateWrites.end());
  }

  void clear() { *this = PendingAccesses(); }

private:
  /// The row counts by which a buffer was accessed row by row; a null map for
  /// an access of any other kind.
  using Accesses = llvm::DenseMap<Value, llvm::SmallVector<AffineMap, 2>>;

  static AffineMap kindOf(Value buffer, const MemoryUse &use) {
    return llvm::is_contained(use.ownRows, buffer) ? use.rows : AffineMap();
  }
  static void record(Accesses &accesses, Value buffer, const MemoryUse &use) {
    accesses[buffer].push_back(kindOf(buffer, use));
  }
  static bool conflicts(const Accesses &accesses, Value buffer,
                        const MemoryUse &use) {
    auto it = accesses.find(buffer);
    if (it == accesses.end())
      return false;
    AffineMap mine = kindOf(buffer, use);
    // Same rows, same rule: the same participant owns each row.
    return llvm::any_of(it->second, [&](AffineMap other) {
      return !mine || !other || mine != other;
    });
  }

  Accesses reads, writes;
  llvm::DenseSet<StringAttr> stateReads, stateWrites;
};

struct PlaceBarriers : public moec::impl::PlaceBarriersBase<PlaceBarriers> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (function->hasAttr("moe.function") && !function.isExternal())
        schedule(function);
  }

  void schedule(func::FuncOp function) {
    Block &body = function.getBody().front();
    OpBuilder b(&body, body.begin());
    auto parallel = moex::ParallelOp::create(b, function.getLoc());
    Block *region = b.createBlock(&parallel.getBody());
    SmallVector<Operation *> memory, kernels;
    for (Operation &op : body)
      if (&op != parallel && !op.hasTrait<OpTrait::IsTerminator>())
        (isMemoryOp(&op) ? memory : kernels).push_back(&op);
    for (Operation *op : memory)
      op->moveBefore(region, region->end());
    PendingAccesses pending;
    for (Operation *op : kernels) {
      MemoryUse use = getMemoryUse(op);
      if (pending.conflictsWith(use)) {
        b.setInsertionPointToEnd(region);
        moex::BarrierOp::create(b, op->getLoc());
        pending.clear();
        ++barriers;
      }
      op->moveBefore(region, region->end());
      pending.add(use);
    }
  }
};
} // namespace
