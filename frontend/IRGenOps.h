//===- IRGenOps.h - What operations share -----------------------*- C++ -*-===//
#ifndef MOEC_FRONTEND_IRGENOPS_H
#define MOEC_FRONTEND_IRGENOPS_H

#include "dialects/nn/NnDialect.h"
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
  const std::optional<WeightMap> &map; ///< nothing: no weight
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

/// A weight of an expert: the argument that names it, its sizes, and what these
/// are called.
struct Expander::RoleUse {
  const BoundCall &call;
  llvm::StringRef argument, toName, fromName;
  DimSource to, from;
};

/// Rotary positions of the first elements of a head.
struct Expander::Rope {
  nn::RopeStyle style;
  RotaryParameters parameters;
  SourceRange range;
};

/// Which positions a token sees; nothing set: all up to its own.
struct Expander::Mask {
  std::optional<int64_t> window, chunk;
  bool isFull = false;
};

/// Sizes, precision and streams of one attention.
struct Expander::AttentionParts {
  int64_t heads, kvHeads, headDim, valueDim;
  Precision precision;
  Mask mask;
  std::optional<Rope> rope;
  double scale;
  std::optional<double> softcap;
  /// Queries times ln(floor((position + 1) / floor) + 1) * scale + 1.
  struct Temperature {
    double floor, scale;
  };
  std::optional<Temperature> temperature;
  /// Experts inside: the maps of each slot's expert make `slotHeads` heads, and
  /// `heads` are those of all slots.
  std::optional<RoutingValue> routing;
  int64_t slots = 1, slotHeads = 0;
  mlir::Value query, key, value;
};

} // namespace moec::irgen

#endif // MOEC_FRONTEND_IRGENOPS_H
