//===- MoeDialect.h - Mixture-of-Experts models -----------------*- C++ -*-===//
#ifndef MOEC_DIALECTS_MOE_MOEDIALECT_H
#define MOEC_DIALECTS_MOE_MOEDIALECT_H

#include "dialects/interfaces/Activation.h"
#include "dialects/interfaces/ExpertOpInterface.h"
#include "dialects/interfaces/QuantizableOpInterface.h"
#include "dialects/interfaces/ReferenceOpInterface.h"
#include "dialects/interfaces/RoutingInterfaces.h"
#include "dialects/interfaces/WeightInterfaces.h"

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/moe/MoeDialect.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/moe/MoeAttrs.h.inc"

#define GET_OP_CLASSES
#include "dialects/moe/MoeOps.h.inc"

#define GET_OP_CLASSES
#include "dialects/moe/MoeRoutingOps.h.inc"

#endif // MOEC_DIALECTS_MOE_MOEDIALECT_H
