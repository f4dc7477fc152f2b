//===- ModelDescription.cpp - A checked manifest as plain structs ---------===//

#include "runtime/lib/load/ModelDescription.h"

#include "absl/strings/str_join.h"
#include "runtime/abi/manifest_generated.h"

#include <climits>

using namespace moe::rt;
namespace fb = moe::manifest;

uint64_t moe::rt::dtypeBytes(uint32_t dtype) {
  switch (static_cast<fb::DType>(dtype)) {
  case fb::DType::f32:
  case fb::DType::i32:
    return 4;
  case fb::DType::bf16:
  case fb::DType::f16:
    return 2;
  case fb::DType::i8:
  case fb::DType::u8:
    return 1;
  }
  return 0;
}

const char *moe::rt::dtypeName(uint32_t dtype) {
  return dtypeBytes(dtype) ? fb::EnumNameDType(static_cast<fb::DType>(dtype))
                           : "unknown type";
}

const Entry *ModelDescription::findEntry(const char *wanted) const {
  for (const Entry &entry : entries)
    if (entry.name == wanted)
      return &entry;
  return nullptr;
}

const Modality *ModelDescription::findModality(const char *wanted) const {
  for (const Modality &modality : modalities)
    if (modality.name == wanted)
      return &modality;
  return nullptr;
}

namespace {

/// Largest extent that may be multiplied by another one without overflow.
constexpr uint64_t kMaxExtent = UINT32_MAX;

std::string text(const flatbuffers::String *string) {
  return string ? string->str() : std::string();
}

/// An absent vector reads as an empty one.
template <typename T> uint32_t count(const flatbuffers::Vector<T> *vector) {
  return vector ? vector->size() : 0;
}

class Decoder {
public:
  Decoder(const std::string &path, const fb::Manifest &manifest)
      : path(path), manifest(manifest) {}

  absl::StatusOr<ModelDescription> run();

private:
  template <typename... Args> absl::Status bad(const Args &...args) const {
    return badArtifact("'", path, "': manifest: ", args...);
  }

  absl::Status decodeModalities();
  absl::Status decodeModality(const fb::Modality &from);
  absl::Status decodeFunctions();
  absl::Status decodeEntries();
  absl::Status decodeSegment(const fb::LayoutSegment &from, Entry &entry);
  absl::Status decodeStates();
  absl::Status decodeWeights();
  absl::Status decodeVariants();
  absl::Status checkKernels(uint32_t variant, const fb::Variant &from) const;
  absl::Status decodeStopTokens();
  absl::Status decodeRouters();
  absl::Status decodeMask(const flatbuffers::Vector<uint8_t> *ids,
                          const std::string &of, ModalityMask &mask) const;
  std::string layoutText(const std::vector<LayoutSegment> &layout) const;

