//===- QuantizableOpInterface.h - Ops with quantisable weights --*- C++ -*-===//
#ifndef MOEC_DIALECTS_INTERFACES_QUANTIZABLEOPINTERFACE_H
#define MOEC_DIALECTS_INTERFACES_QUANTIZABLEOPINTERFACE_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/OpDefinition.h"

#include "dialects/interfaces/QuantizableOpInterface.h.inc"

#endif // MOEC_DIALECTS_INTERFACES_QUANTIZABLEOPINTERFACE_H
