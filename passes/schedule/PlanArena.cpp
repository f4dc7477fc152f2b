//===- PlanArena.cpp - Place buffers in scratch ---------------------------===//
#include "dialects/moex/MoexDialect.h"
#include "passes/schedule/ArenaPlanner.h"
#include "passes/schedule/MemoryUse.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/AffineExpr.h"
#include "mlir/IR/AffineMap.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Pass/Pass.h"

namespace moec {
#define GEN_PASS_DEF_PLANARENA
#include "passes/schedule/Passes.h.inc"
} // namespace moec

using namespace mlir;
using namespace moec;

/// Rows as c0 + sum of ci * extent i. Row counts are products of extents with
/// constants, so values at the unit vectors give the coefficients; another
/// point tells whether the map is linear at all.
static FailureOr<LinearBytes> linearRows(AffineMap rows) {
  auto evaluate = [&](ArrayRef<int64_t> point) {
    SmallVector<Attribute> operands, results;
    for (int64_t value : point)
      operands.push_back(
          IntegerAttr::get(IndexType::get(rows.getContext()), value));
    if (failed(rows.constantFold(operands, results)))
      return int64_t(-1);
    return cast<IntegerAttr>(results[0]).getInt();
  };
  SmallVector<int64_t> point(moex::kNumExtents, 0);
  LinearBytes result;
  result.terms[0] = evaluate(point);
  int64_t expected = result.terms[0];
  for (unsigned i = 0; i < moex::kNumExtents; ++i) {
    point[i] = 1;
    result.terms[i + 1] = evaluate(point) - result.terms[0];
    point[i] = 0;
    expected += result.terms[i + 1] * int64_t(i + 2);
  }
  for (unsigned i = 0; i < moex::kNumExtents; ++i)
    point[i] = i + 2;
  bool negative = llvm::any_of(result.terms, [](int64_t t) { return t < 0; });
  if (negative || evaluate(point) != expected)
    return failure();
  return result;
}

static AffineMap toMap(const LinearBytes &bytes, MLIRContext *context) {
  AffineExpr sum = getAffineConstantExpr(bytes.terms[0], context);
  for (unsigned i = 0; i < moex::kNumExtents; ++i)
    sum = sum + getAffineDimExpr(i, context) * bytes.terms[i + 1];
  return AffineMap::get(moex::kNumExtents, 0, sum, context);
}

namespace {
struct PlanArena : public moec::impl::PlanArenaBase<PlanArena> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (function->hasAttr("moe.function") && !function.isExternal())
        if (failed(plan(function)))
          return signalPassFailure();
  }

  LogicalResult plan(func::FuncOp function) {
    SmallVector<moex::AllocOp> allocs;
    function.walk([&](moex::AllocOp alloc) { allocs.push_back(alloc); });
    llvm::DenseMap<Value, size_t> indexOf;
    std::vector<ArenaBuffer> arena(allocs.size());
    for (auto [index, alloc] : llvm::enumerate(allocs)) {
      FailureOr<LinearBytes> bytes = bytesOf(alloc);
      if (failed(bytes))
        return alloc.emitOpError("expected a row count that is linear in the "
                                 "extents, found ")
               << alloc.getRowsAttr();
      arena[index].bytes = *bytes;
      arena[index].first = INT64_MAX;
      arena[index].last = -1;
      indexOf[alloc.getResult()] = index;
    }
    int64_t epoch = 0;
    function.walk([&](Operation *op) {
      if (isa<moex::BarrierOp>(op)) {
        ++epoch;
        return;
      }
      if (isMemoryOp(op))
        return;
      for (Value operand : op->getOperands()) {
        auto it = indexOf.find(getRoot(operand));
        if (it == indexOf.end())
          continue;
        ArenaBuffer &buffer = arena[it->second];
        buffer.first = std::min(buffer.first, epoch);
        buffer.last = std::max(buffer.last, epoch);
      }
    });
    // A decode step and a long prefill rank buffers alike; 64 tokens will do.
    std::array<int64_t, LinearBytes::kTerms> reference;
    reference.fill(1);
    reference[1] = 64;
    ArenaPlanner planner;
    planner.plan(arena, reference);
    replace(allocs, planner);
    function->setAttr("moex.scratch", AffineMapAttr::get(toMap(
                                          planner.getTotal(), &getContext())));
    return success();
  }

  /// Bytes of a buffer, every term a multiple of 64: offsets are sums of sizes
  /// and stay aligned for all extents.
  static FailureOr<LinearBytes> bytesOf(moex::AllocOp alloc) {
    auto type = cast<MemRefType>(alloc.getResult().getType());
    FailureOr<LinearBytes> rows = linearRows(alloc.getRows());
    if (failed(rows))
      return failure();
    int64_t rowBytes = (type.getElementTypeBitWidth() + 7) / 8;
    for (int64_t size : type.getShape().drop_front())
      rowBytes *= size;
    for (int64_t &term : rows->terms)
      term = (term * rowBytes + 63) / 64 * 64;
    return rows;
  }

  void replace(MutableArrayRef<moex::AllocOp> allocs, const ArenaPlanner &planner) {
    IRRewriter rewriter(&getContext());
    for (auto [index, alloc] : llvm::enumerate(allocs)) {
      if (alloc->use_empty()) {
        rewriter.eraseOp(alloc);
        continue;
      }
      rewriter.setInsertionPoint(alloc);
      rewriter.replaceOpWithNewOp<moex::ArenaSliceOp>(
          alloc, alloc.getResult().getType(),
          AffineMapAttr::get(toMap(planner.getOffset(index), &getContext())),
          alloc.getRowsAttr());
      ++buffers;
    }
  }
};
} // namespace