  const std::string &path;
  const fb::Manifest &manifest;
  ModelDescription model;
};

absl::StatusOr<ModelDescription> Decoder::run() {
  model.abiVersion = manifest.abi_version();
  if (model.abiVersion != MOE_ABI_VERSION)
    return versionMismatch("'", path, "' was built for ABI ", model.abiVersion,
                           ", this runtime has ", MOE_ABI_VERSION);
  model.name = text(manifest.model());
  model.compiler = text(manifest.compiler());
  model.target = text(manifest.target());
  model.artifactBytes = manifest.artifact_bytes();
  MOE_RETURN_IF_ERROR(decodeModalities());
  MOE_RETURN_IF_ERROR(decodeFunctions());
  MOE_RETURN_IF_ERROR(decodeEntries());
  MOE_RETURN_IF_ERROR(decodeStates());
  MOE_RETURN_IF_ERROR(decodeWeights());
  MOE_RETURN_IF_ERROR(decodeVariants());
  MOE_RETURN_IF_ERROR(decodeRouters());
  MOE_RETURN_IF_ERROR(decodeStopTokens());
  return std::move(model);
}

absl::Status Decoder::decodeModalities() {
  if (count(manifest.modalities()) == 0 ||
      count(manifest.modalities()) > MOE_MAX_MODALITIES)
    return bad("expected 1 to ", MOE_MAX_MODALITIES, " modalities, found ",
               count(manifest.modalities()));
  model.modalities.reserve(manifest.modalities()->size());
  for (const fb::Modality *from : *manifest.modalities())
    MOE_RETURN_IF_ERROR(decodeModality(*from));
  return absl::OkStatus();
}

absl::Status Decoder::decodeModality(const fb::Modality &from) {
  Modality to;
  to.name = text(from.name());
  to.id = from.id();
  if (to.id >= MOE_MAX_MODALITIES || model.byId[to.id])
    return bad("modality '", to.name, "': expected an id of its own below ",
               MOE_MAX_MODALITIES, ", found ", to.id);
  if (model.findModality(to.name.c_str()))
    return bad("two modalities are called '", to.name, "'");
  to.isRaw = from.input() == fb::InputKind::raw;
  to.tokensPerInput = from.tokens_per_input();
  if (!to.isRaw) {
    to.vocab = from.vocab();
    if (to.vocab == 0 || to.vocab > INT32_MAX || to.tokensPerInput != 1)
      return bad("token modality '", to.name, "': expected 1 to ", INT32_MAX,
                 " ids of one token, found ", to.vocab, " of ",
                 to.tokensPerInput);
    to.dtype = static_cast<uint32_t>(fb::DType::i32);
  } else {
    to.dtype = static_cast<uint32_t>(from.raw_dtype());
    for (uint32_t i = 0; i < count(from.raw_shape()); ++i) {
      to.shape.push_back(from.raw_shape()->Get(i));
      to.elements *= to.shape.back();
      if (to.elements == 0 || to.elements > kMaxExtent)
        break;
    }
    to.bytes = to.elements * dtypeBytes(to.dtype);
    if (to.bytes == 0 || to.elements > kMaxExtent || to.tokensPerInput == 0)
      return bad("raw modality '", to.name,
                 "': expected an element type, a shape of 1 to ", kMaxExtent,
                 " elements and at least one token, found ",
                 dtypeName(to.dtype), ", ", to.elements, " and ",
                 to.tokensPerInput);
  }
  model.modalities.push_back(std::move(to));
  model.byId[model.modalities.back().id] = &model.modalities.back();
  return absl::OkStatus();
}

absl::Status Decoder::decodeMask(const flatbuffers::Vector<uint8_t> *ids,
                                 const std::string &of,
                                 ModalityMask &mask) const {
  for (uint32_t i = 0; i < count(ids); ++i) {
    const uint32_t id = ids->Get(i);
    if (id >= MOE_MAX_MODALITIES || !model.byId[id])
      return bad(of, ": expected the id of a modality, found ", id);
    mask |= 1u << id;
  }
  if (mask == 0)
    return bad(of, ": expected at least one modality, found none");
  return absl::OkStatus();
}

absl::Status Decoder::decodeFunctions() {
  if (count(manifest.functions()) == 0)
    return bad("expected at least one function, found none");
  for (uint32_t i = 0; i < count(manifest.functions()); ++i) {
    const fb::Function &from = *manifest.functions()->Get(i);
    Function to;
    to.name = text(from.name());
    to.cacheTokens = from.cache_tokens();
    to.maxSequence = from.max_sequence();
    // Positions are 32 bits, and rounding up to pages must not overflow.
    if (to.cacheTokens > INT32_MAX - MOE_PAGE_TOKENS)
      return bad("function '", to.name, "': expected a cache of at most ",
                 INT32_MAX - MOE_PAGE_TOKENS, " tokens, found ",
                 to.cacheTokens);
    MOE_RETURN_IF_ERROR(decodeMask(from.modalities(),
                                   absl::StrCat("function '", to.name, "'"),
                                   to.modalities));
    for (uint32_t j = 0; j < count(from.outputs()); ++j) {
      const fb::Output &output = *from.outputs()->Get(j);
      if (output.width() == 0)
        return bad("output '", text(output.name()), "' has no columns");
      to.outputs.push_back({text(output.name()), output.width()});
    }
    if (to.outputs.empty())
      return bad("function '", to.name, "' has no output");
    model.cacheTokens = std::max(model.cacheTokens, to.cacheTokens);
    model.functions.push_back(std::move(to));
  }
  return absl::OkStatus();
}

absl::Status Decoder::decodeEntries() {
  for (uint32_t i = 0; i < count(manifest.entries()); ++i) {
    const fb::Entry &from = *manifest.entries()->Get(i);
    Entry to;
    to.name = text(from.name());
    to.function = from.function();
    to.lastOnly = from.last_only();
    to.routingOut = from.routing_out();
    to.routingIn = from.routing_in();
    to.expertMask = from.expert_mask();
    to.routerBias = from.router_bias();
    to.kOverride = from.k_override();
    if (to.function >= model.functions.size())
      return bad("entry '", to.name, "': expected a function below ",
                 model.functions.size(), ", found ", to.function);
    if (model.findEntry(to.name.c_str()))
      return bad("two entries are called '", to.name, "'");
    for (uint32_t j = 0; j < count(from.layout()); ++j)
      MOE_RETURN_IF_ERROR(decodeSegment(*from.layout()->Get(j), to));
    if (to.layout.empty())
      return bad("entry '", to.name, "' has no layout");
    to.layoutText = layoutText(to.layout);
    model.entries.push_back(std::move(to));
  }
  return absl::OkStatus();
}

absl::Status Decoder::decodeSegment(const fb::LayoutSegment &from,
                                    Entry &entry) {
  LayoutSegment to;
  const std::string of = absl::StrCat("entry '", entry.name, "'");
  MOE_RETURN_IF_ERROR(decodeMask(from.modalities(), of, to.modalities));
  const ModalityMask allowed = model.functions[entry.function].modalities;
  if (to.modalities & ~allowed)
    return bad(of, ": its layout has a modality that its function lacks");
  to.isAny = (to.modalities & (to.modalities - 1)) != 0;
  to.optional = from.optional();
  to.min = from.min();
  to.max = from.max();
  if (to.max == 0 || to.min > to.max)
    return bad(of, ": expected layout bounds in order, found ", to.min, "..",
               to.max);
  entry.layout.push_back(to);
  return absl::OkStatus();
}

absl::Status Decoder::decodeStates() {
  for (uint32_t i = 0; i < count(manifest.states()); ++i) {
    const fb::State &from = *manifest.states()->Get(i);
    State to;
    to.name = text(from.name());
    to.rowBytes =
        from.width() * dtypeBytes(static_cast<uint32_t>(from.dtype()));
    if (to.rowBytes == 0)
      return bad("state '", to.name,
                 "': expected an element type and a width, found ",
                 dtypeName(static_cast<uint32_t>(from.dtype())), " and ",
                 from.width());
    model.stateBytesPerToken += to.rowBytes;
    model.states.push_back(std::move(to));
  }
  return absl::OkStatus();
}

absl::Status Decoder::decodeWeights() {
  for (uint32_t i = 0; i < count(manifest.segments()); ++i) {
    const fb::Segment &from = *manifest.segments()->Get(i);
    Segment to;
    to.file = text(from.file());
    // Beside the artifact and nowhere else.
    if (to.file.find('/') != std::string::npos || to.file == "." ||
        to.file == "..")
      return bad("segment ", i, ": expected a plain file name, found '",
                 to.file, "'");
    to.onCpu = text(from.device()) == "cpu";
    to.onDevice = text(from.device()) == kCuda;
    to.bytes = from.bytes();
    to.checksum = from.checksum();
    model.segments.push_back(std::move(to));
  }
  model.weights.reserve(count(manifest.weights()));
  for (uint32_t i = 0; i < count(manifest.weights()); ++i) {
    const fb::Weight &from = *manifest.weights()->Get(i);
    Weight to;
    to.name = text(from.name());
    to.segment = from.segment();
    to.offset = from.offset();
    to.bytes = from.bytes();
    to.checksum = from.checksum();
    if (to.segment >= model.segments.size())
      return bad("weight '", to.name, "': expected a segment below ",
                 model.segments.size(), ", found ", to.segment);
    const uint64_t room = model.segments[to.segment].bytes;
    if (to.offset > room || to.bytes > room - to.offset)
      return bad("weight '", to.name, "': expected to end within the ", room,
                 " bytes of segment ", to.segment, ", found offset ", to.offset,
                 " and ", to.bytes, " bytes");
    // FlatBuffers verifies the place of a vector, not that of its elements.
    if (from.shape() &&
        reinterpret_cast<uintptr_t>(from.shape()->Data()) % sizeof(uint64_t))
      return bad("weight '", to.name, "': expected the sizes of its shape in ",
                 "steps of 8 bytes, found another place");
    if (to.offset % MOE_ALIGNMENT)
      return bad("weight '", to.name, "': expected an offset in steps of ",
                 MOE_ALIGNMENT, ", found ", to.offset);
    model.weights.push_back(std::move(to));
  }
  return absl::OkStatus();
}

absl::Status Decoder::decodeVariants() {
  for (uint32_t i = 0; i < count(manifest.variants()); ++i) {
    const fb::Variant &from = *manifest.variants()->Get(i);
    Variant to;
    to.function = from.function();
    if (to.function >= model.functions.size())
      return bad("variant ", i, ": expected a function below ",
                 model.functions.size(), ", found ", to.function);
    to.device = text(from.device());
    to.isa = text(from.isa());
    to.scratch = text(from.scratch());
    to.minTokens = from.min_tokens();
    to.maxTokens = from.max_tokens();
    for (uint32_t j = 0; j < count(from.features()); ++j)
      to.features.push_back(from.features()->Get(j)->str());
    MOE_RETURN_IF_ERROR(decodeMask(from.modalities(),
                                   absl::StrCat("variant ", i), to.modalities));
    for (uint32_t j = 0; j < count(from.weights()); ++j) {
      const uint32_t weight = from.weights()->Get(j);
      if (weight >= model.weights.size())
        return bad("variant ", i, ": expected weights below ",
                   model.weights.size(), ", found ", weight);
      if (to.device == kCuda)
        to.weights.push_back(weight);
    }
    MOE_RETURN_IF_ERROR(checkKernels(i, from));
    model.variants.push_back(std::move(to));
  }
  return absl::OkStatus();
}

/// The table is for tools, which need not check it again.
absl::Status Decoder::checkKernels(uint32_t variant,
                                   const fb::Variant &from) const {
  uint32_t intervals = 0; // that have a kernel
  for (uint32_t i = 0; i < count(from.kernels()); ++i) {
    const fb::Kernel &kernel = *from.kernels()->Get(i);
    const uint32_t last = intervals ? intervals - 1 : 0;
    if (kernel.interval() != last && kernel.interval() != intervals)
      return bad("variant ", variant, ", kernel ", i, ": expected interval ",
                 last, " or ", intervals, ", found ", kernel.interval());
    intervals = kernel.interval() + 1;
    if (kernel.weight() < -1 ||
        kernel.weight() >= static_cast<int64_t>(model.weights.size()))
      return bad("variant ", variant, ", kernel ", i,
                 ": expected a weight below ", model.weights.size(), ", found ",
                 kernel.weight());
  }
  if (intervals != from.intervals())
    return bad("variant ", variant, ": expected kernels in ", from.intervals(),
               " intervals, found them in ", intervals);
  return absl::OkStatus();
}

absl::Status Decoder::decodeStopTokens() {
  uint32_t vocab = 0;
  for (const Modality &modality : model.modalities)
    vocab = std::max(vocab, modality.vocab);
  for (uint32_t i = 0; i < count(manifest.stop_tokens()); ++i) {
    const uint32_t id = manifest.stop_tokens()->Get(i);
    if (id >= vocab)
      return bad("expected stop tokens below ", vocab, ", found ", id);
    model.stopTokens.push_back(static_cast<int32_t>(id));
  }
  return absl::OkStatus();
}

absl::Status Decoder::decodeRouters() {
  // So that the sizes of what they choose never overflow.
  constexpr uint64_t kMostSlots = 1 << 24;
  uint64_t slots = 0;
  for (uint32_t i = 0; i < count(manifest.routers()); ++i) {
    const fb::Router &from = *manifest.routers()->Get(i);
    slots += from.slots();
    if (slots > kMostSlots)
      return bad("router ", i, ": expected at most ", kMostSlots,
                 " slots in all routers, found ", slots);
    Router to;
    to.name = text(from.name());
    to.layer = from.layer();
    to.experts = from.experts();
    to.firstExpert = from.first_expert();
    to.slots = from.slots();
    to.weighsAny = from.weighs_any();
    for (uint32_t j = 0; j < count(from.guarantees()); ++j)
      to.distinct |= text(from.guarantees()->Get(j)) == "distinct";
    model.routers.push_back(std::move(to));
  }
  return absl::OkStatus();
}

std::string
Decoder::layoutText(const std::vector<LayoutSegment> &layout) const {
  std::vector<std::string> parts;
  for (const LayoutSegment &segment : layout) {
    std::vector<std::string> names;
    bool isRaw = false;
    for (const Modality &modality : model.modalities)
      if (segment.modalities >> modality.id & 1) {
        names.push_back(modality.name);
        isRaw |= modality.isRaw;
      }
    std::string part =
        segment.isAny ? absl::StrCat("any(", absl::StrJoin(names, ", "), ")")
                      : names.front();
    if (segment.min != segment.max)
      absl::StrAppend(&part, "[", segment.min, "..", segment.max, "]");
    else if (segment.isAny || !isRaw || segment.max != 1)
      absl::StrAppend(&part, "[", segment.max, "]");
    if (segment.optional)
      part += '?';
    parts.push_back(std::move(part));
  }
  return absl::StrJoin(parts, ", ");
}

} // namespace

absl::StatusOr<ModelDescription>
moe::rt::describeManifest(const std::string &path,
                          const std::vector<uint8_t> &bytes) {
  // Tables: a large model has hundreds of thousands of weights.
  constexpr flatbuffers::uoffset_t kMaxDepth = 8;
  constexpr flatbuffers::uoffset_t kMaxTables = 1u << 24;
  if (bytes.size() >= FLATBUFFERS_MAX_BUFFER_SIZE)
    return badArtifact("'", path, "': expected a manifest below 2 GiB, found ",
                       bytes.size(), " bytes");
  flatbuffers::Verifier verifier(bytes.data(), bytes.size(), kMaxDepth,
                                 kMaxTables);
  if (bytes.size() < 8 || !fb::ManifestBufferHasIdentifier(bytes.data()))
    return badArtifact("'", path, "': expected a manifest with identifier ",
                       fb::ManifestIdentifier(), " in section ",
                       MOE_MANIFEST_SECTION, ", found other contents");
  if (!fb::VerifyManifestBuffer(verifier))
    return badArtifact("'", path, "': the manifest is damaged");
  return Decoder(path, *fb::GetManifest(bytes.data())).run();
}
