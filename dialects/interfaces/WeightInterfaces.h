//===- WeightInterfaces.h - Formats and layouts -----------------*- C++ -*-===//
#ifndef MOEC_DIALECTS_INTERFACES_WEIGHTINTERFACES_H
#define MOEC_DIALECTS_INTERFACES_WEIGHTINTERFACES_H

#include "mlir/IR/Attributes.h"
#include "mlir/IR/Types.h"

#include "dialects/interfaces/WeightAttrInterfaces.h.inc"

#endif // MOEC_DIALECTS_INTERFACES_WEIGHTINTERFACES_H
