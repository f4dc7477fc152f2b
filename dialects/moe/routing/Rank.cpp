//===- Rank.cpp - Stages that say what selection looks at -----------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowBuilder.h"

using namespace mlir;
using namespace moec;
using namespace moec::moe;

StringRef ByScoreStageAttr::getSpelling() { return "score"; }
StageKind ByScoreStageAttr::getStageKind() { return StageKind::Rank; }
Signature ByScoreStageAttr::getSignature() { return {}; }
Attribute ByScoreStageAttr::build(MLIRContext *context, ArrayRef<NamedStatic>,
                                  function_ref<InFlightDiagnostic()>) {
  return get(context);
}
void ByScoreStageAttr::lowerToken(OpBuilder &, Location,
                                  StageState &state) const {
  state.rank = state.scores;
}
void ByScoreStageAttr::evaluate(StageValues &state) const {
  state.rank = state.scores;
}

StringRef BiasedScoreStageAttr::getSpelling() { return "score + bias"; }
StageKind BiasedScoreStageAttr::getStageKind() { return StageKind::Rank; }
Signature BiasedScoreStageAttr::getSignature() {
  return {{{"bias", ArgumentKind::Weight, true, true, {},
            "added to the score for selection only"}}};
}
Attribute BiasedScoreStageAttr::build(MLIRContext *context,
                                      ArrayRef<NamedStatic>,
                                      function_ref<InFlightDiagnostic()>) {
  return get(context);
}
StringRef BiasedScoreStageAttr::getOperandName() const { return "bias"; }
void BiasedScoreStageAttr::lowerToken(OpBuilder &b, Location loc,
                                      StageState &state) const {
  state.rank = row::RowBuilder(b, loc).add(state.scores, state.operand);
}
void BiasedScoreStageAttr::evaluate(StageValues &state) const {
  state.rank = state.scores;
  for (size_t e = 0; e < state.rank.size(); ++e)
    state.rank[e] += state.operand[e];
}

StringRef ByValueStageAttr::getSpelling() { return "a value"; }
StageKind ByValueStageAttr::getStageKind() { return StageKind::Rank; }
Signature ByValueStageAttr::getSignature() {
  return {{{"value",
            ArgumentKind::Value,
            true,
            true,
            {},
            "what selection looks at"}}};
}
Attribute ByValueStageAttr::build(MLIRContext *context, ArrayRef<NamedStatic>,
                                  function_ref<InFlightDiagnostic()>) {
  return get(context);
}
StringRef ByValueStageAttr::getOperandName() const { return "value"; }
void ByValueStageAttr::lowerToken(OpBuilder &, Location,
                                  StageState &state) const {
  state.rank = state.operand;
}
void ByValueStageAttr::evaluate(StageValues &state) const {
  state.rank = state.operand.vec();
}
