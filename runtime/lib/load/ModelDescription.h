//===- ModelDescription.h - A checked manifest as plain structs -----------===//
//
// What the rest of the runtime knows about a model. Every ordinal, range and
// size in it has been checked, so nobody downstream looks at FlatBuffers or
// checks again.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_RUNTIME_LIB_LOAD_MODELDESCRIPTION_H
#define MOEC_RUNTIME_LIB_LOAD_MODELDESCRIPTION_H

#include "runtime/abi/moe_abi.h"
#include "runtime/lib/base/Error.h"

#include <cstdint>
#include <string>
#include <vector>

namespace moe::rt {

/// Bytes of one element; 0 for an unknown type. Numbers as in the manifest.
uint64_t dtypeBytes(uint32_t dtype);
const char *dtypeName(uint32_t dtype);

/// How manifests call the device that is not the processor.
constexpr char kCuda[] = "cuda";

/// A set of modality ids.
using ModalityMask = uint32_t;
static_assert(MOE_MAX_MODALITIES <= 32, "a mask is one word");

struct Modality {
  std::string name;
  uint32_t id = 0;
  bool isRaw = false;
  uint32_t vocab = 0;
  uint32_t dtype = 0; // of raw elements
  std::vector<uint32_t> shape;
  uint32_t tokensPerInput = 1;
  uint64_t elements = 1; // of one raw input
  uint64_t bytes = 0;    // of one raw input
};

struct LayoutSegment {
  ModalityMask modalities = 0;
  bool isAny = false; // several modalities: counts merged tokens
  bool optional = false;
  uint64_t min = 0;
  uint64_t max = 0;
};

struct Entry {
  std::string name;
  uint32_t function = 0;
  bool lastOnly = false;
  bool routingOut = false;
  bool routingIn = false;
  bool expertMask = false;
  bool routerBias = false;
  bool kOverride = false;
  std::vector<LayoutSegment> layout;
  std::string layoutText;
};

struct Output {
  std::string name;
  uint64_t width = 0;
};

struct Function {
  std::string name;
  std::vector<Output> outputs;
  uint64_t cacheTokens = 0;
  uint64_t maxSequence = 0;
  ModalityMask modalities = 0;
};

struct State {
  std::string name;
  uint64_t rowBytes = 0;
};

struct Weight {
  std::string name;
  uint32_t segment = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  uint64_t checksum = 0;
};

struct Segment {
  std::string file; // empty: in the artifact
  bool onCpu = false;
  bool onDevice = false; // "cuda"
  uint64_t bytes = 0;
  uint64_t checksum = 0;
};

struct Variant {
  uint32_t function = 0;
  std::string device;
  std::string isa;
  std::vector<std::string> features;
  uint64_t minTokens = 0;
  uint64_t maxTokens = 0;
  ModalityMask modalities = 0;
  std::string scratch;
  std::vector<uint32_t> weights; // that it may read; of devices only
  bool available = false;        // set at load, by exec/Processor
};

struct Router {
  std::string name;
  int32_t layer = -1;
  uint32_t experts = 0; // ids are firstExpert .. experts-1
  uint32_t firstExpert = 0;
  uint32_t slots = 0;
  bool weighsAny = false; // gives weights to ids that it did not choose
  bool distinct = false;  // the ids of a token differ
};

struct ModelDescription {
  std::string name;
  std::string compiler;
  std::string target;
  uint32_t abiVersion = 0;
  uint64_t artifactBytes = 0;
  std::vector<Modality> modalities;
  const Modality *byId[MOE_MAX_MODALITIES] = {};
  std::vector<Function> functions;
  std::vector<Entry> entries;
  std::vector<State> states;
  std::vector<Weight> weights;
  std::vector<Segment> segments;
  std::vector<Variant> variants;
  std::vector<Router> routers;
  std::vector<int32_t> stopTokens;
  uint64_t stateBytesPerToken = 0;
  uint64_t cacheTokens = 0; // of the function that caches most

  ModelDescription() = default;
  // byId points into modalities, which moving keeps and copying would not.
  ModelDescription(ModelDescription &&) = default;
  ModelDescription &operator=(ModelDescription &&) = default;

  /// NULL where there is none.
  const Entry *findEntry(const char *name) const;
  const Modality *findModality(const char *name) const;
};

/// Verifies the bytes as a manifest and decodes them. `path` is for messages.
/// Checks the ABI version before anything that another version may change.
absl::StatusOr<ModelDescription>
describeManifest(const std::string &path, const std::vector<uint8_t> &bytes);

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_LOAD_MODELDESCRIPTION_H
