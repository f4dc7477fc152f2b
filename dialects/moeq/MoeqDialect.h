//===- MoeqDialect.h - Formats and layouts of weights -----------*- C++ -*-===//
#ifndef MOEC_DIALECTS_MOEQ_MOEQDIALECT_H
#define MOEC_DIALECTS_MOEQ_MOEQDIALECT_H

#include "dialects/interfaces/WeightInterfaces.h"

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/DialectImplementation.h"

#include "dialects/moeq/MoeqDialect.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/moeq/MoeqAttrs.h.inc"

#endif // MOEC_DIALECTS_MOEQ_MOEQDIALECT_H
