//===- IRGenRouting.h - What routers and their stages share -----*- C++ -*-===//
#ifndef MOEC_FRONTEND_IRGENROUTING_H
#define MOEC_FRONTEND_IRGENROUTING_H

#include "frontend/IRGenExpander.h"

namespace moec::irgen {

/// The value of one stage argument: the stage, its static arguments, and the
/// operand it reads, if any.
struct Expander::StageChoice {
  const Stage *stage = nullptr;
  llvm::SmallVector<NamedStatic, 2> statics;
  const ast::Expr *operand = nullptr;
  /// For a stage that looks ids up: the table that `operand` indexes.
  const ast::Expr *table = nullptr;
  SourceRange range;
};

/// The stages of a route() in the order in which they act.
struct Expander::StageList {
  llvm::SmallVector<StageChoice, 6> choices;
  llvm::SmallVector<RoutingStageAttrInterface, 6> attributes;
};

/// The kinds of stages in the order in which they act.
inline constexpr StageKind stageOrder[] = {
    StageKind::Score, StageKind::Rank,   StageKind::Groups, StageKind::Select,
    StageKind::Weigh, StageKind::Renorm, StageKind::Scale,  StageKind::Skip};

/// Stages that need not be written.
inline bool isOptional(StageKind kind) {
  return kind == StageKind::Groups || kind == StageKind::Skip;
}

/// Stages that do not see the experts that are always selected.
inline bool seesSelectableOnly(StageKind kind) {
  return kind == StageKind::Rank || kind == StageKind::Groups ||
         kind == StageKind::Select;
}

} // namespace moec::irgen

#endif // MOEC_FRONTEND_IRGENROUTING_H
