//===- ExpertOpInterface.h - What a set of experts offers -------*- C++ -*-===//
#ifndef MOEC_DIALECTS_INTERFACES_EXPERTOPINTERFACE_H
#define MOEC_DIALECTS_INTERFACES_EXPERTOPINTERFACE_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/SymbolTable.h"

namespace moec {

/// The values of a dispatch plan (contract 4.5): `rows` tensor<?xi32> maps a
/// row of the sorted pairs to its token, `offsets` tensor<E+1xi32> delimits the
/// experts, `slotRows` tensor<?xKxi32> maps (token, slot) to its row or -1.
struct DispatchPlan {
  mlir::Value rows;
  mlir::Value offsets;
  mlir::Value slotRows;
};

} // namespace moec

#include "dialects/interfaces/ExpertOpInterface.h.inc"

#endif // MOEC_DIALECTS_INTERFACES_EXPERTOPINTERFACE_H
