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
  bool levels = false;
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
          "and --levels\nnothing of it is executed.",
          {{"json", "", "print the whole manifest as JSON", set(options.json)},
           {"verify", "",
            "load the model and compare its weights with their checksums",
            set(options.verify)},
           {"levels", "",
            "load the model and list its code for devices: levels, images, "
            "kernels",
            set(options.levels)}}};
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

std::string nameOf(moe_image kind) {
  switch (kind) {
  case MOE_PTX:
    return "ptx";
  case MOE_CUBIN:
    return "cubin";
  case MOE_LLVM_IR:
    return "llvm_ir";
  default:
    return absl::StrCat("kind ", kind);
  }
}

InspectedArtifact::Level describe(const moe_level_info &info) {
  InspectedArtifact::Level level;
  level.name = info.name;
  level.runsOn = absl::StrCat(info.capability_major, ".", info.capability_minor,
                              info.exact ? " only" : " and above");
  level.constantBytes = info.constant_bytes;
  for (uint32_t i = 0; i < info.num_images; ++i)
    level.images.push_back({nameOf(info.images[i].kind), info.images[i].bytes});
  for (uint32_t i = 0; i < info.num_kernels; ++i)
    level.kernels.push_back({info.kernels[i].name, info.kernels[i].threads,
                             info.kernels[i].shared_bytes});
  return level;
}

void readLevels(InspectedArtifact &artifact) {
  const Model model = Model::load(Engine(1), artifact.path);
  for (uint32_t i = 0; i < model.info().num_levels; ++i)
    artifact.levels.push_back(describe(model.level(i)));
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
      InspectedArtifact artifact = read(operands->front());
      if (options.levels)
        readLevels(artifact);
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
