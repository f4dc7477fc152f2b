//===- IRGenOps.h - What operations share -----------------------*- C++ -*-===//
#ifndef MOEC_FRONTEND_IRGENOPS_H
#define MOEC_FRONTEND_IRGENOPS_H

#include "frontend/IRGenExpander.h"

namespace moec::irgen {

/// A linear map to be built.
struct Expander::LinearUse {
  const BoundCall &call;
  llvm::StringRef argument; ///< "q"
  llvm::StringRef formula;
  const WeightMap &map;
  mlir::Value input;
  DimSource to;
  Precision precision;
  SourceRange range;
};

/// A norm to be built over groups of `group` elements.
struct Expander::NormUse {
  const BoundCall &call;
  bool isLayer;
  const WeightMap &map;
  mlir::Value input;
  double eps;
  int64_t group;
  llvm::StringRef role;
  mlir::Type element;
};

/// The arguments of glu (with a gate) or mlp (without).
struct Expander::FeedForward {
  HiddenFunction function;
  DimSource width, hidden, to;
  Precision precision;
  WeightMap gate, up, down;
};

} // namespace moec::irgen

#endif // MOEC_FRONTEND_IRGENOPS_H
