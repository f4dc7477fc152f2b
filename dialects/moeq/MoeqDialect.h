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

namespace moec::moeq {

/// The units of `#moeq.group_blocks` for a format.
struct GroupUnit {
  int64_t groups = 0;  ///< groups of columns
  int64_t columns = 0; ///< of all its groups
  int64_t bytes = 0;   ///< of its 16 rows, the line of scales included
};
GroupUnit getGroupUnit(QuantFormatAttrInterface format);

} // namespace moec::moeq

#endif // MOEC_DIALECTS_MOEQ_MOEQDIALECT_H
