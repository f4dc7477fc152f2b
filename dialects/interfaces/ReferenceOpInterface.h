//===- ReferenceOpInterface.h - Reference semantics -------------*- C++ -*-===//
#ifndef MOEC_DIALECTS_INTERFACES_REFERENCEOPINTERFACE_H
#define MOEC_DIALECTS_INTERFACES_REFERENCEOPINTERFACE_H

#include "dialects/interfaces/HostTensor.h"

#include "mlir/IR/OpDefinition.h"

#include "dialects/interfaces/ReferenceOpInterface.h.inc"

#endif // MOEC_DIALECTS_INTERFACES_REFERENCEOPINTERFACE_H
