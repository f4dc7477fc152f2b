//===- RowDialect.h - Operations inside one row -----------------*- C++ -*-===//
#ifndef MOEC_DIALECTS_ROW_ROWDIALECT_H
#define MOEC_DIALECTS_ROW_ROWDIALECT_H

#include "dialects/interfaces/ReferenceOpInterface.h"

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/row/RowDialect.h.inc"
#include "dialects/row/RowEnums.h.inc"

#define GET_OP_CLASSES
#include "dialects/row/RowOps.h.inc"

#endif // MOEC_DIALECTS_ROW_ROWDIALECT_H
