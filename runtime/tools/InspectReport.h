//===- InspectReport.h - What moe-inspect prints --------------------------===//
#ifndef MOEC_RUNTIME_TOOLS_INSPECTREPORT_H
#define MOEC_RUNTIME_TOOLS_INSPECTREPORT_H

#include "moe/runtime.h"
#include "runtime/abi/manifest_generated.h"

#include <string>
#include <vector>

namespace moe::tools {

/// An artifact as read from disk; nothing of it has been executed.
struct InspectedArtifact {
  std::string path;
  uint64_t bytes = 0;
  std::vector<std::string> symbols;
  std::vector<std::string> layouts; // by entry
  manifest::ManifestT manifest;
};

/// For people: a page, weights summed by class.
std::string describeForPeople(const InspectedArtifact &artifact);

/// For programs: the whole manifest, every weight, as one JSON object.
std::string describeAsJson(const InspectedArtifact &artifact);

} // namespace moe::tools

#endif // MOEC_RUNTIME_TOOLS_INSPECTREPORT_H
