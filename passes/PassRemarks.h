//===- PassRemarks.h - What a pass did, for those who ask -------*- C++ -*-===//
//
//   remarkPassed(*this, op->getLoc(), "joined")
//       << mlir::remark::add("{0} routers and their plan", count);
//
// `moec -Rpass=fuse-routing` shows it at the place in the source. Costs next to
// nothing where nobody asks. What users should know without asking is a remark
// or a warning of the operation (op.emitRemark).
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_PASSES_PASSREMARKS_H
#define MOEC_PASSES_PASSREMARKS_H

#include "mlir/IR/Remarks.h"
#include "mlir/Pass/Pass.h"

namespace moec {

/// The pass changed something here. `what` is one word for programs.
inline mlir::remark::detail::InFlightRemark
remarkPassed(mlir::Pass &pass, mlir::Location loc, llvm::StringRef what) {
  return mlir::remark::passed(
      loc, mlir::remark::RemarkOpts::name(what).category(pass.getArgument()));
}

/// The pass could have changed something here, but for the reason given.
inline mlir::remark::detail::InFlightRemark
remarkMissed(mlir::Pass &pass, mlir::Location loc, llvm::StringRef what) {
  return mlir::remark::missed(
      loc, mlir::remark::RemarkOpts::name(what).category(pass.getArgument()));
}

} // namespace moec

#endif // MOEC_PASSES_PASSREMARKS_H
