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

  /// Code for devices; known of an artifact that has been loaded.
  struct Level {
    std::string name;
    std::string runsOn; // "9.0 only", "8.0 and above"
    uint64_t constantBytes;
    struct Image {
      std::string kind;
      uint64_t bytes;
    };
    std::vector<Image> images;
    struct Kernel {
      std::string name;
      uint32_t threads;
      uint32_t sharedBytes;
    };
    std::vector<Kernel> kernels;
  };
  std::vector<Level> levels;
};

/// For people: a page, weights summed by class.
std::string describeForPeople(const InspectedArtifact &artifact);

/// For programs: the whole manifest, every weight, as one JSON object.
std::string describeAsJson(const InspectedArtifact &artifact);

} // namespace moe::tools

#endif // MOEC_RUNTIME_TOOLS_INSPECTREPORT_H
