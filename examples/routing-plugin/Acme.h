//===- Acme.h - The acme dialect --------------------------------*- C++ -*-===//
#ifndef ACME_H
#define ACME_H

#include "dialects/interfaces/ReferenceOpInterface.h"
#include "dialects/interfaces/RoutingInterfaces.h"

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "AcmeDialect.h.inc"

#define GET_ATTRDEF_CLASSES
#include "AcmeAttrs.h.inc"

#define GET_OP_CLASSES
#include "AcmeOps.h.inc"

#endif // ACME_H
