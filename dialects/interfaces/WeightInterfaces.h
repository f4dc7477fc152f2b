//===- WeightInterfaces.h - Formats and layouts -----------------*- C++ -*-===//
#ifndef MOEC_DIALECTS_INTERFACES_WEIGHTINTERFACES_H
#define MOEC_DIALECTS_INTERFACES_WEIGHTINTERFACES_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"

#include "dialects/interfaces/WeightAttrInterfaces.h.inc"

#endif // MOEC_DIALECTS_INTERFACES_WEIGHTINTERFACES_H
