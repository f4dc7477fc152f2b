//===- RoutingInterfaces.cpp - What a router promises ---------------------===//
#include "dialects/interfaces/RoutingInterfaces.h"

using namespace moec;

std::vector<std::string> RoutingGuarantees::names() const {
  std::vector<std::string> result;
  if (distinct)
    result.push_back("distinct");
  if (normalized)
    result.push_back("normalized");
  if (tokenLocal)
    result.push_back("token_local");
  if (dropFree)
    result.push_back("drop_free");
  return result;
}

llvm::StringRef moec::stringifyStageKind(StageKind kind) {
  switch (kind) {
  case StageKind::Score:
    return "score";
  case StageKind::Rank:
    return "rank";
  case StageKind::Groups:
    return "groups";
  case StageKind::Select:
    return "select";
  case StageKind::Weigh:
    return "weigh";
  case StageKind::Renorm:
    return "renorm";
  case StageKind::Scale:
    return "scale";
  case StageKind::Skip:
    return "skip";
  }
  llvm_unreachable("all stage kinds are handled");
}

static constexpr llvm::StringLiteral fieldWords[] = {"ids", "weights", "bias",
                                                     "mask", "count"};

llvm::StringRef moec::stringifyRoutingField(RoutingField field) {
  return fieldWords[static_cast<size_t>(field)];
}

std::optional<RoutingField> moec::symbolizeRoutingField(llvm::StringRef word) {
  const auto *found = llvm::find(fieldWords, word);
  if (found == std::end(fieldWords))
    return std::nullopt;
  return static_cast<RoutingField>(found - std::begin(fieldWords));
}

bool moec::isPerToken(RoutingField field) {
  return field == RoutingField::Ids || field == RoutingField::Weights;
}

bool moec::isTypeOf(RoutingField field, mlir::ShapedType type) {
  bool isFloat = field == RoutingField::Weights || field == RoutingField::Bias;
  if (!type.hasRank() || !(isFloat ? type.getElementType().isF32()
                                   : type.getElementType().isInteger(32)))
    return false;
  if (isPerToken(field))
    return type.getRank() == 2 && type.isDynamicDim(0) && !type.isDynamicDim(1);
  return type.getRank() == 1 && type.hasStaticShape() &&
         (field != RoutingField::Count || type.getDimSize(0) == 1);
}

#include "dialects/interfaces/RoutingAttrInterfaces.cpp.inc"
#include "dialects/interfaces/RoutingOpInterfaces.cpp.inc"
