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

#include "dialects/interfaces/RoutingAttrInterfaces.cpp.inc"
#include "dialects/interfaces/RoutingOpInterfaces.cpp.inc"
