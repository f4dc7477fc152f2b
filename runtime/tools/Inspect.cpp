//===- Inspect.cpp - moe-inspect: what an artifact says about itself ------===//

#include "moe/runtime.hpp"
#include "runtime/tools/CommandLine.h"
#include "runtime/tools/InspectReport.h"

#include "absl/strings/str_cat.h"

#include <cstdio>

using namespace moe;
using namespace moe::tools;

namespace {

struct InspectOptions {
  bool json = false;
  bool verify = false;
};

CommandLine commandLine(InspectOptions &options) {
  const auto set = [](bool &flag) {
    return [&flag](const std::string &) {
      flag = true;
      return absl::OkStatus();
    };
  };
  return {"moe-inspect",
          "MODEL.so",
          "Lists what a compiled model says about itself. Without --verify "
          "nothing of it is\nexecuted.",
          {{"json", "", "print the whole manifest as JSON", set(options.json)},
           {"verify", "",
            "load the model and compare its weights with their checksums",
            set(options.verify)}}};
}

InspectedArtifact read(const std::string &path) {
  moe_artifact *opened = nullptr;
  check(moe_artifact_open(path.c_str(), &opened));
  const detail::Owner<moe_artifact, moe_artifact_close> owner(opened);
  InspectedArtifact artifact;
  artifact.path = path;
  artifact.bytes = moe_artifact_bytes(opened);
  for (uint64_t i = 0; const char *name = moe_artifact_symbol(opened, i); ++i)
    artifact.symbols.push_back(name);
  for (uint32_t i = 0;
       const char *layout = moe_artifact_entry_layout(opened, i); ++i)
    artifact.layouts.push_back(layout);
  manifest::GetManifest(moe_artifact_manifest(opened, nullptr))
      ->UnPackTo(&artifact.manifest);
  return artifact;
}

/// Loading checks what the file alone cannot say; throws when it fails.
std::string verify(const InspectedArtifact &artifact) {
  const Model model = Model::load(Engine(1), artifact.path, true);
  return absl::StrCat("verified: ", artifact.manifest.weights.size(),
                      " weights, ", model.info().weight_bytes, " bytes\n");
}

} // namespace

int main(int argc, char **argv) {
  const std::string tool = "moe-inspect";
  try {
    InspectOptions options;
    bool done = false;
    const auto operands = commandLine(options).parse(argc, argv, done);
    if (!operands.ok())
      return reportUsage(tool, std::string(operands.status().message()));
    if (!done && operands->size() != 1)
      return reportUsage(tool, absl::StrCat("expected one artifact, found ",
                                            operands->size()));
    if (!done) {
      const InspectedArtifact artifact = read(operands->front());
      const std::string verified = options.verify ? verify(artifact) : "";
      const std::string text =
          options.json ? describeAsJson(artifact) : describeForPeople(artifact);
      std::fwrite(text.data(), 1, text.size(), stdout);
      // Beside JSON it would spoil the document.
      std::fputs(verified.c_str(), options.json ? stderr : stdout);
    }
    return finishOutput(tool);
  } catch (const std::exception &error) {
    return report(tool, error.what());
  }
}
