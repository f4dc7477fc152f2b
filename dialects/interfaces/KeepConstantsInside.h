//===- KeepConstantsInside.h - Constants stay in op bodies ------*- C++ -*-===//
#ifndef MOEC_DIALECTS_INTERFACES_KEEPCONSTANTSINSIDE_H
#define MOEC_DIALECTS_INTERFACES_KEEPCONSTANTSINSIDE_H

#include "mlir/Interfaces/FoldInterfaces.h"

namespace moec {

/// Folding puts constants into the regions of the dialect's operations instead
/// of hoisting them into the function: a scalar body must stay self-contained,
/// since it is cloned into kernels.
struct KeepConstantsInside : public mlir::DialectFoldInterface {
  using DialectFoldInterface::DialectFoldInterface;
  bool shouldMaterializeInto(mlir::Region *) const override { return true; }
};

} // namespace moec

#endif // MOEC_DIALECTS_INTERFACES_KEEPCONSTANTSINSIDE_H
