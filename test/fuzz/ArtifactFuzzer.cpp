//===- ArtifactFuzzer.cpp - Any bytes as an artifact ----------------------===//
//
// The headers of the file and the manifest in it are read as the runtime does
// before it executes anything. Executing is left out: code is not checked.
//
//===----------------------------------------------------------------------===//

#include "moe/runtime.h"
#include "test/fuzz/MemoryFile.h"

#include <cstdint>
#include <cstring>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const MemoryFile file(data, size);
  moe_artifact *artifact = nullptr;
  const moe_status status = moe_artifact_open(file.path().c_str(), &artifact);
  require((status == MOE_OK) == (artifact != nullptr),
          "an artifact exactly where the status says so");
  require(status == MOE_OK || std::strlen(moe_last_error()) > 0,
          "a sentence for every failure");
  require(status != MOE_ERROR_INTERNAL && status != MOE_ERROR_OUT_OF_MEMORY,
          "a fault of the file is told apart from one of ours",
          moe_last_error());
  if (!artifact)
    return 0;
  require(moe_artifact_bytes(artifact) == size, "the size of the file");
  size_t letters = 0;
  for (uint64_t i = 0; const char *name = moe_artifact_symbol(artifact, i); ++i)
    letters += std::strlen(name);
  for (uint32_t i = 0;
       const char *layout = moe_artifact_entry_layout(artifact, i); ++i)
    letters += std::strlen(layout);
  static volatile size_t sink;
  sink = letters;
  (void)sink;
  moe_artifact_close(artifact);
  return 0;
}
