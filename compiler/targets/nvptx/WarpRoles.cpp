//===- WarpRoles.cpp - Warps that copy, warps that multiply ---------------===//
#include "compiler/targets/nvptx/WarpRoles.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;

void nvptx::initBarrier(CodeBuilder &b, Value barrier, int64_t arrivals) {
  intrinsic(b, "mbarrier.init.shared", {},
            {asShared(b, barrier), b.i32(arrivals)});
}

void nvptx::fenceBarriers(CodeBuilder &b) {
  intrinsic(b, "fence.mbarrier_init.release.cluster", {});
}

void nvptx::arriveAt(CodeBuilder &b, Value barrier) {
  intrinsic(b, "mbarrier.arrive.shared", b.getI64Type(), asShared(b, barrier));
}

void nvptx::expectBytes(CodeBuilder &b, Value barrier, Value bytes) {
  intrinsic(b, "mbarrier.expect.tx.scope.cta.space.cta", {},
            {asShared(b, barrier), bytes});
}

void nvptx::waitPhase(CodeBuilder &b, Value barrier, Value parity) {
  Value address = asShared(b, barrier);
  auto loop = b.create<scf::WhileOp>(TypeRange(), ValueRange());
  OpBuilder::InsertionGuard guard(b);
  b.createBlock(&loop.getBefore());
  Value isDone = intrinsic(b, "mbarrier.try.wait.parity.scope.cta.space.cta",
                           b.getI1Type(), {address, parity});
  Value goesOn = b.create<arith::XOrIOp>(isDone, b.constant(b.getI1Type(), 1));
  b.create<scf::ConditionOp>(goesOn, ValueRange());
  b.createBlock(&loop.getAfter());
  b.create<scf::YieldOp>();
}

void nvptx::copyBulk(CodeBuilder &b, Value shared, Value global, int64_t bytes,
                     Value barrier) {
  // The form of PTX 8.0, of clusters: a block is one of its own.
  auto cluster = LLVM::LLVMPointerType::get(b.getContext(), /*space=*/7);
  Value to = b.create<LLVM::AddrSpaceCastOp>(cluster, asShared(b, shared));
  Value no = b.constant(b.getI1Type(), 0);
  intrinsic(b, "cp.async.bulk.global.to.shared.cluster", {},
            {to, asShared(b, barrier), asGlobal(b, global), b.i32(bytes),
             b.constant(b.getI16Type(), 0), b.i64(0), no, no});
}

void nvptx::giveRegisters(CodeBuilder &b, int64_t left) {
  intrinsic(b, "setmaxnreg.dec.sync.aligned.u32", {}, b.i32(left));
}

void nvptx::takeRegisters(CodeBuilder &b, int64_t wanted) {
  intrinsic(b, "setmaxnreg.inc.sync.aligned.u32", {}, b.i32(wanted));
}

Value nvptx::uniformWarpId(CodeBuilder &b) {
  Value warp = b.create<arith::TruncIOp>(b.getI32Type(), warpId(b));
  return b.widen(shuffleFrom(b, warp, b.i32(0)));
}
