//===- MoexDialect.h - Scheduling made visible ------------------*- C++ -*-===//
#ifndef MOEC_DIALECTS_MOEX_MOEXDIALECT_H
#define MOEC_DIALECTS_MOEX_MOEXDIALECT_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/moex/MoexDialect.h.inc"
#include "dialects/moex/MoexEnums.h.inc"

namespace moec::moex {
/// Number of extents that maps of row counts range over: T, B, R, M0 .. M7.
constexpr unsigned kNumExtents = 11;
} // namespace moec::moex

#define GET_OP_CLASSES
#include "dialects/moex/MoexOps.h.inc"

#endif // MOEC_DIALECTS_MOEX_MOEXDIALECT_H
