//===- NnDialect.h - The rest of a decoder ----------------------*- C++ -*-===//
#ifndef MOEC_DIALECTS_NN_NNDIALECT_H
#define MOEC_DIALECTS_NN_NNDIALECT_H

#include "dialects/interfaces/Activation.h"
#include "dialects/interfaces/QuantizableOpInterface.h"
#include "dialects/interfaces/ReferenceOpInterface.h"

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/nn/NnDialect.h.inc"
#include "dialects/nn/NnEnums.h.inc"

#define GET_OP_CLASSES
#include "dialects/nn/NnOps.h.inc"

#endif // MOEC_DIALECTS_NN_NNDIALECT_H
